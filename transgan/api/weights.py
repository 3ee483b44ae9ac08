"""Files of weights that a plugin needs and does not bring: announced with their hash, and fetched only when asked.

They lie in the cache folder under their own names, so that one fetched on another machine can be put there by hand.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import platformdirs

from transgan.errors import DataError, DiskError

CHUNK = 1 << 20


@dataclass(frozen=True)
class Weights:
    """A file of weights, pinned: whatever differs from it by a byte is not it."""

    name: str
    """What `transgan download` calls it."""
    file: str
    """Its name in the cache folder."""
    url: str
    sha256: str
    size: int
    """In bytes."""
    terms: str
    """Licence and source, in a few words."""

    @property
    def place(self) -> Path:
        """Where it lies once it is downloaded."""
        return cache_root() / self.file


def cache_root() -> Path:
    """Where files that can be had again are kept: TRANSGAN_CACHE, or the system's place for caches."""
    return Path(os.environ.get("TRANSGAN_CACHE") or platformdirs.user_cache_dir("transgan")).expanduser()


def locate(weights: Weights, path: Path | None = None) -> Path | None:
    """The file: `path` where given, else the one in the cache folder, else None.

    Raises:
        DataError: `path` is not there, or the file found is not the one announced; says how to mend it.
    """
    found = path.expanduser() if path else weights.place
    if not found.is_file():
        if path is None:
            return None
        raise DataError(f"weights {found}: no such file; 'transgan download {weights.name}' fetches it")
    try:
        with found.open("rb") as file:
            is_it = hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256
    except OSError as error:
        raise DataError(f"weights {found}: cannot be read: {error.strerror}") from None
    if not is_it:
        how = f"give {weights.file} itself" if path else f"'transgan download {weights.name}' replaces it"
        raise DataError(f"weights {found}: not the file that '{weights.name}' stands for (its sha256 differs); {how}")
    return found


def download(weights: Weights) -> Path:
    """Fetches the file into the cache folder; it appears there whole and checked, or not at all.

    Raises:
        DataError: it cannot be had, or is not the one announced.
        DiskError: it cannot be written.
    """
    place = weights.place
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            for chunk in _fetched(weights):
                file.write(chunk)
        aside.replace(place)
    except OSError as error:
        raise DiskError(f"{place}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            aside.unlink()
    return place


def _fetched(weights: Weights) -> Iterator[bytes]:
    """The file piece by piece; DataError, at the end at the latest, where it is not the one announced."""
    by_hand = f"it can be put at {weights.place} by hand"
    total, digest = 0, hashlib.sha256()
    try:
        with urlopen(Request(weights.url, headers={"User-Agent": "transgan"}), timeout=30) as answer:
            while total <= weights.size and (chunk := answer.read(CHUNK)):
                total += len(chunk)
                digest.update(chunk)
                yield chunk
    except HTTPError as error:
        error.close()
        raise DataError(f"{weights.name}: {weights.url} cannot be had: HTTP {error.code}; {by_hand}") from None
    except (OSError, ValueError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise DataError(f"{weights.name}: {weights.url} cannot be had: {why}; {by_hand}") from None
    if total != weights.size:
        found = "more" if total > weights.size else f"{total:,} bytes"
        raise DataError(f"{weights.name}: {weights.url} gave {found}, expected {weights.size:,} bytes; {by_hand}")
    if digest.hexdigest() != weights.sha256:
        raise DataError(f"{weights.name}: {weights.url} gave another file (its sha256 differs); {by_hand}")
