"""Recycle-GAN: predictors see the frames before, losses are those of hand-written loops, the metric a known number."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transgan_video.recycle import NextFrame, PredictorOptions, TemporalCycle

from transgan.api import Clock, NetworkSpec, Options, Translation, UsageError
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.rng import CounterRng

T, SIZE = 4, 16
RECIPE = f"""
data = {{ source = "synthetic_scenes", media = {{ use = "clip", frames = {T} }}, size = {SIZE} }}
domains = {{ a = {{ ground = "light" }}, b = {{ ground = "dark" }} }}
tasks = {{ t = {{ between = ["a", "b"] }} }}
train = {{ steps = 10, batch = 2 }}
nodes = "recycle_translation"
generators = {{ framewise_resnet = {{ per = "translation", width = 4, blocks = 1, norm = "group" }} }}
encoders = {{ predictor = {{ use = "next_frame", per = "domain", width = 4, downs = 2, norm = "none" }} }}
discriminators = {{ framewise_patch = {{ per = "domain", width = 4, layers = 1, norm = "group" }} }}
losses = {{ lsgan = 1.5, recurrent = 7.0, recycle = 10.0, cycle = 3.0 }}
"""


def test_steps_are_those_of_a_loop_over_frames(planned: Any, double_engine: Any, assert_same_weights: Any) -> None:
    """Generators, predictors and discriminators, as the paper's equations read, one frame at a time, in float64."""
    plan = planned(RECIPE)
    engine, copies = double_engine(plan)
    generator = torch.Generator().manual_seed(3)
    steps = [
        {name: torch.rand(2, 3, T, SIZE, SIZE, generator=generator, dtype=torch.float64) * 2 - 1 for name in "ab"}
        for _ in range(3)
    ]
    for number, samples in enumerate(steps):
        clock = Clock(step=number, run=number / 10)
        inputs = {}
        for each in plan.translations:
            rng = CounterRng(7, np.full(2, number), np.arange(2), dtype=torch.float64)
            ends = [Side(samples[name], domain_index(plan, name, 2, "cpu")) for name in (each.source, each.target)]
            inputs |= assemble_inputs(plan, each, *ends, rng, clock, training=True)
        engine.train_step([inputs], clock)
    loop(copies, steps)
    assert_same_weights(engine, copies)


def loop(networks: dict[str, nn.Module], steps: list[dict[str, Tensor]]) -> None:
    sides = {"generator": [], "discriminator": []}
    for name, network in networks.items():
        sides["discriminator" if "patch" in name else "generator"] += list(network.parameters())
    optimizers = {side: torch.optim.Adam(each, 2e-4, (0.5, 0.999)) for side, each in sides.items()}
    directions = {("a", "b"), ("b", "a")}

    def translate(source: str, target: str, frame: Tensor) -> Tensor:
        return networks[f"framewise_resnet.{source}-{target}"](frame)

    def expect(domain: str, before: Tensor, last: Tensor) -> Tensor:
        return networks[f"predictor.{domain}"].network.unet(torch.cat([last, before], 1))

    def logits(domain: str, frame: Tensor) -> Tensor:
        return networks[f"framewise_patch.{domain}"](frame).logits[0]

    def l1(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean()

    for samples in steps:
        frames = {name: list(clip.unbind(2)) for name, clip in samples.items()}
        fakes = {(s, t): [translate(s, t, frame) for frame in frames[s]] for s, t in directions}
        total = torch.zeros((), dtype=torch.float64)
        for source, target in directions:
            x, y = frames[source], fakes[source, target]
            total = total + 1.5 * sum((logits(target, frame) - 1).square().mean() for frame in y) / T
            total = total + 3.0 * sum(l1(translate(target, source, y[t]), x[t]) for t in range(T)) / T
            for t in range(2, T):
                predicted = expect(source, x[t - 2], x[t - 1])
                recycled = translate(target, source, expect(target, y[t - 2], y[t - 1]))
                total = total + (7.0 * l1(predicted, x[t]) + 10.0 * l1(recycled, x[t])) / (T - 2)
        optimizers["generator"].zero_grad()
        total.backward()
        optimizers["generator"].step()
        total = torch.zeros((), dtype=torch.float64)
        for source, target in directions:
            for real, fake in zip(frames[target], fakes[source, target], strict=True):
                of_real = (logits(target, real) - 1).square().mean()
                total = total + 1.5 * 0.5 * (of_real + logits(target, fake.detach()).square().mean()) / T
        optimizers["discriminator"].zero_grad()
        total.backward()
        optimizers["discriminator"].step()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_predicted_frame_depends_on_those_before_it_alone(frames: int) -> None:
    spec = NetworkSpec(3, 3, 0, (5, SIZE, SIZE), ("a", "b"), ("t",))
    network = NextFrame(PredictorOptions(frames=frames, width=4, downs=2), spec).double()
    x = torch.rand(1, 3, 5, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    y = network(x)
    assert y.shape == (1, 3, 5 - frames + 1, SIZE, SIZE)
    for number in range(y.shape[2]):
        (slope,) = torch.autograd.grad(y[:, :, number].square().sum(), x, retain_graph=True)
        seen = slope.abs().amax((0, 1, 3, 4)) > 0
        assert seen.tolist() == [number <= frame < number + frames for frame in range(5)]


def test_samples_have_to_be_clips() -> None:
    with pytest.raises(UsageError, match="'next_frame' takes samples with three axes"):
        NextFrame(PredictorOptions(), NetworkSpec(3, 3, 0, (SIZE, SIZE), ("a", "b"), ("t",)))


def test_temporal_cycle_is_a_mean_over_clips() -> None:
    metric, translation = TemporalCycle(Options()), Translation("t", "a", "b")
    metric.reset()
    source = torch.zeros(3, 3, 4, 2, 2)
    source[:, :, 2] = 0.2
    for rows in (slice(0, 2), slice(2, 3)):
        recycled = torch.full((3, 3, 2, 2, 2), 0.5)[rows]
        metric.update(translation, source[rows], recycled)
    # (|0.5 - 0.2| + |0.5 - 0|) / 2 frames / 2 for the range, and (|0 - 0.2| + |0.2 - 0|) / 2 / 2
    expected = {"temporal_cycle": 0.2, "temporal_cycle_of_still": 0.1}
    assert metric.compute() == {translation: pytest.approx(expected)}


def test_with_residual_output_it_starts_near_the_last_frame() -> None:
    spec = NetworkSpec(3, 3, 0, (4, 16, 16), ("a", "b"), ("one",))
    predictor = NextFrame(PredictorOptions(width=4, downs=2, output="residual"), spec)
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 16, 16) * 2 - 1
    last, first = x[:, :, 1:], x[:, :, :-1]
    y = predictor(x)
    assert (y - last).abs().mean() < 0.1 < 0.3 < (y - first).abs().mean()
