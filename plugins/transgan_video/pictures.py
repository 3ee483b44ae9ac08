"""Clips that are pictures, which Pillow reads: animated files, and folders of frames."""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from transgan.api import DataError, DataWarning
from transgan_video.clips import MAX_PIXELS, Clip, Frame, check_size

#: Suffixes of the frames in a folder of frames.
FRAMES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def is_animation(path: Path) -> bool:
    """Return whether a picture file has more than one frame; False where it cannot be read."""
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # damaged files raise many types of exceptions in Pillow
        return False


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Return what sorts names with numbers in them by these: 2 before 10."""
    return [(int(word), "") if word.isdecimal() else (-1, word.casefold()) for word in re.split(r"(\d+)", path.name)]


@contextmanager
def _pictures(path: Path) -> Iterator[Image.Image]:
    """Yield Pillow's image of a file; its errors become a DataError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            yield image
    except (DataError, DataWarning, MemoryError, GeneratorExit):
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path}: no picture that can be read") from None
    except Exception as error:  # damaged files raise many types of exceptions in Pillow
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read: {' '.join(why.split())}") from None


@dataclass(frozen=True)
class _Animation(Clip):
    def frames(self, first: int = 0, count: int | None = None) -> Iterator[Frame]:
        time, last, yielded = Fraction(0), None if count is None else first + count, 0
        with _pictures(self.path) as image:
            iterator = enumerate(islice(ImageSequence.Iterator(image), last))
            while True:
                try:
                    number, each = next(iterator)
                    pixels = np.asarray(each.convert("RGBA" if self.has_alpha else "RGB"))
                except StopIteration:
                    break
                except Exception as error:  # as above
                    if not yielded:
                        raise
                    message = f"{self.path}: its end cannot be read ({error}); it is read up to frame {yielded:,}"
                    warnings.warn(DataWarning(message), stacklevel=3)
                    break
                yielded += 1
                duration = _shown_for(each)
                if number >= first:
                    yield Frame(pixels, time, duration)
                time += duration


def _shown_for(image: Image.Image) -> Fraction:
    """Return for how many seconds a frame is shown; one that says less than 0.011 is shown for 0.1, as browsers do."""
    declared = image.info.get("duration") or 0
    duration = Fraction(declared).limit_denominator(1000) / 1000 if math.isfinite(declared) else Fraction(0)
    return duration if duration >= Fraction(11, 1000) else Fraction(1, 10)


def open_animation(path: Path, max_pixels: int) -> Clip:
    """Return the clip in a picture file that may be animated."""
    with _pictures(path) as image:
        check_size(path, *image.size, max_pixels)
        first = image.convert("RGBA")
        alpha = image.format == "GIF" or image.has_transparency_data
        count = int(getattr(image, "n_frames", 1))
        image.seek(0)
        rate = 1 / _shown_for(image)
        loops = image.info.get("loop")
        size, format = first.size, image.format or ""
    return _Animation(
        path=path,
        size=size,
        rate=rate,
        count=count,
        has_alpha=alpha,
        codec=format.lower(),
        loops=loops if isinstance(loops, int) else 1,
    )


@dataclass(frozen=True)
class _Folder(Clip):
    files: tuple[Path, ...] = ()
    max_pixels: int = MAX_PIXELS

    def frames(self, first: int = 0, count: int | None = None) -> Iterator[Frame]:
        last = None if count is None else first + count
        for number, path in list(enumerate(self.files))[first:last]:
            pixels = _picture(path, self.has_alpha, self.max_pixels)
            if pixels.shape[1::-1] != self.size:
                found, expected = (f"{width} x {height}" for width, height in (pixels.shape[1::-1], self.size))
                raise DataError(f"{path}: {found} pixels, and the first frame of its folder has {expected}")
            yield Frame(pixels, number / self.rate, 1 / self.rate)


def _picture(path: Path, alpha: bool | None, max_pixels: int) -> np.ndarray:
    """Return the pixels of a picture file, upright, with opacity where `alpha`, or where it is None and it has some."""
    with _pictures(path) as image:
        check_size(path, *image.size, max_pixels)
        upright = ImageOps.exif_transpose(image)
        alpha = upright.has_transparency_data if alpha is None else alpha
        return np.asarray(upright.convert("RGBA" if alpha else "RGB"))


def open_folder(path: Path, rate: Fraction, max_pixels: int) -> Clip:
    """Return the clip of the pictures in a folder."""
    try:
        names = sorted(path.iterdir(), key=natural_order)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    files = tuple(each for each in names if each.suffix.lower() in FRAMES and not each.name.startswith("."))
    if not files:
        raise DataError(f"{path}: no frames in it; expected files that end in {', '.join(FRAMES)}")
    first = _picture(files[0], None, max_pixels)
    return _Folder(
        path=path,
        size=(first.shape[1], first.shape[0]),
        rate=rate,
        count=len(files),
        has_alpha=first.shape[2] == 4,
        time_base=1 / rate,
        files=files,
        max_pixels=max_pixels,
    )
