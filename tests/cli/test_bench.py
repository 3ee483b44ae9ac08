"""`transgan bench`: what it prints adds up, in pairs where there are two sides."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from transgan.bench.cases import cases, in_turns
from transgan.bench.figures import Measured, ratio
from transgan.errors import TRAINING_REMEDY

PLUGIN = """
from transgan.api import Loss, Register, Tensor, hookimpl

requires_api = 1


class Mine(Loss):
    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.square().mean()


@hookimpl
def register_losses(register: Register) -> None:
    register("mine", Mine)
"""


@pytest.mark.parametrize("command", ["step", "data", "translate", "checkpoint"])
def test_two_settings_are_measured_in_turns(transgan: Any, recipe: Path, command: str) -> None:
    few = ["--files", "3"] if command == "translate" else ["--steps", "1"] * (command != "checkpoint")
    done = transgan("bench", command, recipe, "--rounds", 3, *few, "--vs", "train.batch=4", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    first, second = found["cases"]
    assert second["case"] == "train.batch=4"
    for each in (first, second, {"seconds": found["ratio"]}):
        assert 0 < each["seconds"]["min"] <= each["seconds"]["median"] <= each["seconds"]["max"]
    if command == "step":
        for each in (first, second):
            assert sum(each["shares"].values()) == pytest.approx(1.0, abs=1e-6)
        assert second["FLOPs a step"] == pytest.approx(2 * first["FLOPs a step"])


def test_lines_for_people_name_both_sides(transgan: Any, recipe: Path) -> None:
    done = transgan("bench", "data", recipe, "--rounds", 1, "--vs", "train.batch=4")
    assert done.code == 0
    assert "as given:" in done.out and "train.batch=4:" in done.out
    assert re.fullmatch(
        r"ratio +as given takes (\S+) times as long \(\S+ to \S+\) as train.batch=4", done.out.splitlines()[-1]
    )


def test_mistakes_are_one_line(transgan: Any, recipe: Path) -> None:
    error = transgan("bench", "step", recipe, "--vs", "train.batsh=4").error(2)
    assert error.startswith("--vs train.batsh=4: unknown key. Did you mean")


def test_turns_alternate_and_ratios_are_of_pairs() -> None:
    assert [case for _, case in in_turns(2, 3)] == [0, 1, 1, 0, 0, 1]
    slow, fast = Measured("a", [2.0, 40.0, 9.0]), Measured("b", [1.0, 10.0, 3.0])
    assert ratio(slow, fast) == {"median": 3.0, "min": 2.0, "max": 4.0}


def test_another_recipe_takes_the_place_of_the_first() -> None:
    first, second = cases(Path("a.toml"), ["x=1"], ["b.toml", "y=2"], noise=False)
    assert (first.recipe, first.settings) == (Path("a.toml"), ("x=1",))
    assert (second.recipe, second.settings) == (Path("b.toml"), ("x=1", "y=2"))


def test_of_stages_the_last_is_measured_alone(transgan: Any, recipe: Path) -> None:
    """What a step computes does not depend on how long is measured; the model that is best is not looked for."""
    alone = ["--set", "losses.cycle=0"]
    recipe.write_text(f"{recipe.read_text()}[evaluate]\nevery = 1\nkeep_best = 'cycle_error'\n")
    plain = transgan("bench", "step", recipe, "--rounds", 1, "--steps", 1, "--json", *alone)
    recipe.write_text(f"{recipe.read_text()}[[stages]]\nshare = 0.6\nsize = 16\n[[stages]]\nshare = 0.4\n")
    recipe.write_text(f"{recipe.read_text()}losses = {{ cycle = 0 }}\n")
    staged = transgan("bench", "step", recipe, "--rounds", 1, "--steps", 1, "--json")
    assert (plain.code, staged.code) == (0, 0), (plain.err, staged.err)
    expected, found = (json.loads(each.out)["cases"][0] for each in (plain, staged))
    assert found["FLOPs a step"] == expected["FLOPs a step"]


def test_noise_is_paired(transgan: Any, recipe: Path) -> None:
    text = recipe.read_text().replace('between = ["young", "old"]', 'from = "young", to = "old", paired = true')
    recipe.write_text(text.replace("cycle = 5.0", "paired = 5.0"))
    done = transgan("bench", "data", recipe, "--noise", "--rounds", 1, "--set", "metrics={}", "--json")
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", ["recycle_gan", "pix2pixhd", "voice_spectrogram", "conditional_face"])
def test_noise_takes_the_place_of_every_kind_of_data(transgan: Any, name: str) -> None:
    """Clips, label maps with further inputs, sounds and synthetic data have shapes of their own."""
    size = 128 if name == "pix2pixhd" else 64
    done = transgan("bench", "data", name, "--noise", "--rounds", 1, "--set", f"data.size={size}", "--json")
    assert done.code == 0, done.err
    (case,) = json.loads(done.out)["cases"]
    assert case["seconds"]["median"] > 0


def test_noise_is_translated_where_files_can_hold_it(transgan: Any) -> None:
    small = ("--set", "data.size=32", "--set", "generators.resnet.width=4", "--set", "generators.resnet.blocks=1")
    done = transgan("bench", "translate", "cyclegan", "--noise", "--files", 2, "--rounds", 1, *small, "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["cases"]) == 2  # one by one, and a folder


@pytest.mark.parametrize(
    ("name", "held"), [("recycle_scenes", ""), ("voice_spectrogram", ".wav"), ("pix2pixhd_streets", ".png")]
)
def test_noise_is_in_files_that_hold_the_numbers_of_a_batch(transgan: Any, name: str, held: str) -> None:
    """A frame of a clip is one; a sound is samples, and a map is a number for each place."""
    done = transgan("bench", "translate", name, "--noise", "--files", 2, "--rounds", 1)
    if held:
        refused = done.error(2)
        assert refused.startswith("--noise: noise has the form of a batch") and f"a {held} file of" in refused
    else:
        assert done.code == 0, done.err


@pytest.mark.parametrize("name", ["recycle_scenes", "pix2pixhd_streets"])
def test_samples_of_every_kind_are_translated_with_their_further_inputs(transgan: Any, name: str) -> None:
    """Synthetic ones are functions of what their media says: of frames and a step too, or of a single side."""
    done = transgan("bench", "translate", name, "--files", 2, "--rounds", 1, "--json")
    assert done.code == 0, done.err
    assert [each["case"] for each in json.loads(done.out)["cases"]] == ["one by one", "a folder"]


def test_at_most_one_other_recipe_is_measured(transgan: Any, recipe: Path) -> None:
    error = transgan("bench", "step", recipe, "--vs", "cyclegan", "--vs", "train.batch=4", "--vs", "cut").error(2)
    assert error == "--vs: cyclegan, cut are recipes; expected at most one, and settings KEY=VALUE"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux gives it")
def test_memory_is_what_the_networks_take_whichever_side_comes_first(transgan: Any, recipe: Path) -> None:
    """Weights, gradients and two moments of each are 16 bytes a parameter; the same side twice takes the same."""
    wide = ("--set", "generators.face.width=96", "--set", "losses.cycle=1")
    done = transgan("bench", "step", recipe, "--rounds", 1, "--steps", 1, *wide, "--vs", "train.seed=1", "--json")
    assert done.code == 0, done.err
    first, second = json.loads(done.out)["cases"]
    assert first["memory bytes"] == pytest.approx(second["memory bytes"], rel=0.2)
    assert 16 * first["parameters"] < first["memory bytes"] < 60 * first["parameters"]


@pytest.mark.parametrize("command", ["step", "checkpoint"])
def test_where_memory_is_short_settings_are_named(
    transgan: Any, recipe: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr("transgan.training.engine.Engine.train_step", train_step)
    error = transgan("bench", command, recipe, "--rounds", 1).error(5)
    assert error == f"out of memory; {TRAINING_REMEDY}"


def test_steps_with_a_gradient_penalty_are_counted(transgan: Any, recipe: Path) -> None:
    done = transgan(
        "bench", "step", recipe, "--rounds", 1, "--steps", 1, "--vs", "losses.gradient_penalty=10", "--json"
    )
    assert done.code == 0, done.err
    without, penalized = (each["FLOPs a step"] for each in json.loads(done.out)["cases"])
    assert penalized > without


def test_a_start_uses_plugins_of_files_and_says_what_is_wrong(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "my_loss.py"
    file.write_text(PLUGIN)
    with_it = ["bench", "start", recipe, "--rounds", 1, "--set", "losses.mine=1.0", "--plugin", file, "--json"]
    done = transgan(*with_it)
    assert done.code == 0, done.err
    assert json.loads(done.out)["cases"][0]["seconds"]["median"] > 0
    message = transgan("bench", "start", recipe, "--rounds", 1, "--set", "losses.mine=1.0").error(1)
    assert "--set losses.mine=1.0: use: no loss 'mine'" in message and "Error" not in message
