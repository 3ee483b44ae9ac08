"""Conditionings: how a task, a domain, an attribute or any numeric vector enters a network."""

from typing import Any

import torch
from pydantic import Field
from torch import nn

from transgan.api import Conditioning, NetworkSpec, Options, Tensor, UsageError


def find_condition(of: str, conditions: dict[str, Any], conditioning: str) -> Tensor:
    """Return the condition named `of`, (N, ...).

    Args:
        conditioning: the plugin's name, for the message.

    Raises:
        UsageError: the network is not called with such a condition.
    """
    condition: Tensor | None = conditions.get(of)
    if condition is None:
        known = ", ".join(sorted(name for name, value in conditions.items() if value is not None)) or "none"
        raise UsageError(
            f"conditioning '{conditioning}': of = '{of}', but this network gets no such condition; it gets {known}"
        )
    return condition


def number_of_categories(of: str, spec: NetworkSpec) -> int | None:
    """Return the number of categories of a condition that is an index; None for a numeric condition."""
    counts = {"task": len(spec.tasks), "domain": len(spec.domains), "origin": len(spec.domains)}
    return None if of in spec.attributes else counts.get(of)


def as_vectors(condition: Tensor, of: str, numbers: int, conditioning: str) -> Tensor:
    """Return a numeric condition, (N,) or (N, ...), as (N, numbers).

    Raises:
        UsageError: it has another length.
    """
    vectors = condition[:, None] if condition.dim() == 1 else condition.flatten(1)
    if vectors.shape[1] != numbers:
        raise UsageError(
            f"conditioning '{conditioning}': '{of}' has length {vectors.shape[1]}, expected {numbers}; "
            f"set numbers = {vectors.shape[1]}"
        )
    return vectors


class ChannelOptions(Options):
    """Options of the conditioning `channel`."""

    of: str = Field("task", min_length=1)
    """The condition: `task`, `domain` (a generator's target domain, the domain that a discriminator checks), `origin`
    (the domain that a sample is translated from, which `nodes = "voice_translation"` passes to generators), the name of
    an attribute, or of another numeric condition that nodes pass."""
    numbers: int = Field(1, ge=1)
    """Length of a numeric condition that nodes pass (1 or more); ignored for `task`, domains and attributes, whose
    length is known."""


class ChannelConditioning(Conditioning[ChannelOptions]):
    """Constant planes appended to the input's channels (as StarGAN, Choi et al., 2018, section 4.2).

    `task` adds a plane for each task but the first, with 1 for samples of that task and else 0, so that two tasks need
    a single plane; `domain` and `origin` add a one-hot plane for each domain; a numeric condition adds a plane for each
    of its numbers. The style vector is unchanged. Instance norm after the first convolution can remove constant planes:
    see `norm_first` of the generator `resnet`.

    Raises:
        UsageError: in `forward`, where the condition is missing or has another length than `numbers`.
    """

    channels_last = True

    def __init__(self, options: ChannelOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.of = options.of
        self.first = 1 if options.of == "task" else 0
        self.categories = number_of_categories(options.of, spec)
        if self.categories is None:
            self.channels = spec.attributes.get(options.of, options.numbers)
        else:
            self.channels = max(self.categories - self.first, 0)

    def forward(
        self, x: Tensor, style: Tensor | None, task: Tensor | None = None, domain: Tensor | None = None, **others: Any
    ) -> tuple[Tensor, Tensor | None]:
        condition = find_condition(self.of, {"task": task, "domain": domain, **others}, "channel")
        if self.categories is not None:
            condition = condition[:, None] == torch.arange(self.first, self.categories, device=x.device)
        planes = as_vectors(condition, self.of, self.channels, "channel").to(x.dtype)
        planes = planes.reshape(*planes.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes], 1), style


class PlanesOptions(Options):
    """Options of the conditioning `planes`."""

    of: str = Field(min_length=1)
    """The condition: planes as large as the input that nodes pass, such as `boundaries` of `pix2pixhd_translation`."""
    numbers: int = Field(1, ge=1)
    """Number of its planes (1 or more)."""


class PlanesConditioning(Conditioning[PlanesOptions]):
    """Planes with a value for every position, (N, numbers, *space), appended to the input's channels.

    The style vector is unchanged.

    Raises:
        UsageError: in `forward`, where the condition is missing or has another shape.
    """

    channels_last = True
    spatial = True

    def __init__(self, options: PlanesOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.of = options.of
        self.channels = options.numbers

    def forward(self, x: Tensor, style: Tensor | None, **conditions: Any) -> tuple[Tensor, Tensor | None]:
        planes = find_condition(self.of, conditions, "planes")
        if tuple(planes.shape[1:]) != (self.channels, *x.shape[2:]):
            raise UsageError(
                f"conditioning 'planes': '{self.of}' is {tuple(planes.shape[1:])}, expected "
                f"{(self.channels, *x.shape[2:])}; set numbers, or give it maps of the input's size"
            )
        return torch.cat([x, planes.to(x.dtype)], 1), style


class EmbeddingOptions(Options):
    """Options of the conditioning `embedding`."""

    of: str = Field("domain", min_length=1)
    """The condition: `domain` (a generator's target domain, the domain that a discriminator checks), `origin` (the
    domain that a sample is translated from, which `nodes = "voice_translation"` passes to generators), `task`, the name
    of an attribute, or of another numeric condition that nodes pass."""
    width: int = Field(16, ge=1)
    """Length of the embedding (1 or more)."""
    numbers: int = Field(1, ge=1)
    """Length of a numeric condition that nodes pass (1 or more); ignored for `task`, domains and attributes, whose
    length is known."""


class EmbeddingConditioning(Conditioning[EmbeddingOptions]):
    """A learned embedding, (N, width), appended to the style vector; the input is unchanged.

    For `task`, `domain` and `origin` an embedding table, initialised from N(0, 1), as for conditional normalisation
    (Dumoulin et al., 2017); for a numeric condition a linear map. The network decides what the style does: it modulates
    norms in generators, and enters discriminators by projection.

    Raises:
        UsageError: in `forward`, where the condition is missing or has another length than `numbers`.
    """

    channels_last = True

    def __init__(self, options: EmbeddingOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.of = options.of
        self.numbers = spec.attributes.get(options.of, options.numbers)
        self.style = options.width
        categories = number_of_categories(options.of, spec)
        self.table = None if categories is None else nn.Embedding(categories, options.width)
        self.linear = nn.Linear(self.numbers, options.width) if categories is None else None

    def forward(
        self, x: Tensor, style: Tensor | None, task: Tensor | None = None, domain: Tensor | None = None, **others: Any
    ) -> tuple[Tensor, Tensor]:
        condition = find_condition(self.of, {"task": task, "domain": domain, **others}, "embedding")
        if self.linear is not None:
            vectors = as_vectors(condition, self.of, self.numbers, "embedding")
            embedded = self.linear(vectors.to(self.linear.weight.dtype))
        else:
            assert self.table is not None
            embedded = self.table(condition)
        return x, embedded if style is None else torch.cat([style, embedded.to(style.dtype)], 1)
