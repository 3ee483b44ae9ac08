"""Every domain's samples: found, split into training and held-out samples, decoded on demand."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Domain, Media, Sample, SampleRng, Source
from transgan.data.attributes import EncodedLabels, encode_labels
from transgan.data.cache import DecodedCache
from transgan.errors import DataError, UsageError
from transgan.plan.plan import Plan
from transgan.rng import stable_hash


def split(samples: list[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Split samples into training and held-out ones by a hash of their keys, so that adding samples moves none."""
    if not share:
        return samples, []
    marks = {sample.key: stable_hash("held out", sample.key) / 2**64 for sample in samples}
    held_out = [sample for sample in samples if marks[sample.key] < share]
    if not held_out and len(samples) > 1:
        held_out = [min(samples, key=lambda sample: marks[sample.key])]
    if len(held_out) == len(samples):
        return samples, []
    kept = {sample.key for sample in held_out}
    return [sample for sample in samples if sample.key not in kept], held_out


def statistics_tensors(statistics: Mapping[str, Mapping[str, Tensor]], prefix: str = "") -> dict[str, Tensor]:
    """Return the media's statistics, by domain and name, as tensors by `domain|name`."""
    return {f"{prefix}{domain}|{name}": value for domain, known in statistics.items() for name, value in known.items()}


def statistics_from_tensors(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, dict[str, Tensor]]:
    """Return the media's statistics from tensors, among which there may be others: `statistics_tensors` undone."""
    statistics: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            domain, _, name = key.removeprefix(prefix).partition("|")
            statistics.setdefault(domain, {})[name] = value
    return statistics


class DomainData:
    """One domain: its samples and, at each size, the cache of what they decode to."""

    def __init__(
        self,
        name: str,
        samples: list[Sample],
        held_out: list[Sample],
        plan: Plan,
        synthesized: dict[int, dict[Any, np.ndarray]],
    ):
        self.name = name
        self.synthesized = synthesized
        self.samples = samples
        self.held_out = held_out
        self.plan = plan
        self.caches: dict[tuple[bool, int], DecodedCache] = {}
        self.labels: EncodedLabels = encode_labels(plan.recipe.attributes, samples, name)
        encode_labels(plan.recipe.attributes, held_out, name)  # errors are reported now, not at the first evaluation

    def cache(self, held_out: bool, media: Media) -> DecodedCache:
        """Return the cache of decoded samples at the media's size."""
        key = (held_out, media.size)
        if key not in self.caches:
            samples = self.held_out if held_out else self.samples
            self.caches[key] = DecodedCache(samples, media, self.plan.recipe.data.cache, self.synthesized[media.size])
        return self.caches[key]

    @property
    def evaluated(self) -> list[Sample]:
        """The samples that metrics use: those held out, or all where none are."""
        return self.held_out or self.samples

    @property
    def unreadable(self) -> dict[str, str]:
        """Files that could not be decoded so far, and the reasons."""
        return {
            str(cache.samples[i].location): why
            for cache in list(self.caches.values())
            for i, why in list(cache.unreadable.items())
        }


class Domains(Mapping[str, DomainData]):
    """The domains of a plan, found by its source.

    Raises:
        DataError: a folder or its samples are missing, or pairs are incomplete.
        UsageError: a selection is invalid.
    """

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
        self.statistics: dict[str, Mapping[str, Tensor]] = {}
        self.synthesized: dict[int, dict[Any, np.ndarray]] = defaultdict(dict)
        self.selections = dict(recipe.domains)
        self.found = {name: self._find(name, selection) for name, selection in recipe.domains.items()}
        self._check_pairs()

    def _find(self, name: str, selection: Any) -> DomainData:
        held_out_selection = None
        if isinstance(selection, Mapping) and "held_out" in selection:
            held_out_selection = selection["held_out"]
            selection = {key: value for key, value in selection.items() if key != "held_out"}
            if set(selection) == {"path"}:
                selection = selection["path"]
            self.selections[name] = selection
        try:
            samples = self.source.samples(name, selection)
            held_out = self.source.samples(name, held_out_selection) if held_out_selection is not None else []
        except UsageError as error:
            raise UsageError(f"[domains] {name}: {error}") from None
        if not samples:
            raise DataError(f"[domains] {name} = {selection!r}: no samples found")
        if held_out_selection is None:
            samples, held_out = split(samples, self.plan.recipe.data.held_out)
        return DomainData(name, samples, held_out, self.plan, self.synthesized)

    def _check_pairs(self) -> None:
        for name, task in self.plan.recipe.tasks.items():
            if task.paired is True:
                self._check_same(name, "", [self[each].samples for each in task.domains])
            if task.paired:
                self._check_same(name, "held-out ", [self[each].evaluated for each in task.domains])

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
        """Return the media for a size of training samples."""
        if size not in self.media:
            cls, options = self.plan.media
            self.media[size] = cls(options, size)
            self.media[size].statistics = self.statistics
        return self.media[size]

    def fit_statistics(self, names: Sequence[str] | None = None) -> None:
        """Let the media fit the statistics of these domains, or of all; those that are there are not fitted again."""
        media = self.media_at(self.plan.stages[-1].size)
        for name in names or self:
            if name not in self.statistics:
                self.statistics[name] = dict(media.fit_statistics(self._decoded(name, media)))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the media's statistics by `domain|name`."""
        return statistics_tensors(self.statistics)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` has returned."""
        self.statistics.update(statistics_from_tensors(state))

    def _decoded(self, name: str, media: Media) -> Iterator[np.ndarray]:
        cache, count = self[name].cache(False, media), len(self[name].samples)
        for first in range(0, count, 32):
            yield from cache.get(np.arange(first, min(first + 32, count)))

    def tensors(
        self,
        decoded: np.ndarray | Sequence[np.ndarray],
        rng: SampleRng | None,
        names: Sequence[str],
        size: int,
        device: Any,
    ) -> Tensor:
        """Return decoded samples as networks see them, (N, C, *space).

        Args:
            names: the domain of each sample.
        """
        self.fit_statistics(list(dict.fromkeys(names)))
        arrays: Tensor | list[Tensor]
        if isinstance(decoded, np.ndarray):
            arrays = torch.from_numpy(decoded).to(device, non_blocking=True)
        else:
            arrays = [torch.from_numpy(each) for each in decoded]
        return self.media_at(size).batch(arrays, rng, names).to(device)

    def batches(
        self, name: str, held_out: bool, size: int, batch: int, device: Any = "cpu", most: int | None = None
    ) -> Iterator[tuple[list[Sample], Tensor]]:
        """Yield every sample once, in the order of their keys, without augmentation: samples and (N, C, *space)."""
        media = self.media_at(size)
        samples = (self[name].held_out if held_out else self[name].samples)[:most]
        if samples:
            cache = self[name].cache(held_out, media)
            for first in range(0, len(samples), batch):
                index = np.arange(first, min(first + batch, len(samples)))
                x = self.tensors(cache.get(index), None, [name] * len(index), size, device)
                yield [samples[i] for i in index], x

    def for_metrics(self, size: int, device: Any) -> dict[str, Domain]:
        """Return the domains with their real samples, as metrics and `init_from_data` get them."""

        def of(name: str) -> Domain:
            def batches(held_out: bool, batch: int) -> Iterator[tuple[list[str], Tensor]]:
                for samples, x in self.batches(name, held_out, size, batch, device):
                    yield [sample.key for sample in samples], x

            return Domain(name, self[name].samples, self[name].held_out, batches, self.media_at(size))

        return {name: of(name) for name in self}
