"""Every domain's samples: found, split into training and held-out samples, decoded on demand."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Media, Sample, SampleRng, Source
from transgan.data.balance import balance_warnings
from transgan.data.contents import Contents, file_of
from transgan.data.domain_data import DomainData
from transgan.data.fingerprints import fingerprint
from transgan.data.kept import encode_kept
from transgan.data.pairs import Pairs
from transgan.data.splits import FoundSamples, shared, split
from transgan.errors import DataError, MissingDataError, PluginError, PluginFault, UsageError
from transgan.graph import error_context
from transgan.options import Options, Size
from transgan.plan.kept import KEPT
from transgan.plan.plan import MediaPlan, Plan
from transgan.plugin_objects import make
from transgan.rng import to_device
from transgan.text import expand_home, listed
from transgan.tree import described

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


class NoRootError(DataError):
    """There is no folder `data.root`."""


#: Keys of a domain's selection that are the framework's, not the source's.
OWN_KEYS = {"held_out", "media"}


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
            raise NoRootError(
                f"data.root = {str(root)!r} {what}; expected the folder with the data (seen from {Path.cwd()})"
            )
        self.plan = plan
        with _in_source(cls, "opening the data"):
            self.source: Source[Options] = make(cls, options, root)
        self.media: dict[tuple[str, Size], Media[Options]] = {}
        self.statistics: dict[str, Mapping[str, Tensor]] = {}
        self.synthesized: dict[tuple[str, Size], dict[Any, np.ndarray]] = defaultdict(dict)
        self.selections = dict(recipe.domains)
        self.skipped: list[str] = []
        """Which files the source does not use, and why, a sentence each."""
        self.warnings: list[str] = []
        """What is probably wrong with the data, a sentence each; more are found when batches are made."""
        self.checked: set[tuple[str, Size, bool]] = set()
        found = self._find_all()
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
        self.pairs = Pairs(plan, self, type(self.source))
        self.warnings += self.pairs.check()
        everything = {name: [*each.samples, *each.held_out] for name, each in self.items()}
        for name, task in recipe.tasks.items():
            self.warnings += [f"[tasks.{name}] {each}" for each in shared(task.domains, everything, self.contents)]
        if plan.terms:
            self.warnings += balance_warnings(plan, divided.samples, divided.held_out)

    def _find_all(self) -> dict[str, FoundSamples]:
        """Return the samples of every domain; raise all that is wrong together, each with its place in the recipe."""
        found: dict[str, FoundSamples] = {}
        problems, missing = self.plan.problems, self.plan.problems.others()
        for name, selection in self.plan.recipe.domains.items():
            try:
                found[name] = self._find(name, selection)
            except PluginError:
                raise
            except UsageError as error:
                problems.add(problems.overridden(("domains", name)), str(error))
            except DataError as error:
                text = str(error).removeprefix(f"[domains] {name}: ").removesuffix(".")
                missing.add(problems.overridden(("domains", name)), text)
        problems.stop()
        missing.stop(MissingDataError)
        return found

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
        samples = samples_of(self.source, name, selection)
        held_out = samples_of(self.source, name, held_out_selection) if held_out_selection is not None else None
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
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        except DataError as error:
            raise DataError(str(error).replace(f"[domains] {own}", where)) from None
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

    @property
    def notes(self) -> list[str]:
        """What was found in the data and dealt with, a sentence each: skipped files, overlaps, copies, pairs."""
        return [*self.skipped, *self.overlaps, *self.copies, *self.pairs.describe()]

    def parts(self, name: str) -> list[DomainData]:
        """Return a domain and its further inputs."""
        return [self[name], *(each for own, each in self.further.items() if own.partition(".")[0] == name)]

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
                with error_context(f"fitting the statistics of domain '{name}'", media):
                    found = media.fit_statistics(self._decoded(name, media))
                    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
                        raise PluginFault(
                            media, f"fit_statistics returned {described(found)}, expected tensors by name"
                        )
                self.statistics[name] = dict(found)

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
            arrays = to_device(torch.from_numpy(decoded), device)
        else:
            arrays = [torch.from_numpy(each) for each in decoded]
        with error_context(f"making a batch of domain '{names[0]}'", media):
            x = media.batch(arrays, rng, names)
            for name in domains:
                if (name, size, rng is None) not in self.checked:
                    self.checked.add((name, size, rng is None))
                    self._check_batch(name, media, x, len(names), training=rng is not None)
        return to_device(x, device)

    @cached_property
    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint says of each domain's samples; read once, from their files."""
        return {name: fingerprint(each.samples, each.held_out) for name, each in self.items()}

    def _check_batch(self, name: str, media: Media[Options], x: Any, count: int, training: bool) -> None:
        """Compare a domain's first batch of a size with what the media says of itself.

        Raises:
            PluginFault: it is not a tensor of that shape, of floating-point numbers, all of them finite.
        """
        expected = (count, media.channels, *media.space)
        if not isinstance(x, Tensor):
            raise PluginFault(media, f"batch returned {described(x)}, expected a tensor")
        shape = tuple(x.shape)
        if (shape if training else (*shape[:2], *expected[2:])) != expected or x.ndim != len(expected):
            what = f"batch returned {shape} for data.size = {media.size}, expected (N, channels, *space) = {expected}"
            raise PluginFault(media, what)
        if not x.is_floating_point():
            raise PluginFault(media, f"batch returned {x.dtype}, expected floating-point numbers from -1 to 1")
        if not bool(torch.isfinite(x).all()):
            raise PluginFault(media, "batch returned values that are not finite (NaN or infinity)")
        low, high = float(x.min()), float(x.max())
        if media.bounded and max(-low, high) > 1 + MARGIN:
            use = self.media_plan(name).use
            where = f"domain '{name}': the media '{use}' ({type(media).__module__}.{type(media).__qualname__})"
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


def samples_of(source: Source[Options], domain: str, selection: Any) -> list[Sample]:
    """Return the samples of a domain that a source finds.

    Raises:
        PluginFault: it returns anything but samples, each with a key of its own, or raises an error about a file.
    """
    with _in_source(source, f"finding the samples of domain '{domain}'"):
        found = source.samples(domain, selection)
        if not isinstance(found, list) or not all(isinstance(each, Sample) for each in found):
            kinds = {type(each).__name__ for each in found} if isinstance(found, list) else ()
            what = f"a list of {listed(sorted(kinds))}" if kinds else described(found)
            raise PluginFault(source, f"samples returned {what}, expected a list of transgan.api.Sample")
        for sample in found:
            if not isinstance(sample.key, str):
                raise PluginFault(source, f"samples returned one whose key is {sample.key!r}, expected a text")
            if not isinstance(sample.attributes, Mapping):
                what = f"sample '{sample.key}' with {described(sample.attributes)} as its attributes"
                raise PluginFault(source, f"samples returned {what}, expected labels by name")
        if (key := _repeated_key(found)) is not None:
            raise PluginFault(source, f"samples returned several of the key '{key}', expected one of each")
        skipped: Any = source.skipped
        if not isinstance(skipped, Mapping) or not all(
            isinstance(path, Path) and isinstance(why, str) for path, why in skipped.items()
        ):
            raise PluginFault(source, f"skipped is {skipped!r}, expected reasons by path")
    return found


def counterpart_of(source: Source[Options], sample: Sample, ends: tuple[Any, Any]) -> Sample | None:
    """Return the true translation of a sample that a source knows, or None.

    Args:
        ends: the selections that it is translated from and to.

    Raises:
        PluginFault: the source returns anything but a sample or None, or raises an error about a file.
    """
    with _in_source(source, f"finding the true translation of sample '{sample.key}'"):
        found: Any = source.counterpart(sample, *ends)
        if found is not None and not isinstance(found, Sample):
            what = f"counterpart returned {described(found)}, expected a transgan.api.Sample, or None"
            raise PluginFault(source, what)
    return found


@contextmanager
def _in_source(source: object, what: str) -> Iterator[None]:
    """Say that the code of a source, or of its class, was running, and for what, in errors that pass.

    An error about a file says so too: it is the source that has looked for this file, which the user may never have
    named. Where a media reads the file of a sample, the file's name says enough.
    """
    with error_context(what, source):
        try:
            yield
        except OSError as error:
            named = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
            raise PluginFault(source, named or type(error).__name__) from error


def _repeated_key(samples: Sequence[Sample]) -> str | None:
    """Return a key that several samples have, or None.

    Files of a user whose names differ in their suffixes alone may share theirs.
    """
    if len({sample.key for sample in samples}) == len(samples):
        return None
    seen = set()
    for sample in samples:
        path = file_of(sample)
        own = sample.key, path.suffix if path else ""
        if own in seen:
            return sample.key
        seen.add(own)
    return None
