"""Checkpoints: exact round trips, damage, and which ones are kept."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan.errors import DiskError, DivergedError
from transgan.storage import atomic, digest, load, newest, save
from transgan.storage.checkpoints import MANIFEST

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int64, torch.bool]


def groups(step: int = 0) -> dict[str, dict[str, Tensor]]:
    return {
        "networks": {"generator.w": torch.full((2, 3), 0.5 + step), "steps": torch.tensor(step)},
        "history": {"fake": torch.arange(6, dtype=torch.uint8)},
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save_steps(folder: Path, *steps: int, **options: Any) -> None:
    for step in steps:
        save(folder, step, groups(step), {"step": step}, **options)


def test_loaded_checkpoint_equals_the_saved_one(tmp_path: Path) -> None:
    saved = {str(dtype): torch.randn(3, 5).to(dtype) for dtype in DTYPES}
    saved |= {"none": torch.zeros(0, 4), "scalar": torch.tensor(3.5), "long name / with spaces": torch.ones(1)}
    saved |= {"complex": torch.randn(3, dtype=torch.complex64).conj(), "tiny": torch.ones(3).to(torch.float8_e4m3fn)}
    state = {"step": 7, "best": 0.1 + 0.2, "names": ["ä", "\n"], "none": None, "deep": {"rng": [2**63, -1]}}
    path = save(tmp_path / "new" / "checkpoints", 7, {"all": saved, "empty": {}}, state)
    assert path.name == "step-00000007"
    found = load(path)
    assert (found.path, found.step, found.state) == (path, 7, state)
    assert digest(found.groups) == digest({"all": saved, "empty": {}})
    for name, tensor in saved.items():
        back = found.groups["all"][name]
        assert (back.dtype, back.shape, back.device.type) == (tensor.dtype, tensor.shape, "cpu")
        assert torch.equal(
            back.float() if back.itemsize == 1 else back, tensor.float() if back.itemsize == 1 else tensor
        )


def test_views_shared_storage_and_parameters_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "base": base,
        "same": base,
        "part": base[1],
        "transposed": base.transpose(0, 2),
        "expanded": base[0, 0, :1].expand(5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    found = load(save(tmp_path, 1, {"all": tensors}, {}))
    for name, tensor in tensors.items():
        assert torch.equal(found.groups["all"][name], tensor), name
    found.groups["all"]["base"].zero_()  # each tensor owns its memory
    assert torch.equal(found.groups["all"]["same"], base)


def test_loaded_tensors_do_not_depend_on_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, 1, groups(1), {})
    found = load(path)
    for file in path.glob("*.safetensors"):
        file.write_bytes(bytes(file.stat().st_size))
    assert digest(found.groups) == digest(groups(1))


def test_newest_is_found_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2, 3, 100, keep=2)
    found, rejected = newest(tmp_path)
    assert found and found.step == 100 and rejected == []
    assert names(tmp_path) == ["LATEST", "step-00000003", "step-00000100"]
    assert (tmp_path / "LATEST").read_text() == "step-00000100"


def test_saving_an_earlier_step_deletes_later_ones(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2, 3)
    save_steps(tmp_path, 2)
    found, rejected = newest(tmp_path)
    assert found and found.step == 2 and rejected == []


def test_save_deletes_leftovers_of_an_interrupted_one(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    (tmp_path / (atomic.TEMPORARY + "0" * 32)).mkdir()
    (tmp_path / "step-00000001").rename(tmp_path / f"{atomic.BACKUP}{'0' * 32}-step-00000001")
    save_steps(tmp_path, 2)
    assert names(tmp_path) == ["LATEST", "step-00000001", "step-00000002"]


def test_what_only_has_the_name_of_a_checkpoint_is_never_deleted(tmp_path: Path) -> None:
    """Of the kind: what is in the way of a write, and was not written by us, stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "MANIFEST.json").write_text("kept")
    folder = tmp_path / "checkpoints"
    save_steps(folder, 2)
    (folder / "step-00000001").write_text("kept")
    (folder / "step-00000003").mkdir()
    (folder / "step-00000003/notes.txt").write_text("kept")
    (folder / "step-00000004").symlink_to(outside)
    save_steps(folder, 2, 3, keep=1)
    assert (outside / "MANIFEST.json").read_text() == "kept"
    assert (folder / "step-00000001").read_text() == "kept"
    assert (folder / "step-00000004").readlink() == outside
    (aside,) = folder.glob("step-00000003.*")
    assert (aside / "notes.txt").read_text() == "kept"
    assert load(folder / "step-00000003").step == 3
    assert not (folder / "step-00000002").exists()  # ours, and older than the one that is kept


def test_folder_without_checkpoints_has_no_newest(tmp_path: Path) -> None:
    for name in (
        f"{atomic.TEMPORARY}{'0' * 32}",
        "step-9",
        "step-000000009",
        "a-step-00000009",
        "step-00000009x",
        "step-0000000٣",
    ):
        (tmp_path / name).mkdir()
    assert newest(tmp_path) == (None, [])
    assert newest(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_non_finite_values_are_refused_before_writing(tmp_path: Path, number: float, dtype: torch.dtype) -> None:
    bad = torch.ones(3, 3).to(dtype)
    bad[1, 1] = number
    with pytest.raises(DivergedError, match=r"^ema: tensor 'w' is not finite; step 5 is not saved$"):
        save(tmp_path / "checkpoints", 5, {"networks": {"w": torch.ones(1)}, "ema": {"w": bad}}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stem", ["a/b", ".."])
def test_invalid_file_names_are_refused(tmp_path: Path, stem: str) -> None:
    with pytest.raises(ValueError, match="cannot be the files"):
        save(tmp_path, 1, {stem: {}}, {})
    assert not list(tmp_path.iterdir())


def test_state_that_is_not_json_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save(tmp_path, 1, {}, {"set": {1}})
    assert not list(tmp_path.iterdir())


def test_tensor_that_cannot_be_saved_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="complex128"):
        save(tmp_path, 1, {"a": {"w": torch.ones(2)}, "b": {"w": torch.zeros(3, dtype=torch.complex128)}}, {})
    assert not list(tmp_path.iterdir())


def test_every_changed_byte_is_detected(tmp_path: Path) -> None:
    path = save(tmp_path, 1, groups(1), {"step": 1})
    rng = random.Random(0)
    for file in sorted(path.iterdir()):
        intact = file.read_bytes()
        for _ in range(200):
            place = rng.randrange(len(intact))
            with file.open("r+b") as changed:
                changed.seek(place)
                changed.write(bytes([intact[place] ^ rng.randrange(1, 256)]))
            with pytest.raises(DiskError):
                load(path)
            with file.open("r+b") as changed:
                changed.write(intact)
        for length in sorted(rng.sample(range(len(intact)), min(len(intact), 20)), reverse=True):
            os.truncate(file, length)
            with pytest.raises(DiskError):
                load(path)
        file.write_bytes(intact)
    assert load(path).step == 1


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    change(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1))


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def make_it_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def link_the_folder(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def link_a_file(path: Path) -> None:
    (path / "state.json").rename(path.parent / "state.json")
    (path / "state.json").symlink_to(path.parent / "state.json")


def put_a_folder_for_a_file(path: Path) -> None:
    (path / "state.json").unlink()
    (path / "state.json").mkdir()


def keep_only_the_manifest(path: Path) -> None:
    for file in path.iterdir():
        if file.name != MANIFEST:
            file.unlink()


def shorten(path: Path) -> None:
    os.truncate(path / "networks.safetensors", 10)


def change_a_byte(path: Path) -> None:
    data = (path / "networks.safetensors").read_bytes()
    (path / "networks.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def rename(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.parent / "step-00000001", path)


def name_a_file_outside(path: Path) -> None:
    edit(path, lambda manifest: manifest["files"].update({"../secret": manifest["files"]["state.json"]}))


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (empty, "MANIFEST.json: missing"),
    (make_it_a_file, "not a folder"),
    (link_the_folder, "not a folder"),
    (link_a_file, "state.json: a link, not a file"),
    (put_a_folder_for_a_file, "state.json: not a file"),
    (keep_only_the_manifest, "state.json: missing"),
    (lambda path: (path / "history.safetensors").unlink(), "history.safetensors: missing"),
    (lambda path: (path / MANIFEST).unlink(), "MANIFEST.json: missing"),
    (
        lambda path: (path / MANIFEST).write_text(""),
        "MANIFEST.json: not JSON: Expecting value",
    ),
    (lambda path: (path / MANIFEST).write_text("[" * 100_000), "MANIFEST.json: not JSON: maximum recursion"),
    (lambda path: (path / MANIFEST).write_text("[]"), "MANIFEST.json: not a JSON object"),
    (lambda path: (path / MANIFEST).write_bytes(b"\xff\xfe\x00"), "MANIFEST.json: not JSON"),
    (lambda path: os.truncate(path / MANIFEST, 5 << 20), "MANIFEST.json: larger than 4 MiB"),
    (shorten, "networks.safetensors: 10 bytes, MANIFEST.json says 168"),
    (change_a_byte, "networks.safetensors: sha256 differs from MANIFEST.json"),
    (rename, "MANIFEST.json: belongs to step 1"),
    (name_a_file_outside, "MANIFEST.json: damaged"),
    (lambda path: edit(path, lambda manifest: manifest["files"].pop("state.json")), "MANIFEST.json: damaged"),
    (lambda path: edit(path, lambda manifest: manifest.update(files=[])), "MANIFEST.json: damaged"),
    (lambda path: edit(path, lambda manifest: manifest.update(step=True)), "MANIFEST.json: damaged"),
    (lambda path: edit(path, lambda manifest: manifest.update(extra=1)), "MANIFEST.json: damaged"),
    (lambda path: edit(path, lambda manifest: manifest.update(schema=2)), "MANIFEST.json: schema 2 is newer than 1"),
]


@pytest.mark.parametrize(("damage", "defect"), DAMAGES)
def test_damaged_checkpoint_is_rejected_and_the_one_before_is_loaded(
    tmp_path: Path, damage: Callable[[Path], object], defect: str
) -> None:
    folder = tmp_path / "checkpoints"
    save_steps(folder, 1, 2)
    damage(folder / "step-00000002")
    found, rejected = newest(folder)
    assert found and found.step == 1 and digest(found.groups) == digest(groups(1))
    assert len(rejected) == 1 and rejected[0].startswith(f"step-00000002: {defect}") and "\n" not in rejected[0]
    with pytest.raises(DiskError, match="resume goes on from the newest intact one"):
        load(folder / "step-00000002")
    save_steps(folder, 2)  # the run continues, and replaces the damaged checkpoint
    found, rejected = newest(folder)
    assert found and found.step == 2 and rejected == []


def test_files_missing_from_the_manifest_are_not_read(tmp_path: Path) -> None:
    path = save(tmp_path, 1, groups(1), {})
    (path / "other.safetensors").write_bytes(b"other")
    (path / ".DS_Store").write_bytes(b"")
    assert load(path).groups.keys() == groups().keys()


def test_digest_differs_for_every_difference() -> None:
    one = torch.arange(4, dtype=torch.float32)
    variants: list[dict[str, dict[str, Tensor]]] = [
        {"a": {"x": one}},
        {"b": {"x": one}},
        {"a": {"y": one}},
        {"a": {"x": one.reshape(2, 2)}},
        {"a": {"x": one.view(torch.int32)}},
        {"a": {"x": one.flip(0)}},
        {"a": {"x": one, "y": one}},
        {"a": {"x": one}, "b": {}, "c": {"y": torch.zeros(0)}},
        {"a": {"x": -0.0 * one}},
        {"a": {"x": 0.0 * one}},
    ]
    assert len({digest(variant) for variant in variants}) == len(variants)
    assert digest({"b": {}, "a": {"y": one, "x": one.clone()}}) == digest({"a": {"x": one, "y": one}, "b": {}})
