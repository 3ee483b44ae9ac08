"""What plugins set for all code of a process, gradients and the default dtype of torch, changes no run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from transgan.api.protocols import MOMENTS

PLUGIN = """
import torch
from transgan.api import Generator, Hooks, Loss, Metric, hookimpl, node
from transgan_standard.generators import ResnetGenerator


def sets():
    CALL


sets()


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


@pytest.mark.parametrize("call", ["torch.set_grad_enabled(False)", "torch.set_default_dtype(torch.float64)"])
def test_what_plugins_set_changes_no_model(
    transgan: Any, recipe: Path, tmp_path: Path, restored: None, call: str
) -> None:
    """Of the kind: any plugin, in any of its methods and at its import; the reference is the run in which none does."""
    moments = "\n    ".join(f"def {each}(self, **given): sets()" for each in MOMENTS)
    models = []
    for name, body in (("plain", "pass"), ("set", call)):
        file = tmp_path / "own.py"
        file.write_text(PLUGIN.replace("CALL", body).replace("MOMENTS", moments))
        sets = [word for each in SETTINGS for word in ("--set", each)]
        done = transgan("run", recipe, "-q", "--plugin", file, "--out", tmp_path / name, *sets)
        assert done.code == 0, done.err
        models.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    plain, other = models
    assert plain.keys() == other.keys()
    assert all(torch.equal(x, other[key]) and x.dtype == other[key].dtype for key, x in plain.items())
