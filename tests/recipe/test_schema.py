"""The JSON Schema of recipes: every recipe fits it, and misspelt keys and wrong types do not."""

import copy
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transgan.cli.schema import schema_line, schema_text
from transgan.registry import Registry

ROOT = Path(__file__).parents[2]
RECIPES = sorted(ROOT.glob("recipes/*.toml"))
BASE = (ROOT / "recipes/cyclegan.toml").read_text(encoding="utf-8")

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(schema_text(Registry.installed()))


@pytest.fixture(scope="module")
def validator(schema: Any) -> Any:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_fits(path: Path, validator: Any) -> None:
    assert [each.message for each in validator.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))] == []


def changed(path: str, value: Any) -> dict[str, Any]:
    recipe = copy.deepcopy(tomllib.loads(BASE))
    *way, last = path.split(".")
    here = recipe
    for key in way:
        here = here.setdefault(key, {})
    here[last] = value
    return recipe


@pytest.mark.parametrize(
    ("path", "value", "where", "message"),
    [
        ("trian", {}, "", "'trian' was unexpected"),
        ("train.stepss", 3, "train", "'stepss' was unexpected"),
        ("train.steps", "3", "train.steps", "not of type 'integer'"),
        ("generators.resnet.widht", 3, "generators.resnet", "'widht' was unexpected"),
        ("generators.resnet.width", "a", "generators.resnet.width", "not of type 'integer'"),
        ("generators.resnet.width", 0, "generators.resnet.width", "less than the minimum"),
        ("generators.mine", {"use": "unet", "blocks": 3}, "generators.mine", "'blocks' was unexpected"),
        ("generators.mine", {"width": 3}, "generators.mine", "'use' is a required property"),
        ("losses.cycle", "a", "losses.cycle", "not one of"),
        ("losses.cycle", {"weigth": 1}, "losses.cycle", "'weigth' was unexpected"),
        ("losses.cycle", {"from": 1, "two": 1}, "losses.cycle", "'two' was unexpected"),
        ("losses.mine", 1.0, "losses.mine", "not of type"),
        ("losses.mine", True, "losses.mine", "not of type"),
        ("losses.mine", {"use": "cycle", "featurs": 2}, "losses.mine", "'featurs' was unexpected"),
        ("losses.cycle", {"use": "paired", "features": 2}, "losses.cycle", "'features' was unexpected"),
        ("data.source", "foldres", "data.source", "not one of"),
        ("data.media", {"use": "image", "enlarg": 1}, "data.media", "'enlarg' was unexpected"),
        ("optimizers.generator.lr", "a", "optimizers.generator.lr", "not of type"),
        ("phases", [{"side": "generatr"}], "phases.0.side", "not one of"),
        ("phases", [{"trains": ["a"]}], "phases.0", "'side' is a required property"),
        ("discriminators.patch.adapt", {"targt": 1}, "discriminators.patch.adapt", "'targt' was unexpected"),
        ("guard.fallback.penalty", {"use": "r1", "slope": 1}, "guard.fallback.penalty", "'slope' was unexpected"),
        ("metrics.target_share", {"epochs": "3"}, "metrics.target_share.epochs", "not of type 'integer'"),
    ],
)
def test_what_is_wrong_is_found_where_it_is(path: str, value: Any, where: str, message: str, validator: Any) -> None:
    found = [
        (".".join(map(str, each.absolute_path)), each.message) for each in validator.iter_errors(changed(path, value))
    ]
    assert any(place == where and message in text for place, text in found), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("losses.cycle", {"from": 1, "to": 0.5}),
        ("losses.cycle", True),
        ("losses.cycle", False),
        ("losses.mine", False),
        ("losses.mine", "cycle"),
        ("losses.mine", {"use": "transgan:cycle", "weight": {"from": 1, "to": 2}}),
        ("losses.cycle", {"use": "paired"}),
        ("discriminators.patch.adapt", True),
        ("discriminators.mine", {"shares": "patch", "fake": "reconstruction"}),
        ("optimizers.mine", {"networks": ["resnet"], "lr": {"from": 1e-3, "to": 0.0}}),
        ("stages", [{"share": 1.0, "size": [32, 48], "losses": {"cycle": 0}}]),
        ("nodes", "translation"),
        ("attributes.age", {"from": 1, "to": 2}),
    ],
)  # fmt: skip
def test_every_form_of_a_value_fits(path: str, value: Any, validator: Any) -> None:
    assert [each.message for each in validator.iter_errors(changed(path, value))] == []


def test_a_recipe_that_extends_another_need_not_be_complete(validator: Any) -> None:
    recipe: dict[str, Any] = {"extends": "cyclegan", "losses": {"mine": 2.0}, "train": {"batch": 2}}
    assert validator.is_valid(recipe)
    del recipe["extends"]
    missing = {each.message for each in validator.iter_errors(recipe)}
    assert {"'steps' is a required property", "'domains' is a required property"} <= missing


def test_it_explains_keys_and_plugins(schema: Any) -> None:
    properties = schema["properties"]
    assert properties["train"]["properties"]["steps"]["description"].startswith("Training steps of the run")
    assert properties["losses"]["properties"]["cycle"]["description"].startswith("Cycle consistency")
    assert schema["$defs"]["generators.resnet"]["properties"]["width"]["description"].startswith("Channels of the")
    assert "title" not in json.dumps(properties["train"]) and '"expected"' not in json.dumps(schema)


def test_the_copy_that_recipes_name_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: Any, run_cli: Callable[..., int], capsys: Any
) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "a folder"))
    line = schema_line()
    (path,) = (tmp_path / "a folder/schemas").iterdir()
    assert line == f"#:schema {path.as_uri()}\n" and json.loads(path.read_text(encoding="utf-8")) == schema
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert schema_line() == line and path.read_text(encoding="utf-8").endswith("\n\n")  # current, and left as it is
    path.write_text("{}", encoding="utf-8")
    assert run_cli("recipes", "cyclegan") == 0
    assert capsys.readouterr().out == line + BASE
    assert json.loads(path.read_text(encoding="utf-8")) == schema
    monkeypatch.setenv("TRANSGAN_CACHE", str(path / "no folder"))
    assert schema_line() == ""


def test_printed_and_written(tmp_path: Path, schema: Any, run_cli: Callable[..., int], capsys: Any) -> None:
    assert run_cli("schema") == 0
    assert json.loads(capsys.readouterr().out) == schema
    assert run_cli("schema", "--out", tmp_path / "new/recipe.json") == 0
    assert json.loads((tmp_path / "new/recipe.json").read_text(encoding="utf-8")) == schema
    captured = capsys.readouterr()
    assert captured.out == "" and "#:schema file://" in captured.err
    assert run_cli("schema", "--out", tmp_path / "new/recipe.json") == 2
    assert "exists; choose another file, or replace it with --overwrite" in capsys.readouterr().err
    assert run_cli("schema", "--out", tmp_path / "new/recipe.json", "--overwrite") == 0


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_recipe_is_not_replaced_by_a_schema(run_cli: Any, tmp_path: Path, overwrite: list[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\n")
    assert run_cli("schema", "--out", path, *overwrite) == 2
    assert path.read_text() == "[train]\n"
