"""Checkpoints and models on disk: safetensors and JSON, written completely or not at all, without pickle."""

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transgan.errors import DataError, DiskError, DivergedError, UsageError
from transgan.storage import atomic, serialization
from transgan.storage.serialization import DamagedError, Groups

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
MANIFEST, STATE, SUFFIX = "MANIFEST.json", "state.json", ".safetensors"
NETWORKS = "networks" + SUFFIX
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MARKS = {"format", "transgan", "recipe"}
"""The keys by which TransGAN's config.json is known: others write files of that name too."""
HASH = "weights_sha256"
"""The key of config.json with the hash of the weights that were written with it. It tells damage, and no intent:
whoever can change the one file can change the other."""

_STEP = re.compile(r"step-[0-9]{8}")
_FILE = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """The state that a run needs to continue after `step`; its tensors are on the CPU."""

    path: Path
    step: int
    groups: "dict[str, dict[str, Tensor]]"
    state: dict[str, Any]


def save(
    folder: Path,
    step: int,
    groups: Groups,
    state: Mapping[str, Any],
    *,
    keep: int = 3,
    spare: int | None = None,
) -> Path:
    """Write the checkpoint `folder/step-<step>` completely or not at all, then delete old ones.

    Checkpoints of later steps are deleted too: a run that saves `step` continues from there, and must not resume from
    a step that belongs to an earlier attempt. What has the name of a checkpoint but no manifest is no checkpoint: it is
    not deleted, and renamed where it is in the way.

    Args:
        folder: the folder of all checkpoints; created where it is missing.
        step: completed steps, at most 8 digits.
        groups: the tensors; each group becomes `<group>.safetensors`.
        state: everything else, written as JSON.
        keep: number of checkpoints to keep, the newest ones.
        spare: a step whose checkpoint is kept as well.

    Returns:
        The checkpoint's folder.

    Raises:
        DivergedError: a tensor is not finite; nothing is written.
        DiskError: the checkpoint cannot be written, or reads back differently.
    """
    if not 0 <= step < 10**8 or keep < 1:
        raise ValueError(f"step {step} must have at most 8 digits, and keep {keep} be at least 1")
    if defect := serialization.find_non_finite(groups):
        raise DivergedError(f"{defect}; step {step} is not saved")
    names = [MANIFEST, STATE, *(group + SUFFIX for group in groups)]
    if not all(_FILE.fullmatch(name) for name in names):
        raise ValueError(f"these cannot be the files of one checkpoint: {names}")

    place = folder / f"step-{step:08d}"
    with atomic.disk_errors(place):
        atomic.make_folder(folder)
        atomic.sweep(folder)
        if os.path.lexists(place) and not is_checkpoint(place):
            atomic.set_aside(place)
        with atomic.replacing_folder(place) as temporary:
            files: dict[str, dict[str, int | str]] = {}
            for name, data in _contents(groups, state):
                atomic.write_new(temporary / name, data)
                files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            atomic.sync_folder(temporary)
            for name, written in files.items():
                size, sha256 = atomic.size_and_hash(temporary / name)
                if written != {"bytes": size, "sha256": sha256}:
                    raise OSError(errno.EIO, "the disk does not give back what was written", str(temporary / name))
            manifest = {"schema": SCHEMA, "step": step, "files": files}
            atomic.write_new(temporary / MANIFEST, serialization.to_json(manifest))
        steps = [name for name in _steps(folder) if is_checkpoint(folder / name)]
        position = steps.index(place.name) + 1
        for name in steps[position:]:  # else a resumed run would load one of these
            atomic.discard(folder / name)
    with suppress(OSError):  # the checkpoint is complete: the hint and the old checkpoints are not worth an error
        atomic.replace(folder / "LATEST", place.name.encode())
        for name in steps[: max(0, position - keep)]:
            if spare is None or name != f"step-{spare:08d}":
                atomic.discard(folder / name)
    return place


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest intact checkpoint.

    Returns:
        The checkpoint, or None where there is none, and for each newer, damaged one a line that names the defect.
    """
    rejected: list[str] = []
    for name in sorted(_steps(folder), reverse=True):
        try:
            return _load(folder / name), rejected
        except DamagedError as damage:
            rejected.append(f"{name}: {damage}")
    return None, rejected


def discard_after(folder: Path, step: int) -> None:
    """Delete the checkpoints of later steps than this one, of which there is an intact checkpoint.

    Raises:
        DiskError: that checkpoint is damaged, and nothing is deleted; or others cannot be deleted.
    """
    load(folder / f"step-{step:08d}")
    with atomic.disk_errors(folder):
        for later in saved_steps(folder):
            if later > step:
                atomic.discard(folder / f"step-{later:08d}")


def describe_newest(folder: Path, most: int | None = None) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]] | None:
    """Return the state of the newest checkpoint of which that is intact, and the shapes of its networks' tensors.

    No tensor is read, so that it can be asked for before anything else.

    Args:
        most: leave out checkpoints of later steps.
    """
    for name in sorted(_steps(folder), reverse=True):
        if most is not None and int(name.removeprefix("step-")) > most:
            continue
        with suppress(DamagedError, OSError, KeyError, TypeError):
            files = _read_manifest(folder / name)["files"]
            state = serialization.parse_json(STATE, _read_verified(folder / name / STATE, files[STATE]))
            with serialization.open_to_read(folder / name / NETWORKS) as file:
                return state, serialization.shapes(NETWORKS, file)
    return None


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, damaged ones included, in ascending order."""
    return [int(name.removeprefix("step-")) for name in _steps(folder) if is_checkpoint(folder / name)]


def load(path: Path) -> Checkpoint:
    """Load one checkpoint; verify the size and hash of each file.

    Raises:
        DiskError: the checkpoint is damaged.
    """
    try:
        return _load(path)
    except DamagedError as damage:
        raise DiskError(f"{path}: {damage}; resume goes on from the newest intact one") from None


def write_model(
    folder: Path, tensors: "Mapping[str, Tensor]", config: Mapping[str, Any], card: str, of_run: bool = False
) -> None:
    """Write or replace a model folder, completely or not at all.

    Args:
        folder: the model folder; if it exists, it must hold a model of TransGAN or nothing. The target of a link is
            replaced, not the link.
        tensors: the weights, for `model.safetensors`.
        config: the content of `config.json`, which gets the weights' hash besides.
        card: the model card, for `README.md`.
        of_run: see `check_model_place`.

    Raises:
        DivergedError: a tensor is not finite.
        UsageError: the model is too large to be read again, or `folder` holds other files.
        DiskError: the folder cannot be written.
    """
    if defect := serialization.find_non_finite({"model": tensors}):
        raise DivergedError(f"{defect}; the model is not written")
    data = serialization.to_safetensors(tensors)
    settings = serialization.to_json({**config, HASH: hashlib.sha256(data).hexdigest()})
    try:  # `read_model` would refuse such files
        serialization.check_header(WEIGHTS, io.BytesIO(data))
        serialization.check_size(CONFIG, len(settings), serialization.MAX_JSON)
    except DamagedError as damage:
        raise UsageError(f"the model is too large: {damage}") from None
    check_model_place(folder, of_run)
    place = Path(os.path.realpath(folder))
    with atomic.disk_errors(folder):
        atomic.make_folder(place.parent)
        with atomic.replacing_folder(place) as temporary:
            atomic.write_new(temporary / CONFIG, settings)
            atomic.write_new(temporary / WEIGHTS, data)
            atomic.write_new(temporary / CARD, card.encode())


def check_model_place(folder: Path, of_run: bool = False) -> None:
    """Check that a model can be written to a folder: it is missing or empty, or holds a model of TransGAN alone.

    Args:
        of_run: the folder is the place of a run's own model, which is replaced also where it is damaged. It is known by
            the names of its files, unless an intact config.json says that it is somebody else's.

    Raises:
        UsageError: it holds something else, or is a file.
        DiskError: it cannot be read.
    """
    with atomic.disk_errors(folder):
        if os.path.lexists(folder) and folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; choose another folder")
        inside = list(folder.iterdir()) if folder.is_dir() else []
        folders = {path.name for path in inside if path.is_dir() and not path.is_symlink()}
    names = {path.name for path in inside}
    if not names:
        return
    why = f"no {CONFIG} of TransGAN is in it"
    if foreign := sorted(names - {CONFIG, WEIGHTS, CARD} | folders):
        why = f"{serialization.shortened(foreign[0])} is in it"
    else:
        config: dict[str, Any] = {}
        with suppress(DamagedError, OSError):
            config = _read_config(folder)
        damaged = not config and names != {CARD}
        if config.keys() >= MARKS or (of_run and damaged):
            return
    raise UsageError(
        f"{folder} holds something other than a model of TransGAN: {why}; move that away or choose another folder"
    )


def read_model(folder: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read a model folder, which may come from an untrusted source.

    Returns:
        The tensors by name, on the CPU, and the content of `config.json` without the weights' hash.

    Raises:
        DataError: the folder is missing or damaged, the weights are not those that were written with the config, or a
            tensor is not finite.
    """
    try:
        if not folder.is_dir():
            raise DamagedError("not a folder")
        config = _read_config(folder)
        with serialization.open_to_read(folder / WEIGHTS) as file:
            serialization.check_header(WEIGHTS, file)
            data = file.read()
        written = config.pop(HASH, None)
        if written is not None and hashlib.sha256(data).hexdigest() != written:  # earlier versions have written none
            raise DamagedError(
                f"{WEIGHTS}: damaged, or changed since it was written: its sha256 differs from {HASH} in {CONFIG}; "
                "copy the folder again, or remove that key if the change was intended"
            )
        tensors = serialization.from_safetensors(WEIGHTS, data)
        del data  # else it would stay beside the tensors while these are checked
        if defect := serialization.find_non_finite({WEIGHTS: tensors}):
            raise DamagedError(defect)
    except DamagedError as damage:
        raise DataError(f"model {folder}: {damage}") from None
    except OSError as error:
        raise DataError(f"model {folder}: cannot read {error.filename}: {error.strerror}") from error
    return tensors, config


def _read_config(folder: Path) -> dict[str, Any]:
    with serialization.open_to_read(folder / CONFIG, serialization.MAX_JSON) as file:
        return serialization.parse_json(CONFIG, file.read())


def digest(groups: Groups) -> str:
    """Return a sha256 over all names, dtypes, shapes and bytes: two groups are identical if their digests are equal."""
    import torch

    total = hashlib.sha256()
    for group, tensors in sorted(groups.items()):
        for name, tensor in sorted(tensors.items()):
            values = serialization.detached(tensor)
            total.update(serialization.to_json([group, name, str(values.dtype), list(values.shape)]))
            total.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _contents(groups: Groups, state: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a checkpoint by name, one at a time: at most one group is in memory twice."""
    yield STATE, serialization.to_json(state)
    for group, tensors in groups.items():
        yield group + SUFFIX, serialization.to_safetensors(tensors)


def is_checkpoint(path: Path) -> bool:
    """Return whether `save` has written a folder, whatever its name; it may be damaged."""
    return path.is_dir() and not path.is_symlink() and (path / MANIFEST).is_file()


def has_checkpoint(folder: Path) -> bool:
    """Return whether `save` has written to a folder: some checkpoint in it has an intact manifest."""
    for path in (folder / name for name in _steps(folder)):
        with suppress(DamagedError, OSError):
            if is_checkpoint(path) and _read_manifest(path):
                return True
    return False


def _steps(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a folder, sorted by step."""
    try:
        return sorted(path.name for path in folder.iterdir() if _STEP.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _load(path: Path) -> Checkpoint:
    try:
        if path.is_symlink() or not path.is_dir():
            raise DamagedError("not a folder")
        manifest = _read_manifest(path)
        groups: dict[str, dict[str, Tensor]] = {}
        state: dict[str, Any] = {}
        for name, entry in manifest["files"].items():
            data = _read_verified(path / name, entry)
            if name == STATE:
                state = serialization.parse_json(name, data)
            elif name.endswith(SUFFIX):
                groups[name.removesuffix(SUFFIX)] = serialization.from_safetensors(name, data)
    except OSError as error:
        raise DamagedError(f"{Path(error.filename or path).name}: cannot be read: {error.strerror}") from error
    return Checkpoint(path, manifest["step"], groups, state)


def _read_manifest(path: Path) -> dict[str, Any]:
    data = _read(path / MANIFEST, serialization.MAX_JSON)
    manifest = serialization.parse_json(MANIFEST, data)
    schema, step, files = (manifest.get(key) for key in ("schema", "step", "files"))
    if type(schema) is int and schema > SCHEMA:
        found = serialization.shortened(schema)
        raise DamagedError(f"{MANIFEST}: schema {found} is newer than {SCHEMA}; update transgan")
    if (
        (type(schema), type(step), schema) != (int, int, SCHEMA)
        or not isinstance(files, dict)
        or STATE not in files
        or not all(_FILE.fullmatch(name) and _is_entry(entry) for name, entry in files.items())
        or data != serialization.to_json({"schema": schema, "step": step, "files": files})  # exactly what save writes
    ):
        raise DamagedError(f"{MANIFEST}: damaged")
    if _STEP.fullmatch(path.name) and path.name != f"step-{step:08d}":
        raise DamagedError(f"{MANIFEST}: belongs to step {serialization.shortened(step)}")
    return manifest


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and [(key, type(entry[key])) for key in entry] == [("bytes", int), ("sha256", str)]


def _read_verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    """Return a file's bytes: the same bytes that were hashed, read once."""
    data = _read(path)
    if len(data) != entry["bytes"]:
        raise DamagedError(f"{path.name}: {len(data)} bytes, {MANIFEST} says {serialization.shortened(entry['bytes'])}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise DamagedError(f"{path.name}: sha256 differs from {MANIFEST}")
    return data


def _read(path: Path, limit: int | None = None) -> bytes:
    if path.is_symlink():
        raise DamagedError(f"{path.name}: a link, not a file")
    with serialization.open_to_read(path, limit) as file:
        return file.read()
