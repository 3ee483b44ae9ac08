"""Recordings: reading with guards, writing, resampling, loudness and silence."""

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
#: What may be in a file; anything beyond is a mistake or an attack, since a small file can claim to be a huge one.
MOST_CHANNELS, MOST_NUMBERS = 8, 400_000_000
RATES = (4_000, 384_000)
#: Active is what is at most so many dB below the loud parts (the 97th percentile) of a recording.
ACTIVE_DB = 35.0
#: Root mean square of the active parts after normalisation: -24 dB of full scale.
LEVEL = 0.063
_LENGTH_UNKNOWN = 0xFFFFFFFF  # what a program writes that streams and cannot go back


@dataclass(frozen=True)
class Sound:
    """A recording with one channel."""

    samples: np.ndarray
    """(n,) float32, full scale at -1 and 1."""
    rate: int
    """Samples a second."""

    def at(self, rate: int) -> "Sound":
        """The same at another rate (polyphase filtering): ceil(n rate / own rate) samples."""
        if rate == self.rate:
            return self
        resample = require("scipy.signal", "voice", "resampling").resample_poly
        common = gcd(rate, self.rate)
        made = resample(self.samples.astype(np.float64), rate // common, self.rate // common)
        return Sound(made.astype(np.float32), rate)

    def save(self, path: str | Path) -> None:
        """Writes it as `write_sound` does."""
        write_sound(self, Path(path))


def read_sound(path: Path) -> Sound:
    """A wav, flac or ogg file; several channels become their mean.

    Raises:
        DataError: missing, a folder, empty, damaged, cut off, too large, or with numbers that are no sound; one line.
    """
    soundfile = require("soundfile", "voice", "reading recordings")
    try:
        with path.open("rb") as file:
            _check_wav(path, file)
            with soundfile.SoundFile(file) as sound:
                rate, channels, frames = sound.samplerate, sound.channels, sound.frames
                if not RATES[0] <= rate <= RATES[1]:
                    raise DataError(f"{path}: {rate} samples a second; expected {RATES[0]:,} to {RATES[1]:,}")
                if channels > MOST_CHANNELS:
                    raise DataError(f"{path}: {channels} channels; at most {MOST_CHANNELS} are read")
                parts = list(_mono_blocks(path, sound))
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a damaged file provokes is the file's fault
        empty = path.is_file() and not path.stat().st_size
        why = "an empty file" if empty else f"not a recording that can be read: {_short(error)}"
        raise DataError(f"{path}: {why}") from None
    samples = np.concatenate(parts) if parts else np.empty(0, np.float32)
    if not len(samples):
        raise DataError(f"{path}: a recording of 0 samples")
    if len(samples) < frames:
        raise DataError(f"{path}: cut off: {len(samples):,} of {frames:,} samples are there")
    return sound_of(samples, rate, str(path))


def _mono_blocks(path: Path, sound: Any) -> Iterator[np.ndarray]:
    """The mean of the channels, a part at a time: what the header says of the length is not believed."""
    read = 0
    while len(block := sound.read(1 << 18, dtype="float32", always_2d=True)):
        read += block.size
        if read > MOST_NUMBERS:
            raise DataError(f"{path}: too long; at most {MOST_NUMBERS:,} samples of all channels are read")
        yield block.mean(1, dtype=np.float32)


def _check_wav(path: Path, file: BinaryIO) -> None:
    """Whether a wav file is as long as it says; libsndfile silently reads what is there."""
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        end = file.seek(0, 2)
        place = 12
        while place + 8 <= end:
            file.seek(place)
            name, size = struct.unpack("<4sI", file.read(8))
            place += 8
            if name == b"data":
                if size != _LENGTH_UNKNOWN and place + size > end:
                    raise DataError(f"{path}: cut off: {end - place:,} of {size:,} bytes of sound are there")
                break
            place += size + size % 2
    file.seek(0)


def sound_of(samples: np.ndarray, rate: int, where: str) -> Sound:
    """Numbers as a sound, if they are one. DataError."""
    array = np.asarray(samples)
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    if array.ndim == 2:
        array = array.mean(1)
    if array.ndim != 1 or not array.size or array.dtype.kind != "f":
        raise DataError(f"{where}: {array.dtype} of shape {array.shape} is no sound; expected (samples,) of numbers")
    if not np.isfinite(array).all():
        raise DataError(f"{where}: holds numbers that are not finite (NaN or infinity)")
    if (peak := float(np.abs(array).max())) > 1e5:
        raise DataError(f"{where}: holds numbers up to {peak:.3g}; expected -1 to 1")
    return Sound(array.astype(np.float32), int(rate))


def write_sound(sound: Sound, path: Path) -> None:
    """16-bit wav or flac, or ogg, by the path's ending; what would clip is made quieter as a whole. DiskError."""
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
    """The last sentence of what libsndfile says, which begins with the file's name."""
    return (str(error).splitlines() or [type(error).__name__])[0].rpartition(": ")[2].rstrip(".")


def levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Power in dB of each 20 ms; (ceil(n / (rate / 50)),)."""
    length = max(1, rate // 50)
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % length))
    decibels: np.ndarray = 10 * np.log10(np.mean(padded.reshape(-1, length) ** 2, 1) + 1e-12)
    return decibels


def active(decibels: np.ndarray, below: float = ACTIVE_DB) -> np.ndarray:
    """Which frames of these levels (dB) are not silence: (L,) bool. Nothing is silence where all is."""
    found: np.ndarray = decibels >= np.percentile(decibels, 97) - below
    return found


def loudness(sound: Sound) -> float:
    """Root mean square of the active parts; 0 for silence."""
    decibels = levels(sound.samples, sound.rate)
    rms = float(np.sqrt(np.mean(10 ** (decibels[active(decibels)] / 10))))
    return rms if rms > 2e-6 else 0.0


def trimmed(sound: Sound) -> Sound:
    """Without the silence at its ends, of which 60 ms are kept."""
    found = np.flatnonzero(active(levels(sound.samples, sound.rate), 45.0))
    length = sound.rate // 50
    return Sound(sound.samples[max(0, (found[0] - 3) * length) : (found[-1] + 4) * length], sound.rate)
