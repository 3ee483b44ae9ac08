"""Passes of the generator: several samples in one where memory allows, in tiles where one needs more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import RLock
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.inference.ahead import AT_ONCE
from transgan.inference.tiling import Tiles, Wrap
from transgan.inference.variation import Variation
from transgan.networks import Networks
from transgan.plan import Direction, Plan
from transgan.rng import CounterRng, stable_hash
from transgan.schedule import Clock

Encoded = Mapping[str, list[float]]
"""The encoding of an attribute value, by the attribute's name."""


@dataclass(frozen=True)
class Prepared:
    """An item as a generator takes it."""

    rows: Tensor
    """(N, C, *space)"""
    further: Mapping[str, Tensor]
    """Further inputs by name, (N, C, *space) each."""
    name: str
    undo: Any
    """What `media.from_model` needs."""

    @property
    def shapes(self) -> Any:
        """What items that are computed together have in common."""
        return self.rows.shape[1:], self.rows.device, *((key, each.shape[1:]) for key, each in self.further.items())


@dataclass(frozen=True)
class Request:
    """The translation of samples that is wanted."""

    direction: Direction
    source: Encoded
    """The attributes of the samples."""
    target: Encoded
    """The attributes to translate to."""
    variation: Variation


@dataclass(frozen=True)
class Batch:
    """Samples of one size, with what belongs to each."""

    rows: Tensor
    """(N, C, *space)"""
    further: Mapping[str, Tensor] = field(default_factory=dict)
    """Further inputs by name, (N, C, *space) each."""
    names: Sequence[str] | None = None
    """The item that each sample is of, whose latent code it has; None for that of the variation."""

    @classmethod
    def joined(cls, items: Sequence[Prepared]) -> Self:
        """Return the samples of items of the same shapes."""
        further = {key: torch.cat([each.further[key] for each in items]) for key in items[0].further}
        names = [each.name for each in items for _ in each.rows]
        return cls(torch.cat([each.rows for each in items]), further, names)

    def part(self, rows: slice, device: torch.device) -> Self:
        """Return some of the samples on a device."""
        names = None if self.names is None else self.names[rows]
        further = {key: each[rows].to(device) for key, each in self.further.items()}
        return replace(self, rows=self.rows[rows].to(device), further=further, names=names)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return a function of all tensors."""
        further = {key: function(each) for key, each in self.further.items()}
        return replace(self, rows=function(self.rows), further=further)


class Passes:
    """Runs the networks that translate.

    Args:
        clock: the step of the model, for nodes with schedules.
    """

    def __init__(self, plan: Plan, networks: Networks, clock: Clock):
        self.plan = plan
        self.networks = networks
        self.clock = clock
        self.tiles = Tiles()
        self.lock = RLock()
        """Held while networks run: tiles remember what they need, and most devices compute one thing at a time."""

    def outputs(
        self,
        prepared: Sequence[Prepared],
        request: Request,
        memory: int | None,
        on_progress: Callable[[float], None] | None,
    ) -> list[Tensor]:
        """Return the generator's output for each item; those of one size are computed in common passes.

        A pass takes as many samples as memory allows.

        Args:
            memory: bytes of the device's memory that the networks' numbers may take; None for what is free.
            on_progress: called in a pass in tiles with the share that is done of all passes, 0 to 1.
        """
        groups: dict[Any, list[int]] = {}
        for i, each in enumerate(prepared):
            groups.setdefault(each.shapes, []).append(i)
        outputs: dict[int, Tensor] = {}
        total, done, device = sum(len(each.rows) for each in prepared), 0, self.networks.device
        for numbers in groups.values():
            batch = Batch.joined([prepared[i] for i in numbers])
            count, at_once = len(batch.rows), max(AT_ONCE, len(numbers))
            if count > 1:
                one, most = batch.part(slice(1), batch.rows.device), min(at_once, count)
                key, trace = _memory_key(one, request), self._trace(one, request)
                with self.lock:
                    at_once = self.tiles.samples_at_once(most, batch.rows, trace, key, memory, device)
            parts = []
            for first in range(0, count, at_once):
                part = batch.part(slice(first, first + at_once), device)
                show = None if on_progress is None else _share(on_progress, done, len(part.rows), total)
                parts.append(self._run_in_memory(part, request, memory, show))
                done += len(part.rows)
            joined = torch.cat(parts) if len(parts) > 1 else parts[0]
            outputs |= dict(zip(numbers, torch.split(joined, [len(prepared[i].rows) for i in numbers]), strict=True))
        return [outputs[i] for i in range(len(prepared))]

    def _run_in_memory(
        self, batch: Batch, request: Request, memory: int | None, on_progress: Callable[[float], None] | None
    ) -> Tensor:
        """Do what `run` does, in tiles where the whole needs more memory than it may take."""

        def run(wrap: Wrap) -> Tensor:
            return self.run(batch.mapped(wrap), request)

        key, trace = _memory_key(batch, request), self._trace(batch, request)
        name = batch.names[0] if batch.names else request.variation.name
        with self.lock:
            return self.tiles.compute(run, batch.rows, trace, key, name=name, memory=memory, on_progress=on_progress)

    def _trace(self, batch: Batch, request: Request) -> Callable[[], Tensor]:
        """Return a function that does on the meta device what `run` does."""

        def trace() -> Tensor:
            reference = request.variation.reference
            style = None if reference is None else reference.to("meta")
            wanted = replace(request, variation=replace(request.variation, reference=style))
            return self.run(batch.mapped(lambda x: x.to("meta")), wanted, without_numbers=True)

        return trace

    @cached_property
    def _meta_networks(self) -> Networks:
        networks = Networks(self.plan, "meta")
        for network in networks.values():
            network.eval().requires_grad_(False)
        return networks

    def run(self, batch: Batch, request: Request, without_numbers: bool = False) -> Tensor:
        """Return the translation of samples, in one pass.

        Args:
            without_numbers: whether all tensors are on the meta device.
        """
        count, direction, variation = len(batch.rows), request.direction, request.variation
        translation = direction.translation
        networks = self._meta_networks if without_numbers else self.networks
        device = networks.device

        def side(x: Tensor | None, name: str, encoded: Encoded) -> Side:
            attributes = {each: torch.tensor([row] * count, device=device) for each, row in encoded.items()}
            return Side(x, domain_index(self.plan, name, count, device), attributes)

        zero = np.zeros(count, dtype=np.uint64)
        names = [variation.name] * count if batch.names is None else batch.names
        hashes = {name: stable_hash(name) for name in set(names)}
        items = np.array([hashes[name] for name in names], dtype=np.uint64)
        codes = CounterRng(("latents", variation.seed), zero + np.uint64(variation.sample), items, device)
        reference = variation.reference
        inputs = assemble_inputs(
            self.plan,
            direction.planned,
            replace(side(batch.rows, translation.source, request.source), inputs=batch.further),
            side(None, translation.target, request.target),
            CounterRng("translate", zero, zero, device),
            self.clock,
            training=False,
            reference=None if reference is None else reference.expand(count, *reference.shape[1:]),
            strength=variation.strength,
            passes=variation.passes,
            latents=codes,
        )
        fake: Tensor = networks.compute(inputs, direction.planned, ["fake"])["fake"]
        return fake


def _memory_key(batch: Batch, request: Request) -> Any:
    """Return what is equal where the same memory is needed."""
    variation = request.variation
    varied = variation.reference is None, variation.strength is None, variation.passes
    return request.direction.planned, tuple(batch.rows.shape), tuple(sorted(batch.further)), *varied


def _share(on_progress: Callable[[float], None], done: int, own: int, total: int) -> Callable[[float], None]:
    """Return a function to call with the share that is done of `own` samples, after `done` of `total`."""
    return lambda share: on_progress((done + own * share) / total)
