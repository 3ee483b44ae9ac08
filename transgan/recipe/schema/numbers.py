"""Numbers of a recipe, with bounds that only a mistake or an attack exceeds; and sizes of samples."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt

from transgan.options import Size

#: Bounds on what a step may hold, and on what a checkpoint's name may count.
MAX_BATCH, MAX_SIZE, MAX_STEPS = 65_536, 65_536, 99_999_999


def _at_most(limit: int) -> AfterValidator:
    """Return a check against a bound that only a mistake or an attack exceeds, so that help need not name it."""

    def check(number: int) -> int:
        if number > limit:
            raise ValueError(f"found {number}, expected at most {limit:,}")
        return number

    return AfterValidator(check)


Count = Annotated[PositiveInt, _at_most(MAX_BATCH)]
Steps = Annotated[PositiveInt, _at_most(MAX_STEPS)]
Axis = Annotated[PositiveInt, _at_most(MAX_SIZE)]
SampleSize = Annotated[
    Axis | Annotated[list[Axis], Field(min_length=2, max_length=3)],
    Field(json_schema_extra={"expected": "a whole number of at least 1, or [height, width]"}),
]


def as_size(size: int | list[int]) -> Size:
    """Return a recipe's size as media take it."""
    return tuple(size) if isinstance(size, list) else size


def smaller_size(size: int | list[int], limit: int | list[int]) -> Size:
    """Return a size, where it exceeds a limit the limit, axis by axis."""
    if isinstance(size, int) and isinstance(limit, int):
        return min(size, limit)
    axes = len(limit) if isinstance(limit, list) else len(size) if isinstance(size, list) else 1
    sizes, limits = ([each] * axes if isinstance(each, int) else each for each in (size, limit))
    return tuple(min(a, b) for a, b in zip(sizes, limits, strict=True))
