"""The dry run: what a plan will run, its size, and its errors, for `transgan check`."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from transgan.api.protocols import Network
from transgan.api.samples import Column
from transgan.data.attributes import describe_attribute, typical_label
from transgan.data.batches import check_divisible
from transgan.data.domains import Domains
from transgan.data.unreadable import count_files, exclude_unreadable
from transgan.evaluation.unmeasured import check_metrics, unmeasured
from transgan.networks import DTYPES, Networks
from transgan.networks.meta_precision import computing_in
from transgan.options import Size
from transgan.plan import Plan, Stage
from transgan.plan.conditioning import check_conditioning, count_parameters
from transgan.progress import progress_bar
from transgan.text import listed, size_of
from transgan.training.initialization import initial_weights
from transgan.training.shapes import build_lazy_modules
from transgan.training.trace import PhaseTrace, UntracedError, peak_of, trace_run
from transgan.training.unused import check_used, phases_training

#: Bytes of code and kernels that the first step of a process loads, on a CPU.
LOADED = 22_000_000
#: What the C library's heap holds in gaps between tensors, as a share of what a step allocates and frees. With every
#: tensor mapped for itself (`MALLOC_MMAP_THRESHOLD_`) there are none, and steps take twice as long. There are
#: more where tensors come and go: casts to 16 bits, or activations that are computed again.
GAPS, GAPS_IN_16_BITS, GAPS_CHECKPOINTING = 0.4, 0.6, 1.0


def describe(plan: Plan) -> Iterator[str]:
    """Yield the lines of `transgan check`: see `examine`.

    Raises:
        TransganError: whatever would stop the run.
    """
    return lines_of(examine(plan))


def examine(plan: Plan) -> dict[str, Any]:
    """Return what `transgan check --json` prints: what a plan will run, and its size, in the types of JSON.

    Raises:
        TransganError: whatever would stop the run.
    """
    recipe = plan.recipe
    check_divisible(plan, 1)
    traces: list[list[PhaseTrace]] | None = None
    try:
        traces = trace_run(plan)
        unused, trained_in = check_used(plan, traces), phases_training(plan, traces)
    except UntracedError as error:
        unused, trained_in = [*error.problems], {}
    domains = Domains(plan)
    check_metrics(plan, domains, plan.metrics)
    with progress_bar("reading the data", count_files(domains)) as seen:
        exclude_unreadable(domains, seen)
    for name in domains:
        for part in domains.parts(name):
            _round_trip(domains, part.name, plan.stages[-1].size)
    networks, initial = Networks(plan, "meta"), initial_weights(plan)
    build_lazy_modules(plan, networks)
    costs = _costs(plan, networks, None if traces is None else _peak(plan, traces))
    warnings = [*domains.warnings, *unused, *unmeasured(plan, domains), *check_conditioning(plan)]
    return {
        "recipe": recipe.name,
        "steps": recipe.train.steps,
        "seed": recipe.train.seed,
        "precision": recipe.train.precision,
        "domains": {
            name: {"samples": len(each.samples), "held_out": len(each.held_out), "first": each.samples[0].key}
            for name, each in domains.items()
        },
        "notes": list(domains.notes),
        "attributes": {
            name: {
                "values": describe_attribute(attribute),
                "typical": {domain: typical_label(attribute, name, each.samples) for domain, each in domains.items()},
            }
            for name, attribute in recipe.attributes.items()
        },
        "pairs": dict(_pairs(plan, domains)),
        "translations": [
            {
                "translation": str(direction.translation),
                "generator": plan.roles[direction.planned].get("generator"),
                "discriminators": [use.network for use in plan.discriminators[direction.planned]],
            }
            for direction in plan.directions
        ],
        "networks": {
            name: {
                **_network(plan, networks, name, notes=not initial or name not in initial.whole),
                "trained_in": None if traces is None else trained_in.get(name, []),
            }
            for name in networks
        },
        "initial_weights": list(initial.report()) if initial else [],
        "stages": [_stage(*each) for each in zip(plan.stages, traces or [[]] * len(plan.stages), strict=True)],
        **costs,
        "warnings": [*_short_of(costs), *_slow(plan), *warnings],
    }


def _pairs(plan: Plan, domains: Domains) -> Iterator[tuple[str, list[str]]]:
    """Yield each task with known pairs, and the first of them."""
    for name, task in plan.recipe.tasks.items():
        if task.paired:
            first, second = task.domains[:2]
            pairs = domains[first].samples if task.paired is True else domains[first].evaluated
            if task.share_of_pairs is not None:
                pairs = [domains[first].samples[i] for i, _ in domains.pairs.training(name, first, second)]
            yield name, [sample.key for sample in pairs[:5]]


def _network(plan: Plan, networks: Networks, name: str, notes: bool) -> dict[str, Any]:
    """Return what a network is, and how it is trained.

    Args:
        notes: say what it says of its weights.
    """
    planned, network = plan.networks[name], networks[name]
    by, _ = plan.recipe.optimizers.of(name, planned.side)
    return {
        "use": planned.use,
        "parameters": count_parameters(network),
        "trained": sum(parameter.numel() for parameter in networks.trainable(name)),
        "side": planned.side,
        "optimizer": by,
        "notes": [each.note for each in network.modules() if isinstance(each, Network) and each.note] if notes else [],
    }


def _stage(stage: Stage, phases: list[PhaseTrace]) -> dict[str, Any]:
    return {
        "first": stage.first,
        "last": stage.last,
        "size": stage.size,
        "batch": stage.batch,
        "conditions": dict(stage.conditions),
        "frozen": list(stage.freeze),
        "phases": [
            {
                "phase": trace.side,
                "losses": trace.losses,
                "calls": sum(len(each.nodes) for each in trace.passes),
                "passes": [
                    {"network": each.network, "samples": each.samples, "nodes": list(each.nodes)}
                    for each in trace.passes
                ],
            }
            for trace in phases
        ],
    }


def lines_of(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `examine` has found, as lines for people."""
    yield f"{found['recipe']}: {found['steps']} steps, seed {found['seed']}, {found['precision']}"
    yield "domains"
    for name, domain in found["domains"].items():
        counts = f"{domain['samples']} samples, {domain['held_out']} held out"
        yield f"  {name}: {counts}; the first is {domain['first']}"
    for note in found["notes"]:
        yield f"  {note}"
    for name, attribute in found["attributes"].items():
        typical = ", ".join(f"{domain} {value}" for domain, value in attribute["typical"].items())
        yield f"  attribute {name}: {attribute['values']}; typically {typical}"
    for name, pairs in found["pairs"].items():
        yield f"  pairs of {name}: {', '.join(pairs)}, ..."
    yield "translations"
    for each in found["translations"]:
        discriminators = ", ".join(each["discriminators"]) or "none"
        yield f"  {each['translation']}  generator {each['generator']}, discriminators {discriminators}"
    yield "networks"
    for name, network in found["networks"].items():
        trained, count = network["trained"], network["parameters"]
        some = f"{trained:,} of them " if 0 < trained < count else ""
        own = f" by [optimizers.{network['optimizer']}]" if network["optimizer"] != network["side"] else ""
        phases = f"trained in {listed(network['trained_in'])}{own}" if network["trained_in"] else "not trained"
        if network["trained_in"] is None:
            phases = f"of the {network['side']}'s side{own}"
        how = f"{some}{phases}" if trained else "frozen"
        yield f"  {name}: {network['use']}, {count:,} parameters, {how}"
        yield from (f"    note: {note}" for note in network["notes"])
    yield from found["initial_weights"]
    for number, stage in enumerate(found["stages"]):
        if len(found["stages"]) > 1:
            frozen = f", {listed(stage['frozen'])} frozen" if stage["frozen"] else ""
            own = "".join(f", {name} = {value}" for name, value in stage["conditions"].items())
            length = f"steps {stage['first']} to {stage['last']}"
            yield f"stage {number + 1}: {length}, size {stage['size']}, batch {stage['batch']}{own}{frozen}"
        for phase in stage["phases"]:
            shared = phase["phase"] == "nodes"
            what = "nodes" if shared else f"{phase['phase']} phase"
            losses = "" if shared else f" -> {', '.join(phase['losses']) or 'no loss'}"
            yield f"{what}: {phase['calls']} calls in {len(phase['passes'])} passes if merged{losses}"
            for each in phase["passes"]:
                samples = f"{each['samples']:>4} sample{'s'[: each['samples'] != 1]}"
                yield f"  {each['network']:<24} {samples}  {_nodes(each['nodes'])}"
    memory, disk = found["memory"], found["disk"]
    state = f"{size_of(memory['state'])} for weights, optimizers and pools, "
    if memory["needed"] is None:
        yield f"memory: {state}and an unknown part for activations and gradients"
    else:
        yield (
            f"memory: about {size_of(memory['needed'])}: {state}"
            f"{size_of(memory['activations'])} for activations and gradients"
            + (f", {size_of(memory['process'])} for loaded code and gaps" if memory["process"] else "")
        )
    yield (
        f"disk: {size_of(disk['checkpoint'])} a checkpoint, {disk['kept']} kept, {size_of(disk['model'])} the model; "
        f"{size_of(disk['free'])} free"
    )
    yield from (f"warning: {warning}" for warning in found["warnings"])
    yield "It will run." if memory["needed"] is not None else "It may run: its first step will show."


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


def _nodes(names: Iterable[str]) -> str:
    """Return the nodes of a pass, each once, with its translation or the number of translations."""
    nodes: dict[str, list[str]] = {}
    for name in names:
        translation, _, node = name.rpartition(": ")
        nodes.setdefault(node, []).append(translation)
    return ", ".join(
        f"{node} ({each[0] if len(each) == 1 else f'{len(each)} translations'})" for node, each in nodes.items()
    )


def predict_memory(plan: Plan) -> dict[str, int]:
    """Return the bytes that a run needs, and their parts, as `transgan check --json` has them."""
    networks = Networks(plan, "meta")
    build_lazy_modules(plan, networks)
    memory: dict[str, int] = _costs(plan, networks, _peak(plan, trace_run(plan)))["memory"]
    return memory


def _peak(plan: Plan, traces: list[list[PhaseTrace]]) -> int:
    """Return the most bytes that the tensors of a step take, in the precision of the run.

    Args:
        traces: those of `trace_run`, which are in fp32.
    """
    if dtype := DTYPES[plan.recipe.train.precision]:
        # A plugin's code may expect fp32 where autocast would give it that: then fp32 is an upper bound.
        with suppress(Exception), computing_in(dtype):
            return peak_of(plan, trace_run(plan))
    return peak_of(plan, traces)


def _costs(plan: Plan, networks: Networks, peak: int | None) -> dict[str, Any]:
    """Return estimates of memory and disk, in bytes; `peak` is what the tensors of a step take, None if unknown."""
    held = {name: _state_size(network) for name, network in networks.items()}
    moments = 2 * sum(p.nbytes for name in networks for p in networks.trainable(name))
    translating = sum(held[name] for name in plan.generator_side)
    average = translating if plan.recipe.train.ema.ever_nonzero else 0
    best = translating if plan.recipe.evaluate.keep_best else 0
    checkpoint = sum(held.values()) + moments + average + best
    state = checkpoint + _pools(plan)
    memory = {"needed": None, "state": state, "activations": None, "process": None, "available": _memory()}
    if peak is not None:
        step = peak - sum(held.values())
        gaps = GAPS if plan.recipe.train.precision == "fp32" else GAPS_IN_16_BITS
        gaps = GAPS_CHECKPOINTING if networks.checkpointed else gaps
        process = 0 if torch.cuda.is_available() else LOADED + round(gaps * step)
        memory |= {"needed": state + step + process, "activations": step, "process": process}
    disk = {"checkpoint": checkpoint, "kept": plan.recipe.train.keep, "model": translating}
    return {"memory": memory, "disk": {**disk, "free": shutil.disk_usage(Path.cwd()).free}}


def _pools(plan: Plan) -> int:
    """Return the bytes of the image pools once they are full."""
    rows = [
        (use.history, plan.media[translation.target if translation.target != "*" else plan.domains[0]])
        for translation, uses in plan.discriminators.items()
        for use in uses
    ]
    size = plan.stages[-1].size
    return sum(4 * count * media.at(size).channels * prod(media.at(size).space) for count, media in rows)


def _short_of(costs: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning where there is less memory, or room on the disk, than a run needs."""
    memory, disk = costs["memory"], costs["disk"]
    if memory["needed"] is not None and memory["needed"] > memory["available"]:
        there = size_of(memory["available"])
        yield f"the device has {there} of memory; lower train.batch or data.size, or raise train.accumulate"
    if disk["free"] < (disk["kept"] + 1) * disk["checkpoint"]:
        yield "the disk may become full; lower train.keep or make room"


def _slow(plan: Plan) -> Iterator[str]:
    """Yield a warning where a run takes much longer than with another precision."""
    if plan.recipe.train.precision == "fp16" and not torch.cuda.is_available():
        yield 'train.precision = "fp16" is for GPUs, and slow on a CPU; set "bf16" or "fp32"'


def _memory() -> int:
    """Return the bytes of memory of the GPU, or of the machine where there is none."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    import psutil  # comes with accelerate

    return int(psutil.virtual_memory().total)


def _state_size(network: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())
