"""Weight files that a plugin needs but does not contain: identified by their hash, downloaded on the user's command.

They are stored in the cache folder under a fixed name, so that a user without network access can copy one there.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import platformdirs

from transgan.errors import DataError
from transgan.progress import share_bar
from transgan.storage.atomic import disk_errors, make_folder, replacing_file, set_aside
from transgan.text import expand_home

_CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightFile:
    """A file of pretrained weights, identified by its sha256."""

    name: str
    """Its name for `transgan download`."""
    file: str
    """Its file name in the cache folder."""
    url: str
    sha256: str
    size: int
    """In bytes."""
    terms: str
    """Licence and source, in a few words."""

    @property
    def path(self) -> Path:
        """Its path in the cache folder, whether or not it is downloaded."""
        return cache_root() / self.file


def cache_root() -> Path:
    """Return the folder for files that can be downloaded or computed again.

    It is TRANSGAN_CACHE, or the user's cache folder of the operating system; one among the temporary files where the
    user has no home.
    """
    if given := os.environ.get("TRANSGAN_CACHE"):
        return expand_home(given)
    try:
        folder = Path(platformdirs.user_cache_dir("transgan"))
    except RuntimeError:  # newer versions say so, older ones return "~" as it is
        folder = Path("~")
    return folder if folder.is_absolute() else Path(tempfile.gettempdir(), "transgan-cache")


def locate(weights: WeightFile, path: Path | None = None) -> Path | None:
    """Find a weight file and check its hash.

    Args:
        weights: the file to find.
        path: where the user keeps the file; defaults to the cache folder.

    Returns:
        The path, or None where `path` is None and the file is not in the cache folder.

    Raises:
        DataError: there is no file at `path`, or the file that was found cannot be read or has another hash.
    """
    found = expand_home(path) if path else weights.path
    if not found.is_file():
        if path is None:
            return None
        raise DataError(f"weights {found}: no such file; 'transgan download {weights.name}' fetches it")
    try:
        matches = _matches(found, weights)
    except OSError as error:
        raise DataError(f"weights {found}: cannot be read: {error.strerror}") from None
    if not matches:
        remedy = f"give the path of {weights.file}" if path else f"'transgan download {weights.name}' replaces it"
        raise DataError(f"weights {found}: not the weights '{weights.name}' (its sha256 differs); {remedy}")
    return found


def download(weights: WeightFile) -> Path:
    """Download a weight file into the cache folder, check its hash, and return its path.

    A failed download leaves the cache folder as it was. Another file of that name stays, under a new name.

    Raises:
        DataError: the download fails, or the server returns another file.
        DiskError: the file cannot be written.
    """
    path = weights.path
    with disk_errors(path):
        make_folder(path.parent)
        with replacing_file(path) as file, share_bar(f"downloading {weights.name}") as done:
            for chunk in _chunks(weights):
                file.write(chunk)
                done(file.tell() / max(1, weights.size))
            if path.is_symlink() or (path.exists() and not _matches(path, weights)):
                set_aside(path)
    return path


def _matches(path: Path, weights: WeightFile) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256


def _chunks(weights: WeightFile) -> Iterator[bytes]:
    """Yield the file from its URL in chunks.

    Raises:
        DataError: the request fails, or, after the last chunk, size or hash are wrong.
    """
    by_hand = f"to install it by hand, copy it to {weights.path}"
    total, digest = 0, hashlib.sha256()
    try:
        with urlopen(Request(weights.url, headers={"User-Agent": "transgan"}), timeout=30) as response:
            while total <= weights.size and (chunk := response.read(_CHUNK)):
                total += len(chunk)
                digest.update(chunk)
                yield chunk
    except HTTPError as error:
        error.close()
        raise DataError(f"{weights.name}: cannot download {weights.url}: HTTP {error.code}; {by_hand}") from None
    except (OSError, ValueError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise DataError(f"{weights.name}: cannot download {weights.url}: {why}; {by_hand}") from None
    if total != weights.size:
        found = "more" if total > weights.size else f"{total:,} bytes"
        raise DataError(f"{weights.name}: {weights.url} returned {found}, expected {weights.size:,} bytes; {by_hand}")
    if digest.hexdigest() != weights.sha256:
        raise DataError(f"{weights.name}: {weights.url} returned another file (its sha256 differs); {by_hand}")
