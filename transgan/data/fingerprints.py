"""What a checkpoint says of the samples that it was trained on, by which a run that goes on sees that they changed."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transgan.api.samples import Sample
from transgan.data.contents import content_hash, file_of
from transgan.rng import stable_hash

#: The contents of at most N files of a domain are read.
READ = 256


def fingerprint(training: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, Any]:
    """Return how many samples a domain has, a hash of their names and file sizes, and one of what files contain.

    Each file is looked at, which takes its time for many files on a network's disk, and a few hundred are read: arrays
    of one shape have equal sizes, and a data set that has been made anew differs in most of its files.
    """
    return {
        "training": len(training),
        "held out": len(held_out),
        "files": f"{stable_hash(_sizes(training), _sizes(held_out)):016x}",
        "contents": f"{stable_hash(*_contents([*training, *held_out])):016x}",
    }


def _sizes(samples: Sequence[Sample]) -> int:
    sizes: list[str] = []
    for sample in samples:
        path, size = file_of(sample), 0
        if path is not None:
            with suppress(OSError):
                size = path.stat().st_size
        sizes.append(f"{sample.key} {size}")
    return stable_hash(*sorted(sizes))


def _contents(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield the hashes of `READ` files, which are the same whatever order samples are found in."""
    files: dict[str, Path] = {sample.key: path for sample in samples if (path := file_of(sample)) is not None}
    for key in sorted(files, key=stable_hash)[:READ]:
        with suppress(OSError):
            yield content_hash(files[key])
