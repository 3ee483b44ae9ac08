"""The metric `hair_edge`: energies of gradients at the edge of the hair, against loops and known answers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_faces.metrics_hair import HairEdge, gradient_energy, hair_edge
from transgan_faces.sources import SyntheticFace
from transgan_faces.synthetic import hair_opacity, render, sample_person

from transgan.api import Sample, Translation

OLD = Translation("age", "young", "old")
FACES = [SyntheticFace(0, index, 55.0, race) for index, race in enumerate(("White", "Black", "White"))]


def pictures(faces: list[SyntheticFace], size: int = 64) -> Tensor:
    return torch.from_numpy(np.stack([each(size) for each in faces])).permute(0, 3, 1, 2).float() / 127.5 - 1


def measured(fake: Tensor, source: Tensor | None = None) -> dict[str, float]:
    truth = pictures(FACES)
    metric = HairEdge(HairEdge.Options())
    metric.reset()
    samples = [Sample(str(i), each, {}) for i, each in enumerate(FACES)]
    metric.update(OLD, fake, truth if source is None else source, truth, samples)
    return metric.compute()[OLD]


def test_the_truth_has_all_energy_and_no_error() -> None:
    figures = measured(pictures(FACES))
    assert figures["hair_edge_energy"] == 1 and figures["hair_edge_error"] == 0


def test_what_has_no_edges_has_no_energy_and_an_error_of_one() -> None:
    figures = measured(torch.zeros(3, 3, 64, 64), torch.full((3, 3, 64, 64), 0.5))
    assert figures["hair_edge_energy"] == 0 and figures["hair_edge_error"] == pytest.approx(1)
    assert figures["hair_edge_energy_of_source"] == 0 and figures["hair_edge_error_of_source"] == pytest.approx(1)


def test_contrast_goes_by_its_square_and_blur_takes_energy() -> None:
    truth = pictures(FACES)
    assert measured(0.5 * truth)["hair_edge_energy"] == pytest.approx(0.25)
    blurred = torch.nn.functional.avg_pool2d(truth, 3, 1, 1, count_include_pad=False)
    assert measured(blurred)["hair_edge_energy"] < 0.6


def test_what_is_not_at_the_edge_of_the_hair_does_not_matter() -> None:
    fake = pictures(FACES)
    edges = torch.stack([hair_edge(each, 64) for each in FACES])
    noise = torch.rand(fake.shape, generator=torch.Generator().manual_seed(0))
    figures = measured(torch.where(edges[:, None], fake, noise))
    assert figures["hair_edge_energy"] == 1 and figures["hair_edge_error"] == 0


def test_the_energy_is_that_of_a_loop_in_double_precision() -> None:
    rng = np.random.default_rng(0)
    x, where = rng.normal(size=(2, 3, 5, 6)), rng.random((2, 5, 6)) < 0.6
    total = 0.0
    for n in range(2):
        for i in range(5):
            for j in range(6):
                for a, b in ((i, j + 1), (i + 1, j)):
                    if a < 5 and b < 6 and where[n, i, j] and where[n, a, b]:
                        total += sum((x[n, c, a, b] - x[n, c, i, j]) ** 2 for c in range(3))
    assert gradient_energy(torch.from_numpy(x), torch.from_numpy(where)) == pytest.approx(total, rel=1e-12)


def test_the_edge_lies_where_the_hair_ends() -> None:
    """At every pixel of the edge there is hair within a pixel, and something else too."""
    for face in FACES:
        opacity = hair_opacity(sample_person(face.seed, face.index), face.age, face.race, 64) > 0.5
        rows, columns = np.nonzero(hair_edge(face, 64).numpy())
        assert len(rows) > 40
        for i, j in zip(rows, columns, strict=True):
            around = opacity[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            assert around.any() and not around.all()


def test_hair_is_where_grey_hair_differs_from_brown() -> None:
    """Inside the hair of an old person the picture is grey: its channels differ less than those of the skin."""
    person = sample_person(0, 0)
    image = render(person, age=80, race="White", size=64).astype(float)
    spread = image.max(-1) - image.min(-1)
    hair = hair_opacity(person, 80, "White", 64) > 0.99
    assert spread[hair].mean() < 0.5 * spread[28:40, 28:36].mean() and not math.isnan(spread[hair].mean())


def test_other_samples_are_reported() -> None:
    metric = HairEdge(HairEdge.Options())
    metric.reset()
    x = torch.zeros(1, 3, 8, 8)
    metric.update(OLD, x, x, x, [None])
    assert metric.compute() == {}
    assert list(metric.warnings()) == ["the edge of the hair is known for the source synthetic_faces only"]
