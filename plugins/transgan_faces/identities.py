"""Synthetic identities: one rendered person as a domain, of whom expression, pose of the head and light vary.

Everything else is fixed for an identity, as in clips of one person before one wall. The true translation of a sample is
the other person with the same expression, so what a face swap keeps and what it loses can be measured exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import DataError, Options, Sample, Source, UsageError
from transgan_faces.detection import LANDMARK_TEMPLATE
from transgan_faces.synthetic import AGES, RACES, Person, render, sample_person

#: What varies, in the order of `IdentityFace.expression`; each is uniform in 0 to 1.
EXPRESSION = ("smile", "mouth", "eyes", "gaze", "brows", "yaw", "tilt", "light")
#: Margin of the picture around a face, as of the region detector `faces`, whose crops of clips these stand for.
MARGIN = 0.15
#: Height v of the eyes in face units, see `synthetic_shapes`.
EYES = -0.035


def with_expression(person: Person, expression: tuple[float, ...]) -> Person:
    """Return a person with an expression, numbers from 0 to 1 in the order of `EXPRESSION`.

    `mouth` and `eyes` are how far they are open, `brows` how far they are raised; `gaze`, `yaw` of the head, `tilt` of
    the head and `light` go from the picture's left to its right. What an identity looks like at rest stays: opened
    eyes and brows are relative to it. The face fills the picture as the region detector `faces` crops it.
    """
    smile, mouth, eyes, gaze, brows, yaw, tilt, light = expression
    left, right = LANDMARK_TEMPLATE[:2] - 0.5
    side = 2 * person.eye_gap / (right[0] - left[0]) * (1 + 2 * MARGIN)  # in face units
    down = -left[1] / (1 + 2 * MARGIN) * side + EYES  # the middle of the picture
    return replace(
        person,
        scale=2 / side,
        shift=(0.0, -2 * down / side),
        smile=1.1 * smile - 0.15,
        mouth_open=mouth,
        chin=person.chin + 0.03 * mouth,  # the jaw drops
        eye_open=person.eye_open * (0.35 + 0.85 * eyes),
        gaze=(0.06 * gaze - 0.03, 0.0),
        brow_height=person.brow_height + 0.055 * brows - 0.02,
        yaw=0.18 * yaw - 0.09,
        tilt=0.24 * tilt - 0.12,
        light=2 * light - 1,
    )


@dataclass(frozen=True)
class IdentityFace:
    """A picture of an identity; calling it with a side in pixels renders it."""

    seed: int
    person: int
    age: float
    race: str
    expression: tuple[float, ...]
    """0 to 1 each, in the order of `EXPRESSION`."""

    def __call__(self, size: int) -> np.ndarray:
        """Return the face as RGB uint8 (size, size, 3).

        Raises:
            DataError: age, race or size is out of range.
        """
        person = with_expression(sample_person(self.seed, self.person), self.expression)
        try:
            return render(person, age=self.age, race=self.race, size=size)
        except ValueError as error:
            raise DataError(f"person {self.person}: {error}") from None


class SyntheticIdentitiesOptions(Options):
    """Options of the source `synthetic_identities`."""

    count: int = Field(1000, ge=4, le=100_000)
    """Number of pictures of each identity."""
    seed: int = Field(0, ge=0)
    """Seed of people and expressions; another seed gives unrelated ones."""


class SyntheticIdentities(Source[SyntheticIdentitiesOptions]):
    """Rendered pictures of single people, each with its exact counterpart: the other person, the same expression.

    A domain is `{ person = 3 }`, the number of a person, with `age` in years (30) and `race` (White) where these are to
    be others. Smile, opening of mouth and eyes, gaze, brows, yaw, tilt and light vary, independently and at random.
    """

    reads_root = False
    card = "These faces are rendered from parameters and show no real person. Figures on them are about the method."

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        number, age, race = _identity(domain, selection)
        rng = np.random.Generator(np.random.Philox(key=[self.options.seed, number]))
        expressions = rng.random((self.options.count, len(EXPRESSION)))
        return [
            Sample(
                f"person-{number}-{index:06d}",
                IdentityFace(self.options.seed, number, age, race, tuple(map(float, expression))),
                {"person": number},
            )
            for index, expression in enumerate(expressions)
        ]

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the person of the target domain with the same expression."""
        number, age, race = _identity("target", target)
        face = replace(sample.location, person=number, age=age, race=race)
        return Sample(sample.key, face, {"person": number})


def _identity(domain: str, selection: Any) -> tuple[int, float, str]:
    """Return number, age and race of the identity that a selection names."""
    table = selection if isinstance(selection, Mapping) else {}
    number, age, race = table.get("person"), table.get("age", 30.0), table.get("race", RACES[0])
    if type(number) is not int or not 0 <= number < 2**64 or not set(table) <= {"person", "age", "race"}:
        raise UsageError(f"[domains] {domain} = {selection}: expected the number of a person, such as {{ person = 3 }}")
    if not isinstance(age, int | float) or not AGES[0] <= age <= AGES[1] or race not in RACES:
        limits = f"an age of {AGES[0]:g} to {AGES[1]:g} years and a race of {', '.join(RACES)}"
        raise UsageError(f"[domains] {domain} = {selection}: expected {limits}")
    return number, float(age), str(race)
