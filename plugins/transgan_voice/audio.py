"""Recordings: reading with checks, writing, resampling, loudness and silence."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from transgan.api import DataError, DiskError, require

SUFFIXES = (".wav", ".flac", ".ogg")
#: Limits of a file that is read, since a small damaged or hostile file can claim to be a huge one.
MAX_CHANNELS, MAX_VALUES = 8, 400_000_000
#: Lowest and highest sample rate that is read, in Hz.
RATES = (4_000, 384_000)
#: A frame is active if its level is at most this many dB below the 97th percentile of the recording's levels.
ACTIVE_DB = 35.0
#: Root mean square of the active frames after normalization: -24 dB of full scale.
TARGET_RMS = 0.063
#: Size of the data in the header of a wav file whose writer streamed it and could not go back to the header.
_LENGTH_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True)
class Sound:
    """A recording with one channel."""

    samples: np.ndarray
    """(n,) float32, full scale at -1 and 1."""
    rate: int
    """Sample rate in Hz."""

    def resample(self, rate: int) -> "Sound":
        """Return the sound at another sample rate (polyphase filtering): ceil(n * rate / self.rate) samples."""
        if rate == self.rate:
            return self
        resample_poly = require("scipy.signal", "voice", "resampling").resample_poly
        common = gcd(rate, self.rate)
        resampled = resample_poly(self.samples.astype(np.float64), rate // common, self.rate // common)
        return Sound(resampled.astype(np.float32), rate)

    def save(self, path: str | Path) -> None:
        """Write the sound to a file, see `write_sound`."""
        write_sound(self, Path(path))


def read_sound(path: Path) -> Sound:
    """Read a wav, flac or ogg file; several channels are averaged.

    Raises:
        DataError: the file is missing, a folder, empty, damaged, truncated or too large, or its samples are not finite
            or far out of range.
    """
    soundfile = require("soundfile", "voice", "reading recordings")
    try:
        with path.open("rb") as file:
            _check_wav_length(path, file)
            with soundfile.SoundFile(file) as sound:
                rate, channels, frames = sound.samplerate, sound.channels, sound.frames
                if not RATES[0] <= rate <= RATES[1]:
                    raise DataError(f"{path}: sample rate of {rate} Hz; expected {RATES[0]:,} to {RATES[1]:,} Hz")
                if channels > MAX_CHANNELS:
                    raise DataError(f"{path}: {channels} channels; expected at most {MAX_CHANNELS}")
                blocks = list(_mono_blocks(path, sound))
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged file can make the decoder raise anything
        empty = path.is_file() and not path.stat().st_size
        why = "an empty file" if empty else f"not a recording that can be read: {_short(error)}"
        raise DataError(f"{path}: {why}") from None
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    if not len(samples):
        raise DataError(f"{path}: a recording of 0 samples")
    if len(samples) < frames:
        raise DataError(f"{path}: truncated: holds {len(samples):,} of {frames:,} samples")
    return to_sound(samples, rate, str(path))


def _mono_blocks(path: Path, sound: Any) -> Iterator[np.ndarray]:
    """Yield the mean of the channels, block by block; the length in the header is not trusted."""
    count = 0
    while len(block := sound.read(1 << 18, dtype="float32", always_2d=True)):
        count += block.size
        if count > MAX_VALUES:
            raise DataError(f"{path}: too long; expected at most {MAX_VALUES:,} samples of all channels together")
        yield block.mean(1, dtype=np.float32)


def _check_wav_length(path: Path, file: BinaryIO) -> None:
    """Raise DataError if a wav file is shorter than its header says, which libsndfile does not report."""
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        end = file.seek(0, 2)
        position = 12
        while position + 8 <= end:
            file.seek(position)
            name, size = struct.unpack("<4sI", file.read(8))
            position += 8
            if name == b"data":
                if size != _LENGTH_UNKNOWN and position + size > end:
                    raise DataError(f"{path}: truncated: holds {end - position:,} of {size:,} bytes of audio data")
                break
            position += size + size % 2
    file.seek(0)


def to_sound(samples: np.ndarray, rate: int, where: str) -> Sound:
    """Return an array of samples as a sound; integers are scaled to [-1, 1), several channels averaged.

    Args:
        samples: (n,) or (n, channels), floating-point or signed integers.
        where: the origin of the samples, with which error messages begin.

    Raises:
        DataError: wrong shape or type, no samples, or samples that are not finite or far out of range.
    """
    array = np.asarray(samples)
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    if array.ndim == 2:
        array = array.mean(1)
    if array.ndim != 1 or not array.size or array.dtype.kind != "f":
        raise DataError(f"{where}: {array.dtype} array of shape {array.shape}; expected samples as numbers, shape (n,)")
    if not np.isfinite(array).all():
        raise DataError(f"{where}: samples that are not finite (NaN or infinity)")
    if (peak := float(np.abs(array).max())) > 1e5:
        raise DataError(f"{where}: samples up to {peak:.3g}; expected -1 to 1")
    return Sound(array.astype(np.float32), int(rate))


def write_sound(sound: Sound, path: Path) -> None:
    """Write a sound as wav or flac (16 bits), or ogg, by the suffix; one that would clip is scaled down as a whole.

    Raises:
        DiskError: the file cannot be written.
    """
    soundfile = require("soundfile", "voice", "writing recordings")
    peak = float(np.abs(sound.samples).max(initial=0.0))
    samples = sound.samples * (0.999 / peak) if peak > 0.999 else sound.samples
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples, sound.rate, subtype="VORBIS" if path.suffix.lower() == ".ogg" else "PCM_16")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        with suppress(OSError):
            path.unlink()
        raise DiskError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or _short(error)}") from None


def _short(error: Exception) -> str:
    """Return the last sentence of an error of libsndfile, without the file name before it."""
    return (str(error).splitlines() or [type(error).__name__])[0].rpartition(": ")[2].rstrip(".")


def levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return the power in dB of each frame of 20 ms: (ceil(n / (rate / 50)),)."""
    length = max(1, rate // 50)
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % length))
    decibels: np.ndarray = 10 * np.log10(np.mean(padded.reshape(-1, length) ** 2, 1) + 1e-12)
    return decibels


def active(decibels: np.ndarray, below: float = ACTIVE_DB) -> np.ndarray:
    """Return which frames are active, by their levels in dB: (L,) bool. All are where all levels are equal."""
    frames: np.ndarray = decibels >= np.percentile(decibels, 97) - below
    return frames


def loudness(sound: Sound) -> float:
    """Return the root mean square of the active frames; 0 for silence."""
    decibels = levels(sound.samples, sound.rate)
    rms = float(np.sqrt(np.mean(10 ** (decibels[active(decibels)] / 10))))
    return rms if rms > 2e-6 else 0.0


def trim(sound: Sound) -> Sound:
    """Return the sound without the silence at its ends, but for 60 ms at either end."""
    frames = np.flatnonzero(active(levels(sound.samples, sound.rate), 45.0))
    length = sound.rate // 50
    return Sound(sound.samples[max(0, (frames[0] - 3) * length) : (frames[-1] + 4) * length], sound.rate)
