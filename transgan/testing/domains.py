"""Domains of random samples, for plugins that look at the data before a run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import NetworkSpec
from transgan.api.samples import Column, Domain, Media, Sample
from transgan.testing.checker import N
from transgan.testing.values import sample


class PlainMedia(Media[Any]):
    """Media whose items and decoded samples are tensors, for metrics that ask a domain for its media."""

    spec: NetworkSpec

    @property
    def space(self) -> tuple[int, ...]:
        return self.spec.space

    def decode(self, location: Any) -> Any:
        return location(None)

    def batch(self, decoded: Any, rng: Any, domains: Sequence[str]) -> Tensor:
        return torch.as_tensor(decoded)

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        return path


def domains_of(spec: NetworkSpec) -> dict[str, Domain]:
    """Return every domain, with random samples that are held out too."""
    return {name: _domain(spec, name, 20 + i) for i, name in enumerate(spec.domains)}


def _domain(spec: NetworkSpec, name: str, seed: int) -> Domain:
    torch.manual_seed(seed)
    x = sample(spec, count=2 * N)
    samples = [Sample(f"{name}-{i}", lambda size, i=i: x[i].numpy(), {}) for i in range(2 * N)]

    def batches(held_out: bool, size: int, numbers: Sequence[int] | None = None) -> Iterator[tuple[list[str], Tensor]]:
        order = list(range(2 * N) if numbers is None else numbers)
        for first in range(0, len(order), size):
            part = order[first : first + size]
            yield [samples[i].key for i in part], x[part]

    media = PlainMedia(PlainMedia.Options(), spec.space)
    media.spec, media.channels = spec, spec.channels
    return Domain(name, samples, samples, batches, media)
