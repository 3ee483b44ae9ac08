"""Numbers that losses and augmentations remember from phase to phase, the same on every process."""

from collections.abc import Mapping

import torch
from torch import Tensor

from transgan.engine.processes import Processes


class Memory:
    """Named tensors. What is noted during a phase counts from its end on, as the mean over all parts and processes.

    So it makes no difference whether a batch is taken whole, in parts, or by several processes.
    """

    def __init__(self, processes: Processes | None = None):
        self.processes = processes
        self.values: dict[str, Tensor] = {}
        self.noted: dict[str, list[Tensor]] = {}

    def about(self, owner: str) -> dict[str, Tensor]:
        """What is remembered under a name, as it was when the phase began."""
        begin = f"{owner}|"
        return {key.removeprefix(begin): value for key, value in self.values.items() if key.startswith(begin)}

    def note(self, owner: str, values: Mapping[str, Tensor]) -> None:
        """Takes down what shall be remembered; several notes under one name are averaged."""
        for key, value in values.items():
            self.noted.setdefault(f"{owner}|{key}", []).append(value.detach())

    def settle(self) -> None:
        """Ends a phase. Every process must have noted the same names, and shapes."""
        means = {key: torch.stack(notes).mean(0) for key, notes in self.noted.items()}
        if means and self.processes and self.processes.world > 1:
            flat = self.processes.gather(torch.cat([value.flatten() for value in means.values()])[None]).mean(0)
            pieces = torch.split(flat, [value.numel() for value in means.values()])
            means = {key: piece.view_as(means[key]) for key, piece in zip(means, pieces, strict=True)}
        self.values.update(means)
        self.noted = {}

    def load(self, values: Mapping[str, Tensor], device: torch.device) -> None:
        """From a checkpoint."""
        self.values = {key: value.to(device) for key, value in values.items()}
