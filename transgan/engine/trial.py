"""A step on trial: where its numbers are not finite it leaves no trace, and no device is waited for but once a step."""

from collections.abc import Iterable

import torch
from torch import Tensor

from transgan.engine.networks import Networks
from transgan.engine.objective import Objective


class Trial:
    """What a step changes besides weights, as it was before the step, and whether the step is spoilt.

    A phase with a total or a gradient that is not finite, and every phase after it, moves no network; that is decided
    on the device. Buffers, older fakes and what losses remember are put back by `undo`.
    """

    def __init__(self, objective: Objective, networks: Networks):
        self.objective = objective
        self.buffers = [buffer for network in networks.networks.values() for buffer in network.buffers()]
        self.before = [buffer.clone() for buffer in self.buffers]
        history, memory = objective.history, objective.memory
        self.pools, self.counts, self.values = dict(history.pools), dict(history.counts), dict(memory.values)
        self.spoilt = torch.zeros((), dtype=torch.bool, device=networks.device)

    def see(self, numbers: Iterable[Tensor]) -> Tensor:
        """Takes in scalars that must be finite; 1.0 if any was not so far, else 0.0."""
        self.spoilt = self.spoilt | ~torch.isfinite(torch.stack([number.float() for number in numbers])).all()
        return self.spoilt.float()

    def failed(self) -> bool:
        """Whether anything was not finite; waits for the device."""
        return bool(self.spoilt)

    @torch.no_grad()
    def undo(self) -> None:
        """Puts everything back, so that the step might never have been."""
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(before)
        history, memory = self.objective.history, self.objective.memory
        history.pools, history.counts, memory.values = self.pools, self.counts, self.values
