"""Flow matching: parity with a hand-written loop, couplings beside closed forms, solvers beside known solutions."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_methods.flow import FlowNodes, FlowOptions, entropic, transport
from transgan_methods.time import TimeConditioning, TimeOptions

from transgan import Translator
from transgan.api import Call, NetworkSpec, PluginError, UsageError
from transgan.rng import CounterRng

FLOW = """
train = { steps = 4, batch = 4 }
[tasks.age]
from = "young"
to = "old"
[nodes]
use = "flow_translation"
sigma = 0.1
[conditionings.time]
width = 8
[generators.g]
use = "resnet"
width = 4
blocks = 1
output = "linear"
[losses]
flow_matching = 2.0
"""


def loop(by: Any, nets: Mapping[str, Any], steps: list[Mapping[Any, Tensor]]) -> None:
    """Algorithm 2 of Tong et al. (2024), with independent pairs."""
    optimizer = by.adam(nets["g"])
    for step, samples in enumerate(steps):
        young, old = samples["age", "young"], samples["age", "old"]
        rng = CounterRng(7, np.full(4, step), np.arange(4), dtype=torch.float64)
        time = rng.uniform("time")
        t = time[:, None, None, None]
        x = (1 - t) * young + t * old + 0.1 * rng.normal("flow", 3, 16, 16)
        by.update(optimizer, 2 * ((nets["g"](x, time=time) - (old - young)) ** 2).mean())


def test_training_matches_a_loop(trains_like: Any) -> None:
    trains_like(FLOW, loop, ())


def test_a_recipe_without_discriminators_is_a_plan(planned: Any) -> None:
    plan = planned(FLOW)
    assert list(plan.networks) == ["g"] and not any(plan.discriminators.values())
    assert plan.varies_by("passes") and plan.varies_by("strength") and not plan.varies_by("latents")


def points(seed: int, count: int, covariance: Tensor, mean: Tensor) -> Tensor:
    """Return points whose mean and covariance are exactly these, (N, 2)."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / count)).T
    return x @ torch.linalg.cholesky(covariance).T + mean


def test_the_transport_of_an_affine_map_is_that_map() -> None:
    """Brenier: the gradient of a convex function is optimal, here x -> A x + b with A positive definite.

    Its cost is the closed form between Gaussians of these moments (Peyre & Cuturi, 2019, remark 2.31): the squared
    distance of the means plus the squared Bures distance of the covariances.
    """
    first = torch.tensor([[0.9, 0.3], [0.3, 0.5]], dtype=torch.float64)
    a, b = torch.tensor([[0.6, -0.2], [-0.2, 1.4]], dtype=torch.float64), torch.tensor([0.7, -0.4], dtype=torch.float64)
    x = points(0, 300, first, torch.zeros(2, dtype=torch.float64))
    y = (x @ a + b)[(shuffled := torch.randperm(300, generator=torch.Generator().manual_seed(1)))]
    found = transport(x[..., None, None], y[..., None, None])
    assert torch.equal(shuffled[found], torch.arange(300))

    def root(m: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(m)
        return vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T

    second = a @ first @ a
    bures = first.trace() + second.trace() - 2 * root(root(first) @ second @ root(first)).trace()
    assert float((x - y[found]).square().sum(1).mean()) == pytest.approx(float(b @ b + bures), rel=1e-9)


def test_on_a_line_the_transport_keeps_the_order() -> None:
    x, y = torch.randn(2, 50, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    found = transport(x, y).numpy()
    assert np.array_equal(np.argsort(x.flatten().numpy()), np.argsort(y.flatten().numpy()[found]))


def test_transport_needs_as_many_targets() -> None:
    with pytest.raises(UsageError, match="these are 3 and 2"):
        transport(torch.zeros(3, 1), torch.zeros(2, 1))


def test_the_entropic_plan_goes_from_the_exact_one_to_independence() -> None:
    pytest.importorskip("ot")
    generator = torch.Generator().manual_seed(0)
    x = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
    y = (x + 0.05 * torch.randn(25, 2, generator=generator))[torch.randperm(25, generator=generator)]
    uniform = torch.rand(25, generator=generator)
    assert torch.equal(entropic(x, y, 0.01, uniform), transport(x, y))
    assert torch.equal(entropic(x, y, 1e4, uniform), (uniform.double() * 25).long())


def test_without_pot_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(PluginError, match=r'nodes.coupling = "entropic" needs ot.*pip install "transgan\[transport\]"'):
        entropic(torch.zeros(2, 1), torch.zeros(2, 1), 0.1, torch.zeros(2))


def test_coupled_targets_are_those_of_the_batch(planned: Any) -> None:
    x = torch.arange(4.0).view(4, 1, 1, 1)
    y = torch.tensor([3.0, 1.0, 0.0, 2.0]).view(4, 1, 1, 1)
    rng = CounterRng(0, np.zeros(4), np.arange(4))
    assert torch.equal(FlowNodes(FlowOptions(coupling="transport")).coupled_target(x, y, rng), x)
    assert FlowNodes(FlowOptions()).coupled_target(x, y, rng) is y
    with pytest.raises(UsageError, match='expected equal shapes, or "independent"'):
        FlowNodes(FlowOptions(coupling="transport")).coupled_target(x, y.expand(4, 3, 1, 1), rng)


def followed(solver: str, passes: int, strength: float | None = None) -> tuple[float, int]:
    """Return where x' = x + t leads from 1, and the number of passes that this took."""
    nodes = FlowNodes(FlowOptions(solver=solver))  # type: ignore[arg-type]
    calls, count = nodes.fake(torch.ones(1, 1, 1, 1, dtype=torch.float64), {}, passes, strength), 0
    result = None
    try:
        while True:
            call: Call = calls.send(result)
            count += 1
            result = call.x + call.conditions["time"].double().view(-1, 1, 1, 1)
    except StopIteration as stop:
        return float(stop.value), count


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_solver_has_its_order(solver: str, order: int) -> None:
    """x' = x + t from x(0) = 1 is 2 e^t - t - 1: halving the step divides the error by 2, by 4 with `heun`."""
    exact = 2 * math.e - 2
    errors = [abs(followed(solver, passes)[0] - exact) for passes in (64, 128)]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.05) and errors[0] < 0.1


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("passes", [1, 2, 5, 8])
def test_a_translation_takes_the_passes_that_are_asked_for(solver: str, passes: int) -> None:
    assert followed(solver, passes)[1] == passes


def test_the_strength_is_where_the_way_ends() -> None:
    assert followed("heun", 128, 0.5)[0] == pytest.approx(2 * math.exp(0.5) - 1.5, rel=1e-4)
    assert followed("heun", 4, 0.0)[0] == 1


def test_the_time_is_sines_and_cosines_behind_the_style() -> None:
    spec = NetworkSpec(3, 3, 0, (8, 8), ("a", "b"), ())
    conditioning = TimeConditioning(TimeOptions(width=4, frequencies=3, highest=100.0), spec)
    time = torch.tensor([0.0, 0.25])
    angles = time[:, None] * torch.tensor([1.0, 10.0, 100.0])
    torch.testing.assert_close(conditioning.features(time), torch.cat([angles.sin(), angles.cos()], 1))
    x, style = conditioning(torch.zeros(2, 3, 8, 8), torch.ones(2, 5), time=time)
    assert style.shape == (2, 9) and torch.equal(style[:, :5], torch.ones(2, 5)) and not x.any()
    with pytest.raises(UsageError, match="these nodes pass no 'time'"):
        conditioning(torch.zeros(2, 3, 8, 8), None)


COLOURS = """
[data]
source = { use = "synthetic_colours", count = 24 }
media = { use = "image", flip = false }
size = 1
[domains]
middle = { spread = 0.2 }
many = { ring = 3, spread = 0.05 }
[tasks]
scatter = { from = "middle", to = "many" }
[train]
steps = 2
batch = 4
[optimizers]
generator.lr = 0.03
[nodes]
use = "flow_translation"
coupling = "transport"
solver = "euler"
passes = 3
[conditionings.time]
width = 4
[generators.pointwise]
output = "linear"
width = 8
[losses]
flow_matching = 1.0
[metrics]
modes = true
transport = true
"""


@pytest.fixture(scope="module")
def model(trained: Any, recipe_file: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("flow") / "run"
    trained(recipe_file(COLOURS), out)
    return out


@pytest.mark.parametrize(("passes", "expected"), [(None, 3), (1, 1), (5, 5)])
def test_a_model_is_followed_in_the_passes_that_a_user_asks_for(model: Path, passes: int | None, expected: int) -> None:
    translator = Translator.from_pretrained(model, "cpu")
    network, colour = translator.networks["pointwise"], torch.tensor([0.1, -0.3, 0.0])[:, None, None]
    x = colour[None]
    for i in range(expected):
        x = x + network(x, time=torch.full((1,), i / expected)) / expected
    torch.testing.assert_close(translator(colour, passes=passes), x[0].detach().clamp(-1, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("passes", "message"), [(0, "from 1 to 1,000"), (1.5, "expected a number")])
def test_a_number_of_passes_that_cannot_be(model: Path, passes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"^passes={passes}: .*{message}"):
        Translator.from_pretrained(model, "cpu")(torch.zeros(3, 1, 1), passes=passes)


def test_the_command_takes_passes(model: Path, tmp_path: Path, run_cli: Any) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (1, 1), (200, 30, 128)).save(path)
    translator, found = Translator.from_pretrained(model, "cpu"), []
    for passes in (1, 7):
        assert run_cli("translate", model, path, "--passes", passes, "-o", tmp_path / f"{passes}") == 0
        found.append(np.asarray(Image.open(tmp_path / f"{passes}" / "a.png")).tolist())
        assert found[-1] == np.asarray(translator(path, passes=passes)).tolist()
    assert found[0] != found[1]
