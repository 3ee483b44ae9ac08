"""Checkpoints and models on disk: safetensors and JSON, whole or not at all, and never a pickle."""

import errno
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transgan.errors import DataError, DiskError, DivergedError, UsageError
from transgan.runs import _disk, _files
from transgan.runs._files import Damaged

Groups = _files.Groups
SCHEMA = 1
MANIFEST, STATE, SUFFIX = "MANIFEST.json", "state.json", ".safetensors"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

_STEP = re.compile(r"step-[0-9]{8}")
_FILE = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs in order to go on from `step`; its tensors are on the CPU."""

    path: Path
    step: int
    groups: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save(
    folder: Path,
    step: int,
    groups: Groups,
    state: Mapping[str, Any],
    *,
    keep: int = 3,
    spare: int | None = None,
    texts: Mapping[str, str] = {},
) -> Path:
    """Write `folder/step-<step>`, whole or not at all, then let go of all but the newest `keep`, and that of `spare`.

    A run that saves `step` goes on from there: checkpoints of later steps, which it did not or could not resume from,
    are let go of as well. Nothing is written when a tensor is not finite.
    """
    if not 0 <= step < 10**8 or keep < 1:
        raise ValueError(f"step {step} must have at most 8 digits, and keep {keep} be at least 1")
    if unfit := _files.not_finite(groups):
        raise DivergedError(f"{unfit}; step {step} is not saved")
    documents = {STATE: _files.dump(state), **{name: text.encode() for name, text in texts.items()}}
    names = [MANIFEST, STATE, *texts, *(group + SUFFIX for group in groups)]
    if len(set(names)) < len(names) or not all(_FILE.fullmatch(name) for name in names):
        raise ValueError(f"these cannot be the files of one checkpoint: {names}")

    place = folder / f"step-{step:08d}"
    with _disk.blame(place):
        _disk.make(folder)
        _disk.sweep(folder)
        with _disk.replacing(place) as aside:
            files: dict[str, dict[str, int | str]] = {}
            for name, data in _contents(groups, documents):
                _disk.write(aside / name, data)
                files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            _disk.sync(aside)
            for name, written in files.items():
                size, sha256 = _disk.measure(aside / name)
                if written != {"bytes": size, "sha256": sha256}:
                    raise OSError(errno.EIO, "the disk does not give back what was written", str(aside / name))
            _disk.write(aside / MANIFEST, _files.dump({"schema": SCHEMA, "step": step, "files": files}))
        steps = _steps(folder)
        here = steps.index(place.name) + 1
        for name in steps[here:]:  # else a resume would take one of these
            _disk.discard(folder / name)
    with suppress(OSError):  # the checkpoint is safe: neither a hint nor tidying up is worth an error
        _disk.replace(folder / "LATEST", place.name.encode())
        for name in steps[: max(0, here - keep)]:
            if spare is None or name != f"step-{spare:08d}":
                _disk.discard(folder / name)
    return place


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest good checkpoint, and for each newer one a line that says why it was rejected."""
    rejected: list[str] = []
    for name in sorted(_steps(folder), reverse=True):
        try:
            return _load(folder / name), rejected
        except Damaged as damage:
            rejected.append(f"{name}: {damage}")
    return None, rejected


def load(path: Path) -> Checkpoint:
    """One checkpoint, every byte of it verified."""
    try:
        return _load(path)
    except Damaged as damage:
        raise DiskError(f"{path}: {damage}; resume from another checkpoint") from None


def write_model(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], card: str) -> None:
    """Write a model's folder, or replace it, whole or not at all."""
    if unfit := _files.not_finite({"model": tensors}):
        raise DivergedError(f"{unfit}; the model is not written")
    data, settings = _files.pack(tensors), _files.dump(config)
    try:  # never write what cannot be read again
        _files.check_header(WEIGHTS, io.BytesIO(data))
        _files.check_size(CONFIG, len(settings), _files.MAX_JSON)
    except Damaged as unfit:
        raise UsageError(f"the model is too large: {unfit}") from None
    with _disk.blame(folder):
        if folder.is_file() or (folder.is_dir() and {path.name for path in folder.iterdir()} - {CONFIG, WEIGHTS, CARD}):
            raise UsageError(f"{folder} holds something other than a model; choose a new folder")
        _disk.make(folder.parent)
        with _disk.replacing(folder) as aside:
            _disk.write(aside / CONFIG, settings)
            _disk.write(aside / WEIGHTS, data)
            _disk.write(aside / CARD, card.encode())


def read_model(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the configuration of a model's folder, which may come from anybody."""
    try:
        if not folder.is_dir():
            raise Damaged("not a folder")
        with _files.opened(folder / CONFIG, _files.MAX_JSON) as file:
            config = _files.parse(CONFIG, file.read())
        with _files.opened(folder / WEIGHTS) as file:
            _files.check_header(WEIGHTS, file)
            tensors = _files.unpack(WEIGHTS, file.read())
        if unfit := _files.not_finite({WEIGHTS: tensors}):
            raise Damaged(unfit)
    except Damaged as damage:
        raise DataError(f"model {folder}: {damage}") from None
    except OSError as error:
        raise DataError(f"model {folder}: cannot read {error.filename}: {error.strerror}") from error
    return tensors, config


def digest(groups: Groups) -> str:
    """One hash of all names, types, shapes and bytes: equal for what is identical, and for nothing else."""
    total = hashlib.sha256()
    for group, tensors in sorted(groups.items()):
        for name, tensor in sorted(tensors.items()):
            numbers = _files.plain(tensor)
            total.update(_files.dump([group, name, str(numbers.dtype), list(numbers.shape)]))
            total.update(numbers.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _contents(groups: Groups, documents: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The files of a checkpoint one after the other, so that only one group at a time is in memory twice."""
    yield from documents.items()
    for group, tensors in groups.items():
        yield group + SUFFIX, _files.pack(tensors)


def _steps(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if _STEP.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _load(path: Path) -> Checkpoint:
    try:
        if path.is_symlink() or not path.is_dir():
            raise Damaged("not a folder")
        manifest = _manifest(path)
        groups: dict[str, dict[str, Tensor]] = {}
        state: dict[str, Any] = {}
        for name, entry in manifest["files"].items():
            data = _verified(path / name, entry)
            if name == STATE:
                state = _files.parse(name, data)
            elif name.endswith(SUFFIX):
                groups[name.removesuffix(SUFFIX)] = _files.unpack(name, data)
    except OSError as error:
        raise Damaged(f"{Path(error.filename or path).name}: cannot be read: {error.strerror}") from error
    return Checkpoint(path, manifest["step"], groups, state)


def _manifest(path: Path) -> dict[str, Any]:
    data = _read(path / MANIFEST, _files.MAX_JSON)
    manifest = _files.parse(MANIFEST, data)
    schema, step, files = (manifest.get(key) for key in ("schema", "step", "files"))
    if type(schema) is int and schema > SCHEMA:
        raise Damaged(f"{MANIFEST}: schema {_files.one_line(schema)} is newer than {SCHEMA}; update transgan")
    if (
        (type(schema), type(step), schema) != (int, int, SCHEMA)
        or not isinstance(files, dict)
        or STATE not in files
        or not all(_FILE.fullmatch(name) and _is_entry(entry) for name, entry in files.items())
        or data != _files.dump({"schema": schema, "step": step, "files": files})  # not a byte but what we write
    ):
        raise Damaged(f"{MANIFEST}: damaged")
    if _STEP.fullmatch(path.name) and path.name != f"step-{step:08d}":
        raise Damaged(f"{MANIFEST}: is of step {_files.one_line(step)}")
    return manifest


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and [(key, type(entry[key])) for key in entry] == [("bytes", int), ("sha256", str)]


def _verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    """The bytes of a file: what is used is what was hashed."""
    data = _read(path)
    if len(data) != entry["bytes"]:
        raise Damaged(f"{path.name}: {len(data)} bytes, {MANIFEST} says {_files.one_line(entry['bytes'])}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise Damaged(f"{path.name}: sha256 differs from {MANIFEST}")
    return data


def _read(path: Path, limit: int | None = None) -> bytes:
    if path.is_symlink():
        raise Damaged(f"{path.name}: a link, not a file")
    with _files.opened(path, limit) as file:
        return file.read()
