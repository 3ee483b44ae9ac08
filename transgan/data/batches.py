"""The batch of any step: which samples, in which order, how augmented; all follows from (seed, epoch, index)."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from transgan.api.protocols import Translation
from transgan.data.attributes import EncodedLabels
from transgan.data.balance import balances
from transgan.data.domains import Domains
from transgan.data.inputs import BatchInputs, Side, as_tensors, assemble_inputs
from transgan.errors import DataError, UsageError
from transgan.graph import Key
from transgan.options import Size
from transgan.plan.plan import ROLES, Plan
from transgan.rng import CounterRng, permutation, stable_hash, to_device
from transgan.schedule import Clock
from transgan.tree import map_tensors


@dataclass(frozen=True)
class StreamSamples:
    """Decoded samples of one stream: the domain, epoch and index of each, the arrays, and their encoded labels."""

    domain: np.ndarray
    epoch: np.ndarray
    index: np.ndarray
    decoded: Mapping[str, np.ndarray | list[np.ndarray]]
    """The samples themselves by an empty name, and their further inputs."""
    labels: EncodedLabels
    key: tuple[object, ...]


@dataclass(frozen=True)
class Stream:
    """Which samples of a task become one batch after the other."""

    task: str
    name: str
    """The domain; `source` or `target` where those of samples are random."""
    kind: str = ""
    """`other` for a second sample of the domain, `pair` for known pairs beside unpaired samples."""
    partner: str = ""
    """Of pairs, the domain of the other side."""

    @staticmethod
    def of(translation: Translation, role: str) -> "Stream":
        """Return the stream that a batch input of a translation comes from, one of `ROLES`."""
        kind, _, end = role.rpartition("_")
        name, partner = (getattr(translation, each) for each in (end, "target" if end == "source" else "source"))
        return Stream(translation.task, end if name == "*" else name, kind, partner if kind == "pair" else "")


def samples_before(plan: Plan, step: int) -> int:
    """Return how many samples of a domain the steps before this one take."""
    return sum((min(step, s.last) - s.first) * s.batch for s in plan.stages if s.first < step)


def clock_at(plan: Plan, domains: Domains, step: int) -> Clock:
    """Return where a run is before a step. An epoch is a pass over the largest domain."""
    epoch = samples_before(plan, step) / max(len(domain.samples) for domain in domains.values())
    return Clock(step=step, epoch=epoch, run=step / plan.recipe.train.steps)


def check_divisible(plan: Plan, world: int) -> None:
    """Check that every batch can be divided by a number of processes and the micro-batches of each.

    Raises:
        UsageError: it cannot.
    """
    micro_batches = plan.recipe.train.accumulate
    for i, stage in enumerate(plan.stages):
        if stage.batch % (world * micro_batches):
            own = bool(plan.recipe.stages) and plan.recipe.stages[i].batch is not None
            key = f"stages.{i}.batch" if own else "train.batch"
            raise UsageError(
                f"a batch of {stage.batch} cannot be divided by {world} process{'es'[: 2 * (world > 1)]} with "
                f"{micro_batches} micro-batches each; set {key} to a multiple of {world * micro_batches}"
            )


class Batches:
    """Batches as a function of the step.

    Args:
        rank, world: this process and the number of processes; each takes an equal, consecutive share of every batch.

    Raises:
        UsageError: a batch cannot be divided by processes and micro-batches.
    """

    def __init__(
        self,
        plan: Plan,
        domains: Domains,
        rank: int = 0,
        world: int = 1,
        device: Any = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.plan = plan
        self.domains = domains
        self.rank, self.world = rank, world
        self.device, self.dtype = device, dtype
        self.seed = plan.recipe.train.seed
        self.orders: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]] = {}
        self.balances = balances(plan, {name: domain.samples for name, domain in domains.items()})
        self.micro_batches = plan.recipe.train.accumulate
        check_divisible(plan, world)
        self.streams: dict[Stream, set[str]] = {}
        """The further inputs that are used of each stream's samples."""
        for translation in plan.translations:
            used = plan.used_inputs(translation, training=True)
            if plan.recipe.tasks[translation.task].paired is True:
                used = {name.removeprefix("pair_") for name in used}
            for role in ROLES:
                inputs = {name for name in plan.recipe.inputs if f"{role}_{name}" in used}
                begin = "pair_" if role.startswith("pair_") else role  # of pairs both sides, or none
                if role in ("source", "target") or any(name.startswith(begin) for name in used):
                    self.streams.setdefault(Stream.of(translation, role), set()).update(inputs)
        self.pairs: dict[Stream, np.ndarray] = {}
        """Of streams of pairs the index in the domain of each pair's sample."""
        for task in plan.recipe.tasks:
            for first, second in plan.paired_domains(task):
                indices = np.array(domains.pairs.training(task, first, second))
                self.pairs[Stream(task, first, "pair", second)] = indices[:, 0]
                self.pairs[Stream(task, second, "pair", first)] = indices[:, 1]
        self.ahead = torch.device(device).type == "cuda"
        """Whether tensors are made in the background too, beside the device's work; else only samples are decoded."""
        self.stream = torch.cuda.Stream(device) if self.ahead else None  # type: ignore[no-untyped-call]
        self.prefetched: tuple[int, str | None, Future[list[Any]]] | None = None
        self.pool = ThreadPoolExecutor(1)

    def samples_before(self, step: int) -> int:
        """Return how many samples of a domain the steps before this one take."""
        return samples_before(self.plan, step)

    def clock(self, step: int) -> Clock:
        """Return where the run is before a step."""
        return clock_at(self.plan, self.domains, step)

    def at(self, step: int, task: Callable[[Clock], str | None] = lambda clock: None) -> list[BatchInputs]:
        """Return the batch inputs of a step, one mapping for each micro-batch; prefetch the next step's samples.

        Args:
            task: the task that a step trains, or None for all. A task's samples follow from the step alone: they do not
                depend on which tasks other steps train.
        """
        clock, later = self.clock(step), self.clock(step + 1)
        wanted = (step, task(clock))
        if self.prefetched and self.prefetched[:2] == wanted:
            micro_batches = self.prefetched[2].result()
        else:
            micro_batches = self._prepare(*wanted)
        if self.stream:  # before the next step's work is on it too
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self.stream)
            for inputs in micro_batches:  # so that their memory is not given away while it is used
                map_tensors(lambda x: (x.record_stream(current), x)[1], inputs)  # type: ignore[func-returns-value]
        if step + 1 < self.plan.recipe.train.steps:
            wanted = (step + 1, task(later))  # if the task changes until then, the samples are collected again
            self.prefetched = (*wanted, self.pool.submit(self._prepare, *wanted))
        if self.ahead:
            return micro_batches
        return [self._inputs(streams, step, clock) for streams in micro_batches]

    def _prepare(self, step: int, task: str | None) -> list[Any]:
        """Return a step's samples for each micro-batch, or with `ahead` its batch inputs."""
        micro_batches = self._collect_all(step, task)
        if not self.ahead:
            return micro_batches
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():
            return [self._inputs(streams, step, self.clock(step)) for streams in micro_batches]

    def _collect_all(self, step: int, task: str | None) -> list[dict[Any, StreamSamples]]:
        stage = self.plan.stage_at(step)
        share = stage.batch // (self.micro_batches * self.world)
        begin = self.samples_before(step)
        streams = []
        for i in range(self.micro_batches):
            first = begin + (i * self.world + self.rank) * share
            streams.append(self._collect(np.arange(first, first + share), stage.size, task))
        return streams

    def _collect(self, positions: np.ndarray, size: Size, only: str | None) -> dict[Any, StreamSamples]:
        """Return the samples of all streams, or of one task's, at positions counted from the start of the run."""
        return {
            stream: self._samples(stream, positions, size) for stream in self.streams if only in (None, stream.task)
        }

    def _samples(self, stream: Stream, positions: np.ndarray, size: Size) -> StreamSamples:
        """Return the samples of one stream at positions counted from the start of the run."""
        task, names = self.plan.recipe.tasks[stream.task], self._domains_of(stream, positions)
        key = stream.name
        if stream.kind == "pair":
            key = "pairs of " + " and ".join(each for each in task.domains if each in (stream.name, stream.partner))
        elif stream.kind:
            key = f"{stream.kind} {stream.name}"
        elif task.paired is True:
            key = "pairs"
        epochs, numbers = [], []
        for name, position in zip(names, positions.tolist(), strict=True):
            count = len(self.pairs[stream]) if stream in self.pairs else len(self.domains[name].samples)
            epoch, at = divmod(position, count)
            balanced = "" if stream in self.pairs or task.paired is True else name
            order, repeats = self._order(count, stream.task, name if key == "source" else key, epoch, balanced)
            numbers.append(int(order[at]))
            epochs.append(epoch + (int(repeats[at]) << 32))  # so that a sample is not augmented alike in an epoch
        indices = self.pairs[stream][numbers] if stream in self.pairs else np.array(numbers)
        labels = {
            each: np.stack([self.domains[name].labels[each][i] for name, i in zip(names, indices, strict=True)])
            for each in self.domains[names[0]].labels
        }
        return StreamSamples(
            domain=np.array([self.plan.domains.index(name) for name in names]),
            epoch=np.array(epochs),
            index=np.array(numbers),  # of a pair that of the pair, so that both sides are augmented alike
            decoded={name: self._decoded(names, indices, name, size) for name in ("", *self.streams[stream])},
            labels=labels,
            key=(self.seed, stream.task, key),
        )

    def _domains_of(self, stream: Stream, positions: np.ndarray) -> list[str]:
        """Return the domain of each of a stream's samples."""
        task = self.plan.recipe.tasks[stream.task]
        if task.targets != "random":
            return [stream.name] * len(positions)
        names, count = [], len(task.domains)
        for position in positions:
            bits = stable_hash(self.seed, stream.task, "domains", position)
            source = bits % count
            target = (source + 1 + (bits >> 32) % (count - 1)) % count
            names.append(task.domains[source if stream.name == "source" else target])
        return names

    def _decoded(
        self, names: Sequence[str], indices: np.ndarray, further: str, size: Size
    ) -> np.ndarray | list[np.ndarray]:
        """Return samples, or a further input of theirs, as the media has decoded them.

        Raises:
            DataError: a sample is cut out of a file at random, and its further input has another size.
        """
        parts = []
        for name in dict.fromkeys(names):
            mine = np.flatnonzero(np.array(names) == name)
            own = f"{name}.{further}" if further else name
            part = self.domains[own].decoded(False, self.domains.media_at(own, size), indices[mine])
            parts.append((mine, part))
            if further and not isinstance(part, np.ndarray):
                whole = self.domains[name].decoded(False, self.domains.media_at(name, size), indices[mine])
                for i, x, y in zip(indices[mine], whole, part, strict=True):
                    if x.shape[:-1] != y.shape[:-1]:
                        key, (found, expected) = self.domains[name].samples[i].key, (y.shape[:-1], x.shape[:-1])
                        raise DataError(
                            f"[inputs.{further}] {name}: the file of {key!r} is {found}, and the sample {expected}; "
                            "samples are cut out at random, so both must have the same size"
                        )
        return _in_order(parts)

    def _order(self, length: int, task: str, key: str, epoch: int, domain: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of a stream in an epoch, and how often each sample occurred in it before.

        Only the latest few are kept.

        Args:
            domain: the domain whose samples are balanced, or an empty text.
        """
        balance = self.balances.get(domain)
        name = (task, key, length, epoch, domain if balance else "")
        if name not in self.orders:
            if len(self.orders) > 64:
                self.orders.clear()
            if balance:
                self.orders[name] = balance.order(self.seed, "balanced order", task, key, domain, epoch)
            else:
                order = permutation(length, self.seed, "order", task, key, epoch)
                self.orders[name] = order, np.zeros_like(order)
        return self.orders[name]

    def _inputs(self, streams: dict[Any, StreamSamples], step: int, clock: Clock) -> BatchInputs:
        size = self.plan.stage_at(step).size
        sides: dict[Stream, Side] = {}
        for stream, each in streams.items():
            rng = CounterRng(each.key, each.epoch, each.index, self.device, self.dtype)
            on_host = CounterRng(each.key, each.epoch, each.index, "cpu", self.dtype)
            names = [self.plan.domains[i] for i in each.domain]
            tensors = {}
            for further, decoded in each.decoded.items():
                own = [f"{name}.{further}" for name in names] if further else names
                where = rng if isinstance(decoded, np.ndarray) else on_host  # where samples are cut out
                tensors[further] = self.domains.tensors(decoded, where, own, size, self.device).to(self.dtype)
            domain = to_device(torch.from_numpy(each.domain), self.device)
            sides[stream] = Side(
                tensors.pop(""), domain, as_tensors(each.labels, self.device, self.dtype), inputs=tensors
            )
        inputs: dict[Key, Any] = {}
        for translation in self.plan.translations:
            source, target, *rest = (Stream.of(translation, role) for role in ROLES)
            if source in sides:  # else of a task that this step does not train
                other_source, other_target, *pairs = (sides.get(each) for each in rest)
                first = streams[source]
                inputs |= assemble_inputs(
                    self.plan,
                    translation,
                    replace(sides[source], other=other_source),
                    replace(sides[target], other=other_target),
                    CounterRng((self.seed, str(translation)), first.epoch, first.index, self.device, self.dtype),
                    clock,
                    training=True,
                    pairs=(pairs[0], pairs[1]) if pairs[0] and pairs[1] else None,
                )
        return inputs


def _in_order(
    parts: list[tuple[np.ndarray, np.ndarray | list[np.ndarray]]],
) -> np.ndarray | list[np.ndarray]:
    """Return samples that were decoded domain by domain at their places in the batch."""
    first = parts[0][1]
    if len(parts) == 1:
        return first
    place = np.argsort(np.concatenate([mine for mine, _ in parts]))
    if isinstance(first, np.ndarray):
        joined: np.ndarray = np.concatenate([rows for _, rows in parts])[place]
        return joined
    rows = [row for _, each in parts for row in each]
    return [rows[i] for i in place]
