"""Checks of losses."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from transgan.api.names import BATCH_INPUTS, DISCRIMINATOR_ARGUMENTS, LOSS_ARGUMENTS
from transgan.graph import Step, used_arguments
from transgan.testing.checker import Fault, in_a_line
from transgan.testing.naming import NamingChecker, Runner, TinyGenerator
from transgan.testing.values import (
    Batch,
    as_dtype,
    differ,
    on_meta,
    rows,
    tensors_of,
    translation_of,
    with_gradients,
)

#: Arguments whose change need not change a result.
_WITHOUT_EFFECT = {"translation", "training", "clock", "rng", "latents", "buffers", "keys", "samples", "true_samples"}


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

    def check_value(self) -> Iterator[str]:
        """It is a finite scalar, and leaves its inputs as they are."""
        for side in self.sides(self.plugin):
            batch = self.batch()
            kept = copy.deepcopy({n: v for n, v in batch.items() if n != "buffers" and tensors_of(v)})
            value = self.value(self.plugin, side, batch)
            if value.dtype != torch.float32:
                yield f"for_{side} returns {value.dtype} for float32, expected torch.float32, which every device has"
            for name, each in batch.get("buffers", {}).items():
                if not isinstance(each, Tensor):
                    yield f"for_{side} sets buffers['{name}'] to {type(each).__name__}; expected a tensor"
            if not torch.isfinite(value):
                yield f"for_{side} returns {value.item()} for random samples; check divisions, roots and logarithms"
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
            inputs = [x for each in inputs_of.values() for x in each]
            inputs += own + tiny if side == "generator" else []
            value = self.value(self.plugin, side, batch)
            found: Sequence[Tensor | None] = [None] * len(inputs)
            if value.requires_grad and inputs:
                found = torch.autograd.grad(value, inputs, allow_unused=True)
            reached = [each for each in found if each is not None]
            if not any(bool(each.abs().sum() > 0) for each in reached):
                trained = "nodes and outputs of discriminators" if side == "generator" else "outputs of discriminators"
                yield (
                    f"for_{side} has no gradient, so that it trains nothing: does it detach(), round, compare or "
                    f"leave torch? Of what it asks for, only {trained} are trained"
                )
            if any(not torch.isfinite(each).all() for each in reached):
                yield f"for_{side} has gradients that are NaN or infinite; check roots and norms at 0"
            of_own = [g for x, g in zip(inputs, found, strict=True) if any(x is p for p in own)]
            if side == "generator" and own and all(each is None for each in of_own):
                yield "no gradient reaches its own networks, which are trained by it; use them in for_generator"

    def _is_trained(self, name: str, side: str) -> bool:
        if side == "discriminator":  # whose nodes are detached
            return name in DISCRIMINATOR_ARGUMENTS and not name.endswith("_input")
        if name.endswith("_outputs"):
            return True
        if name in DISCRIMINATOR_ARGUMENTS:
            return name in ("fake_output", "fake_input", "discriminator", "real_output")
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
                    f"for_{side} of a batch is {whole.item():.4g}, and the mean of its halves "
                    f"{torch.stack(parts).mean(0).item():.4g}; take the mean over samples, not the sum"
                )

    def check_determinism(self) -> Iterator[str]:
        """Equal inputs give equal results."""
        for side in self.sides(self.plugin):
            values = [self.value(self.plugin, side, self.batch()) for _ in range(2)]
            torch.manual_seed(9)
            batch = self.batch()
            torch.manual_seed(10)
            values.append(self.value(self.plugin, side, batch))
            self.value(self.plugin, side, self.batch(seed=7))
            values.append(self.value(self.plugin, side, self.batch()))  # and so after others
            if any(differ(values[0], each, 1e-6) for each in values[1:]):
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
                yield f"for_{side} is {single.item():.5g} in float32, {double.item():.5g} in float64; it loses digits"

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
