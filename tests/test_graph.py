"""Nodes by name: their order, what is missing, and in how few passes of the networks they are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Call, Clock, DiscriminatorOutput, Loss, Nodes, Options, Translation, node
from transgan.graph import Graph, Step
from transgan.training.engine import Engine

THERE, BACK = Translation("age", "young", "old"), Translation("age", "old", "young")


class Nodes1(Nodes):
    @node
    def fake(self, source: Tensor, style: Tensor) -> Call:
        return Call("generator", source, {"style": style})

    @node
    def style(self, target: Tensor) -> Tensor:
        return target.mean((1, 2, 3))

    @node
    def reconstruction(self, fake: Tensor, style: Tensor) -> Call:
        return Call("generator", fake, {"style": style})

    @node
    def identity(self, target: Tensor, style: Tensor) -> Call:
        return Call("generator", target, {"style": style})


class OwnNodes(Loss):
    @node
    def patches(self, fake: Tensor, heads: Tensor) -> Tensor:
        return fake + heads

    @node
    def heads(self, source: Tensor) -> Tensor:
        return source * 2


class OtherNodes(Loss):
    @node
    def patches(self, source: Tensor) -> Tensor:
        return source


class InCircles(Nodes):
    @node
    def chicken(self, egg: Tensor) -> Tensor:
        return egg

    @node
    def egg(self, hen: Tensor) -> Tensor:
        return hen

    @node
    def hen(self, chicken: Tensor) -> Tensor:
        return chicken


class Mistaken(Nodes):
    @node
    def fake(self, sorce: Tensor) -> Tensor:
        return sorce


@dataclass
class Networks:
    """Runs functions as networks, and notes what it ran."""

    functions: Mapping[str, Callable[..., Any]]
    mixing: frozenset[str] = frozenset()
    paying: bool = True
    ran: list[int] = field(default_factory=list)

    def resolve(self, translation: Translation, role: str) -> str:
        return role

    def mixes_batch(self, network: str) -> bool:
        return network in self.mixing

    def should_merge(self, x: Tensor) -> bool:
        return self.paying

    def __call__(self, network: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False) -> Any:
        self.ran.append(len(x))
        return self.functions[network](x, **conditions)


def plain(x: Tensor, style: Tensor) -> Tensor:
    return x * 2 + style[:, None, None, None]


def graph(nodes: type[Nodes] = Nodes1, **losses: type[Loss]) -> Graph:
    return Graph({"": nodes(Options()), **{name: cls(Options()) for name, cls in losses.items()}})


def batch_inputs(*translations: Translation, count: int = 2) -> dict[tuple[Translation, str], Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        (translation, name): torch.randn(count, 3, 4, 4, generator=generator)
        for translation in translations
        for name in ("source", "target")
    }


def of_calls(networks: Networks, *calls: Call) -> dict[str, Any]:
    """What calls that are ready together give, by their number."""
    step = Step(graph(), networks, {})
    made = step.run_all({(THERE, str(number)): call for number, call in enumerate(calls)})
    return {name: value for (_, name), value in made.items()}


def test_what_a_node_needs_comes_before_it_and_nothing_twice() -> None:
    order = graph().closure(["reconstruction", "identity"])
    assert sorted(order) == ["fake", "identity", "reconstruction", "source", "style", "target"]
    for name in order:
        assert all(order.index(need) < order.index(name) for need in graph().dependencies(name))


def test_a_circle_of_nodes_is_named() -> None:
    with pytest.raises(ValueError, match="chicken -> egg -> hen -> chicken: a node may not need itself"):
        graph(InCircles).closure(["chicken"])


def test_a_name_that_nothing_makes_is_told_with_what_may_be_meant() -> None:
    assert graph().missing(["reconstructon"], "loss 'cycle'") == [
        "loss 'cycle' asks for 'reconstructon', which nothing makes. Did you mean 'reconstruction'?"
    ]
    assert graph().missing(["reconstruction", "source"], "loss 'cycle'") == []


def test_a_node_that_asks_for_what_nothing_makes_is_told_with_who_needs_it() -> None:
    assert graph(Mistaken).missing(["fake"], "loss 'cycle'") == [
        "node 'fake' (needed by loss 'cycle') asks for 'sorce', which nothing makes. Did you mean 'source'?"
    ]


def test_a_name_that_is_near_none_is_told_with_all_that_there_are() -> None:
    [line] = graph(Mistaken).missing(["zebra"], "metric 'm'", batch_inputs=("source", "target"))
    assert line == "metric 'm' asks for 'zebra', which nothing makes. Known: fake, source, target."


def test_a_loss_sees_its_own_nodes_by_their_short_names_and_nobody_elses() -> None:
    both = graph(nce=OwnNodes, cut=OtherNodes)
    assert both.resolve("patches", "nce") == "nce/patches"
    assert both.resolve("patches", "cut") == "cut/patches"
    assert both.resolve("heads", "cut") == "heads"
    assert both.dependencies("nce/patches") == ["fake", "nce/heads"]
    assert both.missing(["heads"], "loss 'cut'")


def test_calls_that_are_ready_together_are_one_pass() -> None:
    networks = Networks({"generator": plain})
    step = Step(graph(), networks, batch_inputs(THERE, BACK))
    step.make([(t, name) for t in (THERE, BACK) for name in ("fake", "identity", "reconstruction")])
    assert networks.ran == [8, 4]
    assert [each.samples for each in step.passes] == [8, 4]
    assert step.passes[1].made == ("age: young -> old: reconstruction", "age: old -> young: reconstruction")


@pytest.mark.parametrize("how", [{"paying": False}, {"mixing": frozenset({"generator"})}])
def test_merged_or_not_the_nodes_are_the_same(how: dict[str, Any]) -> None:
    values = []
    for networks in (Networks({"generator": plain}), Networks({"generator": plain}, **how)):
        step = Step(graph(), networks, batch_inputs(THERE, BACK))
        step.make([(t, name) for t in (THERE, BACK) for name in ("identity", "reconstruction")])
        values.append(step.values)
    assert len(networks.ran) == 6
    assert values[0].keys() == values[1].keys()
    assert all(torch.equal(values[0][key], values[1][key]) for key in values[0])


def test_nothing_is_made_twice() -> None:
    networks = Networks({"generator": plain})
    step = Step(graph(), networks, batch_inputs(THERE))
    step.make([(THERE, "fake")])
    step.make([(THERE, "fake"), (THERE, "reconstruction")])
    assert networks.ran == [2, 2]


def test_what_nobody_wants_is_not_made() -> None:
    step = Step(graph(), Networks({"generator": plain}), batch_inputs(THERE, BACK))
    step.make([(THERE, "fake")])
    assert (THERE, "reconstruction") not in step.values
    assert (BACK, "fake") not in step.values


def test_calls_share_a_pass_only_if_they_fit() -> None:
    x = torch.randn(2, 3, 4, 4)
    networks = Networks({"g": lambda x, **told: x})
    of_calls(networks, Call("g", x), Call("g", torch.randn(3, 3, 4, 4)))
    assert networks.ran == [5]
    for other in (
        Call("g", torch.randn(2, 3, 8, 8)),
        Call("g", x.double()),
        Call("g", x, {"task": torch.zeros(2)}),
        Call("g", x, frozen=True),
    ):
        networks.ran.clear()
        of_calls(networks, Call("g", x), other)
        assert networks.ran == [2, 2]


def test_conditions_that_hold_for_all_samples_must_be_equal_to_share_a_pass() -> None:
    x = torch.randn(2, 3, 4, 4)
    networks = Networks({"g": lambda x, layers: x * sum(layers)})
    found = of_calls(networks, *(Call("g", x, {"layers": layers}) for layers in ([0, 4], [0, 4], [1, 2])))
    assert networks.ran == [4, 2]
    assert torch.equal(found["1"], x * 4)
    assert torch.equal(found["2"], x * 3)


def test_conditions_that_are_not_told_apart_by_samples_run_alone() -> None:
    x, skips = torch.randn(2, 3, 4, 4), [torch.randn(2, 3, 4, 4)]
    networks = Networks({"g": lambda x, told: x + (told[0] if isinstance(told, list) else told)})
    found = of_calls(networks, Call("g", x, {"told": skips}), Call("g", -x, {"told": skips}))
    assert torch.equal(found["1"], skips[0] - x)
    of_calls(networks, Call("g", x, {"told": torch.tensor(2.0)}), Call("g", x, {"told": torch.tensor(3.0)}))
    assert networks.ran == [2, 2, 2, 2]


@dataclass(frozen=True)
class Answer:
    logits: list[Tensor]
    more: dict[str, Tensor]
    none: None = None


def test_every_kind_of_output_is_taken_apart_again() -> None:
    x, y = torch.randn(2, 3), torch.randn(3, 3)
    networks = Networks({"g": lambda x: Answer([x, x + 1], {"pair": x * 2})})
    found = of_calls(networks, Call("g", x), Call("g", y))
    assert networks.ran == [5]
    for each, name in ((x, "0"), (y, "1")):
        assert torch.equal(found[name].logits[1], each + 1)
        assert torch.equal(found[name].more["pair"], each * 2)
        assert found[name].none is None


def test_letting_go_keeps_the_numbers_and_forgets_how_they_were_made() -> None:
    weight = torch.ones((), requires_grad=True)
    networks = Networks({"generator": lambda x, style: DiscriminatorOutput([x * weight], None, [x * weight])})
    step = Step(graph(), networks, batch_inputs(THERE))
    step.values[THERE, "table"] = {"a": weight * 2}
    step.make([(THERE, "fake")])
    before = step.values[THERE, "fake"].logits[0]
    assert before.requires_grad
    step.detach()
    fake = step.values[THERE, "fake"]
    assert torch.equal(fake.logits[0], before)
    assert not fake.logits[0].requires_grad
    assert not fake.features[0].requires_grad
    assert not step.values[THERE, "table"]["a"].requires_grad


def test_an_error_says_what_was_being_made() -> None:
    def broken(x: Tensor, style: Tensor) -> Tensor:
        raise ValueError("too small")

    step = Step(graph(), Networks({"generator": broken}), batch_inputs(THERE))
    with pytest.raises(ValueError, match="too small") as error:
        step.make([(THERE, "fake")])
    assert error.value.__notes__ == ["while running network 'generator' for age: young -> old: fake"]
    with pytest.raises(KeyError, match="the batch has no 'target' for age: old -> young"):
        step.make([(BACK, "identity")])


CYCLEGAN = """
[train]
steps = 4
merge = "always"
[conditionings]
domain = { use = "embedding" }
[generators]
g = { use = "resnet", width = 2, blocks = 0 }
[discriminators]
d = { use = "patch", width = 2, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
identity = 5.0
"""


@pytest.fixture
def passes(planned: Any) -> Callable[..., dict[str, list[list[str]]]]:
    """`passes(*overrides)`: what each pass of each phase makes, short of the translation."""

    def play(*overrides: str, step: int = 0) -> dict[str, list[list[str]]]:
        plan = planned(CYCLEGAN, overrides=overrides)
        engine = Engine(plan)
        clock = Clock(step=step, run=step / 4)
        x = torch.zeros(2, 3, 16, 16)
        numbers = {
            "task": torch.zeros(2, dtype=torch.long),
            "source_domain": torch.zeros(2, dtype=torch.long),
            "target_domain": torch.ones(2, dtype=torch.long),
            "source_attributes": {},
            "target_attributes": {},
        }
        values = {"source": x, "target": x, "clock": clock, **numbers}
        batch = {(translation, name): value for translation in plan.translations for name, value in values.items()}
        found = {}
        for phase in plan.recipe.phases:
            made = engine.objective.step(batch, [phase], clock)
            engine.objective(phase, made, clock)
            found[phase.side] = [[name.split(": ")[-1] for name in each.made] for each in made.passes]
        return found

    return play


def test_a_generator_of_all_directions_takes_two_passes_and_a_discriminator_one_for_each_network(passes: Any) -> None:
    found = passes()
    assert found["generator"] == [
        ["fake", "fake", "identity", "identity"],
        ["reconstruction", "reconstruction"],
        ["d on fake"],
        ["d on fake"],
    ]
    assert found["discriminator"] == [["fake", "fake"], ["d on target", "d on fake"], ["d on target", "d on fake"]]


def test_batch_norm_takes_a_pass_for_each_call(passes: Any) -> None:
    found = passes('generators.g.norm="batch"', 'discriminators.d.norm="batch"')
    assert all(len(made) == 1 for made in (*found["generator"], *found["discriminator"]))
    assert len(found["generator"]) == 8
    assert len(found["discriminator"]) == 6


@pytest.mark.parametrize(
    ("step", "weight", "made"),
    [
        (0, "0.0", ["fake", "fake"]),
        (0, "{from=5.0, to=0.0, between=[0.0, 0.5]}", ["fake", "fake", "identity", "identity"]),
        (3, "{from=5.0, to=0.0, between=[0.0, 0.5]}", ["fake", "fake"]),
        (0, '{weight=5.0, translations=["young -> old"]}', ["fake", "fake", "identity"]),
    ],
)
def test_a_term_without_weight_costs_no_pass(passes: Any, step: int, weight: str, made: list[str]) -> None:
    found = passes(f"losses.identity={weight}", "losses.cycle=0.0", step=step)
    assert found["generator"] == [made, ["d on fake"], ["d on fake"]]


def test_a_frozen_call_leaves_the_network_as_it_is_and_passes_gradients_on(planned: Any) -> None:
    engine = Engine(planned(CYCLEGAN))
    network = engine.networks.networks["g"]
    told = {"domain": torch.zeros(2, dtype=torch.long)}
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    frozen = engine.networks("g", x, told, True)
    assert torch.equal(frozen, engine.networks("g", x, told))
    frozen.square().sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    expected = torch.autograd.grad(engine.networks("g", x, told).square().sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_frozen_and_trained_calls_of_one_network_are_told_apart(planned: Any) -> None:
    class Both(Nodes):
        @node
        def fake(self, source: Tensor, to_target: dict[str, Tensor]) -> Call:
            return Call("generator", source, to_target)

        @node
        def looked_at(self, fake: Tensor, target: Tensor, to_target: dict[str, Tensor]) -> Call:
            return Call("generator", fake, to_target, frozen=True)

        @node
        def to_target(self, target_domain: Tensor) -> dict[str, Tensor]:
            return {"domain": target_domain}

    plan = planned(CYCLEGAN)
    engine = Engine(plan)
    batch: dict[Any, Any] = {(THERE, "target_domain"): torch.zeros(1, dtype=torch.long)}
    batch |= {(THERE, name): torch.rand(1, 3, 16, 16) for name in ("source", "target")}
    step = Step(Graph({"": Both(Options())}), engine.networks, batch)
    step.make([(THERE, "looked_at")])
    network: nn.Module = engine.networks.networks["g"]
    step.values[THERE, "looked_at"].sum().backward()
    first = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    for parameter in network.parameters():
        parameter.grad = None
    fake = engine.networks("g", batch[THERE, "source"], {"domain": batch[THERE, "target_domain"]})
    leaf = fake.detach().requires_grad_()
    engine.networks("g", leaf, {"domain": batch[THERE, "target_domain"]}).sum().backward()
    for parameter in network.parameters():
        parameter.grad = None
    fake.backward(leaf.grad)
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(first[name], parameter.grad)
