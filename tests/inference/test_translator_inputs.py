"""What a translator takes and gives back: paths, PIL images, arrays, tensors, and several of them."""

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan import registry as module
from transgan.api import DataError, UsageError
from transgan.errors import PluginError, RecipeError
from transgan.inference.translator import Translator

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (40, 36, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_pretrained(run, "cpu")


@pytest.fixture(scope="module")
def expected(translator: Translator) -> np.ndarray:
    """The translation of COLOUR as a PIL image, in levels 0 to 255."""
    return np.asarray(translator(Image.fromarray(COLOUR), to="old")).astype(float)


def as_float(x: np.ndarray) -> np.ndarray:
    return x / 255


def as_sample(x: np.ndarray) -> Tensor:
    """Return levels (H, W, C) as networks see them."""
    return torch.from_numpy(x.transpose(2, 0, 1) / 127.5 - 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_an_array_gives_an_array_of_its_type(translator: Translator, expected: np.ndarray, dtype: Any) -> None:
    whole = dtype is np.uint8
    given = COLOUR if whole else as_float(COLOUR).astype(dtype)
    found = translator(given, to="old")
    assert isinstance(found, np.ndarray) and (found.dtype, found.shape) == (dtype, COLOUR.shape)
    levels = found.astype(float) * (1 if whole else 255)
    assert np.abs(levels - expected).max() <= (0 if whole else 1.2)


def test_an_array_of_16_bits_keeps_its_depth(translator: Translator, expected: np.ndarray) -> None:
    found = translator(COLOUR.astype(np.uint16) * 257, to="old")
    assert found.dtype == np.uint16
    assert np.abs(found / 257 - expected).max() < 0.6
    assert len(np.unique(found)) > 256


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_a_tensor_gives_a_tensor_of_its_type(translator: Translator, expected: np.ndarray, dtype: torch.dtype) -> None:
    whole = dtype is torch.uint8
    given = torch.from_numpy(COLOUR).permute(2, 0, 1) if whole else as_sample(COLOUR).to(dtype)
    found = translator(given, to="old")
    assert (found.dtype, found.shape, found.device) == (dtype, given.shape, given.device)
    levels = found.double() if whole else (found.double() + 1) * 127.5
    gap = (levels.permute(1, 2, 0).numpy() - expected).__abs__().max()
    assert gap <= (0 if whole else 1.2)


def test_arrays_that_cannot_be_written_or_lie_backwards(translator: Translator) -> None:
    fixed = np.ascontiguousarray(COLOUR[::-1])
    fixed.flags.writeable = False
    for native in (False, True):
        backwards = translator(COLOUR[::-1], to="old", native=native)
        assert backwards.tobytes() == translator(fixed, to="old", native=native).tobytes()


def test_a_picture_gives_a_picture_also_from_a_path(translator: Translator, tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert isinstance(translator(path, to="old"), Image.Image)


def test_grey_and_opacity(translator: Translator) -> None:
    found = translator(GREY, to="old")
    assert (found.dtype, found.shape) == (np.uint8, (*GREY.shape, 3))  # the model's colours
    assert translator(GREY[..., None], to="old").tobytes() == found.tobytes()
    alpha = RNG.integers(1, 256, GREY.shape, dtype=np.uint8)
    for opaque, top in ((np.dstack([COLOUR, alpha]), 1), (np.dstack([COLOUR, alpha]) / 255, 255)):
        with_opacity = translator(opaque, to="old")
        assert with_opacity.shape == opaque.shape
        np.testing.assert_allclose(with_opacity[..., 3] * top, alpha, atol=1e-3)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_several_are_translated_as_each_one_is(translator: Translator, batch_size: int, native: bool) -> None:
    small, large = COLOUR[:32, :32], np.concatenate([COLOUR, COLOUR], 1)
    items = [COLOUR, Image.fromarray(large), small, as_sample(COLOUR), COLOUR[::-1].copy()]
    found = translator(items, to="old", batch_size=batch_size, native=native)
    assert [type(each) for each in found] == [type(each) for each in items]
    for item, each in zip(items, found, strict=True):
        alone = translator(item, to="old", native=native)
        if isinstance(item, Tensor):
            torch.testing.assert_close(each, alone, rtol=0, atol=1e-4)
        else:
            assert np.abs(np.asarray(each).astype(int) - np.asarray(alone)).max() <= 1


def test_batches_in_one_object(translator: Translator) -> None:
    arrays = np.stack([COLOUR, COLOUR[::-1]])
    found = translator(arrays, to="old")
    assert isinstance(found, np.ndarray) and (found.shape, found.dtype) == (arrays.shape, np.uint8)
    assert np.abs(found[1].astype(int) - translator(arrays[1], to="old")).max() <= 1
    tensors = torch.stack([as_sample(each) for each in arrays])
    result = translator(tensors, to="old")
    assert result.shape == tensors.shape
    torch.testing.assert_close(result[1], translator(tensors[1], to="old"), rtol=0, atol=1e-4)
    assert translator(tensors[:0], to="old").shape == tensors[:0].shape


def test_iterables_are_read_as_they_come(translator: Translator) -> None:
    taken: list[int] = []

    def items() -> Any:
        for i in range(4):
            taken.append(i)
            yield COLOUR if i < 3 else "missing.png"

    with pytest.raises(DataError, match=r"missing\.png"):
        translator(items(), to="old", batch_size=2)
    assert len(translator((COLOUR, GREY), to="old")) == 2
    assert translator([], to="old") == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (COLOUR.astype(np.float32), "numbers from 0 to 255; expected 0 to 1"),
        (as_float(COLOUR) * np.nan, "numbers from nan to nan; expected 0 to 1"),
        (torch.from_numpy(COLOUR).permute(2, 0, 1).float(), "expected -1 to 1, such as x / 127.5 - 1"),
        (torch.from_numpy(COLOUR), r"a tensor of uint8, \(40, 36, 3\): expected \(3, H, W\)"),
        (torch.zeros(3, 8, 8, device="meta"), r"^a tensor of \(3, 8, 8\), on the device 'meta', which has no numbers"),
        ([torch.zeros(3, 8, 8).to_sparse()], r"torch.sparse_coo; expected a dense one, such as x.to_dense\(\)"),
        (np.ones(5), r"^an array of float64, \(5,\), is no image"),
        (
            np.ones((8, 8, 3), np.int64),
            r"^an array of int64, \(8, 8, 3\): numbers from 1 to 1, whose range is not known",
        ),
        (np.ones((8, 8, 3), ">u2"), r"^an array of uint16, \(8, 8, 3\): numbers from 1 to 1, which may be fewer"),
        ("https://some.where/a.jpg", "It looks like an address, and nothing is downloaded"),
        (["no/such.png"], "^no/such.png: no such file$"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "expected floating point from -1 to 1, or uint8"),
        (np.zeros((8, 8, 5), np.uint8), "is no image"),
        (
            np.ma.masked_array(COLOUR, COLOUR > 200),
            rf"^an array of uint8, .*: {(COLOUR > 200).sum():,} of its numbers are masked, .* such as x\.filled\(0\)$",
        ),
        (GREY.astype(np.int64).view(np.matrix), r"^an array of int64, \(40, 36\): numbers from 0 to 255, whose range"),
        (Image.new("RGB", (0, 5)), "^an image: cannot be read: 0 x 5 pixels; expected at least one$"),
        (Image.new("I", (5, 0)), "^an image: cannot be read: 5 x 0 pixels; expected at least one$"),
        (
            Image.fromarray(GREY.astype(np.int32)),
            "^an image of mode I: numbers from 0 to 255, whose range is not known",
        ),
        (torch.full((3, 8, 8), 2.0).to(torch.float8_e4m3fn), r"^a tensor of float8_e4m3fn, .* numbers from 2 to 2"),
        ({"a": 1}, "found dict; expected a path, a PIL image, an array or a tensor"),
        (3.5, "found float; expected a path"),
        ([COLOUR, COLOUR, 7], "item 2: found int; expected a path"),
        ([COLOUR, COLOUR.astype(float)], "item 1: an array of float64"),
    ],
)
def test_what_cannot_be_read_is_said(translator: Translator, item: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        translator(item, to="old")


def test_arrays_of_other_classes_are_read_as_plain_ones(translator: Translator) -> None:
    expected = translator(GREY, to="old")
    for given in (GREY.view(np.matrix), np.ma.masked_array(GREY, False)):
        assert translator(given, to="old").tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_tensors_of_8_bits_in_floating_point(translator: Translator, dtype: torch.dtype) -> None:
    given = as_sample(COLOUR).to(dtype)
    found = translator(given, to="old")
    assert (found.dtype, found.shape) == (dtype, given.shape)
    assert torch.equal(found.float(), translator(given.float(), to="old").to(dtype).float())


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no such type")
def test_tensors_of_4_bits_are_refused(translator: Translator) -> None:
    given = torch.zeros(3, 8, 8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    with pytest.raises(DataError, match=r"^a tensor of float4_e2m1fn_x2, .*: a type that torch cannot convert"):
        translator(given, to="old")


def test_a_sequence_is_of_several_items(translator: Translator, tmp_path: Path) -> None:
    picture = Image.fromarray(COLOUR)
    picture.save(tmp_path / "p.png")
    for one in (3, "p.png", tmp_path / "p.png", picture, COLOUR, as_sample(COLOUR), None):
        with pytest.raises(UsageError, match=rf"^items: found {type(one).__name__}, a single one; expected several"):
            translator.translate_sequence(one, to="old")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="BytesIO, an open file"):
        next(translator.translate_sequence(io.BytesIO(b"\n\n"), to="old"))
    with pytest.raises(DataError, match=r"^no/such\.png: no such file$"):
        next(translator.translate_sequence(["no/such.png"], to="old"))
    alone = translator(COLOUR, to="old")
    for several in ([COLOUR], iter([COLOUR]), COLOUR[None], {1: COLOUR}.values()):
        assert [each.tobytes() for each in translator.translate_sequence(several, to="old")] == [alone.tobytes()]
    [found] = translator.translate_sequence([tmp_path / "p.png"], to="old")
    assert np.array_equal(np.asarray(found), alone)


def test_mistakes_are_in_the_words_of_python(translator: Translator, run: Path) -> None:
    for wrong, message in (
        ({"to": "odl"}, '^to="odl": this model has no such domain'),
        ({"task": "age"}, "choose with to, task and source$"),
        ({"to": "old", "batch_size": 0}, "^batch_size=0: expected a whole number of 1 or more"),
        ({"to": "old", "batch_size": 2.5}, "^batch_size=2.5: expected a whole number of 1 or more"),
        ({"to": "old", "batch_size": None}, "^batch_size=None: expected a whole number of 1 or more"),
        ({"to": ["old"]}, r'^to=\["old"\]: expected the name of a domain, such as'),
        ({"to": 3}, "^to=3: expected the name of a domain, such as "),
        ({"to": "old", "seed": 1}, "^seed: this model has no latent codes"),
        (
            {"to": "old", "attributes": {"hat": "top"}},
            r'^attributes=\{"hat": "top"\}: this model has no such attribute',
        ),
        ({"to": "old", "inputs": {"mask": COLOUR}}, '^inputs="mask": '),
        ({"to": "old", "inputs": COLOUR}, "^inputs: found ndarray: expected values by name"),
        ({"to": "old", "attributes": ["hat"]}, "^attributes: found list: expected values by name"),
        ({"to": "old", "attributes": {3: 4}}, "^attributes={3: 4}: found int as a name"),
        ({"to": "old", "native": "no"}, '^native="no": expected True or False$'),
        ({"to": "old", "regions": 5}, "^regions: found int; expected the name of a detector"),
        ({"to": "old", "batch_size": True}, "^batch_size=True: expected a whole number"),
    ):
        with pytest.raises(UsageError, match=message):
            translator(COLOUR, **wrong)
    with pytest.raises(UsageError, match=r'^device="tpu": expected cpu'):
        Translator.from_pretrained(run, "tpu")
    with pytest.raises(UsageError, match=r'^media_options=\{"flip": False\}'):
        Translator.from_pretrained(run, "cpu", media_options={"flip": False})


def test_what_a_model_is_read_from_is_checked(run: Path) -> None:
    for wrong, message in (
        ({"path": None}, "^path=None: expected a path$"),
        ({"path": [run]}, "^path: found list: expected a path$"),
        ({"path": b"x"}, "^path=b'x': expected a path$"),
        ({"path": ""}, '^path="": empty; expected a path$'),
        ({"step": "6"}, '^step="6": expected a whole number of 0 or more$'),
        ({"step": 1.5}, "^step=1.5: expected a whole number of 0 or more$"),
        ({"device": 3}, '^device="3": '),
        ({"media_options": 5}, "^media_options=5: expected values by name, or texts"),
        ({"media_options": [5]}, "^media_options=5: expected texts such as"),
        ({"plugins": 5}, "^plugins=5: expected a path, or a list of paths$"),
        ({"plugins": [None]}, "^plugins=None: expected a path$"),
    ):
        with pytest.raises(UsageError, match=message):
            Translator.from_pretrained(**{"path": run, **wrong})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"It looks like an address, and nothing is downloaded"):
        Translator.from_pretrained("https://some.where/model")
    translator = Translator.from_pretrained(run, "cpu")
    for memory in ("1 GB", -5, 0):
        with pytest.raises(UsageError, match=r"^memory="):
            translator.memory = memory  # type: ignore[assignment]
    assert translator.memory is None


def test_options_of_the_media(run: Path, tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    translator = Translator.from_pretrained(run, "cpu", media_options={"max_pixels": 100})
    with pytest.raises(DataError, match=r'media_options=\{"max_pixels": 1440\}'):
        translator(tmp_path / "a.png", to="old")
    with pytest.raises(RecipeError, match=r'media_options=\{"max_pixels": .*\}: found "many" \(a string\), expected'):
        translator.set_media_options({"max_pixels": "many"})
    translator.set_media_options({"max_pixels": 1440})
    assert translator(tmp_path / "a.png", to="old").size == (36, 40)


def test_it_says_what_it_is_and_moves(run: Path) -> None:
    translator = Translator.from_pretrained(run, "cpu")
    before = translator(COLOUR, to="old")
    assert translator.to("cpu") is translator and translator.device == torch.device("cpu")
    assert translator(COLOUR, to="old").tobytes() == before.tobytes()
    count = sum(each.numel() for network in translator.networks.values() for each in network.parameters())
    for part in ("[age: young -> old]", "[race: black -> white]", "size 32", "cpu", f"{count:,} parameters"):
        assert part in repr(translator)
    wrong: Any
    for wrong in ("tpu", "meta", "hip", "", torch.float64):
        with pytest.raises(UsageError, match=rf'^device="{wrong}": expected cpu, cuda, cuda:1 or mps$'):
            translator.to(wrong)
    assert translator(COLOUR, to="old").tobytes() == before.tobytes()


def test_plugins_that_the_model_does_not_use_may_be_absent_or_broken(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ImportError("no module named 'glass'")

    needed = [point for point in module.entry_points(group="transgan") if point.name in ("standard", "images")]
    broken = SimpleNamespace(name="broken", value="broken", dist=None, load=fail)
    monkeypatch.setattr(module, "entry_points", lambda group: [*needed, broken])
    assert Translator.from_pretrained(run, "cpu")(COLOUR, to="old").shape == COLOUR.shape


def test_a_plugin_whose_network_returns_something_else_is_named_with_its_package(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = next(iter(translator.networks.values()))
    generator = next(each for each in network.modules() if "transgan_standard" in type(each).__module__)
    monkeypatch.setattr(type(generator), "forward", lambda self, *inputs, **conditions: None)
    with pytest.raises(
        PluginError, match=r"^generator 'resnet' of transgan .*: forward returned None; return its output"
    ):
        translator(COLOUR, to="old")


def test_several_threads_get_what_one_gets(translator: Translator) -> None:
    items = [np.roll(COLOUR, i, 0) for i in range(4)]
    alone = [translator(each, to="old") for each in items]
    found: dict[int, list[np.ndarray]] = {}

    def work(number: int) -> None:
        found[number] = [translator(items[number], to="old") for _ in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(items))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for number, expected in enumerate(alone):
        assert all(each.tobytes() == expected.tobytes() for each in found[number])


def test_open_files_and_folders_are_named(translator: Translator, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^found BytesIO, an open file; expected a path, or .*PIL\.Image\.open"):
        translator(io.BytesIO(b"\n\n"), to="old")
    with pytest.raises(DataError, match="is a folder; expected a file, or a list of files"):
        translator(tmp_path, to="old")
    with pytest.raises(UsageError, match=r'^device="cudaa": expected cpu, cuda, cuda:1 or mps'):
        translator.to("cudaa")
