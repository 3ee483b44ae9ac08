"""Recordings: reading with checks, writing, resampling, loudness and silence."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from transgan.api import DataError, DiskError, option, replacing_file, require
from transgan_voice.wav_header import checked_wav

SUFFIXES = (".wav", ".flac", ".ogg")
#: Most channels of a file that is read.
MAX_CHANNELS = 8
#: The default of the longest recording that is read, in seconds: a small file can decode to any length.
MAX_SECONDS = 600.0
#: Lowest and highest sample rate that is read, in Hz.
RATES = (4_000, 384_000)
#: Highest sample rate of Vorbis, in Hz; its encoder crashes above.
MAX_VORBIS_RATE = 192_000
#: A frame is active if its level is at most this many dB below the 97th percentile of the recording's levels.
ACTIVE_DB = 35.0
#: Where less than 3% of a recording is loud, that percentile is the level of the silence; the level of the 10th loudest
#: frame then takes its place (louder ones may be a click), less the amount in dB that it may be above it in speech.
CLICK_FRAMES, CREST_DB = 10, 10.0
#: Root mean square of the active frames after normalization: -24 dB of full scale.
TARGET_RMS = 0.063
#: A mean of the samples (a DC offset) above this share of the loudness is removed: below, it changes no level.
MAX_OFFSET = 0.01
#: Frames that are read at a time.
BLOCK = 1 << 18
#: Numbers of frames from here on mean that the header does not say.
_UNKNOWN_FRAMES = 1 << 60
#: By the suffix of a file that is written: the formats that it may have, the subtypes for sounds whose own the format
#: lacks, and that for all others.
_FORMATS = {
    ".wav": (("WAV", "WAVEX", "RF64"), {"PCM_S8": "PCM_U8"}, "PCM_16"),
    ".flac": (("FLAC",), {"PCM_U8": "PCM_S8", "PCM_32": "PCM_24", "FLOAT": "PCM_24", "DOUBLE": "PCM_24"}, "PCM_16"),
    ".ogg": (("OGG",), {}, "VORBIS"),
}
#: Bits of integer subtypes other than 16; subtypes without bits hold numbers of any size or are lossy.
_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_24": 24, "PCM_32": 32, "FLOAT": 0, "DOUBLE": 0, "VORBIS": 0, "OPUS": 0}


@dataclass(frozen=True)
class Encoding:
    """How a file holds a sound. What is written keeps it as far as the format of the new file can."""

    format: str = "WAV"
    """libsndfile's name of the format."""
    subtype: str = "PCM_16"
    """libsndfile's name of the way samples are stored."""
    gains: tuple[float, ...] = (1.0,)
    """For each channel of the file, the factor with which it contains the sound: least squares."""
    lost: float = 0.0
    """Share of the power of the file's channels that the sound does not contain."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Title, artist, date and the like, by libsndfile's names."""

    @property
    def step(self) -> float:
        """The smallest difference of samples, full scale at 1; 0 for subtypes that are no integers."""
        bits = _BITS.get(self.subtype, 16)
        return 2.0 ** (1 - bits) if bits else 0.0


@dataclass(frozen=True)
class Sound:
    """A recording, mixed to one channel."""

    samples: np.ndarray
    """(n,) float32, full scale at -1 and 1."""
    rate: int
    """Sample rate in Hz."""
    encoding: Encoding = field(default_factory=Encoding)
    """How `save` stores it."""
    name: str = "a sound"
    """Where it comes from, for messages."""

    def resample(self, rate: int) -> "Sound":
        """Return the sound at another sample rate (polyphase filtering): ceil(n * rate / self.rate) samples."""
        if rate == self.rate:
            return self
        resample_poly = require("scipy.signal", "voice", "resampling").resample_poly
        common = gcd(rate, self.rate)
        resampled = resample_poly(self.samples.astype(np.float64), rate // common, self.rate // common)
        return replace(self, samples=resampled.astype(np.float32), rate=rate)

    def save(self, path: str | Path) -> None:
        """Write the sound to a file, see `write_sound`."""
        write_sound(self, Path(path))


def read_sound(path: Path, max_seconds: float = MAX_SECONDS) -> Sound:
    """Read a wav, flac or ogg file of any subtype, and mix its channels to one, see `mixing_weights`.

    A wav or flac file whose header does not say how long it is, since it was streamed, is read to its end. A DC offset
    is removed where it is louder than MAX_OFFSET of the recording.

    Args:
        max_seconds: a file is refused before it is decoded if its header says that it is longer, and else while it is
            decoded.

    Raises:
        DataError: the file is missing, no regular file, empty, damaged, truncated or too long, or its samples are not
            finite or far out of range.
    """
    with _read_errors(path):
        with _opened(path) as sound:
            rate, channels, frames = sound.samplerate, sound.channels, sound.frames
            if not RATES[0] <= rate <= RATES[1]:
                raise DataError(f"{path}: sample rate of {rate} Hz; expected {RATES[0]:,} to {RATES[1]:,} Hz")
            if channels > MAX_CHANNELS:
                raise DataError(f"{path}: {channels} channels; expected at most {MAX_CHANNELS}")
            known = frames < _UNKNOWN_FRAMES
            if known and frames > max_seconds * rate:
                raise _too_long(path, f"{frames / rate:,.0f} s ({frames:,} samples)", max_seconds)
            tags = {name: text for name, text in sound.copy_metadata().items() if name != "software"}
            encoding = Encoding(sound.format, sound.subtype, tags=tags)
            if sound.format == "OGG":  # whose length libsndfile takes from the last page that is there
                _check_end_of_ogg(path)
        weights = np.ones(1)
        if channels > 1:
            covariance = _covariance(_blocks(path, max_seconds), channels)
            weights = mixing_weights(covariance)
            encoding = _with_channels(encoding, covariance, weights)
        blocks = [_mixed(block, weights) for block in _blocks(path, max_seconds)]
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    if not len(samples):
        raise DataError(f"{path}: a recording of 0 samples")
    if known and len(samples) < frames:
        raise DataError(f"{path}: truncated: holds {len(samples):,} of {frames:,} samples")
    return replace(to_sound(samples, rate, str(path)), encoding=encoding)


def _check_end_of_ogg(path: Path) -> None:
    """Raise DataError where a stream of an Ogg file has no last page, which RFC 3533 demands to be marked as such."""
    data, position, unended = path.read_bytes(), 0, set[bytes]()
    while (start := data.find(b"OggS", position)) >= 0:
        position = start + 4
        lengths = start + 27  # of the segments, of which the byte before says how many there are
        body = lengths + data[lengths - 1] if lengths <= len(data) else lengths
        end = body + sum(data[lengths:body])
        if end > len(data):
            break
        position, flags, stream = end, data[start + 5], data[start + 14 : start + 18]
        if flags & 2:  # its first page
            unended.add(stream)
        if flags & 4:  # its last page
            unended.discard(stream)
    if unended:
        raise DataError(
            f"{path}: truncated: no page of it is marked as the last one; if nothing is missing, let another program "
            "write the file anew: ffmpeg -i FILE -c copy NEW.ogg"
        )


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn every error of reading a file into a DataError of one line."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: not a regular file")  # opening a pipe would wait for its writer
        yield
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged file can make the decoder raise anything
        empty = path.is_file() and not path.stat().st_size
        why = "an empty file" if empty else f"not a recording that can be read: {_short(error)}"
        raise DataError(f"{path}: {why}") from None


def _too_long(path: Path, length: str, max_seconds: float) -> DataError:
    return DataError(
        f"{path}: {length} long; at most max_seconds = {max_seconds:g} s are read; cut the recording, or raise this "
        "option of the media: data.media.max_seconds = 3600 in a recipe, "
        f"{option('media_options', {'max_seconds': 3600})} of a model"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield a file as a `soundfile.SoundFile`."""
    soundfile = require("soundfile", "voice", "reading recordings")
    with path.open("rb") as file, soundfile.SoundFile(checked_wav(path, file)) as sound:
        # Else soundfile seeks after each block, which fails in files that are shorter than their header says.
        sound.seekable = lambda: False
        yield sound


def _blocks(path: Path, max_seconds: float) -> Iterator[np.ndarray]:
    """Yield the samples of a file, block by block, (n, channels) float32; the length in the header is not trusted."""
    with _opened(path) as sound:
        count = 0
        while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                bad = ~np.isfinite(block).all(1)
                first = (count + int(bad.argmax())) / sound.samplerate
                raise DataError(
                    f"{path}: samples that are not finite (NaN or infinity), the first of them after {first:.3f} s"
                )
            count += len(block)
            if count > max_seconds * sound.samplerate:
                raise _too_long(path, f"more than {max_seconds:g} s", max_seconds)
            yield block


def _covariance(blocks: Iterator[np.ndarray], channels: int) -> np.ndarray:
    """Return the covariance (channels, channels) of the channels."""
    count, total, squares = 0, np.zeros(channels), np.zeros((channels, channels))
    for block in blocks:
        exact = block.astype(np.float64)
        count, total, squares = count + len(exact), total + exact.sum(0), squares + exact.T @ exact
    mean = total / max(count, 1)
    covariance: np.ndarray = squares / max(count, 1) - np.outer(mean, mean)
    return covariance


def mixing_weights(covariance: np.ndarray) -> np.ndarray:
    """Return the weights (C,) by which channels are mixed to one.

    Channels are averaged, unless they cancel each other, as those of a microphone with reversed polarity do: where the
    average has less than half of the power that unrelated channels would leave, the loudest channel is taken.

    Args:
        covariance: (C, C) of the channels.
    """
    count = len(covariance)
    average = np.full(count, 1 / count)
    powers = np.diagonal(covariance)
    if average @ covariance @ average < powers.mean() / (2 * count):
        average = np.eye(count)[powers.argmax()]
    return average


def _mixed(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mix (n,) float32 of channels (n, C)."""
    if weights.max() == 1:
        return np.ascontiguousarray(block[:, weights.argmax()])
    mixed: np.ndarray = block.mean(1, dtype=np.float32)
    return mixed


def _with_channels(encoding: Encoding, covariance: np.ndarray, weights: np.ndarray) -> Encoding:
    """Return the encoding with `gains` and `lost` of channels that were mixed; gains are 1 where the mix is silence."""
    power, total = float(weights @ covariance @ weights), float(np.trace(covariance))
    if power < 1e-14:
        return replace(encoding, gains=(1.0,) * len(weights))
    gains = covariance @ weights / power
    lost = max(0.0, 1 - power * float(gains @ gains) / total)
    return replace(encoding, gains=tuple(round(float(gain), 6) for gain in gains), lost=round(lost, 6))


def to_sound(samples: np.ndarray, rate: int, where: str) -> Sound:
    """Return an array of samples as a sound; integers are scaled to [-1, 1), channels mixed, a DC offset removed.

    Args:
        samples: (n,) or (n, channels), floating-point, signed integers, or unsigned ones around the middle of their
            range.
        where: the origin of the samples, with which error messages begin.

    Raises:
        DataError: wrong shape or type, no samples, or samples that are masked, not finite or far out of range.
    """
    if np.ma.is_masked(samples):
        what = f"{int(np.ma.getmaskarray(samples).sum()):,} samples are masked, and none can be missing"
        raise DataError(f"{where}: {what}; fill them, such as x.filled(0)")
    array = np.asarray(samples)
    encoding = Encoding()
    if array.dtype.kind in "iu":
        half = 2.0 ** (8 * array.dtype.itemsize - 1)
        array = (array - half if array.dtype.kind == "u" else array) / half
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind != "f":
        raise DataError(f"{where}: {array.dtype} array of shape {array.shape}; expected samples as numbers, shape (n,)")
    if not np.isfinite(array).all():
        raise DataError(f"{where}: samples that are not finite (NaN or infinity)")
    if (peak := float(np.abs(array).max())) > 1e5:
        raise DataError(f"{where}: samples up to {peak:.3g}; expected -1 to 1")
    if array.ndim == 2:
        covariance = _covariance(iter([array]), array.shape[1])
        weights = mixing_weights(covariance)
        encoding = _with_channels(encoding, covariance, weights)
        array = array.mean(1) if weights.max() < 1 else array[:, weights.argmax()]
    return _without_offset(Sound(array.astype(np.float32), int(rate), encoding, where))


def samples_like(sound: Sound, like: np.ndarray) -> np.ndarray:
    """Return a sound's samples in the type of others, (n,), or (n, channels) where these have channels.

    Integers have full scale at the ends of their type; a sound that would clip is scaled down as a whole.
    """
    samples = sound.samples
    if like.ndim == 2:
        samples = samples[:, None] * np.array(sound.encoding.gains, np.float32)
    if like.dtype.kind == "f":
        return samples.astype(like.dtype)
    half = 2.0 ** (8 * like.dtype.itemsize - 1)
    levels = samples / max(1.0, float(np.abs(samples).max(initial=0.0))) * half
    levels = np.rint(levels.astype(np.float64)).clip(-half, half - 1) + (half if like.dtype.kind == "u" else 0)
    integers: np.ndarray = levels.astype(like.dtype)
    return integers


def _without_offset(sound: Sound) -> Sound:
    """Return a sound less the mean of its samples, if that is more than MAX_OFFSET of the loudness.

    A mean of less than 0.1 s may be a part of a wave.
    """
    if len(sound.samples) < sound.rate // 10:
        return sound
    mean = float(sound.samples.mean(dtype=np.float64))
    if abs(mean) <= 1e-6:
        return sound
    centred = replace(sound, samples=(sound.samples - mean).astype(np.float32, copy=False))
    return centred if abs(mean) > MAX_OFFSET * loudness(centred) + 1e-6 else sound


def write_sound(sound: Sound, path: Path) -> float:
    """Write a sound as wav, flac or ogg, by the suffix, with the channels, subtype and tags of its encoding.

    Each channel holds the samples times its gain. A subtype that the format lacks becomes the nearest that it has:
    flac has integers of at most 24 bits, ogg has Vorbis. A sound that would clip is scaled down as a whole. What stood
    at `path` is replaced only by a complete file.

    Returns:
        The factor of the scaling, 1 where nothing would clip.

    Raises:
        DiskError: the file cannot be written.
    """
    try:
        data, factor = _encoded(sound, path.suffix.lower())
    except (RuntimeError, TypeError, ValueError) as error:
        raise DiskError(f"{path}: cannot be written: {_short(error)}") from None
    try:
        with replacing_file(path) as file:
            file.write(data)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from None
    return factor


def _encoded(sound: Sound, suffix: str) -> tuple[bytes, float]:
    """Return the content of a file, and the factor by which the sound is scaled down.

    Raises:
        ValueError, RuntimeError: the suffix is unknown, or the format lacks this sample rate or number of channels.
    """
    soundfile = require("soundfile", "voice", "writing recordings")
    if suffix not in _FORMATS:
        raise ValueError(f"the suffix is '{suffix}', expected one of {', '.join(SUFFIXES)}")
    name, subtype = _written_as(sound.encoding, suffix)
    if subtype == "VORBIS" and sound.rate > MAX_VORBIS_RATE:
        raise ValueError(f"ogg has at most {MAX_VORBIS_RATE:,} Hz, the recording {sound.rate:,} Hz")
    samples = sound.samples[:, None] * np.array(sound.encoding.gains, np.float32)
    bits = _BITS.get(subtype, 16)
    factor = 1.0
    if bits or subtype in ("VORBIS", "OPUS"):
        factor = 1 / max(1.0, float(np.abs(samples).max(initial=0.0)))
        samples *= np.float32(factor)
    if bits:  # exactly what was read, where nothing was changed
        half = 2.0 ** (bits - 1)
        integers = np.rint(samples.astype(np.float64) * half).clip(-half, half - 1).astype(np.int64)
        samples = (integers << (32 - bits)).astype(np.int32)
    buffer = io.BytesIO()
    buffer.name = ""  # error messages contain it
    with soundfile.SoundFile(buffer, "w", sound.rate, samples.shape[1], subtype, format=name) as file:
        for tag, text in sound.encoding.tags.items():
            with suppress(RuntimeError, ValueError):  # a tag that this format lacks
                setattr(file, tag, text)
        file.seekable = lambda: False
        file.write(samples)
    return buffer.getvalue(), factor


def _written_as(encoding: Encoding, suffix: str) -> tuple[str, str]:
    """Return format and subtype of a file with this suffix."""
    soundfile = require("soundfile", "voice", "writing recordings")
    formats, others, default = _FORMATS[suffix]
    name = encoding.format if encoding.format in formats else formats[0]
    if soundfile.check_format(name, encoding.subtype) and encoding.subtype != "MPEG_LAYER_III":
        return name, encoding.subtype
    return name, others.get(encoding.subtype, default)


def _short(error: Exception) -> str:
    """Return the last sentence of an error of libsndfile, without the file name before it."""
    return (str(error).splitlines() or [type(error).__name__])[0].rpartition(": ")[2].rstrip(".")


def levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return the power in dB of each frame of 20 ms: (ceil(n / (rate / 50)),)."""
    length = max(1, rate // 50)
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % length))
    decibels: np.ndarray = 10 * np.log10(np.mean(padded.reshape(-1, length) ** 2, 1) + 1e-12)
    return decibels


def decibels(amplitude: float) -> float:
    """Return an amplitude in dB of full scale, -120 for silence."""
    return 20 * float(np.log10(max(amplitude, 1e-6)))


def active(decibels: np.ndarray, below: float = ACTIVE_DB) -> np.ndarray:
    """Return which frames are active, by their levels in dB: (L,) bool. All are where all levels are equal."""
    reference = np.percentile(decibels, 97)
    if len(decibels) > CLICK_FRAMES:
        reference = max(reference, np.partition(decibels, -CLICK_FRAMES)[-CLICK_FRAMES] - CREST_DB)
    frames: np.ndarray = decibels >= reference - below
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
    samples = sound.samples[max(0, (frames[0] - 3) * length) : (frames[-1] + 4) * length]
    return replace(sound, samples=samples)
