"""The trace: every phase of a plan run once on the meta device, where tensors have shapes and no numbers.

A run makes it before its first step, so that a mistake in its last stage does not show after hours.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from transgan.errors import PluginFault, RecipeError, TransganError
from transgan.graph import Pass
from transgan.networks import Networks
from transgan.plan import Plan, Stage
from transgan.plugin_errors import naming_plugins, notes_of, plugin_of
from transgan.recipe.schema import Phase
from transgan.registry import Registry
from transgan.schedule import Clock
from transgan.training.attributes import Attributes
from transgan.training.engine import phases_sharing_nodes
from transgan.training.live import LiveTensors
from transgan.training.objective import Objective, differentiating
from transgan.training.shapes import meta_inputs

#: What follows where a run cannot be traced, and what helps.
_UNKNOWN = (
    "so what the run trains, and how much memory it needs, is not known before its first step; read no values of "
    "tensors (torch.where is for item() and if), leave none for NumPy, and make new ones on the device of those given"
)


class UntracedError(RecipeError):
    """A plugin's code needs numbers, or another device's tensors: a run may have them, and a trace does not."""


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
    differentiable: tuple[str, ...] = ()
    """The losses of the recipe whose value depends on something that is trained."""


def trace_run(plan: Plan, begins: bool = False) -> list[list[PhaseTrace]]:
    """Trace every phase of every stage, and of those that the run would have after the guardian's fallback.

    Args:
        begins: whether the first step follows at once. Then an unexpected error of a plugin's code in the first stage
            ends the trace: the step says the same, unless the error is of the meta device alone.

    Returns:
        For each stage of the plan the traces of its phases; nothing where the trace was ended.

    Raises:
        UntracedError: a phase can be traced no further, and may run.
        RecipeError: a phase cannot run; says in which stage, and at which node, network or loss.
        Exception: that of a plugin's code.
    """
    traces: list[list[PhaseTrace]] = []
    for stage in plan.stages:
        try:
            traces.append(trace_phases(plan, stage))
        except TransganError:
            raise
        except Exception:
            if begins and not traces:
                return []
            raise
    if fallback := plan.fallback:
        try:
            for stage in fallback.stages:
                trace_phases(fallback, stage)
        except UntracedError:
            raise
        except RecipeError as error:
            lines = [f"[guard] 'fallback' would not run: {line}" for line in error.problems]
            raise RecipeError(lines, plan.recipe.name) from error
    return traces


def peak_of(plan: Plan, traces: Iterable[Iterable[PhaseTrace]]) -> int:
    """Return the most bytes that a step holds: where it has a single task, those of the largest one.

    Args:
        traces: those of `trace_run`, of all tasks at once.
    """
    if plan.recipe.train.balance != "all" and len(plan.recipe.tasks) > 1:
        traces = [trace_phases(plan, stage, task=task) for stage in plan.stages for task in plan.recipe.tasks]
    return max(trace.peak for phases in traces for trace in phases)


@torch.enable_grad()  # whatever the code around it has set
def trace_phases(plan: Plan, stage: Stage, merge: str = "always", task: str | None = None) -> list[PhaseTrace]:
    """Trace every phase of a stage on the meta device, in a step of all tasks or of one alone.

    Raises:
        RecipeError: a phase cannot run; says at which node, network or loss.
    """
    batch = max(1, stage.batch // plan.recipe.train.accumulate)
    networks = Networks(plan, "meta", merge=merge)
    networks.freeze(stage)
    objective = Objective(plan, networks, traces_all=True)
    clock = Clock(step=stage.first, run=stage.first / plan.recipe.train.steps)
    batch_inputs = meta_inputs(plan, stage, batch, clock)
    if task is not None:
        batch_inputs = {key: value for key, value in batch_inputs.items() if key[0].task == task}
    phases = stage.phases
    sharing = phases_sharing_nodes(phases, plan.recipe.train.accumulate)
    traces = []
    where = f"stage {plan.stages.index(stage) + 1}: " if len(plan.stages) > 1 else ""
    with LiveTensors() as live, _plugins_as_before(plan):
        held = (value for network in networks.values() for value in (*network.parameters(), *network.buffers()))
        live.hold(value for value in held if not is_lazy(value))
        with _as_recipe_error(plan, f"{where}the nodes of the step"):
            shared = objective.compute_nodes(batch_inputs, sharing, clock)
        with naming_plugins():  # before the gradients of others, which would fail
            networks.check_parameters("a pass")
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
                objective.differentiable.clear()
                total, values = objective(phase, step, clock)
                networks.check_parameters("a pass")
                if total is not None and total.requires_grad:
                    with differentiating(phase, values):
                        total.backward()  # type: ignore[no-untyped-call]
            names = list(dict.fromkeys(name.rpartition("/")[2] for name in values))
            reached = tuple(name for name, own in trains.items() if any(p.grad is not None for p in own))
            found = tuple(sorted(objective.differentiable))
            traces.append(PhaseTrace(phase.side, step.passes[before:], names, live.peak, tuple(trains), reached, found))
    if task is None and (unread := networks.unread_conditions()):
        raise RecipeError(unread, plan.recipe.name)
    return traces


@contextmanager
def _plugins_as_before(plan: Plan) -> Iterator[None]:
    """Take back what losses, nodes and augmentations keep in attributes: the run uses the same objects.

    Else a loss that counts its calls would begin late, and one that keeps a tensor would find one without numbers.
    """
    before = Attributes(plan)
    try:
        yield
    finally:
        before.restore()


@contextmanager
def _as_recipe_error(plan: Plan, what: str) -> Iterator[None]:
    """Turn an error that says what is wrong into one line with where it was raised, and leave unexpected ones.

    Raises:
        UntracedError: it is of the meta device, whose tensors have no numbers and are on no other device.
    """
    with naming_plugins():
        try:
            yield
        except (PluginFault, UntracedError):
            raise
        except Exception as error:
            untraced = not isinstance(error, TransganError) and re.search(r"\bmeta\b", str(error), re.IGNORECASE)
            if not (untraced or isinstance(error, (TransganError, ValueError))):
                if len(plan.stages) > 1:
                    error.add_note(f"while tracing {what.replace(': ', ', ')}")
                raise
            notes = [f"while {note}" for note in reversed(notes_of(error))]
            if not isinstance(error, TransganError) and (plugin := plugin_of(error, Registry.installed())):
                notes.append(f"in {plugin}")
            words = str(error).partition("\nException raised from ")[0].split()  # torch appends its own frames
            text = " ".join(words) or type(error).__name__
            where = f" ({'; '.join(notes)})" if notes else ""
            if untraced:
                line = f"{what} cannot be traced on the meta device: {text.rstrip('.')}{where}; {_UNKNOWN}"
                raise UntracedError([line], plan.recipe.name) from error
            raise RecipeError([f"{what} cannot run: {text}{where}"], plan.recipe.name) from error


def _parameters(plan: Plan, networks: Networks, phases: Iterable[Phase]) -> list[nn.Parameter]:
    """Return the parameters that phases train."""
    names = dict.fromkeys(name for phase in phases for name in plan.trained(phase))
    return [parameter for name in names for parameter in networks.trainable(name)]
