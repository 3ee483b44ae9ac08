"""Exceptions for mistakes that the user can correct, each with the exit code of the command line."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from transgan.text import listed, printable

HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
"""Exit codes after SIGHUP, SIGINT and SIGTERM."""


TRAINING_REMEDY = (
    'set train.checkpointing = ["*"], raise train.accumulate, or set train.precision = "bf16"; '
    "or lower train.batch or data.size"
)
"""What to do where memory is short for training."""


MEASURING_REMEDY = "lower evaluate.batch in recipe.toml"
"""What to do where memory is short for measuring a run."""
GOES_ON = "transgan resume FOLDER goes on from the newest checkpoint, or the same command, if it has --out"
"""What to do where another process of the run was lost."""


class TransganError(Exception):
    """Base class of the errors that the command line prints without a traceback."""

    exit_code = 1
    from_main = False
    """Whether the main process of the run, or of this machine, reports the error, so that this one need not."""


class UsageError(TransganError):
    """The command line or the recipe is invalid."""

    exit_code = 2


class Problem(str):
    """A line about something that is wrong in a recipe, and its parts, for programs.

    Args:
        line: what people read: place, key and message.
        message: without the place and the key; defaults to the line.
        file: the recipe's file, or the one that it extends; None where a `--set`, or nothing, says it.
        number: of the line in that file, from 1; None where it is not known.
        key: with its tables, `generators.main.width`; None where it is about no key.
    """

    message: str
    file: str | None
    line: int | None
    key: str | None

    def __new__(
        cls,
        line: str,
        message: str | None = None,
        file: str | None = None,
        number: int | None = None,
        key: str | None = None,
    ) -> "Problem":
        self = super().__new__(cls, line)
        self.message = line if message is None else message
        self.file, self.line, self.key = file, number, key
        return self


class SeveralProblems(TransganError):
    """Problems that are raised together.

    Args:
        problems: one line each, which may be a `Problem`.
        recipe: the recipe's file.
    """

    def __init__(self, problems: Sequence[str], recipe: str = "recipe"):
        super().__init__(problems, recipe)  # as given: processes send each other errors
        self.problems = [each if isinstance(each, Problem) else Problem(printable(each)) for each in problems]
        self.recipe = printable(recipe)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            (problem,) = self.problems
            says_where = self.recipe in problem or (problem.file is None and problem.key is not None)
            return problem if says_where else f"{self.recipe}: {problem}"
        return "\n".join([f"{self.recipe}: {len(self.problems)} problems", *(f"  {each}" for each in self.problems)])


class RecipeError(SeveralProblems, UsageError):
    """All problems found in one recipe."""


class PluginError(UsageError):
    """A plugin is missing, fails to load, or requires a package that is not installed."""


class PluginRuntimeError(PluginError):
    """The code of a plugin has raised an error: names the plugin, its package, and what it was computing."""


class PluginFault(TypeError):
    """A plugin declares or returns something else than its kind promises; `plugin_errors` finds its name.

    Args:
        plugin: the plugin's class, or an object of it: its own fault, whoever has called it.
        what: what it declares or returns, and what is expected.
    """

    def __init__(self, plugin: object, what: str):
        self.plugin = plugin if isinstance(plugin, type) else type(plugin)
        self.what = what
        super().__init__(f"{self.plugin.__name__}: {what}")


class DataError(TransganError):
    """A file or folder of the user's data is missing, empty or unreadable."""

    exit_code = 3


class MissingDataError(SeveralProblems, DataError):
    """All places of a recipe for which there are no data."""


class DataWarning(UserWarning):
    """Something about a file or folder of the user's data that the user should know; the command line prints it."""


class WorkerError(TransganError):
    """A data worker or another process of the run has died."""

    exit_code = 4


class OutOfMemory(TransganError):
    """The device has too little memory for the recipe."""

    exit_code = 5


class DivergedError(TransganError):
    """Training produced NaN or infinity."""

    exit_code = 6


class DiskError(TransganError):
    """The disk is full, or a file of the run is damaged or cannot be written."""

    exit_code = 7


class BusyError(TransganError):
    """Another process is using the run folder."""

    exit_code = 8


#: Bounds on what is compared, which takes long: longer words are not, and of more names only those that begin alike.
_MAX_WORD, _MAX_COMPARED = 200, 500


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` with the most similar known name, or a list of the names where none is similar."""
    names = sorted(known)
    close = closest(word, names)
    return f"Did you mean '{close}'?" if close else f"Known: {listed(names)}."


def closest(word: str, known: Iterable[str]) -> str:
    """Return the most similar known name; an empty text where none is similar."""
    names = sorted(known)
    compared = names if len(word) <= _MAX_WORD else []
    if len(compared) > _MAX_COMPARED:
        compared = sorted(names, key=lambda name: -_common_letters(word, name))[:_MAX_COMPARED]
    return next(iter(get_close_matches(word, compared, n=1, cutoff=0.6)), "")


NO_ADDRESSES = "It looks like an address, and nothing is downloaded: give what is on this machine"


def is_address(path: Path) -> bool:
    """Return whether a path is an address, such as of the web."""
    return re.match(r"\w[\w+.-]+:/", str(path)) is not None  # a path has one slash where an address has two


def similar_path(path: Path, wanted: Callable[[Path], bool] = Path.exists) -> str:
    """Return `. Did you mean 'x'?` with what is most similar to a missing path, in its folder, or an empty text.

    Of a link it says where it leads, and of an address that nothing is downloaded.

    Args:
        wanted: whether a path is of the kind that is asked for, such as `Path.is_dir`.
    """
    if is_address(path):
        return f". {NO_ADDRESSES}"
    with suppress(OSError):
        if path.is_symlink() and not path.exists():
            return f". It is a link to '{printable(path.readlink())}', which does not exist"
        if path.exists():
            return ""
        beside = {each.name: each for each in path.parent.iterdir() if each.name[:1] != "." and wanted(each)}
        if close := closest(path.name, beside):
            return f". Did you mean '{printable(beside[close])}'?"
    return ""


def _common_letters(one: str, two: str) -> int:
    """Return how many letters two words begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def as_user_error(error: BaseException, remedy: str = "") -> TransganError | None:
    """Return an error that a user can mend, translated where another library raised it; None for all others.

    Args:
        remedy: what to do where memory is short.
    """
    if isinstance(error, TransganError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(f"out of memory; {remedy or 'close other programs, or use a smaller size'}")
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST):
        how = f" ({str(error).splitlines()[0]})" if "NCCL" in str(error) else ""  # of gloo it is a place in its source
        return WorkerError(f"another process of the run was lost{how}, as where memory is short; {GOES_ON}")
    if isinstance(error, OSError) and error.strerror and not hasattr(error, "plugin"):  # a plugin's names the plugin
        return DiskError(f"{error.filename or 'a file'}: {error.strerror}")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be allocated, whichever library raised it."""
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's message for a CPU
    return on_cpu or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


#: Parts of torch's messages about a process that is gone.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "NCCL")
