"""A written recipe has all values with their origin, and can be parsed again."""

import datetime
import re
import tomllib
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transgan.errors import UsageError
from transgan.options import Options
from transgan.recipe import SLOTS, parse_recipe, read_recipe, write_recipe
from transgan.recipe.slots import NetworkSlot
from transgan.recipe.write import as_overrides
from transgan.recipe.written import written_keys
from transgan.schedule import Schedule, constant


def test_every_value_has_its_origin(face: str) -> None:
    text = write_recipe(parse_recipe(face, "r/face.toml", ["train.batch=4", "losses.identity=2", "phases.1.every=5"]))
    for line in (
        'name = "conditional_face"  # r/face.toml:1',
        "steps = 1000  # r/face.toml:15",
        "batch = 4  # --set",
        "seed = 0  # default",
        "young = { age = [20, 30] }  # r/face.toml:7",
        'lr = { from = 0.0002, to = 0.0, between = [0.5, 1.0], unit = "run", curve = "linear" }  # r/face.toml:18',
        "lr = 0.0002  # default",
        'use = "cycle"  # default',
        "weight = 10.0  # r/face.toml:31",
        "weight = 2.0  # --set",
        'translations = ["age"]  # r/face.toml:32',
        "every = 5  # --set",
        'use = "synthetic_faces"  # r/face.toml:4',
        "[encoders]",
    ):
        assert line in text.split("\n"), line
    assert all(" # " in line for line in text.split("\n") if "=" in line)


def test_a_value_that_is_changed_in_part_has_both_origins(face: str) -> None:
    text = write_recipe(parse_recipe(face, "f.toml", ["domains.young.age=[1, 2]"]))
    assert "young = { age = [1, 2] }  # f.toml:7, --set\n" in text


def test_which_values_somebody_has_written(face: str) -> None:
    document = parse_recipe(face, "f.toml", ["train.batch=4"])
    keys = written_keys(write_recipe(document, {("generators", "face"): Filled()}))
    assert {"train.steps", "train.batch", "domains.young.age", "losses.cycle.weight", "generators.face.width"} <= keys
    assert {"optimizers.generator.lr.from", "stages"} <= keys  # of a schedule in a line, and of a list of tables
    assert not {"phases", "train.seed", "losses.cycle.use", "generators.face.depth", "evaluate.samples"} & keys
    assert written_keys("a = 1  # default\nb = true  # default\n[c.d]\ne = [\n  1,\n]  # f.toml:3\n") == {"c.d.e"}
    assert written_keys("[x.a]\nb = 1\n[y]\n[x.c]\nd = 2\n") == {"x.a.b", "x.c.d"}
    assert written_keys("[no recipe") == set()


class Filled(Options):
    width: int = 24
    depth: int = 9
    rate: Schedule = constant(2.0)
    fading: Schedule = Schedule.model_validate({"from": 1.0, "to": 0.0})
    unset: str | None = None
    sizes: tuple[int, ...] = (1, 2)


@pytest.mark.parametrize("form", [lambda: Filled(), lambda: dict(Filled()), lambda: Filled().model_dump(by_alias=True)])
def test_options_of_plugins_are_filled_in(form: Any, face: str) -> None:
    document = parse_recipe(face, "f.toml")
    text = write_recipe(document, {("generators", "face"): form(), ("data", "media"): {"fit": "crop"}})
    for line in (
        "width = 24  # f.toml:24",
        "depth = 9  # default",
        "rate = 2.0  # default",
        "sizes = [1, 2]  # default",
    ):
        assert line in text.split("\n")
    assert 'fading = { from = 1.0, to = 0.0, between = [0.0, 1.0], unit = "run", curve = "linear" }  # default' in text
    assert '[data.media]\nuse = "image"  # default\nfit = "crop"  # default' in text
    again = parse_recipe(text)
    options = again.recipe.generators["face"].options
    assert again.problems.validate(Filled, options, ("generators", "face")) == Filled()


RECIPES = Path(__file__).parents[2] / "recipes"
OVERRIDES = [
    "losses.cycle={from=10.0, to=1.0, between=[100, 200]}",
    'losses.cycle={from=10.0, curve="steps", at=[5, 6], values=[1, 2]}',
    "losses.cycle={from=10.0, to=1.0, curve='constant'}",
    "stages.0.losses={cycle=0, identity={from=1, to=0}}",
    "stages.1.optimizers={generator={lr=1e-5}}",
    "stages.0.optimizers.discriminator.betas=[0, 0.9]",
    "phases=[{side='discriminator', every=2, trains=['face*'], losses=[]}]",
    "tasks.age={from='young', to='old', weight=2}",
    "conditionings={}",
    "generators.face.conditionings=[]",
    'data.root=/a "b" \\c\x7f\n',
    "domains.young=a/*.png",
    "discriminators.face.given=source",
    "evaluate.every=100",
    "nodes={use='x', deep={er=[{a=1979-05-27}, {b=07:32:00}]}}",
    "generators.face.'strange key'={'' = 1e-300, d=1979-05-27T07:32:00Z}",
    "encoders.style={per='domain', size=1}",
    "generators.face.words=" + str([f"word number {i}" for i in range(100)]),
    "generators.face.wide={" + ", ".join(f"k{i} = 'v{i}'" for i in range(200)) + "}",
    "domains.young.among=" + str([f"face {i}" for i in range(300)]),
    "generators.face.text=" + 'a long  text with blanks \\ and " and \t' * 90,
    "generators.face.blanks='" + " " * 3000 + "'",
]


@pytest.mark.parametrize("number", range(len(OVERRIDES)))
def test_the_written_recipe_is_equal(number: int, face: str) -> None:
    document = parse_recipe(face, "face.toml", [OVERRIDES[number]])
    text = write_recipe(document)
    assert parse_recipe(text).recipe == document.recipe
    assert write_recipe(parse_recipe(text)).count("\n") == text.count("\n")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_this_repository(path: Path) -> None:
    document = read_recipe(path)
    assert parse_recipe(write_recipe(document)).recipe == document.recipe


def test_all_overrides_together(face: str) -> None:
    document = parse_recipe(face, "face.toml", [each for each in OVERRIDES if "a/*.png" not in each])
    assert parse_recipe(write_recipe(document)).recipe == document.recipe


SLOT_KEYS = {"from", *(key for slot in SLOTS.values() for key in slot.model_fields if key != "options")}
#: What recipes take for a path of Windows in which a backslash began an escape sequence, and report.
WINDOWS_PATH = re.compile(r"[A-Za-z]:[^\r\n]*?[\b\t\n\f\r\x1b]")
SCALARS = st.one_of(
    st.text(max_size=40).filter(lambda text: not WINDOWS_PATH.match(text)),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.dates(),
    st.times(),
    st.datetimes(),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8).filter(lambda key: key not in SLOT_KEYS), TREES, max_size=4),
    st.sampled_from([*SLOTS]),
)
def test_any_options_are_parsed_as_they_were_written(face: str, options: dict[str, Any], kind: str) -> None:
    document = parse_recipe(face)
    text = write_recipe(document, {(kind, name): options for name in getattr(document.recipe, kind)})
    table = tomllib.loads(text)
    again = getattr(parse_recipe(text).recipe, kind)
    for name, slot in getattr(document.recipe, kind).items():
        assert {key: table[kind][name][key] for key in options} == options
        assert again[name].options == {**slot.options, **options}


def test_a_name_cannot_break_out_of_a_comment(face: str) -> None:
    document = parse_recipe(face, "a\nname = 'b'\r.toml")
    assert parse_recipe(write_recipe(document)).recipe == document.recipe


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(2), 2),
        (np.uint8(200), 200),
        (np.float32(2e-4), 2e-4),
        (np.float16(0.1), 0.1),
        (np.float64(0.1), 0.1),
        (np.longdouble("0.1"), 0.1),
        (np.float32(16777217), 16777216.0),
        (np.bool_(True), True),
        (np.bool_(False), False),
        (np.str_("lsgan"), "lsgan"),
        (Fraction(1, 4), 0.25),
        ({"a": 2**63 - 1}, {"a": 2**63 - 1}),
        ({"lsgan": np.float32(0.5)}, {"lsgan": 0.5}),
        ([np.float32(0.9), (np.int8(-3), {"a": np.bool_(True)})], [0.9, [-3, {"a": True}]]),
        ({10, 9, "b", "a"}, [9, 10, "a", "b"]),
        (Path("a") / "b", str(Path("a") / "b")),
        (Colour.RED, "red"),
        (datetime.date(2020, 1, 2), datetime.date(2020, 1, 2)),
    ],
)
def test_values_of_python_are_those_that_toml_reads(value: Any, plain: Any) -> None:
    (text,) = as_overrides({"key": value})
    found = tomllib.loads(text)["key"]
    assert (type(found), found) == (type(plain), plain)


ITSELF: dict[str, Any] = {"a": 1}
ITSELF["b"] = [ITSELF]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.arange(3), r": key: found ndarray; expected a number, .*; x.tolist\(\) is one of an array"),
        (np.array(2.0), ": key: found ndarray; expected a number"),
        (torch.tensor(2), ": key: found Tensor; expected a number"),
        ({"a": [1, torch.zeros(2)]}, r": key\.a\.1: found Tensor; expected a number"),
        (
            object(),
            ": key: found object; expected a number, a text, True or False, a date, or lists and tabl",
        ),
        (b"x", ": key: found bytes; expected a number"),
        (1j, ": key: found complex; expected a number"),
        (range(3), ": key: found range; expected a number"),
        (np.timedelta64(5, "s"), ": key: found timedelta64; expected a number"),
        ([None], r": key\.0: found NoneType; expected a number"),
        ({"a": {3: 4}}, r": key\.a: found int as a name; expected a text$"),
        ({"a": float("nan")}, r": key\.a: found nan; expected a finite number$"),
        (np.float32("inf"), ": key: found inf; expected a finite number$"),
        ({"a": 2**63}, r": key\.a: found a number of more than 64 bits"),
        ({"a": 10**400}, r": key\.a: found a number of more than 64 bits"),
        (ITSELF, r": key\.b\.0\.b.*: nested deeper than 16 tables and lists, or contains itself$"),
    ],
)
def test_values_that_recipes_do_not_have_are_refused(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_overrides({"train.steps": 3, "key": value})


def test_tables_of_python_set_the_keys_that_they_have(face: str) -> None:
    values: dict[str, Any] = {
        "train": {"steps": 7},
        "generators": {"face": {"width": 3, "a b": 1}},
        "losses": {"cycle": {"from": 2.0, "to": 1.0}},
        "metrics": {},
        "domains": {"young": {"a": 1}, "old": {"a": 2}},
        "tasks": {"age": {"between": ["young", "old"]}},
    }
    before, recipe = (parse_recipe(face, "face.toml", each).recipe for each in ((), as_overrides(values)))
    assert recipe.train == before.train.model_copy(update={"steps": 7})
    assert recipe.generators["face"].options == before.generators["face"].options | {"width": 3, "a b": 1}
    assert recipe.generators["face"].per == before.generators["face"].per
    assert recipe.losses.keys() == before.losses.keys() and recipe.losses["cycle"].weight.to == 1.0
    assert recipe.metrics == {} != before.metrics
    assert recipe.domains == values["domains"]
    slot = {"use": "unet", "width": 3}
    assert parse_recipe(face, "face.toml", as_overrides({"generators": {"face": slot}})).recipe.generators["face"] == (
        NetworkSlot(use="unet", options={"width": 3})
    )
