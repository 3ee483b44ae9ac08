"""Metrics of synthetic faces, whose true parameters are known."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Domain, Metric, Options, Sample, Translation
from transgan_faces.sources import SyntheticFace
from transgan_faces.synthetic import AGES

#: The ages at which a person is rendered, in years.
RENDERED = np.arange(AGES[0], AGES[1] + 1, 2.0)


class SyntheticAgeOptions(Options):
    """Options of the metric `synthetic_age`."""

    strengths: list[float] = Field([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5], min_length=2)
    """The strengths, in ascending order."""
    samples: int = Field(48, ge=1)
    """Number of sources of each translation that are measured (1 or more)."""


class SyntheticAge(Metric[SyntheticAgeOptions]):
    """The age that a translated synthetic face shows at each strength, in years, by its exact parameters.

    The person of the source is rendered at all ages, and the translation's age is that of the nearest rendering by mean
    absolute difference, between renderings interpolated. Only translations between ages are measured.

    - `age_at_<strength>`: mean over the samples, in years;
    - `age_monotone`: the share of samples whose age never moves against the direction of the translation from one
      strength to the next, by more than half a year;
    - `age_order`: the same of the means, 1 or 0.
    """

    measures = ("pictures", 2)
    direction = {"age_monotone": "higher", "age_order": "higher"}

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Note the mean age of each domain."""
        self.ages = {
            name: float(np.mean([each.location.age for each in domain.samples]))
            for name, domain in domains.items()
            if all(isinstance(each.location, SyntheticFace) for each in domain.samples)
        }

    def reset(self) -> None:
        """Forget all updates."""
        self.shown: dict[Translation, list[list[float]]] = defaultdict(list)

    def update(
        self, translation: Translation, samples: list[Sample], source: Tensor, at_strength: Callable[[float], Tensor]
    ) -> None:
        """Add a batch: the held-out samples, the sources (N, 3, H, W), and their translations by strength."""
        ages = [self.ages.get(name) for name in (translation.source, translation.target)]
        room = self.options.samples - len(self.shown[translation])
        if ages[0] is None or ages[1] is None or abs(ages[1] - ages[0]) < 5 or room <= 0:
            return
        at = [at_strength(strength) for strength in self.options.strengths]
        for i, sample in enumerate(samples[:room]):
            rendered = renderings(sample.location, source.shape[-1]).to(source)
            self.shown[translation].append([apparent_age(y[i], rendered) for y in at])

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        found = {}
        for translation, rows in self.shown.items():
            if rows:
                years, sign = np.array(rows), np.sign(self.ages[translation.target] - self.ages[translation.source])
                steps, means = sign * np.diff(years, axis=1), sign * np.diff(years.mean(0))
                found[translation] = {
                    **{f"age_at_{s:g}": float(y) for s, y in zip(self.options.strengths, years.mean(0), strict=True)},
                    "age_monotone": float((steps >= -0.5).all(1).mean()),
                    "age_order": float((means >= 0).all()),
                }
        return found

    def warnings(self) -> Sequence[str]:
        """Say which translations are not between ages."""
        return ["only translations between ages are measured"] if not all(self.shown.values()) else []


def renderings(face: SyntheticFace, size: int) -> Tensor:
    """Return a person at the ages `RENDERED`, (A, 3, size, size) in [-1, 1]."""
    pictures = [SyntheticFace(face.seed, face.index, float(age), face.race)(size) for age in RENDERED]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def apparent_age(x: Tensor, rendered: Tensor) -> float:
    """Return the age of a picture (3, H, W): where the distance to the renderings of the person is least, in years.

    Between ages the distance is interpolated by the parabola through the least one and its neighbours.
    """
    distance = (rendered - x).abs().flatten(1).mean(1).cpu().double().numpy()
    i = int(distance.argmin())
    if not 0 < i < len(distance) - 1:
        return float(RENDERED[i])
    before, least, after = distance[i - 1 : i + 2]
    bend = before - 2 * least + after
    return float(RENDERED[i] + (RENDERED[1] - RENDERED[0]) * (0.5 * (before - after) / bend if bend > 0 else 0.0))
