"""Bounds on counts, sizes and nesting: checked before work begins, and said in the message."""

import time
from pathlib import Path
from typing import Any

import pytest

from transgan.errors import RecipeError
from transgan.recipe import Recipe, parse_recipe
from transgan.recipe.schema import MAX_DIRECTIONS, MAX_TRANSLATIONS

HEAD = """
[data]
source = "folders"
[train]
steps = 2
[generators]
g = "resnet"
[losses]
cycle = 1.0
"""


def many(count: int, task: str = "") -> str:
    names = ", ".join(f'"d{i}"' for i in range(count))
    domains = "\n".join(f'd{i} = "{i}"' for i in range(count))
    return f"{HEAD}[domains]\n{domains}\n[tasks.t]\nbetween = [{names}]\n{task}\n".replace(", ", ",\n")


def problem(text: str, *overrides: str) -> str:
    start = time.process_time()
    with pytest.raises(RecipeError) as error:
        parse_recipe(text, "r.toml", overrides)
    assert time.process_time() - start < 30
    assert len(str(error.value)) < 200 * 500
    return error.value.problems[0]


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("train.steps", "99,999,999"),
        ("train.batch", "65,536"),
        ("train.accumulate", "65,536"),
        ("data.size", "65,536"),
        ("evaluate.batch", "65,536"),
    ],
)
@pytest.mark.parametrize("value", [10**8, 10**12, 2**62])
def test_numbers_that_no_machine_can_serve(key: str, limit: str, value: int) -> None:
    assert f"found {value}, expected at most {limit}" in problem(many(2), f"{key}={value}")


RATES = ["optimizers.generator.lr", "optimizers.discriminator.lr", "train.clip", "losses.cycle", "losses.cycle.weight"]
RATES += ["tasks.t.weight", "guard.fallback.weight", "guard.fallback.lr", "stages.0.losses.cycle"]


@pytest.mark.parametrize("key", RATES)
@pytest.mark.parametrize("value", ["-1", "{from=1.0,to=-1e-9}", '{from=0.0,curve="steps",at=[1],values=[-1.0]}'])
def test_rates_limits_and_weights_have_no_sign(key: str, value: str) -> None:
    """Of the kind: with a sign a run would go uphill, and nothing would say so."""
    text = f"{many(2)}[[stages]]\nshare = 1.0\nlosses = {{ cycle = 1.0 }}\n"
    assert "expected 0 or more" in problem(text, f"{key}={value}")


@pytest.mark.parametrize("value", ["[1.0, 0.9]", "[0.5, -0.1]", "[0.5, {from=0.9,to=1.0}]"])
def test_decays_are_below_1(value: str) -> None:
    assert "expected numbers from 0 to below 1" in problem(many(2), f"optimizers.generator.betas={value}")


def test_sizes_of_axes_and_of_stages_are_bounded_too() -> None:
    assert "at most 65,536" in problem(many(2), "data.size=[64, 1000000000000]")
    assert "at most 65,536" in problem(many(2), "stages=[{share=1.0, batch=1000000000000}]")


@pytest.mark.parametrize("count", [33, 400, 1000])
def test_translations_of_a_step_are_bounded(count: int) -> None:
    message = problem(many(count))
    assert (
        f"'t' has {count:,} domains, hence {count * (count - 1):,} translations; at most {MAX_TRANSLATIONS:,}"
        in message
    )


def test_directions_that_are_measured_are_bounded() -> None:
    message = problem(many(200, 'targets = "random"'))
    assert f"at most {MAX_DIRECTIONS:,}" in message
    parse_recipe(many(110, 'targets = "random"'))  # a data set of a hundred speakers


@pytest.mark.parametrize("section", ["domains", "losses", "generators", "tasks", "metrics", "attributes"])
def test_entries_of_a_table_are_bounded(section: str) -> None:
    more = "\n".join(f"[{section}.x{i}]\nuse = 'x'" for i in range(1500))
    assert f"[{section}] has " in problem(many(2) + more) and "at most 1,000" in problem(many(2) + more)


def test_thousands_of_names_are_listed_in_no_line() -> None:
    """Of the kind: messages that list what is known, times the number of messages."""
    text = many(900) + "\n".join(f'[tasks.u{i}]\nfrom = "zz"\nto = "d1"' for i in range(900))
    with pytest.raises(RecipeError) as error:
        parse_recipe(text)
    assert max(map(len, error.value.problems)) < 500


def test_a_stranger_s_config_has_the_same_bounds(tmp_path: Path) -> None:
    table: dict[str, Any] = {
        "data": {"source": {"use": "x"}},
        "domains": {f"d{i}": True for i in range(900)},
        "tasks": {"t": {"between": [f"d{i}" for i in range(900)]}},
        "train": {"steps": 1},
        "generators": {},
        "losses": {},
    }
    with pytest.raises(ValueError, match="at most 1,000 are trained together"):
        Recipe.model_validate(table)


@pytest.mark.parametrize("path", ["C:\\temp", "C:\\new", "D:\\photos\\bad"])
def test_a_path_of_windows_in_double_quotes(path: str) -> None:
    """Of the kind: escape sequences that are invalid, and those that are valid and change the path silently."""
    for line in (f'root = "{path}"', 'root = "C:\\Users\\me"', 'root = "C:\\data"'):
        message = problem(many(2).replace('source = "folders"', f'source = "folders"\n{line}'))
        assert "write a path in single quotes" in message and message.startswith("r.toml:4: ")
    parse_recipe(many(2).replace('source = "folders"', f"source = 'folders'\nroot = '{path}'"))
    assert "single quotes" in problem(many(2), 'data.root="C:\\Users"')
