"""What `transgan data check` says of an image: levels, kind, faults, and a hash that survives saving."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from transgan_images.media import ImageMedia, ImageOptions
from transgan_images.quality import fingerprint

from transgan.data.similar import MAX_BITS

FACES = Path(__file__).resolve().parents[4] / "shared/data/faces"


def describe(path: Path, size: int = 8, **options: object) -> object:
    media = ImageMedia(ImageOptions.model_validate(options), size)
    return media.describe(media.read(path))


def test_levels_are_those_of_the_whole_image(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    array[:3] = 255
    Image.fromarray(array).save(tmp_path / "a.png")
    found = describe(tmp_path / "a.png")
    names = ("red", "green", "blue")
    expected = {"width": 40, "height": 30, "darkest": array.min(), "brightest": 255}
    expected |= {f"mean {name}": array[..., i].mean() for i, name in enumerate(names)}
    expected |= {f"deviation {name}": array[..., i].std() for i, name in enumerate(names)}
    expected["% clipped"] = 100 * np.isin(array, (0, 255)).mean()
    assert found.figures == pytest.approx(expected)
    assert (found.kind, list(found.remarks)) == ("colour, 8 bits", [])


@pytest.mark.parametrize(
    ("array", "kind", "remark", "hashed"),
    [
        (np.full((9, 9), 7, np.uint8), "grey, 8 bits", "one colour only", False),
        (np.arange(81, dtype=np.uint16).reshape(9, 9) * 800, "grey, 16 bits", None, True),
        (np.arange(36, dtype=np.uint8).reshape(3, 3, 4) * 6 + 20, "colour, 8 bits, transparency", "smaller", True),
    ],
)
def test_kinds_and_faults_are_named(
    tmp_path: Path, array: np.ndarray, kind: str, remark: str | None, hashed: bool
) -> None:
    Image.fromarray(array).save(tmp_path / "a.png")
    found = describe(tmp_path / "a.png")
    assert found.kind == kind and (found.fingerprint is not None) == hashed
    assert [each.startswith(remark or "-") for each in found.remarks] == [True] * (remark is not None)


def scene(seed: int) -> Image.Image:
    """Return a smooth random picture, 160 x 120."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


def saved(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def distance(a: Image.Image, b: Image.Image) -> int:
    return (fingerprint(np.asarray(a.convert("RGB"))) ^ fingerprint(np.asarray(b.convert("RGB")))).bit_count()


def test_the_hash_survives_what_files_go_through_and_nothing_else() -> None:
    """The kind: saved again, resized, in grey, with other contrast; other pictures differ in many bits."""
    scenes = [scene(seed) for seed in range(20)]
    for each in scenes:
        changed = [saved(each, 60), each.resize((80, 60)), each.resize((320, 240)), each.convert("L")]
        changed.append(ImageEnhance.Contrast(each).enhance(0.8))
        assert all(distance(each, other) <= MAX_BITS for other in changed)
    others = [distance(a, b) for i, a in enumerate(scenes) for b in scenes[:i]]
    assert min(others) > 2 * MAX_BITS


@pytest.mark.skipif(not FACES.is_dir(), reason="the photographs of faces are not on this machine")
def test_different_faces_are_not_taken_for_the_same() -> None:
    """The hardest kind: pictures of one kind, aligned alike."""
    paths = sorted(FACES.iterdir())[:300]
    hashes = [fingerprint(np.asarray(Image.open(path).convert("RGB"))) for path in paths]
    assert min((a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]) > MAX_BITS
