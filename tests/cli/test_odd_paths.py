"""Paths of every form: not valid UTF-8, with control characters, `~`, pipes and devices, without a home."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

BYTES = os.fsdecode(b"caf\xe9")
NAMES = [BYTES, "a\nb", "a\x1b[31mred", "~photo", "a\u202eb", "[red]a", "-x", "%s{}", "a b"]

needs_unix = pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of bytes")


@pytest.fixture
def folders(recipe: Path, tmp_path: Path, write_image: Any) -> Path:
    """The recipe on two folders whose files have odd names."""
    text = recipe.read_text().replace(
        'source = { use = "synthetic_faces", count = 16 }', f'source = "folders"\nroot = "{tmp_path}/data"'
    )
    path = tmp_path / "folders.toml"
    path.write_text(text.replace("{ age = [20, 30] }", '"a"').replace("{ age = [50, 60] }", '"b"'))
    for folder in ("a", "b"):
        for i, name in enumerate(NAMES):
            write_image(tmp_path / f"data/{folder}/x{i}.png").rename(tmp_path / f"data/{folder}/{name}.png")
    return path


@needs_unix
def test_files_of_any_name_are_checked_trained_on_and_measured(transgan: Any, folders: Path, tmp_path: Path) -> None:
    """Of the kind: every command that hashes, prints, logs or stores the name of a file."""
    checked = transgan("check", folders)
    assert checked.code == 0 and checked.out.endswith("It will run.\n")
    assert all(line.isprintable() for line in checked.out.splitlines())
    out = tmp_path / f"run-{BYTES}"
    done = transgan("run", folders, "--out", out)
    assert done.code == 0, done.err
    assert all(line.isprintable() for line in (done.out + done.err).splitlines())
    assert all(line.isprintable() for line in (out / "log.txt").read_text().splitlines())
    assert transgan("resume", out, "-q").code == 0
    assert transgan("info", out).code == 0
    measured = transgan("evaluate", out, "-o", tmp_path / f"{BYTES}.json")
    assert measured.code == 0, measured.err
    assert (tmp_path / f"{BYTES}.json").is_file()


@needs_unix
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_of_any_name_is_translated(
    transgan: Any, model: Path, tmp_path: Path, write_image: Any, name: str
) -> None:
    out = tmp_path / f"out-{BYTES}"
    write_image(tmp_path / "x.png").rename(tmp_path / f"{name}.png")
    done = transgan("translate", model, "--to", "old", "-o", out, "--", f"{name}.png")
    assert done.code == 0, done
    assert (out / f"{name}.png").is_file() and all(line.isprintable() for line in done.out.splitlines())
    missing = transgan("translate", model, "--to", "old", "-o", out, "--", f"{name}-missing.png").error(3)
    assert missing.isprintable() and "no such file or folder" in missing


@needs_unix
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.timeout(120)
def test_a_pipe_or_a_device_is_not_waited_for(
    transgan: Any, model: Path, recipe: Path, tmp_path: Path, kind: str
) -> None:
    """Of the kind: every command that opens a file whose path the user gives."""
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    transgan("translate", model, path, "--to", "old").error(3)
    transgan("check", path).error(2)
    transgan("info", path).error(3)
    transgan("import", path, "-o", tmp_path / "imported").error(3)
    transgan("resume", path).error(2)
    if kind != "folder":
        transgan("run", recipe, "--set", f"data.root={path}", "--set", "data.source=folders").error(3)
    folder = shutil.copytree(model, tmp_path / "model")
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(folder / "kept")
        path.rename(folder / name)
        transgan("info", folder).error(3)
        (folder / name).rename(path)
        (folder / "kept").rename(folder / name)


@pytest.mark.parametrize("path", ["~nosuchuser", "~nosuchuser/x.png", "~photo.png"])
def test_a_tilde_without_such_a_user(transgan: Any, model: Path, recipe: Path, write_image: Any, path: str) -> None:
    assert "no such file" in transgan("translate", model, path, "--to", "old").error(3)
    assert "no recipe" in transgan("check", path).error(2)
    assert "does not exist" in transgan("info", path).error(3)
    assert "not the folder of a run" in transgan("resume", path).error(2)
    assert "no such file" in transgan("import", path, "-o", "imported").error(3)
    error = transgan("check", recipe, "--set", f"data.root={path}", "--set", "data.source=folders").error(3)
    assert "does not exist" in error


def test_without_a_home_everything_works(transgan: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("TRANSGAN_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert transgan("check", recipe).code == 0
    assert transgan("download").code == 0
    assert not Path("~").exists()


@pytest.mark.parametrize("ending", ["png", ".png", "PNG"])
def test_an_ending_may_lack_its_dot(transgan: Any, model: Path, write_image: Any, tmp_path: Path, ending: str) -> None:
    write_image(tmp_path / "x.jpg")
    done = transgan("translate", model, "x.jpg", "--to", "old", "--ending", ending, "-o", "out")
    assert done.code == 0 and (tmp_path / "out" / f"x.{ending.lstrip('.')}").is_file()


def test_addresses_and_files_in_place_of_folders(transgan: Any, model: Path, write_image: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "x.jpg")
    error = transgan("translate", model, "https://example.org/x.jpg", "--to", "old").error(3)
    assert error.startswith("https:/example.org/x.jpg: no such file or folder. It looks like an address, and nothing")
    error = transgan("translate", model, "x.jpg", "--to", "old", "-o", "y.jpg").error(2)
    assert "looks like a file; expected a folder" in error
    assert not Path("y.jpg").exists()
