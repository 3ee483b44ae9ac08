"""A translator makes the number that it is asked for, and the middle of the target domain where nothing is asked."""

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
def run(trained: Callable[..., Any], written: Callable[[str], Path], tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("told") / "run"
    trained(written(RECIPE), folder)
    return folder


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_pretrained(run, "cpu")


def made(translator: Translator, to: str = "old", **attributes: object) -> bytes:
    return bytes(translator(PICTURE, to=to, attributes=attributes).tobytes())


def test_the_number_changes_what_is_made(translator: Translator) -> None:
    assert len({made(translator, age=25), made(translator, age=43), made(translator, age=55)}) == 3
    assert made(translator, age=43) == made(translator, age="43")
    assert made(translator, race="White") != made(translator, race="Black")


def test_what_is_not_asked_for_is_the_middle_of_the_target(translator: Translator, run: Path) -> None:
    middles = json.loads((run / "model/config.json").read_text())["attributes"]
    assert 20 <= middles["age"]["young"] <= 30 and 50 <= middles["age"]["old"] <= 60
    for domain in ("young", "old"):
        middle = {name: each[domain] for name, each in middles.items()}
        assert made(translator, domain) == made(translator, domain, **middle)
    assert made(translator, "young") != made(translator, "old")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"age": 90}, "--with age=90: found 90, expected a number from 15 to 65"),
        ({"aeg": 43}, r"--with aeg=43: this model has no such attribute. Did you mean 'age'\?"),
        ({"age": "ripe"}, "--with age=ripe: found 'ripe', expected a number from 15 to 65"),
        ({"race": "Whte"}, r"--with race=Whte: found 'Whte'. Did you mean 'White'\?"),
    ],
)
def test_what_cannot_be_made_is_said(translator: Translator, attributes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        translator(PICTURE, to="old", attributes=attributes)


def test_on_the_command_line(
    run: Path,
    translator: Translator,
    typed: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    PICTURE.save(tmp_path / "a.png")
    words = ("translate", run, tmp_path / "a.png", "--to", "old", "--out", tmp_path / "out", "--device", "cpu")
    assert typed(*words, "--with", "age=43", "--with", "race=Black") == 0
    written = Image.open(tmp_path / "out/a.png")
    assert written.tobytes() == made(translator, age=43, race="Black")
    for wrong, message in (("age", "--with age: expected NAME=VALUE"), ("age=7", "expected a number from 15 to 65")):
        assert typed(*words, "--with", wrong) == 2
        assert message in capsys.readouterr().err
    assert typed("info", run) == 0
    assert "age: 15 to 65; by default young 2" in capsys.readouterr().out


def test_a_config_without_the_middles_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    for wrong in ({}, {"age": {"young": 25, "old": 900}}, None):
        (tmp_path / "model/config.json").write_text(json.dumps({**config, "attributes": wrong}))
        with pytest.raises(DataError, match=r"config.json: not the config of a model: attributes.age"):
            Translator.from_pretrained(tmp_path / "model", "cpu")
