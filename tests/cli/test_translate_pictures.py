"""`transgan translate` on pictures that are more than three times eight bits: what networks do not see comes back.

The kind: whatever a file holds beside its pixels, on the way through the command, as a whole and by regions.
"""

import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from transgan.api import Region, RegionDetector, Register, Tensor, hookimpl
from transgan.inference.translator import Translator
from transgan.registry import Registry


class Corner(RegionDetector):
    """The upper left corner."""

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        return [Region(x[:, :16, :16], 16, None)]

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        y = x.clone()
        y[:, :16, :16] += changes[0]
        return y.clamp(-1, 1)


class Plugin:
    @hookimpl
    def register_region_detectors(self, register: Register) -> None:
        register("corners", Corner)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry.installed()
    found.add(Plugin(), "corners")
    monkeypatch.setattr(Registry, "installed", staticmethod(lambda: found))
    return found


def wide_profile() -> bytes:
    """Return an ICC profile: RGB with the primaries of Display P3, gamma 2.2."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0\0\0\0\x01" + struct.pack(">H", 563) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(81),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"cprt": b"text\0\0\0\0none",
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2919, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1572, 0.0666, 0.7841),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4x", 128 + len(table) + len(body)) + b"\x02\x40\0\0mntrRGB XYZ "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


@pytest.fixture
def picture(tmp_path: Path) -> np.ndarray:
    """An image with opacity, saturated colours, a profile, a date, and a resolution, in `in/a.png`."""
    y, x = np.mgrid[:40, :50]
    array = np.stack([5 * x, 255 - 6 * y, 3 * x + 2 * y, np.where(x > 30, 255, 120)], -1).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = "2026:01:02 03:04:05"
    (tmp_path / "in").mkdir()
    Image.fromarray(array).save(tmp_path / "in/a.png", icc_profile=wide_profile(), exif=exif, dpi=(300, 300))
    return array


@pytest.mark.parametrize("words", [(), ("--native",), ("--corners",)])
def test_opacity_profile_and_metadata_come_back(
    transgan: Any, model: Path, picture: np.ndarray, words: tuple[str, ...]
) -> None:
    assert transgan("translate", model, "in", "--to", "old", "-o", "out", *words).code == 0
    with Image.open("out/a.png") as result:
        assert result.info["icc_profile"] == wide_profile() and round(result.info["dpi"][0]) == 300
        assert result.getexif()[ExifTags.Base.DateTime] == "2026:01:02 03:04:05"
        array = np.asarray(result)
    assert np.array_equal(array[..., 3], picture[..., 3])
    assert (array[:16, :16, :3] != picture[:16, :16, :3]).any()
    if words == ("--corners",):
        assert np.array_equal(array[16:], picture[16:]) and np.array_equal(array[:, 16:], picture[:, 16:])


def test_sixteen_bits_come_back(transgan: Any, model: Path) -> None:
    deep = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    Path("in").mkdir()
    Image.fromarray(deep).save("in/a.png")
    Image.fromarray(deep).save("in/b.tif")
    Image.fromarray(deep >> 4).save("in/twelve.png")
    done = transgan("translate", model, "in", "--to", "old", "-o", "out")
    assert done.code == 3 and "twelve.png: numbers of type uint16 from 0 to 4095" in done.err
    assert "--set media.range=[0, 4095]" in done.err and "2 of 3 translated" in done.out
    words = ("--native", "--set", "media.range=[0, 4095]", "-o", "twelve")
    assert transgan("translate", model, "in/twelve.png", "--to", "old", *words).code == 0
    translator = Translator.from_pretrained(model, "cpu")
    translator.set_media_options(["media.range=[0, 65535]"])
    media = translator.media["old"]
    for path in ("out/a.png", "out/b.tif", "twelve/twelve.png"):
        levels = media.read(path).pixels
        assert levels.dtype == np.uint16 and len(np.unique(levels)) > 256


def test_a_much_larger_picture_is_reported_once(transgan: Any, model: Path) -> None:
    Path("in").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (300, 200), (200, 30, 90)).save(f"in/{name}.png")
    done = transgan("translate", model, "in", "--to", "old", "-o", "out")
    (line,) = done.err.splitlines()
    first = re.search(r"in/[ab]\.png: 300 x 200 pixels are made 48 x 32 for the model", line)  # read by threads
    assert done.code == 0 and first and "--native" in line
    for words in (("--native",), ("--corners",)):
        assert transgan("translate", model, "in", "--to", "old", "-o", "out", "--overwrite", *words).err == ""


def test_the_limit_of_pixels_can_be_changed(transgan: Any, model: Path, picture: np.ndarray) -> None:
    words = ("translate", model, "in", "--to", "old", "-o", "out")
    done = transgan(*words, "--set", "media.max_pixels=1999")
    assert done.code == 3 and "in/a.png: 50 x 40 pixels" in done.err and "--set media.max_pixels=2000" in done.err
    assert transgan(*words, "--set", "media.max_pixels=2000").code == 0
    line = transgan(*words, "--set", "media.channels=1").error(2)
    assert line.startswith(
        "--set media.channels=1: the media 'image' has no such option that may differ from training."
    )
    assert transgan(*words, "--set", "media.max_pixels=many").error(2).startswith("--set media.max_pixels=many: ")
    assert transgan(*words, "--set", "media.ground=black", "--overwrite").code == 0


MEASURED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from transgan.inference.translator import Translator

translator = Translator.from_pretrained(sys.argv[1], "cpu")
direction = translator.choose("old")
reader, writer = translator.sides(direction)
peaks = []
for path in sys.argv[2:]:
    writer.write(translator.translate(reader.read(path), direction), Path(path).with_suffix(".out.png"))
    peaks.append(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says the peak of a process's own memory")
def test_a_small_file_of_many_pixels_takes_little_memory(model: Path) -> None:
    width, height = 3000, 2000
    Image.new("RGB", (64, 64)).save("small.png")
    Image.new("RGB", (width, height), (9, 200, 30)).save("large.png")
    words = [sys.executable, "-W", "ignore", "-c", MEASURED, str(model), "small.png", "large.png"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20 * width * height, "more than 20 bytes for each pixel"
