"""What clips are written as: containers, encoders, pixels, colours and clocks, by the suffix of a file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from transgan_video.clips import Clip, Colours
from transgan_video.streams import pyav


@dataclass(frozen=True)
class Format:
    """What is written into a file with a suffix."""

    container: str
    """FFmpeg's name."""
    codec: str
    """FFmpeg's encoder of frames."""
    quality: int | None = None
    """The default of its constant quality (CRF), lower is better; None where the codec has none."""
    options: Mapping[str, str] | None = None
    """The encoder's."""
    sound: str = ""
    """FFmpeg's encoder of sound that the container cannot take as it is; empty where it takes none."""


_X264 = {"preset": "medium"}
_VP9 = {"deadline": "good", "cpu-used": "4", "row-mt": "1", "b": "0"}
#: Options of encoders that print beside FFmpeg.
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
#: By suffix. The defaults of quality are ones at which a viewer hardly sees a loss.
FORMATS = {
    ".mp4": Format("mp4", "libx264", 18, _X264, "aac"),
    ".m4v": Format("mp4", "libx264", 18, _X264, "aac"),
    ".mov": Format("mov", "libx264", 18, _X264, "aac"),
    ".mkv": Format("matroska", "libx264", 18, _X264, "aac"),
    ".avi": Format("avi", "mpeg4", None, {"qmin": "2", "qmax": "3"}, "libmp3lame"),
    ".webm": Format("webm", "libvpx-vp9", 24, _VP9, "libopus"),
    ".gif": Format("gif", "gif"),
    ".webp": Format("webp", "libwebp_anim", None, {"lossless": "0", "quality": "90"}),
    ".png": Format("apng", "apng"),
    ".apng": Format("apng", "apng"),
}
#: Encoders that take half as much colour as there are pixels for even sizes alone.
EVEN = ("libx264", "libx265")
#: Formats of animated pictures, which hold opacity and no sound, and loop; with FFmpeg's name of their pixels.
ANIMATIONS = {"gif": "pal8", "webp": "bgra", "apng": ""}
#: The least number of units of its clock for which a frame of an animated picture is shown: what says less than 0.011 s
#: is shown for 0.1 s by browsers.
SHORTEST = {"gif": 2, "webp": 11, "apng": 11}
#: Shares of red and blue in luma, by FFmpeg's number of the matrix for its scaler (ITU-T H.273, table 4).
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
#: Colours of what is written from pictures: BT.709, limited range.
_OF_PICTURES = Colours(1, 1, 1, 1)


def colours_of(format: Format, like: Clip | None) -> Colours:
    """Return how the numbers of a file stand for colours: as in the source, as far as the format can state it."""
    if format.container == "avi":
        return Colours()
    if like and like.pixel_format.startswith(("yuv", "nv", "p0", "gray")):
        return like.colours
    return _OF_PICTURES


def encoder_options(format: Format, name: str, quality: int | None) -> dict[str, str]:
    """Return the options of an encoder of frames, by FFmpeg's name."""
    own = name == format.codec
    options = dict((format.options if own else _QUIET.get(name)) or {})
    quality = format.quality if quality is None and own else quality
    if quality is not None:
        options["crf"] = str(quality)
    return options


def pixel_format_of(source: str, codec: Any) -> str:
    """Return the format of stored pixels: the subsampling of colour is that of the source, where the codec has it."""
    known = [each.name for each in codec.video_formats or ()]
    found = re.search("4(2[02]|44)", source)
    wanted = f"yuv{found[0] if found else '420'}p"
    if known and wanted not in known:
        return "yuv420p" if "yuv420p" in known else str(known[0])
    return wanted


def full_range(pixels: np.ndarray, matrix: int) -> Any:
    """Return RGB pixels (H, W, 3) uint8 as PyAV's frame of luma and chroma, all of full range and size.

    FFmpeg's scaler converts to the limited range first, which is up to 2 levels off.
    """
    red, blue = _WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    rows = [luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))]
    planes = pixels.astype(np.float32) @ np.array(rows, np.float32).T + np.array([0, 128, 128], np.float32)
    stored = np.rint(planes).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    return pyav().VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="yuv444p")


def time_base_of(format: Format, like: Clip | None, rate: Fraction) -> Fraction:
    if format.container == "gif":
        return Fraction(1, 100)
    if format.container in ("webp", "apng", "matroska", "webm"):
        return Fraction(1, 1000)
    if format.container == "avi" or like is None:
        return 1 / rate
    return like.time_base if like.time_base.numerator == 1 else 1 / rate


class Palettes:
    """Frames with 256 colours, chosen for each frame, dithered in a pattern that does not move."""

    def __init__(self, av: Any, width: int, height: int, time_base: Fraction):
        graph = self.graph = av.filter.Graph()
        self.source = graph.add_buffer(width=width, height=height, format="rgba", time_base=time_base)
        split = graph.add("split")
        generate = graph.add("palettegen", "stats_mode=single")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
        self.sink = graph.add("buffersink")
        self.source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(self.sink)
        graph.configure()
        self.av = av

    def of(self, picture: Any) -> list[Any]:
        pts, time_base = picture.pts, picture.time_base
        picture = picture.reformat(format="rgba")
        picture.pts, picture.time_base = pts, time_base
        self.source.push(picture)
        return self._pulled()

    def rest(self) -> list[Any]:
        self.source.push(None)
        return self._pulled()

    def _pulled(self) -> list[Any]:
        found = []
        while True:
            try:
                found.append(self.sink.pull())
            except (self.av.error.BlockingIOError, self.av.error.EOFError):
                return found
