"""Near-duplicates: 64-bit fingerprints that differ in few bits, found without comparing every pair."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

#: Fingerprints that differ in at most this many of 64 bits are near-duplicates.
MAX_BITS = 4
#: Rows that are compared at a time with all others of a bucket.
_ROWS = 1024
#: Number of bits that are set, for 16 bits.
_COUNTS = np.array([i.bit_count() for i in range(1 << 16)], dtype=np.uint8)


def near_duplicates(fingerprints: Sequence[int | None], most: int = MAX_BITS) -> list[list[int]]:
    """Return groups of items, by index, of whose fingerprints each differs from another's in at most `most` bits.

    A fingerprint is divided into `most` + 1 bands: two that differ in at most `most` bits agree in one of them, so only
    those in the same bucket of a band are compared (Norouzi et al., 2012, section 3).

    Args:
        fingerprints: 64 bits each, or None for items that are like no other.
    """
    by_value: dict[int, list[int]] = defaultdict(list)
    for index, value in enumerate(fingerprints):
        if value is not None:
            by_value[value].append(index)
    values = list(by_value)
    parents = list(range(len(values)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = i = parents[parents[i]]
        return i

    for a, b in _pairs(np.array(values, dtype=np.uint64), most):
        parents[root(a)] = root(b)
    groups: dict[int, list[int]] = defaultdict(list)
    for i, value in enumerate(values):
        groups[root(i)] += by_value[value]
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _pairs(values: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of different values, by index, that differ in at most `most` bits; some of them repeatedly."""
    edges = np.linspace(0, 64, most + 2).astype(int)
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for first in range(0, len(bucket) - 1 and len(bucket), _ROWS):
                rows = bucket[first : first + _ROWS]
                differing = _bits(values[rows, None] ^ values[None, bucket])
                for i, j in np.argwhere(differing <= most):
                    if rows[i] < bucket[j]:
                        yield int(rows[i]), int(bucket[j])


def _bits(values: np.ndarray) -> np.ndarray:
    """Return how many bits of each 64-bit number are set."""
    counts: np.ndarray = _COUNTS[np.ascontiguousarray(values)[..., None].view(np.uint16)].sum(-1)
    return counts
