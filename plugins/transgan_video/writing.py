"""Writing clips frame by frame, with the times, the colours and the sound of the clip that they come from."""

import errno
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from transgan.api import DataError, DiskError, UsageError, make_folder, replacing_file, replacing_folder
from transgan_video.clips import RATE, Clip, Frame, warn
from transgan_video.encoders import check_encoder
from transgan_video.endings import set_last_duration, set_opacity
from transgan_video.formats import (
    ANIMATIONS,
    EVEN,
    FORMATS,
    SHORTEST,
    Palettes,
    colours_of,
    encoder_options,
    full_range,
    pixel_format_of,
    time_base_of,
)
from transgan_video.reading import FOLDER
from transgan_video.soundtracks import SoundTracks
from transgan_video.streams import ACCURATE, FULL_RANGE, opened, pyav

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
        UsageError: no format has the suffix, or its files cannot be written with the codec, or the quality.
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
        named = {"codec": codec, "quality": quality}
        if self.path.suffix.lower() == FOLDER and (given := [key for key, value in named.items() if value is not None]):
            raise UsageError(
                f"{self.path}: a folder of frames holds PNG files, which have no {' and no '.join(given)}; leave "
                f"{'it' if len(given) == 1 else 'them'} out"
            )
        if codec is not None or quality is not None:
            colours = colours_of(FORMATS[self.path.suffix.lower()], like)
            check_encoder(self.path, codec, quality, colours.range)

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
            warn(writer.path, "a folder of frames holds no sound; it is not kept")

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
        self.animation = self.format.container in ANIMATIONS
        like = writer.like
        height, width, channels = self.shape
        self.alpha = channels == 4 and self.animation
        name = writer.codec or self.format.codec
        self.file = writer._stack.enter_context(replacing_file(self.path))
        options = self._container_options(writer.metadata, like)
        self.container = av.open(self.file.name, "w", format=self.format.container, container_options=options)
        self.stream: Any = self.container.add_stream(
            name, rate=writer.rate, options=self._options(name, writer.quality)
        )
        context = self.stream.codec_context
        context.width, context.height = width, height
        self.colours = colours_of(self.format, like)
        if self.animation:
            context.pix_fmt = ANIMATIONS[self.format.container] or ("rgba" if self.alpha else "rgb24")
        else:
            context.pix_fmt = self._pixel_format(like.pixel_format if like else "", context.codec)
            self._set_colours(context)
            if like and like.pixel_aspect != 1:
                context.sample_aspect_ratio = like.pixel_aspect
        self.time_base = time_base_of(self.format, like, writer.rate)
        context.time_base = self.stream.time_base = self.time_base
        self.palettes = Palettes(av, width, height, self.time_base) if name == "gif" else None
        self.durations: dict[int, int] = {}
        self.shortest = SHORTEST.get(self.format.container, 1)
        self.last = -(2**62)
        self.end = 0
        """When the last frame has been shown, in units of the clock."""
        self.dropped = self.written = 0
        self.on_white = False
        """Whether a frame was transparent somewhere, where the format holds no opacity."""
        self._set_metadata(writer)
        if self.animation and writer.note:
            warn(self.path, f"{self.path.suffix} files hold no comment; say beside it: {writer.note}")
        self.tracks: SoundTracks | None = None
        if writer.sound and like and self.format.sound:
            self.tracks = SoundTracks(self.container, self.path, like.path, self.format.sound)
        self.container.start_encoding()  # now, so that no fault of frames is taken for one of the sound
        if writer.sound and not self.format.sound:
            warn(self.path, f"{self.path.suffix} files hold no sound; it is not kept")

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
        options = encoder_options(self.format, name, quality)
        if self.alpha and name == "gif":
            options["gifflags"] = "-offsetting-transdiff"  # full frames, see `_cleared`
        return options

    def _pixel_format(self, source: str, codec: Any) -> str:
        """Return the format of stored pixels: the subsampling of colour is that of the source, where that can be."""
        height, width = self.shape[:2]
        wanted = pixel_format_of(source, codec)
        odd = (width % 2 and "444" not in wanted) or (height % 2 and "420" in wanted)
        if odd and codec.name in EVEN:
            warn(
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
                    warn(self.path, "subtitles of the source are not kept")
        kept |= writer.metadata
        if writer.note:
            comments = [kept.pop(key) for key in list(kept) if key.lower() == "comment"]  # Matroska's is in capitals
            comment = comments[-1] if comments else ""
            said = comment.startswith(writer.note)
            kept["comment"] = comment if said else "; ".join(each for each in (writer.note, comment) if each)
        self.container.metadata.update(kept)

    def write(self, frame: Frame) -> None:
        self.end = round((frame.time + frame.duration) / self.time_base)
        pts = round(frame.time / self.time_base)
        if self.animation and pts < self.last + self.shortest:
            self.dropped += 1
            return
        self.last = pts = max(pts, self.last + 1)
        self.written += 1
        pixels = frame.pixels
        if pixels.shape[2] == 4 and not self.alpha:
            pixels = self._opaque(pixels)
        picture = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba" if self.alpha else "rgb24")
        self.durations[pts] = max(self.shortest, self.end - pts)
        picture.pts, picture.time_base = pts, self.time_base
        if self.palettes:
            pictures = self.palettes.of(picture)
        elif self.animation:
            pictures = [self._stamped(picture.reformat(format=self.stream.codec_context.pix_fmt), pts)]
        else:
            matrix, full = self.colours.scaler_matrix(self.shape[0]), self.colours.range == FULL_RANGE
            if full:
                picture = full_range(pixels, matrix)
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

    def _opaque(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels (H, W, 4) on white, (H, W, 3); the first that are not opaque are reported."""
        share = pixels[..., 3:].astype(np.uint16)
        if not self.on_white and share.min() < 255:  # a fourth channel does not say so: every GIF file has one
            self.on_white = True
            warn(self.path, f"{self.path.suffix} files hold no opacity; frames are put on white")
        mixed: np.ndarray = ((pixels[..., :3] * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
        return mixed

    def _stamped(self, picture: Any, pts: int) -> Any:
        picture.pts, picture.time_base = pts, self.time_base
        return picture

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self.durations.pop(packet.pts, packet.duration)
            if self.alpha and self.format.container == "gif":
                packet.update(_cleared(bytes(packet)))
            self.container.mux(packet)

    def finish(self) -> None:
        if self.palettes:
            for each in self.palettes.rest():
                self._mux(self.stream.encode(each))
        self._mux(self.stream.encode(None))
        if self.tracks:
            self.tracks.mux_until(None)
        self.container.close()
        if self.animation:
            set_last_duration(self.file, max(self.shortest, self.end - self.last) * self.time_base)
            if self.alpha:
                set_opacity(self.file)
        if self.dropped:
            warn(
                self.path,
                f"{self.dropped} of {self.dropped + self.written} frames are dropped, so that the others have their "
                f"times: {self.path.suffix} files show none for less than {float(self.shortest * self.time_base)} s",
            )

    def close(self) -> None:
        if self.tracks:
            self.tracks.close()
        self.container.close()


def _cleared(packet: bytes) -> bytes:
    """Return a frame of a GIF file that is cleared before the next one is shown, as its header says (GIF89a, 23).

    FFmpeg's encoder says so of frames with holes alone: an opaque one would show through the holes of the next.
    """
    palette = 13 + 3 * 2 ** (packet[10] % 8 + 1) if packet.startswith(b"GIF8") else 0  # which the first one begins with
    place = packet.find(b"\x21\xf9\x04", palette)
    if place < 0:
        return packet
    header = bytearray(packet[place : place + 8])
    if not header[3] & 1:  # readers clear to what is transparent: the last colour, which is kept free for that
        header[3], header[6] = header[3] | 1, 255
    header[3] = header[3] & ~0b11100 | 2 << 2
    return packet[:place] + bytes(header) + packet[place + 8 :]
