"""Image media: decoding, augmentation as a pure function of the position, refusal of bad files, previews."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_images.decoding import ReadingOptions, picture_of
from transgan_images.media import HalfImage, ImageMedia, ImageOptions, contact_sheet, to_bytes

from transgan.api import Column, DataError, DiskError
from transgan.rng import CounterRng


def rng(*index: int, epoch: int = 0, seed: object = 0) -> CounterRng:
    return CounterRng(seed, np.full(len(index), epoch), np.array(index))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_batch_without_rng_is_the_centre_crop_in_minus_one_to_one() -> None:
    decoded = noise(4, 20, 20, 3)
    media = ImageMedia(ImageOptions(enlarge=1.25), 16)
    expected = decoded[:, 2:18, 2:18].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    assert np.array_equal(media.batch(torch.from_numpy(decoded), None, ()).numpy(), expected)
    assert media.space == (16, 16)


def test_batch_with_rng_is_cropped_and_mirrored_at_random() -> None:
    decoded = noise(64, 20, 20, 3)
    media, numbers = ImageMedia(ImageOptions(enlarge=1.25), 16), rng(*range(64))
    x = media.batch(torch.from_numpy(decoded), numbers, ()).numpy()
    mirror = numbers.uniform("flip").numpy() < 0.5
    offset = (numbers.uniform("crop", 2).numpy() * 5).astype(int)
    for i in range(64):
        image = decoded[i, :, ::-1] if mirror[i] else decoded[i]
        row, column = offset[i]
        expected = image[row : row + 16, column : column + 16].transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
        assert np.array_equal(x[i], expected)
    assert 0.25 < mirror.mean() < 0.75
    assert set(offset.ravel()) == {0, 1, 2, 3, 4}


def test_augmentation_of_a_sample_depends_on_seed_epoch_and_index_only() -> None:
    decoded = torch.from_numpy(noise(1, 20, 20, 3).repeat(8, axis=0))
    media = ImageMedia(ImageOptions(enlarge=1.25), 16)
    whole = media.batch(decoded, rng(*range(8)), ())
    shuffled = media.batch(decoded[:3], rng(5, 2, 7), ())
    assert torch.equal(shuffled, whole[[5, 2, 7]])
    assert torch.equal(media.batch(decoded[:1], rng(3), ()), whole[3:4])
    assert not torch.equal(media.batch(decoded, rng(*range(8), epoch=1), ()), whole)
    assert not torch.equal(media.batch(decoded, rng(*range(8), seed=1), ()), whole)


def test_without_flip_and_enlarge_batches_are_not_augmented() -> None:
    decoded = torch.from_numpy(noise(8, 16, 16, 3))
    media = ImageMedia(ImageOptions(flip=False), 16)
    assert torch.equal(media.batch(decoded, rng(*range(8)), ()), media.batch(decoded, None, ()))


def test_decoding_squashes_or_crops_to_a_square(tmp_path: Path) -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    squashed = ImageMedia(ImageOptions(), 16).decode(tmp_path / "wide.png")
    cropped = ImageMedia(ImageOptions(fit="crop"), 16).decode(tmp_path / "wide.png")
    assert squashed.shape == cropped.shape == (16, 16, 3)
    assert cropped.min() == 255
    assert squashed[8, 0, 0] == 0 and squashed[8, 8, 0] == 255
    grey = ImageMedia(ImageOptions(channels=1), 16)
    assert grey.decode(tmp_path / "wide.png").shape == (16, 16, 1)
    assert grey.channels == 1
    synthetic = grey.decode(lambda side: np.full((side, side, 3), 40, np.uint8))
    assert synthetic.shape == (16, 16, 1) and (synthetic == 40).all()


def test_halves_of_an_image(tmp_path: Path) -> None:
    pair = noise(8, 17, 3)
    Image.fromarray(pair).save(tmp_path / "pair.png")
    left, right = HalfImage(tmp_path / "pair.png", "left"), HalfImage(tmp_path / "pair.png", "right")
    media = ImageMedia(ImageOptions(), 8)
    assert np.array_equal(media.read(left).pixels, pair[:, :8])
    assert np.array_equal(media.read(right).pixels, pair[:, 8:16])
    assert str(left) != str(right)
    assert ImageMedia(ImageOptions(), 4).decode(right).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "an empty file"),
        (b"GIF89a", "cannot be read: |not an image"),
        (b"<svg></svg>", "not an image that can be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "cannot be read: |not an image"),
    ],
)
def test_files_that_are_no_images_are_refused_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "some.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        ImageMedia(ImageOptions(), 8).read(path)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


def test_half_of_a_picture_that_is_one_pixel_wide_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1, 5)).save(tmp_path / "thin.png")
    with pytest.raises(DataError, match=r"thin\.png") as raised:
        ImageMedia(ImageOptions(), 8).read(HalfImage(tmp_path / "thin.png", "left"))
    assert str(raised.value).endswith("cannot be read: 0 x 5 pixels; expected at least one")


def test_a_file_may_be_called_what_messages_call_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((8, 8), 300, np.int32)).save("an array.tif")
    with pytest.raises(DataError, match=r"^an array\.tif: numbers of type int32 from 300 to 300, whose range"):
        ImageMedia(ImageOptions(), 8).read("an array.tif")


def test_folders_are_refused_and_truncated_images_refused_or_read(tmp_path: Path) -> None:
    media = ImageMedia(ImageOptions(), 8)
    with pytest.raises(DataError, match="Is a directory"):
        media.read(tmp_path)
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tif", "a.ppm"):
        Image.fromarray(noise(9, 9, 3)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole) - 1, max(1, len(whole) // 23)):
            (tmp_path / name).write_bytes(whole[:length])
            try:
                assert media.read(tmp_path / name).pixels.shape == (9, 9, 3)
            except DataError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("stride", [1, 4, 32])
@pytest.mark.parametrize("size", [(32, 32), (45, 70), (1, 1), (200, 3), (9, 64)])
def test_to_model_and_from_model_keep_the_size_and_the_image(size: tuple[int, int], stride: int, native: bool) -> None:
    media = ImageMedia(ImageOptions(), 32)
    x = torch.linspace(-0.9, 0.9, size[1]).expand(3, *size)
    y, undo = media.to_model(x, stride, native, "a")
    assert all(side % stride == 0 and side >= 8 for side in y.shape[2:])
    assert y.shape[-1] * y.shape[-2] <= max(16 * 32 * 32, size[0] * size[1]) * 3
    back = media.from_model(y, undo, "b")
    assert back.shape == x.shape
    assert (back - x).abs().max() < (1e-6 if native else 0.1)


def test_written_images_are_read_back_unchanged(tmp_path: Path) -> None:
    media, image = ImageMedia(ImageOptions(), 8), noise(5, 7, 3)
    x = media.read(image)
    assert np.array_equal(to_bytes(media.as_tensor(x)), image)
    media.write(x, tmp_path / "deep/er/a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep/er/a.png")), image)
    assert np.array_equal(media.read(tmp_path / "deep/er/a.png").pixels, image)
    assert np.array_equal(media.read(str(tmp_path / "deep/er/a.png")).pixels, image)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match=r"file/a\.png: cannot be written: "):
        media.write(x, tmp_path / "file/a.png")
    with pytest.raises(DiskError, match=r"a\.xyz: cannot be written: no format has the suffix '\.xyz'"):
        media.write(x, tmp_path / "a.xyz")


def test_contact_sheet_has_a_column_for_each_name_and_a_row_for_each_item(tmp_path: Path) -> None:
    items = [noise(16, 16, 3) for _ in range(3)]
    sheet = contact_sheet({"young\n(source)": items, "old": items[:2]})
    assert sheet.size == (2 * 132 + 4, 34 + 3 * 132 + 4)
    assert np.array_equal(np.asarray(sheet)[34 : 34 + 128, 4:132], items[0].repeat(8, 0).repeat(8, 1))
    media = ImageMedia(ImageOptions(channels=1), 16)
    path = media.preview({"grey": Column("a", [torch.zeros(1, 16, 16)])}, tmp_path / "samples/step-1")
    assert path == tmp_path / "samples/step-1.png" and path.exists()


@pytest.mark.parametrize("kind", ["u2", ">u2", "i4", "u4", "i8", ">i8", "u8"])
def test_whole_numbers_of_any_type_are_the_numbers_they_are(kind: str) -> None:
    options = ReadingOptions(range=(0, 4095))
    numbers = np.arange(8 * 8 * 3).reshape(8, 8, 3) * 21
    expected = picture_of(numbers.astype("u2"), options).pixels
    assert (picture_of(numbers.astype(kind), options).pixels == expected).all()
    if np.dtype(kind).itemsize > 2:  # beyond the range is its end, as of files, and no other number
        beyond = numbers.astype(kind) + np.iinfo(kind).max // 2
        white = np.full((8, 8, 3), 4095, "u2")
        assert (picture_of(beyond, options).pixels == picture_of(white, options).pixels).all()
