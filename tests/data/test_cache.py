"""Decoded samples are kept, and nothing that is kept is believed without a check."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transgan_images.media import ImageMedia, ImageOptions, Region

from transgan.api import DataError, Sample
from transgan.data import cache as module
from transgan.data.cache import DecodedCache


class Counting(ImageMedia):
    """Remembers what it decoded."""

    def __init__(self, size: int = 8, **options: Any):
        super().__init__(ImageOptions(**options), size)
        self.decoded: list[str] = []

    def decode(self, location: Any) -> np.ndarray:
        self.decoded.append(str(location))
        return super().decode(location)


Counting.__qualname__ = ImageMedia.__qualname__  # what it keeps is the same


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    yield


def picture(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def samples(folder: Path, count: int) -> list[Sample]:
    folder.mkdir(exist_ok=True)
    found = []
    for i in range(count):
        path = folder / f"{i:03}.png"
        if not path.exists():
            Image.fromarray(picture(i)).save(path)
        found.append(Sample(path.stem, path))
    return found


def every(count: int) -> np.ndarray:
    return np.stack([picture(i) for i in range(count)])


def files(tmp_path: Path, name: str) -> list[Path]:
    return sorted((tmp_path / "cache/decoded").glob(f"*/{name}"))


def test_each_file_is_decoded_once_and_not_at_all_the_next_time(tmp_path: Path) -> None:
    found, media = samples(tmp_path / "in", 6), Counting()
    cache = DecodedCache(found, media)
    assert np.array_equal(cache.get(np.array([5, 0, 0, 3])), every(6)[[5, 0, 0, 3]])
    assert np.array_equal(cache.get(np.arange(6)), every(6))
    assert sorted(media.decoded[1:]) == sorted(str(sample.location) for sample in found)  # the first told the shape
    media = Counting()
    assert np.array_equal(DecodedCache(found, media).get(np.arange(6)), every(6))
    assert len(media.decoded) == 1


def test_a_corrupt_entry_is_decoded_again(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 6)
    DecodedCache(found, Counting()).get(np.arange(6))
    (kept,) = files(tmp_path, "samples.npy")
    data = bytearray(kept.read_bytes())
    data[-1 - 2 * 8 * 8 * 3] ^= 1  # a bit of the last number of sample 3
    kept.write_bytes(data)
    media = Counting()
    assert np.array_equal(DecodedCache(found, media).get(np.arange(6)), every(6))
    assert media.decoded[1:] == [str(found[3].location)]


@pytest.mark.parametrize("name", ["samples.npy", "checksums.npy"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "swapped"])
def test_a_damaged_cache_is_done_without(tmp_path: Path, name: str, damage: str) -> None:
    found = samples(tmp_path / "in", 3)
    DecodedCache(found, Counting()).get(np.arange(3))
    (kept,) = files(tmp_path, name)
    if damage == "swapped":
        np.save(kept, np.zeros(7))
    else:
        kept.write_bytes(kept.read_bytes()[: 150 if damage == "cut" else 0])
    assert np.array_equal(DecodedCache(found, Counting()).get(np.arange(3)), every(3))


def test_a_changed_file_another_size_and_other_options_are_noticed(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 3)
    DecodedCache(found, Counting()).get(np.arange(3))
    Image.fromarray(picture(99)).save(found[1].location)
    os.utime(found[1].location, ns=(1, 1))
    assert np.array_equal(DecodedCache(found, Counting()).get(np.array([1]))[0], picture(99))
    assert DecodedCache(found, Counting(4)).get(np.array([1])).shape == (1, 4, 4, 3)
    assert DecodedCache(found, Counting(channels=1)).get(np.array([1])).shape == (1, 8, 8, 1)
    assert len(files(tmp_path, "samples.npy")) == 4
    found[2].location.unlink()
    with pytest.raises(DataError, match=r"002\.png: cannot be read: No such file"):
        DecodedCache(found, Counting())


def test_the_halves_of_one_picture_are_kept_apart(tmp_path: Path) -> None:
    (whole,) = samples(tmp_path / "in", 1)
    left, right = ([Sample("0", Region(whole.location, half))] for half in ("left", "right"))
    for _ in range(2):
        a, b = (DecodedCache(each, Counting()).get(np.array([0])) for each in (left, right))
        assert not np.array_equal(a, b)
    assert len(files(tmp_path, "samples.npy")) == 2


def test_what_is_no_file_is_kept_in_memory(tmp_path: Path) -> None:
    made = [Sample(str(i), lambda side, i=i: picture(i)) for i in range(3)]
    assert np.array_equal(DecodedCache(made, Counting()).get(np.arange(3)), every(3))
    DecodedCache(samples(tmp_path / "in", 2), Counting(), on_disk=False).get(np.arange(2))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    found = samples(tmp_path / "in", 3)
    assert np.array_equal(DecodedCache(found, Counting()).get(np.arange(3)), every(3))
    assert not list((tmp_path / "cache").rglob("*.npy*"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "file"))
    assert np.array_equal(DecodedCache(found, Counting()).get(np.arange(3)), every(3))


def test_few_unreadable_files_are_replaced_by_their_neighbours(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 200)
    found[7].location.write_bytes(b"no picture")
    found[8].location.write_bytes(b"")
    cache = DecodedCache(found, Counting())
    got = cache.get(np.arange(12))
    assert np.array_equal(got[:7], every(7))
    assert np.array_equal(got[7], picture(9)) and np.array_equal(got[8], picture(9))
    assert sorted(cache.unreadable) == [7, 8]
    assert cache.unreadable[8] == f"{found[8].location}: an empty file"


def test_more_unreadable_files_than_tolerated_stop(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 200)
    for i in (20, 21, 22):
        found[i].location.write_bytes(b"no picture")
    cache = DecodedCache(found, Counting())
    assert cache.get(np.arange(20)).shape == (20, 8, 8, 3)
    with pytest.raises(DataError, match=r"02[0-2]\.png: not a picture that can be read"):
        cache.get(np.arange(20, 30))


def test_one_unreadable_file_of_a_small_domain_stops(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 5)
    found[3].location.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"003\.png: not a picture"):
        DecodedCache(found, Counting()).get(np.arange(5))


FILLING = """
import sys
from pathlib import Path
import numpy as np
from transgan.api import Sample
from transgan.data.cache import DecodedCache
from transgan_images.media import ImageMedia, ImageOptions

samples = [Sample(path.stem, path) for path in sorted(Path(sys.argv[1]).iterdir())]
cache = DecodedCache(samples, ImageMedia(ImageOptions(), 8))
print("ready", flush=True)
sys.stdin.readline()
order = np.random.default_rng(int(sys.argv[2])).permutation(len(samples))
for i in order:
    cache.get(np.array([i]))
np.save(sys.argv[3], cache.get(np.arange(len(samples))))
"""


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 150)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FILLING, tmp_path / "in", str(i), tmp_path / f"{i}.npy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for i in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=120)
        assert process.returncode == 0
    for i in range(2):
        assert np.array_equal(np.load(tmp_path / f"{i}.npy"), every(150))
    media = Counting()
    assert np.array_equal(DecodedCache(found, media).get(np.arange(150)), every(150))
    assert len(media.decoded) == 1
    assert {path.name for path in (tmp_path / "cache").rglob("*.npy*")} == {"samples.npy", "checksums.npy"}
