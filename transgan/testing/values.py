"""Values of the arguments that plugins can name: a batch of random samples, its parts, and its forms."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import DiscriminatorOutput, NetworkSpec, Translation
from transgan.api.samples import Sample
from transgan.plan.plan import ROLES
from transgan.rng import CounterRng, ScopedRng
from transgan.schedule import Clock
from transgan.testing.checker import Given, N
from transgan.training.shapes import MetaRng
from transgan.tree import map_tensors

Batch = dict[str, Any]


def translation_of(spec: NetworkSpec) -> Translation:
    """Return the translation of which a batch is."""
    return Translation(spec.tasks[0], spec.domains[0], spec.domains[1])


def sample(spec: NetworkSpec, channels: int | None = None, count: int = N) -> Tensor:
    """Return random samples, (N, C, *space) in [-1, 1]."""
    return torch.rand(count, spec.channels if channels is None else channels, *spec.space) * 2 - 1


def conditions_of(spec: NetworkSpec, count: int = N) -> dict[str, Tensor]:
    """Return what every network is conditioned on: task, domain and attributes."""
    return {
        "task": torch.arange(count) % len(spec.tasks),
        "domain": torch.arange(count) % len(spec.domains),
        "origin": (torch.arange(count) + 1) % len(spec.domains),
        "real": (torch.arange(count) % 2).float(),
        **{name: torch.rand(count, numbers) * 2 - 1 for name, numbers in spec.attributes.items()},
    }


def output(spec: NetworkSpec) -> DiscriminatorOutput:
    """Return a random output of a discriminator with two scales."""
    halves = [[max(1, side // by) for side in spec.space] for by in (2, 4)]
    kept = spec.attributes.get("kept", 0)
    return DiscriminatorOutput(
        logits=[torch.randn(N, 1, *space) for space in halves],
        class_logits=torch.randn(N, len(spec.domains)),
        features=[torch.randn(N, 4, *space) for space in halves],
        kept_logits=[torch.randn(N, kept, *space) for space in halves] if kept else [],
        kept=torch.ones(N, kept) if kept else None,
    )


class TinyDiscriminator:
    """A discriminator as losses get it: a function of (N, C, *space) in any precision, on any device."""

    def __init__(self, spec: NetworkSpec):
        self.weight = (torch.randn(1, spec.channels) / 2).requires_grad_()

    def __call__(self, x: Tensor) -> DiscriminatorOutput:
        weight = self.weight.to(x) if x.device == self.weight.device else torch.empty_like(self.weight, device=x.device)
        logits = torch.tanh(x.flatten(2)).square().mean(2)[:, : weight.shape[1]] @ weight.T * 5
        return DiscriminatorOutput(logits=[logits], class_logits=None, features=[x])


def rng_of(index: Sequence[int]) -> CounterRng:
    """Return the random numbers of samples by their positions."""
    return CounterRng(3, np.zeros(len(index), dtype=np.uint64), np.asarray(index))


def batch_of(names: Iterable[str], given: Given, annotations: Mapping[str, Any]) -> Batch:
    """Return a value for each argument: of a batch, of a discriminator, of metrics; any other is a node, a sample.

    Args:
        annotations: of arguments, by name: one that is a mapping is given conditions.
    """
    spec, one = given.spec, translation_of(given.spec)
    labels = {name: torch.rand(N, numbers) * 2 - 1 for name, numbers in spec.attributes.items()}
    rng = rng_of(range(N))
    samples = [Sample(f"sample-{i}", Path(f"sample-{i}")) for i in range(N)]
    makers: dict[str, Callable[[], Any]] = {
        "translation": lambda: one,
        "training": lambda: True,
        "task": lambda: torch.zeros(N, dtype=torch.long),
        "source_domain": lambda: torch.zeros(N, dtype=torch.long),
        "target_domain": lambda: torch.ones(N, dtype=torch.long),
        "task_domains": lambda: torch.arange(len(spec.domains)),
        **{f"{role}_attributes": lambda: dict(labels) for role in ("source", "target", "pair_target")},
        "reference": lambda: None,
        "strength": lambda: None,
        "passes": lambda: None,
        "latents": lambda: ScopedRng(rng, "latents"),
        "rng": lambda: rng,
        "clock": lambda: Clock(step=5, epoch=1.5, run=0.5, phase_step=5),
        **{f"{kind}_output": lambda: output(spec) for kind in ("real", "fake", "negative")},
        "discriminator": lambda: TinyDiscriminator(spec),
        "other_discriminators": lambda: [TinyDiscriminator(spec)],
        **{f"{kind}_outputs": lambda: [output(spec)] for kind in ("source", "reconstruction")},
        "fake_realness": lambda: torch.rand(N) * 2 - 1,
        "buffers": dict,
        "keys": lambda: [each.key for each in samples],
        "samples": lambda: samples,
        "true_samples": lambda: samples,
        "translate": lambda: lambda x, row=0: x * 0.5,
        "at_strength": lambda: lambda strength: sample(spec) * strength,
        "resample": lambda: lambda number: sample(spec),
        "adversarial_source": lambda: lambda most: sample(spec, count=min(most, N)),
    }
    found: Batch = {}
    for name in names:
        if name in given.inputs:
            value = given.inputs[name]
            found[name] = dict(value) if isinstance(value, dict) else value  # a loss writes to its buffers
        elif name in makers:
            found[name] = makers[name]()
        elif "Mapping" in str(annotations.get(name)) or "Conditions" in str(annotations.get(name)):
            found[name] = conditions_of(spec)
        else:
            found[name] = sample(spec, spec.inputs if name in ROLES and spec.source_channels else None)
    return found


def rows(batch: Mapping[str, Any], index: Sequence[int]) -> Batch:
    """Return some samples of a batch."""

    def part(name: str, value: Any) -> Any:
        if isinstance(value, CounterRng):
            return rng_of([int(value.index[i]) for i in index])
        if isinstance(value, ScopedRng):
            return ScopedRng(part(name, value.rng), value.owner)
        if isinstance(value, list) and len(value) == N and not isinstance(value[0], (Tensor, DiscriminatorOutput)):
            return [value[i] for i in index]
        return map_tensors(lambda x: x[list(index)] if x.dim() and len(x) == N and name != "task_domains" else x, value)

    return {name: part(name, value) for name, value in batch.items()}


def as_dtype(batch: Mapping[str, Any], dtype: torch.dtype) -> Batch:
    """Return a batch with numbers of another precision."""
    return {n: map_tensors(lambda x: x.to(dtype) if x.is_floating_point() else x, v) for n, v in batch.items()}


def on_meta(batch: Mapping[str, Any]) -> Batch:
    """Return a batch on the meta device."""

    def moved(value: Any) -> Any:
        if isinstance(value, (CounterRng, ScopedRng)):
            return MetaRng(N)
        return map_tensors(lambda x: x.detach().to("meta"), value)

    return {name: moved(value) for name, value in batch.items()}


def tensors_of(value: Any) -> list[Tensor]:
    """Return every tensor in nested values."""
    found: list[Tensor] = []

    def collect(x: Tensor) -> Tensor:
        found.append(x)
        return x

    map_tensors(collect, value)
    return found


def with_gradients(batch: Mapping[str, Any], names: Iterable[str]) -> tuple[Batch, dict[str, list[Tensor]]]:
    """Return a batch whose numbers of these arguments require gradients, and these tensors by argument."""
    changed, found = dict(batch), dict[str, list[Tensor]]()
    for name in names:
        if isinstance(batch[name], TinyDiscriminator):
            found[name] = [batch[name].weight]
            continue
        changed[name] = map_tensors(
            lambda x: x.detach().clone().requires_grad_() if x.is_floating_point() else x, batch[name]
        )
        found[name] = [x for x in tensors_of(changed[name]) if x.requires_grad]
    return changed, found


def differ(one: Any, two: Any, tolerance: float = 1e-4) -> bool:
    """Return whether nested tensors differ by more than a tolerance, relative to their size."""
    first, second = tensors_of(one), tensors_of(two)
    return len(first) != len(second) or any(
        a.shape != b.shape or not torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )
