"""The container `clip`: a model of pictures translates clips, frame by frame, and keeps what comes with them."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import Container, Options, UsageError
from transgan_video.clips import MAX_PIXELS, Clip
from transgan_video.pictures import is_animation
from transgan_video.reading import ANIMATIONS, FOLDER, STREAMS, open_clip
from transgan_video.steadying import Steadying
from transgan_video.writing import ClipWriter


class ClipOptions(Options):
    """Options of the container `clip`."""

    steady: float = Field(0.0, ge=0.0, lt=1.0)
    """Lowers flicker: how much of the previous result, warped along the motion of the source, is mixed into each frame
    where the source shows the same thing (0 to less than 1). 0.5 halves sudden changes; more smears them."""
    sound: bool = True
    """Keep the sound."""
    codec: str | None = None
    """FFmpeg's name of the encoder; defaults to libx264 for .mp4, .mov and .mkv, libvpx-vp9 for .webm, mpeg4 for
    .avi."""
    quality: int | None = Field(None, ge=0, le=63)
    """The encoder's constant quality (CRF), lower is better; defaults to 18 for libx264 and 24 for libvpx-vp9."""
    rate: float | None = Field(None, gt=0.0, le=1000.0)
    """Frames per second of a folder of frames (`NAME.frames`), which has no rate of its own; defaults to 25."""
    max_pixels: int = Field(MAX_PIXELS, ge=1)
    """Clips with more pixels in a frame are refused before they are decoded."""


class ClipContainer(Container[ClipOptions]):
    """Clips: MP4, MOV, WebM, MKV and AVI files, animated GIF, WebP and PNG files, and folders of frames whose names end
    in `.frames`. Results have the times, the size, the colours and the sound of their clip."""

    suffixes = (*STREAMS, *ANIMATIONS)
    folder_suffixes = (FOLDER,)
    media = ("image", "clip")

    def __init__(self, options: ClipOptions):
        super().__init__(options)
        self._clip: Clip | None = None

    def holds(self, path: Path) -> bool:
        """Return whether a file is a clip; of picture files, those with more than one frame."""
        return path.suffix.lower() not in ANIMATIONS or is_animation(path)

    def count(self, path: Path) -> int | None:
        return self._opened(path).count

    def transform(self, path: Path, result: Path, change: Callable[[Any], Any], note: str = "") -> None:
        _check_folder(result)
        clip, options = self._opened(path), self.options
        steadying = Steadying(options.steady) if options.steady else None
        with ClipWriter(result, clip, options.sound, None, options.quality, options.codec, note=note) as writer:
            for frame in clip.frames():
                pixels = _pixels(change(frame.pixels), clip.has_alpha)
                if steadying:
                    pixels = steadying(frame.pixels, pixels)
                writer.write(replace(frame, pixels=pixels))

    def _opened(self, path: Path) -> Clip:
        if self._clip is None or self._clip.path != path:  # opened once, so that what is to be said of it is said once
            rate = None if self.options.rate is None else Fraction(self.options.rate).limit_denominator(1001)
            self._clip = open_clip(path, rate, self.options.max_pixels)
        return self._clip


def _pixels(translated: Any, alpha: bool) -> np.ndarray:
    """Return a PIL image as (H, W, 3) uint8, or (H, W, 4) with opacity."""
    return np.asarray(translated.convert("RGBA" if alpha else "RGB"))


def _check_folder(result: Path) -> None:
    """Refuse to replace a folder that holds more than numbered frames.

    Raises:
        UsageError: it does.
    """
    if not result.is_dir():
        return
    other = [each.name for each in result.iterdir() if not re.fullmatch(r"\d+\.png", each.name)]
    if result.suffix.lower() != FOLDER or other:
        raise UsageError(f"{result}: a folder that holds {other[0] if other else 'files'}; it is not replaced")
