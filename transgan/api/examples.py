"""Example files: what a plugin can make, without any data, to try a model on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Examples:
    """Files to try a model on, and commands to try; `transgan samples` writes them.

    Raises:
        ValueError: there is no file, or a path leads out of the folder.
    """

    name: str
    """A unique name: what the files show, in a word or two."""
    files: tuple[str, ...]
    """The paths of the files below the folder that the user names, with `/`."""
    summary: str
    """What they are, in a few words."""
    commands: tuple[str, ...]
    """Commands to try, in which `{0}` stands for the first file, and `{folder}` for the folder of it."""
    write: Callable[[Path, int], None]
    """`write(folder, seed)` writes the files below a folder: the same for the same seed. A `PluginError`, as `require`
    raises it, says which extra they need."""

    def __post_init__(self) -> None:
        paths = [PurePosixPath(each) for each in self.files]
        if not paths or any(not each.parts or each.is_absolute() or ".." in each.parts for each in paths):
            raise ValueError(f"examples {self.name!r}: found files {list(self.files)}; expected paths below a folder")
