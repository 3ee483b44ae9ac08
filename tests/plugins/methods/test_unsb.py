"""UNSB: parity with a loop after the authors' code, its moments, and its passes at use."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_methods.unsb import UnsbNodes, UnsbOptions, moments

from transgan.api import Clock, UsageError
from transgan.rng import CounterRng

UNSB = """
train = { steps = 4, batch = 4 }
[tasks.age]
from = "young"
to = "old"
[nodes]
use = "unsb_translation"
steps = 3
tau = 0.2
numbers = 2
[conditionings.time]
width = 3
[conditionings.code]
use = "embedding"
of = "code"
numbers = 2
[generators.g]
use = "resnet"
width = 4
blocks = 1
[discriminators.d]
use = "patch"
conditionings = []
given = "moment_planes"
width = 4
layers = 1
[discriminators.e]
use = "pair_energy"
conditionings = []
real = "own_pair"
fake = "crossed_pair"
width = 4
layers = 1
[losses]
lsgan = { weight = 1.0, discriminators = ["d"] }
bridge_entropy = { weight = 0.3, discriminators = ["e"] }
bridge_transport = 0.3
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
"""
TIMES = [0.0, 0.5, 0.5 + 0.5 / 1.5, 1.0]


def loop(by: Any, nets: Mapping[str, Any], steps: list[Mapping[Any, Tensor]]) -> None:
    """`SBModel.forward`, `compute_D_loss`, `compute_E_loss` and `compute_G_loss`, with lambda_SB = 1.5, tau = 0.2.

    The moment is each sample's own; the authors train with batches of one.
    """
    g, d, e = nets["g"], nets["d.old"], nets["e.old"]
    optimizers = [by.adam(each) for each in (g, d, e)]
    for step, samples in enumerate(steps):
        young, old = samples["age", "young"], samples["age", "old"]
        rng = CounterRng(7, np.full(4, step), np.arange(4), dtype=torch.float64)
        index = (rng.uniform("moment") * 3).long()

        def code(purpose: str, step: int = step) -> Tensor:
            return by.normal(step, f"latents|code {purpose}", 2)  # type: ignore[no-any-return]

        def walk(x: Tensor, name: str, index: Tensor = index, step: int = step, code: Any = code) -> Tensor:
            rows = []
            for row in range(4):
                xt = x[row : row + 1]
                for t in range(int(index[row])):
                    with torch.no_grad():
                        end = g(xt, time=torch.tensor([t]) / 3, code=code(f"{name} {t}")[row : row + 1])
                    delta, denom = TIMES[t + 1] - TIMES[t], 1 - TIMES[t]
                    inter, scale = delta / denom, delta * (1 - delta / denom)
                    noise = by.normal(step, f"latents|noise {name} {t}", 3, 16, 16)[row : row + 1]
                    xt = (1 - inter) * xt + inter * end + (scale * 0.2) ** 0.5 * noise
                rows.append(xt)
            return torch.cat(rows)

        other = samples["age", "other young"]
        xt, xt2 = walk(young, "source"), walk(other, "other")
        fake = g(xt, time=index / 3, code=code("source end"))
        fake2 = g(xt2, time=index / 3, code=code("other end"))
        plane = (index / 3).view(4, 1, 1, 1).expand(4, 1, 16, 16)
        planes = plane.expand(4, 3, 16, 16)

        def energies(x1: Tensor, x2: Tensor, xt: Tensor = xt, xt2: Tensor = xt2, plane: Tensor = plane) -> Any:
            own = e(torch.cat([plane, xt, x1, xt, x1], 1)).logits[0]
            return own, e(torch.cat([plane, xt, x1, xt2, x2], 1)).logits[0].reshape(-1).logsumexp(0)

        on_fake, on_real = (d(torch.cat([planes, x], 1)).logits[0] for x in (fake.detach(), old))
        by.update(optimizers[1], 0.5 * (by.square(on_fake, 0) + by.square(on_real, 1)))
        own, temp = energies(fake.detach(), fake2.detach())
        by.update(optimizers[2], 0.3 * (-own.mean() + temp + temp**2))
        own, temp = energies(fake, fake2)
        entropy = -((3 - index) / 3 * (own.mean((1, 2, 3)) - temp)).mean()
        adversarial = by.square(d(torch.cat([planes, fake], 1)).logits[0], 1)
        by.update(optimizers[0], adversarial + 1.5 * 0.2 * (entropy + F.mse_loss(xt, fake)))


def test_unsb_matches_the_authors_loop(
    planned: Any,
    double_engine: Any,
    random_samples: Any,
    micro_batches: Any,
    assert_same_weights: Any,
    by_hand: Any,
) -> None:
    plan = planned(UNSB)
    engine, copies = double_engine(plan)
    start = {name: [p.detach().clone() for p in each.parameters()] for name, each in copies.items()}
    batches = [random_samples(plan, step) for step in range(3)]
    for step, samples in enumerate(batches):
        samples["age", "other young"] = random_samples(plan, 100 + step)["age", "young"]
        clock = Clock(step=step, run=step / 4)
        (inputs,) = micro_batches(plan, samples, 1, clock)
        inputs[plan.translations[0], "other_source"] = samples["age", "other young"]
        engine.train_step([inputs], clock)
    loop(by_hand, copies, batches)
    for name, network in engine.networks.items():
        assert any((p - q).abs().max() > 1e-4 for p, q in zip(network.parameters(), start[name], strict=True)), name
    assert_same_weights(engine, copies)


@pytest.mark.parametrize("steps", [2, 5, 8])
def test_moments_are_those_of_the_authors(steps: int) -> None:
    times = np.cumsum(np.array([0] + [1 / (i + 1) for i in range(steps - 1)]))
    times = times / times[-1]
    times = np.concatenate([np.zeros(1), 0.5 * times[-1] + 0.5 * times])
    assert moments(steps) == pytest.approx(times.tolist())


def test_a_single_step_is_a_plain_translation() -> None:
    assert moments(1) == [0.0, 1.0]


@pytest.mark.parametrize("passes", [None, 1, 2, 3])
def test_a_translation_takes_the_passes_that_are_asked_for(planned: Any, passes: int | None) -> None:
    """Without noise, and with a generator that adds 1: of each step the share of the way that lies in it."""
    nodes = UnsbNodes(UnsbOptions(steps=3, tau=0.0, numbers=2))
    rng = CounterRng(0, np.zeros(2), np.arange(2))
    task, x, count = torch.zeros(2, dtype=torch.long), torch.zeros(2, 1, 4, 4), 1
    to = nodes.to_target(task, task, {}, rng)
    moment = nodes.moment(task, False, passes, rng)
    calls, result = nodes.noisy(x, to, moment, rng), None
    try:
        while True:
            call = calls.send(result)
            assert torch.equal(call.conditions["time"], torch.full((2,), (count - 1) / 3))
            count, result = count + 1, call.x + 1
    except StopIteration as stop:
        end = nodes.fake(stop.value, to, moment, rng).x + 1
    assert count == (passes or 3)
    shares = [(TIMES[i + 1] - TIMES[i]) / (1 - TIMES[i]) for i in range(count - 1)]
    assert torch.allclose(end, torch.tensor(1.0 + sum(shares)))


def test_more_passes_than_moments_are_an_error() -> None:
    nodes = UnsbNodes(UnsbOptions(steps=3))
    with pytest.raises(UsageError, match="trained with 3 steps; expected 1 to 3"):
        nodes.moment(torch.zeros(1, dtype=torch.long), False, 4, CounterRng(0, np.zeros(1), np.arange(1)))
