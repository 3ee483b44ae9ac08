"""The batch of any step: which samples, in which order, how augmented, all following from (seed, epoch, index)."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.schedule import Clock
from transgan.data.domains import Domains
from transgan.data.draws import SampleDraws, hashed, permutation
from transgan.errors import DataError, UsageError
from transgan.graph import Key
from transgan.plan.plan import Plan

Leaves = Mapping[Key, Any]


@dataclass(frozen=True)
class Picked:
    """Samples of one stream: the domain, epoch and index of each, and the arrays they decode to."""

    domain: np.ndarray
    epoch: np.ndarray
    index: np.ndarray
    decoded: np.ndarray
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
        self._check_pairs()
        self.ahead: tuple[int, Future[list[dict[Any, Picked]]]] | None = None
        self.pool = ThreadPoolExecutor(1)

    def _check_pairs(self) -> None:
        for name, task in self.plan.recipe.tasks.items():
            if task.paired:
                first, second = ([sample.key for sample in self.domains[d].samples] for d in task.domains[:2])
                if first != second:
                    lone = sorted(set(first) ^ set(second))
                    raise DataError(
                        f"[tasks.{name}] is paired, but {len(lone)} samples have no partner of the same name: "
                        f"{', '.join(lone[:5])}{', ...' if len(lone) > 5 else ''}"
                    )

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

    def at(self, step: int) -> list[Leaves]:
        """The leaves of a step, one part after the other; the next step's samples are fetched meanwhile."""
        picked = self.ahead[1].result() if self.ahead and self.ahead[0] == step else self._pick_all(step)
        if step + 1 < self.plan.recipe.train.steps:
            self.ahead = (step + 1, self.pool.submit(self._pick_all, step + 1))
        clock = self.clock(step)
        return [self._leaves(part, step, clock) for part in picked]

    def _pick_all(self, step: int) -> list[dict[Any, Picked]]:
        stage = self.plan.stage_at(step)
        share = stage.batch // (self.parts * self.world)
        begin = self.samples_before(step)
        found = []
        for part in range(self.parts):
            first = begin + (part * self.world + self.rank) * share
            found.append(self._pick(np.arange(first, first + share), stage.size))
        return found

    def _pick(self, positions: np.ndarray, size: int) -> dict[Any, Picked]:
        """The samples of all streams at positions counted from the run's begin."""
        picked: dict[Any, Picked] = {}
        for task_name, task in self.plan.recipe.tasks.items():
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
                    key = "pairs" if task.paired else domain
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
            mine = which == i
            decoded.append((mine, self.domains[domains[i]].cache(False, media).get(np.array(indices)[mine])))
        if len(decoded) == 1:
            array = decoded[0][1]
        else:
            array = np.empty((len(which), *decoded[0][1].shape[1:]), decoded[0][1].dtype)
            for mine, rows in decoded:
                array[mine] = rows
        numbers = np.array([self.plan.domains.index(domains[i]) for i in which.tolist()])
        return Picked(numbers, np.array(epochs), np.array(indices), array, (self.seed, task, key))

    def _order(self, length: int, task: str, key: str, epoch: int) -> np.ndarray:
        """The order of an epoch of a stream; only the latest few are kept."""
        name = (task, key, length, epoch)
        if name not in self.orders:
            if len(self.orders) > 64:
                self.orders.clear()
            self.orders[name] = permutation(length, self.seed, "order", task, key, epoch)
        return self.orders[name]

    def _leaves(self, picked: dict[Any, Picked], step: int, clock: Clock) -> Leaves:
        media = self.domains.media_at(self.plan.stage_at(step).size)
        made: dict[Any, Tensor] = {}
        for key, each in picked.items():
            draws = SampleDraws(each.key, each.epoch, each.index, self.device, self.dtype)
            decoded = torch.from_numpy(each.decoded).to(self.device, non_blocking=True)
            made[key] = media.batch(decoded, draws).to(self.dtype)
        leaves: dict[Key, Any] = {}
        for translation in self.plan.translations:
            ends = [
                (translation.task, end if name == "*" else name)
                for end, name in (("source", translation.source), ("target", translation.target))
            ]
            source, target = picked[ends[0]], picked[ends[1]]
            draws = SampleDraws((self.seed, str(translation)), source.epoch, source.index, self.device, self.dtype)
            values = {
                "source": made[ends[0]],
                "target": made[ends[1]],
                "source_domain": torch.from_numpy(source.domain).to(self.device),
                "target_domain": torch.from_numpy(target.domain).to(self.device),
                "draws": draws,
                "clock": clock,
                "training": True,
            }
            leaves.update(leaves_of(self.plan, translation, values))
        return leaves


def leaves_of(plan: Plan, translation: Translation, values: dict[str, Any]) -> Leaves:
    """A translation's leaves, completed by what follows from the translation itself."""
    source: Tensor = values["source"]
    task = list(plan.recipe.tasks).index(translation.task)
    numbers = {"task": task}
    for end in ("source", "target"):
        if f"{end}_domain" not in values:
            numbers[f"{end}_domain"] = plan.domains.index(getattr(translation, end))
    full = {name: torch.full((len(source),), number, device=source.device) for name, number in numbers.items()}
    return {(translation, name): value for name, value in {**full, **values, "translation": translation}.items()}
