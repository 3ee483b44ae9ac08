"""Second samples of a domain: independent of the first, read only where something asks for them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan.api import Clock, Loss, Metric, Nodes, Register, Translation, hookimpl, node
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.evaluation.evaluate import held_out_batches
from transgan.plan import Plan
from transgan.training import Engine

RECIPE = """
[data]
source = "folders"
media = { use = "image", flip = true, enlarge = 1.5 }
size = 8
held_out = 0.3
cache = false
[domains]
a = "a"
b = "b"
c = "c"
[tasks]
t = { between = ["a", "b", "c"] }
[train]
steps = 60
batch = 12
[generators.g]
use = "resnet"
per = "run"
width = 2
blocks = 0
downs = 1
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""
COUNTS = {"a": 30, "b": 24, "c": 27}
RANDOM = 'tasks.t.targets="random"'


class OfNode(Loss):
    """Depends on a second target through a node of its own."""

    @node
    def gap(self, target: Tensor, other_target: Tensor) -> Tensor:
        return (target - other_target).abs()

    def for_generator(self, gap: Tensor, fake: Tensor) -> Tensor:
        return gap.mean() * fake.mean()


class OfBoth(Loss):
    def for_generator(self, fake: Tensor, other_source: Tensor, other_target: Tensor) -> Tensor:
        return (fake - other_source).abs().mean() + (fake - other_target).abs().mean()


class Seen(Metric):
    def reset(self) -> None:
        pass

    def update(self, other_target: Tensor) -> None:
        pass

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("of_node", OfNode)
        register("of_both", OfBoth)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("seen", Seen)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose red is their number, and whose green is that of their domain; blue differs from left to right."""
    root = tmp_path_factory.mktemp("pictures")
    for d, (domain, count) in enumerate(COUNTS.items()):
        (root / domain).mkdir()
        for number in range(count):
            picture = np.zeros((12, 12, 3), np.uint8)
            picture[..., :2] = number, d
            picture[..., 2] = 20 * np.arange(12)
            Image.fromarray(picture).save(root / domain / f"{number:02}.png")
    return root


@pytest.fixture
def batches(planned: Any, pictures: Path) -> Iterator[Callable[..., Batches]]:
    built: list[Batches] = []

    def build(*overrides: str, rank: int = 0, world: int = 1) -> Batches:
        plan: Plan = planned(RECIPE, Plugin(), (f'data.root="{pictures}"', *overrides))
        built.append(Batches(plan, Domains(plan), rank, world))
        return built[-1]

    yield build
    for each in built:
        each.pool.shutdown()


def channel(x: Tensor, number: int) -> list[int]:
    return [round((float(each[number, 4, 4]) + 1) * 127.5) for each in x]


@pytest.mark.parametrize("random", [(), (RANDOM,)])
def test_other_samples_change_no_other_stream(batches: Any, random: tuple[str, ...]) -> None:
    with_others, without = batches("losses.of_both=1.0", *random), batches(*random)
    for step in (0, 3):
        [one], [other] = with_others.at(step), without.at(step)
        others = {key for key in one if key[1].startswith("other_")}
        assert one.keys() - others == other.keys() and len(others) == 2 * len(without.plan.translations)
        for key, value in other.items():
            assert not isinstance(value, Tensor) or torch.equal(one[key], value)


@pytest.mark.parametrize("random", [(), (RANDOM,)])
def test_an_other_sample_is_of_the_same_domain_row_by_row_and_independent(
    batches: Any, random: tuple[str, ...]
) -> None:
    found = batches("losses.of_both=1.0", *random)
    same = rows = mirrored = 0
    for step in range(8):
        [inputs] = found.at(step)
        for translation in found.plan.translations:
            for end in ("source", "target"):
                first, other = inputs[translation, end], inputs[translation, f"other_{end}"]
                assert channel(first, 1) == channel(other, 1) == inputs[translation, f"{end}_domain"].tolist()
                equal = [a == b for a, b in zip(channel(first, 0), channel(other, 0), strict=True)]
                rises = [x[:, 2, 4, -1] > x[:, 2, 4, 0] for x in (first, other)]
                mirrored += int((rises[0] != rises[1]).sum())
                same, rows = same + sum(equal), rows + len(equal)
    expected = 1 / 19  # of about 19 training samples in each domain
    assert abs(same / rows - expected) < 5 * (expected / rows) ** 0.5
    assert abs(mirrored / rows - 0.5) < 5 * (0.25 / rows) ** 0.5  # each has an augmentation of its own


def test_an_epoch_has_each_other_sample_once(batches: Any) -> None:
    found = batches("losses.of_node=1.0")
    translation = next(each for each in found.plan.translations if each.target == "b")
    count = len(found.domains["b"].samples)
    seen = [n for step in range(count) for x in found.at(step) for n in channel(x[translation, "other_target"], 0)]
    first = [n for step in range(count) for x in found.at(step) for n in channel(x[translation, "target"], 0)]
    epochs = [seen[i : i + count] for i in range(0, 12 * count, count)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs) and len(set(epochs[0])) == count
    assert seen != first


@pytest.mark.parametrize(("world", "count"), [(2, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("random", [(), (RANDOM,)])
def test_processes_and_micro_batches_divide_other_samples(
    batches: Any, world: int, count: int, random: tuple[str, ...]
) -> None:
    whole = batches("losses.of_both=1.0", *random)
    ranks = [
        batches("losses.of_both=1.0", *random, f"train.accumulate={count}", rank=r, world=world) for r in range(world)
    ]
    for step in (0, 4):
        [expected] = whole.at(step)
        shares = [rank.at(step) for rank in ranks]
        for translation in whole.plan.translations:
            for name in ("other_source", "other_target"):
                pieces = [shares[r][i][translation, name] for i in range(count) for r in range(world)]
                assert torch.equal(torch.cat(pieces), expected[translation, name])


def test_only_what_is_asked_for_is_read(batches: Any) -> None:
    """The kind: dependencies of nodes, in some translations, and of metrics, which training does not need."""
    found = batches('losses.of_node={weight=1.0, translations=["a -> b"]}', "metrics.seen=true")
    assert [(each.name, each.kind) for each in found.streams if each.kind] == [("b", "other")]
    [inputs] = found.at(0)
    assert {str(key[0]) for key in inputs if key[1] == "other_target"} == {"t: a -> b", "t: c -> b"}
    assert {key[0].source for key in inputs if key[1] == "other_source"} <= {"b"}  # the same samples, at no cost
    assert not any(each.kind for each in batches("metrics.seen=true").streams)


def test_a_step_trains_on_them(batches: Any) -> None:
    found = batches("losses={of_both=1.0}")
    engine = Engine(found.plan)
    [before] = [p.detach().clone() for p in list(engine.networks["g"].parameters())[:1]]
    losses = engine.train_step(found.at(0), found.clock(0))
    assert len(losses) == 6 and not torch.equal(before, next(iter(engine.networks["g"].parameters())))


def test_held_out_samples_have_others_where_a_metric_asks_for_them(batches: Any) -> None:
    found = batches("losses.of_both=1.0", "metrics.seen=true")
    [direction] = [each for each in found.plan.directions if str(each.translation) == "t: a -> b"]
    seen = 0
    for samples, inputs in held_out_batches(found.plan, found.domains, direction, 3, 100, "cpu", Clock()):
        target, other = inputs[direction.planned, "target"], inputs[direction.planned, "other_target"]
        assert set(channel(other, 1)) == {1}
        assert all(a != b for a, b in zip(channel(target, 0), channel(other, 0), strict=True))
        held_out = {int(sample.key) for sample in found.domains["b"].held_out}
        assert set(channel(other, 0)) <= held_out and len(held_out) > 2
        assert (direction.planned, "other_source") not in inputs
        seen += len(samples)
    assert seen == len(found.domains["a"].held_out)


def test_nodes_beside_the_losses_get_them_too(batches: Any, planned: Any, pictures: Path) -> None:
    class OwnNodes(Nodes):
        @node
        def fake(self, source: Tensor, other_source: Tensor) -> Tensor:
            return (source + other_source) / 2

    class WithNodes(Plugin):
        @hookimpl
        def register_nodes(self, register: Register) -> None:
            register("own", OwnNodes)

    plan = planned(RECIPE, WithNodes(), (f'data.root="{pictures}"', 'nodes="own"', "losses={of_node=1.0}"))
    domains, engine = Domains(plan), Engine(plan)
    direction = plan.directions[0]
    for samples, inputs in held_out_batches(plan, domains, direction, 4, 100, "cpu", Clock()):
        fake = engine.networks.compute(inputs, direction.planned, ["fake"])["fake"]
        other = inputs[direction.planned, "other_source"]
        assert torch.allclose(fake, (inputs[direction.planned, "source"] + other) / 2)
        assert all(int(s.key) != n for s, n in zip(samples, channel(other, 0), strict=True))
