"""Every domain's samples: found, split into training and held-out samples, decoded on demand."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Media, Sample, SampleRng, Source
from transgan.data.attributes import EncodedLabels, encode_labels
from transgan.data.balance import balance_warnings
from transgan.data.cache import DecodedCache, NothingReadableError
from transgan.data.contents import Contents
from transgan.data.kept import encode_kept
from transgan.data.splits import FoundSamples, counted, shared, split
from transgan.errors import DataError, PluginError, UsageError
from transgan.graph import error_context
from transgan.options import Options, Size
from transgan.plan.kept import KEPT
from transgan.plan.plan import MediaPlan, Plan
from transgan.rng import stable_hash
from transgan.text import expand_home, listed

#: Share of a domain's samples that may be unreadable; where there are fewer than MIN_TOLERANT, none may.
TOLERATED, MIN_TOLERANT = 0.01, 100
#: Largest number of files that a message lists.
MAX_LISTED = 5
#: A first batch whose values exceed [-1, 1] by more than this is reported.
MARGIN = 0.05


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


#: Keys of a domain's selection that are the framework's, not the source's.
OWN_KEYS = {"held_out", "media"}


def paired_indices(first: Sequence[Sample], second: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return the places of samples that have the same key, which no other sample of their domain has."""
    places = []
    for side in (first, second):
        count = Counter(sample.key for sample in side)
        places.append({sample.key: i for i, sample in enumerate(side) if count[sample.key] == 1})
    return [(i, places[1][key]) for key, i in places[0].items() if key in places[1]]


class DomainData:
    """One domain, or a further input of one: its samples and, at each size, the cache of what they decode to."""

    def __init__(
        self,
        name: str,
        samples: list[Sample],
        held_out: list[Sample],
        plan: Plan,
        synthesized: dict[tuple[str, Size], dict[Any, np.ndarray]],
    ):
        self.name = name
        media = {**plan.media, **plan.input_media}
        self.media_of = next(other for other, each in media.items() if each == media[name])
        """The first domain with the same media; they share media objects and synthesized samples."""
        self.synthesized = synthesized
        self.samples = samples
        self.held_out = held_out
        self.plan = plan
        self.cached = {False: samples, True: held_out}
        """The samples that caches hold, by whether they are held out: also those that are excluded."""
        self.rows = {held: np.arange(len(each)) for held, each in self.cached.items()}
        """The place of each sample among those."""
        self.caches: dict[tuple[bool, Size], DecodedCache] = {}
        self.labels: EncodedLabels = encode_labels(plan.recipe.attributes, samples, name)
        encode_labels(plan.recipe.attributes, held_out, name)  # errors are reported now, not at the first evaluation

    def cache(self, held_out: bool, media: Media[Options]) -> DecodedCache:
        """Return the cache of decoded samples at the media's size."""
        key = (held_out, media.size)
        if key not in self.caches:
            synthesized = self.synthesized[self.media_of, media.size]
            self.caches[key] = DecodedCache(self.cached[held_out], media, self.plan.recipe.data.cache, synthesized)
        return self.caches[key]

    def decoded(
        self, held_out: bool, media: Media[Options], indices: np.ndarray | range
    ) -> np.ndarray | list[np.ndarray]:
        """Return samples as the media has decoded them, by their indices."""
        return self.cache(held_out, media).get(self.rows[held_out][np.asarray(indices)])

    def exclude(self, held_out: bool, keys: Collection[str]) -> int:
        """Remove samples for all uses, with their labels; return how many."""
        samples = self.held_out if held_out else self.samples
        kept = np.array([sample.key not in keys for sample in samples], dtype=bool)
        remaining = [sample for sample, keep in zip(samples, kept, strict=True) if keep]
        self.rows[held_out] = self.rows[held_out][kept]
        if held_out:
            self.held_out = remaining
        else:
            self.samples = remaining
            self.labels = {name: rows[kept] for name, rows in self.labels.items()}
        return len(samples) - len(remaining)

    @property
    def evaluated(self) -> list[Sample]:
        """The samples that metrics use: those held out, or all where none are."""
        return self.held_out or self.samples


class Domains(Mapping[str, DomainData]):
    """The domains of a plan, found by its source.

    Raises:
        DataError: a folder or its samples are missing, or pairs are incomplete.
        UsageError: a selection is invalid.
    """

    def __init__(self, plan: Plan):
        recipe = plan.recipe
        cls, options = plan.sources
        root = expand_home(recipe.data.root) if recipe.data.root is not None else None
        if root is not None and not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise DataError(
                f"data.root = {str(root)!r} {what}; expected the folder with the data (seen from {Path.cwd()})"
            )
        self.plan = plan
        self.source: Source[Options] = cls(options, root)
        self.media: dict[tuple[str, Size], Media[Options]] = {}
        self.statistics: dict[str, Mapping[str, Tensor]] = {}
        self.synthesized: dict[tuple[str, Size], dict[Any, np.ndarray]] = defaultdict(dict)
        self.selections = dict(recipe.domains)
        self.skipped: list[str] = []
        """Which files the source does not use, and why, a sentence each."""
        self.warnings: list[str] = []
        """What is probably wrong with the data, a sentence each; more are found when batches are made."""
        self.checked: set[tuple[str, Size, bool]] = set()
        found = {name: self._find(name, selection) for name, selection in recipe.domains.items()}
        paired = [task.domains for task in recipe.tasks.values() if task.paired]
        self.contents = Contents(
            (sample for each in found.values() for sample in (*each.samples, *(each.held_out or ()))), recipe.data.cache
        )
        divided = split(found, self.contents, paired, recipe.data.held_out)
        self.overlaps = divided.overlaps
        self.copies = divided.copies
        self.found = {
            name: DomainData(name, divided.samples[name], divided.held_out[name], plan, self.synthesized)
            for name in found
        }
        members = {name: [*each.samples, *each.held_out] for name, each in self.found.items()}
        for domain in self.found.values():
            if (kept := encode_kept(recipe, domain.samples, members)) is not None:
                domain.labels = {**domain.labels, KEPT: kept}
        self.further = {
            f"{domain}.{name}": self._find_input(domain, name)
            for name, each in recipe.inputs.items()
            for domain in each.domains
            if plan.uses_input(name)
        }
        """The files of further inputs, by `domain.input`, each at the place of its sample."""
        for name in recipe.inputs if plan.terms else ():
            if not plan.uses_input(name):
                self.warnings.append(f"[inputs.{name}] is used by no node, loss or metric of this recipe")
        self._check_pairs()
        everything = {name: [*each.samples, *each.held_out] for name, each in self.items()}
        for name, task in recipe.tasks.items():
            self.warnings += [f"[tasks.{name}] {each}" for each in shared(task.domains, everything, self.contents)]
        if plan.terms:
            self.warnings += balance_warnings(plan, divided.samples)

    def _find(self, name: str, selection: Any) -> FoundSamples:
        self.source.suffixes = self.media_plan(name).cls.suffixes
        held_out_selection = None
        if isinstance(selection, Mapping) and OWN_KEYS & selection.keys():
            held_out_selection = selection.get("held_out")
            selection = {key: value for key, value in selection.items() if key not in OWN_KEYS}
            if set(selection) == {"path"}:
                selection = selection["path"]
            self.selections[name] = selection
        self.source.skipped = {}
        try:
            samples = self.source.samples(name, selection)
            held_out = self.source.samples(name, held_out_selection) if held_out_selection is not None else None
        except UsageError as error:
            raise UsageError(f"[domains] {name}: {error}") from None
        if not samples:
            raise DataError(f"[domains] {name} = {selection!r}: no samples found")
        if (
            self.source.skipped
            and (each := f"skipped files: {describe_skipped(self.source.skipped)}") not in self.skipped
        ):
            self.skipped.append(each)
        return FoundSamples(samples, held_out)

    def _find_input(self, domain: str, name: str) -> DomainData:
        """Return the files of a further input of a domain, each at the place of its sample.

        Raises:
            DataError: samples have no file, or several.
        """
        where, own = f"[inputs.{name}] {domain}", f"{domain}.{name}"
        try:
            found = self._find(own, self.plan.recipe.inputs[name].domains[domain])
        except (DataError, UsageError) as error:
            raise type(error)(str(error).replace(f"[domains] {own}", where)) from None
        sides = [self[domain].samples, self[domain].held_out]
        common = {sample.key for sample in sides[0]} & {sample.key for sample in sides[1]}
        if common and found.held_out is None:
            raise DataError(
                f"{where}: training and held-out samples have names in common ({listed(sorted(common), 3)}); give "
                "held_out here too, the files of the held-out samples"
            )
        result: list[list[Sample]] = []
        lone, several = [], []
        for samples, files in zip(sides, (found.samples, found.held_out or found.samples), strict=True):
            locations: dict[str, list[Any]] = defaultdict(list)
            for each in files:
                locations[each.key].append(each.location)
            lone += [sample.key for sample in samples if sample.key not in locations]
            several += [sample.key for sample in samples if len(locations.get(sample.key, ())) > 1]
            result.append([Sample(s.key, locations.get(s.key, [None])[0], s.attributes) for s in samples])
        for keys, what in ((lone, "no file"), (several, "several files")):
            if keys:
                raise DataError(
                    f"{where}: {len(keys)} of {sum(map(len, sides))} samples have {what} of the same name: "
                    f"{listed(sorted(keys), MAX_LISTED)}"
                )
        return DomainData(own, result[0], result[1], self.plan, self.synthesized)

    def _check_pairs(self) -> None:
        for name, task in self.plan.recipe.tasks.items():
            if task.paired is True:
                self._check_same(name, "", [self[each].samples for each in task.domains])
            if task.paired in (True, "held_out"):
                self._check_same(name, "held-out ", [self[each].evaluated for each in task.domains])
            if task.share_of_pairs is not None:
                self._check_some(name)

    def _check_some(self, task: str) -> None:
        """Check that there are pairs of the domains whose pairs a task trains on."""
        batch = max(stage.batch for stage in self.plan.stages)
        together = self.plan.paired_domains(task)
        if self.plan.terms and not together:
            self.warnings.append(
                f"[tasks.{task}] no loss uses its pairs; add one that does, such as losses.paired, or set "
                'paired = "held_out"'
            )
        for names in together:
            pairs = self.training_pairs(task, *names)
            if not pairs:
                examples = (f"'{self[each].samples[0].key}' in {each}" for each in names)
                raise DataError(
                    f"[tasks.{task}] has no pairs: no training samples of {' and '.join(names)} have the same name, "
                    f"such as {', '.join(examples)}; remove paired, or rename the files of pairs"
                )
            if len(pairs) < batch:
                self.warnings.append(
                    f"[tasks.{task}] {counted(len(pairs), 'pair')} of {' and '.join(names)}, fewer than a batch of "
                    f"{batch}: every batch has each of them, some twice"
                )

    def training_pairs(self, task: str, first: str, second: str) -> list[tuple[int, int]]:
        """Return the indices of known pairs among the training samples of two domains.

        They are the share of the pairs that the task trains on: those whose keys have the smallest hashes.
        """
        share = self.plan.recipe.tasks[task].share_of_pairs or 1.0
        samples = self[first].samples
        pairs = paired_indices(samples, self[second].samples)
        by_hash = sorted(pairs, key=lambda pair: stable_hash("pair", samples[pair[0]].key))
        return sorted(by_hash[: max(1, round(share * len(pairs)))])

    def held_out_pairs(self, first: str, second: str) -> list[tuple[int, int]]:
        """Return the indices of known pairs among the samples of two domains that metrics use."""
        return paired_indices(self[first].evaluated, self[second].evaluated)

    def _described_pairs(self) -> Iterator[str]:
        """Yield how many pairs there are, for each task that is trained on some."""
        for task in self.plan.recipe.tasks:
            for first, second in self.plan.paired_domains(task):
                trained = len(self.training_pairs(task, first, second))
                known = len(paired_indices(self[first].samples, self[second].samples))
                held_out = len(paired_indices(self[first].held_out, self[second].held_out))
                of = f" of {known:,}" if known != trained else ""
                yield (
                    f"[tasks.{task}] {first} and {second}: {counted(trained, 'pair')}{of} for training beside unpaired "
                    f"samples, {held_out:,} held out"
                )

    def _check_same(self, task: str, which: str, sides: list[list[Sample]]) -> None:
        keys = [[sample.key for sample in side] for side in sides]
        names = [Counter(side) for side in keys]
        if lone := sorted({key for side in names for key in side if any(each[key] != side[key] for each in names)}):
            forms = Counter(unicodedata.normalize("NFC", key).casefold() for key in lone)
            alike = [key for key in lone if forms[unicodedata.normalize("NFC", key).casefold()] > 1]
            why = (
                f"; {len(alike)} of these names look alike and differ by Unicode form (NFC, NFD) or case alone: rename "
                "the files of one side"
                if alike
                else ""
            )
            raise DataError(
                f"[tasks.{task}] is paired, but {len(lone)} {which}samples have no partner of the same name: "
                f"{listed(lone, 5)}{why}"
            )
        if any(side != keys[0] for side in keys):
            source = f"{type(self.source).__module__}.{type(self.source).__qualname__}"
            raise PluginError(
                f"[tasks.{task}] is paired, but the source ({source}) returns its {which}samples in another order for "
                "each domain; pairs must have the same place"
            )

    @property
    def notes(self) -> list[str]:
        """What was found in the data and dealt with, a sentence each: skipped files, overlaps, copies, pairs."""
        return [*self.skipped, *self.overlaps, *self.copies, *self._described_pairs()]

    def parts(self, name: str) -> list[DomainData]:
        """Return a domain and its further inputs."""
        return [self[name], *(each for own, each in self.further.items() if own.partition(".")[0] == name)]

    def count_files(self) -> int:
        """Return how many samples `exclude_unreadable` decodes."""
        return sum(len(samples) for name in self for part in self.parts(name) for samples in part.cached.values())

    def exclude_unreadable(self, seen: Callable[[], object] = lambda: None, rank: int = 0, world: int = 1) -> None:
        """Decode every sample once, with its further inputs; exclude those that cannot be read, and their partners in
        paired tasks.

        So what a run trains and measures on follows from the files alone, and no file stops it later on. It is called
        before the first batch is made. What functions make is not decoded here.

        Args:
            seen: called after each sample.
            rank, world: this process and the number of processes, each of which begins with another part of the data:
                what one has stored in the cache, others do not decode.

        Raises:
            DataError: more samples than tolerated cannot be read, or none remains.
        """
        excluded: dict[tuple[str, bool], set[str]] = defaultdict(set)
        reasons: dict[str, list[str]] = {}
        for name, domain in self.items():
            reasons[name] = []
            for part, held_out in product(self.parts(name), (False, True)):
                samples = part.cached[held_out]
                media = self.media_at(part.name, self.plan.stages[-1 if held_out else 0].size)
                order = np.roll(np.arange(len(samples)), -rank * len(samples) // world)
                failed: Mapping[int, str] = {}
                try:
                    if samples:
                        failed = part.cache(held_out, media).unreadable(order.tolist(), seen)
                except NothingReadableError as error:
                    failed = error.reasons
                excluded[name, held_out] |= {samples[i].key for i in failed}
                reasons[name] += [failed[i] for i in sorted(failed)]
            check_tolerated(name, reasons[name], sum(map(len, domain.cached.values())))
        unpaired = {each: set(keys) for each, keys in excluded.items()}
        for _ in self:  # a domain may be paired in several tasks
            for task in self.plan.recipe.tasks.values():
                for held_out in (False, True):
                    if task.paired is True or (task.paired == "held_out" and held_out):
                        keys = set().union(*(excluded[name, held_out] for name in task.domains))
                        excluded |= {(name, held_out): keys | excluded[name, held_out] for name in task.domains}
        for name, domain in self.items():
            counts = [domain.exclude(held_out, excluded[name, held_out]) for held_out in (False, True)]
            for further in self.parts(name)[1:]:
                for held_out in (False, True):
                    further.exclude(held_out, excluded[name, held_out])
            lone = [key for held in (False, True) for key in excluded[name, held] - unpaired[name, held]]
            partners, total = len(lone), sum(map(len, domain.cached.values()))
            if reasons[name]:
                self.warnings.append(
                    f"[domains] {name}: not used, since it cannot be read: {counted(len(reasons[name]), 'sample')} of "
                    f"{total}: {listed(reasons[name], MAX_LISTED)}"
                )
            if partners:
                self.warnings.append(
                    f"[domains] {name}: not used, since the partner cannot be read: {counted(partners, 'sample')} of "
                    f"{total}: {listed(sorted(lone), MAX_LISTED)}"
                )
            if sum(counts) and not domain.samples:
                raise DataError(f"[domains] {name}: no sample for training can be read, or none has a partner that can")

    def __getitem__(self, name: str) -> DomainData:
        """Return a domain, or its further input `domain.input`."""
        return self.found[name] if name in self.found else self.further[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def media_plan(self, name: str) -> MediaPlan:
        return self.plan.media[name] if name in self.plan.media else self.plan.input_media[name]

    def media_at(self, name: str, size: Size) -> Media[Options]:
        """Return the media of a domain for a size of training samples."""
        key = (self[name].media_of, size)
        if key not in self.media:
            self.media[key] = self.media_plan(name).at(size)
            self.media[key].statistics = self.statistics
        return self.media[key]

    def fit_statistics(self, names: Sequence[str] | None = None) -> None:
        """Let the media fit the statistics of these domains, or of all; those that are there are not fitted again."""
        for name in names or (*self, *self.further):
            if name not in self.statistics:
                media = self.media_at(name, self.plan.stages[-1].size)
                self.statistics[name] = dict(media.fit_statistics(self._decoded(name, media)))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the media's statistics by `domain|name`."""
        return statistics_tensors(self.statistics)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` has returned."""
        self.statistics.update(statistics_from_tensors(state))

    def _decoded(self, name: str, media: Media[Options]) -> Iterator[np.ndarray]:
        count = len(self[name].samples)
        for first in range(0, count, 32):
            yield from self[name].decoded(False, media, range(first, min(first + 32, count)))

    def tensors(
        self,
        decoded: np.ndarray | Sequence[np.ndarray],
        rng: SampleRng | None,
        names: Sequence[str],
        size: Size,
        device: Any,
    ) -> Tensor:
        """Return decoded samples as networks see them, (N, C, *space).

        Args:
            names: the domain of each sample; they have the same media.
        """
        domains = list(dict.fromkeys(names))
        self.fit_statistics(domains)
        media = self.media_at(names[0], size)
        arrays: Tensor | list[Tensor]
        if isinstance(decoded, np.ndarray):
            # On Apple's GPUs the copy could read memory that is free again: what is not pinned is safe with CUDA alone.
            arrays = torch.from_numpy(decoded).to(device, non_blocking=torch.device(device).type == "cuda")
        else:
            arrays = [torch.from_numpy(each) for each in decoded]
        with error_context(f"making a batch of domain '{names[0]}'", media):
            x = media.batch(arrays, rng, names)
        for name in domains:
            if (name, size, rng is None) not in self.checked:
                self.checked.add((name, size, rng is None))
                self._check_batch(name, media, x, len(names), training=rng is not None)
        return x.to(device)

    def _check_batch(self, name: str, media: Media[Options], x: Any, count: int, training: bool) -> None:
        """Compare a domain's first batch of a size with what the media says of itself.

        Raises:
            PluginError: it is not a tensor of that shape, of floating-point numbers, all of them finite.
        """
        use = self.media_plan(name).use
        where = f"domain '{name}': the media '{use}' ({type(media).__module__}.{type(media).__qualname__})"
        expected = (count, media.channels, *media.space)
        if not isinstance(x, Tensor):
            raise PluginError(f"{where} gives batches of {type(x).__name__}, expected tensors")
        shape = tuple(x.shape)
        if (shape if training else (*shape[:2], *expected[2:])) != expected or x.ndim != len(expected):
            raise PluginError(
                f"{where} gives batches of shape {shape}, expected {expected}: (N, channels, *space) as it says itself "
                f"for data.size = {media.size}"
            )
        if not x.is_floating_point():
            raise PluginError(f"{where} gives batches of {x.dtype}, expected floating-point numbers from -1 to 1")
        if not bool(torch.isfinite(x).all()):
            raise PluginError(f"{where} gives batches with values that are not finite (NaN or infinity)")
        low, high = float(x.min()), float(x.max())
        if media.bounded and max(-low, high) > 1 + MARGIN:
            self.warnings.append(f"{where} gives values from {low:.4g} to {high:.4g}, expected from -1 to 1")

    def batches(
        self,
        name: str,
        held_out: bool,
        size: Size,
        batch: int,
        device: Any = "cpu",
        most: int | None = None,
        order: Sequence[int] | None = None,
    ) -> Iterator[tuple[list[Sample], Tensor]]:
        """Yield every sample once, without augmentation: samples and (N, C, *space).

        Args:
            most: the number of samples; defaults to all.
            order: the samples by their indices; defaults to all, in the order of their keys.
        """
        media = self.media_at(name, size)
        samples = self[name].held_out if held_out else self[name].samples
        order = (range(len(samples)) if order is None else order)[:most]
        for first in range(0, len(order), batch):
            index = np.asarray(order[first : first + batch])
            decoded = self[name].decoded(held_out, media, index)
            x = self.tensors(decoded, None, [name] * len(index), size, device)
            yield [samples[i] for i in index], x


def describe_skipped(skipped: Mapping[Path, str]) -> str:
    """Return how many entries of folders were skipped, for which reasons, with some names."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for path, reason in skipped.items():
        by_reason[reason].append(path.name)
    most_first = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return "; ".join(f"{reason}: {len(names):,} ({listed(sorted(names), 3)})" for reason, names in most_first)


def check_tolerated(name: str, reasons: Sequence[str], count: int) -> None:
    """Raise DataError where more of a domain's samples cannot be read than is tolerated."""
    limit = int(TOLERATED * count) if count >= MIN_TOLERANT else 0
    if len(reasons) > limit:
        raise DataError(
            f"[domains] {name}: {len(reasons)} of {count} samples cannot be read, at most {limit} may: "
            f"{listed(reasons, MAX_LISTED)}"
        )
