"""The recipes `cyclegan_better` and `wgan_gp` train, small and on synthetic faces, and trace at full size."""

from pathlib import Path
from typing import Any

import pytest

from transgan import storage
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.training.trace import trace_phases

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = (
    'data.source={use="synthetic_faces", count=24}',
    "domains={horse={age=[20, 30]}, zebra={age=[50, 60]}}",
    "data.size=24",
    "train.batch=2",
    "train.steps=10",
    "train.log_every=1",
    "generators.resnet.width=4",
    "generators.resnet.blocks=1",
    "discriminators.patch.width=4",
    "discriminators.patch.layers=1",
    "metrics={cycle_error=true}",
)


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        ("cyclegan_better", {"loss_G/lsgan", "loss_G/cycle", "loss_G/identity", "loss_D/lsgan"}),
        ("wgan_gp", {"loss_G/wasserstein", "loss_G/cycle", "loss_D/wasserstein", "loss_D/gradient_penalty"}),
    ],
)
def test_they_train_by_their_losses(trained: Any, tmp_path: Path, name: str, losses: set[str]) -> None:
    checkpoint = trained(RECIPES / f"{name}.toml", tmp_path / "run", *SMALL)
    assert checkpoint.step == 10
    records = [each for each in storage.read_metrics(tmp_path / "run" / "metrics.jsonl") if "lr/generator" in each]
    sides = ("/loss_G/", "/loss_D/")
    found = [{key.partition("/")[2] for key in each if any(side in key for side in sides)} for each in records]
    assert found[-1] == losses
    trained_generator = [bool(each & {"loss_G/cycle"}) for each in found]
    assert trained_generator == ([True] * 10 if name == "cyclegan_better" else [step % 5 == 0 for step in range(1, 11)])


@pytest.mark.parametrize("name", ["cyclegan_better", "wgan_gp"])
def test_at_full_size_they_are_traced_on_the_meta_device(registry: Registry, name: str) -> None:
    plan = make_plan(read_recipe(RECIPES / f"{name}.toml"), registry)
    traces = {trace.side: trace for trace in trace_phases(plan, plan.stages[0])}
    passes = [each.network for each in traces["generator"].passes]
    assert sorted(passes) == ["patch.horse", "patch.zebra"]
    assert traces["discriminator"].losses == (
        ["lsgan"] if name == "cyclegan_better" else ["wasserstein", "gradient_penalty"]
    )
