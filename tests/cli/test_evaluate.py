"""`transgan evaluate`: measure a trained model on the data of its run and on other data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transgan.api import Metric, Register, Tensor, Translation, hookimpl
from transgan.registry import Registry

SHARE = "target_share={epochs=1, width=4}"


def test_evaluating_a_run_repeats_its_results(transgan: Any, model: Path, tmp_path: Path) -> None:
    done = transgan("evaluate", model.parent, "--out", "figures/again.json")
    assert done.code == 0, done
    result = json.loads((tmp_path / "figures/again.json").read_text())
    assert result["translations"] == json.loads((model.parent / "result.json").read_text())["translations"]
    assert result["held_out"] is True and result["steps"] == 2
    assert "cycle_error" in done.out and "held-out samples" in done.out
    assert "held out: of the data that the model was trained on, samples that it was not trained on" in done.out


def test_model_folder_is_enough_and_metrics_can_be_added(transgan: Any, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "alone")
    done = transgan("evaluate", "alone", "--samples", 1, "--metric", SHARE, "--metric", "counterpart_error")
    assert done.code == 0, done
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["samples"] == {"young": 1, "old": 1}
    for figures in result["translations"].values():
        assert {"cycle_error", "target_share", "classifier_accuracy", "counterpart_error"} <= figures.keys()


@pytest.mark.parametrize(
    "settings",
    [
        ["--set", "metrics={}", "--set", "evaluate.samples=3"],
        ["--set", "metrics={}", "--set", "metrics.target_share.epochs=1", "--set", "evaluate={samples=3}"],
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_flags_and_settings_mean_the_same_in_any_order(
    transgan: Any, model: Path, settings: list[str], first: bool
) -> None:
    flags = ["--metric", "target_share={width=4}", "--samples", 1]
    done = transgan("evaluate", model, *(flags + settings if first else settings + flags))
    assert done.code == 0, done
    result = json.loads(Path("evaluation.json").read_text())
    assert result["samples"] == {"young": 1, "old": 1}
    for figures in result["translations"].values():
        assert "target_share" in figures and "cycle_error" not in figures


def test_settings_of_an_added_metric_say_more_of_it(transgan: Any, model: Path) -> None:
    words = ["--metric", "frechet", "--set", "metrics.frechet={network='squeezenet', weights='w.npz'}"]
    assert "weights w.npz: no such file" in transgan("evaluate", model, *words).error(2)


def test_the_folder_with_the_data_is_the_one_of_its_flag(transgan: Any, model: Path) -> None:
    words = ["--set", "data={source='folders', root='there'}", "--data", "nowhere"]
    assert "data.root = 'nowhere' does not exist" in transgan("evaluate", model, *words).error(3)


def test_a_model_folder_is_not_measured_on_what_happens_to_lie_here(
    transgan: Any, model: Path, write_image: Callable[..., Any], tmp_path: Path
) -> None:
    config = json.loads((model / "config.json").read_text())
    config["evaluation"]["data"] = {"source": {"use": "folders", "options": {}}, "held_out": 0.5}
    config["evaluation"]["domains"] = {"young": "young", "old": "old"}
    for i in range(8):
        folder = ("young", "old")[i % 2]
        write_image(tmp_path / "here" / folder / f"{i}.png", (40 + i, 32))
    shutil.copytree(tmp_path / "here", tmp_path, dirs_exist_ok=True)
    run = shutil.copytree(model, tmp_path / "run/model").parent
    shutil.copytree(model, tmp_path / "alone")
    for folder in ("alone", "run/model"):
        (tmp_path / folder / "config.json").write_text(json.dumps(config))
    shutil.copy(model.parent / "recipe.toml", run)
    message = "a model does not record where its data are; give their folder: --data FOLDER"
    assert transgan("evaluate", "alone", "--set", "data.held_out=0.25").error(2).endswith(message)
    assert f"{message}; or give the folder of its run" in transgan("evaluate", "run/model").error(2)
    assert transgan("evaluate", "alone", "--data", "here", "--out", "a.json").code == 0
    given = ("--set", "domains.young='here/young'", "--set", "domains.old='here/old'")
    assert transgan("evaluate", "alone", *given, "--out", "b.json").code == 0


def test_other_data_are_reported_as_such(transgan: Any, model: Path) -> None:
    done = transgan("evaluate", model, "--set", "data.source.count=40")
    assert done.code == 0 and "held-out samples of other data" in done.out
    assert "other data than the model was trained on (names differ)" in " ".join(done.out.split())


def test_samples_that_are_not_held_out_are_reported_as_such(transgan: Any, model: Path) -> None:
    done = transgan("evaluate", model, "--set", "data.held_out=0")
    assert done.code == 0 and "samples that were not held out" in done.out
    assert "nothing is held out of young, old: the model may have been trained on what is measured" in done.out
    assert json.loads(Path("evaluation.json").read_text())["held_out"] is False


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--data", "nowhere", "--set", "data.source=folders"], 3, "data.root = 'nowhere' does not exist"),
        (["--data", "."], 2, "--data .: the source 'synthetic_faces' makes its samples and reads no folder"),
        (
            ["--set", "data.source=folders", "--set", "domains={young='x',old='y'}"],
            3,
            "if the data are elsewhere now, give their folder: --data FOLDER",
        ),
        (["--metric", "frechet={network='squeezenet', weights='w.npz'}"], 2, "weights w.npz: no such file"),
        (["--set", "metrics={}"], 2, "no metric is left to measure it by; add one with --metric NAME"),
        (["--set", "data=3"], 2, "--set data=3: found 3 (a whole number), expected a table"),
        (["--metric", "fid"], 2, "--metric fid: use: no metric 'fid'"),
        (["--metric", "frechet=1"], 2, "--metric frechet=1: found 1 (a whole number), expected true"),
        (["--set", "train.stepz=1"], 2, "unknown key. Did you mean 'steps'?"),
        (["--set", "train.steps=3"], 2, "changes nothing that is measured; expected keys of data, domains, inputs"),
        (["--set", "generators.face.width=9"], 2, "changes nothing that is measured"),
        (["--out", "."], 2, "--out . is a folder; expected a file"),
    ],
)
def test_errors_take_one_line(transgan: Any, model: Path, words: list[str], code: int, message: str) -> None:
    assert message in transgan("evaluate", model, *words).error(code)


def test_every_domain_without_samples_is_named(transgan: Any, model: Path) -> None:
    done = transgan("evaluate", model, "--data", ".", "--set", "data.source=labelled_faces")
    assert done.code == 3
    for name in ("young", "old"):
        assert f"[domains] {name}: no photograph below '.' has" in done.err


def test_a_finished_run_knows_what_its_discriminators_take_for_the_target(transgan: Any, model: Path) -> None:
    """Of a run its checkpoint has them; a model folder that was copied out of it has none."""
    metric = 'target_share={judges=[{kind="cnn", epochs=1, width=4, size=16}]}'
    shutil.copytree(model, "elsewhere")
    for what, there in ((model.parent, True), ("elsewhere", False)):
        done = transgan("evaluate", what, "--metric", metric, "--out", "o.json", "--overwrite")
        assert done.code == 0, done.err
        figures = json.loads(Path("o.json").read_text())["translations"]
        assert all(("target_share_cnn_of_adversarial" in each) is there for each in figures.values())


class Broken(Metric):
    """Fails when it is computed."""

    def reset(self) -> None:
        pass

    def update(self, fake: Tensor) -> None:
        pass

    def compute(self) -> dict[Translation, dict[str, float]]:
        raise ZeroDivisionError("of this test")


class Plugin:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("broken", Broken)


def test_a_metric_that_fails_costs_itself(transgan: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other figures are there; what was asked for and could not be computed is an error all the same."""
    registry = Registry.installed()
    registry.add(Plugin(), "plugin")
    monkeypatch.setattr(Registry, "installed", lambda: registry)
    done = transgan("evaluate", model, "--metric", "broken")
    assert done.error(2) == "1 metrics could not be computed: broken"
    result = json.loads(Path("evaluation.json").read_text())
    assert all("cycle_error" in figures for figures in result["translations"].values())
    (warning,) = [each for each in result["warnings"] if each.startswith("metric 'broken'")]
    assert "is omitted" in warning and "ZeroDivisionError: of this test" in warning


def test_model_without_data_needs_options(transgan: Any, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "bare")
    config = json.loads((tmp_path / "bare/config.json").read_text())
    config["evaluation"] = {}
    (tmp_path / "bare/config.json").write_text(json.dumps(config))
    assert "does not say what data the model is for" in transgan("evaluate", "bare").error(2)
