"""Recipes that extend others: what is merged, what is replaced, where values come from, and files that cannot be."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transgan.errors import RecipeError
from transgan.recipe import Recipe, parse_recipe, read_recipe, write_recipe
from transgan.recipe.diagnostics import Problems
from transgan.recipe.extend import extend
from transgan.schedule import Schedule, constant


@pytest.fixture
def extended(tmp_path: Path, face: str) -> Any:
    """`extended(text, *overrides)`: the recipe of a text that extends the example."""
    (tmp_path / "base.toml").write_text(face)

    def read(text: str, *overrides: str) -> Recipe:
        (tmp_path / "own.toml").write_text('extends = "base.toml"\n' + text)
        return read_recipe(tmp_path / "own.toml", overrides).recipe

    return read


def test_without_values_of_its_own_a_recipe_is_the_one_that_it_extends(extended: Any, face: str) -> None:
    base = parse_recipe(face).recipe
    assert extended("") == base.model_copy(update={"name": "own"})


def test_tables_are_merged_key_by_key(extended: Any, face: str) -> None:
    recipe, base = extended("[train]\nbatch = 2\n[generators.face]\nblocks = 3\n"), parse_recipe(face).recipe
    assert (recipe.train.steps, recipe.train.batch) == (1000, 2)
    slot = recipe.generators["face"]
    assert (slot.use, slot.per, slot.options) == ("resnet", "direction", {"width": 24, "blocks": 3})
    assert recipe.model_copy(update={"name": base.name, "train": base.train, "generators": base.generators}) == base


def test_what_the_data_are_is_replaced(extended: Any) -> None:
    recipe = extended(
        'data.source = "folders"\n'
        'domains = { cat = "cats", dog = "dogs" }\ntasks = { pets = { between = ["cat", "dog"] } }\n'
        'losses.identity.translations = ["*"]'
    )
    assert list(recipe.domains) == ["cat", "dog"]
    assert list(recipe.tasks) == ["pets"]
    assert recipe.data.size == 64


@pytest.mark.parametrize(
    ("text", "section", "name", "expected"),
    [
        ("cycle = 5", "losses", "cycle", {"weight": constant(5)}),
        ("cycle = { weight = 5, layer = 2 }", "losses", "cycle", {"weight": constant(5), "options": {"layer": 2}}),
        ("cycle = { layer = 2 }", "losses", "cycle", {"weight": constant(10), "options": {"layer": 2}}),
        ("cycle = { to = 0.0 }", "losses", "cycle", {"weight": Schedule.model_validate({"from": 10.0, "to": 0.0})}),
        ("identity = 2", "losses", "identity", {"weight": constant(2), "translations": ["age"]}),
        (
            "identity = { from = 2, to = 0 }",
            "losses",
            "identity",
            {"weight": Schedule.model_validate({"from": 2.0, "to": 0.0}), "translations": ["age"]},
        ),
        ("identity = { weight = 2 }", "losses", "identity", {"weight": constant(2), "translations": ["age"]}),
        ('identity = "cycle"', "losses", "identity", {"use": "cycle", "weight": constant(1), "translations": ["*"]}),
        ("cycle_error = { deep = 2 }", "metrics", "cycle_error", {"use": "cycle_error", "options": {"deep": 2}}),
        ('face = { use = "resnet", width = 4 }', "generators", "face", {"per": "direction", "options": {"width": 4}}),
        ('face = { use = "unet" }', "generators", "face", {"use": "unet", "per": "run", "options": {}}),
        ("task = { of = 1 }", "conditionings", "task", {"use": "channel", "options": {"of": 1}}),
    ],
)
def test_slots_in_any_form(extended: Any, text: str, section: str, name: str, expected: dict[str, Any]) -> None:
    slot = getattr(extended(f"[{section}]\n{text}\n"), section)[name]
    assert {key: getattr(slot, key) for key in expected} == expected


def test_slots_are_removed_and_added(extended: Any) -> None:
    recipe = extended('losses.identity = false\nmetrics = {}\nconditionings.other = "embedding"')
    assert (list(recipe.losses), recipe.metrics) == (["lsgan", "cycle"], {})
    assert list(recipe.conditionings) == ["task", "other"]


def test_schedules_and_lists_are_replaced_as_a_whole(extended: Any) -> None:
    steps = extended('optimizers.generator.lr = { from = 1e-4, curve = "steps", at = [0.5], values = [0.0] }')
    assert steps.optimizers.generator.lr == Schedule.model_validate(
        {"from": 1e-4, "curve": "steps", "at": [0.5], "values": [0.0]}
    )
    assert [stage.share for stage in extended("stages = [{ share = 1.0 }]").stages] == [1.0]


def test_the_command_line_comes_last(extended: Any) -> None:
    recipe = extended("[train]\nbatch = 2\n", "train.batch=3", "train.steps=4", "losses.cycle.layer=1")
    assert (recipe.train.batch, recipe.train.steps) == (3, 4)
    assert (recipe.losses["cycle"].weight, recipe.losses["cycle"].options) == (constant(10.0), {"layer": 1})


def test_a_chain_of_recipes_in_several_folders(tmp_path: Path, face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    Path("base.toml").write_text(face)
    Path("deep/middle.toml").write_text('extends = "../base.toml"\n[train]\nbatch = 2\nseed = 5\n')
    Path("own.toml").write_text('extends = "deep/middle.toml"\n[train]\nbatch = 3\n')
    document = read_recipe(Path("own.toml"))
    train = document.recipe.train
    assert (document.recipe.name, train.steps, train.seed, train.batch) == ("own", 1000, 5, 3)
    written = write_recipe(document).split("\n")
    for line in (
        "steps = 1000  # deep/../base.toml:15",
        "seed = 5  # deep/middle.toml:4",
        "batch = 3  # own.toml:3",
        'name = "own"  # default',
        "width = 24  # deep/../base.toml:24",
    ):
        assert line in written, line
    assert not any(line.startswith("extends") for line in written)
    assert parse_recipe("\n".join(written)).recipe == document.recipe


def test_a_mistake_is_reported_in_the_file_that_it_is_in(tmp_path: Path, face: str) -> None:
    (tmp_path / "base.toml").write_text(face.replace("width = 24", 'per_step = 1\nwidth = "24"'))
    own = tmp_path / "own.toml"
    own.write_text('extends = "base.toml"\n[train]\nbatsh = 4\nsteps = 0\n[domains]\nyoung = "a"\n')
    with pytest.raises(RecipeError) as error:
        read_recipe(own)
    problems = [each.replace(f"{tmp_path}{os.sep}", "") for each in error.value.problems]
    assert error.value.recipe == str(own)
    assert problems == [
        "own.toml:3: [train] batsh: unknown key. Did you mean 'batch'?",
        "own.toml:4: [train] steps: found 0, expected a whole number of at least 1",
        "base.toml:12: [tasks.age] between: no domain 'old'. Known: young.",
        "base.toml:13: [tasks.race] between: no domain 'white'. Known: young.",
        "base.toml:13: [tasks.race] between: no domain 'black'. Known: young.",
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"own": 'extends = "bsae.toml"'}, "own.toml:1: extends: no recipe 'bsae.toml'. Did you mean 'base.toml'?"),
        ({"own": '\nextends = "."'}, "own.toml:2: extends: '.' is a folder, not a recipe"),
        ({"own": 'extends = "own.toml"'}, "own.toml:1: extends: own.toml -> own.toml: a recipe must not extend itself"),
        (
            {"own": 'extends = "b.toml"', "b": 'extends = "./own.toml"'},
            "b.toml:1: extends: own.toml -> b.toml -> own.toml: a recipe must not extend itself",
        ),
        ({"own": "extends = 3"}, "own.toml:1: extends: found 3 (a whole number), expected the file of a recipe"),
        ({"own": 'extends = ""'}, 'own.toml:1: extends: found "" (a string), expected the file of a recipe'),
        ({"own": 'extends = "b.toml"', "b": "a = "}, "b.toml:1: not valid TOML: expected a value"),
        ({"own": 'extends = "b.toml"', "b": "version = 7"}, "b.toml:1: version: found 7, expected 2"),
        ({"own": 'extend = "base.toml"'}, "own.toml:1: [extend]: unknown key. Did you mean 'extends'?"),
    ],
)
def test_what_cannot_be_extended(
    files: dict[str, str], expected: str, tmp_path: Path, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"base": face, **files}.items():
        Path(f"{name}.toml").write_text(text)
    with pytest.raises(RecipeError) as error:
        read_recipe(Path("own.toml"))
    assert any(each.startswith(expected) for each in error.value.problems), error.value.problems


def test_it_is_a_key_of_files_only(face: str) -> None:
    with pytest.raises(RecipeError, match=r"--set extends=base\.toml: expected in a file only"):
        parse_recipe(face, overrides=["extends=base.toml"])


def test_a_base_of_version_1_is_upgraded(tmp_path: Path, face: str) -> None:
    old = face + "[guard]\nlooks = 7\n"
    (tmp_path / "base.toml").write_text("version = 1\n" + old)
    (tmp_path / "own.toml").write_text('extends = "base.toml"\n')
    document = read_recipe(tmp_path / "own.toml")
    assert document.recipe.guard.patience == 7
    line = (1 + old[: old.index("looks")].count("\n")) + 1
    assert f"patience = 7  # {tmp_path}/base.toml:{line}" in write_recipe(document)


KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    st.integers(0, 9), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=9
)
TABLES = st.dictionaries(KEYS, TREES, max_size=3)


def flat(table: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(table, dict):
        return {path: table}
    return {keys: each for key, value in table.items() for keys, each in flat(value, (*path, key)).items()}


@given(TABLES, TABLES)
def test_any_other_tables_are_merged_like_their_values(base: dict[str, Any], own: dict[str, Any]) -> None:
    """Property: the values are the recipe's own, and those of the base that none of its own is at, above or below."""
    mine = flat(own)
    kept = {
        keys: value
        for keys, value in flat(base).items()
        if not any(keys[: len(each)] == each[: len(keys)] for each in mine)
    }
    extend(base, Problems("base"), own, Problems("own"))
    assert flat(base) == kept | mine
