"""Images in `.npz` files: samples and labels, selections, copies, what the media makes of them, and error messages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transgan_images.arrays import ArraySource
from transgan_images.media import ImageMedia

from transgan.api import DataError, Sample, UsageError
from transgan.data.domains import Domains
from transgan.data.unreadable import exclude_unreadable

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 6), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3
MOODS = np.array(["calm", "glad"] * 6)


def samples(root: Path, selection: Any, **options: Any) -> list[Sample]:
    return ArraySource(ArraySource.Options(**options), root).samples("some", selection)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    np.savez(tmp_path / "some.npz", images=IMAGES, labels=LABELS, mood=MOODS, names=np.array(["a", "b", "c"]))
    return tmp_path


def test_samples_are_the_images_with_their_labels(root: Path) -> None:
    found = samples(root, "some.npz")
    assert [each.key for each in found] == [f"{i:02}" for i in range(12)]
    assert [each.attributes for each in found[:4]] == [
        {"labels": 0, "mood": "calm"},
        {"labels": 1, "mood": "glad"},
        {"labels": 2, "mood": "calm"},
        {"labels": 0, "mood": "glad"},
    ]
    for sample, image in zip(found, IMAGES, strict=True):
        assert np.array_equal(sample.location(99), np.stack([image] * 3, -1))
    assert str(found[3].location) == f"{root / 'some.npz'} (image 3)"


def test_colours_and_another_name(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    np.savez_compressed(tmp_path / "some.npz", x=images, grey=images[..., :1])
    colour, grey = (samples(tmp_path, "some.npz", images=name) for name in ("x", "grey"))
    assert np.array_equal(colour[2].location(4), images[2])
    assert np.array_equal(grey[2].location(4), images[2][..., [0, 0, 0]])


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"path": "some.npz", "labels": 1}, [1, 4, 7, 10]),
        ({"path": "some.npz", "labels": [0, 1], "mood": "glad"}, [1, 3, 7, 9]),
        ({"path": "some.npz", "mood": ["calm"]}, [0, 2, 4, 6, 8, 10]),
    ],
)
def test_selections_by_labels(root: Path, selection: Any, expected: list[int]) -> None:
    assert [int(each.key) for each in samples(root, selection)] == expected


def test_images_with_the_same_pixels_are_equal(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=IMAGES[[0, 1, 0]])
    first, second, third = (each.location for each in samples(tmp_path, "some.npz"))
    assert first == third and hash(first) == hash(third) and first != second and first != "something else"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_media_decodes_them(root: Path, channels: int) -> None:
    media = ImageMedia(ImageMedia.Options(channels=channels, flip=False), (8, 6))
    decoded = np.stack([media.decode(each.location) for each in samples(root, "some.npz")])
    x = media.batch(torch.from_numpy(decoded), None, ["some"] * 12)
    expected = torch.from_numpy(IMAGES).float()[:, None].expand(-1, channels, -1, -1) / 127.5 - 1
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-5)


RECIPE = """
[data]
source = "arrays"
size = 8
[domains]
few = { path = "few.npz", held_out = "test.npz" }
odd = { path = "some.npz", labels = 1, held_out = { path = "test.npz", labels = 1 } }
[tasks.t]
between = ["few", "odd"]
[train]
steps = 1
[generators.resnet]
width = 4
blocks = 1
[losses]
cycle = 1.0
"""


def test_domains_with_held_out_files_and_copies(root: Path, planned: Any) -> None:
    np.savez(root / "few.npz", images=IMAGES[[0, 1, 0, 5]])
    np.savez(root / "test.npz", images=np.concatenate([255 - IMAGES[:3], IMAGES[5:6]]), labels=[1, 0, 1, 0])
    domains = Domains(planned(RECIPE, overrides=(f"data.root={root}",)))
    assert [each.key for each in domains["few"].samples] == ["0", "1", "2"]
    assert [each.key for each in domains["odd"].held_out] == ["0", "2"]
    assert any("few: held out too, as the same file or as a copy" in each for each in domains.overlaps)
    assert any("few: copies of others: 1 sample of 3: 2" in each for each in domains.copies)
    exclude_unreadable(domains)


@pytest.mark.parametrize(
    ("arrays", "selection", "error", "message"),
    [
        ({}, "smoe.npz", DataError, "smoe.npz does not exist; expected an .npz file; {root} has some.npz"),
        ({}, ".", DataError, "{root} is a folder; expected an .npz file"),
        ({}, 3, UsageError, "found 3; expected the path of an .npz file"),
        ({}, {"labels": 3}, UsageError, "found {{'labels': 3}}; expected the path of an .npz file"),
        ({}, {"path": "some.npz", "lables": 1}, UsageError, "there is no label 'lables'. Did you mean 'labels'?"),
        ({}, {"path": "some.npz", "labels": 9}, DataError, "no image in {root}/some.npz has {{'labels': 9}}"),
        ({"image": IMAGES}, "some.npz", DataError, "has no array 'images'. Did you mean 'image'?"),
        ({"images": IMAGES / 255}, "some.npz", DataError, "is float64, (12, 8, 6); expected uint8, (N, H, W) or"),
        ({"images": IMAGES[0]}, "some.npz", DataError, "is uint8, (8, 6); expected uint8, (N, H, W) or"),
        ({"images": IMAGES[..., None, None]}, "some.npz", DataError, "is uint8, (12, 8, 6, 1, 1); expected uint8"),
        ({"images": IMAGES[:0]}, "some.npz", DataError, "is empty, (0, 8, 6)"),
        ({"images": np.array([None])}, "some.npz", DataError, "cannot be read as an .npz file: Object arrays"),
    ],
)
def test_errors(root: Path, arrays: Any, selection: Any, error: type[Exception], message: str) -> None:
    if arrays:
        np.savez(root / "some.npz", **arrays)
    with pytest.raises(error) as raised:
        samples(root, selection)
    assert message.format(root=root) in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00 nothing", b"text"])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"some\.npz cannot be read as an \.npz file: "):
        samples(tmp_path, "some.npz")


def test_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "some.npy", IMAGES)
    with pytest.raises(DataError, match=r"some\.npy holds a single array; expected several with names, an \.npz"):
        samples(tmp_path, "some.npy")
