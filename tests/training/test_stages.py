"""Stages: each with a size, batch, losses and learning rates of its own; weights are carried over."""

from pathlib import Path
from typing import Any

from transgan import storage

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 32
[train]
steps = 6
batch = 2
log_every = 1
ema = 0.5
[optimizers]
generator.lr = 1e-3
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, history = 4 }
[losses]
lsgan = 1.0
cycle = { from = 10.0, to = 2.0, between = [0, 4] }
identity = 5.0
[[stages]]
share = 0.5
size = 16
batch = 4
losses = { identity = 0.0 }
[[stages]]
share = 0.5
optimizers = { generator = { lr = 5e-4 } }
"""


def test_each_stage_has_its_own_size_batch_losses_and_learning_rates(
    trained: Any, recipe_file: Any, tmp_path: Path
) -> None:
    saved = trained(recipe_file(RECIPE), tmp_path / "run")
    records = storage.read_metrics(tmp_path / "run" / "metrics.jsonl")
    first, last = (next(each for each in records if each["step"] == step and "epoch" in each) for step in (2, 5))
    assert first["lr/generator"] == 1e-3
    assert last["lr/generator"] == 5e-4
    assert "age: young -> old/loss_G/identity" not in first
    assert "age: young -> old/loss_G/identity" in last
    assert first["weight/cycle"] == 8.0  # of the second step, whose clock is at 1 step
    assert last["weight/cycle"] == 2.0
    assert saved.state["samples"] == 3 * 4 + 3 * 2
    assert {pool.shape[-1] for pool in saved.groups["history"].values()} == {32}
