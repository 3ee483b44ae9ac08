"""Valid recipes in all their forms, and files that are not recipes."""

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transgan.errors import RecipeError, UsageError
from transgan.recipe import parse_recipe, read_recipe
from transgan.schedule import constant


def test_the_example(face: str) -> None:
    recipe = parse_recipe(face).recipe
    assert recipe.name == "conditional_face"
    assert (recipe.data.source.use, recipe.data.source.options) == ("labelled_faces", {})
    assert recipe.data.default is not None
    assert (recipe.data.default.use, recipe.data.default.options) == ("synthetic_faces", {"count": 2000})
    assert recipe.data.media.use == "image"
    assert recipe.tasks["age"].domains == ["young", "old"] and recipe.tasks["age"].both_ways
    generator = recipe.generators["face"]
    assert (generator.use, generator.per, generator.options) == ("resnet", "direction", {"width": 24})
    assert recipe.discriminators["face"].history == 50
    assert {name: (slot.use, slot.weight) for name, slot in recipe.losses.items()} == {
        "lsgan": ("lsgan", constant(1.0)),
        "cycle": ("cycle", constant(10.0)),
        "identity": ("identity", constant(5.0)),
    }
    assert (recipe.optimizers.generator.lr.start, recipe.optimizers.generator.lr.to) == (2e-4, 0.0)
    assert recipe.metrics["cycle_error"].use == "cycle_error"
    assert [phase.side for phase in recipe.phases] == ["generator", "discriminator"]


def test_equivalent_forms(face: str) -> None:
    recipe = parse_recipe(face).recipe
    for old, new in (
        ("cycle_error = true", "cycle_error = {}"),
        ("cycle_error = true", 'cycle_error = "cycle_error"'),
        ("cycle = 10.0", "cycle = 10"),
        ("cycle = 10.0", 'cycle = { from = 10, curve = "constant" }'),
        ("cycle = 10.0", 'cycle = { use = "cycle", weight = 10.0 }'),
        ('source = "labelled_faces"', 'source = { use = "labelled_faces" }'),
        ("[metrics]", 'nodes = "translation"\n[metrics]'),
    ):
        text = face.replace(old, new)
        if "nodes" in new:
            text = 'nodes = "translation"\n' + face
        assert parse_recipe(text).recipe == recipe, new


def test_tasks_with_one_direction_and_domains_that_are_globs(face: str) -> None:
    text = face.replace('{ between = ["young", "old"] }', '{ from = "young", to = "old", paired = true }')
    text = text.replace("{ age = [20, 30] }", '"photos/*/young"')
    recipe = parse_recipe(text).recipe
    assert recipe.tasks["age"].domains == ["young", "old"] and not recipe.tasks["age"].both_ways
    assert recipe.domains["young"] == "photos/*/young"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("recipes/face.toml", "face"),
        ("my face (2).toml", "my-face-2-"),
        ("..toml", "run"),
        ("é.toml", "run"),
        ("", "run"),
    ],
)
def test_the_name_defaults_to_that_of_the_file(file: str, name: str, face: str) -> None:
    assert parse_recipe(face.split("\n", 1)[1], file).recipe.name == name


def test_files(face: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    good = tmp_path / "recipes" / "face.toml"
    good.write_bytes(b"\xef\xbb\xbf" + face.replace("\n", "\r\n").encode())
    document = read_recipe(Path("recipes/face.toml"), ["train.steps=5"])
    assert (document.name, document.recipe.train.steps) == ("recipes/face.toml", 5)

    def message(path: Path | str) -> str:
        with pytest.raises(UsageError) as error:
            read_recipe(Path(path))
        return str(error.value)

    assert message("recipes/fcae.toml") == "no recipe 'recipes/fcae.toml'. Did you mean 'recipes/face.toml'?"
    Path("notes.py").write_text("x = 1")
    assert message("notes.py").startswith("notes.py: not a recipe: expected a file ending in .toml, or ")
    assert message("fase") == "no recipe 'fase'. Did you mean 'recipes/face.toml'?"
    assert message("horses.toml") == "no recipe 'horses.toml'. 'transgan recipes' lists those that are installed."
    assert (
        message("recipes") == "'recipes' is a folder, not a recipe. 'transgan recipes' lists those that are installed."
    )
    assert message("a\0b.toml").startswith("no recipe 'a\\u0000b.toml'.")
    os.mkfifo("pipe.toml")
    assert message("pipe.toml") == "'pipe.toml' is not a file"
    assert message("x" * 300).startswith("cannot read 'xxx")
    Path("binary.toml").write_bytes(b"a = 1\n\xff\xfe")
    assert message("binary.toml").endswith("binary.toml:2: not valid UTF-8")
    for blank in ("", "\n \n", "\ufeff"):
        Path("empty.toml").write_text(blank, encoding="utf-8")
        assert message("empty.toml").startswith("empty.toml: the file is empty; transgan recipes cyclegan > FILE")
    Path("mac.toml").write_text(face.replace("\n", "\r"), newline="")
    assert message("mac.toml").endswith("not valid TOML: lines end with CR alone; save the file with LF or CRLF")
    (tmp_path / "picture.toml").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert message("picture.toml").endswith("picture.toml: not a recipe: expected a text file in TOML")
    for large in (b"# \n" * 100_000, "é\n".encode() * 100_000, b"\xff" * 300_000):
        Path("large.toml").write_bytes(large)
        assert message("large.toml").endswith("large.toml: larger than 256 KiB")


def test_a_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "face.toml"
    path.touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot read '.*face.toml': Permission denied"):
        read_recipe(path)


def only_recipe_errors(text: str, *overrides: str) -> None:
    try:
        parse_recipe(text, "face.toml", overrides)
    except UsageError as error:
        assert isinstance(error, RecipeError) and error.problems
        for line in error.problems:
            assert re.match(r"face\.toml(:\d+)?: |--set |and more", line), line
            assert "\n" not in line and "pydantic" not in line


VALUES = [
    "1",
    "-1",
    "1.5",
    "true",
    '"x"',
    "[]",
    "{}",
    "[1, 'a']",
    "{from = 1, to = 2}",
    "{use = 3}",
    "nan",
    "1979-05-27",
    "[[]]",
]
VALUES += [
    "{from = [], between = [[], {}]}",
    "1" + "0" * 400,
    '"\\u0000"',
    "{'' = {}}",
    "{at = [1], values = [], from = 1}",
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_lines_raise_only_recipe_errors(face: str, data: st.DataObject) -> None:
    lines = face.split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["value", "drop", "copy", "swap", "insert"]))
        if change == "value":
            lines[index] = lines[index].split("=")[0] + "= " + data.draw(st.sampled_from(VALUES))
        elif change == "drop":
            lines.pop(index)
        elif change == "copy":
            lines.insert(data.draw(st.integers(0, len(lines))), lines[index])
        elif change == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[index], lines[other] = lines[other], lines[index]
        else:
            lines.insert(index, data.draw(st.text(max_size=20)))
    only_recipe_errors("\n".join(lines))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_characters_raise_only_recipe_errors(face: str, data: st.DataObject) -> None:
    letters = list(face)
    for _ in range(data.draw(st.integers(1, 5))):
        index = data.draw(st.integers(0, len(letters) - 1))
        letters[index] = data.draw(st.one_of(st.sampled_from("[]{}=,.\"'#\n\\0 "), st.characters()))
    only_recipe_errors("".join(letters))


WORDS = (
    "data source default tasks age between 0 1 losses cycle weight from stages phases size batch train nodes use "
    "generators face metrics cycle_error optimizers generator lr"
)
PATHS = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=5).map(".".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(PATHS, st.sampled_from(VALUES)).map("=".join), min_size=1, max_size=4))
@example(["losses.cycle.from=[]", "losses.cycle.weight.to=1"])
def test_overrides_raise_only_recipe_errors(face: str, overrides: list[str]) -> None:
    only_recipe_errors(face, *overrides)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_any_text_as_an_override_raises_only_recipe_errors(face: str, overrides: list[str]) -> None:
    only_recipe_errors(face, *overrides)


def test_a_text_that_cannot_be_encoded() -> None:
    with pytest.raises(RecipeError, match="not valid UTF-8"):
        parse_recipe("a = '\ud800'")


@pytest.mark.parametrize(
    "row",
    [
        "l{0} = 1",
        "l{0} = {{from = 1, to = 0}}",
        "[[stages]] # {0}",
        "[losses.l{0}]\nfrom=1\nto=1",
        "[train.a{0}]",
        "d{0} = ''",
    ],
)
def test_large_files_are_parsed_or_rejected_quickly(row: str, face: str) -> None:
    rows = [row.format(index) for index in range(200_000 // (len(row) + 3))]
    tail = {"l": "[losses]\n", "d": "[domains]\n"}.get(row[0], "")
    text = face.split("[losses]")[0] + ("" if tail else "[losses]\n") + tail + "\n".join(rows)
    text = text.replace("[domains]\n", "", 1) if row[0] == "d" else text
    begin = time.process_time()
    only_recipe_errors(text)
    assert time.process_time() - begin < 20
