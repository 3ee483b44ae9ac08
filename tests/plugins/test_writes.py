"""What every media writes: a complete file, or what stood there before; never what a link there links to."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_images.media import ImageMedia, ImageOptions
from transgan_voice import spectrogram_images
from transgan_voice.audio import Sound
from transgan_voice.media import VoiceMedia, VoiceMediaOptions

from transgan.api import Column, DiskError
from transgan.storage import atomic

pytest.importorskip("soundfile")

Write = Callable[[Path], object]


def write_image(path: Path) -> None:
    media = ImageMedia(ImageOptions(), 8)
    media.write(media.read(np.full((8, 9, 3), 90, np.uint8)), path)


def write_sheet(path: Path) -> None:
    ImageMedia(ImageOptions(), 8).preview({"a": Column("a", [torch.zeros(3, 8, 8)])}, path)


def write_sound(path: Path) -> None:
    VoiceMedia(VoiceMediaOptions(), 16).write(Sound(np.zeros(4000, np.float32), 16_000), path)


def save_sound(path: Path) -> None:
    Sound(np.zeros(4000, np.float32), 16_000).save(path)


def save_spectrogram(path: Path) -> None:
    spectrogram_images.save(Image.new("RGB", (8, 8)), path)


WRITES = [
    *((write_image, f"a{suffix}") for suffix in ImageMedia.suffixes),
    *((write_sound, f"a{suffix}") for suffix in VoiceMedia.suffixes),
    *((write_sheet, "a.png"), (save_sound, "a.wav"), (save_spectrogram, "a.png")),
]


@pytest.mark.parametrize(("write", "name"), WRITES)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_failed_write_leaves_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, name: str, call: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"mine")

    class FullDisk:
        def __getattr__(self, attribute: str) -> Any:
            return fail if attribute == call else getattr(os, attribute)

    def fail(*words: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "os", FullDisk())
    with pytest.raises(DiskError, match=rf"{name}: cannot be written: No space left on device") as error:
        write(path)
    assert str(path) in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == [name] and path.read_bytes() == b"mine"


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_link_is_replaced_and_not_followed(tmp_path: Path, write: Write, name: str) -> None:
    original, path = tmp_path / "original", tmp_path / name
    original.write_bytes(b"mine")
    path.symlink_to(original)
    write(path)
    assert original.read_bytes() == b"mine" and not path.is_symlink() and path.stat().st_size > 20
