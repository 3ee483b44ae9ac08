"""Which model `evaluate.keep_best` keeps, where later ones are worse, and where the initial one is the best."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from transgan import storage
from transgan.api import Domain, Generator, Metric, NetworkSpec, Options, Register, Tensor, Translation, hookimpl
from transgan.errors import RecipeError

RECIPE = """
[train]
steps = 6
batch = 2
checkpoint_every = 2
[generators]
g = { use = "resnet", per = "direction", width = 4, blocks = 0 }
[losses]
cycle = 1.0
[evaluate]
every = 1
keep_best = "wave"
samples = 4
[metrics]
wave = true
quiet = true
"""
evaluations: list[str] = []


class Wave(Metric):
    """Reports `numbers`, one for each evaluation, whatever the translations are."""

    direction = {"wave": "higher"}
    numbers = iter(())

    def reset(self) -> None:
        evaluations.append("wave")
        self.found: dict[Translation, dict[str, float]] = {}

    def update(self, translation: Translation, fake: Tensor) -> None:
        self.found.setdefault(translation, {"wave": next(Wave.numbers) if not self.found else -1.0})

    def compute(self) -> dict[Translation, dict[str, float]]:
        return self.found


class Quiet(Metric):
    def reset(self) -> None:
        evaluations.append("quiet")

    def update(self, translation: Translation, fake: Tensor) -> None:
        pass

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Initialized(Generator):
    """Initialises its weights from the data."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.shift = nn.Parameter(torch.zeros(1))

    def init_from_data(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        with torch.no_grad():
            self.shift.fill_(0.25)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class Unchanged(Initialized):
    """Defines `init_from_data`, but changes nothing."""

    def init_from_data(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        pass


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("initialized", Initialized)
        register("unchanged", Unchanged)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("wave", Wave)
        register("quiet", Quiet)


def test_the_model_of_the_best_evaluation_is_kept(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations.clear()
    monkeypatch.setattr(Wave, "numbers", iter([1.0, 2.0, 9.0, 3.0, 2.0, 1.0, 0.0]))
    trained(recipe_file(RECIPE), tmp_path / "a", "train.keep=9", "train.checkpoint_every=1", plugin=Plugin())
    assert json.loads((tmp_path / "a" / "result.json").read_text())["kept"] == 3
    assert evaluations == ["wave"] * 6 + ["wave", "quiet"]  # other metrics are computed at the end only
    tensors, _ = storage.read_model(tmp_path / "a" / "model")
    checkpoints = {each.step: each for each in _checkpoints(tmp_path / "a")}
    assert all(torch.equal(value, checkpoints[3].groups["networks"][key]) for key, value in tensors.items())
    assert not all(torch.equal(value, checkpoints[6].groups["networks"][key]) for key, value in tensors.items())


@pytest.mark.parametrize(("first", "second", "kept"), [(9.0, 1.0, 0), (1.0, 9.0, 1)])
def test_networks_initialised_from_data_are_evaluated_before_training_and_kept_if_training_is_no_improvement(
    trained: Any,
    recipe_file: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: float,
    second: float,
    kept: int,
) -> None:
    monkeypatch.setattr(Wave, "numbers", iter([first, second, *[0.0] * 6]))
    recipe = RECIPE.replace(
        'use = "resnet", per = "direction", width = 4, blocks = 0', 'use = "initialized", per = "direction"'
    )
    trained(recipe_file(recipe), tmp_path / "a", plugin=Plugin())
    assert json.loads((tmp_path / "a" / "result.json").read_text())["kept"] == kept
    tensors, _ = storage.read_model(tmp_path / "a" / "model")
    shifts = [float(value) for key, value in tensors.items() if key.endswith("shift")]
    assert len(shifts) == 2 and all((shift == 0.25) == (kept == 0) for shift in shifts)
    first_record = json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[0])
    assert first_record["step"] == 0 and first in [
        value for key, value in first_record.items() if key.endswith("/wave")
    ]


def test_networks_that_init_from_data_has_not_changed_are_not_evaluated_before_training(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wave, "numbers", iter([9.0, *[0.0] * 6]))
    recipe = RECIPE.replace('"resnet", per = "direction", width = 4, blocks = 0', '"unchanged", per = "direction"')
    trained(recipe_file(recipe), tmp_path / "a", plugin=Plugin())
    assert json.loads((tmp_path / "a" / "result.json").read_text())["kept"] == 1


def _checkpoints(folder: Path) -> list[storage.Checkpoint]:
    """Return all checkpoints of a run, newest first; they are moved out of their folder."""
    found = []
    while (checkpoint := storage.newest(folder / "checkpoints")[0]) is not None:
        found.append(checkpoint)
        checkpoint.path.rename(folder / checkpoint.path.name)
    return found


@pytest.mark.parametrize(
    ("override", "message"),
    [("evaluate.keep_best='waves'", "Did you mean 'wave'"), ("evaluate.every=0", "set evaluate.every")],
)
def test_an_invalid_keep_best_is_reported(planned: Any, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        planned(RECIPE, Plugin(), (override,))
