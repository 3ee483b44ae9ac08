"""Schedules: numbers that change during a run."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Clock(BaseModel):
    """Progress of a run.

    `step` counts completed steps, `epoch` passes over the largest domain; `run` rises from 0 to 1. For a loss,
    `phase_step` counts the completed steps of its own phase, which may be due at every Nth step only.
    """

    model_config = ConfigDict(frozen=True)

    step: int = 0
    epoch: float = 0.0
    run: float = 0.0
    phase_step: int = 0


class Schedule(BaseModel):
    """A number that may change: `10.0`, or `{from = 10.0, to = 1.0, between = [100, 200], curve = "linear"}`.

    The value is `from` before `between[0]`, and `to` after `between[1]`. `unit` is the unit of `between` and `at`:
    `"steps"`, `"epochs"`, or `"run"`, the fraction of the whole run (0 to 1), also of a schedule in a stage; without
    it, numbers above 1 are steps. With `curve = "steps"` the value is `from` before `at[0]`, and `values[i]` from
    `at[i]` on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    start: float = Field(alias="from")
    to: float | None = None
    between: list[float] = Field([0.0, 1.0], min_length=2, max_length=2)
    unit: Literal["steps", "epochs", "run"] = "run"
    curve: Literal["constant", "linear", "cosine", "steps"] = "linear"
    at: list[float] = []
    values: list[float] = []

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        """Expand a plain number, and infer the unit where it is missing."""
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return {"from": float(given), "curve": "constant"}
        if isinstance(given, dict) and "unit" not in given:
            times = given.get("at" if given.get("curve") == "steps" else "between")
            if isinstance(times, list) and any(isinstance(each, (int, float)) and each > 1 for each in times):
                return {**given, "unit": "steps"}  # a fraction of the run is never above 1
        return given

    @model_validator(mode="after")
    def _check(self) -> "Schedule":
        unused = ("to", "between") if self.curve == "steps" else ("at", "values")
        if lost := [key for key in unused if key in self.model_fields_set and getattr(self, key) != _DEFAULTS[key]]:
            raise ValueError(f"a {self.curve} schedule has no '{lost[0]}'; leave it out, or choose another curve")
        times = self.at if self.curve == "steps" else self.between
        if self.unit == "run" and any(not 0 <= each <= 1 for each in times):
            raise ValueError(f"found {times} with unit = 'run', which is a part of the run, 0 to 1; or choose 'steps'")
        if self.curve in ("linear", "cosine"):
            if self.to is None:
                raise ValueError(f"a {self.curve} schedule needs 'to'")
            if self.between[0] > self.between[1]:
                raise ValueError(f"between = {self.between} ends before it begins")
        if self.curve == "steps" and (not self.at or len(self.at) != len(self.values) or sorted(self.at) != self.at):
            raise ValueError("a 'steps' schedule needs 'at' in ascending order, and 'values' of the same length")
        return self

    @property
    def constant(self) -> bool:
        """Whether the value is the same during the whole run."""
        return self.curve == "constant"

    def at_clock(self, clock: Clock) -> float:
        """Return the value at a point of the run."""
        now = {"steps": float(clock.step), "epochs": clock.epoch, "run": clock.run}[self.unit]
        if self.curve == "steps":
            passed = [value for at, value in zip(self.at, self.values, strict=True) if now >= at]
            return passed[-1] if passed else self.start
        if self.curve == "constant" or self.to is None:
            return self.start
        begin, end = self.between
        fraction = 1.0 if now >= end else 0.0 if now <= begin else (now - begin) / (end - begin)
        if self.curve == "cosine":
            fraction = 0.5 - 0.5 * math.cos(math.pi * fraction)
        return self.start + (self.to - self.start) * fraction

    @property
    def ever_nonzero(self) -> bool:
        """Whether the value differs from zero at any point of the run."""
        return any(self.numbers)

    def nonzero_between(self, first: Clock, last: Clock) -> bool:
        """Whether the value differs from zero at any point of a part of the run.

        How long an epoch is, only the data say: of a schedule in epochs the whole run counts.
        """
        if self.unit == "epochs":
            return self.ever_nonzero
        begin, end = ((clock.step if self.unit == "steps" else clock.run) for clock in (first, last))
        steps = [value for at, value in zip(self.at, self.values, strict=True) if begin < at <= end]
        return any([self.at_clock(first), self.at_clock(last), *steps])  # a curve rises or falls only

    @property
    def numbers(self) -> list[float]:
        """The numbers of the schedule: `from`, `to` and `values`; every value lies between two of them."""
        return [self.start, *([] if self.to is None else [self.to]), *self.values]


_DEFAULTS = {name: field.get_default(call_default_factory=True) for name, field in Schedule.model_fields.items()}


def _not_negative(schedule: Schedule) -> Schedule:
    if not all(number >= 0 for number in schedule.numbers):
        raise ValueError("expected 0 or more")
    return schedule


def _decay(schedule: Schedule) -> Schedule:
    if not all(0 <= number < 1 for number in schedule.numbers):
        raise ValueError("expected numbers from 0 to below 1")
    return schedule


NotNegative = Annotated[Schedule, AfterValidator(_not_negative)]
"""A learning rate, a limit, or a weight: with a sign a run would do the opposite of what it says, in silence."""
Decay = Annotated[Schedule, AfterValidator(_decay)]

#: The keys of a schedule's table.
SCHEDULE_KEYS = {field.alias or name for name, field in Schedule.model_fields.items()}


def constant(number: float) -> Schedule:
    """Return a schedule with the same value during the whole run."""
    return Schedule.model_validate(float(number))
