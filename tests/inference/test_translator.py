"""The translator: items keep their size and format; translations are chosen by name."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import transgan
from transgan.api import DataError, UsageError
from transgan.inference.translator import Translator
from transgan.storage import newest


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_pretrained(run, "cpu")


def pattern(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows + columns) % 256], -1).astype(np.uint8)


def rotated(picture: Image.Image) -> bytes:
    """Return a JPEG whose EXIF orientation rotates it by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


COLOUR = Image.fromarray(pattern(48, 40))


@pytest.mark.parametrize(
    ("name", "picture", "size"),
    [
        ("photo.jpg", COLOUR, (40, 48)),
        ("photo.JPEG", COLOUR, (40, 48)),
        ("drawing.png", COLOUR, (40, 48)),
        ("web.webp", COLOUR, (40, 48)),
        ("old.bmp", COLOUR, (40, 48)),
        ("print.tiff", COLOUR, (40, 48)),
        ("map.ppm", COLOUR, (40, 48)),
        ("moving.gif", COLOUR, (40, 48)),
        ("grey.png", COLOUR.convert("L"), (40, 48)),
        ("seethrough.png", COLOUR.convert("RGBA"), (40, 48)),
        ("palette.png", COLOUR.convert("P"), (40, 48)),
        ("bits.png", COLOUR.convert("1"), (40, 48)),
        ("deep.png", Image.fromarray(pattern(48, 40)[..., 0].astype(np.uint16) * 200), (40, 48)),
        ("deep.tif", Image.fromarray(pattern(48, 40)[..., 0].astype(np.uint16) * 200), (40, 48)),
        ("turned.jpg", rotated(COLOUR), (48, 40)),
        ("dot.png", Image.fromarray(pattern(1, 1)), (1, 1)),
        ("line.png", Image.fromarray(pattern(1, 3000)), (3000, 1)),
        ("banner.png", Image.fromarray(pattern(20, 700)), (700, 20)),
        ("odd.png", Image.fromarray(pattern(33, 47)), (47, 33)),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_every_kind_of_picture_keeps_its_size_and_format(
    translator: Translator,
    tmp_path: Path,
    name: str,
    picture: Image.Image | bytes,
    size: tuple[int, int],
    native: bool,
) -> None:
    path = tmp_path / name
    path.write_bytes(picture) if isinstance(picture, bytes) else picture.save(path)
    direction = translator.choose("old")
    reader, writer = translator.sides(direction)
    y = translator.translate(reader.read(path), direction, native)
    out = tmp_path / "out" / name
    writer.write(y, out)
    with Image.open(out) as translated, Image.open(path) as source:
        assert translated.size == size
        assert translated.format == source.format
        assert np.asarray(translated.convert("RGB")).std() > 0 or size == (1, 1)


def test_a_picture_in_memory_is_translated_into_one(translator: Translator) -> None:
    translated = translator(COLOUR, to="old")
    assert isinstance(translated, Image.Image) and (translated.mode, translated.size) == ("RGB", COLOUR.size)
    assert translator(np.asarray(COLOUR), to="old").tobytes() == translated.tobytes()
    assert translator(COLOUR, to="old", native=True).tobytes() != translated.tobytes()
    with pytest.raises(DataError, match=r"an array of float64, \(4, 4\): numbers from 200 to 200; expected 0 to 1"):
        translator(np.full((4, 4), 200.0), to="old")


def test_the_same_picture_gives_the_same_translation(translator: Translator, run: Path) -> None:
    first, again = translator(COLOUR, to="old"), translator(COLOUR, to="old")
    other = transgan.Translator.from_pretrained(run / "model", "cpu")
    assert first.tobytes() == again.tobytes() == other(COLOUR, to="old").tobytes()


def test_translations_differ_and_are_chosen_by_name(translator: Translator) -> None:
    assert [str(each) for each in translator.translations] == [
        "age: young -> old",
        "age: old -> young",
        "race: white -> black",
        "race: black -> white",
    ]
    outputs = {to: translator(COLOUR, to=to).tobytes() for to in ("old", "young", "black", "white")}
    assert len(set(outputs.values())) == 4
    assert translator(COLOUR, task="age", source="young").tobytes() == outputs["old"]
    for wrong, message in (
        ({"to": "odl"}, "no such domain. Did you mean 'old'?"),
        ({"task": "agee"}, "no such task. Did you mean 'age'?"),
        ({"task": "age"}, r"more than one translation matches: \[age: young -> old\], \[age: old -> young\]"),
        ({"to": "old", "source": "white"}, "no translation matches; this model has"),
    ):
        with pytest.raises(UsageError, match=message):
            translator.choose(**wrong)


def test_the_model_has_the_moving_average_of_the_weights(translator: Translator, run: Path) -> None:
    checkpoint, _ = newest(run / "checkpoints")
    assert checkpoint is not None
    mine = {f"{name}|{key}": x for name, net in translator.networks.items() for key, x in net.state_dict().items()}
    average = checkpoint.groups["ema"]
    assert mine.keys() == average.keys()
    assert all(torch.equal(x, average[key]) for key, x in mine.items())
    assert any(not torch.equal(x, checkpoint.groups["networks"][key]) for key, x in mine.items())


def test_what_is_not_finite_is_no_translation(translator: Translator, run: Path, tmp_path: Path) -> None:
    """It would be written as black, or as silence."""
    broken = Translator.from_pretrained(run, "cpu")
    for network in broken.networks.values():
        for parameter in network.parameters():
            parameter.data.fill_(float("nan"))
    picture = pattern(40, 32)
    image, x = Image.fromarray(picture), torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1
    path = tmp_path / "a.png"
    image.save(path)
    for given in (picture, image, x, path):
        translator(given, to="old")
        with pytest.raises(DataError, match="the model's output is not finite"):
            broken(given, to="old")
    with pytest.raises(DataError, match="the model's output is not finite"):
        list(broken.translate_sequence([picture], to="old"))


PLUGIN = """\
from transgan.api import hookimpl
from transgan_standard.generators import ResnetGenerator
class Mine(ResnetGenerator): pass
@hookimpl
def register_generators(register): register("mine", Mine)
"""


def test_a_pickled_translator_finds_its_plugin_files(
    recipe: str, recipe_file: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "my_generator.py").write_text(PLUGIN)
    files = {"plugins": [tmp_path / "my_generator.py"]}
    transgan.train(recipe_file(recipe.replace('use = "resnet"', 'use = "mine"')), out=tmp_path / "run", **files)
    translator = Translator.from_pretrained(tmp_path / "run", "cpu", **files)
    other = pickle.loads(pickle.dumps(translator))  # noqa: S301
    x = torch.linspace(-1, 1, 3 * 32 * 32).reshape(3, 32, 32)
    assert torch.equal(other(x, to="old"), translator(x, to="old"))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])  # noqa: S301
def test_a_translator_can_be_pickled_and_copied(run: Path, tmp_path: Path, again: object) -> None:
    COLOUR.save(tmp_path / "photo.png")
    translator = Translator.from_pretrained(run, "cpu", media_options={"max_pixels": 48 * 40})
    translator.memory = 10**9
    first = np.asarray(translator(tmp_path / "photo.png", to="old"))
    other = again(translator)  # type: ignore[operator]
    assert isinstance(other, Translator)
    assert other.networks.keys() == translator.networks.keys()
    with torch.no_grad():
        for network in translator.networks.values():
            for parameter in network.parameters():
                parameter.zero_()  # it shares nothing
    assert np.array_equal(np.asarray(other(tmp_path / "photo.png", to="old")), first)
    assert other.memory == 10**9
    Image.fromarray(pattern(49, 40)).save(tmp_path / "photo.png")
    with pytest.raises(DataError, match="max_pixels"):
        other(tmp_path / "photo.png", to="old")
