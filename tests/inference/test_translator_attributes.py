"""Attributes of a translator: given values, and the target domain's typical values as defaults."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan import Translator
from transgan.errors import DataError, UsageError

RECIPE = """\
[tasks]
years = { between = ["young", "old"] }
[attributes]
age = { from = 15, to = 65 }
race = { values = ["White", "Black"] }
[train]
steps = 2
batch = 2
[conditionings]
age = { use = "channel", of = "age" }
race = { use = "embedding", of = "race" }
[generators]
g = { use = "resnet", width = 4, blocks = 1, norm_first = false }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["age"], width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 5.0
[metrics]
counterpart_error = true
"""
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def run(trained: Callable[..., Any], recipe_file: Callable[[str], Path], tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("attributes") / "run"
    trained(recipe_file(RECIPE), folder)
    return folder


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_pretrained(run, "cpu")


def translated(translator: Translator, to: str = "old", **attributes: object) -> bytes:
    return bytes(translator(PICTURE, to=to, attributes=attributes).tobytes())


def test_the_value_changes_the_output(translator: Translator) -> None:
    assert len({translated(translator, age=25), translated(translator, age=43), translated(translator, age=55)}) == 3
    assert translated(translator, age=43) == translated(translator, age="43")
    assert translated(translator, race="White") != translated(translator, race="Black")


def test_values_default_to_the_typical_ones_of_the_target(translator: Translator, run: Path) -> None:
    typical = json.loads((run / "model/config.json").read_text())["attributes"]
    assert 20 <= typical["age"]["young"] <= 30 and 50 <= typical["age"]["old"] <= 60
    for domain in ("young", "old"):
        values = {name: each[domain] for name, each in typical.items()}
        assert translated(translator, domain) == translated(translator, domain, **values)
    assert translated(translator, "young") != translated(translator, "old")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"age": 90}, r"^attributes=\{\"age\": 90\}: found 90, expected a number from 15 to 65"),
        ({"aeg": 43}, r"^attributes=\{\"aeg\": 43\}: this model has no such attribute. Did you mean 'age'\?"),
        ({"age": "ripe"}, r"^attributes=\{\"age\": \"ripe\"\}: found 'ripe', expected a number from 15 to 65"),
        ({"race": "Whte"}, r"^attributes=\{\"race\": \"Whte\"\}: found 'Whte'. Did you mean 'White'\?"),
    ],
)
def test_an_invalid_attribute_is_refused(translator: Translator, attributes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        translator(PICTURE, to="old", attributes=attributes)


def test_attributes_on_the_command_line(
    run: Path,
    translator: Translator,
    run_cli: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    PICTURE.save(tmp_path / "a.png")
    words = ("translate", run, tmp_path / "a.png", "--to", "old", "--out", tmp_path / "out", "--device", "cpu")
    assert run_cli(*words, "--with", "age=43", "--with", "race=Black") == 0
    output = Image.open(tmp_path / "out/a.png")
    assert output.tobytes() == translated(translator, age=43, race="Black")
    for wrong, message in (("age", "--with age: expected NAME=VALUE"), ("age=7", "expected a number from 15 to 65")):
        assert run_cli(*words, "--with", wrong) == 2
        assert message in capsys.readouterr().err
    assert run_cli("info", run) == 0
    assert "age: 15 to 65; by default young 2" in capsys.readouterr().out


def test_a_config_without_valid_typical_values_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    for wrong in ({}, {"age": {"young": 25, "old": 900}}, None):
        (tmp_path / "model/config.json").write_text(json.dumps({**config, "attributes": wrong}))
        with pytest.raises(DataError, match=r"config.json: not the config of a model: attributes.age"):
            Translator.from_pretrained(tmp_path / "model", "cpu")
