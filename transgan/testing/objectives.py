"""Checks of losses, sets of nodes and metrics, which name their inputs as arguments."""

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transgan.api.names import BATCH_INPUTS, DISCRIMINATOR_ARGUMENTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
from transgan.api.protocols import NetworkSpec, Translation
from transgan.api.samples import Column, Domain, Media, Sample
from transgan.errors import closest
from transgan.graph import Graph, Step, argument_names, used_arguments
from transgan.plan.plan import ROLES
from transgan.registry import Registry
from transgan.reporting.plugins import nodes_of
from transgan.testing.checker import Checker, Fault, N, in_a_line
from transgan.testing.values import (
    Batch,
    as_dtype,
    batch_of,
    differ,
    on_meta,
    rows,
    sample,
    tensors_of,
    translation_of,
    with_gradients,
)
from transgan.text import listed

#: Arguments whose change need not change a result.
_WITHOUT_EFFECT = {"translation", "training", "clock", "rng", "latents", "buffers", "keys", "samples", "true_samples"}


class TinyGenerator(nn.Module):
    """A generator for nodes to call: its output depends on its input, on its conditions, and on its weights."""

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.channels = spec.channels
        self.scale = nn.Parameter(torch.randn(spec.channels) / 2 + 1)

    def forward(self, x: Tensor, **conditions: Any) -> Tensor:
        scale = self.scale.to(x) if x.device == self.scale.device else torch.empty_like(self.scale, device=x.device)
        y = x[:, : self.channels].mean(1, keepdim=True) * scale.reshape(1, -1, *[1] * (x.dim() - 2))
        for each in conditions.values():
            if isinstance(each, Tensor) and len(each) == len(x):
                y = y + each.reshape(len(x), -1).to(y).mean(1).reshape(-1, *[1] * (x.dim() - 1)) / 10
        return torch.tanh(y)


class Runner:
    """What runs the networks that nodes call: given ones, a loss's own, and tiny generators."""

    def __init__(self, networks: Mapping[str, Callable[..., Any]], spec: NetworkSpec):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            tiny = {role: TinyGenerator(spec) for role in ("generator", "back")}
        self.networks: dict[str, Callable[..., Any]] = {**tiny, **networks}

    def resolve(self, translation: Translation, role: str, owner: str = "", /) -> str:
        for name in (f"{owner}/{role}", role, role.partition(".")[0]):  # `mapping.target`: that of a domain
            if name in self.networks:
                return name
        raise Fault(f"it calls the network '{role}', which is not there; give check networks={{'{role}': ...}}")

    def mixes_batch(self, network: str, /) -> bool:
        return False

    def should_merge(self, x: Tensor, /) -> bool:
        return False

    def __call__(self, network: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, /) -> Any:
        module = self.networks[network]
        if isinstance(module, nn.Module) and isinstance(x, Tensor):
            where = next(iter(tensors_of(dict(module.named_parameters()))), None)
            if x.is_meta and (where is None or not where.is_meta):
                module = copy.deepcopy(module).to("meta")
            elif where is not None and x.is_floating_point() and where.dtype != x.dtype:
                module = copy.deepcopy(module).to(x.dtype)
        return module(x, **conditions)


class NamingChecker(Checker):
    """What holds for everything that names its inputs as arguments."""

    further: tuple[str, ...] = ()
    """Names of arguments that only this kind can ask for."""

    @property
    def functions(self) -> list[Callable[..., Any]]:
        raise NotImplementedError

    @cached_property
    def plugin(self) -> Any:
        torch.manual_seed(0)
        return self.build()

    def graph_of(self, plugin: Any) -> Graph:
        return Graph({"own": plugin})

    def names(self, plugin: Any) -> list[str]:
        """Return what all functions ask for and their nodes need, but the nodes themselves."""
        graph = self.graph_of(plugin)
        wanted = [graph.resolve(name, "own") for name in self.arguments(plugin)]
        return [name for name in graph.closure(wanted) if name not in graph.functions]

    def arguments(self, plugin: Any) -> list[str]:
        raise NotImplementedError

    def batch(self, plugin: Any = None, seed: int = 1) -> Batch:
        plugin = self.plugin if plugin is None else plugin
        torch.manual_seed(seed)
        annotations: dict[str, Any] = {}
        for function in [*self.graph_of(plugin).functions.values(), *self._methods(plugin)]:
            annotations |= {name: each.annotation for name, each in inspect.signature(function).parameters.items()}
        return batch_of(self.names(plugin), self.given, annotations)

    def _methods(self, plugin: Any) -> list[Callable[..., Any]]:
        return []

    def check_arguments(self) -> Iterator[str]:
        """Every argument is a batch input, a node of the plugin, or a node of an installed set."""
        nodes = {node.name for each in Registry.installed().candidates("nodes") for node in nodes_of(each.cls)}
        known = {*BATCH_INPUTS, *self.further, *nodes, *self.given.inputs}
        for name in self.names(self.plugin):
            inputs = any(name.startswith(f"{role}_") for role in ROLES)
            if name not in known and not (inputs and not closest(name, known)):
                close = closest(name, known)
                hint = f"did you mean '{close}'?" if close else "`transgan plugins --names` lists what there is"
                yield (
                    f"it asks for '{name}', which is neither a batch input nor a node of an installed set; {hint} "
                    f"For a node of a set of your own give a value: check(..., inputs={{'{name}': ...}})"
                )
        for each in getattr(self.plugin, "unused_inputs", ()):
            if each not in {name for function in self.functions for name in argument_names(function)}:
                yield f"unused_inputs has '{each}', which is no argument of it"


class LossChecker(NamingChecker):
    first_use = "value"
    further = tuple(LOSS_ARGUMENTS)

    def works(self, options: Any) -> None:
        loss = self.build(options)
        for side in self.sides(loss):
            self.value(loss, side, self.batch(loss))

    def sides(self, loss: Any) -> list[str]:
        return [side for side in ("generator", "discriminator") if hasattr(loss, f"for_{side}")]

    @property
    def functions(self) -> list[Callable[..., Any]]:
        return self._methods(self.plugin)

    def _methods(self, plugin: Any) -> list[Callable[..., Any]]:
        return [getattr(plugin, f"for_{side}") for side in self.sides(plugin)]

    def arguments(self, plugin: Any) -> list[str]:
        return list(dict.fromkeys(name for each in self._methods(plugin) for name in used_arguments(plugin, each)))

    @cached_property
    def own_networks(self) -> dict[str, nn.Module]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            found: dict[str, nn.Module] = self.plugin.networks(self.spec)
        return found

    @cached_property
    def runner(self) -> Runner:
        own = {f"own/{name}": network for name, network in self.own_networks.items()}
        return Runner({**own, **self.given.networks}, self.spec)

    def value(self, loss: Any, side: str, batch: Batch) -> Tensor:
        one, graph = translation_of(self.spec), self.graph_of(loss)
        step = Step(graph, self.runner, {(one, name): value for name, value in batch.items()})
        function = getattr(loss, f"for_{side}")
        names = used_arguments(loss, function)
        step.compute([(one, graph.resolve(name, "own")) for name in names])
        value = function(**step.arguments(one, names, "own", {}))
        if not isinstance(value, Tensor) or value.dim():
            found = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise Fault(f"for_{side} returns {found}, expected a scalar tensor; take the mean")
        return value

    def check_sides(self) -> Iterator[str]:
        """It has a method that runs call."""
        if not self.sides(self.plugin):
            yield "it has neither for_generator nor for_discriminator: it would never be evaluated; define one"
        others = [
            name for name in vars(self.cls) if name.startswith("for_") and name[4:] not in self.sides(self.plugin)
        ]
        yield from (f"nothing calls '{name}'; expected for_generator or for_discriminator" for name in others)
        if not isinstance(self.plugin.interval, int) or self.plugin.interval < 1:
            yield f"interval is {self.plugin.interval!r}, expected a whole number of at least 1"

    def check_value(self) -> Iterator[str]:
        """It is a finite scalar, and leaves its inputs as they are."""
        for side in self.sides(self.plugin):
            batch = self.batch()
            kept = copy.deepcopy({n: v for n, v in batch.items() if n != "buffers" and tensors_of(v)})
            value = self.value(self.plugin, side, batch)
            if not value.is_floating_point():
                yield f"for_{side} returns {value.dtype}, expected floating point"
            if not torch.isfinite(value):
                yield f"for_{side} returns {float(value)} for random samples; check divisions, roots and logarithms"
            for name, before in kept.items():
                if differ(before, batch[name], 0.0):
                    yield f"for_{side} changes '{name}' in place, which other losses get too; work on a copy"

    def check_gradients(self) -> Iterator[str]:
        """A gradient reaches what it trains, and is finite."""
        own = [p for network in self.own_networks.values() for p in network.parameters() if p.requires_grad]
        for side in self.sides(self.plugin):
            batch = self.batch()
            names = [name for name in self.names(self.plugin) if self._is_trained(name, side)]
            batch, inputs_of = with_gradients(batch, names)
            networks = [each for each in self.runner.networks.values() if isinstance(each, TinyGenerator)]
            tiny = [p for each in networks for p in each.parameters()]
            inputs = [x for each in inputs_of.values() for x in each] + own + tiny
            value = self.value(self.plugin, side, batch)
            found: Sequence[Tensor | None] = [None] * len(inputs)
            if value.requires_grad and inputs:
                found = torch.autograd.grad(value, inputs, allow_unused=True)
            reached = [each for each in found if each is not None]
            if not any(bool(each.abs().sum() > 0) for each in reached):
                yield (
                    f"for_{side} has no gradient, so that it trains nothing: does it detach(), round, compare or "
                    "leave torch? Of what it asks for, only nodes and outputs of discriminators are trained"
                )
            if any(not torch.isfinite(each).all() for each in reached):
                yield f"for_{side} has gradients that are NaN or infinite; check roots and norms at 0"
            of_own = [g for x, g in zip(inputs, found, strict=True) if any(x is p for p in own)]
            if side == "generator" and own and all(each is None for each in of_own):
                yield "no gradient reaches its own networks, which are trained by it; use them in for_generator"

    def _is_trained(self, name: str, side: str) -> bool:
        if name.endswith("_outputs"):
            return True
        if name in DISCRIMINATOR_ARGUMENTS:
            return side == "discriminator" or name in ("fake_output", "fake_input", "discriminator", "real_output")
        return name not in BATCH_INPUTS and name not in LOSS_ARGUMENTS

    def check_use(self) -> Iterator[str]:
        """Every argument costs passes: a loss that asks for something depends on it."""
        for side in self.sides(self.plugin):
            function = getattr(self.plugin, f"for_{side}")
            first, second = self.batch(), self.batch(seed=7)
            before = self.value(self.plugin, side, copy.deepcopy(first))
            for name in used_arguments(self.plugin, function):
                if name in _WITHOUT_EFFECT or name not in first or not differ(first[name], second[name], 0.0):
                    continue
                if not differ(before, self.value(self.plugin, side, {**first, name: second[name]}), 0.0):
                    yield (
                        f"for_{side} asks for '{name}' and does not depend on it; remove the argument, or name it in "
                        "unused_inputs where the options do not need it"
                    )

    def check_mean(self) -> Iterator[str]:
        """With train.accumulate, and on several processes, the loss of a batch is the mean over its parts."""
        for side in self.sides(self.plugin):
            batch = self.batch()
            whole = self.value(self.plugin, side, copy.deepcopy(batch))
            parts = [self.value(self.plugin, side, rows(batch, index)) for index in ([0, 1], [2, 3])]
            if differ(whole, torch.stack(parts).mean(0), 1e-3):
                yield (
                    f"for_{side} of a batch is {float(whole):.4g}, and the mean of its halves "
                    f"{float(torch.stack(parts).mean(0)):.4g}; take the mean over samples, not the sum"
                )

    def check_determinism(self) -> Iterator[str]:
        """Equal inputs give equal results."""
        for side in self.sides(self.plugin):
            values = [self.value(self.plugin, side, self.batch()) for _ in range(2)]
            torch.manual_seed(9)
            batch = self.batch()
            torch.manual_seed(10)
            values.append(self.value(self.plugin, side, batch))
            if differ(values[0], values[1], 1e-6) or differ(values[0], values[2], 1e-6):
                yield (
                    f"for_{side} returns something else for the same inputs; take random numbers from the argument "
                    "'rng', and keep what is to last in the argument 'buffers'"
                )

    def check_precision(self) -> Iterator[str]:
        """It loses no digits in float32."""
        for side in self.sides(self.plugin):
            batch = self.batch()
            single = self.value(self.plugin, side, copy.deepcopy(batch))
            double = self.value(self.plugin, side, as_dtype(batch, torch.float64))
            if differ(single, double, 1e-3):
                yield f"for_{side} is {float(single):.5g} in float32, {float(double):.5g} in float64; it loses digits"

    def check_device(self) -> Iterator[str]:
        """It runs on any device, and can be traced on the meta device."""
        for side in self.sides(self.plugin):
            try:
                value = self.value(self.plugin, side, on_meta(self.batch()))
            except Fault:
                raise
            except Exception as error:
                raise Fault(
                    f"for_{side} cannot be traced on another device (meta), as `transgan check` does: "
                    f"{in_a_line(error)}; make tensors like those given, and read no values (item(), if) from them"
                ) from None
            if not value.is_meta:
                yield f"on the device meta for_{side} returns a tensor on {value.device}; make it like those given"

    def check_decision_logit(self) -> Iterator[str]:
        """An adversarial loss with a `decision_logit` says how real logits are."""
        decision = self.plugin.decision_logit
        if decision is None:
            return
        logits = decision + torch.linspace(-3, 3, 7)[:, None]
        try:
            found = self.plugin.realness(logits)
        except NotImplementedError:
            raise Fault("it has a decision_logit and no realness; define realness(logits)") from None
        if found.shape != logits.shape or float(found.max()) > 1.0001:
            yield f"realness returns up to {float(found.max()):.3g}, shape {tuple(found.shape)}; expected at most 1"


class NodesChecker(NamingChecker):
    first_use = "nodes"

    def works(self, options: Any) -> None:
        plugin = self.build(options)
        self.values(plugin, self.batch(plugin))

    def graph_of(self, plugin: Any) -> Graph:
        return Graph({"": plugin})

    @property
    def functions(self) -> list[Callable[..., Any]]:
        return list(self.graph_of(self.plugin).functions.values())

    def arguments(self, plugin: Any) -> list[str]:
        return list(self.graph_of(plugin).functions)

    def values(self, plugin: Any, batch: Batch) -> dict[str, Any]:
        one, graph = translation_of(self.spec), self.graph_of(plugin)
        step = Step(
            graph, Runner(self.given.networks, self.spec), {(one, name): value for name, value in batch.items()}
        )
        step.compute([(one, name) for name in graph.functions])
        return {name: step.values[one, name] for name in graph.functions}

    def check_nodes(self) -> Iterator[str]:
        """Nodes are described, finite, and `fake` has the form of a sample."""
        functions = self.graph_of(self.plugin).functions
        if "fake" not in functions:
            yield "it has no node 'fake', the translation, which metrics, previews and models need; define one"
        for name, function in functions.items():
            if not (function.__doc__ or "").strip():
                yield f"node '{name}' has no docstring; say what it is and its shape, such as (N, C, *space)"
            if name in BATCH_INPUTS:
                yield f"node '{name}' has the name of a batch input; rename it"
        values = self.values(self.plugin, self.batch())
        if isinstance(fake := values.get("fake"), Tensor):
            expected = (N, self.spec.channels, *self.spec.space)
            if tuple(fake.shape) != expected:
                yield f"node 'fake' is {tuple(fake.shape)}, expected (N, C, *space) = {expected}"
        for name, value in values.items():
            if any(x.is_floating_point() and not torch.isfinite(x).all() for x in tensors_of(value)):
                yield f"node '{name}' is NaN or infinite for random samples"

    def check_gradients(self) -> Iterator[str]:
        """A gradient reaches what it trains, and is finite."""
        batch = self.batch()
        runner = Runner(self.given.networks, self.spec)
        one, graph = translation_of(self.spec), self.graph_of(self.plugin)
        step = Step(graph, runner, {(one, name): value for name, value in batch.items()})
        if "fake" in graph.functions:
            step.compute([(one, "fake")])
            if not step.values[one, "fake"].requires_grad:
                yield "no gradient goes through node 'fake', so that no generator can be trained; do not detach it"

    def check_independence(self) -> Iterator[str]:
        """A sample's nodes do not depend on the other samples of the batch."""
        batch = self.batch()
        whole = rows(self.values(self.plugin, batch), [2, 3])
        part = self.values(self.plugin, rows(batch, [2, 3]))
        for name, value in part.items():
            if differ(value, whole[name]):
                yield f"node '{name}' of a sample depends on other samples of its batch; compute it sample by sample"

    def check_determinism(self) -> Iterator[str]:
        """Equal inputs give equal results."""
        torch.manual_seed(9)
        one = self.values(self.plugin, self.batch())
        torch.manual_seed(10)
        batch = self.batch()
        torch.manual_seed(11)
        two = self.values(self.plugin, batch)
        for name, value in one.items():
            if differ(value, two[name], 1e-6):
                yield f"node '{name}' differs for equal inputs; take random numbers from 'rng' or 'latents'"

    def check_device(self) -> Iterator[str]:
        """It runs on any device, and can be traced on the meta device."""
        try:
            self.values(self.plugin, on_meta(self.batch()))
        except Fault:
            raise
        except Exception as error:
            raise Fault(
                f"its nodes cannot be traced on another device (meta), as `transgan check` does: {in_a_line(error)}; "
                "make tensors like those given, and read no values (item(), if) from them"
            ) from None
        yield from ()


class PlainMedia(Media[Any]):
    """Media whose items and decoded samples are tensors, for metrics that ask a domain for its media."""

    spec: NetworkSpec

    @property
    def space(self) -> tuple[int, ...]:
        return self.spec.space

    def decode(self, location: Any) -> Any:
        return location(None)

    def batch(self, decoded: Any, rng: Any, domains: Sequence[str]) -> Tensor:
        return torch.as_tensor(decoded)

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        return path


class MetricChecker(NamingChecker):
    first_use = "figures"
    further = tuple(METRIC_ARGUMENTS)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        return [self.plugin.update]

    def _methods(self, plugin: Any) -> list[Callable[..., Any]]:
        return [plugin.update]

    def arguments(self, plugin: Any) -> list[str]:
        if not hasattr(plugin, "update"):
            raise Fault("it has no method update; define update(self, translation, fake, ...)")
        return list(used_arguments(plugin, plugin.update))

    def works(self, options: Any) -> None:
        metric = self.build(options)
        self.figures(metric, [self.batch(metric)])

    def batch(self, plugin: Any = None, seed: int = 1) -> Batch:
        """Return a batch, in which there is a reference if it is asked for."""
        found = super().batch(plugin, seed)
        return found | {"reference": sample(self.spec)} if found.get("reference", 0) is None else found

    def build(self, options: Any = None) -> Any:
        metric = super().build(options)
        domains = {name: self._domain(name, 20 + i) for i, name in enumerate(self.spec.domains)}
        metric.prepare(domains, {self.spec.tasks[0]: self.spec.domains}, 0)
        return metric

    def _domain(self, name: str, seed: int) -> Domain:
        torch.manual_seed(seed)
        x = sample(self.spec, count=2 * N)
        samples = [Sample(f"{name}-{i}", lambda size, i=i: x[i].numpy(), {}) for i in range(2 * N)]

        def batches(held_out: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
            for first in range(0, 2 * N, size):
                yield [each.key for each in samples[first : first + size]], x[first : first + size]

        media = PlainMedia(PlainMedia.Options(), self.spec.space)
        media.spec, media.channels = self.spec, self.spec.channels
        return Domain(name, samples, samples, batches, media)

    def figures(self, metric: Any, batches: list[Batch]) -> dict[Translation, dict[str, float]]:
        metric.reset()
        for each in batches:
            metric.update(**{name: each[name] for name in used_arguments(metric, metric.update)})
        found: dict[Translation, dict[str, float]] = metric.compute()
        return found

    def check_figures(self) -> Iterator[str]:
        """Figures are finite numbers of the translations that were measured."""
        batch = self.batch()
        kept = copy.deepcopy({n: v for n, v in batch.items() if tensors_of(v)})
        found = self.figures(self.plugin, [batch])
        if not isinstance(found, dict) or not all(isinstance(each, Translation) for each in found):
            raise Fault("compute returns no table by translation; return {translation: {'name': 1.0}}")
        if found and set(found) != {translation_of(self.spec)}:
            yield f"compute returns figures for {listed(map(str, found))}, which were not measured"
        for name, value in (pair for each in found.values() for pair in each.items()):
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                yield f"figure '{name}' is {type(value).__name__}, expected a number; write float(...)"
            elif not math.isfinite(value):
                yield f"figure '{name}' is {value} for random samples; omit it and say why in warnings()"
        if not found and not list(self.plugin.warnings()):
            yield "it returns no figures for random samples and warnings() does not say why"
        for name, before in kept.items():
            if differ(before, batch[name], 0.0):
                yield f"update changes '{name}' in place, which other metrics get too; work on a copy"

    def check_direction(self) -> Iterator[str]:
        """`direction` says which figures are better, so that the best weights can be kept by them."""
        names = {name for each in self.figures(self.plugin, [self.batch()]).values() for name in each}
        if names and not any(name.startswith(known) for name in names for known in self.plugin.direction):
            first = min(names)
            yield f"direction says of no figure which is better; write direction = {{'{first}': 'lower'}} or 'higher'"
        for name, way in self.plugin.direction.items():
            if way not in ("lower", "higher"):
                yield f"direction of '{name}' is {way!r}, expected 'lower' or 'higher'"

    def check_batches(self) -> Iterator[str]:
        """The batch size of evaluations changes no figure."""
        batch = self.batch()
        whole = self.figures(self.plugin, [batch])
        parts = self.figures(self.plugin, [rows(batch, [0]), rows(batch, [1, 2, 3])])
        yield from self._differing(whole, parts, "they depend on the batch size; weight by the number of samples")

    def check_reset(self) -> Iterator[str]:
        """`reset` forgets all updates, and `compute` only reads."""
        batch, other = self.batch(), self.batch(seed=5)
        first = self.figures(self.plugin, [batch])
        yield from self._differing(first, self.plugin.compute(), "compute changes them; let it only read")
        self.figures(self.plugin, [other])
        again = self.figures(self.plugin, [batch])
        yield from self._differing(first, again, "reset does not forget earlier updates")

    def check_translations(self) -> Iterator[str]:
        """Figures of one translation do not depend on those of another."""
        batch, other = self.batch(), self.batch(seed=5)
        if "translation" not in batch:
            raise Fault("update does not ask for 'translation', by which compute returns figures; add the argument")
        alone = self.figures(self.plugin, [batch])
        both = self.figures(self.plugin, [batch, {**other, "translation": batch["translation"].back}])
        one = translation_of(self.spec)
        yield from self._differing(
            alone, {one: both.get(one, {})}, "they depend on other translations; keep them apart"
        )

    def _differing(self, one: Mapping[Translation, Any], two: Mapping[Translation, Any], why: str) -> Iterator[str]:
        for translation, figures in one.items():
            for name, value in figures.items():
                again = two.get(translation, {}).get(name, math.nan)
                if not math.isclose(value, again, rel_tol=1e-3, abs_tol=1e-5):
                    yield f"figure '{name}' is {value:.5g}, and {again:.5g} of the same samples: {why}"
