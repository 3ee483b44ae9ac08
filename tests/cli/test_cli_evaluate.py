"""`transgan evaluate`: figures of a finished model, on its own data and on others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

SHARE = "target_share={epochs=1, width=4}"


def test_a_run_is_measured_again_and_gives_the_same_figures(transgan: Any, model: Path, tmp_path: Path) -> None:
    told = transgan("evaluate", model.parent, "--out", "figures/again.json")
    assert told.code == 0, told
    found = json.loads((tmp_path / "figures/again.json").read_text())
    assert found["translations"] == json.loads((model.parent / "result.json").read_text())["translations"]
    assert found["held_out"] is True and found["steps"] == 2
    assert "cycle_error" in told.out and "held-out samples" in told.out
    assert "held out: of the data that the model was trained on, samples that it was not trained on" in told.out


def test_a_model_folder_alone_is_enough_and_metrics_can_be_added(transgan: Any, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "alone")
    told = transgan("evaluate", "alone", "--samples", 1, "--metric", SHARE, "--metric", "counterpart_error")
    assert told.code == 0, told
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["samples"] == {"young": 1, "old": 1}
    for figures in found["translations"].values():
        assert {"cycle_error", "target_share", "classifier_accuracy", "counterpart_error"} <= figures.keys()


def test_other_data_are_said_to_be_others(transgan: Any, model: Path) -> None:
    told = transgan("evaluate", model, "--set", "data.source.count=40")
    assert told.code == 0 and "held-out samples of other data" in told.out
    assert "other data than the model was trained on (names differ)" in " ".join(told.out.split())


def test_samples_that_are_not_held_out_are_said_to_be(transgan: Any, model: Path) -> None:
    told = transgan("evaluate", model, "--set", "data.held_out=0")
    assert told.code == 0 and "samples that were not held out" in told.out
    assert "nothing is held out of young, old: the model may have been trained on what is measured" in told.out
    assert json.loads(Path("evaluation.json").read_text())["held_out"] is False


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--data", "nowhere"], 3, "data.root = 'nowhere' does not exist"),
        (["--data", ".", "--set", "data.source=labelled_faces"], 3, "no photograph below '.' has"),
        (["--metric", "frechet={network='squeezenet', weights='w.npz'}"], 2, "weights w.npz: no such file"),
        (["--metric", "fid"], 2, "no metric 'fid'"),
        (["--set", "train.stepz=1"], 2, "unknown key. Did you mean 'steps'?"),
        (["--out", "."], 2, "--out . is a folder; expected a file"),
    ],
)
def test_mistakes_are_told_in_one_line(transgan: Any, model: Path, words: list[str], code: int, told: str) -> None:
    assert told in transgan("evaluate", model, *words).mistake(code)


def test_an_imported_model_says_what_it_lacks(transgan: Any, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "bare")
    config = json.loads((tmp_path / "bare/config.json").read_text())
    config["evaluation"] = {}
    (tmp_path / "bare/config.json").write_text(json.dumps(config))
    assert "does not say what data the model is for" in transgan("evaluate", "bare").mistake(2)
