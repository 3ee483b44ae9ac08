"""The batch of any step: which samples, in which order, how augmented; all follows from (seed, epoch, index)."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.options import Size
from transgan.api.schedule import Clock
from transgan.data.attributes import EncodedLabels
from transgan.data.domains import Domains
from transgan.data.inputs import BatchInputs, Side, as_tensors, assemble_inputs
from transgan.errors import UsageError
from transgan.graph import Key
from transgan.plan.plan import Plan
from transgan.rng import CounterRng, permutation, stable_hash


@dataclass(frozen=True)
class StreamSamples:
    """Decoded samples of one stream: the domain, epoch and index of each, the arrays, and their encoded labels."""

    domain: np.ndarray
    epoch: np.ndarray
    index: np.ndarray
    decoded: np.ndarray | list[np.ndarray]
    labels: EncodedLabels
    key: tuple[object, ...]


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
    for stage in plan.stages:
        if stage.batch % (world * micro_batches):
            raise UsageError(
                f"a batch of {stage.batch} cannot be divided by {world} processes with {micro_batches} "
                f"micro-batches each; set train.batch to a multiple of {world * micro_batches}"
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
        self.orders: dict[tuple[object, ...], np.ndarray] = {}
        self.micro_batches = plan.recipe.train.accumulate
        check_divisible(plan, world)
        self.prefetched: tuple[int, str | None, Future[list[dict[Any, StreamSamples]]]] | None = None
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
            micro_batches = self._collect_all(*wanted)
        if step + 1 < self.plan.recipe.train.steps:
            wanted = (step + 1, task(later))  # if the task changes until then, the samples are collected again
            self.prefetched = (*wanted, self.pool.submit(self._collect_all, *wanted))
        return [self._inputs(streams, step, clock) for streams in micro_batches]

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
        streams: dict[Any, StreamSamples] = {}
        for task_name, task in self.plan.recipe.tasks.items():
            if only not in (None, task_name):
                continue
            if task.targets == "random":
                count = len(task.domains)
                hashes = [stable_hash(self.seed, task_name, "domains", p) for p in positions]
                source = np.array([h % count for h in hashes])
                target = np.array(
                    [(s + 1 + (h >> 32) % (count - 1)) % count for s, h in zip(source, hashes, strict=True)]
                )
                streams[task_name, "source"] = self._stream(task_name, task.domains, source, positions, "source", size)
                streams[task_name, "target"] = self._stream(task_name, task.domains, target, positions, "target", size)
            else:
                for i, domain in enumerate(task.domains):
                    key = "pairs" if task.paired is True else domain
                    which = np.full(len(positions), i)
                    streams[task_name, domain] = self._stream(task_name, task.domains, which, positions, key, size)
        return streams

    def _stream(
        self, task: str, domains: Sequence[str], which: np.ndarray, positions: np.ndarray, key: str, size: Size
    ) -> StreamSamples:
        """Return the samples of one stream; `which` (N,) says from which of the domains each one comes."""
        epochs, indices, decoded = [], [], []
        for i, position in zip(which.tolist(), positions.tolist(), strict=True):
            domain = self.domains[domains[i]]
            epoch, at = divmod(position, len(domain.samples))
            index = int(self._order(len(domain.samples), task, key if key != "source" else domain.name, epoch)[at])
            epochs.append(epoch)
            indices.append(index)
        for i in dict.fromkeys(which.tolist()):
            mine = np.flatnonzero(which == i)
            media = self.domains.media_at(domains[i], size)
            decoded.append((mine, self.domains[domains[i]].decoded(False, media, np.array(indices)[mine])))
        array = _in_order(decoded)
        numbers = np.array([self.plan.domains.index(domains[i]) for i in which.tolist()])
        rows = [(self.domains[domains[i]].labels, index) for i, index in zip(which.tolist(), indices, strict=True)]
        labels = {name: np.stack([each[name][index] for each, index in rows]) for name in self.plan.recipe.attributes}
        return StreamSamples(numbers, np.array(epochs), np.array(indices), array, labels, (self.seed, task, key))

    def _order(self, length: int, task: str, key: str, epoch: int) -> np.ndarray:
        """Return the order of a stream in an epoch; only the latest few are kept."""
        name = (task, key, length, epoch)
        if name not in self.orders:
            if len(self.orders) > 64:
                self.orders.clear()
            self.orders[name] = permutation(length, self.seed, "order", task, key, epoch)
        return self.orders[name]

    def _inputs(self, streams: dict[Any, StreamSamples], step: int, clock: Clock) -> BatchInputs:
        size = self.plan.stage_at(step).size
        tensors: dict[Any, Tensor] = {}
        for key, each in streams.items():
            rng = CounterRng(each.key, each.epoch, each.index, self.device, self.dtype)
            names = [self.plan.domains[i] for i in each.domain]
            tensors[key] = self.domains.tensors(each.decoded, rng, names, size, self.device).to(self.dtype)

        def side(key: Any) -> Side:
            domain = torch.from_numpy(streams[key].domain).to(self.device)
            return Side(tensors[key], domain, as_tensors(streams[key].labels, self.device, self.dtype))

        inputs: dict[Key, Any] = {}
        for translation in self.plan.translations:
            source, target = (
                (translation.task, end if name == "*" else name)
                for end, name in (("source", translation.source), ("target", translation.target))
            )
            if source in streams:  # else of a task that this step does not train
                first = streams[source]
                key = (self.seed, str(translation))
                rng = CounterRng(key, first.epoch, first.index, self.device, self.dtype)
                inputs |= assemble_inputs(self.plan, translation, side(source), side(target), rng, clock, training=True)
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
