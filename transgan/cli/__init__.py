"""The command line: one module a command; heavy packages such as torch are imported when a command runs."""

import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from transgan.cli import completion, output
from transgan.cli.flags import as_flag
from transgan.cli.help import in_words
from transgan.cli.options import add_quiet, examples
from transgan.cli.usage import check_words, explain
from transgan.errors import (
    INTERRUPTED,
    MEASURING_REMEDY,
    TRAINING_REMEDY,
    DataWarning,
    PluginError,
    PluginFault,
    SeveralProblems,
    TransganError,
    as_user_error,
)
from transgan.plugin_files import using_files
from transgan.text import note, open_standard_streams, printable, quietly, show, spelling_options


class _InterruptedError(Exception):
    """Ctrl-C, or the end of what is typed."""


class Commands(TyperGroup):
    """The commands of TransGAN, and those of plugins, which are loaded only where none of its own has the name."""

    def __init__(self, **attributes: Any):
        super().__init__(**attributes)
        in_words(add_quiet(self))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and (group := _commands_of_plugins(cmd_name).get(cmd_name)) is not None:
            return in_words(add_quiet(typer.main.get_group(group)))
        return found

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error  # typer would end the process without a word

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the commands of plugins too, which are in no list that can be read at once."""
        from transgan.cli.offered import offered

        if [*getattr(ctx, "_protected_args", ()), *ctx.args]:  # behind a command that is none of TransGAN's own
            return []
        names = offered().names["commands"] - self.commands.keys()
        further = sorted(name for name in names if name.startswith(incomplete))
        item = type(super().shell_complete(ctx, "")[0])  # its module differs between versions of typer
        return [*super().shell_complete(ctx, incomplete), *map(item, further)]


def _commands_of_plugins(wanted: str) -> Mapping[str, typer.Typer]:
    """Return the commands of plugins, which are loaded for it; none where none of them can have this name.

    Raises:
        PluginError: a plugin has a command of this name, and fails to load.
    """
    from transgan.cli.offered import offered

    if completion.is_asked() or not offered().may_have("commands", wanted):
        return {}
    from transgan.registry import Registry

    registry = Registry.installed()
    if wanted in offered().names["commands"] and wanted not in registry.commands:
        raise PluginError(f"the plugin with the command '{wanted}' fails to load.{registry.not_loaded}")
    return registry.commands


app = typer.Typer(
    cls=Commands,
    name="transgan",
    help="Train networks that translate between domains, and run them.",
    epilog="Plugins may offer further commands: 'transgan plugins' lists them.\n\n"
    + examples("transgan check my.toml", "transgan run cut_shapes", "transgan translate runs/cut_shapes-1 FILES"),
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

#: Seconds that another process waits for the main one to say what went wrong.
WAIT = 10.0
#: What to do where memory is short, by command.
_REMEDIES = {
    "run": TRAINING_REMEDY,
    "resume": TRAINING_REMEDY,
    "finish": MEASURING_REMEDY,
    "translate": "translate smaller files, leave out --native, or give --device cpu",
    "evaluate": "lower evaluate.batch, or give --device cpu",
}
#: Base class of the errors about the command line, which typer and its copy of click define at changing places.
_CLICK_ERROR: type[BaseException] = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run a command; turn each error that a user can mend into one line on stderr and an exit code."""
    with spelling_options(as_flag), quietly(False), using_files():
        _main()


def _main() -> None:
    open_standard_streams()
    _allow_fallback()
    _add_commands()
    if completion.is_asked():
        completion.answer(app)
    output.want_json(False)
    debug = "--debug" in sys.argv[1:]
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        with warnings.catch_warnings():
            if not debug and not sys.warnoptions:
                warnings.simplefilter("ignore")  # they address programmers
                warnings.simplefilter("always", DataWarning)  # and this the user
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            check_words(sys.argv[1:])
            code = app(prog_name="transgan", standalone_mode=False)
    except (KeyboardInterrupt, _InterruptedError) as error:
        text = "interrupted" if os.environ.get("LOCAL_RANK", "0") == "0" else ""  # a terminal interrupts all processes
        output.show_error(error, text, INTERRUPTED)
        _exit(text, INTERRUPTED)
    except Exception as error:
        if isinstance(error, _CLICK_ERROR):
            text, code = _usage(error), error.exit_code  # type: ignore[attr-defined]
        else:
            if debug:
                show("".join(traceback.format_exception(error)).rstrip("\n"), error=True)
            text, code = _report(error)
        output.show_error(error, text, code)
        _exit(text, code)
    else:
        _exit("", code or 0)


def _allow_fallback() -> None:
    """Let torch compute on the CPU what it cannot compute on Apple's GPUs; torch reads this when it is imported."""
    if sys.platform == "darwin":
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def _usage(error: Exception) -> str:
    """Return what is printed about a mistake in the command line."""
    names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    names += [each.name or "" for each in app.registered_groups]
    from transgan.cli.offered import offered

    return explain(error, [*names, *offered().names["commands"], *_commands_of_plugins("")])


def _show_warning(message: Warning | str, *where: object) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # others warn of the same
        note(f"warning: {message}")


def _report(error: Exception) -> tuple[str, int]:
    """Return what is printed about an error, and the exit code."""
    known = as_user_error(error, _REMEDIES.get(sys.argv[1] if len(sys.argv) > 1 else "", ""))
    if known is not None:
        return "" if _is_said_elsewhere(known) else f"error: {_as_line(known)}", known.exit_code
    by_plugin = _as_plugin_error(error)
    if by_plugin and isinstance(error, PluginFault):
        return f"error: {printable(by_plugin)}", by_plugin.exit_code
    log = _write_traceback(error)
    if by_plugin:
        return f"error: {by_plugin}; {log or '--debug'} shows where", by_plugin.exit_code
    where = f"{log} says" if log else "--debug shows"
    return f"error: {type(error).__name__}: {error}\nThis is a bug in TransGAN; {where} where it happened", 1


def _as_plugin_error(error: Exception) -> TransganError | None:
    from transgan.plugin_errors import as_plugin_error
    from transgan.registry import Registry

    return as_plugin_error(error, Registry.installed())


def _write_traceback(error: Exception) -> str:
    """Write the traceback to a new file; return its path, or an empty text where that fails."""
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", prefix="transgan-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file,
    ):
        file.write("".join(traceback.format_exception(error)))
        return file.name
    return ""


def _as_line(error: TransganError) -> str:
    """Return the error's message, on one line where it reports one problem."""
    return str(error) if isinstance(error, SeveralProblems) else printable(error)


def _exit(text: str, code: int) -> None:
    """Print a text on stderr, unless it is empty, and end the process."""
    if text:
        show(text, error=True)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # After an error others may block in a collective, and the launcher ends them. After a run, threads of the
        # process group may still be there, which abort the interpreter's own way out.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _is_said_elsewhere(error: TransganError) -> bool:
    """Return whether the main process says it: it sent the error, or every process has found the same one by itself.

    Once one process ends, the launcher ends all others, so the main one is first given the time to say it.
    """
    if not error.from_main:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            return False
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            return False
    if "TORCHELASTIC_RUN_ID" in os.environ:
        time.sleep(WAIT)
        return error.from_main  # the main process has not failed: then it is this one's own error
    return True


def _add_commands() -> None:
    from transgan.cli import (
        bench,
        check,
        compare,
        data,
        download,
        evaluate,
        finish,
        import_,
        info,
        init,
        plugins,
        recipes,
        resume,
        run,
        samples,
        schema,
        translate,
        watch,
    )

    app.registered_commands.clear()
    app.registered_groups.clear()
    for module in (
        init,
        run,
        resume,
        finish,
        watch,
        compare,
        check,
        recipes,
        schema,
        data,
        samples,
        translate,
        evaluate,
        info,
        plugins,
        import_,
        download,
        bench,
    ):
        module.add(app)


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Print the traceback of an error, too."),
) -> None:
    if version:
        from transgan import __version__

        show(f"transgan {__version__}")
        raise typer.Exit
