"""Batch inputs: what a batch provides for each translation, by name. The only place that assembles them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.samples import SampleRng
from transgan.api.schedule import Clock
from transgan.data.attributes import EncodedLabels
from transgan.graph import Key
from transgan.plan.plan import Plan

BatchInputs = Mapping[Key, Any]
"""The batch inputs of every translation, by translation and name."""


@dataclass(frozen=True)
class Side:
    """The samples at one side of a translation, source or target."""

    x: Tensor | None
    """(N, C, *space); None for a target that is not known."""
    domain: Tensor
    """(N,) the index of each sample's domain in the recipe."""
    attributes: Mapping[str, Tensor] = field(default_factory=dict)
    """(N, k) each: the encoded labels."""


def domain_index(plan: Plan, name: str, count: int, device: Any) -> Tensor:
    """Return the index of a domain, `count` times, (count,)."""
    return torch.full((count,), plan.domains.index(name), device=device)


def as_tensors(labels: EncodedLabels, device: Any, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return encoded labels as tensors, (N, k) each."""
    return {name: torch.from_numpy(rows).to(device, dtype) for name, rows in labels.items()}


def assemble_inputs(
    plan: Plan,
    translation: Translation,
    source: Side,
    target: Side,
    rng: SampleRng,
    clock: Clock,
    *,
    training: bool,
) -> dict[Key, Any]:
    """Return the batch inputs of one translation.

    Args:
        rng: for the N samples of the source.
        training: whether a generator learns from them; False for evaluation and translation.
    """
    device = source.domain.device
    task = plan.recipe.tasks[translation.task]
    values: dict[str, Any] = {
        "translation": translation,
        "training": training,
        "task": torch.full_like(source.domain, list(plan.recipe.tasks).index(translation.task)),
        "source": source.x,
        "target": target.x,
        "source_domain": source.domain,
        "target_domain": target.domain,
        "task_domains": torch.tensor([plan.domains.index(name) for name in task.domains], device=device),
        "source_attributes": dict(source.attributes),
        "target_attributes": dict(target.attributes),
        "rng": rng,
        "clock": clock,
    }
    return {(translation, name): value for name, value in values.items() if value is not None}
