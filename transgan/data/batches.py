"""The batch of any step: which samples, in which order, how augmented, all following from (seed, epoch, index)."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.schedule import Clock
from transgan.data.attributes import Told
from transgan.data.domains import Domains
from transgan.data.draws import SampleDraws, hashed, permutation
from transgan.errors import UsageError
from transgan.graph import Key
from transgan.plan.plan import Plan

Leaves = Mapping[Key, Any]


@dataclass(frozen=True)
class Picked:
    """Samples of one stream: the domain, epoch and index of each, the arrays they decode to, and their attributes."""

    domain: np.ndarray
    epoch: np.ndarray
    index: np.ndarray
    decoded: np.ndarray | list[np.ndarray]
    told: Told
    key: tuple[object, ...]


class Batches:
    """Batches as a function of the step; `part` of `parts` is what one process takes at once.

    Args:
        rank, world: this process and how many there are; each gets an equal, consecutive share of every batch.
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
        self.parts = plan.recipe.train.accumulate
        for stage in plan.stages:
            if stage.batch % (world * self.parts):
                raise UsageError(
                    f"a batch of {stage.batch} cannot be shared by {world} processes in {self.parts} parts each; "
                    f"set train.batch to a multiple of {world * self.parts}"
                )
        self.ahead: tuple[int, str | None, Future[list[dict[Any, Picked]]]] | None = None
        self.pool = ThreadPoolExecutor(1)

    def samples_before(self, step: int) -> int:
        """Samples of a domain that were seen before a step."""
        return sum((min(step, s.last) - s.first) * s.batch for s in self.plan.stages if s.first < step)

    @property
    def epoch_length(self) -> int:
        """Samples of the largest domain."""
        return max(len(domain.samples) for domain in self.domains.values())

    def clock(self, step: int) -> Clock:
        """Where the run is before a step."""
        return Clock(
            step=step, epoch=self.samples_before(step) / self.epoch_length, run=step / self.plan.recipe.train.steps
        )

    def at(self, step: int, task: Callable[[Clock], str | None] = lambda clock: None) -> list[Leaves]:
        """The leaves of a step, one part after the other; the next step's samples are fetched meanwhile.

        Args:
            task: the one that is played at a moment, or None for all. A task's samples follow from the step alone:
                they are the same whether or not other tasks, or this one before, were played.
        """
        clock, later = self.clock(step), self.clock(step + 1)
        wanted = (step, task(clock))
        picked = self.ahead[2].result() if self.ahead and self.ahead[:2] == wanted else self._pick_all(*wanted)
        if step + 1 < self.plan.recipe.train.steps:
            wanted = (step + 1, task(later))  # should it come otherwise, it is picked anew
            self.ahead = (*wanted, self.pool.submit(self._pick_all, *wanted))
        return [self._leaves(part, step, clock) for part in picked]

    def _pick_all(self, step: int, task: str | None) -> list[dict[Any, Picked]]:
        stage = self.plan.stage_at(step)
        share = stage.batch // (self.parts * self.world)
        begin = self.samples_before(step)
        found = []
        for part in range(self.parts):
            first = begin + (part * self.world + self.rank) * share
            found.append(self._pick(np.arange(first, first + share), stage.size, task))
        return found

    def _pick(self, positions: np.ndarray, size: int, only: str | None) -> dict[Any, Picked]:
        """The samples of all streams, or of one task's, at positions counted from the run's begin."""
        picked: dict[Any, Picked] = {}
        for task_name, task in self.plan.recipe.tasks.items():
            if only not in (None, task_name):
                continue
            if task.targets == "random":
                count = len(task.domains)
                chance = [hashed(self.seed, task_name, "domains", p) for p in positions]
                source = np.array([c % count for c in chance])
                target = np.array(
                    [(s + 1 + (c >> 32) % (count - 1)) % count for s, c in zip(source, chance, strict=True)]
                )
                picked[task_name, "source"] = self._stream(task_name, task.domains, source, positions, "source", size)
                picked[task_name, "target"] = self._stream(task_name, task.domains, target, positions, "target", size)
            else:
                for i, domain in enumerate(task.domains):
                    key = "pairs" if task.paired is True else domain
                    which = np.full(len(positions), i)
                    picked[task_name, domain] = self._stream(task_name, task.domains, which, positions, key, size)
        return picked

    def _stream(
        self, task: str, domains: Sequence[str], which: np.ndarray, positions: np.ndarray, key: str, size: int
    ) -> Picked:
        media = self.domains.media_at(size)
        epochs, indices, decoded = [], [], []
        for i, position in zip(which.tolist(), positions.tolist(), strict=True):
            domain = self.domains[domains[i]]
            epoch, at = divmod(position, len(domain.samples))
            index = int(self._order(len(domain.samples), task, key if key != "source" else domain.name, epoch)[at])
            epochs.append(epoch)
            indices.append(index)
        for i in dict.fromkeys(which.tolist()):
            mine = np.flatnonzero(which == i)
            decoded.append((mine, self.domains[domains[i]].cache(False, media).get(np.array(indices)[mine])))
        array = _in_order(decoded)
        numbers = np.array([self.plan.domains.index(domains[i]) for i in which.tolist()])
        chosen = [(self.domains[domains[i]].told, index) for i, index in zip(which.tolist(), indices, strict=True)]
        told = {name: np.stack([rows[name][index] for rows, index in chosen]) for name in self.plan.recipe.attributes}
        return Picked(numbers, np.array(epochs), np.array(indices), array, told, (self.seed, task, key))

    def _order(self, length: int, task: str, key: str, epoch: int) -> np.ndarray:
        """The order of an epoch of a stream; only the latest few are kept."""
        name = (task, key, length, epoch)
        if name not in self.orders:
            if len(self.orders) > 64:
                self.orders.clear()
            self.orders[name] = permutation(length, self.seed, "order", task, key, epoch)
        return self.orders[name]

    def _leaves(self, picked: dict[Any, Picked], step: int, clock: Clock) -> Leaves:
        size = self.plan.stage_at(step).size
        made: dict[Any, Tensor] = {}
        for key, each in picked.items():
            draws = SampleDraws(each.key, each.epoch, each.index, self.device, self.dtype)
            names = [self.plan.domains[i] for i in each.domain]
            made[key] = self.domains.tensors(each.decoded, draws, names, size, self.device).to(self.dtype)
        leaves: dict[Key, Any] = {}
        for translation in self.plan.translations:
            ends = [
                (translation.task, end if name == "*" else name)
                for end, name in (("source", translation.source), ("target", translation.target))
            ]
            if ends[0] not in picked:
                continue  # of a task that this step does not play
            source, target = picked[ends[0]], picked[ends[1]]
            draws = SampleDraws((self.seed, str(translation)), source.epoch, source.index, self.device, self.dtype)
            values = {
                "source": made[ends[0]],
                "target": made[ends[1]],
                "source_domain": torch.from_numpy(source.domain).to(self.device),
                "target_domain": torch.from_numpy(target.domain).to(self.device),
                "source_attributes": as_tensors(source.told, self.device, self.dtype),
                "target_attributes": as_tensors(target.told, self.device, self.dtype),
                "draws": draws,
                "clock": clock,
                "training": True,
            }
            leaves.update(leaves_of(self.plan, translation, values))
        return leaves


def _in_order(
    parts: list[tuple[np.ndarray, np.ndarray | list[np.ndarray]]],
) -> np.ndarray | list[np.ndarray]:
    """Samples that were fetched domain by domain, at the places that they have in the batch."""
    first = parts[0][1]
    if len(parts) == 1:
        return first
    place = np.argsort(np.concatenate([mine for mine, _ in parts]))
    if isinstance(first, np.ndarray):
        joined: np.ndarray = np.concatenate([rows for _, rows in parts])[place]
        return joined
    rows = [row for _, each in parts for row in each]
    return [rows[i] for i in place]


def as_tensors(told: Told, device: Any, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The numbers of attributes, (N, k) each, where networks can be told them."""
    return {name: torch.from_numpy(rows).to(device, dtype) for name, rows in told.items()}


def leaves_of(plan: Plan, translation: Translation, values: dict[str, Any]) -> Leaves:
    """A translation's leaves, completed by what follows from the translation itself."""
    source: Tensor = values["source"]
    task = list(plan.recipe.tasks).index(translation.task)
    numbers = {"task": task}
    attributes: dict[str, Any] = {f"{end}_attributes": {} for end in ("source", "target")}  # of a recipe without any
    for end in ("source", "target"):
        if f"{end}_domain" not in values:
            numbers[f"{end}_domain"] = plan.domains.index(getattr(translation, end))
    full = {name: torch.full((len(source),), number, device=source.device) for name, number in numbers.items()}
    among = [plan.domains.index(name) for name in plan.recipe.tasks[translation.task].domains]
    full["task_domains"] = torch.tensor(among, device=source.device)
    return {
        (translation, name): value
        for name, value in {**full, **attributes, **values, "translation": translation}.items()
    }
