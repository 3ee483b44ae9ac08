"""What plugins set for all code of a process changes no run: gradients, the default dtype, the working folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from transgan.api.protocols import MOMENTS

PLUGIN = """
import os

import torch
from transgan.api import Generator, Hooks, Loss, Metric, hookimpl, node
from transgan_standard.generators import ResnetGenerator


def sets():
    CALL


AT_IMPORT


class Watches(Hooks):
    MOMENTS


class OwnGenerator(ResnetGenerator):
    def __init__(self, options, spec):
        super().__init__(options, spec)
        sets()

    def after_step(self):
        sets()


class OwnLoss(Loss):
    def __init__(self, options):
        super().__init__(options)
        sets()

    @node
    def brightness(self, fake):
        found = fake.mean()
        sets()
        return found

    def for_generator(self, brightness):
        found = brightness**2
        sets()
        return found


class OwnMetric(Metric):
    def prepare(self, domains, tasks, seed):
        sets()

    def reset(self):
        sets()

    def update(self, translation):
        self.translation = translation
        sets()

    def compute(self):
        sets()
        return {self.translation: {"one": 1.0}}

    def protocol(self):
        sets()
        return {"one": "always 1"}


@hookimpl
def register_hooks(register):
    register("watches", Watches)


@hookimpl
def register_generators(register):
    register("own", OwnGenerator)


@hookimpl
def register_losses(register):
    register("own", OwnLoss)


@hookimpl
def register_metrics(register):
    register("own", OwnMetric)
"""
SETTINGS = ["hooks.watches=true", "generators.face.use=own", "losses.own=1", "metrics.own=true", "evaluate.every=1"]


@pytest.fixture
def restored() -> Any:
    """Restore what a plugin sets at its import, which nothing else does."""
    yield
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("call", "at_import"),
    [
        ("torch.set_grad_enabled(False)", True),
        ("torch.set_default_dtype(torch.float64)", True),
        ("os.chdir(os.sep)", False),  # there, it would move what the command line names
    ],
)
def test_what_plugins_set_changes_no_model(
    transgan: Any, recipe: Path, tmp_path: Path, restored: None, call: str, at_import: bool
) -> None:
    """Of the kind: any plugin, in any of its methods and at its import; the reference is the run in which none does."""
    moments = "\n    ".join(f"def {each}(self, **given): sets()" for each in MOMENTS)
    models = []
    for name, body in (("plain", "pass"), ("set", call)):
        file = tmp_path / "own.py"
        first = "sets()" if at_import else ""
        file.write_text(PLUGIN.replace("CALL", body).replace("MOMENTS", moments).replace("AT_IMPORT", first))
        sets = [word for each in SETTINGS for word in ("--set", each)]
        done = transgan("run", recipe, "-q", "--plugin", file, "--out", name, *sets)
        assert done.code == 0, done.err
        models.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    plain, other = models
    assert plain.keys() == other.keys()
    assert all(torch.equal(x, other[key]) and x.dtype == other[key].dtype for key, x in plain.items())


EMPTIES = """
from transgan.api import Hooks, hookimpl


class Empties(Hooks):
    def step_finished(self, run):
        run.losses.clear()

    def evaluated(self, run):
        for figures in run.figures.values():
            figures.clear()


@hookimpl
def register_hooks(register):
    register("empties", Empties)
"""


def test_hooks_get_copies_of_losses_and_figures(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "empties.py").write_text(EMPTIES)
    sets = ["--set", "hooks.empties=true", "--set", "train.log_every=1"]
    done = transgan("run", recipe, "-q", "--plugin", "empties.py", "--out", "run", *sets)
    assert done.code == 0 and not done.err, done.err
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if any("/loss_G/" in name for name in record)] == [1, 2]
    figures = json.loads((tmp_path / "run" / "result.json").read_text())["translations"]
    assert all("cycle_error" in each for each in figures.values()) and figures
