"""Numbers that change as a run goes on."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Clock(BaseModel):
    """Where a run is. `step` counts completed steps, `epoch` passes over the largest domain, `run` goes from 0 to 1."""

    model_config = ConfigDict(frozen=True)

    step: int = 0
    epoch: float = 0.0
    run: float = 0.0


class Schedule(BaseModel):
    """A number that may change: `10.0`, or `{from = 10.0, to = 1.0, between = [100, 200], curve = "linear"}`.

    Before `between[0]` it is `from`, after `between[1]` it is `to`. `unit` is what `between` counts: `"steps"`,
    `"epochs"`, or `"run"`, the share of the whole run (0 to 1). With `curve = "steps"` the number is `values[i]` from
    `at[i]` on, and `from` before `at[0]`.
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
    def _number(cls, given: Any) -> Any:
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return {"from": float(given), "curve": "constant"}
        if isinstance(given, dict) and "unit" not in given:
            moments = given.get("at" if given.get("curve") == "steps" else "between")
            if isinstance(moments, list) and any(isinstance(each, (int, float)) and each > 1 for each in moments):
                return {**given, "unit": "steps"}  # [100, 200] can only be steps
        return given

    @model_validator(mode="after")
    def _sensible(self) -> "Schedule":
        if self.curve in ("linear", "cosine"):
            if self.to is None:
                raise ValueError(f"a {self.curve} schedule needs 'to'")
            if self.between[0] > self.between[1]:
                raise ValueError(f"between = {self.between} ends before it begins")
        if self.curve == "steps" and (not self.at or len(self.at) != len(self.values) or sorted(self.at) != self.at):
            raise ValueError("a schedule in steps needs 'at', rising, and as many 'values'")
        return self

    @property
    def constant(self) -> bool:
        return self.curve == "constant"

    def at_clock(self, clock: Clock) -> float:
        """The number at this moment of the run."""
        now = {"steps": float(clock.step), "epochs": clock.epoch, "run": clock.run}[self.unit]
        if self.curve == "steps":
            passed = [value for at, value in zip(self.at, self.values, strict=True) if now >= at]
            return passed[-1] if passed else self.start
        if self.curve == "constant" or self.to is None:
            return self.start
        begin, end = self.between
        share = 1.0 if now >= end else 0.0 if now <= begin else (now - begin) / (end - begin)
        if self.curve == "cosine":
            share = 0.5 - 0.5 * math.cos(math.pi * share)
        return self.start + (self.to - self.start) * share

    @property
    def ever(self) -> bool:
        """Whether it is anything but zero at some moment."""
        return any(self.numbers)

    @property
    def numbers(self) -> list[float]:
        """Those that it goes from, through and to."""
        return [self.start, *([] if self.to is None else [self.to]), *self.values]


def constant(number: float) -> Schedule:
    """The schedule that stays."""
    return Schedule.model_validate(float(number))
