"""Results and errors as JSON: with `--json`, stdout is one document whatever happens."""

import json
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from numbers import Integral, Real
from typing import Any

from transgan.errors import Problem, SeveralProblems, TransganError
from transgan.text import printable, show


class _Document:
    """Whether a document is wanted, and whether it is printed."""

    wanted = False
    printed = False


def want_json(wanted: bool) -> None:
    """Print errors as JSON from now on, or as text alone."""
    _Document.wanted, _Document.printed = wanted, False


def show_json(value: object) -> None:
    """Print a result on stdout as a JSON document."""
    show(json_text(value))
    _Document.printed = True


def json_text(value: object) -> str:
    """Return a value as a JSON document: see `as_json`."""
    return json.dumps(as_json(value), indent=2, allow_nan=False)


def as_json(value: Any) -> Any:
    """Return a value in the types of JSON: paths as text, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return [as_json(each) for each in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)


def show_error(error: BaseException, text: str, code: int) -> None:
    """Print an error as a JSON document on stdout, where `--json` is given and no result is printed.

    Args:
        text: what stderr says.
        code: the exit code.
    """
    # The options may be what is wrong: then none of them has been read.
    if (_Document.wanted or "--json" in sys.argv[1:]) and not _Document.printed:
        with suppress(OSError):  # stdout may be what has failed
            show_json({"error": error_as_json(error, text, code)})


def error_as_json(error: BaseException, text: str, code: int) -> dict[str, Any]:
    """Return an error by stable keys: `type`, `message`, `exit_code`, and `problems`, one at least."""
    problems = (
        error.problems if isinstance(error, SeveralProblems) else [Problem(printable(text.removeprefix("error: ")))]
    )
    return {
        "type": type(error).__name__ if isinstance(error, TransganError) else "UsageError" if code == 2 else "Error",
        "message": text.removeprefix("error: "),
        "exit_code": code,
        "problems": [
            {"file": each.file, "line": each.line, "key": each.key, "message": each.message} for each in problems
        ],
    }
