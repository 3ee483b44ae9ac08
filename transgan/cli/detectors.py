"""Options that name a region detector: `--regions NAME`, or `--NAME` for short."""

from typing import Any

import typer
from typer.core import TyperCommand

from transgan.cli.offered import offered
from transgan.errors import UsageError, closest, did_you_mean

#: Where the context of a command has what was given as the short form of `--regions`.
SHORT = "transgan.short_forms"


class DetectorOptions(TyperCommand):
    """A command that accepts `--NAME` for `--regions NAME`.

    So is any unknown option that may be one; `translate` then looks it up. So `--help` need not load the plugins.
    """

    @property
    def further_options(self) -> list[str]:
        """The detectors of installed plugins, as options."""
        return [f"--{name}" for name in offered().names["region_detectors"]]

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        found = super().shell_complete(ctx, incomplete)
        further = [each for each in self.further_options if incomplete.startswith("--") and each.startswith(incomplete)]
        item = type(super().shell_complete(ctx, "--")[0]) if further else None  # its module differs, as typer does
        return [*found, *map(item, further)] if item else found

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {option for each in self.params for option in each.opts} | set(self.get_help_option_names(ctx))
        end = args.index("--") if "--" in args else len(args)
        flags = [each for each in args[:end] if each.startswith("--") and each.partition("=")[0] not in known]
        if not any(each.startswith("--plugin") for each in args):  # its file may hold a detector
            flags = [
                each for each in flags if offered().may_have("region_detectors", each[2:]) or not closest(each, known)
            ]
        words = [word for each in args[:end] for word in (("--regions", each[2:]) if each in flags else (each,))]
        ctx.meta[SHORT] = flags
        if (count := words.count("--regions")) > 1:
            ctx.fail(f"found {count} region detectors, expected one")
        return super().parse_args(ctx, words + args[end:])


def check_detector(context: typer.Context, detector: str | None, given: list[str]) -> None:
    """Check that there is the region detector that the options name.

    Args:
        context: of the command, whose options are suggested where a detector's short form is a misspelt one.
        given: the options given that need a detector.

    Raises:
        UsageError: there is none, or none is named.
    """
    from transgan.registry import Registry

    registry = Registry.installed()
    names = registry.names("region_detectors")
    known = [f"--{name}" for name in names]
    if detector is None:
        raise UsageError(f"{given[0]} needs a region detector: {', '.join(known) or 'none is installed'}")
    if detector in names:
        return
    if f"--{detector}" in context.meta.get(SHORT, ()):
        options = [option for each in context.command.params for option in each.opts if option.startswith("--")]
        hint = did_you_mean(f"--{detector}", known + options)
        raise UsageError(f"--{detector}: no such option or region detector. {hint}{registry.not_loaded}")
    hint = did_you_mean(detector, names) if names else "None is installed."
    raise UsageError(f"--regions {detector}: no such region detector. {hint}{registry.not_loaded}")
