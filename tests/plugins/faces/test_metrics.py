"""The metric `synthetic_age`: the age of a rendered face is read to a year, and strengths are put in order."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_faces.metrics import SyntheticAge, SyntheticAgeOptions, apparent_age, renderings
from transgan_faces.sources import SyntheticFace

from transgan.api import Domain, Sample, Translation

THERE = Translation("age", "young", "old")


def face(index: int, age: float) -> SyntheticFace:
    return SyntheticFace(0, index, age, "White")


def picture(of: SyntheticFace, size: int = 48) -> Tensor:
    return torch.from_numpy(of(size)).permute(2, 0, 1).float() / 127.5 - 1


@pytest.mark.parametrize("age", [20.0, 27.3, 41.0, 55.0, 63.5, 79.0])
def test_the_age_of_a_rendered_face_is_read_to_a_year(age: float) -> None:
    rng = torch.Generator().manual_seed(0)
    for index in range(3):
        x, ages = picture(face(index, age)), renderings(face(index, 25.0), 48)
        assert apparent_age(x, ages) == pytest.approx(age, abs=1.0)
        noisy = x + 0.03 * torch.randn(x.shape, generator=rng)
        assert apparent_age(noisy, ages) == pytest.approx(age, abs=3.0)


def domain(name: str, ages: list[float]) -> Domain:
    samples = [Sample(f"{i}", face(i, age), {"age": age}) for i, age in enumerate(ages)]
    return Domain(name, samples, samples, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("shown", "monotone"), [([25, 40, 55], 1.0), ([25, 55, 40], 0.0)])
def test_strengths_are_in_order_where_ages_are(shown: list[float], monotone: float) -> None:
    strengths = [0.0, 0.5, 1.0]
    metric = SyntheticAge(SyntheticAgeOptions(strengths=strengths, samples=2))
    domains = {"young": domain("young", [20.0, 30.0]), "old": domain("old", [50.0, 60.0])}
    metric.prepare(domains, {"age": ["young", "old"]}, 0)
    metric.reset()

    def at_strength(strength: float) -> Tensor:
        return torch.stack([picture(face(i, shown[strengths.index(strength)])) for i in range(2)])

    samples = list(domains["young"].samples)
    metric.update(THERE, samples, at_strength(0.0), at_strength)
    figures = metric.compute()[THERE]
    assert (figures["age_monotone"], figures["age_order"]) == (monotone, monotone)
    for strength, age in zip(strengths, shown, strict=True):
        assert figures[f"age_at_{strength:g}"] == pytest.approx(age, abs=1.0)
    metric.update(Translation("race", "young", "young"), samples, at_strength(0.0), at_strength)
    assert set(metric.compute()) == {THERE} and metric.warnings() == ["only translations between ages are measured"]


def test_the_renderings_are_at_the_ages_that_the_metric_knows() -> None:
    from transgan_faces.metrics import RENDERED

    ages: Any = renderings(face(1, 30.0), 32)
    assert len(ages) == len(RENDERED)
    at = int(np.flatnonzero(RENDERED == 40)[0])
    torch.testing.assert_close(ages[at], picture(face(1, 40.0), 32))
