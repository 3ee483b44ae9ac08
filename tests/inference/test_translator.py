"""A trained model as an object: what goes in comes out at its size and under its name, translated."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import transgan
from transgan.api import DataError, PluginError, UsageError
from transgan.inference.translator import Translator
from transgan.plan import Plan
from transgan.storage import Checkpoint, newest

RECIPE = """\
[data]
source = { use = "synthetic_faces", count = 16 }
size = 32
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 2
batch = 2
ema = 0.5
[conditionings]
task = { use = "embedding" }
[generators]
face = { use = "resnet", per = "direction", width = 4, blocks = 1 }
[discriminators]
face = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 5.0
"""


@pytest.fixture(scope="module")
def run(trained: Callable[..., Checkpoint], written: Callable[[str], Path], tmp_path_factory: Any) -> Path:
    """A run of two steps."""
    folder: Path = tmp_path_factory.mktemp("trained") / "run"
    trained(written(RECIPE), folder)
    return folder


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_pretrained(run, "cpu")


def pattern(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows + columns) % 256], -1).astype(np.uint8)


def rotated(picture: Image.Image) -> bytes:
    """A JPEG whose camera was held on its side."""
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
        ("deep.tif", Image.fromarray(pattern(48, 40)[..., 0].astype(np.float32) / 255), (40, 48)),
        ("turned.jpg", rotated(COLOUR), (48, 40)),
        ("dot.png", Image.fromarray(pattern(1, 1)), (1, 1)),
        ("line.png", Image.fromarray(pattern(1, 3000)), (3000, 1)),
        ("banner.png", Image.fromarray(pattern(20, 700)), (700, 20)),
        ("odd.png", Image.fromarray(pattern(33, 47)), (47, 33)),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_every_kind_of_picture_keeps_its_size(
    translator: Translator,
    tmp_path: Path,
    name: str,
    picture: Image.Image | bytes,
    size: tuple[int, int],
    native: bool,
) -> None:
    path = tmp_path / name
    path.write_bytes(picture) if isinstance(picture, bytes) else picture.save(path)
    y = translator.translate(translator.media.read(path), translator.choose("old"), native)
    out = tmp_path / "out" / name
    translator.media.write(y, out)
    with Image.open(out) as written, Image.open(path) as given:
        assert written.size == size
        assert written.format == given.format
        assert np.asarray(written.convert("RGB")).std() > 0 or size == (1, 1)


def test_a_picture_in_python_comes_out_as_one(translator: Translator) -> None:
    made = translator(COLOUR, to="old")
    assert isinstance(made, Image.Image) and (made.mode, made.size) == ("RGB", COLOUR.size)
    assert translator(np.asarray(COLOUR), to="old").tobytes() == made.tobytes()
    assert translator(COLOUR, to="old", native=True).tobytes() != made.tobytes()
    with pytest.raises(DataError, match=r"an array of float64, \(4, 4\), is no picture"):
        translator(np.zeros((4, 4)), to="old")


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
    made = {to: translator(COLOUR, to=to).tobytes() for to in ("old", "young", "black", "white")}
    assert len(set(made.values())) == 4
    assert translator(COLOUR, task="age", source="young").tobytes() == made["old"]
    for wrong, message in (
        ({"to": "odl"}, "no such domain. Did you mean 'old'?"),
        ({"task": "agee"}, "no such task. Did you mean 'age'?"),
        ({"task": "age"}, r"more than one translation is meant: \[age: young -> old\], \[age: old -> young\]"),
        ({"to": "old", "source": "white"}, "no translation is meant; this model knows"),
    ):
        with pytest.raises(UsageError, match=message):
            translator.choose(**wrong)


def test_the_moving_average_of_the_weights_translates(translator: Translator, run: Path) -> None:
    checkpoint, _ = newest(run / "checkpoints")
    assert checkpoint is not None
    mine = {
        f"{name}|{key}": x for name, net in translator.networks.networks.items() for key, x in net.state_dict().items()
    }
    average = checkpoint.groups["ema"]
    assert mine.keys() == average.keys()
    assert all(torch.equal(x, average[key]) for key, x in mine.items())
    assert any(not torch.equal(x, checkpoint.groups["networks"][key]) for key, x in mine.items())


def test_the_config_carries_neither_code_nor_a_path(run: Path, planned: Callable[..., Plan], tmp_path: Path) -> None:
    from transgan.inference.model_folder import model_card, model_config

    text = (run / "model/config.json").read_text()
    assert str(run.parent) not in text
    assert set(json.loads(text)) == {"format", "transgan", "recipe", "plugins", "steps", "attributes", "evaluation"}

    (tmp_path / "secret/a").mkdir(parents=True)
    COLOUR.save(tmp_path / "secret/a/1.png")
    folders = RECIPE.replace('{ use = "synthetic_faces", count = 16 }', f'"folders"\nroot = "{tmp_path}"')
    folders += "[domains]\n"
    for domain in ("young", "old", "white", "black"):
        folders += f'{domain} = {{ path = "{tmp_path}/secret/a" }}\n'
    plan = planned(folders)
    assert "secret" not in json.dumps(model_config(plan, 1))
    from transgan.data.domains import Domains

    card = model_card(plan, Domains(plan), {"steps": 1, "seed": 0, "translations": {}})
    assert "secret" not in card and "- `young` = `{'path': 'a'}`: 1 samples, 0 held out" in card


def test_a_model_needs_no_source_of_samples(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transgan.registry import Registry

    found = Registry.installed()
    found.entries = {
        key: entry for key, entry in found.entries.items() if key[0] not in ("sources", "losses", "metrics")
    }
    monkeypatch.setattr(Registry, "installed", lambda: found)
    assert Translator.from_pretrained(run, "cpu").translations


def test_a_plugin_that_is_not_installed_is_named_in_one_line(run: Path, tmp_path: Path) -> None:
    for path in (run / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["recipe"]["generators"]["face"]["use"] = "os.system"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PluginError) as raised:
        Translator.from_pretrained(tmp_path, "cpu")
    line = f"{tmp_path}/config.json: [generators.face] use: no generator 'os.system'. Known: "
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)


def test_a_model_is_loaded_without_a_compiler(run: Path) -> None:
    """Seconds of every `transgan translate`: torch loads one where shapes are worked out in Python."""
    code = f"""
import sys
from transgan.inference.translator import Translator
Translator.from_pretrained({str(run)!r})
sys.exit(" ".join({{"sympy", "torch._dynamo"}} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
