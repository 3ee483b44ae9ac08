"""What discriminators and losses keep from step to step: image pools, and losses' own tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from transgan.rng import stable_hash
from transgan.training.distributed import Processes


class HistoryPool:
    """Image pools: earlier fakes, given to discriminators beside new ones (Shrivastava et al., 2017, section 2.3).

    A pool is filled first; then each new fake is exchanged with probability one half for a stored one. Every process
    keeps the whole pool, filled in the order of the whole batch.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.pools: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        """How many fakes each pool has seen."""

    def exchange(self, name: str, fakes: Tensor, size: int, gathered: Tensor, first: int) -> Tensor:
        """Return the discriminator's input in place of `fakes`, which are `gathered[first:first + len(fakes)]`."""
        pool = self.pools.get(name)
        if pool is None or pool.shape[1:] != fakes.shape[1:]:  # none yet, or a stage of another size has begun
            pool = fakes.new_empty((0, *fakes.shape[1:]))
        seen = self.counts.get(name, 0)
        both = torch.cat([pool, gathered])  # everything below is in numbers of rows of it
        kept, returned = list(range(len(pool))), []
        for i in range(len(gathered)):
            new = len(pool) + i
            bits = stable_hash(self.seed, "history", name, seen + i)
            if len(kept) < size:
                kept.append(new)
            elif bits & 1:
                at = (bits >> 1) % size
                kept[at], new = new, kept[at]
            returned.append(new)
        self.counts[name] = seen + len(gathered)
        self.pools[name] = both[kept]
        return both[returned[first : first + len(fakes)]]

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
