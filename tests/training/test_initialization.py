"""`train.init_from`: a new run begins with the weights of a model, a run or a checkpoint.

Of the kind: whatever has weights can be started from; what does not fit is said before a folder is made.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from transgan.storage import load, read_model, saved_steps
from transgan.training import start, trainer

FEW = ("--set", "train.steps=2", "--set", "train.checkpoint_every=1", "--set", "evaluate.samples=2", "-q")
STILL = ("--set", "optimizers.generator.lr=0", "--set", "optimizers.discriminator.lr=0", "--set", "train.seed=5")
RECIPE = """
[data]
source = { use = "synthetic_faces", count = 16 }
size = 16
[domains]
young = { age = [15, 35] }
old = { age = [55, 80] }
[tasks]
age = { between = ["young", "old"] }
[train]
steps = 2
ema = 0.5
[generators.resnet]
width = 4
blocks = 1
[discriminators.patch]
width = 4
layers = 1
[losses]
lsgan = 1.0
cycle = 1.0
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def first(recipe: Path, run_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("first") / "run"
    assert run_cli("run", recipe, "--out", folder, *FEW) == 0
    return folder


@pytest.mark.parametrize("place", ["", "model", "checkpoints/step-00000001"])
def test_a_run_begins_with_the_weights_of_another(
    recipe: Path, first: Path, run_cli: Callable[..., int], tmp_path: Path, place: str
) -> None:
    settings = ("--set", f"train.init_from='{first / place}'")
    assert run_cli("run", recipe, "--out", tmp_path / "run", *FEW, *STILL, *settings) == 0
    second = load(tmp_path / "run/checkpoints/step-00000001").groups["networks"]  # after a step at a rate of 0
    checkpoint = load(first / "checkpoints" / (Path(place).name if "step" in place else "step-00000002")).groups
    generators = checkpoint["ema"]
    assert generators and not any(torch.equal(generators[key], checkpoint["networks"][key]) for key in generators)
    for key, tensor in second.items():
        if key in generators:
            assert torch.equal(tensor, generators[key])
        else:  # a discriminator, which checkpoints have and models do not
            assert torch.equal(tensor, checkpoint["networks"][key]) == ("step" in place)
    model, config = read_model(tmp_path / "run/model")
    assert all(torch.equal(model[key], generators[key]) for key in generators)
    assert str(first) not in str(config)
    assert f"weights from {first / place}" in (tmp_path / "run/log.txt").read_text()


def test_a_resumed_run_does_not_begin_anew(
    recipe: Path, first: Path, run_cli: Callable[..., int], tmp_path: Path
) -> None:
    """The folder that it began with may be gone, too."""
    settings = ("--set", f"train.init_from='{tmp_path / 'origin'}'")
    (tmp_path / "origin").symlink_to(first / "model")
    assert run_cli("run", recipe, "--out", tmp_path / "run", *FEW, *settings) == 0
    (tmp_path / "origin").unlink()
    before = load(tmp_path / "run/checkpoints/step-00000002").groups["networks"]
    assert run_cli("resume", tmp_path / "run", "--steps", "3", "-q") == 0
    after = load(tmp_path / "run/checkpoints/step-00000003").groups["networks"]
    assert not all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generators.resnet.width=8",), "the weights of 'resnet' do not fit: "),
        (("train.init_from='nowhere'",), "model nowhere does not exist; expected the folder of a model, a run"),
    ],
)
def test_what_does_not_fit_is_said_before_a_folder_is_made(
    recipe: Path,
    first: Path,
    run_cli: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    words: Any,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [word for each in (f"train.init_from='{first}'", *words) for word in ("--set", each)]
    assert run_cli(command, recipe, *settings) in (2, 3)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_killed_after_its_first_checkpoint_is_not_initialized_again(
    recipe: Path, first: Path, run_cli: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from data nor from other weights: both come before the checkpoint of step 0."""
    calls: list[str] = []

    def counted(module: ModuleType, name: str) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: calls.append(name) or function(*a, **k))

    counted(start, "initial_weights")
    counted(trainer, "init_from_data")
    settings = (*FEW, "--set", f"train.init_from='{first}'", "--set", "guard.action='rollback'")

    def kill_at_zero(run: trainer.Trainer, moment: str, **arguments: Any) -> None:
        if (moment, run.engine.completed) == ("checkpoint_saved", 0):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "call_hook", kill_at_zero)
        assert run_cli("run", recipe, "--out", tmp_path / "run", *settings) == 130
    assert saved_steps(tmp_path / "run/checkpoints") == [0] and sorted(set(calls)) == [
        "init_from_data",
        "initial_weights",
    ]
    calls.clear()
    assert run_cli("resume", tmp_path / "run", "-q") == 0
    assert not calls
