"""Recipes of version 1 are upgraded when they are read; their errors still have the right lines."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from transgan.errors import RecipeError
from transgan.recipe import Recipe, parse_recipe, read_recipe, upgrade, write_recipe

RUN = Path(__file__).parents[1] / "fixtures" / "run_of_version_1"

OLD = """\
version = 1
[data]
source = "drawn_voices"
default = { use = "drawn_faces", count = 3 }
[domains]
a = "a"
b = "b"
[tasks]
t = { between = ["a", "b"] }
[train]
steps = 5
[guard]
action = "stop"
looks = 7
[generators]
g = true
[losses]
cycle = 1.0
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        parse_recipe(text, "old.toml", overrides)
    return error.value.problems


def test_an_old_recipe_means_the_same_as_the_new_one() -> None:
    new = OLD.replace("version = 1", "version = 2").replace("drawn_", "synthetic_").replace("looks", "patience")
    assert parse_recipe(OLD).recipe == parse_recipe(new).recipe
    assert parse_recipe(new.replace("version = 2\n", "")).recipe == parse_recipe(new).recipe
    assert parse_recipe(OLD).recipe.guard.patience == 7


@pytest.mark.parametrize("place", ["source", "default"])
@pytest.mark.parametrize(("old", "new"), [("drawn_faces", "synthetic_faces"), ("drawn_voices", "synthetic_voices")])
@pytest.mark.parametrize(
    "form",
    [
        lambda name: name,
        lambda name: {"use": name},
        lambda name: {"use": name, "count": 3},
        lambda name: {"use": name, "options": {"count": 3}},
    ],
)
def test_source_plugins_are_renamed_in_every_form_of_a_slot(place: str, old: str, new: str, form: Any) -> None:
    table = {"version": 1, "data": {place: form(old), "size": 8}}
    assert upgrade(table) == {"version": 2, "data": {place: form(new), "size": 8}}


def test_nothing_else_is_renamed() -> None:
    table = {
        "version": 1,
        "name": "drawn_faces",
        "looks": 1,
        "data": {"source": {"use": "folders", "looks": "drawn_faces"}, "media": "drawn_faces", "root": "drawn_faces"},
        "guard": {"action": "stop", "actions": {"looks": "off"}},
        "domains": {"drawn_faces": "drawn_faces"},
        "losses": {"drawn_faces": 1.0, "looks": {"use": "drawn_faces"}},
    }
    assert upgrade(table) == {**table, "version": 2}


@pytest.mark.parametrize("version", [2, 3, 0, True, 1.0, "1", None])
def test_other_versions_are_not_upgraded(version: Any) -> None:
    table = {"version": version, "data": {"source": "drawn_faces"}, "guard": {"looks": 3}}
    assert upgrade(table) == table
    del table["version"]
    assert upgrade(table) == table


@pytest.mark.parametrize(
    "table", [{}, {"data": 3, "guard": []}, {"data": {"source": ["drawn_faces"], "default": {"use": []}}, "guard": {}}]
)
def test_invalid_tables_are_left_to_validation(table: dict[str, Any]) -> None:
    assert upgrade({"version": 1, **table}) == {"version": 2, **table}


def test_the_argument_is_not_changed_and_a_second_upgrade_changes_nothing() -> None:
    table = {"version": 1, "data": {"source": {"use": "drawn_faces"}}, "guard": {"looks": 3}}
    before = copy.deepcopy(table)
    once = upgrade(table)
    assert table == before
    assert (
        upgrade(once)
        == once
        == {"version": 2, "data": {"source": {"use": "synthetic_faces"}}, "guard": {"patience": 3}}
    )


def test_errors_of_renamed_keys_have_their_line() -> None:
    assert problems(OLD.replace("looks = 7", 'looks = "7"')) == [
        'old.toml:14: [guard] patience: found "7" (a string), expected a whole number of at least 1'
    ]
    assert problems(OLD.replace("looks = 7", "looks = [nan]"))[0].startswith("old.toml:14: [guard] patience.0: ")
    assert problems(OLD.replace('action = "stop"', "actoin = 1")) == [
        "old.toml:13: [guard] actoin: unknown key. Did you mean 'action'?"
    ]


def test_a_recipe_with_the_old_and_the_new_name_of_a_key_is_rejected() -> None:
    (problem,) = problems(OLD.replace("looks = 7", "patience = 7\nlooks = 8"))
    assert problem.startswith("old.toml:15: [guard] looks: unknown key. ")


def test_values_of_renamed_keys_are_written_with_their_line() -> None:
    lines = write_recipe(parse_recipe(OLD, "old.toml")).splitlines()
    for line in (
        "version = 2  # old.toml:1",
        "patience = 7  # old.toml:14",
        'use = "synthetic_voices"  # old.toml:3',
        'use = "synthetic_faces"  # old.toml:4',
    ):
        assert line in lines
    without = OLD.replace("version = 1\n", "").replace("looks = 7\n", "")
    assert "version = 2  # default" in write_recipe(parse_recipe(without)).splitlines()


def test_overrides_use_the_new_names() -> None:
    assert parse_recipe(OLD, "old.toml", ["guard.patience=3"]).recipe.guard.patience == 3
    default = parse_recipe(OLD, "old.toml", ["data.default.count=9"]).recipe.data.default
    assert default is not None
    assert (default.use, default.options) == ("synthetic_faces", {"count": 9})
    assert problems(OLD, "guard.looks=3")[0].startswith("--set guard.looks=3: unknown key.")


@pytest.mark.parametrize(
    ("version", "shown"),
    [("3", "3"), ("0", "0"), ("true", "true"), ("2.0", "2.0"), ("1.0", "1.0"), ('"2"', '"2"'), ("[2]", "a list of 1")],
)
def test_an_unknown_version_is_the_only_problem_reported(version: str, shown: str) -> None:
    text = "# a comment\n" + OLD.replace("version = 1", f"version = {version}").replace("steps = 5", "stpes = 5")
    assert problems(text) == [
        f"old.toml:2: version: found {shown}, expected 2 (a file of version 1 is upgraded when it is read)"
    ]


def test_an_unknown_version_from_an_override() -> None:
    assert problems(OLD, "version=3") == [
        "--set version=3: found 3, expected 2 (a file of version 1 is upgraded when it is read)"
    ]


def test_a_run_folder_and_a_model_of_version_1_can_be_read() -> None:
    recipe = read_recipe(RUN / "recipe.toml").recipe
    assert (recipe.version, recipe.data.source.use, recipe.guard.patience) == (2, "synthetic_faces", 20)
    model = json.loads((RUN / "model" / "config.json").read_text())["recipe"]
    assert model["version"] == 1
    data = {**model["data"], "source": {"use": "drawn_faces", "options": {}}}
    model = Recipe.model_validate(upgrade({**model, "data": data, "losses": {}, "phases": []}))
    assert (model.version, model.data.source.use, model.train.steps) == (2, "synthetic_faces", recipe.train.steps)
