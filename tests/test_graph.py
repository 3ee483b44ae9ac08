"""Nodes by name: their order, missing ones, and the network passes that compute them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Call, Clock, DiscriminatorOutput, Loss, Nodes, Options, Translation, node
from transgan.graph import Graph, Step, error_context
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


class Loops(Nodes):
    """A node that passes through a network three times, each time through what the last pass returned."""

    @node
    def fake(self, source: Tensor, style: Tensor) -> Any:
        x = source
        for _ in range(2):
            x = yield Call("generator", x, {"style": style})
        return Call("generator", x, {"style": style})

    @node
    def style(self, target: Tensor) -> Tensor:
        return target.mean((1, 2, 3))

    @node
    def once(self, source: Tensor, style: Tensor) -> Call:
        return Call("generator", source, {"style": style})

    @node
    def sum(self, fake: Tensor, once: Tensor) -> Tensor:
        return fake + once


class YieldsText(Nodes):
    @node
    def fake(self, source: Tensor) -> Any:
        yield "generator"


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


class Cyclic(Nodes):
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
class FunctionRunner:
    """Runs functions as networks, and records the number of samples of each pass."""

    functions: Mapping[str, Callable[..., Any]]
    mixing: frozenset[str] = frozenset()
    merging: bool = True
    passes: list[int] = field(default_factory=list)

    def resolve(self, translation: Translation, role: str, owner: str = "") -> str:
        return role

    def mixes_batch(self, network: str) -> bool:
        return network in self.mixing

    def should_merge(self, x: Tensor) -> bool:
        return self.merging

    def takes(self, network: str, condition: str) -> bool:
        return condition in signature(self.functions[network]).parameters

    def __call__(self, network: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False) -> Any:
        self.passes.append(len(x))
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


def run_calls(networks: FunctionRunner, *calls: Call) -> dict[str, Any]:
    """Run calls that are ready together; return their outputs, by the number of the call."""
    step = Step(graph(), networks, {})
    outputs = step.run_all({(THERE, str(number)): call for number, call in enumerate(calls)})
    return {name: value for (_, name), value in outputs.items()}


def test_dependencies_come_before_a_node_each_once() -> None:
    order = graph().closure(["reconstruction", "identity"])
    assert sorted(order) == ["fake", "identity", "reconstruction", "source", "style", "target"]
    for name in order:
        assert all(order.index(each) < order.index(name) for each in graph().dependencies(name))


def test_a_cycle_of_nodes_is_named() -> None:
    with pytest.raises(ValueError, match="chicken -> egg -> hen -> chicken: a node must not depend on itself"):
        graph(Cyclic).closure(["chicken"])


def test_an_unknown_name_is_reported_with_the_nearest_one() -> None:
    assert graph().missing(["reconstructon"], "loss 'cycle'") == [
        "loss 'cycle' needs 'reconstructon'; there is no such node or batch input. Did you mean 'reconstruction'?"
    ]
    assert graph().missing(["reconstruction", "source"], "loss 'cycle'") == []


def test_an_unknown_dependency_of_a_node_is_reported_with_what_needs_the_node() -> None:
    assert graph(Mistaken).missing(["fake"], "loss 'cycle'") == [
        "node 'fake' (needed by loss 'cycle') needs 'sorce'; there is no such node or input. Did you mean 'source'?"
    ]


def test_a_name_that_is_near_none_is_reported_with_all_known_ones() -> None:
    [line] = graph(Mistaken).missing(["zebra"], "metric 'm'", inputs=("source", "target"))
    assert line == "metric 'm' needs 'zebra'; there is no such node or batch input. Known: fake, source, target."


def test_of_many_names_nodes_come_before_what_every_batch_has() -> None:
    """The list is cut, and what was meant is rather a node."""
    [line] = graph().missing(["zebra"], "metric 'm'")
    known = line.partition("Known: ")[2]
    assert known.startswith("fake, identity, reconstruction, ")
    assert known.endswith("more. transgan plugins --names lists all of them.")


def test_a_loss_sees_only_its_own_nodes_by_their_short_names() -> None:
    both = graph(nce=OwnNodes, cut=OtherNodes)
    assert both.resolve("patches", "nce") == "nce/patches"
    assert both.resolve("patches", "cut") == "cut/patches"
    assert both.resolve("heads", "cut") == "heads"
    assert both.dependencies("nce/patches") == ["fake", "nce/heads"]
    assert both.missing(["heads"], "loss 'cut'")


class Asking(Loss):
    @node
    def queries(self, fake: Tensor) -> Tensor:
        return fake


def asking(name: str) -> Graph:
    """Return a graph in which the node `nce/keys` asks for this."""

    def keys(**named: Tensor) -> Tensor:
        return named[name]

    keys.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY)])  # type: ignore[attr-defined]
    found = graph(nce=Asking, cut=OtherNodes)
    found.functions["nce/keys"] = keys
    return found


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("querys", "Did you mean 'queries'?"),
        ("sorce", "Did you mean 'source'?"),
        ("patches", "A node of loss 'cut' is called so, which that loss alone can ask for."),
        ("fake_output", "Only the methods of losses can ask for it."),
        ("counterpart", "Only metrics can ask for it."),
        ("zebra", "Known: fake, identity, keys, queries, reconstruction, style, source, target."),
    ],
)
def test_what_a_node_of_a_loss_lacks_is_compared_with_what_it_could_ask_for(asked: str, hint: str) -> None:
    [line] = asking(asked).missing(["keys"], "loss 'nce'", ("source", "target"), "nce", ("fake_output",))
    what = f"node 'nce/keys' (needed by loss 'nce') needs '{asked}'; there is no such node or input."
    assert line == f"{what} {hint}"


@pytest.mark.parametrize(
    ("owner", "asked", "hint"),
    [
        ("nce", "querys", "Did you mean 'queries'?"),
        ("nce", "fake_outptu", "Did you mean 'fake_output'?"),
        ("cut", "patchs", "Did you mean 'patches'?"),
        ("cut", "queries", "A node of loss 'nce' is called so, which that loss alone can ask for."),
        ("", "queries", "A node of loss 'nce' is called so, which that loss alone can ask for."),
        (None, "queries", "Did you mean 'nce/queries'?"),
        (None, "nce/querys", "Did you mean 'nce/queries'?"),
    ],
)
def test_a_hint_is_what_the_one_who_asks_could_write(owner: str | None, asked: str, hint: str) -> None:
    """Of the kind: a loss, with its own nodes; a metric, which sees none of a loss; and a recipe, with full names."""
    more = () if owner is None else ("fake_output",)
    [line] = asking("fake").missing([asked], "who", ("source", "target"), owner, more)
    assert line == f"who needs '{asked}'; there is no such node or batch input. {hint}"
    assert not asking("fake").missing(["fake", "source", *more], "who", ("source", "target"), owner, more)


def test_calls_that_are_ready_together_are_one_pass() -> None:
    networks = FunctionRunner({"generator": plain})
    step = Step(graph(), networks, batch_inputs(THERE, BACK))
    step.compute([(t, name) for t in (THERE, BACK) for name in ("fake", "identity", "reconstruction")])
    assert networks.passes == [8, 4]
    assert [each.samples for each in step.passes] == [8, 4]
    assert step.passes[1].nodes == ("age: young -> old: reconstruction", "age: old -> young: reconstruction")


@pytest.mark.parametrize("how", [{"merging": False}, {"mixing": frozenset({"generator"})}])
def test_nodes_are_the_same_whether_merged_or_not(how: dict[str, Any]) -> None:
    values = []
    for networks in (FunctionRunner({"generator": plain}), FunctionRunner({"generator": plain}, **how)):
        step = Step(graph(), networks, batch_inputs(THERE, BACK))
        step.compute([(t, name) for t in (THERE, BACK) for name in ("identity", "reconstruction")])
        values.append(step.values)
    assert len(networks.passes) == 6
    assert values[0].keys() == values[1].keys()
    assert all(torch.equal(values[0][key], values[1][key]) for key in values[0])


def test_no_node_is_computed_twice() -> None:
    networks = FunctionRunner({"generator": plain})
    step = Step(graph(), networks, batch_inputs(THERE))
    step.compute([(THERE, "fake")])
    step.compute([(THERE, "fake"), (THERE, "reconstruction")])
    assert networks.passes == [2, 2]


def test_nodes_that_are_not_needed_are_not_computed() -> None:
    step = Step(graph(), FunctionRunner({"generator": plain}), batch_inputs(THERE, BACK))
    step.compute([(THERE, "fake")])
    assert (THERE, "reconstruction") not in step.values
    assert (BACK, "fake") not in step.values


def test_calls_share_a_pass_only_if_they_fit() -> None:
    x = torch.randn(2, 3, 4, 4)
    networks = FunctionRunner({"g": lambda x, **conditions: x})
    run_calls(networks, Call("g", x), Call("g", torch.randn(3, 3, 4, 4)))
    assert networks.passes == [5]
    for other in (
        Call("g", torch.randn(2, 3, 8, 8)),
        Call("g", x.double()),
        Call("g", x, {"task": torch.zeros(2)}),
        Call("g", x, frozen=True),
    ):
        networks.passes.clear()
        run_calls(networks, Call("g", x), other)
        assert networks.passes == [2, 2]


def test_conditions_that_hold_for_all_samples_must_be_equal_to_share_a_pass() -> None:
    x = torch.randn(2, 3, 4, 4)
    networks = FunctionRunner({"g": lambda x, layers: x * sum(layers)})
    found = run_calls(networks, *(Call("g", x, {"layers": layers}) for layers in ([0, 4], [0, 4], [1, 2])))
    assert networks.passes == [4, 2]
    assert torch.equal(found["1"], x * 4)
    assert torch.equal(found["2"], x * 3)


def test_calls_with_conditions_that_cannot_be_split_by_sample_run_alone() -> None:
    x, skips = torch.randn(2, 3, 4, 4), [torch.randn(2, 3, 4, 4)]
    networks = FunctionRunner({"g": lambda x, skips: x + (skips[0] if isinstance(skips, list) else skips)})
    found = run_calls(networks, Call("g", x, {"skips": skips}), Call("g", -x, {"skips": skips}))
    assert torch.equal(found["1"], skips[0] - x)
    run_calls(networks, Call("g", x, {"skips": torch.tensor(2.0)}), Call("g", x, {"skips": torch.tensor(3.0)}))
    assert networks.passes == [2, 2, 2, 2]


@dataclass(frozen=True)
class Output:
    logits: list[Tensor]
    more: dict[str, Tensor]
    none: None = None


def test_every_kind_of_output_is_split_again() -> None:
    x, y = torch.randn(2, 3), torch.randn(3, 3)
    networks = FunctionRunner({"g": lambda x: Output([x, x + 1], {"pair": x * 2})})
    found = run_calls(networks, Call("g", x), Call("g", y))
    assert networks.passes == [5]
    for each, name in ((x, "0"), (y, "1")):
        assert torch.equal(found[name].logits[1], each + 1)
        assert torch.equal(found[name].more["pair"], each * 2)
        assert found[name].none is None


def test_detach_keeps_the_tensors_and_frees_the_autograd_graph() -> None:
    weight = torch.ones((), requires_grad=True)
    networks = FunctionRunner({"generator": lambda x, style: DiscriminatorOutput([x * weight], None, [x * weight])})
    step = Step(graph(), networks, batch_inputs(THERE))
    step.values[THERE, "table"] = {"a": weight * 2}
    step.compute([(THERE, "fake")])
    before = step.values[THERE, "fake"].logits[0]
    assert before.requires_grad
    step.detach()
    fake = step.values[THERE, "fake"]
    assert torch.equal(fake.logits[0], before)
    assert not fake.logits[0].requires_grad
    assert not fake.features[0].requires_grad
    assert not step.values[THERE, "table"]["a"].requires_grad


def test_an_error_says_what_was_being_computed() -> None:
    def broken(x: Tensor, style: Tensor) -> Tensor:
        raise ValueError("too small")

    step = Step(graph(), FunctionRunner({"generator": broken}), batch_inputs(THERE))
    with pytest.raises(ValueError, match="too small") as error:
        step.compute([(THERE, "fake")])
    assert error.value.__notes__ == ["while running network 'generator' for age: young -> old: fake"]
    with pytest.raises(KeyError, match="the batch has no 'target' for age: old -> young"):
        step.compute([(BACK, "identity")])


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
    """`passes(*overrides)`: by phase, the nodes of each pass, without their translations."""

    def run(*overrides: str, step: int = 0) -> dict[str, list[list[str]]]:
        plan = planned(CYCLEGAN, overrides=overrides)
        engine = Engine(plan)
        clock = Clock(step=step, run=step / 4)
        x = torch.zeros(2, 3, 16, 16)
        indices = {
            "task": torch.zeros(2, dtype=torch.long),
            "source_domain": torch.zeros(2, dtype=torch.long),
            "target_domain": torch.ones(2, dtype=torch.long),
            "source_attributes": {},
            "target_attributes": {},
        }
        values = {"source": x, "target": x, "clock": clock, "strength": None, **indices}
        batch = {(translation, name): value for translation in plan.translations for name, value in values.items()}
        found = {}
        for phase in plan.recipe.phases:
            computed = engine.objective.compute_nodes(batch, [phase], clock)
            engine.objective(phase, computed, clock)
            found[phase.side] = [[name.split(": ")[-1] for name in each.nodes] for each in computed.passes]
        return found

    return run


def test_a_generator_of_all_directions_takes_two_passes_and_a_discriminator_one_for_each_network(passes: Any) -> None:
    found = passes()
    assert found["generator"] == [
        ["fake", "fake", "identity", "identity"],
        ["reconstruction", "reconstruction"],
        ["d on fake"],
        ["d on fake"],
    ]
    assert found["discriminator"] == [["fake", "fake"], ["d on target", "d on fake"], ["d on target", "d on fake"]]


def test_batch_norm_needs_a_pass_for_each_call(passes: Any) -> None:
    found = passes('generators.g.norm="batch"', 'discriminators.d.norm="batch"')
    assert all(len(nodes) == 1 for nodes in (*found["generator"], *found["discriminator"]))
    assert len(found["generator"]) == 8
    assert len(found["discriminator"]) == 6


@pytest.mark.parametrize(
    ("step", "weight", "nodes"),
    [
        (0, "0.0", ["fake", "fake"]),
        (0, "{from=5.0, to=0.0, between=[0.0, 0.5]}", ["fake", "fake", "identity", "identity"]),
        (3, "{from=5.0, to=0.0, between=[0.0, 0.5]}", ["fake", "fake"]),
        (0, '{weight=5.0, translations=["young -> old"]}', ["fake", "fake", "identity"]),
    ],
)
def test_a_term_without_weight_needs_no_pass(passes: Any, step: int, weight: str, nodes: list[str]) -> None:
    found = passes(f"losses.identity={weight}", "losses.cycle=0.0", step=step)
    assert found["generator"] == [nodes, ["d on fake"], ["d on fake"]]


def test_frozen_and_trained_calls_of_one_network_are_separate_passes(planned: Any) -> None:
    class Both(Nodes):
        @node
        def fake(self, source: Tensor, to_target: dict[str, Tensor]) -> Call:
            return Call("generator", source, to_target)

        @node
        def frozen_fake(self, fake: Tensor, target: Tensor, to_target: dict[str, Tensor]) -> Call:
            return Call("generator", fake, to_target, frozen=True)

        @node
        def to_target(self, target_domain: Tensor) -> dict[str, Tensor]:
            return {"domain": target_domain}

    plan = planned(CYCLEGAN)
    engine = Engine(plan)
    batch: dict[Any, Any] = {(THERE, "target_domain"): torch.zeros(1, dtype=torch.long)}
    batch |= {(THERE, name): torch.rand(1, 3, 16, 16) for name in ("source", "target")}
    step = Step(Graph({"": Both(Options())}), engine.networks, batch)
    step.compute([(THERE, "frozen_fake")])
    network: nn.Module = engine.networks["g"]
    step.values[THERE, "frozen_fake"].sum().backward()
    first = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    for parameter in network.parameters():
        parameter.grad = None
    fake = engine.networks("g", batch[THERE, "source"], {"domain": batch[THERE, "target_domain"]})
    x = fake.detach().requires_grad_()
    engine.networks("g", x, {"domain": batch[THERE, "target_domain"]}).sum().backward()
    for parameter in network.parameters():
        parameter.grad = None
    fake.backward(x.grad)
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(first[name], parameter.grad)


def test_a_node_may_take_several_passes_which_merge_with_those_of_others() -> None:
    networks = FunctionRunner({"generator": plain})
    inputs = batch_inputs(THERE, BACK)
    step = Step(graph(Loops), networks, inputs)
    step.compute([(THERE, "sum"), (BACK, "fake")])
    for translation in (THERE, BACK):
        x, style = inputs[translation, "source"], inputs[translation, "target"].mean((1, 2, 3))
        once = plain(x, style)
        looped = plain(plain(once, style), style)
        torch.testing.assert_close(step.values[translation, "fake"], looped)
        if translation == THERE:
            torch.testing.assert_close(step.values[translation, "sum"], looped + once)
    assert networks.passes == [3 * 2, 2 * 2, 2 * 2]  # the first round also holds `once`


def test_a_node_that_yields_no_call_is_an_error_that_names_it() -> None:
    step = Step(graph(YieldsText), FunctionRunner({}), batch_inputs(THERE))
    with pytest.raises(TypeError, match="node 'fake' yielded str, expected a Call") as caught:
        step.compute([(THERE, "fake")])
    assert caught.value.__notes__ == ["while computing 'fake' for age: young -> old"]


def test_a_thread_that_ends_later_puts_back_nothing_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are decoded in threads, while whoever calls may go to another folder."""
    monkeypatch.chdir(tmp_path)
    begun, moved = threading.Event(), threading.Event()

    def decode() -> None:
        with error_context("decoding"):
            begun.set()
            assert moved.wait(60)

    thread = threading.Thread(target=decode)
    thread.start()
    assert begun.wait(60)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        moved.set()
        thread.join()
        assert Path.cwd() == tmp_path / "there" and torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(before)
