"""Metrics whose options do not fit the data: refused before anything is trained or measured, alike by every command."""

import json
from pathlib import Path
from typing import Any

import pytest

MISTAKES = [
    (
        "apparent_label={label='agee', judges=[{kind='cnn'}]}",
        2,
        "no samples have the label 'agee'. Did you mean 'age'?",
    ),
    (
        "apparent_label={label='race', judges=[{kind='cnn'}]}",
        2,
        "label = 'race': found 'White', expected numbers; use metrics.label_kept for categories",
    ),
    (
        "apparent_label={label='age', judges=[{kind='cnn', judge_data='nowhere'}]}",
        3,
        "judge 'cnn': judge_data: 'nowhere' does not exist; expected a folder with samples",
    ),
    (
        "apparent_label={label='age', judges=[{kind='cnn', judge_data='.', select={agee=[0, 1]}}]}",
        2,
        "judge 'cnn': judge_data: select: there is no label 'agee'. Did you mean 'age'?",
    ),
    (
        "apparent_label={label='age', judges=[{kind='cnn', judge_data='.', select={age=[90, 99]}}]}",
        3,
        "judge 'cnn': judge_data: select: no synthetic face has {'age': [90, 99]}; ages are 20 to 30 and 50 to 60",
    ),
    ("label_kept={label='hair'}", 2, "no samples have the label 'hair'. Known: age, race."),
    (
        "label_kept={label='age'}",
        2,
        "no translation can be measured: 'old' and 'young' have no value of 'age' in common; choose another label",
    ),
    (
        "target_share={judges=[{kind='cnn', judge_data='nowhere'}]}",
        3,
        "judge 'cnn': judge_data: 'nowhere' does not exist",
    ),
]


@pytest.mark.parametrize("command", ["check", "run", "evaluate"])
@pytest.mark.parametrize(("metric", "code", "message"), MISTAKES)
def test_a_mistake_is_found_before_anything_is_computed(
    transgan: Any, recipe: Path, request: pytest.FixtureRequest, command: str, metric: str, code: int, message: str
) -> None:
    if command == "evaluate":
        done = transgan("evaluate", request.getfixturevalue("model"), "--metric", metric)
    else:
        done = transgan(command, recipe, "--set", f"metrics.{metric}")
    error = done.error(code)
    given = f"--metric {metric}" if command == "evaluate" else f"--set metrics.{metric}"
    assert error.startswith(given[:40]) and message in error, error
    assert "step" not in done.out
    assert not Path("runs").exists() and not Path("evaluation.json").exists()


def test_all_mistakes_are_named_with_their_lines(transgan: Any, recipe: Path) -> None:
    more = (
        "[metrics.label_kept]\nlabel = 'hair'\n[metrics.apparent_label]\nlabel = 'agee'\njudges = [{ kind = 'cnn' }]\n"
    )
    text = recipe.read_text().rstrip("\n") + "\n"
    recipe.write_text(text + more)
    done = transgan("check", recipe)
    assert done.code == 2
    line = text.count("\n") + 1
    first, *others = done.err.splitlines()
    assert first.endswith("small.toml: 2 problems")
    expected = [
        (line, "label_kept", "no samples have the label 'hair'"),
        (line + 2, "apparent_label", "no samples have"),
    ]
    for found, (number, name, message) in zip(others, expected, strict=True):
        assert f"small.toml:{number}: [metrics] {name}: {message}" in found


def test_a_metric_of_the_run_that_no_longer_fits_the_data_is_omitted(transgan: Any, recipe: Path) -> None:
    """Its judge's folder has moved since: what else there is to measure is measured. One that is asked for stops."""
    assert transgan("run", recipe, "--out", "run", "-q", "--set", "train.steps=1").code == 0
    stored = Path("run/recipe.toml")
    table, _, _ = stored.read_text().partition("[metrics")
    stored.write_text(
        table + "[metrics]\ncycle_error = true\n[metrics.target_share]\n"
        "judges = [{ kind = 'cnn', epochs = 1, judge_data = 'moved' }]\n"
    )
    done = transgan("evaluate", "run")
    assert done.code == 3 and "1 metrics could not be computed: target_share" in done.err
    figures = json.loads(Path("evaluation.json").read_text())
    assert all("cycle_error" in each for each in figures["translations"].values())
    assert any("'moved' does not exist" in each for each in figures["warnings"])
    metric = "target_share={judges=[{kind='cnn', judge_data='moved'}]}"
    asked = transgan("evaluate", "run", "--overwrite", "--metric", metric)
    assert asked.code == 3 and "--metric target_share" in asked.err
