"""Clips written by PyAV alone, and what PyAV says of a file: to compare the package with."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed")

WriteClip = Callable[..., Path]


class Stored(NamedTuple):
    """What a file holds, as PyAV says."""

    times: list[Fraction]
    """Of its frames, in seconds."""
    packets: list[bytes]
    """Of its sound."""
    sound_samples: int
    sound_codec: str
    sound_start: Fraction | None


def scene(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a frame (H, W, 3): a smooth background, different in each corner, and a square that moves."""
    y, x = np.mgrid[:height, :width].astype(float)
    pixels = np.stack([40 + 150 * x / width, 40 + 150 * y / height, 190 - 70 * (x + y) / (width + height)], -1)
    left = 4 + 2 * number
    pixels[10:22, left : left + 12] = [220, 60, 60]
    return np.rint(pixels).astype(np.uint8)


@pytest.fixture
def write_clip(tmp_path: Path) -> WriteClip:
    """`write_clip("a.mp4")`: write a clip with PyAV.

    `times` are in units of `time_base`; `sound` is a codec; `stream` and `packets` may change the stream of frames and
    the list of its packets.
    """

    def write(
        name: str,
        frames: Sequence[np.ndarray] | None = None,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        times: Sequence[int] | None = None,
        time_base: Fraction = Fraction(1, 10),
        sound: str = "",
        stream: Callable[[Any], None] | None = None,
        options: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        frames = [scene(i) for i in range(10)] if frames is None else frames
        with av.open(str(path), "w", options=options or {}) as container:
            container.metadata.update(metadata or {})
            out = container.add_stream(codec, rate=10)
            out.height, out.width = frames[0].shape[:2]
            out.pix_fmt = pixel_format
            out.codec_context.time_base = out.time_base = time_base
            if stream:
                stream(out)
            heard = container.add_stream(sound, rate=48000 if "opus" in sound else 16000) if sound else None
            if heard:
                heard.layout = "mono"
                length = len(frames) * 1600 * heard.rate // 16000
                wave = (3000 * np.sin(np.arange(length) * 0.05)).astype(np.int16)
                heard_frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                heard_frame.sample_rate, heard_frame.pts = heard.rate, 0
                container.mux(heard.encode(heard_frame))
                container.mux(heard.encode(None))
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.shape[2] == 3 else "rgba")
                frame.pts, frame.time_base = times[number] if times else number, time_base
                container.mux(out.encode(frame))
            container.mux(out.encode(None))
        return path

    return write


@pytest.fixture
def stored() -> Callable[[Path], Stored]:
    """`stored(path)`: what a file holds."""

    def read(path: Path) -> Stored:
        with av.open(str(path)) as container:
            times = [frame.pts * Fraction(frame.time_base) for frame in container.decode(video=0)]
        packets: list[bytes] = []
        samples, codec, start = 0, "", None
        with av.open(str(path)) as container:
            if container.streams.audio:
                codec = container.streams.audio[0].codec_context.codec.canonical_name
                packets = [bytes(each) for each in container.demux(audio=0) if each.size]
        if codec:
            with av.open(str(path)) as container:
                for frame in container.decode(audio=0):
                    start = frame.pts * Fraction(frame.time_base) if start is None else start
                    samples += frame.samples
        return Stored(times, packets, samples, codec, start)

    return read
