"""What is inside the files of a checkpoint or a model: tensors as safetensors, all else as JSON."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

Groups = Mapping[str, Mapping[str, Tensor]]
"""Tensors by name in groups by name; each group becomes a file."""

MAX_HEADER, MAX_TENSORS, MAX_JSON = 8 << 20, 20_000, 4 << 20


class Damaged(Exception):
    """What is wrong, and in which file."""


def plain(tensor: Tensor) -> Tensor:
    """The numbers alone: on the CPU, in order, without a past."""
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors."""
    ready: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        ready[name] = plain(tensor)
        storage = ready[name].untyped_storage().data_ptr()
        if storage in storages:  # the format knows no shared storage
            ready[name] = ready[name].clone()
        storages.add(storage)
    return safetensors.torch.save(ready)


def unpack(name: str, data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file; they are copies, and the file may be replaced."""
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # whatever a hostile file provokes is the file's fault
        raise Damaged(f"{name}: {one_line(error)}") from error


def check_header(name: str, file: BinaryIO) -> None:
    """Refuse a safetensors file that promises too much before anything believes it; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise Damaged(f"{name}: not a safetensors file, or cut short")
    header = parse(name, file.read(length))
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise Damaged(f"{name}: {len(header)} tensors are more than {MAX_TENSORS}")
    try:
        total = sum(end - start for start, end in (entry["data_offsets"] for entry in header.values()))
    except (KeyError, TypeError, ValueError):
        raise Damaged(f"{name}: its header does not describe tensors") from None
    if total != size - 8 - length:
        raise Damaged(f"{name}: cut short, or longer than its tensors")
    file.seek(0)


def not_finite(groups: Groups) -> str | None:
    """The first tensor that holds an infinity or no number at all."""
    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and tensor.itemsize == 1:
                tensor = tensor.float()  # isfinite does not know 8-bit floats
            if not bool(torch.isfinite(tensor).all()):
                return f"{group}: tensor {name!r} is not finite"
    return None


def dump(value: Any) -> bytes:
    """A value as JSON."""
    return json.dumps(value, indent=1).encode()


def parse(name: str, data: bytes) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name}: not JSON: {one_line(error)}") from None
    if not isinstance(value, dict):
        raise Damaged(f"{name}: not a JSON object")
    return value


@contextmanager
def opened(path: Path, limit: int | None = None) -> Iterator[BinaryIO]:
    """A file to read, if it is one, and no larger than `limit` bytes."""
    if not path.is_file():  # opening a named pipe would wait for ever
        raise Damaged(f"{path.name}: not a file" if os.path.lexists(path) else f"{path.name}: missing")
    with path.open("rb") as file:
        if limit is not None:
            check_size(path.name, os.fstat(file.fileno()).st_size, limit)
        yield file


def check_size(name: str, size: int, limit: int) -> None:
    """Refuse a file of more than `limit` bytes."""
    if size > limit:
        raise Damaged(f"{name}: larger than {limit >> 20} MiB")


def one_line(thing: object) -> str:
    """On one line and harmless on a terminal, even if it quotes a hostile file."""
    text = str(thing) or type(thing).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
