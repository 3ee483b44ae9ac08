"""The source `synthetic_colours` and the metrics `modes` and `transport`: moments, closed forms, and mistakes."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from transgan_images.metrics_points import (
    Modes,
    ModesOptions,
    Transport,
    TransportOptions,
    held_out_points,
    wasserstein,
)
from transgan_images.points import ColoursOptions, Mixture, Plain, SyntheticColours

from transgan.api import DataError, Domain, Translation, UsageError

THERE = Translation("t", "a", "b")


def test_points_have_the_moments_that_were_asked_for() -> None:
    """Standard errors of a mean and of a variance of 4000 numbers: 0.016 and 0.022 of them; five of these."""
    mixture = Mixture.of({"centre": [0.1, -0.2], "spread": [0.2, 0.05], "turn": 30})
    x = np.array([mixture.point(0, "a", i)[1] for i in range(4000)])
    turn = np.radians(30)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    along = (x - [0.1, -0.2]) @ axes
    assert np.abs(along.mean(0) / [0.2, 0.05]).max() < 0.08
    assert np.abs(along.var(0) / [0.04, 0.0025] - 1).max() < 0.12
    assert abs(np.corrcoef(along.T)[0, 1]) < 0.08


@pytest.mark.parametrize(("selection", "count"), [({"grid": 5}, 25), ({"ring": 8}, 8), ({}, 1)])
def test_every_mode_has_its_share(selection: dict[str, Any], count: int) -> None:
    mixture = Mixture.of(selection)
    modes = np.array([mixture.point(1, "a", i)[0] for i in range(2000)])
    assert len(np.unique(mixture.centres, axis=0)) == count and np.abs(mixture.centres).max() <= 0.8
    assert np.abs(np.bincount(modes, minlength=count) - 2000 / count).max() < 5 * np.sqrt(2000 / count)


def test_a_picture_has_the_colour_of_its_point() -> None:
    assert Plain(-1.0, 1.0)(2).tolist() == [[[0, 255, 128]] * 2] * 2
    assert Plain(5.0, 0.0)(1).tolist() == [[[255, 128, 128]]]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (3, "found 3; expected a table"),
        ({"grids": 2}, "unknown key 'grids'. Did you mean 'grid'?"),
        ({"grid": 0}, "grid = 0: expected a whole number from 1 to 100"),
        ({"grid": 2, "ring": 3}, "grid = 2 and ring = 3: expected one of them"),
        ({"centre": [2, 0]}, "centre = [2, 0]: expected red and green from -1 to 1"),
        ({"spread": "wide"}, "spread = 'wide': expected a number from 0 to 1, or two"),
        ({"turn": "left"}, "turn = 'left': expected degrees"),
    ],
)
def test_mistakes_in_a_selection(selection: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Mixture.of(selection)


def test_fewer_pictures_than_modes_are_an_error() -> None:
    with pytest.raises(DataError, match="4 Gaussians and count = 3 pictures"):
        SyntheticColours(ColoursOptions(count=3), None).samples("a", {"grid": 2})


def domain(name: str, selection: dict[str, Any], count: int = 600) -> Domain:
    samples = SyntheticColours(ColoursOptions(count=count), None).samples(name, selection)

    def batches(held_out: bool, size: int) -> Any:
        for start in range(0, count, size):
            part = samples[start : start + size]
            yield (
                [s.key for s in part],
                torch.stack([torch.from_numpy(s.location(1)) for s in part]).permute(0, 3, 1, 2) / 127.5 - 1,
            )

    return Domain(name, samples, samples, batches, None)  # type: ignore[arg-type]


def test_modes_that_are_missed_and_points_that_are_near_none() -> None:
    metric = Modes(ModesOptions())
    metric.prepare({"a": domain("a", {}), "b": domain("b", {"grid": 2, "spread": 0.05})}, {"t": ["a", "b"]}, 0)
    metric.reset()
    at = [[-0.8, -0.8], [-0.75, -0.8], [0.8, 0.8], [0.0, 0.0]]  # two corners of four, and the middle
    metric.update(THERE, torch.tensor([[*each, 0.004] for each in at])[..., None, None])
    assert metric.compute() == {THERE: {"modes": 0.5, "near_modes": 0.75}}


def test_modes_without_labels_are_reported() -> None:
    with pytest.raises(UsageError, match="the label 'kind'"):
        Modes(ModesOptions(label="kind")).check_domains({"a": domain("a", {"grid": 2})}, {"t": ["a"]})


def test_between_moved_sets_the_distance_is_the_way() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    assert wasserstein(x, np.flip(x, 0) + np.array([3.0, 4.0, 0.0])) == pytest.approx(5.0)


def test_between_gaussians_the_distance_is_the_closed_form() -> None:
    """|m - n|^2 + (s - t)^2 on each axis (Peyre & Cuturi, 2019, remark 2.31), to the error of 1,000 points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 2)) * [0.3, 0.1]
    y = rng.normal(size=(1000, 2)) * [0.1, 0.4] + [1.0, 0.0]
    assert wasserstein(x, y) == pytest.approx(np.sqrt(1 + 0.2**2 + 0.3**2), rel=0.03)


def test_translations_that_are_the_targets_went_as_far_as_the_pairs_are() -> None:
    metric = Transport(TransportOptions())
    source, target = domain("a", {"spread": 0.2}, 64), domain("b", {"spread": 0.2, "centre": [0.5, 0.0]}, 64)
    metric.prepare({"a": source, "b": target}, {"t": ["a", "b"]}, 0)
    metric.reset()
    ((_, x),), ((_, y),) = ([*each.batches(True, 64)] for each in (source, target))
    metric.update(THERE, x, y)
    figures = metric.compute()[THERE]
    assert figures["transport_error"] == 0
    assert figures["transport_length"] == pytest.approx(float((y - x).square().sum((1, 2, 3)).mean().sqrt()), rel=1e-6)
    assert figures["transport_least"] < figures["transport_length"] and figures["transport_error_of_real"] > 0


def test_real_points_are_drawn_alike_in_every_process() -> None:
    """One after the other in the order of the tasks, whatever the order of a set of names is."""
    domains = {name: domain(name, {}, 20) for name in ("young", "old", "white", "black", "horse", "zebra")}
    tasks = {"one": ["young", "old"], "two": ["white", "black"], "three": ["horse", "zebra", "young"]}
    metric = Transport(TransportOptions())
    metric.prepare(domains, tasks, 7)
    rng = np.random.default_rng(7)
    for name, each in domains.items():
        points = held_out_points(each)
        assert np.array_equal(metric.real[name], points[rng.permutation(len(points))])
