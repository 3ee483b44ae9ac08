"""Points of the plane for the recipes beside this file: the source `points` and the media `point`.

The distributions of Tong et al., *Improving and generalizing flow-based generative models with minibatch optimal
transport*, TMLR 2024: a standard normal one; eight Gaussians on a circle of radius 5, each with the variance 0.1 ** 0.5
along an axis; two half moons (noise 0.2), times 3, less 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Column, Media, Options, Register, Sample, SampleRng, Source, UsageError, hookimpl


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    points: np.ndarray = rng.standard_normal((count, 2))
    return points


def eight(rng: np.random.Generator, count: int) -> np.ndarray:
    angles = rng.integers(8, size=count) * np.pi / 4
    points: np.ndarray = 5 * np.stack([np.cos(angles), np.sin(angles)], 1) + 0.1**0.25 * rng.standard_normal((count, 2))
    return points


def moons(rng: np.random.Generator, count: int) -> np.ndarray:
    angles, lower = np.pi * rng.random(count), rng.random(count) < 0.5
    x = np.where(lower, 1 - np.cos(angles), np.cos(angles))
    y = np.where(lower, 0.5 - np.sin(angles), np.sin(angles))
    points: np.ndarray = 3 * (np.stack([x, y], 1) + 0.2 * rng.standard_normal((count, 2))) - 1
    return points


DISTRIBUTIONS = {"normal": normal, "eight": eight, "moons": moons}


@dataclass(frozen=True)
class Point:
    x: float
    y: float


class PointsOptions(Options):
    """Options of the source `points`."""

    count: int = Field(12_000, ge=2)
    """Number of points of each domain."""
    seed: int = 0
    """Seed of the points."""


class Points(Source[PointsOptions]):
    """Points of a distribution: `normal`, `eight` or `moons`."""

    reads_root = False

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        if selection not in DISTRIBUTIONS:
            raise UsageError(f"expected one of {', '.join(DISTRIBUTIONS)}")
        rng = np.random.default_rng([self.options.seed, *domain.encode()])
        points = DISTRIBUTIONS[selection](rng, self.options.count)
        return [Sample(f"{i:06}", Point(float(x), float(y))) for i, (x, y) in enumerate(points)]


class PointMedia(Media[Options]):
    """A point as an image of one pixel and two channels, (N, 2, 1, 1), in units of its own."""

    suffixes = (".txt",)
    channels = 2
    bounded = False

    @property
    def space(self) -> tuple[int, ...]:
        return (1, 1)

    def decode(self, location: Point) -> np.ndarray:
        return np.array([location.x, location.y], np.float32).reshape(2, 1, 1)

    def batch(self, decoded: Tensor, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        return decoded

    def read(self, item: Any) -> Tensor:
        if isinstance(item, Tensor):
            return item
        return torch.tensor([float(each) for each in Path(item).read_text().split()]).reshape(2, 1, 1)

    def to_model(self, x: Tensor, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        return x[None], None

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Tensor:
        return y[0].cpu()

    def write(self, x: Tensor, path: Path) -> None:
        path.write_text("{:.6g} {:.6g}\n".format(*x.flatten().tolist()))

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        rows = zip(*(column.items for column in columns.values()), strict=False)
        lines = ["  ".join("{:8.3f} {:8.3f}".format(*x.flatten().tolist()) for x in row) for row in rows]
        path.with_suffix(".txt").write_text("\n".join(["  ".join(columns), *lines, ""]))
        return path.with_suffix(".txt")


@hookimpl
def register_sources(register: Register) -> None:
    register("points", Points)


@hookimpl
def register_media(register: Register) -> None:
    register("point", PointMedia)
