"""Errors that name the place, the mistake and the nearest right answer; each kind has its exit code."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

INTERRUPTED, TERMINATED = 130, 143


class TransganError(Exception):
    """Something that the user can mend; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(TransganError):
    """The command line or the recipe asks for what cannot be."""

    exit_code = 2


class RecipeError(UsageError):
    """Every mistake found in one recipe, reported at once."""

    def __init__(self, problems: Sequence[str], recipe: str = "recipe"):
        self.problems = list(problems)
        self.recipe = recipe
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{recipe}: {count}", *(f"  {problem}" for problem in problems)]))


class PluginError(UsageError):
    """A plugin is missing, broken, or needs a package that is not installed."""


class DataError(TransganError):
    """A file or folder of the user's data is missing, empty or unreadable."""

    exit_code = 3


class WorkerError(TransganError):
    """A worker or another process of the run was lost."""

    exit_code = 4


class OutOfMemory(TransganError):
    """The device's memory is too small for the recipe."""

    exit_code = 5


class DivergedError(TransganError):
    """Training produced numbers that are not finite."""

    exit_code = 6


class DiskError(TransganError):
    """The disk is full, or a file of the run cannot be written or is damaged."""

    exit_code = 7


class BusyError(TransganError):
    """Another process is using the run folder."""

    exit_code = 8


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or all that is known when nothing is close."""
    names = sorted(known)
    if close := get_close_matches(word, names, n=1, cutoff=0.6):
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(names) or 'none'}."
