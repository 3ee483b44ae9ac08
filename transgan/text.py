"""The one door for text that is printed or logged: nothing from outside reaches a terminal, a log or a page as control.

File names, keys of recipes, configs of models, names of plugins and messages of libraries may hold anything: sequences
that move a terminal's cursor, line breaks that forge a line of a log, letters that reverse the order of those around
them, bytes that are no text at all. `printable` is idempotent, so a text may pass it more than once.
"""

import errno
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import get_terminal_size
from textwrap import shorten
from typing import TextIO

#: Largest number of names that a message lists.
MAX_LISTED = 20


def printable(text: object) -> str:
    r"""Return a text on one line, in which every character that is not printable is replaced by its escape sequence.

    A line break becomes `\u000a`, the escape character `\u001b`, and the byte 255 of a file name that is not valid
    UTF-8 `\udcff`, as Python reads it.
    """
    return "".join(each if each.isprintable() else _escaped(each) for each in str(text))


def printable_lines(text: object) -> str:
    """Return a text of several lines, each of which is printable."""
    return "\n".join(map(printable, str(text).split("\n")))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def listed(names: Iterable[object], most: int = MAX_LISTED) -> str:
    """Return names separated by commas: at most `most` of them, then how many more there are; `none` where none is."""
    words = [str(name) for name in names]
    rest = len(words) - most
    return (", ".join(words[:most]) + (f" and {rest:,} more" if rest > 0 else "")) or "none"


class Blank(str):
    """A value that a message leaves to its reader, such as `FOLDER`; it stands in it without quotation marks."""


def option(name: str, *value: object) -> str:
    """Return how a message names an option, in the words of whoever reads it: `native=True`, `device="cpu"`.

    These are arguments in Python. The command line shows its own flags instead: `--native`, `--device cpu`.

    Args:
        name: of the argument.
        value: at most one; without it the name alone.
    """
    return _spelling(name, *value)


@contextmanager
def spelling_options(spelling: Callable[..., str]) -> Iterator[None]:
    """Let `option` return what a function of its arguments returns, in all threads, while the body runs."""
    global _spelling
    before, _spelling = _spelling, spelling
    try:
        yield
    finally:
        _spelling = before


def _as_argument(name: str, *value: object) -> str:
    return f"{name}={_in_python(value[0])}" if value else name


def _in_python(value: object) -> str:
    if isinstance(value, Blank):
        return str(value)
    if isinstance(value, (str, os.PathLike)):
        return json.dumps(os.fspath(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_in_python(key)}: {_in_python(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_in_python, value))}]"
    return repr(value)


_spelling: Callable[..., str] = _as_argument


def line_width() -> int:
    """Return the width of lines for people: the terminal's, 40 to 120; 80 where there is no terminal."""
    return max(40, min(get_terminal_size().columns, 120))


def cut(line: str, width: int) -> str:
    """Return a line of at most `width` characters (10 or more), cut between words."""
    return shorten(line, max(width, 10), placeholder=" ...")


def shell_word(text: object) -> str:
    """Return a text, such as a path, as one word of a command line, for messages that show a command to type."""
    if os.name == "nt":  # a single quote is no quote in cmd.exe
        return f'"{text}"' if " " in str(text) else str(text)
    return shlex.quote(str(text))


def size_of(count: float) -> str:
    """Return a number of bytes in words: `11.4 GB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def show(text: object = "", error: bool = False) -> None:
    """Print lines, made printable: see `write`."""
    write(printable_lines(text) + "\n", error)


class _Quiet:
    """Whether this process omits notes and progress, as `--quiet` wishes."""

    on = False


def set_quiet(quiet: bool) -> None:
    """Omit notes and progress from now on, or print them again."""
    _Quiet.on = quiet


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Omit notes and progress while the body runs, in all threads; where not `quiet`, they stay as they are.

    Afterwards it is as before, whatever `set_quiet` has said in between.
    """
    before = _Quiet.on
    set_quiet(quiet or before)
    try:
        yield
    finally:
        set_quiet(before)


def is_quiet() -> bool:
    """Return whether notes and progress are omitted."""
    return _Quiet.on


def note(text: object, error: bool = True) -> None:
    """Print lines that are neither an error nor the result that was asked for, unless these are omitted.

    Args:
        error: on stderr; else on stdout, among the lines of a result for people.
    """
    if not is_quiet():
        show(text, error)


def write(text: str, error: bool = False) -> None:
    """Write text as it is on stdout or stderr; characters that it cannot encode become escape sequences.

    Args:
        error: write on stderr, and ignore that it cannot be written: an error says more than the failure to say it.

    Raises:
        OSError: stdout cannot be written; from then on, what is written to it is discarded.
    """
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError, AttributeError) as failure:  # it is full, a pipe that nobody reads, closed, None
        _discard(stream)
        if not error:
            number = getattr(failure, "errno", None) or errno.EBADF
            raise OSError(number, os.strerror(number), "stdout") from failure


def _discard(stream: TextIO) -> None:
    """Discard what a stream that failed still holds, and everything that is written to it from now on."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def open_standard_streams() -> None:
    """Replace closed standard streams by the null device, and let the others escape what they cannot encode.

    Without this, a file that is opened later could get the number of stdout, and everything printed would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif reconfigure := getattr(getattr(sys, name), "reconfigure", None):
            reconfigure(errors="backslashreplace")


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading `~` or `~user` replaced by that home folder, and as it is where there is none.

    So `~notes.txt` is a file of that name, unless there is a user `notes.txt`.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is no such user
