import json
import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan.errors import DataError, DivergedError, UsageError
from transgan.runs import digest, read_model, write_model

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(3), "half": torch.ones(5).bfloat16()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", TENSORS, {"generator": {"name": "resnet"}}, "# A model\n")
    return tmp_path / "model"


def test_a_model_comes_back_as_it_was(model: Path) -> None:
    tensors, config = read_model(model)
    assert digest({"": tensors}) == digest({"": TENSORS})
    assert config == {"generator": {"name": "resnet"}}
    assert (model / "README.md").read_text() == "# A model\n"
    assert names(model.parent) == ["model"]


def test_a_model_replaces_the_one_before(model: Path) -> None:
    write_model(model, {"b": torch.ones(1)}, {}, "")
    assert read_model(model)[0].keys() == {"b"}
    assert names(model.parent) == ["model"]


def test_a_model_replaces_what_an_interrupted_replacement_left(model: Path) -> None:
    write_model(model.with_name(".old-model"), TENSORS, {}, "")
    write_model(model, {"b": torch.ones(1)}, {}, "")
    assert read_model(model)[0].keys() == {"b"}
    assert names(model.parent) == ["model"]


def test_a_folder_of_other_things_is_not_replaced_by_a_model(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("dear")
    for place in (tmp_path, tmp_path / "photo.jpg"):
        with pytest.raises(UsageError, match="holds something other than a model"):
            write_model(place, TENSORS, {}, "")
    assert names(tmp_path) == ["photo.jpg"]


def test_a_model_that_is_not_finite_or_too_large_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="tensor 'w' is not finite; the model is not written"):
        write_model(tmp_path / "model", {"w": torch.tensor([1.0, float("nan")])}, {}, "")
    with pytest.raises(UsageError, match="20001 tensors are more than 20000"):
        write_model(tmp_path / "model", {str(n): torch.zeros(0) for n in range(20_001)}, {}, "")
    with pytest.raises(UsageError, match=r"config\.json: larger than 4 MiB"):
        write_model(tmp_path / "model", TENSORS, {"long": "x" * (4 << 20)}, "")
    assert not list(tmp_path.iterdir())


class Evil:
    """What makes a folder if it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


def packed(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start: Any, end: Any, shape: Any, kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a few bytes": b"1234567",
    "a pickle": pickle.dumps(Evil()),
    "zeros": bytes(1000),
    "a zip": b"PK\x03\x04" + bytes(100),
    "an endless header": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a long header": packed(b"{}" + b" " * (9 << 20)),
    "a header longer than the file": packed(b"{}", length=3),
    "a list": packed([]),
    "numbers for entries": packed({"a": 1}),
    "lists for entries": packed({"a": [1]}),
    "texts for offsets": packed({"a": entry("a", "b", [1])}, bytes(4)),
    "one offset": packed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}, bytes(4)),
    "no offsets": packed({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "infinite offsets": packed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[Infinity,1e999]}}', bytes(4)),
    "huge numbers": packed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,%s]}}' % (b"9" * 5000), bytes(4)),
    "large numbers": packed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-%s,%s]}}' % (b"9" * 4300, b"9" * 4300)),
    "an overlap": packed({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, bytes(8)),
    "a hole": packed({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)),
    "a negative part": packed({"a": entry(0, 8, [2]), "b": entry(8, 4, [1])}, bytes(4)),
    "a wrong shape": packed({"a": entry(0, 4, [2])}, bytes(4)),
    "a shape that overflows": packed({"a": entry(0, 4, [2**62, 4])}, bytes(4)),
    "a shape of lists": packed({"a": entry(0, 4, [[1]])}, bytes(4)),
    "an unknown type": packed({"a": entry(0, 4, [1], "OBJECT")}, bytes(4)),
    "a tail": packed({"a": entry(0, 4, [1])}, bytes(5)),
    "a name twice": packed(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "many tensors": packed({str(n): entry(0, 0, [0]) for n in range(20_001)}),
    "depth": packed(b"[" * 100_000),
    "half a letter": packed(b'{"\xff":1}'),
    "a terminal's commands": packed({"\x1b[31m\n": entry(0, 4, [1], "\x1b[2J\n")}, bytes(4)),
    "not a number": packed({"a": entry(0, 4, [1])}, struct.pack("<f", float("nan"))),
}


def is_refused(model: Path) -> None:
    with pytest.raises(DataError) as refusal:
        read_model(model)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 500
    assert str(model) in str(refusal.value)


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_weights_are_refused_in_one_line(model: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    (model / "model.safetensors").write_bytes(data)
    is_refused(model)
    assert names(model.parent) == ["model"]


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


SPOILERS: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "pipe": a_pipe,
    "folder": a_folder,
    "loop": a_loop,
    "not JSON": lambda path: path.write_text("{'a': 1}"),
    "a list": lambda path: path.write_text("[1]"),
    "depth": lambda path: path.write_text('{"a":' * 50_000),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\xfd"),
    "large": lambda path: os.truncate(path, (4 << 20) + 1),
}


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_a_spoilt_folder_is_refused_in_one_line(model: Path, file: str, spoil: Callable[[Path], object]) -> None:
    spoil(model / file)
    is_refused(model)


def test_what_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        is_refused(path)


def test_a_model_cut_short_anywhere_is_refused(model: Path) -> None:
    file = model / "model.safetensors"
    for length in reversed(range(file.stat().st_size)):
        os.truncate(file, length)
        is_refused(model)


def test_a_file_far_longer_than_its_tensors_is_not_even_read(model: Path) -> None:
    os.truncate(model / "model.safetensors", 1 << 40)
    with pytest.raises(DataError, match="longer than its tensors"):
        read_model(model)


def test_a_model_with_changed_bytes_is_read_or_refused(model: Path) -> None:
    file = model / "model.safetensors"
    whole = file.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(2000):
        changed = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(whole))] = draw.randrange(256)
        with file.open("r+b") as opened:
            opened.write(changed)
        try:
            read_model(model)
        except DataError as error:
            assert str(error).isprintable()
            refused += 1
    assert refused > 1000
