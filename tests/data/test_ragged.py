"""Samples that differ in length, and what a media learns of a domain: kept, found again, and used for each sample."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transgan.api import Media, Register, Sample, SampleRng, Source, hookimpl
from transgan.data.batches import Batches
from transgan.data.cache import DecodedCache
from transgan.data.domains import Domains
from transgan.plan import Plan


class Numbers(Media):
    """Text files of numbers: a row for each."""

    ragged = True
    channels = 1
    suffixes = (".txt",)

    def __init__(self, options: Any = None, size: int = 4):
        super().__init__(options, size)
        self.decoded: list[str] = []

    @property
    def space(self) -> tuple[int, ...]:
        return (self.size,)

    def decode(self, location: Any) -> np.ndarray:
        self.decoded.append(str(location))
        text = location(0) if callable(location) else Path(location).read_text()
        return np.array([[float(number)] for number in text.split()], np.float32)

    def fit_statistics(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        return {"mean": torch.from_numpy(np.concatenate(list(decoded)).mean(0))}

    def batch(self, decoded: Tensor | Sequence[Tensor], rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        rows = zip(decoded, domains, strict=True)
        return torch.stack([each[: self.size].T - self.statistics[domain]["mean"][:, None] for each, domain in rows])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    yield


def numbers(i: int) -> np.ndarray:
    return np.arange(4 + i, dtype=np.float32)[:, None] + 10 * i


def samples(folder: Path, count: int) -> list[Sample]:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        (folder / f"{i}.txt").write_text(" ".join(str(x) for x in numbers(i).ravel()))
    return [Sample(str(i), folder / f"{i}.txt") for i in range(count)]


def same(found: Any, indices: Iterable[int]) -> bool:
    expected = [numbers(i) for i in indices]
    return len(found) == len(expected) and all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_each_file_is_decoded_once_and_kept_at_its_own_length(tmp_path: Path) -> None:
    found, media = samples(tmp_path / "in", 5), Numbers()
    cache = DecodedCache(found, media)
    assert same(cache.get(np.array([3, 0, 3])), [3, 0, 3])
    assert same(cache.get(np.arange(5)), range(5))
    assert len(media.decoded) == 1 + 5  # the first told what they are like
    media = Numbers()
    assert same(DecodedCache(found, media).get(np.arange(5)), range(5))
    assert len(media.decoded) == 1
    torch.from_numpy(DecodedCache(found, media).get(np.arange(5))[2])  # without a warning: it may be written to


@pytest.mark.parametrize("damage", ["bit", "cut", "emptied", "gone", "another"])
def test_what_is_damaged_is_decoded_again(tmp_path: Path, damage: str) -> None:
    found = samples(tmp_path / "in", 4)
    DecodedCache(found, Numbers()).get(np.arange(4))
    (kept,) = (tmp_path / "cache/decoded").glob("*/2.npy")
    data = bytearray(kept.read_bytes())
    if damage == "bit":
        data[-1] ^= 1
        kept.write_bytes(data)
    elif damage == "gone":
        kept.unlink()
    elif damage == "another":
        kept.write_bytes(kept.with_name("3.npy").read_bytes())
    else:
        kept.write_bytes(data[: 40 if damage == "cut" else 0])
    media = Numbers()
    assert same(DecodedCache(found, media).get(np.arange(4)), range(4))
    assert media.decoded[1:] == [str(found[2].location)]


def test_memory_will_do_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    found = samples(tmp_path / "in", 3)
    cache = DecodedCache(found, Numbers())
    monkeypatch.setattr(np, "save", full)
    assert same(cache.get(np.arange(3)), range(3)) and same(cache.get(np.array([1])), [1])
    made = [Sample(str(i), lambda size, i=i: " ".join(map(str, numbers(i).ravel()))) for i in range(3)]
    assert same(DecodedCache(made, Numbers()).get(np.arange(3)), range(3))


class Made(Source):
    """Domains `a`, `b`, `c`: numbers from 0, 100 and 200 on."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        first = 100 * "abc".index(selection)
        return [
            Sample(f"{selection}{i}", lambda size, i=i: " ".join(str(first + x) for x in range(4 + i)))
            for i in range(6)
        ]


class Plugin:
    @hookimpl
    def register_sources(self, register: Register) -> None:
        register("made", Made)

    @hookimpl
    def register_media(self, register: Register) -> None:
        register("numbers", Numbers)


PLAN = """
[data]
source = "made"
media = "numbers"
size = 4
held_out = 0.0
[domains]
a = "a"
b = "b"
c = "c"
[tasks]
task = { between = ["a", "b", "c"], targets = "random" }
[train]
steps = 3
batch = 9
[generators.g]
use = "resnet"
width = 4
blocks = 1
[losses]
identity = 1.0
[[phases]]
side = "generator"
"""


def test_samples_of_several_domains_in_a_batch_are_each_read_by_what_was_learnt_of_theirs(
    planned: Callable[..., Plan],
) -> None:
    plan = planned(PLAN, Plugin())
    domains = Domains(plan)
    batches = Batches(plan, domains)
    # Samples are 0..3, 0..4, ..., 0..8 above the domain's first number: 117 over 39 numbers.
    mean = sum(sum(range(4 + i)) for i in range(6)) / sum(4 + i for i in range(6))
    (batch_inputs,) = batches.at(0)
    seen = {name: batch_inputs[plan.translations[0], name] for name in ("source", "target", "source_domain")}
    assert set(seen["source_domain"].tolist()) == {0, 1, 2}
    expected = torch.arange(4.0).expand(9, 1, 4) - mean
    assert torch.allclose(seen["source"], expected, atol=1e-4) and torch.allclose(seen["target"], expected, atol=1e-4)
    assert {name: float(known["mean"]) for name, known in domains.statistics.items()} == pytest.approx(
        {"a": mean, "b": 100 + mean, "c": 200 + mean}, rel=1e-5
    )
    domains.statistics["a"] = {"mean": torch.tensor([7.0])}
    domains.fit_statistics()
    assert float(domains.statistics["a"]["mean"]) == 7.0  # what is known is not learnt again
