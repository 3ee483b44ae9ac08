"""Files with streams of frames, which PyAV reads: all that can be decoded of them, upright, in order."""

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from transgan.api import DataError, DataWarning, require
from transgan_video.clips import MAX_PIXELS, RATE, Clip, Colours, Frame, check_size

#: FFmpeg's names of interpolation, with every bit of accuracy: bicubic, chroma in full, rounded accurately.
ACCURATE = 4 | 0x2000 | 0x4000 | 0x40000
FULL_RANGE = 2
#: Transfer functions of high dynamic range: PQ and HLG.
_HIGH_RANGE = (16, 18)
#: FFmpeg's: no file leads to other files or to a network, as playlists do.
_FILES_ALONE = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi",
}
#: A file that ends this many seconds, or two frames, before the end that it declares, is broken.
_TOLERANCE = 0.1


def pyav() -> Any:
    """Return the module `av`, whose FFmpeg prints nothing.

    Raises:
        PluginError: it is not installed.
    """
    return require("av", "video", "reading and writing clips")


@dataclass(frozen=True)
class _Streams(Clip):
    orientation: tuple[int, int, int, int] = (1, 0, 0, 1)
    max_pixels: int = MAX_PIXELS

    def frames(self, first: int = 0, count: int | None = None) -> Iterator[Frame]:
        last = None if count is None else first + count
        for number, (frame, time, duration) in enumerate(islice(self._decoded(), last)):
            if number >= first:
                yield Frame(self._pixels(frame), time, duration)

    def _decoded(self) -> Iterator[tuple[Any, Fraction, Fraction]]:
        """Yield PyAV's frames with their times and durations, each once the next one is known."""
        waiting: tuple[Any, Fraction] | None = None
        for frame in _Decoder(self.path, self.max_pixels, self.rate):
            time = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
            if waiting:
                if time is None or time <= waiting[1]:  # the file does not say, or says nothing that can be
                    time = waiting[1] + 1 / self.rate
                yield *waiting, time - waiting[1]
            waiting = frame, time or Fraction(0)
        if waiting:
            frame = waiting[0]
            duration = (getattr(frame, "duration", 0) or 0) * Fraction(frame.time_base or 0)
            yield *waiting, duration or 1 / self.rate

    def _pixels(self, frame: Any) -> np.ndarray:
        turned = self.orientation[0] == 0
        width, height = self.size[::-1] if turned else self.size
        converted = frame.reformat(
            width=width,
            height=height,
            format="rgba" if self.has_alpha else "rgb24",
            src_colorspace=self.colours.scaler_matrix(height),
            src_color_range=_range_of(frame.format.name, self.colours),
            dst_color_range=FULL_RANGE,
            interpolation=ACCURATE,
        )
        return _upright(converted.to_ndarray(), self.orientation)


def _range_of(pixel_format: str, colours: Colours) -> int:
    """Return FFmpeg's number of the range of a file's numbers: limited where it does not say."""
    return FULL_RANGE if pixel_format.startswith("yuvj") or colours.range == FULL_RANGE else 1


class _Decoder:
    """PyAV's frames of the first stream of frames in a file: all that can be decoded.

    Iterating warns at its end, once, of what cannot.
    """

    def __init__(self, path: Path, max_pixels: int, rate: Fraction | None = None):
        self.path = path
        self.max_pixels = max_pixels
        self.rate = rate
        self.count = 0
        self.damaged = 0
        self.ends: dict[int, float] = {}
        """Where the packets of each stream end, in seconds."""
        self.packets = 0
        """Of the frames, read so far."""
        self.broken = False
        """Whether the file has ended before the end that it declares."""

    def __iter__(self) -> Iterator[Any]:
        av = pyav()
        with opened(self.path, self.max_pixels) as container:
            stream = frame_stream(self.path, container)
            stream.thread_type = "AUTO"
            context = _context_with_opacity(stream) or stream.codec_context
            context.options = {"max_pixels": str(self.max_pixels)}
            for packet in self._packets(container):
                if packet.stream.index != stream.index:
                    continue
                self.packets += bool(packet.size)
                try:
                    frames = context.decode(packet)
                except av.error.MemoryError:
                    raise
                except (av.error.FFmpegError, ValueError):
                    self.damaged += 1
                    continue
                for frame in frames:
                    self.count += 1
                    self.damaged += bool(frame.is_corrupt)
                    yield frame
            self.broken |= self._ends_early(container, stream) or _is_cut(self.path, container)
            end = self.ends.get(stream.index, 0.0)
        self._report(end)

    def _ends_early(self, container: Any, stream: Any) -> bool:
        """Return whether the frames end early, or where their end is not declared, all streams."""
        frame = 1 / float(self.rate or RATE)
        tolerance, declared = max(_TOLERANCE, 2 * frame), 0.0
        if stream.duration:
            declared, end = float(stream.duration * stream.time_base), self.ends.get(stream.index, 0.0)
            start = float((stream.start_time or 0) * stream.time_base)
            if stream.frames > self.packets:
                tolerance = frame / 2
        elif container.duration:
            # Matroska's, which counts from 0, also where all begins later.
            declared, end, start = container.duration / pyav().time_base, max(self.ends.values(), default=0.0), 0.0
        return bool(declared) and start + declared - end > tolerance

    def _packets(self, container: Any) -> Iterator[Any]:
        """Yield the packets of all streams, as far as they can be read, and note where they end."""
        av = pyav()
        try:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self.ends[packet.stream.index] = max(self.ends.get(packet.stream.index, 0.0), end)
                self.broken |= bool(packet.size and packet.is_corrupt)  # the file ends inside of it
                yield packet
        except av.error.MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            self.broken = True

    def _report(self, end: float) -> None:
        if not self.count:
            limit = f"max_pixels = {self.max_pixels:,}"
            raise DataError(f"{self.path}: no frame can be decoded; it is not complete, or larger than {limit}")
        if self.damaged or self.broken:
            frames = "a damaged frame" if self.damaged == 1 else f"{self.damaged} damaged frames"
            what = frames if self.damaged else "its end is missing"
            message = f"{self.path}: {what}; it is read as far as it can be, up to frame {self.count:,}"
            warnings.warn(DataWarning(f"{message}, {end:.2f} s"), stacklevel=4)


def _is_cut(path: Path, container: Any) -> bool:
    """Return whether an MP4 or MOV file ends inside of its media, or of what describes a part of them.

    One that is written in parts says nothing else of its end: a duration is that of the parts that are there.
    """
    return _is_mp4(container) and _cut_box(path)[0] in (b"mdat", b"moof", b"")


def _is_mp4(container: Any) -> bool:
    return "mp4" in container.format.name.split(",")


def _cut_box(path: Path) -> tuple[bytes | None, int]:
    """Return the name and the place of the box that an MP4 or MOV file ends inside of; None if of none.

    Boxes (ISO/IEC 14496-12, 4.2) say how long they are. The name is empty where the file ends before the whole of it;
    a few zeros at the end are not the beginning of a box.
    """
    place, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            length, name, longer = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            length = {0: size - place, 1: longer}.get(length, length)  # to the end of the file; of 64 bits
            if place + length > size:
                return name, place
            place += max(8, length)
        file.seek(place)
        return (b"" if any(file.read()) else None), place


@contextmanager
def opened(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Any]:
    """Yield PyAV's container of a file; every error of FFmpeg becomes a DataError of one line."""
    av = pyav()
    options = {**_FILES_ALONE, "max_pixels": str(max_pixels)}  # it decodes frames to learn their format
    try:
        container = _container(path, options)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: no clip that can be read: {' '.join(why.split())}") from None
    try:
        yield container
    except (av.error.FFmpegError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {' '.join(why.split())}") from None
    finally:
        container.close()


def _container(path: Path, options: dict[str, str]) -> Any:
    """Return PyAV's container of a file, or of the whole parts before the one that an MP4 file ends inside of.

    FFmpeg reads what describes each part when it opens a file, and refuses all where the last of these is cut.
    """
    av = pyav()
    try:
        return av.open(str(path.absolute()), metadata_errors="replace", options=options)
    except (av.error.InvalidDataError, av.error.EOFError):
        name, place = _cut_box(path)
        if name != b"moof":
            raise
        beginning = f"subfile,,start,0,end,{place},,:{path.absolute()}"
        protocols = {"protocol_whitelist": "file,subfile"}
        return av.open(beginning, metadata_errors="replace", options=options | protocols)


def frame_stream(path: Path, container: Any) -> Any:
    """Return the first stream of frames that is no cover picture.

    Raises:
        DataError: there is none, or FFmpeg has no decoder for it.
    """
    av = pyav()
    streams = [each for each in container.streams.video if not _is_cover(each)]
    if not streams:
        kinds = sorted({each.type for each in container.streams})
        raise DataError(f"{path}: holds no frames; its streams: {', '.join(kinds) or 'none'}")
    context = streams[0].codec_context
    if context is None or not _has_decoder(av, context):
        name = getattr(context, "name", None) or "unknown"
        if name == "unknown" and _is_mp4(container) and _cut_box(path)[0] is not None:
            raise DataError(
                f"{path}: no clip that can be read: the file ends inside of its index, so it is not complete"
            )
        raise DataError(f"{path}: its codec ({name}) cannot be decoded here; convert it, for example to H.264")
    return streams[0]


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(getattr(stream, "disposition", ""))


def _has_decoder(av: Any, context: Any) -> bool:
    try:
        return bool(av.codec.Codec(context.name, "r"))
    except Exception:  # depends on PyAV's version
        return False


def _holds_opacity(stream: Any) -> bool:
    """Return whether a stream of Matroska says that its packets have others with opacity beside them (AlphaMode)."""
    return any(key.lower() == "alpha_mode" and value == "1" for key, value in stream.metadata.items())


def _context_with_opacity(stream: Any) -> Any:
    """Return what decodes VP8 and VP9 with opacity, which FFmpeg's own decoders leave away; None for other streams."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.codec.canonical_name)
    if name is None or not _holds_opacity(stream):
        return None
    try:
        context = pyav().codec.CodecContext.create(name, "r")
    except ValueError:  # this FFmpeg has no libvpx
        return None
    context.thread_count = 0  # as many as there are cores
    return context


def open_streams(path: Path, max_pixels: int) -> Clip:
    """Return the clip in a file with streams."""
    with opened(path, max_pixels) as container:
        stream = frame_stream(path, container)
        context = stream.codec_context
        check_size(path, context.width, context.height, max_pixels)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or RATE
        count, has_sound = stream.frames or None, bool(container.streams.audio)
        aspect, codec, time_base = stream.sample_aspect_ratio, context.name, stream.time_base
        opacity = _holds_opacity(stream)
    decoder = iter(_Decoder(path, max_pixels))
    frame = next(decoder)
    decoder.close()  # type: ignore[attr-defined]
    colours = Colours(int(frame.color_range), int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace))
    if colours.transfer in _HIGH_RANGE:
        warnings.warn(DataWarning(f"{path}: of high dynamic range; it is read at 8 bits"), stacklevel=3)
    if opacity and not _has_alpha(frame.format):
        warnings.warn(DataWarning(f"{path}: its opacity cannot be read here; frames are opaque"), stacklevel=3)
    orientation = _orientation(frame)
    check_size(path, frame.width, frame.height, max_pixels)
    pixel_aspect = Fraction(aspect) if aspect else Fraction(1)
    size = (frame.width, frame.height)
    if orientation[0] == 0:
        size, pixel_aspect = size[::-1], 1 / pixel_aspect
    return _Streams(
        path=path,
        size=size,
        rate=Fraction(rate),
        count=count,
        has_sound=has_sound,
        pixel_aspect=pixel_aspect,
        has_alpha=_has_alpha(frame.format),
        pixel_format=frame.format.name,
        codec=codec,
        colours=colours,
        time_base=Fraction(time_base),
        orientation=orientation,
        max_pixels=max_pixels,
    )


def _has_alpha(format: Any) -> bool:
    return bool(re.search("yuva|rgba|bgra|argb|abgr|gbrap|ya", format.name)) or format.name == "pal8"


def _orientation(frame: Any) -> tuple[int, int, int, int]:
    """Return the signs of a frame's display matrix, (a, b, c, d): pixel (x, y) is shown at (ax + cy, bx + dy)."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except (AttributeError, KeyError):
        data = None
    if data is None:
        return (1, 0, 0, 1)
    numbers = np.frombuffer(bytes(data), np.int32)
    a, b, c, d = (float(numbers[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):  # turned by less than 45 degrees beside a half turn: not resampled
        return (1 if a >= 0 else -1, 0, 0, 1 if d >= 0 else -1)
    return (0, 1 if b >= 0 else -1, 1 if c >= 0 else -1, 0)


def _upright(pixels: np.ndarray, orientation: tuple[int, int, int, int]) -> np.ndarray:
    """Return pixels (H, W, C) as they are shown."""
    a, b, c, d = orientation
    if a == 0:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])
