"""Older fakes, shown to discriminators beside new ones (Shrivastava et al., 2017, section 2.3)."""

import torch
from torch import Tensor

from transgan.data.draws import hashed


class History:
    """A pool of fakes for each judge: filled first, then every new fake takes the place of a stored one, which is shown
    instead, with probability one half. Every process keeps the whole pool, filled in the order of the whole batch."""

    def __init__(self, seed: int):
        self.seed = seed
        self.pools: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def show(self, name: str, fakes: Tensor, size: int, gathered: Tensor, first: int) -> Tensor:
        """What the discriminator sees instead of `fakes`, which are `gathered[first:first + len(fakes)]`."""
        pool = self.pools.get(name)
        if pool is None or pool.shape[1:] != fakes.shape[1:]:  # nothing yet, or a stage of another size began
            pool = fakes.new_empty((0, *fakes.shape[1:]))
        seen = self.counts.get(name, 0)
        both = torch.cat([pool, gathered])  # everything below is in numbers of rows of it
        kept, shown = list(range(len(pool))), []
        for i in range(len(gathered)):
            new = len(pool) + i
            chance = hashed(self.seed, "history", name, seen + i)
            if len(kept) < size:
                kept.append(new)
            elif chance & 1:
                at = (chance >> 1) % size
                kept[at], new = new, kept[at]
            shown.append(new)
        self.counts[name] = seen + len(gathered)
        self.pools[name] = both[kept]
        return both[shown[first : first + len(fakes)]]

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """For a checkpoint."""
        return self.pools, self.counts

    def load(self, pools: dict[str, Tensor], counts: dict[str, int], device: torch.device) -> None:
        """From a checkpoint."""
        self.pools = {name: pool.to(device) for name, pool in pools.items()}
        self.counts = dict(counts)
