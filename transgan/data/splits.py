"""Dividing every domain into training and held-out samples, so that no copy of a training sample is held out."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from transgan.api.samples import Sample
from transgan.data.contents import Contents, file_of, part_of
from transgan.errors import DataError
from transgan.rng import stable_hash
from transgan.text import listed

#: Largest number of names, and of pairs of domains, that a message lists.
MAX_LISTED = 3


@dataclass
class FoundSamples:
    """The samples of a domain."""

    samples: list[Sample]
    """Those for training, or all where `held_out` is None."""
    held_out: list[Sample] | None = None
    """Those that the recipe selects to be held out."""


@dataclass(frozen=True)
class Split:
    """Training and held-out samples of every domain."""

    samples: dict[str, list[Sample]]
    held_out: dict[str, list[Sample]]
    overlaps: list[str]
    """Where samples are selected both for training and to be held out, a sentence each."""
    copies: list[str]
    """Where samples for training are copies of others, a sentence each."""


@dataclass(eq=False)
class _Group:
    """Samples that must be on the same side of the split: copies of each other and, in paired tasks, their partners."""

    keys: list[str] = field(default_factory=list)
    """Of those whose domain is split by a hash."""
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Number of samples to be split, by domain."""
    training: bool = False
    """Whether the recipe selects one of them for training in a domain whose held-out samples it selects too."""
    held_out: bool = False
    """Whether the recipe selects one of them to be held out."""
    mark: float = 0.0


def split(found: Mapping[str, FoundSamples], contents: Contents, pairs: Iterable[Sequence[str]], share: float) -> Split:
    """Divide the samples of every domain.

    A domain without a selection of held-out samples is split by a hash of the samples' keys, so that adding samples
    moves none. Copies follow the first of their keys; so do the partners of paired tasks, and files that are in several
    domains. Files that the recipe selects to be held out are trained on in no domain.

    Args:
        found: the samples of each domain.
        contents: which samples are copies of each other.
        pairs: domains whose samples of the same key are partners.
        share: the share of samples to hold out.

    Raises:
        DataError: no sample of a domain remains for training.
    """
    groups = _groups(found, contents, pairs)
    _decide(list(dict.fromkeys(groups.values())), found, share)
    samples: dict[str, list[Sample]] = {}
    held_out: dict[str, list[Sample]] = {}
    overlaps, copies = [], []
    for name, each in found.items():
        out = [groups[name, False, i].held_out for i in range(len(each.samples))]
        samples[name] = [sample for sample, held in zip(each.samples, out, strict=True) if not held]
        chosen = [sample for sample, held in zip(each.samples, out, strict=True) if held]
        held_out[name] = chosen if each.held_out is None else each.held_out
        if each.held_out is not None and chosen:
            overlaps.append(
                f"[domains] {name}: held out too, as the same file or as a copy, and so not trained on: "
                f"{counted(len(chosen), 'sample')} of {len(each.samples)}: {_keys(chosen)}"
            )
        divided = each.samples if each.held_out is None else samples[name]
        if repeated := _copies(divided, contents):
            side = ", and on the same side of the split as those" if each.held_out is None and chosen else ""
            copies.append(
                f"[domains] {name}: copies of others{side}: {counted(len(repeated), 'sample')} of {len(divided)}: "
                f"{_keys(repeated)}"
            )
        if not samples[name]:
            raise DataError(
                f"[domains] {name}: all {len(each.samples)} samples are held out too, here or in another domain, as "
                "the same file or as a copy; none remains for training"
            )
    return Split(samples, held_out, overlaps, copies)


def shared(names: Sequence[str], samples: Mapping[str, Sequence[Sample]], contents: Contents) -> list[str]:
    """Return, a sentence for each pair of domains, how many samples two of these domains have in common."""
    having: dict[Hashable, dict[str, Sample]] = defaultdict(dict)
    for name in dict.fromkeys(names):
        for sample in samples[name]:
            having[contents.of(sample), part_of(sample)].setdefault(name, sample)
    common: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for each in having.values():
        for pair in combinations(list(each)[: 2 * MAX_LISTED], 2):
            common[pair].append(each[pair[0]])
    return [
        f"domains {first} and {second} share {counted(len(each), 'sample')}: {_keys(each)}"
        for (first, second), each in common.items()
    ]


def counted(count: int, what: str) -> str:
    """Return a number with a noun, in the plural unless it is 1."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _keys(samples: Sequence[Sample]) -> str:
    return listed((sample.key for sample in samples), MAX_LISTED)


def _copies(samples: Sequence[Sample], contents: Contents) -> list[Sample]:
    """Return the samples that are copies of an earlier one of the same domain."""
    seen: set[Hashable] = set()
    copies = []
    for sample in samples:
        key = contents.of(sample), part_of(sample)
        if key in seen:
            copies.append(sample)
        seen.add(key)
    return copies


def _groups(
    found: Mapping[str, FoundSamples], contents: Contents, pairs: Iterable[Sequence[str]]
) -> dict[tuple[str, bool, int], _Group]:
    """Return the group of each sample, by domain, whether it is selected to be held out, and index."""
    parents: dict[Any, Any] = {}

    def root(item: Hashable) -> Any:
        while (parent := parents.setdefault(item, item)) != item:
            parents[item] = item = parents[parent]
        return item

    paired: dict[str, list[int]] = defaultdict(list)
    for task, names in enumerate(pairs):
        for name in names:
            paired[name].append(task)
    nodes: dict[tuple[str, bool, int], Hashable] = {}
    for name, each in found.items():
        for held, samples in ((False, each.samples), (True, each.held_out or [])):
            for i, sample in enumerate(samples):
                content: Hashable = contents.of(sample)
                if file_of(sample) is None:  # domains of synthetic samples are split one by one
                    content = (name, content)
                nodes[name, held, i] = content
                for task in paired[name]:
                    parents[root((task, held, sample.key))] = root(content)
    groups: dict[Hashable, _Group] = defaultdict(_Group)
    result = {}
    for (name, held, i), content in nodes.items():
        group = result[name, held, i] = groups[root(content)]
        if held:
            group.held_out = True
        elif found[name].held_out is not None:
            group.training = True
        else:
            group.keys.append(found[name].samples[i].key)
            group.counts[name] += 1
    return result


def _decide(groups: Sequence[_Group], found: Mapping[str, FoundSamples], share: float) -> None:
    """Set which groups are held out."""
    free = [group for group in groups if group.keys and not group.training and not group.held_out]
    sizes = {name: len(each.samples) for name, each in found.items() if each.held_out is None}
    if not share:
        return
    by_domain: dict[str, list[_Group]] = defaultdict(list)
    chosen: dict[str, int] = dict.fromkeys(sizes, 0)
    for group in groups:
        if group.held_out:
            for name, count in group.counts.items():
                chosen[name] += count
    for group in free:
        group.mark = stable_hash("held out", min(group.keys)) / 2**64
        # Many copies of one sample say little about others: none of them is held out.
        fits = all(count <= max(1, share * sizes[name]) for name, count in group.counts.items())
        group.held_out = group.mark < share and fits
        group.mark += not fits
        for name, count in group.counts.items():
            by_domain[name].append(group)
            chosen[name] += count * group.held_out
    for name, size in sizes.items():
        if not chosen[name] and size > 1 and by_domain[name]:
            group = min(by_domain[name], key=lambda each: each.mark)
            group.held_out = True
            for other, count in group.counts.items():
                chosen[other] += count
    for name, size in sizes.items():  # a domain of which nothing would remain is not divided
        if chosen[name] == size:
            for group in by_domain[name]:
                for other, count in group.counts.items():
                    chosen[other] -= count * group.held_out
                group.held_out = False
