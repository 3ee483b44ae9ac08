"""Finding files: hidden ones are skipped, linked folders followed without circles, and what is skipped is listed."""

import os
from pathlib import Path

import pytest

from transgan.api import DataError, FoundFiles, find_files


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(root: Path, pattern: str = "**/*") -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_files(root, pattern).files]


def skipped(found: FoundFiles, root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): why for path, why in found.skipped.items()}


def test_hidden_files_and_folders_are_skipped_and_listed(tmp_path: Path) -> None:
    """The kind: what tools leave in folders, at any depth; a hidden folder above the data is no matter."""
    root = tmp_path / ".data"
    touch(root, "a.png", "deep/er/b.png", ".DS_Store", "deep/.ipynb_checkpoints/b.png", "deep/er/._b.png")
    assert names(root) == ["a.png", "deep/er/b.png"]
    hidden = [".DS_Store", "deep/.ipynb_checkpoints", "deep/er/._b.png"]
    assert skipped(find_files(root), root) == dict.fromkeys(hidden, "hidden")
    assert names(root, "*/*/*") == names(root, "**/b.png") == ["deep/er/b.png"]
    assert names(root, "*") == ["a.png"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.png", "elsewhere/deep/2.png", "root/own/3.png")
    root = tmp_path / "root"
    (root / "a_link").symlink_to(tmp_path / "elsewhere")
    (root / "b_link").symlink_to(tmp_path / "elsewhere")
    (root / "a_link_to_own").symlink_to(root / "own")
    (root / "file.png").symlink_to(tmp_path / "elsewhere/1.png")
    assert names(root) == ["a_link/1.png", "a_link/deep/2.png", "file.png", "own/3.png"]
    why = "a link to a folder that is read already"
    assert skipped(find_files(root), root) == {"a_link_to_own": why, "b_link": why}
    assert names(root, "a_*/**/*.png") == ["a_link/1.png", "a_link/deep/2.png", "a_link_to_own/3.png"]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    """The kind: a link to its own folder, to one above the root, and two folders that link to each other."""
    touch(tmp_path, "up/root/1.png", "up/2.png", "other/3.png")
    root = tmp_path / "up/root"
    (root / "self").symlink_to(root)
    (root / "above").symlink_to(tmp_path / "up")
    (root / "other").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(root)
    assert names(root) == ["1.png", "above/2.png", "other/3.png"]


def test_broken_links_and_what_is_no_file_are_listed(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_files(tmp_path)
    assert not found.files
    assert skipped(found, tmp_path) == {"broken.png": "a broken link", "pipe.png": "not a regular file"}


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing cannot be read: No such file"):
        find_files(tmp_path / "nothing")
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"a\.png cannot be read: Not a directory"):
        find_files(tmp_path / "a.png")
