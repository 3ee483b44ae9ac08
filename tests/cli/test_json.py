"""`--json`: stdout is one document with what the plain output says, or with the error; nothing else is there."""

import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transgan.cli.output import json_text
from transgan.errors import Problem, RecipeError
from transgan.recipe import installed_recipes
from transgan.registry import KINDS, Registry
from transgan.text import size_of

Command = Callable[..., Any]


@pytest.fixture
def document(transgan: Command) -> Callable[..., Any]:
    """`document("info", model, code=0)`: what a command prints with `--json`, and its plain output."""

    def parse(*words: object, code: int = 0) -> tuple[Any, str]:
        plain, found = transgan(*words), transgan(*words, "--json")
        assert plain.code == found.code == code, found.err
        return json.loads(found.out, parse_constant=_fail), plain.out

    return parse


def _fail(token: str) -> None:
    raise AssertionError(f"{token} is no JSON")


def test_info(document: Any, model: Path) -> None:
    found, plain = document("info", model)
    assert plain.startswith(f"{found['model']}, after {found['steps']} steps, by TransGAN {found['transgan']}\n")
    assert [each["translation"] for each in found["translations"]] == ["age: young -> old", "age: old -> young"]
    assert {(each["task"], each["from"], each["to"]) for each in found["translations"]} == {
        ("age", "young", "old"),
        ("age", "old", "young"),
    }
    for name, network in found["networks"].items():
        assert f"  {name}: {network['use']}, {network['parameters']:,} parameters\n" in plain
    assert found["networks"] and found["media"]["young"] == {"use": "image", "space": [32, 32], "channels": 3}
    assert all(f"  {package} {version}\n" in plain for package, version in found["plugins"].items())


def test_check(document: Any, recipe: Path) -> None:
    found, plain = document("check", recipe)
    assert plain.startswith(f"{found['recipe']}: {found['steps']} steps, seed {found['seed']}, {found['precision']}\n")
    for name, domain in found["domains"].items():
        counts = f"{domain['samples']} samples, {domain['held_out']} held out"
        assert f"  {name}: {counts}; the first is {domain['first']}\n" in plain
    for name, network in found["networks"].items():
        trained = f"trained in the {network['side']} phase" if network["trained"] else "frozen"
        assert f"  {name}: {network['use']}, {network['parameters']:,} parameters, {trained}\n" in plain
    (stage,) = found["stages"]
    assert stage["batch"] == 2 and found["steps"] == 2
    assert plain.count(" calls in ") == len(stage["phases"])
    for phase in stage["phases"]:
        assert sum(len(each["nodes"]) for each in phase["passes"]) == phase["calls"]
        assert f"{phase['calls']} calls in {len(phase['passes'])} passes" in plain
    memory = found["memory"]
    assert memory["needed"] == memory["state"] + memory["activations"] + memory["process"]
    assert f"memory: about {size_of(memory['needed'])}: " in plain
    assert f"disk: {size_of(found['disk']['checkpoint'])} a checkpoint" in plain
    assert [line for line in plain.splitlines() if line.startswith("warning: ")] == [
        f"warning: {each}" for each in found["warnings"]
    ]


def test_evaluate(transgan: Command, model: Path) -> None:
    words = ("evaluate", model, "--set", "data.source={use='synthetic_faces',count=16}", "--set", "data.held_out=0.25")
    plain, done = transgan(*words, "-o", "one.json"), transgan(*words, "-o", "two.json", "--json")
    assert (plain.code, done.code) == (0, 0)
    found = json.loads(done.out, parse_constant=_fail)
    assert found.pop("file") == "two.json"
    assert found == json.loads(Path("one.json").read_text()) == json.loads(Path("two.json").read_text())
    assert set(found["translations"]) == {"age: young -> old", "age: old -> young"}
    for figures in found["translations"].values():
        assert f"{figures['cycle_error']:.3f}" in plain.out
    assert ", ".join(f"{name} {count}" for name, count in found["samples"].items()) in plain.out
    assert found["origin"] in plain.out and all(f"warning: {each}" in plain.out for each in found["warnings"])


def test_data_check(document: Any, write_image: Any) -> None:
    write_image(Path("data/a/1.png"))
    Path("data/a/2.png").write_bytes(Path("data/a/1.png").read_bytes())
    found, plain = document("data", "check", "data", "--strict", code=3)
    assert plain.startswith(f"{found['data']}\n")
    assert [f"warning: {each}" for each in found["findings"]] == plain.splitlines()[-len(found["findings"]) :]
    (domain,) = found["domains"].values()
    assert found["copies"] and domain["samples"] == 2


def test_plugins(document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    found, plain = document("plugins")
    registry = Registry.installed()
    assert {(each["kind"], each["name"], each["package"]) for each in found["plugins"]} == {
        (each.kind, each.name, each.package) for each in registry.candidates()
    }
    lines = {" ".join(line.split()[:2]) for line in plain.splitlines()}
    assert all(f"{each['name']} {each['summary'].split()[0]}" in lines for each in found["plugins"])
    assert [each["name"] for each in found["commands"]] == ["faces"] and found["not_loaded"] == registry.broken
    assert [each["name"] for each in found["examples"]] == list(registry.examples)


@pytest.mark.parametrize("name", ["lsgan", "cycle", "resnet", "patch", "translation", "channel", "folders", "frechet"])
def test_one_plugin(document: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    found, plain = document("plugins", name)
    plain = " ".join(plain.split())
    for each in found:
        assert f"{name}: " in plain and KINDS[each["kind"]].singular in plain
        assert " ".join(each["description"].split("\n\n")[0].split()) in plain
        for option in each["options"]:
            assert f"{option['key']}: {option['expected']}, " in plain and option["description"] in plain
        for method, inputs in (each["inputs"] or {}).items():
            assert f"{method}: {', '.join(inputs['always']) or 'none'}" in plain
        assert all(node["meaning"] in plain for node in each["nodes"] or [])
        assert all(f"{figure}: {way} is better" in plain for figure, way in (each["figures"] or {}).items())


def test_names_of_arguments(document: Any) -> None:
    found, plain = document("plugins", "--names")
    shown = {line.split(":")[0].strip() for line in plain.splitlines() if line.startswith("  ")}
    named = {each["name"] for key in ("batch_inputs", "losses", "metrics") for each in found[key]}
    named |= {each["name"] for nodes in found["nodes"].values() for each in nodes}
    assert len(named) > 40 and named <= shown


def test_recipes(document: Any) -> None:
    found, plain = document("recipes")
    assert [each["name"] for each in found] == [line.split()[0] for line in plain.splitlines()]
    assert all(each.keys() == {"name", "path", "package", "summary"} for each in found)
    one, text = document("recipes", "cut")
    assert one["recipe"] == tomllib.loads(text) and one["path"] == str(installed_recipes()["cut"].path)


def error_of(done: Any, code: int) -> dict[str, Any]:
    """Check that the error is on stderr in words and on stdout as JSON; return it."""
    found: dict[str, Any] = json.loads(done.out)["error"]
    assert done.code == found["exit_code"] == code and done.err == f"error: {found['message']}\n"
    assert found["problems"] and all(each.keys() == {"file", "line", "key", "message"} for each in found["problems"])
    return found


def test_problems_of_a_recipe_have_their_places(transgan: Command, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("batch = 2", "bach = 2"))
    found = error_of(transgan("check", recipe, "--set", "train.steps='many'", "--json"), 2)
    lines = recipe.read_text().splitlines()
    first, last = found["problems"]
    assert found["type"] == "RecipeError"
    assert first["file"] == str(recipe) and lines[first["line"] - 1] == "bach = 2"
    assert (first["key"], first["message"]) == ("train.bach", "unknown key. Did you mean 'batch'?")
    assert last["file"] is last["line"] is None and last["key"] == "train.steps"
    broken = recipe.with_name("broken.toml")
    broken.write_text('name = "x"\n[data\n')
    (problem,) = error_of(transgan("data", "check", broken, "--json"), 2)["problems"]
    assert (problem["file"], problem["line"], problem["key"]) == (str(broken), 2, None)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("info", "nowhere"), 3),
        (("evaluate", "nowhere"), 3),
        (("recipes", "cutt"), 2),
        (("plugins", "lsgam"), 2),
        (("check", "nowhere.toml"), 2),
        (("data", "check", "nowhere.toml"), 2),
        (("info", "x", "--stpe", "3"), 2),
        (("chekc",), 2),
    ],
)
def test_every_error_is_a_document(transgan: Command, words: tuple[str, ...], code: int) -> None:
    error_of(transgan(*words, "--json"), code)
    assert transgan(*words).out == ""


def test_values_that_json_lacks() -> None:
    value = {"a": math.nan, "b": [math.inf, -math.inf, 1.5], "c": Path("x/y"), 3: (True, None), "d": "\ud800\x1b"}
    value |= {"e": np.float32(0.5), "f": np.int64(3), "g": np.float32("nan")}
    text = json_text(value)
    assert json.loads(text, parse_constant=_fail) == {
        "a": None,
        "b": [None, None, 1.5],
        "c": "x/y",
        "3": [True, None],
        "d": "\ud800\x1b",
        "e": 0.5,
        "f": 3,
        "g": None,
    }
    assert "\x1b" not in text and text.isascii()


def test_a_problem_is_its_line_and_travels_between_processes() -> None:
    import pickle

    error = RecipeError([Problem("a.toml:3: [x] y: bad", "bad", "a.toml", 3, "x.y"), "another"], "a.toml")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert str(copy) == str(error) == "a.toml: 2 problems\n  a.toml:3: [x] y: bad\n  another"
    assert [(each.file, each.line, each.key, each.message) for each in copy.problems] == [
        ("a.toml", 3, "x.y", "bad"),
        (None, None, None, "another"),
    ]
