"""Several processes train the same model that one process trains on the same batch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan import storage
from transgan.training.distributed import Processes

# Group norm, because a bias before instance norm has no gradient but rounding, which Adam makes as large as any other.
RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
media = { use = "image", enlarge = 1.2 }
size = 16
[train]
steps = 5
batch = 4
log_every = 1
checkpoint_every = 5
sample_every = 5
[generators]
g = { use = "resnet", per = "direction", width = 4, blocks = 1, norm = "group" }
[discriminators]
d = { use = "patch", width = 4, layers = 1, norm = "group", history = 3 }
[losses]
lsgan = 1.0
cycle = 10.0
identity = 5.0
"""

COLLECTIVES = """
import torch
from torch import nn
from transgan.training.distributed import Processes

p = Processes()
assert p.world == 2 and p.main == (p.rank == 0)
both, one, none = (nn.Parameter(torch.zeros(2, 3, dtype=torch.float64)) for _ in range(3))
both.grad = torch.full((2, 3), p.rank + 1.0, dtype=torch.float64)
if p.rank:
    one.grad = torch.arange(6, dtype=torch.float64).view(2, 3)
p.average_gradients([both, none, one], torch.zeros(()))
assert torch.equal(both.grad, torch.full((2, 3), 1.5, dtype=torch.float64)), both.grad
assert torch.equal(one.grad, torch.arange(6, dtype=torch.float64).view(2, 3) / 2), one.grad
assert none.grad is None
assert p.gather(torch.full((2, 1), float(p.rank))).flatten().tolist() == [0, 0, 1, 1]
assert p.mean({"a": torch.tensor(p.rank * 2.0), "b": torch.tensor(3.0)}) == {"a": 1.0, "b": 3.0}
assert p.broadcast({"from": p.rank}) == {"from": 0}
assert p.largest(130 if p.rank else 0) == 130
assert p.all_equal(torch.ones(3)) and not p.all_equal(torch.tensor(float(p.rank)))
p.end()
"""


@pytest.fixture
def recipe(recipe_file: Callable[[str], Path]) -> Path:
    return recipe_file(RECIPE)


def records(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in each.items() if k != "time"} for each in storage.read_metrics(folder / "metrics.jsonl")]


def test_two_processes_train_the_model_that_one_trains(
    start_processes: Any, trained: Any, recipe: Path, assert_same_state: Any, tmp_path: Path
) -> None:
    codes = start_processes(2, "-m", "transgan", "run", recipe, "--out", tmp_path / "two")
    assert [code for code, _ in codes] == [0, 0], codes
    assert json.loads((tmp_path / "two" / "env.json").read_text())["processes"] == 2
    one = trained(recipe, tmp_path / "one")
    two = storage.load(tmp_path / "two" / "checkpoints" / "step-00000005")
    assert_same_state(one, two, networks=1e-6, history=1e-5)
    our_norms, their_norms = (each.state["guardian"].pop("norms") for each in (one, two))
    assert one.state == two.state
    assert our_norms.keys() == their_norms.keys()
    for network, norms in our_norms.items():  # sums of fp32 gradients, which depend on the order of their terms
        assert their_norms[network] == pytest.approx(norms, rel=5e-5)
    ours, theirs = records(tmp_path / "one"), records(tmp_path / "two")
    assert [each["step"] for each in theirs] == [1, 2, 3, 4, 5]
    for first, second in zip(ours, theirs, strict=True):
        assert first.keys() == second.keys()
        assert second == pytest.approx(first, abs=1e-5)


def test_accelerate_launch_starts_the_requested_number_of_processes(
    trained: Any, recipe: Path, assert_same_state: Any, tmp_path: Path
) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)}
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2"]
    command = [*launch, "-m", "transgan", "run", recipe, "-q", "--out", tmp_path / "two"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "two" / "env.json").read_text())["processes"] == 2
    two = storage.load(tmp_path / "two" / "checkpoints" / "step-00000005")
    assert_same_state(trained(recipe, tmp_path / "one"), two, networks=1e-6)


def test_a_batch_that_cannot_be_divided_is_refused_in_one_line(
    start_processes: Any, recipe: Path, tmp_path: Path
) -> None:
    arguments = ("-m", "transgan", "run", recipe, "--set", "train.batch=3", "--out", tmp_path / "out", "-q")
    line = (
        "error: a batch of 3 cannot be divided by 2 processes with 1 micro-batches each; "
        "set train.batch to a multiple of 2\n"
    )
    assert start_processes(2, *arguments) == [(2, line), (2, "")]  # the main process prints what all have found


def test_collective_operations_of_two_processes(start_processes: Any) -> None:
    assert start_processes(2, "-c", COLLECTIVES) == [(0, ""), (0, "")]


def test_a_single_process_copies_and_changes_nothing() -> None:
    processes = Processes()
    x = torch.randn(3, 2)
    assert processes.gather(x) is x
    assert processes.broadcast("this") == "this"
    assert processes.largest(143) == 143
    assert processes.mean({}) == {}
    assert processes.all_equal(x)
    parameter = torch.nn.Parameter(torch.zeros(2))
    gradient = parameter.grad = torch.ones(2)
    processes.average_gradients([parameter], torch.zeros(()))
    assert parameter.grad is gradient


def test_averaged_gradients_have_the_memory_format_of_their_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    monkeypatch.setattr(processes, "world", 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat: flat.mul_(2))  # the other one has the same
    values = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    parameter = torch.nn.Parameter(torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last))
    parameter.grad = values.clone()
    processes.average_gradients([parameter], torch.zeros(()))
    assert torch.equal(parameter.grad, values) and parameter.grad.stride() == parameter.stride() != values.stride()
