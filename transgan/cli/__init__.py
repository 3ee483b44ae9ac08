"""The command line: one module a command; heavy packages such as torch are imported when a command runs."""

import os
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress

import typer

from transgan.errors import INTERRUPTED, DiskError, OutOfMemory, RecipeError, TransganError, WorkerError

app = typer.Typer(
    name="transgan",
    help="Train and run translations between domains.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run a command; turn each error that a user can mend into one line on stderr and an exit code."""
    _add_commands()
    debug = "--debug" in sys.argv[1:]
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    if not debug and not sys.warnoptions:
        warnings.simplefilter("ignore")  # they address programmers
    try:
        app(prog_name="transgan")
    except KeyboardInterrupt:
        _exit("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        user_error = _as_user_error(error)
        if user_error is not None:
            _exit(f"error: {_as_line(user_error)}", user_error.exit_code)
        where = "--debug shows"
        with (
            suppress(OSError),
            tempfile.NamedTemporaryFile("w", prefix="transgan-", suffix=".log", delete=False) as file,
        ):
            file.write("".join(traceback.format_exception(error)))
            where = f"{file.name} says"
        _exit(f"error: {type(error).__name__}: {error}\nThis is a bug in TransGAN; {where} where it happened", 1)


def _as_line(error: TransganError) -> str:
    """Return the error's message, on one line where it reports one problem."""
    if isinstance(error, RecipeError) and len(error.problems) == 1:
        (problem,) = error.problems
        return problem if error.recipe in problem or problem.startswith("--set ") else f"{error.recipe}: {problem}"
    return str(error)


def _as_user_error(error: BaseException) -> TransganError | None:
    """Return an error that a user can mend, translated where another library raised it; None for all others."""
    if isinstance(error, TransganError):
        return error
    cpu_full = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's message for a CPU
    if cpu_full or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        remedy = 'lower train.batch or data.size, raise train.accumulate, or set train.precision = "bf16"'
        return OutOfMemory(f"out of memory; {remedy}")
    lost = (
        "Connection closed by peer",
        "Connection reset by peer",
        "Broken pipe",
        "Timed out waiting",
        "NCCL",
    )
    if isinstance(error, RuntimeError) and any(words in str(error) for words in lost):
        return WorkerError(f"another process of the run was lost: {str(error).splitlines()[0]}")
    if isinstance(error, OSError) and error.strerror:
        return DiskError(f"{error.filename or 'a file'}: {error.strerror}")
    return None


def _exit(text: str, code: int) -> None:
    print(text, file=sys.stderr)
    sys.stdout.flush()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)  # other processes may block in a collective; the launcher ends them
    sys.exit(code)


def _add_commands() -> None:
    from transgan.cli import bench, check, download, evaluate, import_, info, plugins, resume, run, translate

    app.registered_commands.clear()
    app.registered_groups.clear()
    for module in (run, resume, check, translate, evaluate, info, plugins, import_, download, bench):
        module.add(app)


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Print the traceback of an error."),
) -> None:
    if version:
        from transgan import __version__

        print(f"transgan {__version__}")
        raise typer.Exit
