"""Precision, memory format, compiling and checkpointing: results stay what they are in fp32, within their rounding."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import UsageError
from transgan.networks import Networks, can_compute_in, compilation, fp32_precisions, set_fp32_precisions
from transgan.networks import networks as networks_module
from transgan.networks.checkpointing import checkpoint
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry
from transgan.training import engine as engine_module
from transgan.training.engine import Engine
from transgan.training.non_finite import NonFiniteGuard

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 16
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
[tasks]
age = { between = ["young", "old"] }
[train]
steps = 8
batch = 2
ema = 0.9
PRECISION
[generators.g]
use = "resnet"
width = 4
blocks = 1
[discriminators.d]
use = "patch"
width = 4
layers = 1
history = 4
[losses]
lsgan = 1.0
cycle = 10.0
MORE
"""


def engine_of(train: str = "", more: str = "", norm: str = "instance") -> tuple[Engine, Batches]:
    text = RECIPE.replace("PRECISION", train).replace("MORE", more)
    text = text.replace("blocks = 1\n", f'blocks = 1\nnorm = "{norm}"\n')
    plan = make_plan(parse_recipe(text, "test"), Registry.installed())
    return Engine(plan), Batches(plan, Domains(plan))


def losses_of(engine: Engine, batches: Batches, steps: int = 4) -> list[dict[str, float]]:
    found = []
    for step, losses in engine.train(batches):
        found.append({name: float(value) for name, value in losses.items()})
        if step == steps:
            return found
    raise AssertionError


def assert_close(one: list[dict[str, float]], two: list[dict[str, float]], tolerance: float) -> None:
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def fp32() -> list[dict[str, float]]:
    return losses_of(*engine_of())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_losses_in_16_bits_are_those_of_fp32_within_rounding(precision: str, fp32: list[dict[str, float]]) -> None:
    engine, batches = engine_of(f'precision = "{precision}"')
    if precision == "fp16":  # the first scale is too large, by design: steps would be skipped until it fits
        engine.optimizers.scaler.load_state_dict({"scale": 256.0, "tracker": 0})
    assert_close(losses_of(engine, batches), fp32, 0.03)
    assert all(p.dtype == torch.float32 for network in engine.networks.values() for p in network.parameters())
    assert engine.optimizers.scaler.is_enabled() == (precision == "fp16")


def test_an_overflow_halves_the_scale_and_leaves_the_weights() -> None:
    engine, batches = engine_of('precision = "fp16"')
    losses_of(engine, batches, 1)
    engine.count_skipped()
    scaler = engine.optimizers.scaler
    scaler.load_state_dict({"scale": 2.0**40, "tracker": 5})
    before = {key: value.clone() for key, value in engine.networks.state_dict().items()}
    clock = batches.clock(1)
    losses = engine.train_step(batches.at(1), clock)
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert engine.count_skipped() == (1, 0)
    assert scaler.state_dict()["scale"] <= 2.0**39 and scaler.state_dict()["tracker"] in (0, 1)
    assert all(torch.equal(before[key], value) for key, value in engine.networks.state_dict().items())


def test_the_scale_is_part_of_the_state() -> None:
    one, batches = engine_of('precision = "fp16"')
    losses_of(one, batches, 3)
    state = one.optimizers.scaler.state_dict()
    assert set(map(type, state.values())) == {float, int} and state["tracker"] > 0
    two, _ = engine_of('precision = "fp16"')
    two.optimizers.scaler.load_state_dict(state)
    two.networks.load_state_dict(one.networks.state_dict())
    two.optimizers.load_state_dict(one.optimizers.state_dict())
    two.objective.history.load_state_dict(
        {k: v.clone() if isinstance(v, Tensor) else v for k, v in one.objective.history.state_dict().items()}
    )
    for engine in (one, two):
        engine.train_step(batches.at(3), batches.clock(3))
    assert two.optimizers.scaler.state_dict() == one.optimizers.scaler.state_dict()
    for key, value in one.networks.state_dict().items():
        assert torch.equal(value, two.networks.state_dict()[key]), key


def test_a_device_without_bf16_translates_in_fp32_and_does_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = engine_of('precision = "bf16"')
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    name = engine.plan.generator_side[0]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not can_compute_in(torch.bfloat16, torch.device("cuda"))
    assert can_compute_in(torch.float16, torch.device("cuda"))
    for module in (networks_module, engine_module):
        monkeypatch.setattr(module, "can_compute_in", lambda dtype, device: dtype != torch.bfloat16)
    networks = Networks(engine.plan, "cpu", engine.networks)
    with torch.no_grad():
        assert torch.equal(networks(name, x, {}), engine.networks[name](x))
    with pytest.raises(UsageError, match=r'train.precision = "bf16": cpu cannot compute in it'):
        engine_of('precision = "bf16"')


class Casts(TorchDispatchMode):
    """Counts the casts of each fp32 tensor to bf16, by its place in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten._to_copy and (kwargs or {}).get("dtype") == torch.bfloat16:
            place = args[0].data_ptr()
            self.seen[place] = self.seen.get(place, 0) + 1
        return func(*args, **(kwargs or {}))


def test_weights_are_cast_once_a_phase() -> None:
    engine, batches = engine_of('precision = "bf16"\nmerge = "never"')
    losses_of(engine, batches, 1)
    inputs, clock = batches.at(1), batches.clock(1)
    with Casts() as casts:
        engine.train_step(inputs, clock)
    for name in engine.plan.generator_side:
        for parameter in engine.networks[name].parameters():
            assert casts.seen.get(parameter.data_ptr(), 0) <= 1


def test_a_gradient_penalty_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    original = torch.Tensor.backward

    def backward(self: Tensor, *arguments: Any, **named: Any) -> None:
        phase = (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)  # type: ignore[attr-defined]
        trains_generator = any(
            p.requires_grad for n in engine.plan.generator_side for p in engine.networks[n].parameters()
        )
        found[trains_generator].add(phase)
        original(self, *arguments, **named)

    engine, batches = engine_of("tf32 = true", "r1 = 1.0")
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    losses_of(engine, batches, 1)
    assert found == {True: {("tf32", "tf32")}, False: {("ieee", "ieee")}}
    engine, batches = engine_of()
    found[True].clear()
    losses_of(engine, batches, 1)
    assert found[True] == {("ieee", "ieee")}


@pytest.mark.parametrize("tf32", [True, False])
def test_after_a_phase_products_are_rounded_as_before(tf32: bool) -> None:
    engine, _ = engine_of()
    before = fp32_precisions()
    try:
        for set_before in (("tf32", "ieee"), ("ieee", "tf32"), before):
            set_fp32_precisions(*set_before)
            with pytest.raises(KeyError), engine.networks.phase(tf32=tf32):
                assert fp32_precisions() == (("tf32",) * 2 if tf32 else ("ieee",) * 2)
                raise KeyError
            assert fp32_precisions() == set_before
    finally:
        set_fp32_precisions(*before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_checkpointing_changes_nothing_but_memory(precision: str, norm: str) -> None:
    """Dropout too draws the same in the second pass, and running statistics move once."""
    results = []
    for more in ("", 'checkpointing = ["*"]'):
        engine, batches = engine_of(f'precision = "{precision}"\n{more}', norm=norm)
        for name in engine.plan.generator_side:
            for block in engine.networks[name].modules():
                if isinstance(block, torch.nn.ReLU):
                    block.register_forward_hook(lambda m, i, y: torch.nn.functional.dropout(y, 0.2))
        results.append((losses_of(engine, batches), [each for n in engine.networks.values() for each in n.buffers()]))
    assert results[0][0] == results[1][0]
    assert bool(results[0][1]) == (norm == "batch")
    assert all(map(torch.equal, results[0][1], results[1][1]))


class Stateful(nn.Module):
    """Has buffers that a pass changes in place and replaces, and draws from every kind of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.register_buffer("usage", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(4))
        self.same_layers = self.layers

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x) * (1 + random.random()) + np.random.rand()
        with torch.no_grad():
            self.usage += y.abs().mean()
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        z: Tensor = torch.tanh(y * float(self.usage) + self.mean)
        return z


@pytest.mark.parametrize("backward_passes", [1, 2])
def test_a_second_pass_repeats_the_first_and_changes_nothing(backward_passes: int) -> None:
    """Two passes before one backward pass, as of a generator there and back: compared with keeping activations."""
    results = []
    for run in (lambda network, x: network(x), lambda network, x: checkpoint(network, network, x)):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        network = Stateful()
        x = torch.randn(8, 4, requires_grad=True)
        loss = run(network, run(network, x)).square().sum()
        for _ in range(backward_passes):
            loss.backward(retain_graph=True)
        drawn = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])
        gradients = [x.grad, *(each.grad for each in network.parameters())]
        results.append([drawn, loss.detach(), *gradients, *network.buffers()])
    for kept, again in zip(*results, strict=True):
        torch.testing.assert_close(again, kept, rtol=0, atol=0)


def saved_by(train: str) -> int:
    """Return the bytes of activations that the generator phase of a step keeps."""
    engine, batches = engine_of(train)
    inputs, clock, kept = batches.at(0), batches.clock(0), {}

    def pack(x: Tensor) -> Tensor:
        kept[x.data_ptr()] = x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        phase = engine.plan.stages[0].phases[0]
        step = engine.objective.compute_nodes(inputs[0], [phase], clock)
        engine.objective(phase, step, clock)
    return sum(kept.values())


def test_checkpointing_keeps_fewer_activations() -> None:
    assert saved_by('checkpointing = ["*"]') < 0.5 * saved_by("")


def test_what_cannot_be_checkpointed_is_refused() -> None:
    with pytest.raises(UsageError, match=r'train.checkpointing = \["x"\]: names no network'):
        engine_of('checkpointing = ["x"]')


def test_what_is_checkpointed_need_not_translate() -> None:
    """With averaged weights the networks that translate are a part of those that train."""
    engine, _ = engine_of('checkpointing = ["d.*"]')
    assert engine.average and engine.networks.checkpointed == {"d.young", "d.old"}
    translating = Networks(engine.plan, "cpu", engine.average)
    assert "d.old" not in translating and translating.checkpointed == set()


def test_compiled_networks_give_the_same_and_are_compiled_once(
    monkeypatch: pytest.MonkeyPatch, fp32: list[dict[str, float]]
) -> None:
    graphs: list[int] = []

    def backend(graph: Any, examples: Any) -> Any:
        graphs.append(len(examples))
        return graph.forward

    monkeypatch.setattr(compilation, "COMPILER", backend)
    torch._dynamo.reset()
    engine, batches = engine_of("compile = true")
    said: list[str] = []
    assert engine.networks.compiled
    engine.networks.compiled.begins = said.append
    assert_close(losses_of(engine, batches, 2), fp32[:2], 1e-5)
    assert said and all("compiling network" in line for line in said)
    count, lines = len(graphs), len(said)
    assert count > 0
    name = engine.plan.generator_side[0]
    with torch.no_grad():
        for length in (3, 5, 7):
            engine.networks(name, torch.zeros(length, 3, 16, 16), {})
    after = len(graphs)
    with torch.no_grad():
        engine.networks(name, torch.zeros(6, 3, 16, 16), {})
    assert len(graphs) == after  # another length of a batch is no reason to compile
    losses_of(engine, batches, 4)
    assert len(said) <= lines + 1


def test_channels_last_gives_the_same(fp32: list[dict[str, float]]) -> None:
    """What a GPU does in 16 bits, and a CPU in large networks."""
    engine, batches = engine_of()
    engine.networks.channels_last = set(engine.networks)
    for network in engine.networks.values():
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert_close(losses_of(engine, batches), fp32, 1e-4)


def test_batches_made_in_the_background_are_the_same(fp32: list[dict[str, float]]) -> None:
    engine, batches = engine_of()
    batches.ahead = True
    assert losses_of(engine, batches) == fp32


@pytest.mark.parametrize("phase", [0, 1])
def test_a_failed_step_is_undone_on_the_device_as_on_the_host(phase: int) -> None:
    states: list[Mapping[str, Any]] = []
    for waits in (True, False):
        engine, batches = engine_of("", "")
        losses_of(engine, batches, 4)  # the pools are full
        engine.waits = waits
        check = engine.optimizers.step

        def step(names: Any, clock: Any, total: Tensor, guard: Any, turn: list[int] = [0], check: Any = check) -> None:  # noqa: B006
            turn[0] += 1
            check(names, clock, total * float("nan") if turn[0] == phase + 1 else total, guard)

        engine.optimizers.step = step  # type: ignore[method-assign]
        engine.train_step(batches.at(4), batches.clock(4))
        step.__defaults__[0].clear()  # type: ignore[index]
        step.__defaults__[0].append(0)  # type: ignore[index]
        assert engine.count_skipped() == (1, 1) and engine.count_skipped() == (0, 0)
        pools = {f"pool|{k}": v for k, v in engine.objective.history.pools.items()}
        states.append({**engine.networks.state_dict(), **pools})
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_moments_are_loaded_in_the_memory_format_of_their_parameters() -> None:
    """Checkpoints hold them contiguous."""
    one, batches = engine_of()
    losses_of(one, batches, 2)
    saved = {
        key: value.clone(memory_format=torch.contiguous_format) for key, value in one.optimizers.state_dict().items()
    }
    two, _ = engine_of()
    for network in two.networks.values():
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    two.optimizers.load_state_dict(saved)
    compared = 0
    for name, optimizer in two.optimizers.by_name.items():
        for key, parameter in two.networks[name].named_parameters():
            for slot in ("exp_avg", "exp_avg_sq"):
                moment = optimizer.state[parameter][slot]
                assert moment.stride() == parameter.stride() and torch.equal(moment, saved[f"{name}|{key}|{slot}"])
                compared += not parameter.is_contiguous()
    assert compared > 0


def test_a_phase_without_gradients_leaves_the_scaler_ready() -> None:
    """Such as one whose losses all have a weight of 0 at that moment."""
    engine, batches = engine_of('precision = "fp16"')
    losses_of(engine, batches, 1)
    engine.count_skipped()
    engine.optimizers.scaler.load_state_dict({"scale": 256.0, "tracker": 0})
    trained = list(engine.plan.generator_side)
    guard = NonFiniteGuard(engine.networks, engine.objective.history, engine.objective.loss_buffers)
    for _ in range(2):
        engine.optimizers.zero_grad(trained)
        engine.optimizers.step(trained, batches.clock(1), torch.zeros(()), guard)
    assert not guard.failed() and engine.optimizers.scaler.state_dict() == {"scale": 256.0, "tracker": 0}
    engine.train_step(batches.at(1), batches.clock(1))
    assert engine.count_skipped() == (0, 0)
