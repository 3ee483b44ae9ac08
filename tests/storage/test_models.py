"""Model folders: exact round trips, and malformed ones, which are refused in one line."""

import hashlib
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

from transgan.errors import DataError, DiskError, DivergedError, UsageError
from transgan.storage import atomic, digest, read_model, write_model

CONFIG = {"format": 1, "transgan": "0.1.0", "recipe": {"generator": {"name": "resnet"}}}
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(3), "half": torch.ones(5).bfloat16()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", TENSORS, CONFIG, "# A model\n")
    return tmp_path / "model"


@pytest.fixture
def unhashed(model: Path) -> Path:
    """A model without a hash of its weights, as earlier versions have written it, and as a stranger may."""
    (model / "config.json").write_text(json.dumps(CONFIG))
    return model


def test_read_model_equals_the_written_one(model: Path) -> None:
    tensors, config = read_model(model)
    assert digest({"": tensors}) == digest({"": TENSORS})
    assert config == CONFIG
    assert (model / "README.md").read_text() == "# A model\n"
    assert names(model.parent) == ["model"]


def test_model_replaces_the_previous_one(model: Path) -> None:
    write_model(model, {"b": torch.ones(1)}, {}, "")
    assert read_model(model)[0].keys() == {"b"}
    assert names(model.parent) == ["model"]


def test_model_replaces_leftovers_of_an_interrupted_replacement(model: Path) -> None:
    write_model(model.with_name(f"{atomic.BACKUP}{'0' * 32}-model"), TENSORS, {}, "")
    write_model(model, {"b": torch.ones(1)}, {}, "")
    assert read_model(model)[0].keys() == {"b"}
    assert names(model.parent) == ["model"]


def test_folder_with_other_content_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("kept")
    for place in (tmp_path, tmp_path / "photo.jpg"):
        with pytest.raises(UsageError, match=r"holds something other than a model|is a file"):
            write_model(place, TENSORS, {}, "")
    assert names(tmp_path) == ["photo.jpg"]


FOREIGN = {
    "notes": {"README.md": "# Notes"},
    "another library's model": {"config.json": '{"model_type": "bert"}', "model.safetensors": "1", "README.md": "1"},
    "damaged config": {"config.json": '{"format": 1, "transgan"', "model.safetensors": "1"},
    "weights alone": {"model.safetensors": "1"},
    "ours and notes": {"config.json": json.dumps(CONFIG), "notes.txt": "mine"},
    "ours and a hidden file": {"config.json": json.dumps(CONFIG), ".git": "mine"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_folder_that_only_looks_like_a_model_is_not_replaced(tmp_path: Path, files: dict[str, str]) -> None:
    """Of the kind: what has the names of our files, but was not written by us, stays."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=r"holds something other than a model of TransGAN: .*choose another folder"):
        write_model(tmp_path, TENSORS, CONFIG, "")
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == files


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_run_replaces_its_own_damaged_model_and_no_other(tmp_path: Path, kind: str) -> None:
    """Its own is known by the names of its files; a config.json that can be read says whose it is."""
    for name, text in FOREIGN[kind].items():
        (tmp_path / name).write_text(text)
    if kind in ("damaged config", "weights alone"):
        write_model(tmp_path, TENSORS, CONFIG, "", of_run=True)
        assert read_model(tmp_path)[1] == CONFIG
        return
    with pytest.raises(UsageError, match=r"holds something other than a model of TransGAN"):
        write_model(tmp_path, TENSORS, CONFIG, "", of_run=True)
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == FOREIGN[kind]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_folders_with_the_names_of_our_files_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "photo.jpg").write_text("kept")
    with pytest.raises(UsageError, match=rf"other than a model of TransGAN: {name} is in it"):
        write_model(tmp_path, TENSORS, CONFIG, "", of_run=True)
    assert (tmp_path / name / "photo.jpg").read_text() == "kept"


@pytest.mark.parametrize("before", ["empty", "ours"])
def test_current_folder_can_hold_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """A shell that is in the folder stays in it."""
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    if before == "ours":
        write_model(tmp_path, TENSORS, CONFIG, "first")
    write_model(Path(), {"b": torch.ones(1)}, CONFIG, "second")
    assert names(tmp_path) == ["README.md", "config.json", "model.safetensors"]
    assert read_model(Path())[0].keys() == {"b"} and Path("README.md").read_text() == "second"
    assert tmp_path.stat().st_ino == inode


def test_failed_write_to_the_current_folder_leaves_the_old_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    real, calls, failing = os.rename, [], [0]

    def rename(before: Path, after: Path) -> None:
        calls.append(before)
        if len(calls) in failing:
            raise OSError(5, "Input/output error", str(before))
        real(before, after)

    for at in range(1, 7):
        calls.clear()
        failing[:] = [at]
        with pytest.MonkeyPatch.context() as patch, pytest.raises(DiskError, match="Input/output error"):
            patch.setattr(os, "rename", rename)
            write_model(Path(), {"b": torch.ones(1)}, CONFIG, "")
        assert names(model) == ["README.md", "config.json", "model.safetensors"]
        assert read_model(model)[0].keys() == TENSORS.keys()


def test_link_to_a_model_stays_a_link(model: Path) -> None:
    link = model.with_name("link")
    link.symlink_to(model)
    write_model(link, {"b": torch.ones(1)}, CONFIG, "")
    assert link.readlink() == model and read_model(model)[0].keys() == {"b"}


def test_hidden_files_beside_a_model_stay(model: Path) -> None:
    (model.parent / ".old-model").mkdir()
    (model.parent / ".old-model/photo.jpg").write_text("kept")
    (model.parent / ".tmp-model-1").write_text("kept")
    write_model(model, {"b": torch.ones(1)}, CONFIG, "")
    assert names(model.parent) == [".old-model", ".tmp-model-1", "model"]
    assert (model.parent / ".old-model/photo.jpg").read_text() == "kept"


def test_non_finite_or_too_large_model_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="tensor 'w' is not finite; the model is not written"):
        write_model(tmp_path / "model", {"w": torch.tensor([1.0, float("nan")])}, {}, "")
    with pytest.raises(UsageError, match="20001 tensors are more than 20000"):
        write_model(tmp_path / "model", {str(n): torch.zeros(0) for n in range(20_001)}, {}, "")
    with pytest.raises(UsageError, match=r"config\.json: larger than 4 MiB"):
        write_model(tmp_path / "model", TENSORS, {"long": "x" * (4 << 20)}, "")
    assert not list(tmp_path.iterdir())


class Malicious:
    """An object that creates a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def weights_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start: Any, end: Any, shape: Any, kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "7 bytes": b"1234567",
    "a pickle": pickle.dumps(Malicious()),
    "zeros": bytes(1000),
    "a zip": b"PK\x03\x04" + bytes(100),
    "a header of 2**64 bytes": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a long header": weights_file(b"{}" + b" " * (9 << 20)),
    "a header longer than the file": weights_file(b"{}", length=3),
    "a list": weights_file([]),
    "numbers for entries": weights_file({"a": 1}),
    "lists for entries": weights_file({"a": [1]}),
    "strings for offsets": weights_file({"a": entry("a", "b", [1])}, bytes(4)),
    "one offset": weights_file({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}, bytes(4)),
    "no offsets": weights_file({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "infinite offsets": weights_file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[Infinity,1e999]}}', bytes(4)),
    "huge offsets": weights_file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,%s]}}' % (b"9" * 5000), bytes(4)),
    "large offsets": weights_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-%s,%s]}}' % (b"9" * 4300, b"9" * 4300)
    ),
    "an overlap": weights_file({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, bytes(8)),
    "a hole": weights_file({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)),
    "a negative size": weights_file({"a": entry(0, 8, [2]), "b": entry(8, 4, [1])}, bytes(4)),
    "a wrong shape": weights_file({"a": entry(0, 4, [2])}, bytes(4)),
    "a shape that overflows": weights_file({"a": entry(0, 4, [2**62, 4])}, bytes(4)),
    "a shape of lists": weights_file({"a": entry(0, 4, [[1]])}, bytes(4)),
    "an unknown type": weights_file({"a": entry(0, 4, [1], "OBJECT")}, bytes(4)),
    "trailing bytes": weights_file({"a": entry(0, 4, [1])}, bytes(5)),
    "a name twice": weights_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "many tensors": weights_file({str(n): entry(0, 0, [0]) for n in range(20_001)}),
    "deep nesting": weights_file(b"[" * 100_000),
    "invalid UTF-8": weights_file(b'{"\xff":1}'),
    "terminal escape codes": weights_file({"\x1b[31m\n": entry(0, 4, [1], "\x1b[2J\n")}, bytes(4)),
    "NaN": weights_file({"a": entry(0, 4, [1])}, struct.pack("<f", float("nan"))),
}


def assert_refused(model: Path) -> None:
    with pytest.raises(DataError) as refusal:
        read_model(model)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 500
    assert str(model) in str(refusal.value)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_weights_are_refused_in_one_line(
    unhashed: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unhashed.parent)
    (unhashed / "model.safetensors").write_bytes(data)
    assert_refused(unhashed)
    assert names(unhashed.parent) == ["model"]


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "pipe": make_pipe,
    "folder": make_folder,
    "loop": make_loop,
    "not JSON": lambda path: path.write_text("{'a': 1}"),
    "a list": lambda path: path.write_text("[1]"),
    "deep nesting": lambda path: path.write_text('{"a":' * 50_000),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\xfd"),
    "large": lambda path: os.truncate(path, (4 << 20) + 1),
}


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_folder_is_refused_in_one_line(model: Path, file: str, damage: Callable[[Path], object]) -> None:
    damage(model / file)
    assert_refused(model)


def test_paths_without_a_model_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        assert_refused(path)


def test_truncated_model_is_refused(model: Path) -> None:
    file = model / "model.safetensors"
    for length in reversed(range(file.stat().st_size)):
        os.truncate(file, length)
        assert_refused(model)


def test_file_longer_than_its_tensors_is_refused_unread(model: Path) -> None:
    os.truncate(model / "model.safetensors", 1 << 40)
    with pytest.raises(DataError, match="longer than its tensors"):
        read_model(model)


def test_weights_with_one_flipped_bit_are_refused(model: Path) -> None:
    file = model / "model.safetensors"
    intact = file.read_bytes()
    for place in range(8 * len(intact)):
        changed = bytearray(intact)
        changed[place // 8] ^= 1 << place % 8
        file.write_bytes(changed)
        assert_refused(model)
    with pytest.raises(DataError, match=r"model\.safetensors: damaged, or changed since it was written"):
        read_model(model)
    file.write_bytes(intact)
    assert digest({"": read_model(model)[0]}) == digest({"": TENSORS})


def test_the_recorded_hash_is_that_of_the_file(model: Path) -> None:
    recorded = json.loads((model / "config.json").read_text())
    assert recorded == {
        **CONFIG,
        "weights_sha256": hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest(),
    }
    for wrong in (3, [], "", recorded["weights_sha256"].upper()):
        (model / "config.json").write_text(json.dumps({**recorded, "weights_sha256": wrong}))
        assert_refused(model)


def test_a_model_of_an_earlier_version_has_no_hash_and_is_read(unhashed: Path) -> None:
    tensors, config = read_model(unhashed)
    assert digest({"": tensors}) == digest({"": TENSORS}) and config == CONFIG


def test_model_with_changed_bytes_is_read_or_refused(unhashed: Path) -> None:
    model = unhashed
    file = model / "model.safetensors"
    intact = file.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(2000):
        changed = bytearray(intact)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(intact))] = rng.randrange(256)
        with file.open("r+b") as opened:
            opened.write(changed)
        try:
            read_model(model)
        except DataError as error:
            assert str(error).isprintable()
            refused += 1
    assert refused > 1000
