"""Fixtures of data tests: an empty cache for each test, and a media whose samples differ in length."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transgan.api import Media, SampleRng


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))


class Numbers(Media):
    """Text files of numbers, of any length; the mean of the domain is subtracted from a batch."""

    ragged = True
    channels = 1
    suffixes = (".txt",)

    def __init__(self, options: Any = None, size: int = 4):
        super().__init__(options, size)
        self.decoded: list[str] = []
        """The locations that were decoded."""

    @property
    def space(self) -> tuple[int, ...]:
        return (self.size,)

    def decode(self, location: Any) -> np.ndarray:
        self.decoded.append(str(location))
        text = location(0) if callable(location) else Path(location).read_text()
        return np.array([[float(number)] for number in text.split()], np.float32)

    def fit_statistics(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        return {"mean": torch.from_numpy(np.concatenate(list(decoded)).mean(0))}

    def batch(self, decoded: Sequence[Tensor], rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        rows = zip(decoded, domains, strict=True)
        return torch.stack([each[: self.size].T - self.statistics[domain]["mean"][:, None] for each, domain in rows])


@pytest.fixture
def ragged_media() -> type[Media]:
    return Numbers
