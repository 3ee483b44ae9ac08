"""Domains with their real samples, as metrics and `init_from_data` get them, also those that another folder has."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from transgan.api.samples import Domain, Sample, Source
from transgan.data.cache import DecodedCache
from transgan.data.contents import Contents
from transgan.data.domains import Domains, samples_of
from transgan.data.splits import FoundSamples, split
from transgan.data.unreadable import check_tolerated
from transgan.errors import DataError
from transgan.options import Options, Size
from transgan.plugin_objects import make
from transgan.text import expand_home


def real_domains(domains: Domains, size: Size, device: Any, read: bool = True) -> dict[str, Domain]:
    """Return the domains with their real samples, at a size.

    Args:
        read: whether samples elsewhere are read, to find copies and what cannot be decoded. Else `elsewhere` has only
            found them, takes no longer than that, and returns no batches.
    """
    open_elsewhere = _elsewhere if read else _found_elsewhere

    def of(name: str) -> Domain:
        def batches(
            held_out: bool, batch: int, numbers: Sequence[int] | None = None
        ) -> Iterator[tuple[list[str], Tensor]]:
            for samples, x in domains.batches(name, held_out, size, batch, device, order=numbers):
                yield [sample.key for sample in samples], x

        def decoded(held_out: bool, numbers: Sequence[int]) -> Sequence[np.ndarray]:
            domains.fit_statistics([name])
            return list(mine.decoded(held_out, domains.media_at(name, size), np.asarray(numbers, dtype=int)))

        mine, elsewhere = domains[name], partial(open_elsewhere, domains, name, size, device)
        return Domain(name, mine.samples, mine.held_out, batches, domains.media_at(name, size), elsewhere, decoded)

    return {name: of(name) for name in domains}


def _found_elsewhere(domains: Domains, name: str, size: Size, device: Any, root: Path, selection: Any = None) -> Domain:
    """Return the samples that a domain, or another selection, has at another root, without reading their files.

    Raises:
        DataError, UsageError: as `_elsewhere`, other than of files that cannot be read.
    """

    def unread(*_: Any) -> Any:
        raise RuntimeError("samples of another folder are not read before metrics are prepared")

    found = _find_elsewhere(domains, name, root, selection)
    media, elsewhere = domains.media_at(name, size), partial(_found_elsewhere, domains, name, size, device)
    return Domain(name, found, [], unread, media, elsewhere, unread)


def _find_elsewhere(domains: Domains, name: str, root: Path, selection: Any) -> list[Sample]:
    root = expand_home(Path(root))
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{str(root)!r} {what}; expected a folder with samples (seen from {Path.cwd()})")
    cls, options = domains.plan.sources
    source: Source[Options] = make(cls, options, root)
    source.suffixes = domains.media_plan(name).cls.suffixes
    found = samples_of(source, name, domains.selections[name] if selection is None else selection)
    if not found:
        raise DataError(f"{str(root)!r}: no samples found of {selection or domains.selections[name]!r}")
    return found


def _elsewhere(domains: Domains, name: str, size: Size, device: Any, root: Path, selection: Any = None) -> Domain:
    """Return the samples that a domain, or another selection, has at another root: see `Domain.elsewhere`.

    Raises:
        DataError: there is no such folder, no samples in it, or more than tolerated cannot be read.
        UsageError: the source does not know the selection.
    """
    found = _find_elsewhere(domains, name, root, selection)
    kept = domains.plan.recipe.data.cache
    measured = [sample for each in domains.values() for sample in each.held_out]
    contents = Contents([*found, *measured], kept)
    numbers = {contents.of(sample) for sample in measured}
    divided = split({name: FoundSamples(found)}, contents, [], domains.plan.recipe.data.held_out)
    held = {sample.key for sample in divided.held_out[name]}
    media, reasons = domains.media_at(name, size), list[str]()
    samples: dict[bool, list[Sample]] = {}
    caches: dict[bool, tuple[DecodedCache, np.ndarray] | None] = {False: None, True: None}
    for side in (False, True):
        samples[side] = [s for s in found if side == (s.key in held or contents.of(s) in numbers)]
        if samples[side]:
            cache = DecodedCache(samples[side], media, kept)
            failed = cache.unreadable(range(len(samples[side])))
            rows = np.array([i for i in range(len(samples[side])) if i not in failed], dtype=int)
            caches[side] = cache, rows
            samples[side] = [samples[side][i] for i in rows]
            reasons += failed.values()
    check_tolerated(name, reasons, len(found))

    def batches(held_out: bool, batch: int, numbers: Sequence[int] | None = None) -> Iterator[tuple[list[str], Tensor]]:
        cache, rows = caches[held_out] or (None, np.empty(0, int))
        order = np.arange(len(rows)) if numbers is None else np.asarray(numbers, dtype=int)
        for first in range(0, len(order) if cache else 0, batch):
            assert cache
            part = order[first : first + batch]
            x = domains.tensors(cache.get(rows[part]), None, [name] * len(part), size, device)
            yield [samples[held_out][i].key for i in part], x

    elsewhere = partial(_elsewhere, domains, name, size, device)

    def decoded(held_out: bool, numbers: Sequence[int]) -> Sequence[np.ndarray]:
        cache, rows = caches[held_out] or (None, np.empty(0, int))
        return list(cache.get(rows[np.asarray(numbers, dtype=int)])) if cache else []

    return Domain(name, samples[False], samples[True], batches, media, elsewhere, decoded)
