"""The trace: every phase of a plan run once on the meta device, where tensors have shapes and no numbers.

A run makes it before its first step, so that a mistake in its last stage does not show after hours.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from transgan.api.protocols import DiscriminatorOutput
from transgan.errors import RecipeError, TransganError
from transgan.graph import Pass
from transgan.networks import Networks
from transgan.plan import Conditioned, Plan, Stage
from transgan.plugin_errors import notes_of, plugin_of
from transgan.recipe.schema import Phase
from transgan.registry import Registry
from transgan.schedule import Clock
from transgan.training.engine import phases_sharing_nodes
from transgan.training.live import LiveTensors
from transgan.training.objective import Objective
from transgan.training.shapes import meta_inputs


@dataclass(frozen=True)
class PhaseTrace:
    """One phase, or the nodes that phases share, traced on the meta device."""

    side: str
    """`nodes` for what phases share, else the side that is trained."""
    passes: list[Pass]
    losses: list[str]
    peak: int
    """Bytes that tensors hold at most: weights, gradients, activations, and what the backward pass computes."""
    trains: tuple[str, ...] = ()
    """The networks that the phase is to train, without those that are frozen."""
    trained: tuple[str, ...] = ()
    """Those among them that a gradient of the losses reaches."""


def trace_run(plan: Plan) -> list[list[PhaseTrace]]:
    """Trace every phase of every stage, and of those that the run would have after the guardian's fallback.

    Returns:
        For each stage of the plan the traces of its phases.

    Raises:
        RecipeError: a phase cannot run; says in which stage, and at which node, network or loss.
    """
    traces = [trace_phases(plan, stage) for stage in plan.stages]
    if fallback := plan.fallback:
        try:
            for stage in fallback.stages:
                trace_phases(fallback, stage)
        except RecipeError as error:
            lines = [f"[guard] 'fallback' would not run: {line}" for line in error.problems]
            raise RecipeError(lines, plan.recipe.name) from error
    return traces


def trace_phases(plan: Plan, stage: Stage, merge: str = "always") -> list[PhaseTrace]:
    """Trace every phase of a stage on the meta device.

    Raises:
        RecipeError: a phase cannot run; says at which node, network or loss.
    """
    batch = max(1, stage.batch // plan.recipe.train.accumulate)
    networks = _TracingNetworks(plan, "meta", merge=merge)
    networks.freeze(stage)
    objective = Objective(plan, networks, traces_all=True)
    clock = Clock(step=stage.first, run=stage.first / plan.recipe.train.steps)
    batch_inputs = meta_inputs(plan, stage, batch, clock)
    phases = stage.phases
    sharing = phases_sharing_nodes(phases, plan.recipe.train.accumulate)
    traces = []
    where = f"stage {plan.stages.index(stage) + 1}: " if len(plan.stages) > 1 else ""
    with LiveTensors() as live:
        held = (value for network in networks.values() for value in (*network.parameters(), *network.buffers()))
        live.hold(value for value in held if not is_lazy(value))
        with _as_recipe_error(plan, f"{where}the nodes of the step"):
            shared = objective.compute_nodes(batch_inputs, sharing, clock)
        traces.append(PhaseTrace("nodes", list(shared.passes), [], live.peak))
        for parameter in _parameters(plan, networks, phases):
            if not is_lazy(parameter):
                parameter.grad = torch.empty_like(parameter)  # of the step before, until its phase begins again
        for phase in phases:
            trained = _parameters(plan, networks, [phase])
            for parameter in trained:
                parameter.grad = None
            live.peak = live.now
            with _as_recipe_error(plan, f"{where}the {phase.side} phase"):
                step = shared if phase in sharing else objective.compute_nodes(batch_inputs, [phase], clock)
                before = len(step.passes) if step is shared else 0
                networks.set_trainable(plan.trained(phase))
                trains = {name: networks.trainable(name) for name in plan.trained(phase)}
                trains = {name: own for name, each in trains.items() if (own := [p for p in each if p.requires_grad])}
                total, values = objective(phase, step, clock)
                if total is not None and total.requires_grad:
                    total.backward()  # type: ignore[no-untyped-call]
            names = list(dict.fromkeys(name.rpartition("/")[2] for name in values))
            reached = tuple(name for name, own in trains.items() if any(p.grad is not None for p in own))
            traces.append(PhaseTrace(phase.side, step.passes[before:], names, live.peak, tuple(trains), reached))
    if unread := list(networks.unread_conditions()):
        raise RecipeError(unread, plan.recipe.name)
    return traces


class _TracingNetworks(Networks):
    """Networks on the meta device that check the shapes of inputs and outputs."""

    def __call__(
        self, name: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, full_precision: bool = False
    ) -> Any:
        planned = self.plan.networks[name]
        # A condition that is no tensor asks for a part of a network, such as its activations after some layers.
        of_stage = self._stage.conditions if self._stage else {}
        own = [value for each, value in conditions.items() if each not in of_stage]
        whole = planned.kind == "generators" and all(isinstance(value, Tensor) for value in own)
        if whole and x.shape[1] != planned.spec.source_channels:
            raise ValueError(f"its input has {x.shape[1]} channels, expected {planned.spec.source_channels}")
        if missing := self._missing_condition(name, conditions):
            raise ValueError(f"it needs the condition '{missing}', which its nodes do not give it here")
        output = super().__call__(name, x, conditions, frozen, full_precision)
        if whole:
            expected = (len(x), planned.spec.channels, *x.shape[2:])
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            if found != expected:
                raise ValueError(f"it returned {found}, expected a tensor {expected}")
        if planned.kind == "discriminators" and not isinstance(output, DiscriminatorOutput):
            raise ValueError(f"it returned {type(output).__name__}, expected a DiscriminatorOutput")
        return output

    def _missing_condition(self, name: str, given: Mapping[str, Any]) -> str | None:
        """Return an argument of a network's `forward` that has no default and that nothing gives it."""
        module = self[name]
        if not isinstance(module, Conditioned):
            return None  # of a loss, which calls it itself
        parameters = list(inspect.signature(type(module.network).forward).parameters.values())[2:]  # but self and x
        needed = [
            p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        return next((each for each in needed if each not in given and each != "style"), None)


@contextmanager
def _as_recipe_error(plan: Plan, what: str) -> Iterator[None]:
    """Turn any error of a plugin's code into one line that says where it was raised."""
    try:
        yield
    except Exception as error:
        notes = [f"while {note}" for note in reversed(notes_of(error))]
        if not isinstance(error, TransganError) and (plugin := plugin_of(error, Registry.installed())):
            notes.append(f"in {plugin}")
        said = error.args[0] if isinstance(error, KeyError) and error.args else error  # str() would quote it
        text = (str(said).strip() or type(error).__name__).splitlines()[0]
        where = f" ({'; '.join(notes)})" if notes else ""
        raise RecipeError([f"{what} cannot run: {text}{where}"], plan.recipe.name) from error


def _parameters(plan: Plan, networks: Networks, phases: Iterable[Phase]) -> list[nn.Parameter]:
    """Return the parameters that phases train."""
    names = dict.fromkeys(name for phase in phases for name in plan.trained(phase))
    return [parameter for name in names for parameter in networks.trainable(name)]
