"""The content of the files of checkpoints and models: tensors as safetensors, everything else as JSON."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from transgan.text import printable

if TYPE_CHECKING:
    from torch import Tensor

Groups: TypeAlias = "Mapping[str, Mapping[str, Tensor]]"
"""Tensors by name, in groups by name; each group becomes a file."""

MAX_HEADER, MAX_TENSORS, MAX_JSON, MAX_NESTING = 8 << 20, 20_000, 4 << 20, 32


class DamagedError(Exception):
    """A file is missing, damaged or malformed; the message names the file and the defect."""


def detached(tensor: "Tensor") -> "Tensor":
    """Return a tensor's values: on the CPU, contiguous, without gradient history."""
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def to_safetensors(tensors: "Mapping[str, Tensor]") -> bytes:
    """Return the bytes of a safetensors file that holds these tensors."""
    import safetensors.torch

    ready: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        ready[name] = detached(tensor)
        storage = ready[name].untyped_storage().data_ptr()
        if storage in storages:  # the format does not support shared storage
            ready[name] = ready[name].clone()
        storages.add(storage)
    return safetensors.torch.save(ready)


def from_safetensors(name: str, data: bytes) -> "dict[str, Tensor]":
    """Return the tensors of a safetensors file; they own their memory, so the file may be replaced.

    Args:
        name: the file's name, for error messages.
        data: the file's bytes.

    Raises:
        DamagedError: the data are not a valid safetensors file.
    """
    import safetensors.torch

    try:
        return safetensors.torch.load(data)
    except Exception as error:  # a malformed file can raise anything
        raise DamagedError(f"{name}: {shortened(error)}") from error


def shapes(name: str, file: BinaryIO) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file's tensors, by name, without reading these.

    Raises:
        DamagedError: the header is malformed.
    """
    check_header(name, file)
    header = parse_json(name, file.read(int.from_bytes(file.read(8), "little")))
    return {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"}


def check_header(name: str, file: BinaryIO) -> None:
    """Check that a safetensors header is small and consistent with the file's size; then seek to the file's start.

    This comes before the file is read, so that a malformed file cannot make the reader allocate much memory.

    Raises:
        DamagedError: the header is malformed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise DamagedError(f"{name}: not a safetensors file, or truncated")
    header = parse_json(name, file.read(length))
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise DamagedError(f"{name}: {len(header)} tensors are more than {MAX_TENSORS}")
    try:
        total = sum(end - start for start, end in (entry["data_offsets"] for entry in header.values()))
    except (KeyError, TypeError, ValueError):
        raise DamagedError(f"{name}: its header does not describe tensors") from None
    if total != size - 8 - length:
        raise DamagedError(f"{name}: truncated, or longer than its tensors")
    file.seek(0)


def find_non_finite(groups: Groups) -> str | None:
    """Return a message that names the first tensor with a NaN or an infinity, or None."""
    import torch

    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and tensor.itemsize == 1:
                tensor = tensor.float()  # isfinite does not support 8-bit floats
            if not bool(torch.isfinite(tensor).all()):
                return f"{group}: tensor {name!r} is not finite"
    return None


def to_json(value: Any) -> bytes:
    """Return a value as indented JSON."""
    return json.dumps(value, indent=1).encode()


def parse_json(name: str, data: bytes) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Args:
        name: the file's name, for error messages.
        data: the file's bytes.

    Raises:
        DamagedError: the data are not JSON, or not an object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{name}: not JSON: {shortened(error)}") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{name}: not a JSON object")
    if _is_nested_deeper(value, MAX_NESTING):
        raise DamagedError(f"{name}: nested deeper than {MAX_NESTING} levels")
    return value


def _is_nested_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (dict, list))
        ]
    return bool(level)


@contextmanager
def open_to_read(path: Path, limit: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file of at most `limit` bytes to read.

    Raises:
        DamagedError: it is missing, larger, or not a regular file.
    """
    if not path.is_file():  # opening a named pipe would block
        raise DamagedError(f"{path.name}: not a file" if os.path.lexists(path) else f"{path.name}: missing")
    with path.open("rb") as file:
        if limit is not None:
            check_size(path.name, os.fstat(file.fileno()).st_size, limit)
        yield file


def check_size(name: str, size: int, limit: int) -> None:
    """Raise `DamagedError` where a size exceeds `limit` bytes."""
    if size > limit:
        raise DamagedError(f"{name}: larger than {limit >> 20} MiB")


def shortened(value: object) -> str:
    """Return a value's text, at most 200 characters on one line, without control characters of an untrusted file."""
    return printable(str(value)[:200]) or type(value).__name__
