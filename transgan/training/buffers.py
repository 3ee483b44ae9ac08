"""What discriminators and losses keep from step to step: image pools, and losses' own tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from transgan.errors import PluginRuntimeError
from transgan.rng import stable_hash
from transgan.training.distributed import Processes


class HistoryPool:
    """Image pools: earlier fakes, given to discriminators beside new ones (Shrivastava et al., 2017, section 2.3).

    A pool is filled first; then each new fake is exchanged with probability one half for a stored one. Every process
    keeps the whole pool, filled in the order of the whole batch. Pools stay on the device; once full, only the rows
    that are exchanged are copied.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.pools: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        """How many fakes each pool has seen."""
        self._replaced: list[tuple[Tensor, int, Tensor]] = []  # in this step: the pool, and a row as it was
        self._before: tuple[dict[str, Tensor], dict[str, int]] = {}, {}

    def exchange(self, name: str, fakes: Tensor, size: int, gathered: Tensor, first: int) -> Tensor:
        """Return the discriminator's input in place of `fakes`, which are `gathered[first:first + len(fakes)]`."""
        pool = self.pools.get(name)
        if pool is None or pool.shape[1:] != fakes.shape[1:]:  # none yet, or a stage of another size has begun
            pool = fakes.new_empty((0, *fakes.shape[1:]))
        seen, length = self.counts.get(name, 0), len(pool)
        self.counts[name] = seen + len(gathered)
        stored, returned = list(range(length)), []  # numbers of rows: those of the pool, then those of `gathered`
        for i in range(len(gathered)):
            new = length + i
            bits = stable_hash(self.seed, "history", name, seen + i)
            if len(stored) < size:
                stored.append(new)
            elif bits & 1:
                at = (bits >> 1) % size
                stored[at], new = new, stored[at]
            returned.append(new)
        returned = returned[first : first + len(fakes)]
        given = torch.stack([pool[i] if i < length else gathered[i - length] for i in returned])
        if len(stored) > length:
            pool = torch.cat([pool, gathered[: len(stored) - length]])
        for at, row in enumerate(stored):
            if row >= length and row != at:
                self._replaced.append((pool, at, pool[at].clone()))
                pool[at].copy_(gathered[row - length])
        self.pools[name] = pool
        return given

    def begin_step(self) -> None:
        """Begin a step, which `undo` and `undo_where` take back."""
        self._replaced.clear()
        self._before = dict(self.pools), dict(self.counts)

    def undo(self) -> None:
        """Take back what was exchanged in this step."""
        for pool, at, row in reversed(self._replaced):
            pool[at].copy_(row)
        self.pools, self.counts = dict(self._before[0]), dict(self._before[1])

    def undo_where(self, failed: Tensor) -> None:
        """Take back what was exchanged in this step if `failed`, a scalar on the device, which is not waited for.

        A pool that was not full keeps its new fakes, with zeros for numbers that are not finite.
        """
        for pool, at, row in reversed(self._replaced):
            pool[at].copy_(torch.where(failed, row, pool[at]))
        for name, pool in self.pools.items():
            before = self._before[0].get(name)
            if pool is not before:
                new = pool[0 if before is None or before.shape[1:] != pool.shape[1:] else len(before) :]
                new.copy_(torch.where(failed & ~new.isfinite(), 0.0, new))

    def state_dict(self) -> dict[str, Any]:
        """Return the pools by name, and `counts`."""
        return {**self.pools, "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        self.pools = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        self.counts = dict(state.get("counts", {}))


class LossBuffers:
    """Named tensors of losses and augmentations.

    What is recorded during a phase holds from its end on, as the mean over all micro-batches and processes. So it makes
    no difference whether a batch is taken whole, in micro-batches, or by several processes.
    """

    def __init__(self, processes: Processes | None = None):
        self.processes = processes
        self.values: dict[str, Tensor] = {}
        self._recorded: dict[str, list[Tensor]] = {}

    def of(self, owner: str) -> dict[str, Tensor]:
        """Return an owner's tensors, as they were when the phase began."""
        begin = f"{owner}|"
        return {key.removeprefix(begin): value for key, value in self.values.items() if key.startswith(begin)}

    def record(self, owner: str, values: Mapping[str, Tensor]) -> None:
        """Record new values; several records under one name are averaged."""
        for key, value in values.items():
            if not isinstance(value, Tensor):
                loss = owner.partition("/")[0]
                what = f"buffers['{key}'] of loss '{loss}' is set to {type(value).__name__}"
                raise PluginRuntimeError(f"{what}; expected a tensor")
            self._recorded.setdefault(f"{owner}|{key}", []).append(value.detach())

    def commit(self) -> None:
        """End a phase. Every process must have recorded the same names and shapes."""
        means = {key: torch.stack(values).mean(0) for key, values in self._recorded.items()}
        if means and self.processes and self.processes.world > 1:
            flat = self.processes.gather(torch.cat([value.flatten() for value in means.values()])[None]).mean(0)
            pieces = torch.split(flat, [value.numel() for value in means.values()])
            means = {key: piece.view_as(means[key]) for key, piece in zip(means, pieces, strict=True)}
        self.values.update(means)
        self._recorded = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors by `owner|name`."""
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        self.values = dict(state)
