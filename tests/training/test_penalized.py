"""Gradient penalties in the engine: compared with a loop, in fp32, in several processes; and where they are refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transgan import storage
from transgan.api import Clock
from transgan.errors import RecipeError
from transgan.plan import Plan
from transgan.rng import CounterRng

Samples = Mapping[Any, Tensor]

RECIPE = """
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


def test_a_penalized_critic_conditioned_on_the_domain_matches_a_loop(
    assert_matches_loop: Callable[..., Plan],
) -> None:
    def loop(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        numbers = {"young": 0, "old": 1}

        def conditioned(name: str, domain: str) -> Any:
            def run(x: Tensor) -> Any:
                return nets[name].network(x, nets[name].conditionings[0].table.weight[numbers[domain]].expand(4, -1))

            return run

        optimizers = {name: torch.optim.Adam(nets[name].parameters(), 2e-4, (0.5, 0.999)) for name in ("g", "d")}
        for number, samples in enumerate(steps):
            losses = {"g": torch.zeros(()), "d": torch.zeros(())}
            rng = CounterRng(7, np.full(4, number), np.arange(4), dtype=torch.float64)
            for one, two in (("young", "old"), ("old", "young")):
                source, target = samples["age", one], samples["age", two]
                fake = conditioned("g", two)(source)
                critic = conditioned("d", two)
                losses["d"] = losses["d"] + critic(fake.detach()).logits[0].mean() - critic(target).logits[0].mean()
                purpose = f"gradient_penalty/age: {one} -> {two}/d|0|between"
                share = rng.uniform(purpose)[:, None, None, None]
                x = (share * target + (1 - share) * fake.detach()).requires_grad_()
                logits = critic(x).logits[0].mean((1, 2, 3))
                (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
                losses["d"] = losses["d"] + 10 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()
            optimizers["d"].zero_grad()
            losses["d"].backward()
            optimizers["d"].step()
            if number % 2 == 0:
                continue
            for one, two in (("young", "old"), ("old", "young")):
                source = samples["age", one]
                fake = conditioned("g", two)(source)
                losses["g"] = losses["g"] - conditioned("d", two)(fake).logits[0].mean()
                losses["g"] = losses["g"] + 10 * F.l1_loss(conditioned("g", one)(fake), source)
            optimizers["g"].zero_grad()
            losses["g"].backward()
            optimizers["g"].step()

    assert_matches_loop(RECIPE, loop, (), 4)


def test_under_bf16_the_penalty_is_computed_in_fp32(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    plan = planned(RECIPE, overrides=('train.precision="bf16"',))
    engine, _ = double_engine(plan)
    for network in engine.networks.values():
        network.float()
    dtypes: list[torch.dtype] = []
    engine.networks["d"].network.scales[0].last.register_forward_hook(
        lambda module, inputs, output: dtypes.append(output.dtype)
    )
    doubles = random_samples(plan, 0)
    samples = {key: value.float() if value.is_floating_point() else value for key, value in doubles.items()}
    losses = engine.train_step(micro_batches(plan, samples, 1, Clock()), Clock())
    assert set(dtypes) == {torch.bfloat16, torch.float32}
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(name.endswith("loss_D/gradient_penalty") for name in losses)


MORE = ("losses={vanilla={smooth=0.1}, gradient_penalty={weight=10.0, form='one-sided'}, r1={weight=1.0, every=2}, "
        "lecam={weight=0.3}, cycle={weight=10.0, features=0.5, quality=true}}")  # fmt: skip


def test_two_processes_penalize_as_one(
    start_processes: Any, trained: Any, recipe_file: Any, assert_same_state: Any, tmp_path: Path
) -> None:
    recipe = recipe_file(RECIPE)
    one = trained(recipe, tmp_path / "one", MORE)
    codes = start_processes(2, "-m", "transgan", "run", recipe, "--set", MORE, "--out", tmp_path / "two", "-q")
    assert [code for code, _ in codes] == [0, 0], codes
    two = storage.load(tmp_path / "two" / "checkpoints" / "step-00000004")
    assert sorted(name for name in one.groups["loss_buffers"] if name.startswith("lecam/")) == [
        f"lecam/age: {direction}/d|{kind}"
        for direction in ("old -> young", "young -> old")
        for kind in ("fake", "real")
    ]
    assert_same_state(one, two, networks=2e-6, loss_buffers=1e-6)


@pytest.mark.parametrize("loss", ["gradient_penalty", "r1"])
def test_a_critic_with_batch_norm_is_refused_and_one_with_instance_norm_is_not(planned: Any, loss: str) -> None:
    losses = f"losses={{wasserstein=1.0, cycle=1.0, {loss}=10.0}}"
    with pytest.raises(RecipeError) as caught:
        planned(RECIPE, overrides=(losses, 'discriminators.d.norm="batch"'))
    assert f"[losses.{loss}]" in str(caught.value) or "overrides" in str(caught.value)
    assert "the batch norm of 'd' makes the output for one sample depend on the others" in str(caught.value)
    for norm in ("instance", "group", "none"):
        planned(RECIPE, overrides=(losses, f'discriminators.d.norm="{norm}"'))
