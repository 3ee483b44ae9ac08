"""Every domain's samples: found, split into those trained on and those held out, decoded when asked for."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Domain, Draws, Media, Sample, Source
from transgan.data.attributes import Told, encode_all
from transgan.data.cache import DecodedCache
from transgan.data.draws import hashed
from transgan.errors import DataError, UsageError
from transgan.plan.plan import Plan


def split(samples: list[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Samples for training and samples held out, by a hash of their names: other samples change nothing."""
    if not share:
        return samples, []
    marks = {sample.key: hashed("held out", sample.key) / 2**64 for sample in samples}
    held_out = [sample for sample in samples if marks[sample.key] < share]
    if not held_out and len(samples) > 1:
        held_out = [min(samples, key=lambda sample: marks[sample.key])]
    if len(held_out) == len(samples):
        return samples, []
    kept = {sample.key for sample in held_out}
    return [sample for sample in samples if sample.key not in kept], held_out


class DomainData:
    """One domain: its samples and, at each size, what they decode to."""

    def __init__(
        self,
        name: str,
        samples: list[Sample],
        held_out: list[Sample],
        plan: Plan,
        made: dict[int, dict[Any, np.ndarray]],
    ):
        self.name = name
        self.made = made
        self.samples = samples
        self.held_out = held_out
        self.plan = plan
        self.caches: dict[tuple[bool, int], DecodedCache] = {}
        self.told: Told = encode_all(plan.recipe.attributes, samples, name)
        encode_all(plan.recipe.attributes, held_out, name)  # told now, not at the first evaluation

    def cache(self, held_out: bool, media: Media) -> DecodedCache:
        """The decoded samples, at the media's size."""
        key = (held_out, media.size)
        if key not in self.caches:
            samples = self.held_out if held_out else self.samples
            self.caches[key] = DecodedCache(samples, media, self.plan.recipe.data.cache, self.made[media.size])
        return self.caches[key]

    @property
    def measured(self) -> list[Sample]:
        """What figures are taken on: the samples held out, or all where none are."""
        return self.held_out or self.samples

    @property
    def unreadable(self) -> dict[str, str]:
        """Files that could not be decoded so far, and why."""
        return {
            str(cache.samples[i].location): why
            for cache in list(self.caches.values())
            for i, why in list(cache.unreadable.items())
        }


class Domains(Mapping[str, DomainData]):
    """The domains of a plan, found by its source."""

    def __init__(self, plan: Plan):
        recipe = plan.recipe
        cls, options = plan.sources
        root = Path(recipe.data.root).expanduser() if recipe.data.root is not None else None
        if root is not None and not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise DataError(
                f"data.root = {str(root)!r} {what}; expected the folder with the data (seen from {Path.cwd()})"
            )
        self.plan = plan
        self.source: Source = cls(options, root)
        self.source.suffixes = plan.media[0].suffixes
        self.media: dict[int, Media] = {}
        self.learnt: dict[str, Mapping[str, Tensor]] = {}
        self.made: dict[int, dict[Any, np.ndarray]] = defaultdict(dict)
        self.selections = dict(recipe.domains)
        self.found = {name: self._find(name, selection) for name, selection in recipe.domains.items()}
        self._check_pairs()

    def _find(self, name: str, selection: Any) -> DomainData:
        apart = None
        if isinstance(selection, Mapping) and "held_out" in selection:
            apart = selection["held_out"]
            selection = {key: value for key, value in selection.items() if key != "held_out"}
            if set(selection) == {"path"}:
                selection = selection["path"]
            self.selections[name] = selection
        try:
            samples = self.source.samples(name, selection)
            held_out = self.source.samples(name, apart) if apart is not None else []
        except UsageError as error:
            raise UsageError(f"[domains] {name}: {error}") from None
        if not samples:
            raise DataError(f"[domains] {name} = {selection!r}: no samples found")
        if apart is None:
            samples, held_out = split(samples, self.plan.recipe.data.held_out)
        return DomainData(name, samples, held_out, self.plan, self.made)

    def _check_pairs(self) -> None:
        for name, task in self.plan.recipe.tasks.items():
            if task.paired is True:
                self._check_same(name, "", [self[each].samples for each in task.domains])
            if task.paired:
                self._check_same(name, "held-out ", [self[each].measured for each in task.domains])

    def _check_same(self, task: str, which: str, sides: list[list[Sample]]) -> None:
        names = [Counter(sample.key for sample in side) for side in sides]
        if lone := sorted({key for side in names for key in side if any(each[key] != side[key] for each in names)}):
            raise DataError(
                f"[tasks.{task}] is paired, but {len(lone)} {which}samples have no partner of the same name: "
                f"{', '.join(lone[:5])}{', ...' if len(lone) > 5 else ''}"
            )

    def __getitem__(self, name: str) -> DomainData:
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def media_at(self, size: int) -> Media:
        """The media for a size of training samples."""
        if size not in self.media:
            cls, options = self.plan.media
            self.media[size] = cls(options, size)
            self.media[size].learnt = self.learnt
        return self.media[size]

    def learn(self, names: Sequence[str] | None = None) -> None:
        """Lets the media learn what it has to know of these domains, or of all; what is known is not learnt again."""
        media = self.media_at(self.plan.stages[-1].size)
        for name in names or self:
            if name not in self.learnt:
                self.learnt[name] = dict(media.learn(self._decoded(name, media)))

    def _decoded(self, name: str, media: Media) -> Iterator[np.ndarray]:
        cache, count = self[name].cache(False, media), len(self[name].samples)
        for first in range(0, count, 32):
            yield from cache.get(np.arange(first, min(first + 32, count)))

    def tensors(
        self,
        decoded: np.ndarray | Sequence[np.ndarray],
        draws: Draws | None,
        names: Sequence[str],
        size: int,
        device: Any,
    ) -> Tensor:
        """Decoded samples of these domains, one a name, as networks see them: (N, C, *space)."""
        self.learn(list(dict.fromkeys(names)))
        given: Tensor | list[Tensor]
        if isinstance(decoded, np.ndarray):
            given = torch.from_numpy(decoded).to(device, non_blocking=True)
        else:
            given = [torch.from_numpy(each) for each in decoded]
        return self.media_at(size).batch(given, draws, names).to(device)

    def batches(
        self, name: str, held_out: bool, size: int, batch: int, device: Any = "cpu", most: int | None = None
    ) -> Iterator[tuple[list[Sample], Tensor]]:
        """Every sample once, in the order of their names, as they are, without augmentation."""
        media = self.media_at(size)
        samples = (self[name].held_out if held_out else self[name].samples)[:most]
        if samples:
            cache = self[name].cache(held_out, media)
            for first in range(0, len(samples), batch):
                index = np.arange(first, min(first + batch, len(samples)))
                x = self.tensors(cache.get(index), None, [name] * len(index), size, device)
                yield [samples[i] for i in index], x

    def as_metrics_see(self, size: int, device: Any) -> dict[str, Domain]:
        """The domains with their real samples, for metrics that learn from them."""

        def of(name: str) -> Domain:
            def batches(held_out: bool, batch: int) -> Iterator[tuple[list[str], Tensor]]:
                for samples, x in self.batches(name, held_out, size, batch, device):
                    yield [sample.key for sample in samples], x

            return Domain(name, self[name].samples, self[name].held_out, batches, self.media_at(size))

        return {name: of(name) for name in self}
