"""Writing clips frame by frame, with the times, the colours and the sound of the clip that they come from."""

import errno
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from transgan.api import DataError, DataWarning, DiskError, UsageError, make_folder, replacing_file, replacing_folder
from transgan_video.clips import RATE, Clip, Colours, Frame
from transgan_video.reading import FOLDER
from transgan_video.streams import ACCURATE, FULL_RANGE, opened, pyav


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
_EVEN = ("libx264", "libx265")
#: Formats of animated pictures, which hold opacity and no sound, and loop; with FFmpeg's name of their pixels.
_ANIMATIONS = {"gif": "pal8", "webp": "bgra", "apng": ""}
#: Shares of red and blue in luma, by FFmpeg's number of the matrix for its scaler (ITU-T H.273, table 4).
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
#: Colours of what is written from pictures: BT.709, limited range.
_OF_PICTURES = Colours(1, 1, 1, 1)
#: Keys of metadata that every container knows by its own name.
_COMMON_KEYS = {
    "title",
    "artist",
    "album",
    "comment",
    "composer",
    "copyright",
    "date",
    "description",
    "genre",
    "synopsis",
}
#: Keys that the writer of a file states itself.
_OWN_KEYS = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}


class ClipWriter:
    """Writes a clip, to use in a `with` statement: `path` gets it at the end, and is untouched where an error occurs.

        with ClipWriter(path, like=clip) as writer:
            for frame in clip.frames():
                writer.write(frame)

    Frames are encoded as they come; one is in memory at a time. A path that ends in `.frames` becomes a folder of PNG
    files, without times and sound. What a format cannot hold is reported in one line (`DataWarning`).

    Args:
        path: the suffix decides the format, see `FORMATS`.
        like: the clip that the frames come from: its rate, clock, colours, pixel aspect, subsampling of colour, loops,
            metadata and sound are kept, as far as the format can.
        sound: False leaves its sound out.
        rate: frames per second, where there is no `like`; 25 by default.
        quality: the codec's constant quality (CRF, lower is better); defaults to that of the format.
        codec: FFmpeg's name of another encoder, such as `libx265` or `ffv1`.
        metadata: further metadata, by key, such as `{"comment": "..."}`.
        note: what the file has to say of itself: the beginning of its comment, before that of `like`.

    Raises:
        UsageError: no format has the suffix, or there is no such codec.
        PluginError: PyAV is not installed.
        DiskError: the file cannot be written.
        DataError: no frame was written.
    """

    def __init__(
        self,
        path: str | Path,
        like: Clip | None = None,
        sound: bool = True,
        rate: Fraction | int | None = None,
        quality: int | None = None,
        codec: str | None = None,
        metadata: Mapping[str, str] | None = None,
        note: str = "",
    ):
        self.path = Path(path)
        self.like = like
        self.rate = Fraction(rate or (like.rate if like else RATE))
        self.sound = sound and like is not None and like.has_sound
        self.metadata = dict(metadata or {})
        self.note = note
        self.quality = quality
        self.codec = codec
        self.count = 0
        """Frames written so far."""
        self._stack = ExitStack()
        self._sink: _Folder | _File | None = None
        if self.path.suffix.lower() not in (*FORMATS, FOLDER):
            raise UsageError(f"{self.path}: expected a suffix of {', '.join((*FORMATS, FOLDER))}")
        if self.path.suffix.lower() != FOLDER and codec is not None:
            try:
                pyav().codec.Codec(codec, "w")
            except ValueError:
                raise UsageError(f"there is no encoder '{codec}'; one is libx264") from None

    def __enter__(self) -> "ClipWriter":
        return self

    def write(self, frame: Frame) -> None:
        """Write the next frame: all have the size of the first one."""
        with _errors(self.path):
            if self._sink is None:
                kind = _Folder if self.path.suffix.lower() == FOLDER else _File
                self._sink = kind(self, frame)
            if frame.pixels.shape != self._sink.shape:
                raise ValueError(f"a frame is {frame.pixels.shape}, and the first one {self._sink.shape}")
            self._sink.write(frame)
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failed = True
        try:
            if kind is None and self._sink is None:
                raise DataError(f"{self.path}: no frame was written")
            if kind is None and self._sink is not None:
                with _errors(self.path):
                    self._sink.finish()
                    failed = False
                    self._stack.close()
        finally:
            if failed:
                if self._sink is not None:
                    with suppress(Exception):
                        self._sink.close()
                error = error or RuntimeError()
                with suppress(Exception):
                    self._stack.__exit__(type(error), error, None)


class _errors:
    """Turn errors of the disk and of FFmpeg into a DiskError of one line."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, MemoryError) or not isinstance(error, Exception):
            return
        if isinstance(error, OSError) or type(error).__module__.startswith("av"):
            why = getattr(error, "strerror", None) or str(error)
            remedy = "; free some space and try again" if getattr(error, "errno", 0) == errno.ENOSPC else ""
            raise DiskError(f"{self.path}: cannot be written: {' '.join(why.split())}{remedy}") from error


class _Folder:
    """A folder of PNG files, numbered from 1."""

    def __init__(self, writer: ClipWriter, first: Frame):
        self.shape = first.pixels.shape
        self.count = 0
        make_folder(writer.path.parent)
        self.folder = writer._stack.enter_context(replacing_folder(writer.path))
        self.info = PngInfo()
        if writer.note:
            self.info.add_text("Comment", writer.note)
        if writer.sound:
            _warn(writer.path, "a folder of frames holds no sound; it is not kept")

    def write(self, frame: Frame) -> None:
        self.count += 1
        Image.fromarray(frame.pixels).save(self.folder / f"{self.count:06}.png", pnginfo=self.info)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class _File:
    """A file that PyAV writes aside."""

    def __init__(self, writer: ClipWriter, first: Frame):
        av = pyav()
        self.path = writer.path
        self.shape = first.pixels.shape
        self.format = FORMATS[self.path.suffix.lower()]
        self.animation = self.format.container in _ANIMATIONS
        like = writer.like
        height, width, channels = self.shape
        name = writer.codec or self.format.codec
        file = writer._stack.enter_context(replacing_file(self.path))
        options = self._container_options(writer.metadata, like)
        self.container = av.open(file.name, "w", format=self.format.container, container_options=options)
        self.stream: Any = self.container.add_stream(
            name, rate=writer.rate, options=self._options(name, writer.quality)
        )
        context = self.stream.codec_context
        context.width, context.height = width, height
        self.alpha = channels == 4 and self.animation
        if channels == 4 and not self.alpha:
            _warn(self.path, f"{self.path.suffix} files hold no opacity; frames are put on white")
        self.colours = _colours(self.format, like)
        if self.animation:
            context.pix_fmt = _ANIMATIONS[self.format.container] or ("rgba" if self.alpha else "rgb24")
        else:
            context.pix_fmt = self._pixel_format(like.pixel_format if like else "", context.codec)
            self._set_colours(context)
            if like and like.pixel_aspect != 1:
                context.sample_aspect_ratio = like.pixel_aspect
        self.time_base = _time_base(self.format, like, writer.rate)
        context.time_base = self.stream.time_base = self.time_base
        self.palettes = _Palettes(av, width, height, self.time_base) if name == "gif" else None
        self.durations: dict[int, int] = {}
        self.last = -(2**62)
        self._set_metadata(writer)
        if self.animation and writer.note:
            _warn(self.path, f"{self.path.suffix} files hold no comment; say beside it: {writer.note}")
        self.tracks = _Tracks(self, like.path) if writer.sound and like and self.format.sound else None
        if writer.sound and not self.format.sound:
            _warn(self.path, f"{self.path.suffix} files hold no sound; it is not kept")

    def _container_options(self, metadata: Mapping[str, str], like: Clip | None) -> dict[str, str]:
        if self.format.container in ("mp4", "mov"):
            own = "+use_metadata_tags" if set(metadata) - _COMMON_KEYS else ""
            return {"movflags": f"+faststart{own}"}
        if self.animation:
            loops = 0 if like is None or like.loops is None else like.loops
            name = "plays" if self.format.container == "apng" else "loop"
            once = {"gif": -1}.get(self.format.container, 1)
            return {name: str(once if loops == 1 else loops)}
        return {}

    def _options(self, name: str, quality: int | None) -> dict[str, str]:
        own = name == self.format.codec
        options = dict(self.format.options or {}) if own else {}
        quality = self.format.quality if quality is None and own else quality
        if quality is not None:
            options["crf"] = str(quality)
        return options

    def _pixel_format(self, source: str, codec: Any) -> str:
        """Return the format of stored pixels: the subsampling of colour is that of the source, where that can be."""
        height, width = self.shape[:2]
        known = [each.name for each in codec.video_formats or ()]
        found = re.search("4(2[02]|44)", source)
        wanted = f"yuv{found[0] if found else '420'}p"
        if known and wanted not in known:
            wanted = "yuv420p" if "yuv420p" in known else known[0]
        odd = (width % 2 and "444" not in wanted) or (height % 2 and "420" in wanted)
        if odd and codec.name in _EVEN:
            _warn(
                self.path,
                f"{width} x {height} pixels, an odd size, is written with colour at the full size (4:4:4), which some "
                "players cannot show; .webm holds odd sizes as others",
            )
            return "yuv444p"
        return wanted

    def _set_colours(self, target: Any) -> None:
        colours = self.colours
        target.color_range, target.color_primaries = colours.range, colours.primaries
        target.color_trc, target.colorspace = colours.transfer, colours.matrix

    def _set_metadata(self, writer: ClipWriter) -> None:
        kept: dict[str, str] = {}
        if writer.like and writer.like.codec and writer.like.path.is_file() and writer.like.pixel_format:
            with opened(writer.like.path) as source:
                kept = {key: value for key, value in source.metadata.items() if key not in _OWN_KEYS}
                if source.streams.subtitles:
                    _warn(self.path, "subtitles of the source are not kept")
        kept |= writer.metadata
        if writer.note:
            comments = [kept.pop(key) for key in list(kept) if key.lower() == "comment"]  # Matroska's is in capitals
            comment = comments[-1] if comments else ""
            said = comment.startswith(writer.note)
            kept["comment"] = comment if said else "; ".join(each for each in (writer.note, comment) if each)
        self.container.metadata.update(kept)

    def write(self, frame: Frame) -> None:
        pixels = frame.pixels
        if pixels.shape[2] == 4 and not self.alpha:
            share = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
        picture = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba" if self.alpha else "rgb24")
        pts = max(round(frame.time / self.time_base), self.last + 1)
        self.last = pts
        self.durations[pts] = max(1, round((frame.time + frame.duration) / self.time_base) - pts)
        picture.pts, picture.time_base = pts, self.time_base
        if self.palettes:
            pictures = self.palettes.of(picture)
        elif self.animation:
            pictures = [self._stamped(picture.reformat(format=self.stream.codec_context.pix_fmt), pts)]
        else:
            matrix, full = self.colours.scaler_matrix(self.shape[0]), self.colours.range == FULL_RANGE
            if full:
                picture = _full_range(pixels, matrix)
            converted = picture.reformat(
                format=self.stream.codec_context.pix_fmt,
                src_color_range=FULL_RANGE,
                dst_color_range=FULL_RANGE if full else 1,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                interpolation=ACCURATE,
            )
            self._set_colours(converted)
            pictures = [self._stamped(converted, pts)]
        for each in pictures:
            self._mux(self.stream.encode(each))
        if self.tracks:
            self.tracks.mux_until(frame.time)

    def _stamped(self, picture: Any, pts: int) -> Any:
        picture.pts, picture.time_base = pts, self.time_base
        return picture

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self.durations.pop(packet.pts, packet.duration)
            self.container.mux(packet)

    def finish(self) -> None:
        if self.palettes:
            for each in self.palettes.rest():
                self._mux(self.stream.encode(each))
        self._mux(self.stream.encode(None))
        if self.tracks:
            self.tracks.mux_until(None)
        self.container.close()

    def close(self) -> None:
        if self.tracks:
            self.tracks.close()
        self.container.close()


def _colours(format: Format, like: Clip | None) -> Colours:
    """Return how the numbers of a file stand for colours: as in the source, as far as the format can state it."""
    if format.container == "avi":
        return Colours()
    if like and like.pixel_format.startswith(("yuv", "nv", "p0", "gray")):
        return like.colours
    return _OF_PICTURES


def _full_range(pixels: np.ndarray, matrix: int) -> Any:
    """Return RGB pixels (H, W, 3) uint8 as PyAV's frame of luma and chroma, all of full range and size.

    FFmpeg's scaler converts to the limited range first, which is up to 2 levels off.
    """
    red, blue = _WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    rows = [luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))]
    planes = pixels.astype(np.float32) @ np.array(rows, np.float32).T + np.array([0, 128, 128], np.float32)
    stored = np.rint(planes).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    return pyav().VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="yuv444p")


def _time_base(format: Format, like: Clip | None, rate: Fraction) -> Fraction:
    if format.container == "gif":
        return Fraction(1, 100)
    if format.container in ("webp", "apng", "matroska", "webm"):
        return Fraction(1, 1000)
    if format.container == "avi" or like is None:
        return 1 / rate
    return like.time_base if like.time_base.numerator == 1 else 1 / rate


class _Palettes:
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


class _Tracks:
    """The sound of a file, copied as it is where the container takes it, else encoded again."""

    def __init__(self, file: _File, source: Path):
        self.container = file.container
        self.stack = ExitStack()
        opened_source = self.stack.enter_context(opened(source))
        supported = self.container.supported_codecs
        self.outputs: dict[int, tuple[Any, bool]] = {}
        again = []
        for stream in opened_source.streams.audio:
            name = stream.codec_context.name if stream.codec_context else ""
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
            copied = bool({name, codec} & supported)
            if copied:
                output = self.container.add_stream_from_template(stream)
            else:
                output = self._encoder(file.format.sound, stream)
                again.append(f"{codec or name} as {file.format.sound.removeprefix('lib')}")
            output.metadata.update({key: each for key, each in stream.metadata.items() if key == "language"})
            self.outputs[stream.index] = output, copied
        if again:
            _warn(file.path, f"its container takes no such sound as the source has; encoded again: {', '.join(again)}")
        self.packets = self._packets(opened_source)
        self.waiting: Any = None

    def _encoder(self, name: str, stream: Any) -> Any:
        rate = 48000 if name == "libopus" else stream.rate
        output = self.container.add_stream(name, rate=rate)
        output.layout = stream.layout.name
        output.bit_rate = 96_000 * max(1, stream.layout.nb_channels)
        return output

    def _packets(self, source: Any) -> Iterator[tuple[Fraction, Any]]:
        """Yield packets to mux with their times, in the order of the source; what cannot be read ends them."""
        av = pyav()
        streams = [stream for stream in source.streams.audio if stream.index in self.outputs]
        with suppress(av.error.InvalidDataError, av.error.EOFError):
            for packet in source.demux(*streams):
                output, copied = self.outputs[packet.stream.index]
                if copied:
                    if packet.dts is None:  # the end
                        continue
                    time = packet.dts * Fraction(packet.time_base)
                    packet.stream = output
                    yield time, packet
                else:
                    with suppress(av.error.InvalidDataError):
                        for frame in packet.decode():
                            time = (frame.pts or 0) * Fraction(frame.time_base)
                            for each in output.encode(frame):
                                yield time, each
        for output, copied in self.outputs.values():
            if not copied:
                for each in output.encode(None):
                    yield Fraction(0), each

    def mux_until(self, time: Fraction | None) -> None:
        """Mux what begins before a time, or all that is left."""
        while True:
            self.waiting = self.waiting or next(self.packets, None)
            if self.waiting is None or (time is not None and self.waiting[0] > time):
                break
            self.container.mux(self.waiting[1])
            self.waiting = None
        if time is None:
            self.close()

    def close(self) -> None:
        self.stack.close()


def _warn(path: Path, text: str) -> None:
    warnings.warn(DataWarning(f"{path}: {text}"), stacklevel=2)
