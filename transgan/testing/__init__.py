"""Checks of plugins, for their tests: `check(MyLoss)` finds what would fail, or silently go wrong, in a run.

It checks what the plugin's kind promises: shapes, ranges, gradients, that samples of a batch do not affect each other,
equal results for equal seeds, precision and device, state that can be saved, options that can be written down and read
back, and one-line errors. It raises AssertionError, with a line for each thing that is wrong: what, and how to mend it.

`assert_matches_loop` compares the training of a recipe with a loop that was written by hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from transgan.registry import KINDS
from transgan.testing.checker import Checker, Given
from transgan.testing.losses import LossChecker
from transgan.testing.metrics import MetricChecker
from transgan.testing.networks import ConditioningChecker, DiscriminatorChecker, EncoderChecker, GeneratorChecker
from transgan.testing.nodes import NodesChecker
from transgan.testing.parity import assert_matches_loop
from transgan.testing.samples import ContainerChecker, MediaChecker, RegionDetectorChecker, SourceChecker
from transgan.testing.steps import AugmentationChecker, HooksChecker

__all__ = ["CHECKERS", "Given", "assert_matches_loop", "check", "problems_of"]

#: What checks the plugins of each kind.
CHECKERS: dict[str, type[Checker]] = {
    "sources": SourceChecker,
    "media": MediaChecker,
    "containers": ContainerChecker,
    "conditionings": ConditioningChecker,
    "generators": GeneratorChecker,
    "discriminators": DiscriminatorChecker,
    "encoders": EncoderChecker,
    "augmentations": AugmentationChecker,
    "nodes": NodesChecker,
    "losses": LossChecker,
    "metrics": MetricChecker,
    "region_detectors": RegionDetectorChecker,
    "hooks": HooksChecker,
}


def check(plugin: Any, *options: Mapping[str, Any], except_for: Mapping[str, str] | None = None, **given: Any) -> None:
    """Check a plugin.

    Args:
        plugin: its class, or an object of it, which is checked with its own options.
        options: tables of options as recipes have them, with each of which it is checked; none for the defaults.
        except_for: names of checks that do not hold for this plugin, each with the reason. One that holds is an error.
        given: what the kind needs besides, by the fields of `Given`: `spec`, `inputs`, `conditions`, `networks`; of
            losses and metrics `nodes`; of sources `root`, `selections` and `suffixes`; of media `files` and `size`; of
            containers `files`; of region detectors `item`.

    Raises:
        AssertionError: with a line for each thing that is wrong.
        TypeError: it is no plugin, or `given` has an unknown name.
    """
    cls = plugin if isinstance(plugin, type) else type(plugin)
    if not isinstance(plugin, type) and not options and hasattr(plugin, "options"):
        options = (plugin.options.model_dump(mode="json", by_alias=True),)
    problems = problems_of(cls, options or ({},), except_for or {}, Given(**given))
    if problems:
        raise AssertionError("\n".join([f"{cls.__name__}: {len(problems)} wrong", *problems]))


def problems_of(
    cls: type[Any], options: Sequence[Mapping[str, Any]], except_for: Mapping[str, str], given: Given
) -> list[str]:
    """Return a line for each thing that is wrong with a plugin."""
    kind = next((each for each in reversed(KINDS.values()) if issubclass(cls, each.base)), None)
    if kind is None:
        raise TypeError(f"{cls.__name__} is no plugin: not a subclass of a base class of transgan.api")
    if kind.name in ("generators", "discriminators", "conditionings", "encoders"):
        kind = next(each for each in KINDS.values() if issubclass(cls, each.base))  # Network is every network's base
    found: dict[str, None] = {}
    failed: set[str] = set()
    for table in options:
        for name, line in CHECKERS[kind.name](kind, cls, table, given).lines():
            failed.add(name)
            if name not in except_for:
                with_options = f" with {dict(table)}" if table else ""
                found[f"  {kind.singular} {cls.__name__}{with_options}, {name}: {line}"] = None
    for name in except_for:
        if name not in failed:
            found[f"  except_for has '{name}', and nothing is wrong there; remove it"] = None
    return list(found)
