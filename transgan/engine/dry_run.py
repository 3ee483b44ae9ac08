"""Plays every phase once on shapes alone: what a plan will run, how large it is, or why it cannot run."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transgan.api.samples import Media
from transgan.api.schedule import Clock
from transgan.data.attributes import described, middle
from transgan.data.batches import leaves_of
from transgan.data.domains import Domains
from transgan.engine.loop import sharing_nodes
from transgan.engine.networks import Networks
from transgan.engine.objective import Objective
from transgan.errors import RecipeError, TransganError
from transgan.graph import Key, Pass
from transgan.plan import Plan
from transgan.plan.directions import directions
from transgan.plan.plan import Stage
from transgan.plan.reach import check_reach, parameters


@dataclass(frozen=True)
class Act:
    """One phase, or the nodes that phases share, as played on paper."""

    side: str
    """`nodes` for what phases share, else the side that learns."""
    passes: list[Pass]
    losses: list[str]
    activations: int
    """Bytes kept for the backward pass."""


class _NoDraws:
    """Random numbers without numbers."""

    def __init__(self, count: int):
        self.count = count

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return torch.empty(self.count, *shape, device="meta")

    normal = uniform


def play(plan: Plan, stage: Stage, merge: str = "always") -> list[Act]:
    """Every phase of a stage on meta tensors.

    Raises:
        RecipeError: a phase cannot be played; says at which node, network or loss.
    """
    cls, options = plan.media
    media: Media = cls(options, stage.size)
    batch = max(1, stage.batch // plan.recipe.train.accumulate)
    networks = Networks(plan, "meta", merge=merge)
    objective = Objective(plan, networks)
    clock = Clock(step=stage.first, run=stage.first / plan.recipe.train.steps)
    leaves = leaves_on_paper(plan, media, batch, clock)
    phases = plan.recipe.phases
    sharing = sharing_nodes(phases, plan.recipe.train.accumulate)
    acts = []
    with _told(plan, "the nodes of the step"), _kept() as kept:
        shared = objective.step(leaves, sharing, clock)
    acts.append(Act("nodes", list(shared.passes), [], _size(kept)))
    for phase in phases:
        with _told(plan, f"the {phase.side} phase"), _kept() as kept:
            step = shared if phase in sharing else objective.step(leaves, [phase], clock)
            before = len(step.passes) if step is shared else 0
            networks.train_only(plan.trained(phase))
            total, values = objective(phase, step, clock)
            if total is not None and total.ndim:
                raise ValueError(f"the losses add up to shape {tuple(total.shape)}, not to one number")
        names = list(dict.fromkeys(name.rpartition("/")[2] for name in values))
        acts.append(Act(phase.side, step.passes[before:], names, _size(kept)))
    return acts


@contextmanager
def _told(plan: Plan, what: str) -> Iterator[None]:
    """Whatever a plugin's code says against being played becomes one line that says where."""
    try:
        yield
    except (TransganError, RuntimeError, TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        notes = "; ".join(reversed(getattr(error, "__notes__", [])))
        text = str(error).splitlines()[0].strip("'\"")
        where = f" ({notes})" if notes else ""
        raise RecipeError([f"{what} cannot be played: {text}{where}"], plan.recipe.name) from error


@contextmanager
def _kept() -> Iterator[list[Tensor]]:
    """The tensors that are kept for the backward pass."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _size(kept: list[Tensor]) -> int:
    """Bytes of tensors, each storage once."""
    return sum({tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in kept}.values())


def leaves_on_paper(plan: Plan, media: Media, batch: int, clock: Clock) -> dict[Key, Any]:
    """The leaves of a batch, as shapes."""
    x = torch.empty(batch, media.channels, *media.space, device="meta")
    told = {n: torch.empty(batch, each.numbers, device="meta") for n, each in plan.recipe.attributes.items()}
    leaves: dict[Key, Any] = {}
    for translation in plan.translations:
        values: dict[str, Any] = {"source": x, "target": x, "draws": _NoDraws(batch), "clock": clock, "training": True}
        values |= {"source_attributes": told, "target_attributes": told}
        if translation.target == "*":
            number = torch.zeros(batch, dtype=torch.long, device="meta")
            values |= {"source_domain": number, "target_domain": number}
        leaves.update(leaves_of(plan, translation, values))
    return leaves


def describe(plan: Plan) -> Iterator[str]:
    """The lines of `transgan check`; raises what would stop the run."""
    recipe = plan.recipe
    acts = [(stage, play(plan, stage)) for stage in plan.stages]
    domains = Domains(plan)
    yield f"{recipe.name}: {recipe.train.steps} steps, seed {recipe.train.seed}, {recipe.train.precision}"
    yield "domains"
    media = domains.media_at(plan.stages[-1].size)
    for name, domain in domains.items():
        example = domain.samples[0]
        media.decode(example.location)
        yield f"  {name}: {len(domain.samples)} samples, {len(domain.held_out)} held out; the first is {example.key}"
    for name, attribute in recipe.attributes.items():
        middles = ", ".join(f"{domain} {middle(name, each.samples)}" for domain, each in domains.items())
        yield f"  told {name}: {described(attribute)}; in the middle {middles}"
    for name, task in recipe.tasks.items():
        if task.paired:
            first = domains[task.domains[0]]
            pairs = first.samples if task.paired is True else first.measured
            yield f"  pairs of {name}: {', '.join(sample.key for sample in pairs[:5])}, ..."
    yield "translations"
    for direction in directions(plan):
        judges = ", ".join(judge.network for judge in plan.judges[direction.made]) or "nobody"
        yield f"  {direction.shown}  by {plan.roles[direction.made].get('generator')}, judged by {judges}"
    yield "networks"
    networks = Networks(plan, "meta").networks
    for name, network in networks.items():
        planned = plan.networks[name]
        yield f"  {name}: {planned.use}, {parameters(network):,} parameters, moved by the {planned.side} phase"
    for number, (stage, played) in enumerate(acts):
        if len(acts) > 1:
            yield f"stage {number + 1}: steps {stage.first} to {stage.last}, size {stage.size}, batch {stage.batch}"
        for act in played:
            calls = sum(len(each.made) for each in act.passes)
            what = "nodes" if act.side == "nodes" else f"{act.side} phase"
            losses = f" -> {', '.join(act.losses) or 'nothing'}" if act.side != "nodes" else ""
            yield f"{what}: {calls} calls in {len(act.passes)} passes where merged{losses}"
            for each in act.passes:
                yield f"  {each.network:<24} {each.samples:>4} samples  {_made(each)}"
    yield from _costs(plan, networks, [act for _, played in acts for act in played])
    for warning in check_reach(plan):
        yield f"warning: {warning}"
    yield "It will run."


def _made(played: Pass) -> str:
    """What a pass made: each node once, with its translation or how many of them there are."""
    nodes: dict[str, list[str]] = {}
    for name in played.made:
        translation, _, node = name.rpartition(": ")
        nodes.setdefault(node, []).append(translation)
    return ", ".join(
        f"{node} ({each[0] if len(each) == 1 else f'{len(each)} translations'})" for node, each in nodes.items()
    )


def _costs(plan: Plan, networks: dict[str, torch.nn.Module], acts: list[Act]) -> Iterator[str]:
    """Estimates of memory and disk."""
    weights = 4 * sum(parameters(network) for network in networks.values())
    held = {name: _held(network) for name, network in networks.items()}
    translating = sum(held[name] for name, each in plan.networks.items() if each.side == "generator")
    average = translating if plan.recipe.train.ema.ever else 0
    best = translating if plan.recipe.evaluate.keep_best else 0
    shared = max((act.activations for act in acts if act.side == "nodes"), default=0)
    activations = shared + max((act.activations for act in acts if act.side != "nodes"), default=0)
    if plan.recipe.train.precision == "bf16":
        activations //= 2
    state = sum(held.values()) + 3 * weights + average + best  # a gradient and two moments each
    yield (
        f"memory: about {_bytes(state + activations)}: {_bytes(state)} for weights, gradients and optimizers, "
        f"{_bytes(activations)} for activations"
    )
    checkpoint = sum(held.values()) + 2 * weights + average + best
    free = shutil.disk_usage(Path.cwd()).free
    kept = plan.recipe.train.keep
    yield f"disk: {_bytes(checkpoint)} a checkpoint, {kept} kept, {_bytes(translating)} the model; {_bytes(free)} free"
    if free < (kept + 1) * checkpoint:
        yield "warning: the disk may become full; lower train.keep or make room"


def _held(network: torch.nn.Module) -> int:
    """Bytes of what is kept of a network."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
