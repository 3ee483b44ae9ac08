"""Batch inputs: what a batch provides for each translation, by name. The only place that assembles them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.samples import SampleRng
from transgan.data.attributes import EncodedLabels
from transgan.graph import Key
from transgan.plan.plan import ROLES, Plan
from transgan.rng import ScopedRng, to_device
from transgan.schedule import Clock

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
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    """(N, C, *space) each: further inputs, such as masks, by name."""
    other: "Side | None" = None
    """Other samples of the same domains."""


def domain_index(plan: Plan, name: str, count: int, device: Any) -> Tensor:
    """Return the index of a domain, `count` times, (count,)."""
    return torch.full((count,), plan.domains.index(name), device=device)


def as_tensors(labels: EncodedLabels, device: Any, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return encoded labels as tensors, (N, k) each."""
    return {name: to_device(torch.from_numpy(rows).to(dtype), device) for name, rows in labels.items()}


def further_inputs(plan: Plan, inputs: BatchInputs, translation: Translation) -> dict[str, Tensor]:
    """Return what a batch has of a translation beside source and target: masks, other samples, pairs, by name."""
    names = [*ROLES[2:], *(f"{role}_{name}" for role in ROLES for name in plan.recipe.inputs)]
    return {name: inputs[translation, name] for name in names if (translation, name) in inputs}


def assemble_inputs(
    plan: Plan,
    translation: Translation,
    source: Side,
    target: Side,
    rng: SampleRng,
    clock: Clock,
    *,
    training: bool,
    pairs: tuple[Side, Side] | None = None,
    reference: Tensor | None = None,
    strength: float | None = None,
    passes: int | None = None,
    latents: SampleRng | None = None,
) -> dict[Key, Any]:
    """Return the batch inputs of one translation.

    Args:
        rng: for the N samples of the source.
        training: whether a generator learns from them; False for evaluation and translation.
        pairs: known pairs, source and target side; where all samples are pairs, these are `source` and `target`.
        reference: (N, C, *space), a sample of the target domain whose style the user wants; None where none is given.
        strength: how much of the change the user wants, where 1 is all of it; None where it is not given.
        passes: how many passes in a row the user wants of a translation; None where it is not given.
        latents: the random numbers of latent codes, which the user may vary; defaults to those of `rng`.
    """
    device = source.domain.device
    task = plan.recipe.tasks[translation.task]
    sides = {"source": source, "target": target}
    sides |= {f"other_{end}": side.other for end, side in sides.items() if side.other}
    if pairs := (source, target) if task.paired is True else pairs:
        sides |= {"pair_source": pairs[0], "pair_target": pairs[1]}
    values: dict[str, Any] = {
        **{role: side.x for role, side in sides.items()},
        **{f"{role}_{name}": x for role, side in sides.items() for name, x in side.inputs.items()},
        "pair_target_attributes": dict(pairs[1].attributes) if pairs else None,
        "translation": translation,
        "training": training,
        "task": torch.full_like(source.domain, list(plan.recipe.tasks).index(translation.task)),
        "source_domain": source.domain,
        "target_domain": target.domain,
        "task_domains": to_device(torch.tensor([plan.domains.index(name) for name in task.domains]), device),
        "source_attributes": dict(source.attributes),
        "target_attributes": dict(target.attributes),
        "latents": latents or ScopedRng(rng, "latents"),
        "rng": rng,
        "stage_conditions": dict(plan.stage_conditions(clock, training=training)),
        "clock": clock,
    }
    found = {(translation, name): value for name, value in values.items() if value is not None}
    wanted = {"reference": reference, "strength": strength, "passes": passes}
    return {**found, **{(translation, name): value for name, value in wanted.items()}}
