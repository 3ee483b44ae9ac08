"""Exceptions for mistakes that the user can correct, each with the exit code of the command line."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after SIGINT and SIGTERM."""


class TransganError(Exception):
    """Base class of the errors that the command line prints without a traceback."""

    exit_code = 1


class UsageError(TransganError):
    """The command line or the recipe is invalid."""

    exit_code = 2


class RecipeError(UsageError):
    """All problems found in one recipe.

    Args:
        problems: one line each.
        recipe: the recipe's file.
    """

    def __init__(self, problems: Sequence[str], recipe: str = "recipe"):
        self.problems = list(problems)
        self.recipe = recipe
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{recipe}: {count}", *(f"  {problem}" for problem in problems)]))


class PluginError(UsageError):
    """A plugin is missing, fails to load, or requires a package that is not installed."""


class DataError(TransganError):
    """A file or folder of the user's data is missing, empty or unreadable."""

    exit_code = 3


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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` with the most similar known name, or a list of all of them where none is similar."""
    names = sorted(known)
    if close := get_close_matches(word, names, n=1, cutoff=0.6):
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(names) or 'none'}."
