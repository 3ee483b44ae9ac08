"""Image files of every kind, written with Pillow or by hand, read as networks see them, and given back as they were.

The kind: what a file says beside three times eight bits - numbers, opacity, colours, orientation, metadata - changes
what is seen, and is in the result. Each test stands for all files of its kind.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, PngImagePlugin
from pydantic import ValidationError
from transgan_images.decoding import read_picture
from transgan_images.media import ImageMedia, ImageOptions
from transgan_images.pictures import Picture

from transgan.api import DataError, DataWarning

NOISE = np.random.default_rng(0)


def media(**options: Any) -> ImageMedia:
    return ImageMedia(ImageOptions(**options), 16)


def noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return NOISE.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height: int = 12, width: int = 15) -> np.ndarray:
    """Return colours within sRGB, (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 9 * x, 80 + 7 * y, 200 - 5 * x - 3 * y], -1).astype(np.uint8)


def pixels(path: Path, **options: Any) -> np.ndarray:
    """Return what networks see of a file, (H, W, C)."""
    return media(**options).read(path).pixels


def unchanged(path: Path, result: Path, **options: Any) -> Picture:
    """Write a picture that has been through the media, and that a network has left as it was; return it."""
    each = media(**options)
    x = each.read(path)
    y = each.from_model(*each.to_model(x, 1, True, "a"), "b")
    each.write(y, result)
    return x


# Numbers


def write_deep_png(path: Path, array: np.ndarray) -> None:
    """Write (H, W, bands) uint16 as PNG, without a filter."""
    height, width, bands = array.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[bands]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def read_deep(path: Path) -> np.ndarray:
    """Return the numbers of a file of 16 bits, read without Pillow."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV reads 16 bits, for comparison")
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array.ndim == 2:
        return array[..., None]
    return array[..., [2, 1, 0, 3][: array.shape[2]]]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_sixteen_bits_are_read_and_written(tmp_path: Path, bands: int, suffix: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV writes 16 bits of colour")
    array = noise(23, 31, bands, dtype=np.uint16)
    if bands == 4:
        array[:5, :, 3], array[5:10, :, 3] = 0, 65535
    cv2.imwrite(str(tmp_path / f"a{suffix}"), array[..., [2, 1, 0, 3][:bands]] if bands > 1 else array)
    x = unchanged(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", channels=1 if bands == 1 else 3)
    assert x.pixels.dtype == np.uint16
    if bands < 4:
        assert np.array_equal(x.pixels, array)
    else:
        assert (x.pixels[:5] == 65535).all() and np.array_equal(x.pixels[5:10], array[5:10, :, :3])
    result = read_deep(tmp_path / f"b{suffix}")
    assert result.dtype == np.uint16 and np.array_equal(result, array)


def test_sixteen_bits_of_grey_with_opacity_are_read_and_written(tmp_path: Path) -> None:
    array = noise(23, 31, 2, dtype=np.uint16)
    write_deep_png(tmp_path / "a.png", array)
    for suffix in (".png", ".tif"):
        x = unchanged(tmp_path / "a.png", tmp_path / f"b{suffix}", channels=1)
        assert x.original is not None and x.original.alpha is not None
        assert np.array_equal(x.original.stored, array[..., :1]) and np.array_equal(x.original.alpha, array[..., 1])
    again = media(channels=1).read(tmp_path / "b.png")
    assert np.array_equal(again.original.stored, array[..., :1]) and np.array_equal(again.original.alpha, array[..., 1])


def test_both_byte_orders_and_portable_greymaps_are_sixteen_bits(tmp_path: Path) -> None:
    array = np.linspace(0, 65535, 20 * 30).reshape(20, 30).astype(np.uint16)
    Image.fromarray(array).save(tmp_path / "little.tif")
    Image.frombytes("I;16B", (30, 20), array.astype(">u2").tobytes()).save(tmp_path / "big.tif")
    (tmp_path / "map.ppm").write_bytes(b"P5 30 20 65535\n" + array.astype(">u2").tobytes())
    (tmp_path / "twelve.ppm").write_bytes(b"P5 30 20 4095\n" + (array >> 4).astype(">u2").tobytes())
    for name in ("little.tif", "big.tif", "map.ppm"):
        assert np.array_equal(pixels(tmp_path / name, channels=1)[..., 0], array), name
    assert np.abs(pixels(tmp_path / "twelve.ppm", channels=1)[..., 0].astype(int) - array).max() <= 16
    eight = media(channels=1).decode(tmp_path / "big.tif")
    assert eight.dtype == np.uint8 and eight.min() < 4 and eight.max() > 251


DEEP: dict[str, tuple[np.ndarray, str, str]] = {
    "twelve bits": (np.linspace(0, 4095, 600).reshape(20, 30).astype(np.uint16), ".png", "[0, 4095]"),
    "fourteen bits": (np.linspace(0, 16383, 600).reshape(20, 30).astype(np.uint16), ".tif", "[0, 16383]"),
    "int32": (np.linspace(-1000, 3000, 600).reshape(20, 30).astype(np.int32), ".tif", "[-1000, 3000]"),
    "float": (np.linspace(0, 1, 600).reshape(20, 30).astype(np.float32), ".tif", "[0, 1]"),
    "large float": (np.linspace(0, 3e5, 600).reshape(20, 30).astype(np.float32), ".tif", "[0, 300000]"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_numbers_without_a_known_range_are_refused_and_read_by_a_declared_one(tmp_path: Path, kind: str) -> None:
    array, suffix, example = DEEP[kind]
    path = tmp_path / f"a{suffix}"
    Image.fromarray(array).save(path)
    for function in (media(channels=1).read, media().decode):
        with pytest.raises(DataError, match="declare which are black and white") as raised:
            function(path)
        assert str(raised.value).startswith(f"{path}: numbers of type") and example in str(raised.value)
        assert "\n" not in str(raised.value)
    low, high = float(array.min()), float(array.max())
    ramp = (array - low) / (high - low) * 2 - 1
    each = media(channels=1, range=[low, high])
    assert np.abs(each.as_tensor(each.read(path))[0].numpy() - ramp).max() < 1e-4
    decoded = each.decode(path)
    assert decoded.dtype == np.uint16 and decoded.shape == (16, 16, 1)
    batch = each.batch(torch.from_numpy(decoded[None]), None, ())
    assert batch.min() < -0.9 and batch.max() > 0.9 and batch.dtype == torch.float32
    unchanged(path, tmp_path / f"b{suffix}", channels=1, range=[low, high])
    with Image.open(tmp_path / f"b{suffix}") as result:
        given = np.asarray(result)
    assert given.dtype == array.dtype and np.array_equal(given, array)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        *((np.uint16, *each) for each in [(34, 255), (0, 1), (3, 300)]),
        *((np.int32, *each) for each in [(34, 255), (0, 1), (3, 300), (-7, -3), (-1024, 3071), (0, 123456), (0, 0)]),
        *((np.float32, *each) for each in [(34, 255), (0, 1), (0.1, 1.1), (-0.31, 0.7), (-7, -3), (0, 123456.7)]),
    ],
)
def test_the_range_that_is_proposed_holds_the_numbers_and_says_whom_it_shuts_out(
    tmp_path: Path, dtype: Any, low: float, high: float
) -> None:
    Image.fromarray(np.linspace(low, high, 64).reshape(8, 8).astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"such as data\.media\.range = ") as raised:
        media(channels=1).read(tmp_path / "a.tif")
    proposed = re.search(r"range = \[(\S+), (\S+)\] in a recipe", str(raised.value))
    assert proposed is not None
    black, white = map(float, proposed.groups())
    assert black <= low < white and high <= white
    each = media(channels=1, range=[black, white])
    x = each.as_tensor(each.read(tmp_path / "a.tif"))
    assert len(x.unique()) == len(np.unique(np.linspace(low, high, 64).astype(dtype)))  # none are clipped together
    Image.fromarray(noise(8, 8)).save(tmp_path / "eight.png")
    if "files of 8 bits are then refused" in str(raised.value):
        with pytest.raises(DataError, match="an image of 8 bits"):
            each.read(tmp_path / "eight.png")
    else:
        each.read(tmp_path / "eight.png")


def test_range_is_that_of_all_files_and_never_of_one(tmp_path: Path) -> None:
    bright, dark = np.full((8, 8), 1.0, np.float32), np.full((8, 8), 0.25, np.float32)
    for name, array in (("bright", bright), ("dark", dark)):
        Image.fromarray(array).save(tmp_path / f"{name}.tif")
    each = media(range=[0, 1])
    assert each.as_tensor(each.read(tmp_path / "bright.tif")).min() == 1
    assert torch.allclose(each.as_tensor(each.read(tmp_path / "dark.tif")), torch.tensor(-0.5), atol=1e-4)
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "eight.png")
    with pytest.raises(DataError, match=r"an image of 8 bits, but media\.range declares 0 to 1 "):
        each.read(tmp_path / "eight.png")
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(DataError, match=r"16 of 16 numbers are not finite"):
        each.read(tmp_path / "nan.tif")
    for wrong in ([1, 0], [0, 0], [0, float("inf")]):
        with pytest.raises(ValidationError, match=r"expected|finite"):
            media(range=wrong)


def test_what_lies_outside_of_the_range_comes_back_where_nothing_has_changed(tmp_path: Path) -> None:
    array = np.linspace(-1000, 3000, 600).reshape(20, 30).astype(np.int32)
    Image.fromarray(array).save(tmp_path / "a.tif")
    x = unchanged(tmp_path / "a.tif", tmp_path / "b.tif", channels=1, range=[0, 1000])
    assert x.pixels.min() == 0 and x.pixels.max() == 65535
    with Image.open(tmp_path / "b.tif") as result:
        assert np.array_equal(np.asarray(result), array)


def test_a_translation_into_another_range_is_written_in_that_range(tmp_path: Path) -> None:
    array = np.linspace(0, 4095, 600).reshape(20, 30).astype(np.uint16)
    Image.fromarray(array).save(tmp_path / "a.png")
    reader, writer = media(channels=1, range=[0, 4095]), media(channels=1, range=[0, 255])
    y = writer.from_model(*reader.to_model(reader.read(tmp_path / "a.png"), 1, True, "a"), "b")
    writer.write(y, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as result:
        assert np.abs(np.asarray(result) - array / 4095 * 255).max() <= 0.51
    plain = media(channels=1)
    plain.write(
        plain.from_model(*reader.to_model(reader.read(tmp_path / "a.png"), 1, True, "a"), "b"), tmp_path / "c.png"
    )
    with Image.open(tmp_path / "c.png") as result:
        assert np.abs(np.asarray(result) - array / 4095 * 65535).max() <= 1
    reader.write(reader.read(tmp_path / "a.png"), tmp_path / "d.jpg")  # 8 bits: black to white
    with Image.open(tmp_path / "d.jpg") as result:
        assert np.asarray(result).min() < 5 and np.asarray(result).max() > 250


# Modes


def palette() -> Image.Image:
    return Image.fromarray(smooth()).quantize(16)


MODES: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "1": (lambda: Image.fromarray(noise(12, 15) > 127), ".png"),
    "L": (lambda: Image.fromarray(noise(12, 15)), ".png"),
    "P": (palette, ".png"),
    "P in gif": (palette, ".gif"),
    "RGB": (lambda: Image.fromarray(smooth()), ".bmp"),
    "CMYK": (lambda: Image.fromarray(smooth()).convert("CMYK"), ".tif"),
    "YCbCr": (lambda: Image.fromarray(smooth()).convert("YCbCr"), ".tif"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_eight_bits_are_seen_as_pillow_shows_them(tmp_path: Path, mode: str, channels: int) -> None:
    make, suffix = MODES[mode]
    image = make()
    image.save(tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as saved:
        expected = np.asarray(saved.convert("RGB").convert("RGB" if channels == 3 else "L"))
    each = media(channels=channels)
    x = each.read(tmp_path / f"a{suffix}")
    assert np.array_equal(x.pixels, expected.reshape(12, 15, channels))
    each.write(x, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as result:
        assert np.array_equal(np.asarray(result), expected)


def test_four_inks_come_back_as_four_inks_where_the_format_holds_them(tmp_path: Path) -> None:
    inks = noise(12, 15, 4)
    Image.frombytes("CMYK", (15, 12), inks.tobytes()).save(tmp_path / "a.tif")
    unchanged(tmp_path / "a.tif", tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as result:
        assert result.mode == "CMYK" and np.array_equal(np.asarray(result), inks)
    unchanged(tmp_path / "a.tif", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as result:
        assert result.mode == "RGB" and np.array_equal(np.asarray(result), pixels(tmp_path / "a.tif"))
    each = media()
    x = each.read(tmp_path / "a.tif")
    each.write(each.with_tensor(x, torch.full((3, 12, 15), 0.5)), tmp_path / "c.tif")
    assert np.abs(pixels(tmp_path / "c.tif").astype(int) - 191).max() <= 1


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_of_several_frames_the_first_is_read_and_that_is_said_once(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((12, 15, 3), level, np.uint8)) for level in (0, 128, 255)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    each = media()
    with pytest.warns(DataWarning, match=f"a{suffix} holds 3 pictures; of such files the first picture alone is read"):
        x = each.read(tmp_path / f"a{suffix}")
    assert (x.pixels == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        each.decode(tmp_path / f"a{suffix}")


# Opacity


def test_transparent_images_are_seen_on_the_ground_and_stay_transparent(tmp_path: Path) -> None:
    array = np.dstack([smooth(), np.full((12, 15), 255, np.uint8)])
    array[:4, :, 3], array[4:8, :, 3] = 0, 128
    Image.fromarray(array).save(tmp_path / "a.png")
    seen = pixels(tmp_path / "a.png")
    assert (seen[:4] == 255).all() and np.array_equal(seen[8:], array[8:, :, :3])
    half = array[4:8, :, :3].astype(float) * 128 / 255 + 255 * 127 / 255
    assert np.abs(seen[4:8] - half).max() <= 0.51
    assert (pixels(tmp_path / "a.png", ground="black")[:4] == 0).all()
    assert (pixels(tmp_path / "a.png", ground="#102030")[:4] == (16, 32, 48)).all()
    assert np.abs(media().decode(tmp_path / "a.png")[0].astype(int) - 255).max() <= 8  # in training too
    for suffix in (".png", ".tif", ".webp"):
        unchanged(tmp_path / "a.png", tmp_path / f"b{suffix}")
        with Image.open(tmp_path / f"b{suffix}") as result:
            assert result.mode == "RGBA" and np.array_equal(np.asarray(result)[..., 3], array[..., 3]), suffix
            if suffix != ".webp":  # whose colours are lossy
                assert np.array_equal(np.asarray(result), array)
    unchanged(tmp_path / "a.png", tmp_path / "b.jpg")  # holds no opacity: as seen on the ground
    assert np.abs(pixels(tmp_path / "b.jpg").astype(int) - seen).max() < 20
    with pytest.raises(ValidationError, match="ground"):
        media(ground="no colour")


def test_a_changed_transparent_image_looks_on_the_ground_as_the_network_made_it(tmp_path: Path) -> None:
    array = np.dstack([smooth(), np.tile(np.linspace(40, 255, 15), (12, 1)).astype(np.uint8)])
    Image.fromarray(array).save(tmp_path / "a.png")
    each = media()
    x = each.read(tmp_path / "a.png")
    wanted = (each.as_tensor(x) - 0.02).clamp(-1, 1)
    each.write(each.with_tensor(x, wanted), tmp_path / "b.png")
    seen = each.as_tensor(each.read(tmp_path / "b.png"))
    assert (seen - wanted).abs().max() < 2.5 / 127.5


@pytest.mark.parametrize("kind", ["LA", "P with bytes", "P with an index", "L with a key", "RGB with a key", "gif"])
def test_every_kind_of_opacity_is_seen_and_given_back(tmp_path: Path, kind: str) -> None:
    grey = np.tile(np.arange(15, dtype=np.uint8) * 10, (12, 1))
    transparent, suffix, options = np.zeros((12, 15), bool), ".png", {}
    transparent[:, 3] = True
    if kind == "LA":
        image = Image.fromarray(np.dstack([grey, np.where(transparent, 0, 255).astype(np.uint8)]))
    elif kind == "RGB with a key":
        image, options = Image.fromarray(np.dstack([grey] * 3)), {"transparency": (30, 30, 30)}
    elif kind == "L with a key":
        image, options = Image.fromarray(grey), {"transparency": 30}
    else:
        image = Image.fromarray(grey // 10).convert("P")
        image.putpalette([10 * i for i in range(15) for _ in range(3)])
        suffix = ".gif" if kind == "gif" else ".png"
        options = {"transparency": bytes(0 if i == 3 else 255 for i in range(15)) if kind == "P with bytes" else 3}
    image.save(tmp_path / f"a{suffix}", **options)
    x = unchanged(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert (x.pixels[transparent] == 255).all()
    assert np.array_equal(x.pixels[~transparent], np.dstack([grey] * 3)[~transparent])
    with Image.open(tmp_path / f"b{suffix}") as result:
        alpha = np.asarray(result.convert("RGBA"))[..., 3]
    assert np.array_equal(alpha == 0, transparent) and np.array_equal(alpha == 255, ~transparent)


# Colours


def icc_file(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile of version 2 with these tags and those that every profile has."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(81)
    tags = {b"desc": text, b"wtpt": white, b"cprt": b"text\0\0\0\0none", **tags}
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4x", 128 + len(table) + len(body)) + b"\x02\x40\0\0" + kind + space + connection
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white[8:]
    return header.ljust(128, b"\0") + table + body


def profile(space: str = "RGB ", gamma: float = 2.2, primaries: tuple[tuple[float, float, float], ...] = ()) -> bytes:
    """Return a small ICC profile: RGB with primaries (XYZ, D50), or grey."""
    curve = b"curv\0\0\0\0\0\0\0\x01" + struct.pack(">H", round(gamma * 256)) + b"\0\0"

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    tags = {}
    if space == "GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
        tags |= {name: xyz(*each) for name, each in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return icc_file(space.encode(), b"XYZ ", b"mntr", tags)


P3 = profile(primaries=((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)))
GREY = profile("GRAY", gamma=1.0)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_profiles_are_converted_for_networks_and_kept(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100} if suffix == ".jpg" else {}
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}", icc_profile=P3, **options)
    x = unchanged(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert np.abs(x.pixels.astype(int) - smooth()).max() > 8, "as if there were no profile"
    with Image.open(tmp_path / f"b{suffix}") as result:
        assert result.info["icc_profile"] == P3
        # Pillow writes lossy WebP, with some loss
        assert np.abs(np.asarray(result).astype(int) - smooth()).max() <= (1 if suffix in (".png", ".tif") else 24)


def test_changed_colours_are_in_the_profile_of_the_file_and_others_stay(tmp_path: Path) -> None:
    saturated = smooth()
    saturated[:4] = (255, 0, 0)  # outside of sRGB
    Image.fromarray(saturated).save(tmp_path / "a.png", icc_profile=P3)
    each = media()
    x = each.read(tmp_path / "a.png")
    changed = each.as_tensor(x).clone()
    changed[:, 8:] = torch.tensor([0.2, -0.3, 0.1])[:, None, None]
    each.write(each.with_tensor(x, changed), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as result:
        assert np.array_equal(np.asarray(result)[:8], saturated[:8])
    again = each.as_tensor(each.read(tmp_path / "b.png"))
    assert (again[:, 8:] - changed[:, 8:]).abs().max() < 2.5 / 127.5


def test_profiles_of_grey_of_sixteen_bits_and_of_transparent_images(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 240, 16, dtype=np.uint8), (12, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png", icc_profile=GREY)
    linear = np.interp(grey / 255, np.linspace(0, 1, 256) ** 2.2, np.linspace(0, 255, 256))
    for channels in (1, 3):
        assert np.abs(pixels(tmp_path / "grey.png", channels=channels)[..., 0] - linear).max() < 12
    unchanged(tmp_path / "grey.png", tmp_path / "b.png", channels=1)
    with Image.open(tmp_path / "b.png") as result:
        assert result.info["icc_profile"] == GREY and np.array_equal(np.asarray(result), grey)
    deep = smooth().astype(np.uint16) * 257 + 100
    each = media()
    write_deep_png(tmp_path / "deep.png", deep)
    raw = (tmp_path / "deep.png").read_bytes()
    data = b"p\0\0" + zlib.compress(P3)
    chunk = struct.pack(">I", len(data)) + b"iCCP" + data + struct.pack(">I", zlib.crc32(b"iCCP" + data))
    (tmp_path / "deep.png").write_bytes(raw[:33] + chunk + raw[33:])
    x = unchanged(tmp_path / "deep.png", tmp_path / "c.png")
    assert x.pixels.dtype == np.uint16 and np.abs(x.pixels / 257 - smooth()).max() > 8
    again = each.read(tmp_path / "c.png")
    assert np.array_equal(again.original.stored, deep) and again.original.profile == P3
    rgba = np.dstack([smooth(), np.full((12, 15), 99, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "alpha.png", icc_profile=P3)
    unchanged(tmp_path / "alpha.png", tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as result:
        assert np.array_equal(np.asarray(result), rgba) and result.info["icc_profile"] == P3


def inks_profile() -> bytes:
    """Return an ICC profile of four inks, by tables with two points an axis: darker than without a profile."""

    def table(inputs: int, corners: list[tuple[int, ...]]) -> bytes:
        matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
        sizes = bytes((inputs, len(corners[0]), 2, 0))
        curves = bytes(range(256))
        values = b"".join(map(bytes, corners))
        return b"mft1\0\0\0\0" + sizes + matrix + curves * inputs + values + curves * len(corners[0])

    to_lab = [
        (round(200 * (1 - (c + m + y) / 3) * (1 - k)), 128 + 40 * (m - c), 128 + 40 * (y - m))
        for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)
    ]  # fmt: skip
    from_lab = [(255 * (1 - light),) * 3 + (0,) for light in (0, 1) for _ in range(4)]
    return icc_file(b"CMYK", b"Lab ", b"prtr", {b"A2B0": table(4, to_lab), b"B2A0": table(3, from_lab)})


def test_a_profile_of_inks_is_applied_and_kept(tmp_path: Path) -> None:
    inks = noise(12, 15, 4)
    for suffix in (".tif", ".jpg"):
        image = Image.frombytes("CMYK", (15, 12), inks.tobytes())
        options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
        image.save(tmp_path / f"a{suffix}", icc_profile=inks_profile(), **options)
        x = unchanged(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
        assert np.abs(x.pixels.astype(int) - np.asarray(image.convert("RGB"))).mean() > 10, (
            "as if there were no profile"
        )
        with Image.open(tmp_path / f"b{suffix}") as result, Image.open(tmp_path / f"a{suffix}") as source:
            assert result.mode == "CMYK" and result.info["icc_profile"] == inks_profile()
            difference = np.abs(np.asarray(result).astype(int) - np.asarray(source))
            assert difference.max() == 0 if suffix == ".tif" else difference.mean() < 6
    each = media()
    x = each.read(tmp_path / "a.tif")
    changed = torch.full((3, 12, 15), -0.2)
    each.write(each.with_tensor(x, changed), tmp_path / "c.tif")
    grey = each.as_tensor(each.read(tmp_path / "c.tif"))
    assert grey.std() < 0.05  # one colour, through the profile and back


def test_profiles_that_are_srgb_or_damaged_change_nothing(tmp_path: Path) -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (srgb, b"no profile", P3[:200], GREY):
        Image.fromarray(smooth()).save(tmp_path / "a.png", icc_profile=data)
        x = unchanged(tmp_path / "a.png", tmp_path / "b.png")
        assert x.original.plain and np.array_equal(x.pixels, smooth())
        with Image.open(tmp_path / "b.png") as result:
            assert result.info["icc_profile"] == data


# Orientation and metadata


def exif_of(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make], exif[ExifTags.Base.DateTime] = "Camera", "2026:01:02 03:04:05"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2026:01:02 03:04:05", ExifTags.Base.ExifImageWidth: 15}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    image = noise(12, 15, 3)
    Image.fromarray(image).save(tmp_path / f"a{suffix}", exif=exif_of(orientation).tobytes(), lossless=True)
    x = unchanged(tmp_path / f"a{suffix}", tmp_path / "b.png")
    assert np.array_equal(x.pixels, TURNED[orientation](image))
    with Image.open(tmp_path / "b.png") as result:
        assert np.array_equal(np.asarray(result), x.pixels)
        assert result.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_orientation_of_sixteen_bits_is_applied(tmp_path: Path) -> None:
    deep = noise(12, 15, 3, dtype=np.uint16)
    write_deep_png(tmp_path / "a.png", deep)
    raw, data = (tmp_path / "a.png").read_bytes(), exif_of(6).tobytes()[6:]
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    (tmp_path / "a.png").write_bytes(raw[:33] + chunk + raw[33:])
    x = unchanged(tmp_path / "a.png", tmp_path / "b.png")
    assert np.array_equal(x.pixels, np.rot90(deep, -1))
    with Image.open(tmp_path / "b.png") as result:
        assert result.getexif()[ExifTags.Base.Make] == "Camera"


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
def test_metadata_are_kept(tmp_path: Path, source: str, target: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/>note</x:xmpmeta>'
    exif = exif_of(6)
    options: dict[str, Any] = {"dpi": (300, 300), "xmp": xmp}
    if source == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"].add_text("Title", "Grüße")
    if source == ".tif":
        exif[700] = xmp
    options["exif"] = exif.tobytes()
    Image.fromarray(noise(12, 16, 3)).save(tmp_path / f"a{source}", **options)
    unchanged(tmp_path / f"a{source}", tmp_path / f"b{target}")
    with Image.open(tmp_path / f"b{target}") as result:
        assert result.size == (12, 16)
        found = result.getexif()
        assert found[ExifTags.Base.Make] == "Camera" and found[ExifTags.Base.DateTime] == "2026:01:02 03:04:05"
        assert found.get(ExifTags.Base.Orientation, 1) == 1
        inner = found.get_ifd(ExifTags.IFD.Exif)
        assert inner[ExifTags.Base.DateTimeOriginal] == "2026:01:02 03:04:05"
        assert inner[ExifTags.Base.ExifImageWidth] == 12
        assert found.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        assert b"note" in result.info["xmp"] and b"Orientation" not in result.info["xmp"]
        if source != ".webp" and target != ".webp":  # which has no resolution
            assert np.allclose(result.info["dpi"], 300, atol=0.5)
        if source == target == ".png":
            assert result.text["Title"] == "Grüße"


def test_thumbnails_of_the_picture_before_are_omitted(tmp_path: Path) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(thumbnail, "JPEG")
    data = thumbnail.getvalue()
    head = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + struct.pack(">HHI4s", 0x10F, 2, 4, b"Cam\0")
    second = 8 + 2 + 12 + 4
    entries = struct.pack(">HHII", 0x201, 4, 1, second + 2 + 24 + 4) + struct.pack(">HHII", 0x202, 4, 1, len(data))
    exif = head + struct.pack(">I", second) + struct.pack(">H", 2) + entries + bytes(4) + data
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=exif)
    assert data in (tmp_path / "a.jpg").read_bytes()
    unchanged(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert data not in (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "b.jpg") as result:
        assert result.getexif()[0x10F] == "Cam"


# Objects


def test_pil_images_come_back_as_such_with_what_they_had() -> None:
    image = Image.fromarray(np.dstack([smooth(), np.full((12, 15), 77, np.uint8)]))
    image.info["icc_profile"] = P3
    each = media()
    result = each.export(each.read(image))
    assert result.tobytes() == image.tobytes() and result.info["icc_profile"] == P3
    deep = Image.fromarray(noise(12, 15, dtype=np.uint16) | np.uint16(0x8000))
    grey = media(channels=1)
    assert grey.export(grey.read(deep)).tobytes() == deep.tobytes()
    assert each.export(each.read(deep)).mode == "RGB"  # Pillow has no colours of 16 bits
    with pytest.raises(DataError, match="is no image; expected uint8"):
        each.read(np.zeros((3, 3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"an array of float64, \(2, 2, 3\): numbers from 0 to 2; expected 0 to 1"):
        each.read(np.linspace(0, 2, 12).reshape(2, 2, 3))
    assert each.read(np.linspace(0, 1, 12).reshape(2, 2, 3)).pixels.max() == 65535
    assert media(range=[0, 1]).read(np.linspace(0, 1, 12).reshape(2, 2, 3)).pixels.max() == 65535


@pytest.mark.parametrize("bands", [None, 1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int16", "uint32", "int64", "uint64", "float32", "float64"])
def test_arrays_of_a_declared_range_come_back_as_they_were(dtype: str, bands: int | None) -> None:
    """An identity: numbers, their type, and opacity, which of 16 bits spans the type and of others the range."""
    each = media(range=[0, 1000], channels=1 if bands in (None, 1) else 3)
    given = np.arange(6 * 8 * (bands or 1)).reshape(6, 8, *([] if bands is None else [bands])) % 1001
    if bands == 4 and np.dtype(dtype) == np.uint16:
        given[..., 3] = given[..., 3] * 65
    given = given.astype(dtype)
    read = each.read(given)
    written = each.export_like(each.with_tensor(read, each.as_tensor(read)), given)
    assert (written.dtype, written.shape) == (given.dtype, given.shape)
    shown = given[..., 3] > 0 if bands == 4 else np.ones((6, 8), bool)
    assert np.abs(written.astype(float) - given.astype(float))[shown].max() <= (0 if given.dtype.kind in "ui" else 0.01)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float32"])
def test_opacity_of_a_declared_range_is_mixed_with_the_ground(dtype: str) -> None:
    given = np.zeros((4, 4, 4), dtype)  # black, of which half is seen
    given[..., 3] = 500
    assert np.abs(media(range=[0, 1000]).read(given).pixels / 65535 - 0.5).max() < 1e-4  # the ground is white


def test_large_files_are_refused_before_they_are_decoded_with_the_way_round(tmp_path: Path) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    with pytest.raises(DataError) as raised:
        read_picture(tmp_path / "a.png", ImageOptions(max_pixels=59_999))
    assert str(raised.value).startswith(
        f"{tmp_path / 'a.png'}: 300 x 200 pixels, 0.1 million; at most max_pixels = 59,999 "
    )
    assert 'media_options={"max_pixels": 60000}' in str(raised.value) and "GiB of memory" in str(raised.value)
    assert read_picture(tmp_path / "a.png", ImageOptions(max_pixels=60_000)).pixels.shape == (200, 300, 3)
