"""Losses for generators that begin as a map, against explicit computation, and in a step of the engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transgan_voice.losses import Modulation, ModulationOptions, modulation_power, smoothed

from transgan.api import Clock, Generator, NetworkSpec, Options, Register, Tensor, UsageError, hookimpl
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.errors import RecipeError
from transgan.plan import Plan
from transgan.rng import CounterRng
from transgan.training.engine import Engine
from transgan.training.trace import trace_run

RECIPE = """
[data]
source = "synthetic_voices"
media = { use = "voice", bands = 16 }
size = 16
[domains]
anna = "low"
bert = "high"
[tasks.voice]
between = ["anna", "bert"]
[train]
steps = 8
[nodes]
use = "voice_translation"
longest_gap = 8
[generators.g]
use = "residual_1d"
width = 4
blocks = 1
start = "transport"
[discriminators.d]
use = "gated_patch"
width = 2
layers = 1
[losses]
lsgan = 1.0
anchor = 1.0
[[stages]]
share = 0.5
phases = [{ side = "discriminator" }]
[[stages]]
share = 0.5
"""


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 4, 7, 50])
def test_changes_are_averaged_with_a_hann_window(frames: int) -> None:
    x = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = smoothed(x, frames)
    if frames < 2:
        assert torch.equal(found, x)
        return
    length = min(frames, 12)
    weights = [np.sin(np.pi * (k + 1) / (length + 1)) ** 2 for k in range(length)]
    for t in range(12):
        places = [(t + k - (length - 1) // 2, w) for k, w in enumerate(weights)]
        inside = [(place, w) for place, w in places if 0 <= place < 12]
        mean = sum(w * x[..., place] for place, w in inside) / sum(w for _, w in inside)
        assert torch.allclose(found[..., t], mean)


def test_the_modulation_spectrum_is_that_of_a_discrete_fourier_transform() -> None:
    x = torch.randn(3, 2, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    window = np.array([np.sin(np.pi * t / 20) ** 2 for t in range(20)])
    expected = np.zeros((2, 11))
    for sample in x.numpy():
        for band, course in enumerate(sample):
            centred = course - (course * window).sum() / window.sum()
            for k in range(11):
                wave = np.exp(-2j * np.pi * k * np.arange(20) / 20)
                expected[band, k] += abs((centred * window * wave).sum()) ** 2 / (window**2).sum() / 3
    octaves = [expected[:, first:last].mean(1) for first, last in ((1, 2), (2, 4), (4, 8), (8, 11))]
    assert np.allclose(modulation_power(x).numpy(), np.stack(octaves, 1))


def test_modulation_compares_with_a_moving_average_of_real_speech() -> None:
    generator = torch.Generator().manual_seed(0)
    real, other, fake = (torch.randn(4, 3, 32, generator=generator, dtype=torch.float64) for _ in range(3))
    loss, buffers = Modulation(ModulationOptions(decay=0.5)), {}
    assert loss.for_generator(real, real, buffers) < 1e-12
    assert loss.for_generator(2 * real, real, {}).item() == pytest.approx(np.log(4))
    assert loss.for_generator(real / 2, real, {}).item() == pytest.approx(np.log(4))
    mean = (modulation_power(real) + modulation_power(other)) / 2
    expected = (modulation_power(fake).log() - mean.log()).abs().mean()
    assert loss.for_generator(fake, other, buffers).item() == pytest.approx(expected.item())


def test_modulation_begins_anew_with_crops_of_another_length() -> None:
    generator = torch.Generator().manual_seed(0)
    short, long = (torch.randn(4, 3, frames, generator=generator, dtype=torch.float64) for frames in (32, 64))
    loss, buffers = Modulation(ModulationOptions()), {}
    loss.for_generator(short, short, buffers)
    assert loss.for_generator(long, long, buffers) < 1e-12  # not mixed with what shorter crops were


def test_a_generator_is_anchored_to_its_start_once_discriminators_were_trained_alone(
    planned: Callable[..., Plan],
) -> None:
    plan = planned(RECIPE)
    engine = Engine(plan)
    generator = torch.Generator().manual_seed(0)
    net: Any = engine.networks["g"].network
    net.maps.copy_(torch.randn(net.maps.shape, generator=generator))
    x = {name: torch.randn(3, 16, 16, generator=generator) for name in ("anna", "bert")}
    sides = {name: Side(x[name], domain_index(plan, name, 3, "cpu")) for name in x}

    def train_step(step: int) -> dict[str, float]:
        clock = Clock(step=step, run=step / 8)
        inputs: dict[Any, Any] = {}
        for t in plan.translations:
            rng = CounterRng((7, t.source), np.zeros(3), np.arange(3) + 3 * step)
            inputs |= assemble_inputs(plan, t, sides[t.source], sides[t.target], rng, clock, training=True)
        return {name: float(value) for name, value in engine.train_step([inputs], clock).items()}

    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not any("loss_G" in name for step in range(4) for name in train_step(step))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        net.last.weight.mul_(100)
        net.last.bias.add_(1.0)
        domain, origin = torch.full((3,), 1), torch.full((3,), 0)
        [t] = [each for each in plan.translations if each.source == "anna"]
        rng = CounterRng((7, "anna"), np.zeros(3), np.arange(3) + 12)
        mask = torch.ones(3, 1, 16)
        for i, (first, second) in enumerate(rng.uniform("gap", 2).tolist()):
            length = int(first * 9)
            start = int(second * (16 - length + 1))
            mask[i, :, start : start + length] = 0.0
        fake = net(x["anna"] * mask, mask=mask, domain=domain, origin=origin)
        expected = (fake - net.maps[0, 0] @ x["anna"] - net.shifts[0, 0]).abs().mean()
    assert train_step(4)[f"{t}/loss_G/anchor"] == pytest.approx(expected.item(), rel=1e-4)
    assert not torch.equal(net.first.weight, before["first.weight"])
    assert torch.equal(net.maps, before["maps"])


@pytest.mark.parametrize("loss", ["cycle_ssim", "face_cycle"])
def test_a_loss_of_pictures_is_refused(planned: Callable[..., Plan], loss: str) -> None:
    with pytest.raises(RecipeError, match=f"losses.{loss}.* is for pictures, which have 2 axes; .* have 1 axis"):
        planned(RECIPE, overrides=(f"losses.{loss}=1.0",))


class Padded(Generator[Options]):
    """Returns layers that are not those of a start."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.network = nn.Conv1d(spec.inputs, spec.channels, 3)

    def forward(self, x: Tensor, layers: list[int] | None = None, origin: Tensor | None = None) -> Any:
        padded = F.pad(x, (1, 1))
        return self.network(padded) if layers is None else [padded]


class PaddedPlugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("padded", Padded)


def test_an_anchor_needs_a_start(planned: Callable[..., Plan]) -> None:
    plan = planned(RECIPE, PaddedPlugin(), ("generators.g={use='padded'}", 'nodes="translation"'))
    with pytest.raises(RecipeError, match="anchor: needs a generator with the option `start`"):
        trace_run(plan)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_the_fewest_frames_with_a_modulation(frames: int) -> None:
    """There is one where some change of a course changes its power; else the loss has no gradient."""
    x = torch.randn(2, 4, frames, generator=torch.Generator().manual_seed(0))
    loss = Modulation(ModulationOptions())
    if frames < 3:
        with pytest.raises(UsageError, match=rf"these have {frames}; set data.size, .* to 3 or more"):
            loss.for_generator(x, x, {})
        assert frames == 1 or not modulation_power(x).any()
        return
    fake = (2 * x).requires_grad_()
    loss.for_generator(fake, x, {}).backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0
