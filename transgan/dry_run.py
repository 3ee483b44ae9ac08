"""The dry run: every phase traced once on the meta device, for what a plan will run, its size, and its errors."""

import inspect
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transgan.api.protocols import DiscriminatorOutput, Network
from transgan.api.samples import Column
from transgan.data.attributes import describe_attribute, typical_label
from transgan.data.domains import Domains
from transgan.errors import RecipeError, TransganError, did_you_mean
from transgan.graph import Pass, accepts_any_keyword, argument_names
from transgan.networks import Networks
from transgan.options import Size
from transgan.plan import Conditioned, Plan, Stage
from transgan.plan.conditioning import check_conditioning, count_parameters
from transgan.plan.kept import KEPT
from transgan.plugin_errors import notes_of, plugin_of
from transgan.registry import Registry
from transgan.reporting.console import progress_bar
from transgan.schedule import Clock
from transgan.text import listed, size_of
from transgan.training.engine import phases_sharing_nodes
from transgan.training.initialization import initial_weights
from transgan.training.objective import Objective
from transgan.training.shapes import build_lazy_modules, meta_inputs


@dataclass(frozen=True)
class PhaseTrace:
    """One phase, or the nodes that phases share, traced on the meta device."""

    side: str
    """`nodes` for what phases share, else the side that is trained."""
    passes: list[Pass]
    losses: list[str]
    activations: int
    """Bytes kept for the backward pass."""


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
    with _as_recipe_error(plan, "the nodes of the step"), _saved_tensors() as saved:
        shared = objective.compute_nodes(batch_inputs, sharing, clock)
    traces.append(PhaseTrace("nodes", list(shared.passes), [], _size(saved)))
    for phase in phases:
        with _as_recipe_error(plan, f"the {phase.side} phase"), _saved_tensors() as saved:
            step = shared if phase in sharing else objective.compute_nodes(batch_inputs, [phase], clock)
            before = len(step.passes) if step is shared else 0
            networks.set_trainable(plan.trained(phase))
            _, values = objective(phase, step, clock)
        names = list(dict.fromkeys(name.rpartition("/")[2] for name in values))
        traces.append(PhaseTrace(phase.side, step.passes[before:], names, _size(saved)))
    if unread := list(networks.unread_conditions()):
        raise RecipeError(unread, plan.recipe.name)
    return traces


class _TracingNetworks(Networks):
    """Networks on the meta device that check the shapes of inputs and outputs, and note conditions."""

    def __call__(
        self, name: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, full_precision: bool = False
    ) -> Any:
        self.conditions.setdefault(name, set()).update(conditions)
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

    @cached_property
    def conditions(self) -> dict[str, set[str]]:
        """The names of the conditions that each network was given."""
        return {}

    def unread_conditions(self) -> Iterator[str]:
        """Yield a line for each condition of the nodes' own that a network is given and that nothing in it takes."""
        for name, given in self.conditions.items():
            planned = self.plan.networks[name]
            module = self[name]
            if planned.conditionings is None or not isinstance(module, Conditioned):
                continue  # of a loss, which calls it itself
            forward = type(module.network).forward
            if accepts_any_keyword(forward):
                continue
            taken = set(argument_names(forward))
            for cls, options in planned.conditionings:
                of = getattr(options, "of", None)
                taken |= {of} if of else set(argument_names(cls.forward))
            for condition in sorted(given - taken - {"task", "domain", KEPT, *self.plan.recipe.attributes}):
                slot = f"[{planned.kind}.{name.partition('.')[0]}]"
                hint = did_you_mean(condition, taken - {"self", "x", "style"})
                yield f"{slot} its nodes give it the condition '{condition}', which nothing in it takes. {hint}"


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


@contextmanager
def _saved_tensors() -> Iterator[list[Tensor]]:
    """Yield a list that collects the tensors saved for the backward pass."""
    saved: list[Tensor] = []

    def save(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        yield saved


def _size(saved: list[Tensor]) -> int:
    """Return the bytes of tensors, each storage once."""
    return sum({tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in saved}.values())


def describe(plan: Plan) -> Iterator[str]:
    """Yield the lines of `transgan check`.

    Raises:
        TransganError: whatever would stop the run.
    """
    recipe = plan.recipe
    traces = [(stage, trace_phases(plan, stage)) for stage in plan.stages]
    domains = Domains(plan)
    with progress_bar("reading the data", domains.count_files()) as seen:
        domains.exclude_unreadable(seen)
    yield f"{recipe.name}: {recipe.train.steps} steps, seed {recipe.train.seed}, {recipe.train.precision}"
    yield "domains"
    for name, domain in domains.items():
        example = domain.samples[0]
        for part in domains.parts(name):
            _round_trip(domains, part.name, plan.stages[-1].size)
        yield f"  {name}: {len(domain.samples)} samples, {len(domain.held_out)} held out; the first is {example.key}"
    for note in domains.notes:
        yield f"  {note}"
    for name, attribute in recipe.attributes.items():
        typical = ", ".join(f"{domain} {typical_label(name, each.samples)}" for domain, each in domains.items())
        yield f"  attribute {name}: {describe_attribute(attribute)}; typically {typical}"
    for name, task in recipe.tasks.items():
        if task.paired:
            first, second = task.domains[:2]
            pairs = domains[first].samples if task.paired is True else domains[first].evaluated
            if task.share_of_pairs is not None:
                pairs = [domains[first].samples[i] for i, _ in domains.training_pairs(name, first, second)]
            yield f"  pairs of {name}: {', '.join(sample.key for sample in pairs[:5])}, ..."
    yield "translations"
    for direction in plan.directions:
        generator = plan.roles[direction.planned].get("generator")
        discriminators = ", ".join(use.network for use in plan.discriminators[direction.planned]) or "none"
        yield f"  {direction.translation}  generator {generator}, discriminators {discriminators}"
    yield "networks"
    networks, initial = Networks(plan, "meta"), initial_weights(plan)
    build_lazy_modules(plan, networks)
    for name, network in networks.items():
        planned = plan.networks[name]
        size = f"{count_parameters(network):,} parameters"
        count = sum(parameter.numel() for parameter in networks.trainable(name))
        some = f"{count:,} of them " if 0 < count < count_parameters(network) else ""
        by, _ = recipe.optimizers.of(name, planned.side)
        own = f" by [optimizers.{by}]" if by != planned.side else ""
        trained = f"{some}trained in the {planned.side} phase{own}" if count else "frozen"
        yield f"  {name}: {planned.use}, {size}, {trained}"
        if not initial or name not in initial.whole:
            notes = [each.note for each in network.modules() if isinstance(each, Network) and each.note]
            yield from (f"    note: {note}" for note in notes)
    if initial:
        yield from initial.report()
    for number, (stage, phases) in enumerate(traces):
        if len(traces) > 1:
            frozen = f", {listed(stage.freeze)} frozen" if stage.freeze else ""
            length = f"steps {stage.first} to {stage.last}"
            own = "".join(f", {name} = {value}" for name, value in stage.conditions.items())
            yield f"stage {number + 1}: {length}, size {stage.size}, batch {stage.batch}{own}{frozen}"
        for trace in phases:
            calls = sum(len(each.nodes) for each in trace.passes)
            what = "nodes" if trace.side == "nodes" else f"{trace.side} phase"
            losses = f" -> {', '.join(trace.losses) or 'no loss'}" if trace.side != "nodes" else ""
            yield f"{what}: {calls} calls in {len(trace.passes)} passes if merged{losses}"
            for each in trace.passes:
                yield f"  {each.network:<24} {each.samples:>4} samples  {_nodes(each)}"
    yield from _costs(plan, networks, [trace for _, phases in traces for trace in phases])
    for warning in (*domains.warnings, *check_conditioning(plan)):
        yield f"warning: {warning}"
    yield "It will run."


def _round_trip(domains: Domains, name: str, size: Size) -> None:
    """Take a domain's first sample through its media: decode, batch, preview; and of a file, read, prepare, write.

    Raises:
        DataError: the sample cannot be decoded or read.
        DiskError: what was read cannot be written.
        PluginError: a batch is not what the media says of itself.
    """
    media, location = domains.media_at(name, size), domains[name].samples[0].location
    decoded = media.decode(location)
    known = name in domains.statistics
    if not known:  # those of one sample serve to see that it takes its way; the run fits those of the domain
        domains.statistics[name] = dict(media.fit_statistics([decoded]))
    try:
        with tempfile.TemporaryDirectory() as folder:
            _, batch = next(domains.batches(name, False, size, 1, most=1))
            media.preview({name: Column(name, list(batch))}, Path(folder) / "preview")
            if isinstance(location, (str, Path)):  # a synthetic sample has no file
                x, undo = media.to_model(media.read(location), 1, False, name)
                media.write(media.from_model(x, undo, name), Path(folder) / f"sample{Path(location).suffix}")
    finally:
        if not known:
            del domains.statistics[name]


def _nodes(one: Pass) -> str:
    """Return the nodes of a pass, each once, with its translation or the number of translations."""
    nodes: dict[str, list[str]] = {}
    for name in one.nodes:
        translation, _, node = name.rpartition(": ")
        nodes.setdefault(node, []).append(translation)
    return ", ".join(
        f"{node} ({each[0] if len(each) == 1 else f'{len(each)} translations'})" for node, each in nodes.items()
    )


def _costs(plan: Plan, networks: Mapping[str, nn.Module], traces: list[PhaseTrace]) -> Iterator[str]:
    """Yield estimates of memory and disk."""
    weights = 4 * sum(count_parameters(network) for network in networks.values())
    held = {name: _state_size(network) for name, network in networks.items()}
    translating = sum(held[name] for name in plan.generator_side)
    average = translating if plan.recipe.train.ema.ever_nonzero else 0
    best = translating if plan.recipe.evaluate.keep_best else 0
    shared = max((each.activations for each in traces if each.side == "nodes"), default=0)
    activations = shared + max((each.activations for each in traces if each.side != "nodes"), default=0)
    if plan.recipe.train.precision == "bf16":
        activations //= 2
    state = sum(held.values()) + 3 * weights + average + best  # a gradient and two moments each
    yield (
        f"memory: about {size_of(state + activations)}: {size_of(state)} for weights, gradients and optimizers, "
        f"{size_of(activations)} for activations"
    )
    if state + activations > (there := _memory()):
        yield f"warning: the device has {size_of(there)}; lower train.batch or data.size, or raise train.accumulate"
    checkpoint = sum(held.values()) + 2 * weights + average + best
    free = shutil.disk_usage(Path.cwd()).free
    kept = plan.recipe.train.keep
    model = size_of(translating)
    yield f"disk: {size_of(checkpoint)} a checkpoint, {kept} kept, {model} the model; {size_of(free)} free"
    if free < (kept + 1) * checkpoint:
        yield "warning: the disk may become full; lower train.keep or make room"


def _memory() -> int:
    """Return the bytes of memory of the GPU, or of the machine where there is none."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    import psutil  # comes with accelerate

    return int(psutil.virtual_memory().total)


def _state_size(network: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())
