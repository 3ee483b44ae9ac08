"""Line numbers of the keys of a TOML text, which `tomllib` does not return."""

import re
import tomllib
from collections.abc import Iterator

#: Path of a value: keys of tables and indices of lists.
Keys = tuple[str | int, ...]

MAX_DEPTH = 16

_TOKEN = re.compile(
    r"""
      (?P<skip>   [ \t\r\n]+ | \#[^\n]* )
    | (?P<scalar> \"{3} (?: \\. | [^\\] )*? \"{3,5} | '{3} .*? '{3,5} )
    | (?P<open>   \"{3} | '{3} )
    | (?P<quoted> " (?: \\. | [^"\\\n] )* " | '[^'\n]*' )
    | (?P<mark>   [][{}=,.] )
    | (?P<bare>   [^][{}=,."'\#\s]+ )
    | (?P<other>  . )
    """,
    re.VERBOSE | re.DOTALL,
)


class TooDeep(Exception):
    """Keys or brackets are nested deeper than `MAX_DEPTH`; `tomllib` could be very slow or exceed the recursion limit.

    Args:
        line: where the limit is exceeded.
    """

    def __init__(self, line: int):
        self.line = line
        super().__init__(line)


def key_lines(text: str) -> dict[Keys, int]:
    """Return the line of every key and list element, by its path.

    Where the text is not valid TOML, the keys up to the first mistake are right, and `tomllib` must reject the text.

    Raises:
        TooDeep: something is nested deeper than `MAX_DEPTH`.
    """
    return _Scanner(text).lines


class _Scanner:
    """A single pass over the tokens, without recursion. It reports no syntax errors."""

    def __init__(self, text: str):
        self.lines: dict[Keys, int] = {}
        self.line = 1
        self.last: dict[Keys, int] = {}  # index of the latest entry of each array of tables
        self.table: Keys = ()
        self.keys: list[str] = []  # the key being read
        self.header = 0  # brackets that opened the header being read
        self.open: list[tuple[str, Keys]] = []  # open brackets of a value, each with the path of what it contains
        self.value: Keys | None = None  # path of the value being read; None while a key is read
        for kind, token in _tokens(text):
            if kind != "skip":
                self._take(kind, token)
            elif "\n" in token:
                self._end_of_line()
            self.line += token.count("\n")

    def _take(self, kind: str, token: str) -> None:
        if self.value is None:
            self._take_key(kind, token)
        elif token == "," and kind == "mark":
            self._next()
        elif token in ("]", "}") and kind == "mark":
            self._close()
        else:
            self._take_value(kind, token)

    def _take_key(self, kind: str, token: str) -> None:
        if kind in ("bare", "quoted"):
            self.keys.append(_unquote(token) if kind == "quoted" else token)
            if len(self.keys) > MAX_DEPTH:
                raise TooDeep(self.line)
        elif token == "[" and not self.keys and not self.open:
            self.header += 1
        elif token == "]" and self.header:
            self._end_of_header()
        elif token == "}" and self.open:  # an empty inline table, or one with a trailing comma
            self._close()
        elif token == "=" and self.keys:
            base = self.open[-1][1] if self.open else self.table
            self.value, self.keys = self._record((*base, *self.keys)), []

    def _take_value(self, kind: str, token: str) -> None:
        assert self.value is not None
        if self.open and self.open[-1][0] == "[":
            self._record(self.value)  # an element of a list
        if kind == "mark" and token in "[{":
            self.open.append((token, self.value))
            self.value = (*self.value, 0) if token == "[" else None
            if len(self.open) > MAX_DEPTH:
                raise TooDeep(self.line)

    def _next(self) -> None:
        """After a comma, go to the next element of a list, or to the next key of an inline table."""
        if self.open and self.value is not None:
            bracket, path = self.open[-1]
            self.value = (*path, int(self.value[-1]) + 1) if bracket == "[" else None

    def _close(self) -> None:
        if self.open:
            self.value = self.open.pop()[1]
            self.keys = []

    def _end_of_line(self) -> None:
        if not self.open:
            self.value, self.keys, self.header = None, [], 0

    def _end_of_header(self) -> None:
        if self.keys:
            *above, name = self.keys
            path: Keys = ()
            for key in above:
                path = self._latest((*path, key))
            path = (*path, name)
            if self.header > 1:
                self._record(path)
                self.last[path] = self.last.get(path, -1) + 1
            self.table = self._record(self._latest(path))
        self.keys, self.header = [], 0

    def _latest(self, path: Keys) -> Keys:
        return (*path, self.last[path]) if path in self.last else path

    def _record(self, path: Keys) -> Keys:
        """Record the current line for a path, and for the tables above it that have none yet; return the path."""
        if len(path) > 2 * MAX_DEPTH:
            raise TooDeep(self.line)
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                break
            self.lines[path[:length]] = self.line
        return path


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "open":  # a multi-line string without an end
            return
        yield kind, match.group()


def _unquote(quoted: str) -> str:
    """Return the content of a quoted key."""
    try:
        return next(iter(tomllib.loads(f"{quoted} = 0")))
    except ValueError:
        return quoted


def split_key(text: str) -> tuple[list[str], str] | None:
    """Split `a."b.c".d = rest` into its keys and the rest; return None where the text has another form."""
    keys: list[str] = []
    expects_key, position = True, 0
    for kind, token in _tokens(text):
        position += len(token)
        if kind == "skip":
            continue
        if expects_key and kind in ("bare", "quoted"):
            keys.append(_unquote(token) if kind == "quoted" else token)
        elif expects_key or token not in (".", "=") or kind != "mark":
            return None
        elif token == "=":
            return keys, text[position:]
        expects_key = not expects_key
    return None
