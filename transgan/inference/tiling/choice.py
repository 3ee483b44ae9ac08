"""Whether a computation is done in tiles: where the whole needs more memory than it may take."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from transgan.api.samples import Notes
from transgan.inference.tiling.memory import Needs, free_memory, measure
from transgan.inference.tiling.tensors import NotTileable, Tiling, whole
from transgan.text import listed, size_of

#: Shares of the free memory: what a whole sample may need, what several in one pass may, and what tiles take.
WHOLE_SHARE, BATCH_SHARE, TILES_SHARE = 0.8, 0.25, 0.5
#: No network needs as many times the memory of its input.
CERTAINLY = 2000

Wrap = Callable[[Tensor], Tensor]
"""What turns a tensor into one that is computed with in tiles, or leaves it as it is."""


class Tiles:
    """Computes samples as a whole, or in tiles where they are too large for that; says once that it does."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.needs: dict[Hashable, Needs | None] = {}

    def compute(
        self,
        function: Callable[[Wrap], Tensor],
        x: Tensor,
        trace: Callable[[], Any],
        key: Hashable,
        *,
        name: str,
        memory: int | None,
        on_progress: Callable[[float], None] | None,
    ) -> Tensor:
        """Return what a function computes of a sample.

        Args:
            function: takes what its large tensors, such as x, are to be passed through.
            x: the sample, (N, C, *space).
            trace: does the same on the meta device.
            key: equal where the same memory is needed.
            name: of the sample, for the note.
            memory: bytes of the device's memory that it may take; None for what is free.
            on_progress: called with the share that is done, 0 to 1.
        """
        tiling = self._tiling(x, trace, key, name, memory, on_progress)
        if tiling is None:
            return function(lambda x: x)
        try:
            y = whole(function(tiling.wrap))
        except NotTileable as error:
            self.notes.say("not tileable", f"the network {error}, which cannot be done in tiles: translated as a whole")
            return function(lambda x: x)
        if tiling.computed_whole:
            names = listed(sorted(tiling.computed_whole))
            self.notes.say("computed whole", f"not computed in tiles, and so limited by memory: {names}")
        return y

    def samples_at_once(
        self, most: int, x: Tensor, trace: Callable[[], Any], key: Hashable, memory: int | None, device: torch.device
    ) -> int:
        """Return how many samples may be computed in one pass: 1 to `most`, as many as fit into memory as a whole.

        Args:
            x: samples, of which only the size counts.
            trace: computes one of them on the meta device.
            key: equal where the same memory is needed.
            memory: bytes that they may take; None for a share of what is free.
            device: on which they are computed.
        """
        limit = BATCH_SHARE * free_memory(device) if memory is None else memory
        size = x[0].numel() * x.element_size()
        if memory is None and most * size * CERTAINLY < limit:
            return most
        needs = self._needs(key, trace)
        return most if needs is None else max(1, min(most, int(limit // max(1, needs.memory))))

    def _needs(self, key: Hashable, trace: Callable[[], Any]) -> Needs | None:
        """Return what a computation needs; None where that cannot be known."""
        if key not in self.needs:
            try:
                self.needs[key] = measure(trace)
            except Exception:  # a plugin's network may do what needs numbers
                self.needs[key] = None
        return self.needs[key]

    def _tiling(
        self,
        x: Tensor,
        trace: Callable[[], Any],
        key: Hashable,
        name: str,
        memory: int | None,
        on_progress: Callable[[float], None] | None,
    ) -> Tiling | None:
        """Return how to compute in tiles; None where the whole fits into memory, or nothing is known of its needs."""
        free = free_memory(x.device)
        if memory is None and x.numel() * x.element_size() * CERTAINLY < free:
            return None
        needs = self._needs(key, trace)
        if needs is None or needs.memory <= (WHOLE_SHARE * free if memory is None else memory):
            return None
        limit = int(TILES_SHARE * free) if memory is None else memory
        there = f"{size_of(free)} are free" if memory is None else f"{size_of(limit)} are allowed"
        shape = " x ".join(map(str, x.shape[1:]))
        self.notes.say(
            "tiles",
            f"{name or 'a sample'}: {shape} numbers would take about {size_of(needs.memory)} of memory at once, and "
            f"{there}: translated in tiles, with the same result",
        )
        total, done = max(1.0, needs.multiplications), 0.0

        def advance(multiplications: float) -> None:
            nonlocal done
            done += multiplications
            if on_progress:
                on_progress(min(1.0, done / total))

        return Tiling(x.device, limit, int(TILES_SHARE * free_memory(torch.device("cpu"))), advance)
