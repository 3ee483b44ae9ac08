"""The recipes of better cycles and of WGAN-GP take real steps, small and on drawn faces."""

from pathlib import Path
from typing import Any

import pytest

from transgan.dry_run import play
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry

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
        ("cyclegan_better", {"generator/lsgan", "generator/cycle", "generator/identity", "discriminator/lsgan"}),
        (
            "wgan_gp",
            {"generator/wasserstein", "generator/cycle", "discriminator/wasserstein", "discriminator/gradient_penalty"},
        ),
    ],
)
def test_they_take_steps(trained: Any, tmp_path: Path, name: str, losses: set[str]) -> None:
    checkpoint = trained(RECIPES / f"{name}.toml", tmp_path / "run", *SMALL)
    assert checkpoint.step == 10
    records = [each for each in runs.read_metrics(tmp_path / "run" / "metrics.jsonl") if "lr/generator" in each]
    sides = ("/generator/", "/discriminator/")
    found = [{key.partition("/")[2] for key in each if any(side in key for side in sides)} for each in records]
    assert found[-1] == losses
    moved = [bool(each & {"generator/cycle"}) for each in found]
    assert moved == ([True] * 10 if name == "cyclegan_better" else [step % 5 == 0 for step in range(1, 11)])


@pytest.mark.parametrize("name", ["cyclegan_better", "wgan_gp"])
def test_at_full_size_they_can_be_played_on_paper(registry: Registry, name: str) -> None:
    plan = make_plan(read_recipe(RECIPES / f"{name}.toml"), registry)
    traces = {act.side: act for act in play(plan, plan.stages[0])}
    passes = [each.network for each in traces["generator"].passes]
    assert sorted(passes) == ["patch.horse", "patch.zebra"]
    assert traces["discriminator"].losses == (
        ["lsgan"] if name == "cyclegan_better" else ["wasserstein", "gradient_penalty"]
    )
