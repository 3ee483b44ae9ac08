"""Encoders of frames that a user names: whether a file can be written with one is learned by writing a tiny one."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np

from transgan.api import UsageError
from transgan_video.formats import ANIMATIONS, FORMATS, Format, encoder_options, pixel_format_of
from transgan_video.streams import pyav

#: Encoders to propose: some others print when they are tried.
_USUAL = ("libx264", "libvpx-vp9", "mpeg4", "prores_ks", "ffv1")


def check_encoder(path: Path, codec: str | None, quality: int | None, colour_range: int) -> None:
    """Check that a file can be written with an encoder, and with a quality: before frames are translated for it.

    Args:
        path: of the file.
        codec: FFmpeg's name of the encoder; defaults to that of the format.
        quality: its constant quality (CRF).
        colour_range: of the colours, by FFmpeg's number: MJPEG has the full one alone.

    Raises:
        UsageError: it cannot; or it could not be read again.
    """
    format = FORMATS[path.suffix.lower()]
    name = codec or format.codec
    if _can_be_read(format, name, quality, colour_range):
        return
    if quality is not None and _can_be_read(format, name, None, colour_range):
        raise UsageError(f"{name} does not take a quality (CRF) of {quality}; one is {format.quality or 24}")
    works = [each for each in dict.fromkeys((format.codec, *_USUAL)) if _can_be_read(format, each, None, colour_range)]
    exists = name in pyav().codecs_available
    fault = f"{path.suffix} files cannot be written with '{name}'" if exists else f"there is no encoder '{name}'"
    raise UsageError(f"{fault}; {path.suffix} files can be with {', '.join(works) or 'none here'}")


def _can_be_read(format: Format, name: str, quality: int | None, colour_range: int) -> bool:
    """Return whether FFmpeg reads a frame of a file that is written so."""
    av = pyav()
    if format.container in ANIMATIONS:  # some of which FFmpeg does not read
        return name == format.codec
    stored = BytesIO()
    try:
        codec = av.codec.Codec(name, "w")
        if codec.type != "video":
            return False
        container = av.open(stored, "w", format=format.container)
        stream = container.add_stream(name, rate=25, options=encoder_options(format, name, quality))
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format_of("", codec)
        stream.codec_context.color_range = colour_range
        for number in range(8):  # libx265 of FFmpeg 8 sometimes fails with one or two
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        container.close()
        with av.open(BytesIO(stored.getvalue())) as written:
            return next(written.decode(video=0), None) is not None
    except (av.error.FFmpegError, ValueError):
        return False
