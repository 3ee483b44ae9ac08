"""Which model is kept: a run in which a later one is worse, whole and resumed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

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
asked: list[str] = []


class Wave(Metric):
    """Best at the third of six evaluations, whatever is shown."""

    better = {"wave": "higher"}
    numbers = iter(())

    def reset(self) -> None:
        asked.append("wave")
        self.found: dict[Translation, dict[str, float]] = {}

    def update(self, translation: Translation, fake: Tensor) -> None:  # type: ignore[override]
        self.found.setdefault(translation, {"wave": next(Wave.numbers) if not self.found else -1.0})

    def compute(self) -> dict[Translation, dict[str, float]]:
        return self.found


class Quiet(Metric):
    def reset(self) -> None:
        asked.append("quiet")

    def update(self, translation: Translation, fake: Tensor) -> None:  # type: ignore[override]
        pass

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Begun(Generator):
    """Knows something before the first step."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.shift = nn.Parameter(torch.zeros(1))

    def start(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        with torch.no_grad():
            self.shift.fill_(0.25)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class Idle(Begun):
    """Might know something, and does not."""

    def start(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        pass


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("begun", Begun)
        register("idle", Idle)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("wave", Wave)
        register("quiet", Quiet)


def test_the_best_measured_model_is_kept(
    trained: Any, written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.clear()
    monkeypatch.setattr(Wave, "numbers", iter([1.0, 2.0, 9.0, 3.0, 2.0, 1.0, 0.0]))
    trained(written(RECIPE), tmp_path / "a", "train.keep=9", "train.checkpoint_every=1", plugin=Plugin())
    assert json.loads((tmp_path / "a" / "result.json").read_text())["kept"] == 3
    assert asked == ["wave"] * 6 + ["wave", "quiet"]  # what costs much is measured at the end alone
    tensors, _ = runs.read_model(tmp_path / "a" / "model")
    checkpoints = {each.step: each for each in _checkpoints(tmp_path / "a")}
    assert all(torch.equal(value, checkpoints[3].groups["networks"][key]) for key, value in tensors.items())
    assert not all(torch.equal(value, checkpoints[6].groups["networks"][key]) for key, value in tensors.items())


@pytest.mark.parametrize(("first", "second", "kept"), [(9.0, 1.0, 0), (1.0, 9.0, 1)])
def test_what_networks_took_from_the_data_is_measured_before_training_and_kept_if_that_does_not_better_it(
    trained: Any, written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float, second: float, kept: int
) -> None:
    monkeypatch.setattr(Wave, "numbers", iter([first, second, *[0.0] * 6]))
    recipe = RECIPE.replace(
        'use = "resnet", per = "direction", width = 4, blocks = 0', 'use = "begun", per = "direction"'
    )
    trained(written(recipe), tmp_path / "a", plugin=Plugin())
    assert json.loads((tmp_path / "a" / "result.json").read_text())["kept"] == kept
    tensors, _ = runs.read_model(tmp_path / "a" / "model")
    shifts = [float(value) for key, value in tensors.items() if key.endswith("shift")]
    assert len(shifts) == 2 and all((shift == 0.25) == (kept == 0) for shift in shifts)
    begun = json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[0])
    assert begun["step"] == 0 and first in [value for key, value in begun.items() if key.endswith("/wave")]


def test_networks_that_took_nothing_are_not_measured_before_training(
    trained: Any, written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wave, "numbers", iter([9.0, *[0.0] * 6]))
    recipe = RECIPE.replace('"resnet", per = "direction", width = 4, blocks = 0', '"idle", per = "direction"')
    trained(written(recipe), tmp_path / "a", plugin=Plugin())
    assert json.loads((tmp_path / "a" / "result.json").read_text())["kept"] == 1


def _checkpoints(folder: Path) -> list[Any]:
    found = []
    while (checkpoint := runs.newest(folder / "checkpoints")[0]) is not None:
        found.append(checkpoint)
        checkpoint.path.rename(folder / checkpoint.path.name)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [("evaluate.keep_best='waves'", "Did you mean 'wave'"), ("evaluate.every=0", "set evaluate.every")],
)
def test_a_figure_that_cannot_choose_is_told(planned: Any, change: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        planned(RECIPE, Plugin(), (change,))
