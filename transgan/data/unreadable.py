"""Samples that cannot be read: found before the first step, so that none stops a run later on."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from transgan.api.samples import Sample
from transgan.data.cache import NothingReadableError
from transgan.data.domains import MAX_LISTED, Domains
from transgan.data.splits import counted
from transgan.errors import DataError
from transgan.registry import Registry
from transgan.text import listed

#: Share of a domain's samples that may be unreadable; where there are fewer than MIN_TOLERANT, none may.
TOLERATED, MIN_TOLERANT = 0.01, 100


def count_files(domains: Domains) -> int:
    """Return how many samples `exclude_unreadable` decodes."""
    return sum(len(samples) for name in domains for part in domains.parts(name) for samples in part.cached.values())


def exclude_unreadable(
    domains: Domains, seen: Callable[[], object] = lambda: None, rank: int = 0, world: int = 1
) -> None:
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
    for name, domain in domains.items():
        reasons[name] = []
        for part, held_out in product(domains.parts(name), (False, True)):
            samples = part.cached[held_out]
            media = domains.media_at(part.name, domains.plan.stages[-1 if held_out else 0].size)
            order = np.roll(np.arange(len(samples)), -rank * len(samples) // world)
            failed: Mapping[int, str] = {}
            try:
                if samples:
                    failed = part.cache(held_out, media).unreadable(order.tolist(), seen)
            except NothingReadableError as error:
                failed = error.reasons
            excluded[name, held_out] |= {samples[i].key for i in failed}
            reasons[name] += [_named(domains, samples[i], failed[i]) for i in sorted(failed)]
        check_tolerated(name, reasons[name], sum(map(len, domain.cached.values())))
    unpaired = {each: set(keys) for each, keys in excluded.items()}
    for _ in domains:  # a domain may be paired in several tasks
        for task in domains.plan.recipe.tasks.values():
            for held_out in (False, True):
                if task.paired is True or (task.paired == "held_out" and held_out):
                    keys = set().union(*(excluded[name, held_out] for name in task.domains))
                    excluded |= {(name, held_out): keys | excluded[name, held_out] for name in task.domains}
    for name, domain in domains.items():
        counts = [domain.exclude(held_out, excluded[name, held_out]) for held_out in (False, True)]
        for further in domains.parts(name)[1:]:
            for held_out in (False, True):
                further.exclude(held_out, excluded[name, held_out])
        lone = [key for held in (False, True) for key in excluded[name, held] - unpaired[name, held]]
        partners, total = len(lone), sum(map(len, domain.cached.values()))
        if reasons[name]:
            domains.warnings.append(
                f"[domains] {name}: not used, since it cannot be read: {counted(len(reasons[name]), 'sample')} of "
                f"{total}: {listed(reasons[name], MAX_LISTED)}"
            )
        if partners:
            domains.warnings.append(
                f"[domains] {name}: not used, since the partner cannot be read: {counted(partners, 'sample')} of "
                f"{total}: {listed(sorted(lone), MAX_LISTED)}"
            )
        if sum(counts) and not domain.samples:
            raise DataError(f"[domains] {name}: no sample for training can be read, or none has a partner that can")


def _named(domains: Domains, sample: Sample, reason: str) -> str:
    """Return why a sample cannot be read, with its key and its source where it has no file to be named by."""
    made = str(sample.location)
    if isinstance(sample.location, (str, os.PathLike)) or made not in reason:
        return reason
    found = Registry.installed().candidates("sources")
    source = next((str(each) for each in found if each.cls is domains.plan.sources[0]), "its source")
    return reason.replace(made, f"sample '{sample.key}' of {source}")


def check_tolerated(name: str, reasons: Sequence[str], count: int) -> None:
    """Raise DataError where more of a domain's samples cannot be read than is tolerated."""
    limit = int(TOLERATED * count) if count >= MIN_TOLERANT else 0
    if len(reasons) > limit:
        raise DataError(
            f"[domains] {name}: {len(reasons)} of {count} samples cannot be read, at most {limit} may: "
            f"{listed(reasons, MAX_LISTED)}. Mend or remove them; transgan data check names all of them"
        )
