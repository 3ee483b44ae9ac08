"""Penalised critics in the engine: as by hand, in fp32, on several processes; and those that cannot be penalised."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transgan.api import Clock
from transgan.errors import RecipeError
from transgan.plan import Plan
from transgan.rng import CounterRng

Drawn = Mapping[Any, Tensor]

METRIC_ARGUMENTS = """
[train]
steps = 4
batch = 4
log_every = 1
checkpoint_every = 4
sample_every = 4
[conditionings]
domain = { use = "embedding", width = 3 }
[generators]
g = { use = "resnet", per = "run", width = 4, blocks = 1, norm = "group" }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["domain"], norm = "none", width = 4, layers = 1 }
[losses]
wasserstein = 1.0
gradient_penalty = 10.0
cycle = 10.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
every = 2
"""


def test_a_critic_that_is_told_the_domain_takes_the_steps_that_it_takes_by_hand(
    matched: Callable[..., Plan],
) -> None:
    def train(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        numbers = {"young": 0, "old": 1}

        def told(name: str, domain: str) -> Any:
            def ask(x: Tensor) -> Any:
                return nets[name].network(x, nets[name].conditionings[0].table.weight[numbers[domain]].expand(4, -1))

            return ask

        optimizers = {name: torch.optim.Adam(nets[name].parameters(), 2e-4, (0.5, 0.999)) for name in ("g", "d")}
        for number, drawn in enumerate(steps):
            losses = {"g": torch.zeros(()), "d": torch.zeros(())}
            chance = CounterRng(7, np.full(4, number), np.arange(4), dtype=torch.float64)
            for one, two in (("young", "old"), ("old", "young")):
                source, target = drawn["age", one], drawn["age", two]
                fake = told("g", two)(source)
                critic = told("d", two)
                losses["d"] = losses["d"] + critic(fake.detach()).logits[0].mean() - critic(target).logits[0].mean()
                own = f"gradient_penalty/age: {one} -> {two}/d|0|between"
                share = chance.uniform(own)[:, None, None, None]
                x = (share * target + (1 - share) * fake.detach()).requires_grad_()
                said = critic(x).logits[0].mean((1, 2, 3))
                (slope,) = torch.autograd.grad(said.sum(), x, create_graph=True)
                losses["d"] = losses["d"] + 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
            optimizers["d"].zero_grad()
            losses["d"].backward()  # type: ignore[no-untyped-call]
            optimizers["d"].step()
            if number % 2 == 0:
                continue
            for one, two in (("young", "old"), ("old", "young")):
                source = drawn["age", one]
                fake = told("g", two)(source)
                losses["g"] = losses["g"] - told("d", two)(fake).logits[0].mean()
                losses["g"] = losses["g"] + 10 * F.l1_loss(told("g", one)(fake), source)
            optimizers["g"].zero_grad()
            losses["g"].backward()  # type: ignore[no-untyped-call]
            optimizers["g"].step()

    matched(METRIC_ARGUMENTS, train, (), 4)


def test_under_bf16_the_penalty_is_taken_in_fp32(planned: Any, in_double: Any, drawn: Any, in_parts: Any) -> None:
    plan = planned(METRIC_ARGUMENTS, overrides=('train.precision="bf16"',))
    engine, _ = in_double(plan)
    for network in engine.networks.networks.values():
        network.float()
    kinds: list[torch.dtype] = []
    engine.networks.networks["d"].network.discriminators[0].last.register_forward_hook(
        lambda module, given, made: kinds.append(made.dtype)
    )
    samples = {key: value.float() if value.is_floating_point() else value for key, value in drawn(plan, 0).items()}
    losses = engine.play(in_parts(plan, samples, 1, Clock()), Clock())
    assert set(kinds) == {torch.bfloat16, torch.float32}
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(name.endswith("discriminator/gradient_penalty") for name in losses)


MORE = ("losses={vanilla={smooth=0.1}, gradient_penalty={weight=10.0, form='one-sided'}, r1={weight=1.0, every=2}, "
        "lecam={weight=0.3}, cycle={weight=10.0, features=0.5, quality=true}}")  # fmt: skip


def test_two_processes_penalise_as_one(started: Any, trained: Any, written: Any, agree: Any, tmp_path: Path) -> None:
    recipe = written(METRIC_ARGUMENTS)
    one = trained(recipe, tmp_path / "one", MORE)
    codes = started(2, "-m", "transgan", "run", recipe, "--set", MORE, "--out", tmp_path / "two", "-q")
    assert [code for code, _ in codes] == [0, 0], codes
    two = runs.load(tmp_path / "two" / "checkpoints" / "step-00000004")
    assert sorted(one.groups["memory"]) == [
        f"lecam/age: {way}/d|{kind}" for way in ("old -> young", "young -> old") for kind in ("fake", "real")
    ]
    agree(one, two, networks=2e-6, memory=1e-6)


@pytest.mark.parametrize("loss", ["gradient_penalty", "r1"])
def test_a_critic_with_batch_norm_is_refused_and_one_with_instance_norm_is_not(planned: Any, loss: str) -> None:
    losses = f"losses={{wasserstein=1.0, cycle=1.0, {loss}=10.0}}"
    with pytest.raises(RecipeError) as caught:
        planned(METRIC_ARGUMENTS, overrides=(losses, 'discriminators.d.norm="batch"'))
    assert f"[losses.{loss}]" in str(caught.value) or "--set" in str(caught.value)
    assert "batch norm makes what it says of one sample depend on the others" in str(caught.value)
    for norm in ("instance", "group", "none"):
        planned(METRIC_ARGUMENTS, overrides=(losses, f'discriminators.d.norm="{norm}"'))
