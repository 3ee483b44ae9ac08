"""The result of a run, read from result.json: its shape is checked once, for all who use it."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from transgan.errors import DataError
from transgan.storage import finish_remedy
from transgan.text import printable


class _Result(BaseModel):
    """The form of result.json. An earlier version may not have written every key."""

    model_config = ConfigDict(strict=True)

    recipe: str = ""
    steps: int = 0
    kept: int = 0
    seed: int = 0
    held_out: bool = True
    translations: dict[str, dict[str, float]] = {}
    protocols: dict[str, str] = {}
    conditions: dict[str, dict[str, float]] = {}
    warnings: list[str] = []
    advice: list[str] = []
    guard: list[str] = []


def read_result(path: Path) -> dict[str, Any] | None:
    """Return the content of a run's result.json; None where there is no such file.

    Raises:
        DataError: it cannot be read, or is not what a run writes.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"found {_shown(found)}, expected the figures of a run")
        _Result.model_validate(found)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = printable(".".join(map(str, first["loc"])))
        why = f"{place}: found {_shown(first['input'])}, expected {first['msg'].removeprefix('Input should be ')}"
        raise _damaged(path, why) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, printable(error)) from None
    return found


def _shown(value: object) -> str:
    return f"{printable(json.dumps(value)):.60}"


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: cannot be read: {why}{finish_remedy(path.parent)}")
