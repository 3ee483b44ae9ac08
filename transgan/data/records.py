"""Records of files: what was computed of each, kept in the cache folder until the file changes."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from transgan.api.weights import cache_root
from transgan.rng import stable_hash
from transgan.storage import atomic


class Records:
    """Values by file, in one JSON file of the cache folder. Where it cannot be read or written, there are none.

    Args:
        kind: what was computed; a folder's name.
        key: what else the values follow from, such as the code that computes them.
        on_disk: False to keep them in memory.
    """

    def __init__(self, kind: str, *key: object, on_disk: bool = True):
        self.path = cache_root() / kind / f"{stable_hash(*key):016x}.json"
        self.on_disk = on_disk
        self.changed = False
        self.entries: dict[str, list[Any]] = {}
        if on_disk:
            with suppress(OSError, ValueError, RecursionError):
                loaded = json.loads(self.path.read_bytes())
                self.entries = loaded if isinstance(loaded, dict) else {}

    def get(self, name: str, status: os.stat_result) -> Any:
        """Return the value of a file, by its name; None where there is none, or the file has changed since."""
        entry = self.entries.get(name)
        known = isinstance(entry, list) and len(entry) == 3 and entry[:2] == [status.st_size, status.st_mtime_ns]
        return entry[2] if known and entry else None

    def put(self, name: str, status: os.stat_result, value: Any) -> None:
        """Set the value of a file: anything that JSON can hold."""
        self.entries[name] = [status.st_size, status.st_mtime_ns, value]
        self.changed = True

    def save(self) -> None:
        """Write them, if any has changed."""
        if self.on_disk and self.changed:
            with suppress(OSError), atomic.replacing_file(self.path, durable=False) as file:
                file.write(json.dumps(self.entries).encode())
            self.changed = False


def name_of(path: Path) -> str:
    """Return the name of a file in records."""
    return str(path.absolute())
