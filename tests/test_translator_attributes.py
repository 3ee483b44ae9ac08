"""A translator makes the number that it is asked for, and the middle of the target domain where nothing is asked."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transgan import Translator
from transgan.cli import main
from transgan.errors import DataError, UsageError

RECIPE = """\
[data]
source = { use = "drawn_faces", count = 24 }
size = 16
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
[tasks]
years = { between = ["young", "old"] }
[attributes]
age = { from = 15, to = 65 }
race = { values = ["White", "Black"] }
[train]
steps = 2
batch = 2
[conditionings.age]
use = "channel"
of = "age"
[conditionings.race]
use = "embedding"
of = "race"
[generators.g]
use = "resnet"
width = 4
blocks = 1
norm_first = false
[discriminators.d]
use = "patch"
per = "run"
conditionings = ["age"]
width = 4
layers = 1
[losses]
lsgan = 1.0
cycle = 5.0
[metrics]
counterpart_error = true
"""
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def transgan(patch: pytest.MonkeyPatch, *words: object) -> int:
    patch.setattr(sys, "argv", ["transgan", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    (folder / "years.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        assert transgan(patch, "run", folder / "years.toml", "--out", folder / "run", "-q") == 0
    return folder / "run"


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    PICTURE.save(tmp_path / "a.png")
    words = ("translate", run, tmp_path / "a.png", "--to", "old", "--out", tmp_path / "out", "--device", "cpu")
    assert transgan(monkeypatch, *words, "--with", "age=43", "--with", "race=Black") == 0
    written = Image.open(tmp_path / "out/a.png")
    assert written.tobytes() == made(translator, age=43, race="Black")
    for wrong, message in (("age", "--with age: expected NAME=VALUE"), ("age=7", "expected a number from 15 to 65")):
        assert transgan(monkeypatch, *words, "--with", wrong) == 2
        assert message in capsys.readouterr().err
    assert transgan(monkeypatch, "info", run) == 0
    assert "age: 15 to 65; by default young 2" in capsys.readouterr().out


def test_a_config_without_the_middles_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    for wrong in ({}, {"age": {"young": 25, "old": 900}}, None):
        (tmp_path / "model/config.json").write_text(json.dumps({**config, "attributes": wrong}))
        with pytest.raises(DataError, match=r"config.json: not the config of a model: attributes.age"):
            Translator.from_pretrained(tmp_path / "model", "cpu")
