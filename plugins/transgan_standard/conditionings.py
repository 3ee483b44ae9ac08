"""Conditionings: how a network is told its task, its domain, or any numbers."""

from typing import Any

import torch
from pydantic import Field
from torch import nn

from transgan.api import Conditioning, Options, Spec, Tensor, UsageError


def condition(of: str, given: dict[str, Any], conditioning: str) -> Tensor:
    """The tensor of that name, (N, ...).

    Raises:
        UsageError: nobody gave it.
    """
    told: Tensor | None = given.get(of)
    if told is None:
        known = ", ".join(sorted(name for name, value in given.items() if value is not None)) or "nothing"
        raise UsageError(
            f"conditioning '{conditioning}' is of '{of}', which this network is not told; it is told {known}"
        )
    return told


def rows(told: Tensor, of: str, numbers: int, conditioning: str) -> Tensor:
    """A condition of numbers as (N, numbers).

    Raises:
        UsageError: there are more or fewer numbers.
    """
    told = told[:, None] if told.dim() == 1 else told.flatten(1)
    if told.shape[1] != numbers:
        raise UsageError(
            f"conditioning '{conditioning}': '{of}' has numbers = {told.shape[1]}, and the recipe says {numbers}"
        )
    return told


class ChannelOptions(Options):
    """Options of the conditioning `channel`."""

    of: str = Field("task", min_length=1)
    """What is told: `task`, `domain` (the one to make, or to judge), or the name of an attribute, or of another
    condition of numbers that nodes give."""
    numbers: int = Field(1, ge=1)
    """How many numbers a condition of the nodes' own has (1 or more); of all others it is known."""


class ChannelConditioning(Conditioning):
    """Constant planes behind the channels of the input (as StarGAN, Choi et al., 2018, section 4.2).

    A task is told by one plane for each task but the first, so two tasks are a single plane of 0 or 1, as in the
    conditional face model that this framework set out from; a domain by one plane for each; numbers by a plane each.
    A norm after the first convolution can remove constant planes altogether: see `norm_first` of the `resnet`.
    """

    Options = ChannelOptions

    def __init__(self, options: ChannelOptions, spec: Spec):
        super().__init__(options, spec)
        self.of = options.of
        counts = {"task": max(len(spec.tasks) - 1, 0), "domain": len(spec.domains)}
        self.channels = counts.get(options.of, spec.attributes.get(options.of, options.numbers))

    def forward(
        self, x: Tensor, style: Tensor | None, task: Tensor | None = None, domain: Tensor | None = None, **others: Any
    ) -> tuple[Tensor, Tensor | None]:
        told = condition(self.of, {"task": task, "domain": domain, **others}, "channel")
        if self.of in ("task", "domain"):
            first = 1 if self.of == "task" else 0
            told = told[:, None] == torch.arange(first, first + self.channels, device=x.device)
        planes = rows(told, self.of, self.channels, "channel").to(x.dtype)
        planes = planes.reshape(*planes.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes], 1), style


class EmbeddingOptions(Options):
    """Options of the conditioning `embedding`."""

    of: str = Field("domain", min_length=1)
    """What is told: `domain` (the one to make, or to judge), `task`, or the name of an attribute, or of another
    condition of numbers that nodes give."""
    width: int = Field(16, ge=1)
    """How many numbers the learned vector has (1 or more)."""
    numbers: int = Field(1, ge=1)
    """How many numbers a condition of the nodes' own has (1 or more); of all others it is known."""


class EmbeddingConditioning(Conditioning):
    """A learned vector, put at the end of the style vector.

    For each task or domain one from N(0, 1), as class embeddings of conditional norms are made (Dumoulin et al.,
    2017); for numbers a linear map of them. What the style does is the network's affair: adaptive norms in generators,
    projection in discriminators.
    """

    Options = EmbeddingOptions

    def __init__(self, options: EmbeddingOptions, spec: Spec):
        super().__init__(options, spec)
        self.of = options.of
        self.numbers = spec.attributes.get(options.of, options.numbers)
        self.style = options.width
        counts = {"task": len(spec.tasks), "domain": len(spec.domains)}
        named = options.of in counts
        self.table = nn.Embedding(counts[options.of], options.width) if named else None
        self.linear = None if named else nn.Linear(self.numbers, options.width)

    def forward(
        self, x: Tensor, style: Tensor | None, task: Tensor | None = None, domain: Tensor | None = None, **others: Any
    ) -> tuple[Tensor, Tensor]:
        told = condition(self.of, {"task": task, "domain": domain, **others}, "embedding")
        if self.linear is not None:
            embedded = self.linear(rows(told, self.of, self.numbers, "embedding").to(self.linear.weight.dtype))
        else:
            assert self.table is not None
            embedded = self.table(told)
        return x, embedded if style is None else torch.cat([style, embedded.to(style.dtype)], 1)
