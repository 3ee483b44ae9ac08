"""The cache of decoded samples: each file is decoded once, and cached samples are verified before use."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transgan_images.media import HalfImage, ImageMedia, ImageOptions

from transgan.api import DataError, DataWarning, Sample
from transgan.api.samples import Notes
from transgan.data import cache as module
from transgan.data.cache import DecodedCache, code_of


class Counting(ImageMedia):
    """Records what it has decoded."""

    def __init__(self, size: int = 8, **options: Any):
        super().__init__(ImageOptions(**options), size)
        self.decoded: list[str] = []

    def decode(self, location: Any) -> np.ndarray:
        self.decoded.append(str(location))
        return super().decode(location)


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
    # The first sample is decoded once more, for its shape.
    assert sorted(media.decoded[1:]) == sorted(str(sample.location) for sample in found)
    media = Counting()
    assert np.array_equal(DecodedCache(found, media).get(np.arange(6)), every(6))
    assert len(media.decoded) == 1


def test_a_corrupt_sample_is_decoded_again(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 6)
    DecodedCache(found, Counting()).get(np.arange(6))
    (kept,) = files(tmp_path, "samples.npy")
    data = bytearray(kept.read_bytes())
    data[-1 - 2 * 8 * 8 * 3] ^= 1  # one bit of sample 3
    kept.write_bytes(data)
    media = Counting()
    assert np.array_equal(DecodedCache(found, media).get(np.arange(6)), every(6))
    assert media.decoded[1:] == [str(found[3].location)]


@pytest.mark.parametrize("name", ["samples.npy", "checksums.npy"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "swapped"])
def test_samples_are_decoded_where_the_cache_is_damaged(tmp_path: Path, name: str, damage: str) -> None:
    found = samples(tmp_path / "in", 3)
    DecodedCache(found, Counting()).get(np.arange(3))
    (kept,) = files(tmp_path, name)
    if damage == "swapped":
        np.save(kept, np.zeros(7))
    else:
        kept.write_bytes(kept.read_bytes()[: 130 if damage == "cut" else 0])
    decoded = []
    for _ in range(2):
        media = Counting()
        assert np.array_equal(DecodedCache(found, media).get(np.arange(3)), every(3))
        decoded.append(len(media.decoded))
    assert decoded[0] > 1 and decoded[1] == 1  # the first sample tells the shape; all are stored again


def test_a_changed_file_another_size_and_other_options_are_decoded_anew(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 3)
    DecodedCache(found, Counting()).get(np.arange(3))
    Image.fromarray(picture(99)).save(found[1].location)
    os.utime(found[1].location, ns=(1, 1))
    assert np.array_equal(DecodedCache(found, Counting()).get(np.array([1]))[0], picture(99))
    assert DecodedCache(found, Counting(4)).get(np.array([1])).shape == (1, 4, 4, 3)
    assert DecodedCache(found, Counting(channels=1)).get(np.array([1])).shape == (1, 8, 8, 1)
    assert len(files(tmp_path, "samples.npy")) == 4
    found[2].location.unlink()
    (why,) = DecodedCache(found, Counting()).unreadable(range(3)).items()  # one of the samples, not the end of all
    assert why[0] == 2 and "002.png" in why[1]


def test_the_halves_of_one_picture_are_cached_separately(tmp_path: Path) -> None:
    (whole,) = samples(tmp_path / "in", 1)
    left, right = ([Sample("0", HalfImage(whole.location, half))] for half in ("left", "right"))
    for _ in range(2):
        a, b = (DecodedCache(each, Counting()).get(np.array([0])) for each in (left, right))
        assert not np.array_equal(a, b)
    assert len(files(tmp_path, "samples.npy")) == 2


def test_synthesized_samples_are_kept_in_memory(tmp_path: Path) -> None:
    synthesized = [Sample(str(i), lambda side, i=i: picture(i)) for i in range(3)]
    assert np.array_equal(DecodedCache(synthesized, Counting()).get(np.arange(3)), every(3))
    DecodedCache(samples(tmp_path / "in", 2), Counting(), on_disk=False).get(np.arange(2))
    assert not (tmp_path / "cache").exists()


def test_samples_are_decoded_where_no_cache_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    monkeypatch.setattr(module, "_NOTES", Notes())
    found = samples(tmp_path / "in", 3)
    message = f"kept in memory .* {tmp_path / 'cache'} cannot be written: No space left"
    with pytest.warns(DataWarning, match=message) as said:
        for _ in range(2):  # domains
            assert np.array_equal(DecodedCache(found, Counting()).get(np.arange(3)), every(3))
    assert len(said) == 1 and not list((tmp_path / "cache").rglob("*.npy*"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "file"))
    with pytest.warns(DataWarning, match="Not a directory; TRANSGAN_CACHE=FOLDER names another"):
        assert np.array_equal(DecodedCache(found, Counting()).get(np.arange(3)), every(3))


def test_an_unreadable_file_is_never_stored_and_never_replaced_by_another(tmp_path: Path) -> None:
    """The kind: a file that cannot be read stands for itself, from a cold cache and from a warm one."""
    found = samples(tmp_path / "in", 12)
    found[7].location.write_bytes(b"no picture")
    found[8].location.write_bytes(b"")
    for _ in range(2):
        cache = DecodedCache(found, Counting())
        failed = cache.unreadable(range(12))
        assert failed == {
            7: f"{found[7].location}: not an image that can be read",
            8: f"{found[8].location}: an empty file",
        }
        assert np.array_equal(cache.get(np.arange(7)), every(7))
        with pytest.raises(DataError, match=r"008\.png: an empty file"):
            cache.get(np.array([0, 8]))
        assert not cache.checksums[[7, 8]].any()
    media = Counting()
    DecodedCache(found, media).unreadable(range(12))
    assert sorted(media.decoded[1:]) == [str(found[i].location) for i in (7, 8)]  # all others are stored


def test_a_domain_of_which_nothing_can_be_read_is_reported(tmp_path: Path) -> None:
    found = samples(tmp_path / "in", 3)
    for sample in found:
        sample.location.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of 3 samples can be read: .*000\.png: not an image"):
        DecodedCache(found, Counting())


def test_a_sample_of_another_type_or_shape_than_the_others_is_reported(tmp_path: Path) -> None:
    """The kind: numpy converts and broadcasts without a word what is written into an array."""

    def made(array: Any) -> list[Sample]:
        return [Sample(str(i), lambda side, x=x: x) for i, x in enumerate([picture(0), array])]

    class Raw(Counting):
        def decode(self, location: Any) -> Any:
            return location(8)

    with pytest.raises(DataError, match=r"decodes to \(8, 8, 3\) float32, others to \(8, 8, 3\) uint8"):
        DecodedCache(made(picture(1).astype(np.float32)), Raw()).get(np.arange(2))
    with pytest.raises(DataError, match=r"decodes to \(1, 8, 3\) uint8, others to \(8, 8, 3\) uint8"):
        DecodedCache(made(picture(1)[:1]), Raw()).get(np.arange(2))
    with pytest.raises(TypeError, match="decode returned list, expected a numpy array"):
        DecodedCache(made(picture(1).tolist()), Raw()).get(np.arange(2))


PLUGIN = """
import numpy as np
from {helper} import LEVEL
from transgan.api import Media

class Level(Media):
    def decode(self, location):
        return np.full((2, 2, 3), LEVEL, np.uint8)
"""


def test_edited_code_gets_nothing_that_other_code_has_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind: the key covers the module of a media, its package, and those of its base classes."""
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    found = samples(tmp_path / "in", 2)

    def levels(package: str, level: int) -> list[int]:
        folder = tmp_path / "lib" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
        (folder / "numbers_of_it.py").write_text(f"LEVEL = {level}\n")
        (folder / "media.py").write_text(PLUGIN.format(helper=f"{package}.numbers_of_it"))
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        media = importlib.import_module(f"{package}.media").Level
        derived = type("Level", (media,), {"__module__": media.__module__})
        return [int(DecodedCache(found, cls(None, 2)).get(np.arange(2)).max()) for cls in (media, derived)]

    assert levels("levels_one", 11) == [11, 11]
    assert levels("levels_one", 222) == [222, 222]  # a helper of the same package was edited
    assert levels("levels_two", 33) == [33, 33]  # the same class name and options in another package


def test_a_media_without_a_source_file_is_not_cached_on_disk(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("class Media: pass", names)  # noqa: S102 - as in a console
    assert code_of((names["Media"],)) == ""
    assert code_of(Counting.__mro__) != code_of(ImageMedia.__mro__)


FILLING = """
import sys
from pathlib import Path
import numpy as np
from transgan.api import Sample
from transgan.data.cache import DecodedCache, code_of
from transgan_images.media import HalfImage, ImageMedia, ImageOptions

samples = [Sample(path.stem, path) for path in sorted(Path(sys.argv[1]).iterdir())]
cache = DecodedCache(samples, ImageMedia(ImageOptions(), 8))
print("ready", flush=True)
sys.stdin.readline()
order = np.random.default_rng(int(sys.argv[2])).permutation(len(samples))
for i in order:
    cache.get(np.array([i]))
np.save(sys.argv[3], cache.get(np.arange(len(samples))))
"""


def test_two_processes_fill_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    decoded = []
    decode = ImageMedia.decode
    monkeypatch.setattr(ImageMedia, "decode", lambda self, location: decoded.append(location) or decode(self, location))
    assert np.array_equal(DecodedCache(found, ImageMedia(ImageOptions(), 8)).get(np.arange(150)), every(150))
    assert len(decoded) == 1
    assert {path.name for path in (tmp_path / "cache").rglob("*.npy*")} == {"samples.npy", "checksums.npy"}
