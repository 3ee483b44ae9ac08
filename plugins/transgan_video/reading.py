"""Reading clips: files with frames in them, and folders of frames, in order, one frame in memory at a time."""

from fractions import Fraction
from pathlib import Path

from transgan.api import DataError
from transgan_video.clips import MAX_PIXELS, RATE, Clip
from transgan_video.pictures import open_animation, open_folder
from transgan_video.streams import open_streams

#: Suffixes of files with streams, which PyAV reads; of pictures that may be animated, which Pillow reads; of a folder
#: of frames.
STREAMS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
ANIMATIONS = (".gif", ".webp", ".png", ".apng")
FOLDER = ".frames"


def open_clip(path: str | Path, rate: Fraction | int | None = None, max_pixels: int = MAX_PIXELS) -> Clip:
    """Return the clip in a file, or in a folder of frames, which have the natural order of their names (2 before 10).

    Args:
        rate: of a folder of frames: frames per second, 25 by default.
        max_pixels: files with larger frames are refused, before they are decoded.

    Raises:
        DataError: it is missing, damaged, too large, or no clip; one line.
        PluginError: PyAV, which decodes it, is not installed.
    """
    path = Path(path)
    if path.is_dir():
        return open_folder(path, Fraction(rate or RATE), max_pixels)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if not path.is_file():
        raise DataError(f"{path}: not a regular file")  # opening a pipe would wait for its writer
    if not path.stat().st_size:
        raise DataError(f"{path}: an empty file")
    if path.suffix.lower() in ANIMATIONS:
        return open_animation(path, max_pixels)
    return open_streams(path, max_pixels)
