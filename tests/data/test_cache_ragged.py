"""The cache of decoded samples that differ in length: a file for each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transgan.api import DataWarning, Sample
from transgan.api.samples import Notes
from transgan.data import cache as module
from transgan.data.cache import DecodedCache


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


def test_each_file_is_decoded_once_and_kept_at_its_own_length(tmp_path: Path, ragged_media: Any) -> None:
    found, media = samples(tmp_path / "in", 5), ragged_media()
    cache = DecodedCache(found, media)
    assert same(cache.get(np.array([3, 0, 3])), [3, 0, 3])
    assert same(cache.get(np.arange(5)), range(5))
    assert len(media.decoded) == 1 + 5  # the first one twice, for shape and dtype
    media = ragged_media()
    assert same(DecodedCache(found, media).get(np.arange(5)), range(5))
    assert len(media.decoded) == 1
    torch.from_numpy(DecodedCache(found, media).get(np.arange(5))[2])  # gives no warning, since the array is writable


@pytest.mark.parametrize("damage", ["bit", "cut", "emptied", "missing", "swapped"])
def test_a_damaged_file_is_decoded_again(tmp_path: Path, ragged_media: Any, damage: str) -> None:
    found = samples(tmp_path / "in", 4)
    DecodedCache(found, ragged_media()).get(np.arange(4))
    (kept,) = (tmp_path / "cache/decoded").glob("*/2.npy")
    data = bytearray(kept.read_bytes())
    if damage == "bit":
        data[-1] ^= 1
        kept.write_bytes(data)
    elif damage == "missing":
        kept.unlink()
    elif damage == "swapped":
        kept.write_bytes(kept.with_name("3.npy").read_bytes())
    else:
        kept.write_bytes(data[: 40 if damage == "cut" else 0])
    media = ragged_media()
    assert same(DecodedCache(found, media).get(np.arange(4)), range(4))
    assert media.decoded[1:] == [str(found[2].location)]


def test_samples_are_kept_in_memory_where_nothing_can_be_written(
    tmp_path: Path, ragged_media: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    found = samples(tmp_path / "in", 3)
    cache = DecodedCache(found, ragged_media())
    monkeypatch.setattr(np, "save", full)
    monkeypatch.setattr(module, "_NOTES", Notes())
    with pytest.warns(DataWarning, match="kept in memory .* cannot be written: No space left") as said:
        assert same(cache.get(np.arange(3)), range(3)) and same(cache.get(np.array([1])), [1])
    assert len(said) == 1
    synthesized = [Sample(str(i), lambda size, i=i: " ".join(map(str, numbers(i).ravel()))) for i in range(3)]
    assert same(DecodedCache(synthesized, ragged_media()).get(np.arange(3)), range(3))
