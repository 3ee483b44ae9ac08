"""Starters: what a plugin knows of data for which it has a recipe, for `transgan init`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unicodedata import combining, normalize

from transgan.api.files import find_files
from transgan.errors import DataError

#: Folders that divide data into samples to train on and samples that are held out, by how their names begin.
_TRAINED = ("training", "train")
_HELD_OUT = ("testing", "test", "evaluation", "eval", "validation", "valid", "val", "held_out")

Changes = Mapping[str, Any]
"""Values of a recipe by their keys, as `--set` takes them: `{"train.steps": 2000}`; None takes a key out."""


class Unusable(DataError):
    """Data of this kind, and of no other, that have a fault: the reason is what a user has to mend."""


class TooFew(Unusable):
    """Data of this kind, but fewer than its recipe needs."""


@dataclass(frozen=True)
class Finding:
    """Data that suit a starter."""

    what: str
    """What was found, with counts, to stand behind a colon: `1,067 samples in trainA, 1,334 in trainB`."""
    changes: Changes
    """How the recipe names them: values of `data`, `domains`, `tasks`; `data.root` is set by the command."""


@dataclass(frozen=True)
class Setup:
    """The recipe for a machine: an installed one, and what differs from it."""

    recipe: str
    """The name of the installed recipe, without `extends`, whose comments are kept."""
    changes: Changes = field(default_factory=dict)
    time: str = ""
    """About how long it takes: `40 minutes on two cores`."""


@dataclass(frozen=True)
class Starter:
    """A recipe to begin with, for one kind of data."""

    name: str
    """What `--kind` calls the data: a word, in the plural."""
    title: str
    """The data in a line, to choose from: `two folders of arrays, of which no two belong together`."""
    why: str
    """A sentence or two on what is trained, and why that suits these data."""
    look: Callable[[Path], Finding]
    """Look at a folder, or a file; raises `DataError` with the reason where it is not of this kind, `Unusable` where it
    is and has a fault, and `TooFew` where it has too few files."""
    synthetic: Finding
    """What the recipe is trained on while there are no data."""
    setups: Mapping[str, Setup]
    """By machine: `cpu`, `gpu`, `apple`. Several GPUs have that of one, with batches and steps in proportion."""
    comments: Mapping[str, str] = field(default_factory=dict)
    """What is written beside values, by their keys, instead of the recipe's own comments."""
    advice: tuple[str, ...] = ()
    """What to change first, a line each: `losses.cycle   lower it if too little changes`."""
    rank: int = 0
    """Of several starters that suit the same data, the one with the highest is proposed."""

    def setup(self, machine: str) -> Setup:
        """Return the setup for a machine, or where there is none for it the first."""
        return self.setups.get(machine) or next(iter(self.setups.values()))


@dataclass(frozen=True)
class DomainFolder:
    """The folder of a domain, and its files."""

    name: str
    """A name for the domain."""
    path: str
    """The folder, relative to that of the data."""
    files: list[Path]
    held_out: str | None = None
    """The folder of its held-out samples."""
    held_out_files: list[Path] = field(default_factory=list)

    @property
    def selection(self) -> Any:
        """What `[domains]` says of it."""
        return {"path": self.path, "held_out": self.held_out} if self.held_out else self.path

    def __str__(self) -> str:
        held_out = f" ({len(self.held_out_files):,} held out in {self.held_out})" if self.held_out else ""
        return f"{len(self.files):,} in {self.path}{held_out}"


def domain_folders(
    root: Path,
    suffixes: tuple[str, ...],
    what: str = "files",
    fewest: int = 1,
    domains: Literal["two", "three or more"] | None = None,
) -> list[DomainFolder]:
    """Return the folders below one that are a domain each, as data sets arrange them; empty where there is none.

    These are `trainA`, `trainB`, `testA` and `testB`; or `train/cat`, `train/dog`, `val/cat` and `val/dog`; or else
    all folders. What is beside `train` folders is ignored.

    Args:
        root: the folder of the data.
        suffixes: the suffixes of files that count, in lower case.
        what: the files are, in the plural, for messages.
        fewest: how many a domain must have.
        domains: how many domains there must be.

    Raises:
        DataError: it is no folder, it cannot be read, or there are more or fewer domains.
        Unusable: there is one domain, and two are expected.
        TooFew: a domain has too few files.
    """
    if root.is_file():
        raise DataError(f"{root} is no folder")
    files: dict[tuple[str, ...], list[Path]] = {}
    for path in find_files(root).files:
        if path.suffix.lower() in suffixes:
            files.setdefault(path.relative_to(root).parts[:-1], []).append(path)

    def below(*parts: str) -> list[Path]:
        return [path for place, found in files.items() if place[: len(parts)] == parts for path in found]

    tops = list(dict.fromkeys(place[0] for place in files if place))
    inner = {place[:2] for place in files if len(place) > 1}
    pairs: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = []
    if trained := [top for top in tops if _rest(top, _TRAINED)]:
        for top in trained:
            rest = _rest(top, _TRAINED)
            pairs.append((rest, (top,), [(each,) for each in tops if _rest(each, _HELD_OUT) == rest]))
    elif whole := [top for top in tops if top.lower() in _TRAINED]:
        others = [top for top in tops if top.lower() in _HELD_OUT]
        for place in sorted(each for each in inner if each[0] == whole[0]):
            pairs.append((place[1], place, [(top, place[1]) for top in others if (top, place[1]) in inner]))
    else:
        pairs = [(top, (top,), []) for top in tops]
    names = _names([name for name, _, _ in pairs], root.resolve().name)
    folders = [
        DomainFolder(
            name,
            "/".join(place),
            below(*place),
            "/".join(held_out[0]) if held_out else None,
            below(*held_out[0]) if held_out else [],
        )
        for name, (_, place, held_out) in zip(names, pairs, strict=True)
    ]
    if domains and not (len(folders) == 2 if domains == "two" else len(folders) > 2):
        if len(folders) == 1 and domains == "two":  # files that no other number of domains explains
            raise Unusable(f"{root} has one folder with {what}, {folders[0].path}; expected {domains}")
        raise DataError(f"{root} has {len(folders)} folders with {what}; expected {domains}")
    if few := next((each for each in folders if len(each.files) < fewest), None):
        count = f"{len(few.files)} {what}" if len(few.files) > 1 else f"one of the {what}"
        raise TooFew(f"{few.path} has only {count}; expected {fewest} or more")
    return folders


def as_name(text: str, otherwise: str = "domain") -> str:
    """Return a text as a name in a recipe: letters, digits, `_` and `-`, 64 at most; `otherwise` where none is left."""
    text = "".join(each for each in normalize("NFKD", text) if not combining(each))  # accents are dropped
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:64] or otherwise


def _rest(folder: str, beginnings: tuple[str, ...]) -> str:
    """Return what follows `train` or `test` in a folder's name; empty where it is not such a folder's.

    `trainA`, `traina`, `train_cat` and `trainCat` are such names; `training` and `trains` are not.
    """
    match = re.fullmatch(rf"(?i:{'|'.join(beginnings)})(?:[_-]|(?=[A-Z0-9]|[ab]$))(\w{{1,64}})", folder)
    return match[1] if match and folder.lower() not in (*_TRAINED, *_HELD_OUT) else ""


def _names(folders: list[str], root: str) -> list[str]:
    """Return names of domains: of two folders A and B in a folder `horse2zebra` horse and zebra."""
    match = re.fullmatch(r"([A-Za-z]+)(?:2|_to_|-to-)([A-Za-z]+)", root)
    if match and [folder.upper() for folder in folders] == ["A", "B"] and match[1] != match[2]:
        return [match[1].lower(), match[2].lower()]
    names = [as_name(folder).lower() if len(folder) == 1 else as_name(folder) for folder in folders]
    return [name if names.count(name) == 1 else f"{name[:60]}_{i}" for i, name in enumerate(names)]
