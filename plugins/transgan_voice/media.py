"""The media `voice`: recordings as normalized acoustic features, and recordings synthesized from them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transgan_images.sheets import embedded

from transgan.api import (
    Column,
    DataError,
    Description,
    Embedded,
    Media,
    Notes,
    Options,
    SampleRng,
    Size,
    UsageError,
)
from transgan_voice import audio, quality, spectrogram_images
from transgan_voice.audio import Sound
from transgan_voice.features import FeatureExtractor, MelFeatures
from transgan_voice.windows import crop_frames, cross_fade, cut
from transgan_voice.world import WorldFeatures

#: Of CROP_TRIES random crops, the first with at least this share of active frames is taken.
MIN_ACTIVE, CROP_TRIES = 0.25, 4
#: A recording to translate is reported if its sample rate is more than this factor of the model's, or if more than this
#: share of the power of its channels is not in their mix.
MUCH_FASTER, MUCH_LOST = 2.0, 0.1
#: A result that is scaled down by less than this factor so that it does not clip is reported.
QUIETER = 0.98


class VoiceMediaOptions(Options):
    """Options of the media `voice`."""

    features: Literal["mel", "world"] = "mel"
    """Acoustic features: `mel`, log-mel spectrograms, synthesized by Griffin-Lim or a neural vocoder; `world`,
    mel-cepstra, synthesized by WORLD, with F0 and aperiodicity outside of the network."""
    bands: int = Field(128, ge=16, le=256)
    """`mel`: number of bands. Griffin-Lim sounds clearly better with 128 than with the usual 80."""
    hop: int = Field(128, ge=32, le=512)
    """`mel`: samples from one frame to the next; 128 are 8 ms at 16 kHz."""
    window: int = Field(400, ge=64, le=1024)
    """`mel`: samples of a frame, at least twice `hop`. 400 are 25 ms at 16 kHz, within which formants hardly change;
    with 1024, usual for neural vocoders, Griffin-Lim has 1.3 dB more mel-cepstral distortion."""
    iterations: int = Field(32, ge=1, le=1000)
    """`mel`: iterations of Griffin-Lim."""
    vocoder: str | None = None
    """`mel`: path of a neural vocoder to use instead of Griffin-Lim, which maps (1, bands, frames) to frames * hop
    samples. Weights of a HiFi-GAN generator (V1, V2 or V3; .safetensors, or .pt as torch.save writes them) are read as
    weights only. A TorchScript file, or a `torch.export` program with the suffix .pt2, is code: use only files that you
    trust."""
    rate: Literal[16000, 22050] = 16000
    """`mel`: sample rate in Hz, that of the vocoder. `hop` and `window` count samples of it."""
    top: float | None = Field(None, ge=1000.0, le=11025.0)
    """`mel`: upper edge of the highest band in Hz, by default half of the sample rate; published vocoders at 22,050 Hz
    take 8000."""
    melody: Literal["spectrum", "moved"] = "spectrum"
    """`mel`, with Griffin-Lim: the phase from which it starts, in which most of the pitch of low voices lies: the
    source's own, or (`moved`) that of the source with its F0 moved by WORLD to the target's mean and deviation."""
    order: int = Field(24, ge=8, le=60)
    """`world`: number of mel-cepstra, without c_0, which carries the level and is copied from the source."""
    pitch: Literal["harvest", "dio"] = "harvest"
    """`world`: the F0 estimator; `dio` is four times as fast and a little less accurate."""
    excerpt: int = Field(256, ge=8)
    """Frames from the middle of a recording by which held-out recordings are evaluated and previewed."""
    loudness: Literal["rms", "peak", "none"] = "rms"
    """Normalization of loudness before analysis: by the RMS of active frames, by the peak, or none."""
    trim: bool = False
    """Cut silence off the ends of training recordings."""
    silence: float = Field(-60.0, ge=-120.0, le=0.0)
    """Recordings whose active frames have less than this root mean square, in dB of full scale, are silence: nothing is
    learned from them, and they are named."""
    max_seconds: float = Field(audio.MAX_SECONDS, gt=0.0)
    """Longest recording that is read, in seconds; a longer one is refused before it is decoded. Each second takes
    about 5 MB of memory."""


class Normalization(NamedTuple):
    """Mean and standard deviation of a domain's features over the active frames of its training recordings."""

    mean: Tensor
    """(B,)"""
    std: Tensor
    """(B,)"""


@dataclass(frozen=True)
class _Undo:
    """What `from_model` needs of the source recording."""

    sound: Sound
    gain: float
    analysis: Any
    domain: str
    window: int
    """Frames of each window; 0 where the recording is translated as a whole."""


class VoiceMedia(Media[VoiceMediaOptions]):
    """Recordings of voices: wav, flac, ogg, of any subtype and sample rate; several channels are mixed to one.

    A sample is (B, T): B features of T frames, each feature normalized by its mean and deviation over the domain's
    training recordings, hence not limited to [-1, 1]; `data.size` is the T of a training crop. What else synthesis
    needs is not seen by networks: phase for `mel`; F0, aperiodicity and level for `world`. An item is a `Sound`.
    What is written has the source's number of samples, sample rate, channels, subtype and loudness.
    """

    suffixes = audio.SUFFIXES
    options_at_use = ("max_seconds",)
    ragged = True
    bounded = False

    size: int

    def __init__(self, options: VoiceMediaOptions, size: Size):
        if not isinstance(size, int):
            raise UsageError(f"data.size = {list(size)}: expected a number of frames")
        super().__init__(options, size)
        self.extractor: FeatureExtractor = (
            WorldFeatures(options.order, options.pitch)
            if options.features == "world"
            else MelFeatures(
                options.bands,
                options.hop,
                options.window,
                options.iterations,
                options.vocoder,
                options.rate,
                options.top,
                moved=options.melody == "moved",
            )
        )
        self.channels = self.extractor.channels
        self.notes = Notes()

    @property
    def space(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def kind(self) -> str:
        """What the channels are: `bands`, low frequencies first, or `cepstra`."""
        return self.extractor.kind

    # Reading and training

    def is_item(self, value: Any) -> bool:
        """Return whether a value is one recording; a pair (samples, rate) is."""
        return _is_pair(value) or super().is_item(value)

    def read(self, item: Any) -> Sound:
        """Return a sound.

        Args:
            item: a path, a `Sound`, or a pair of samples and their rate in Hz. Samples are an array (n,) or
                (n, channels), or a tensor (n,) or (channels, n): floating point from -1 to 1, or integers of full
                scale; without a rate they are at 16 kHz. A callable is called with the sample rate.

        Raises:
            DataError: it cannot be read.
        """
        if _is_pair(item):
            return self._read_samples(item[0], int(item[1]))
        if isinstance(item, (np.ndarray, Tensor)):
            return self._read_samples(item, self.extractor.rate)
        if isinstance(item, Sound):
            return replace(audio.to_sound(item.samples, item.rate, item.name), encoding=item.encoding)
        if callable(item):
            samples = np.asarray(item(self.extractor.rate), dtype=np.float32)
            return Sound(samples, self.extractor.rate, name="a synthesized sound")
        if not isinstance(item, (str, os.PathLike)):
            raise DataError(f"found {type(item).__name__}; expected a path, a pair (samples, rate), or an array")
        return audio.read_sound(Path(item), self.options.max_seconds)

    def _read_samples(self, samples: Any, rate: int) -> Sound:
        low, high = audio.RATES
        if not low <= rate <= high:
            raise DataError(f"sample rate of {rate} Hz; expected {low:,} to {high:,} Hz")
        if isinstance(samples, Tensor):
            return audio.to_sound(samples.detach().cpu().numpy().T, rate, "a tensor")
        return audio.to_sound(samples, rate, "an array")

    def describe(self, x: Sound) -> Description:
        samples = self.size * self.extractor.hop
        return quality.describe(x, self.is_silent(x), self.extractor.rate, samples)

    def decode(self, location: Any) -> np.ndarray:
        """Return the features (L, 1 + columns) float32 of a whole recording.

        See `with_activity`.

        Raises:
            DataError: the recording cannot be read, or is silence.
        """
        sound = self.read(location)
        if self.is_silent(sound):
            level, limit = (round(audio.decibels(each)) for each in (audio.loudness(sound), self._silence(sound)))
            raise DataError(
                f"{sound.name}: silence: {level} dB of full scale; expected more than {limit} dB (option silence)"
            )
        return self.with_activity(self.extractor.pack(self.analyze(audio.trim(sound) if self.options.trim else sound)))

    def with_activity(self, packed: np.ndarray) -> np.ndarray:
        """Return what is kept of a recording, (L, 1 + columns) float32, of its packed features.

        The first column is 1 for active frames, else 0. So the levels of a recording are worked out once, and not again
        for each crop.
        """
        return np.column_stack([audio.active(self.extractor.levels(packed)).astype(np.float32), packed])

    def is_silent(self, sound: Sound) -> bool:
        """Return whether a recording is silence."""
        return audio.loudness(sound) <= self._silence(sound)

    def _silence(self, sound: Sound) -> float:
        """Return the loudness of silence: that of the option, or of noise of one step of the samples' integers."""
        return max(10 ** (self.options.silence / 20), sound.encoding.step)

    def gain(self, sound: Sound) -> float:
        """Return the factor that normalizes the loudness of a sound; 1 for silence."""
        level = audio.loudness(sound)
        if self.options.loudness == "none" or level <= self._silence(sound):
            return 1.0
        if self.options.loudness == "peak":
            return 0.9 / float(np.abs(sound.samples).max())
        return audio.TARGET_RMS / level

    def analyze(self, sound: Sound) -> Any:
        """Return the analysis of a sound after normalization of its loudness, see `FeatureExtractor`."""
        resampled = sound.resample(self.extractor.rate)
        return self.extractor.analyze(resampled.samples * np.float32(self.gain(resampled)))

    def synthesize(self, analysis: Any) -> Sound:
        """Return the sound of an analysis."""
        return Sound(self.extractor.synthesize(analysis), self.extractor.rate)

    def fit_statistics(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        """Return `mean` and `std` of the features over active frames, and for `world` statistics of F0 and level.

        Recordings in which nothing changes are skipped, unless there are no others.
        """
        recordings = [np.asarray(each) for each in decoded]
        together = np.concatenate([each for each in recordings if np.ptp(each, axis=0).any()] or recordings)
        all_active, all_packed = together[:, 0] > 0, together[:, 1:]
        frames = self.extractor.frames_of(all_packed[all_active]).astype(np.float64)
        moments = {"mean": frames.mean(0), "std": np.maximum(frames.std(0), 1e-4)}
        return {
            **{name: torch.from_numpy(value).float() for name, value in moments.items()},
            **self.extractor.fit_statistics(all_packed, all_active),
        }

    def domain_statistics(self, domain: str) -> Mapping[str, Tensor]:
        """Return the fitted statistics of a domain.

        Raises:
            DataError: there are none, or they are of other features.
        """
        statistics = self.statistics.get(domain, {})
        names = ("mean", "std", *self.extractor.statistic_names)
        shapes = {name: tuple(statistics[name].shape) for name in names if name in statistics}
        complete = len(shapes) == len(names)
        if not complete or (shapes["mean"], shapes["std"]) != ((self.channels,),) * 2:
            raise DataError(
                f"domain '{domain}': there are no statistics for {self.channels} features; expected those that "
                "training has fitted"
            )
        return statistics

    def normalization(self, domain: str) -> Normalization:
        """Return mean and deviation by which a domain's features are normalized.

        Raises:
            DataError: see `domain_statistics`.
        """
        statistics = self.domain_statistics(domain)
        return Normalization(statistics["mean"], statistics["std"])

    def batch(self, decoded: Tensor | Sequence[Tensor], rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        size = self.size if rng is not None else self.options.excerpt
        lengths = [len(each) for each in decoded]
        room = np.maximum(np.array(lengths) - size, 0)
        if rng is None:
            starts = np.array([self.excerpt_start(length, size) for length in lengths])
        else:
            positions = rng.uniform("crop", CROP_TRIES).cpu().double().numpy()
            starts = np.array([self._crop_start(*each, size) for each in zip(decoded, positions, room, strict=True)])
        crops = []
        for each, start, domain in zip(decoded, starts, domains, strict=True):
            mean, std = self.normalization(domain)
            numbers = torch.from_numpy(crop_frames(len(each), size, int(start)))
            crops.append(((self.extractor.frames_of(each[numbers, 1:]) - mean) / std).T)
        return torch.stack(crops)

    def excerpt_start(self, length: int, size: int) -> int:
        """Return the first frame of the excerpt of `size` frames from a recording's middle, where a window begins."""
        apart = max(1, self.size // 2)
        return max(0, length - size) // 2 // apart * apart

    def active_frames(self, decoded: np.ndarray) -> np.ndarray:
        """Return which frames of a decoded recording are active: (L,) bool."""
        active: np.ndarray = decoded[:, 0] > 0
        return active

    def normalized_frames(self, decoded: np.ndarray, domain: str) -> np.ndarray:
        """Return the normalized frames (L, B) float32 of a decoded recording."""
        mean, std = self.normalization(domain)
        frames: np.ndarray = (self.extractor.frames_of(decoded[:, 1:]) - mean.numpy()) / std.numpy()
        return frames

    def _crop_start(self, decoded: Tensor, positions: np.ndarray, room: int, size: int) -> int:
        """Return the first frame of a crop: the first random position with enough active frames, or else the one with
        most; where all of them are silence, a random one of the positions with enough or, if there are none, with most.

        Args:
            positions: (CROP_TRIES,) random numbers in [0, 1).
            room: last possible first frame.
        """
        if not room:
            return 0
        starts = (positions * (room + 1)).astype(int)
        active = decoded.numpy()[:, 0]
        shares = np.array([active[start : start + size].mean() for start in starts])
        enough = np.flatnonzero(shares >= MIN_ACTIVE)
        if shares.any():
            return int(starts[enough[0] if len(enough) else shares.argmax()])
        counts = np.cumsum(np.pad(active, (1, 0)))
        counts = counts[size:] - counts[:-size]
        best = np.flatnonzero(counts >= min(MIN_ACTIVE * size, counts.max()))
        return int(best[int(positions[0] * len(best))])

    # Translating

    def normalize(self, frames: np.ndarray, domain: str) -> Tensor:
        """Return frames (L, B) as a normalized sample (B, L) of a domain."""
        mean, std = self.normalization(domain)
        return ((torch.from_numpy(frames) - mean) / std).T

    def denormalize(self, x: Tensor, domain: str) -> np.ndarray:
        """Return a sample (B, L) of a domain as frames (L, B): the opposite of `normalize`."""
        mean, std = self.normalization(domain)
        frames: np.ndarray = (x.detach().float().cpu().T * std + mean).numpy()
        return frames

    def to_model(self, x: Sound, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """Return overlapping windows of `data.size` frames or, with `native`, the whole recording as one window.

        What gets lost by the model's sample rate or its single channel is reported as a `DataWarning`, of each kind
        the first one.
        """
        self._report_losses(x)
        resampled = x.resample(self.extractor.rate)
        gain = self.gain(resampled)
        analysis = self.extractor.analyze(resampled.samples * np.float32(gain))
        frames = self.normalize(analysis.frames, domain)
        count = frames.shape[1]
        if native:
            window = -(-max(count, self.size) // stride) * stride
            windows = frames[:, crop_frames(count, window, 0)][None]
            return windows, _Undo(x, gain, analysis, domain, 0)
        window = -(-self.size // stride) * stride
        return cut(frames[None], window)[0], _Undo(x, gain, analysis, domain, window)

    def _report_losses(self, x: Sound) -> None:
        rate, channels = self.extractor.rate, len(x.encoding.gains)
        if x.rate > MUCH_FASTER * rate:
            self.notes.say(
                "rate",
                f"{x.name}: has {x.rate:,} Hz, the model {rate:,} Hz: the result has the recording's sample rate, but "
                f"nothing above {rate // 2:,} Hz",
            )
        if x.rate * MUCH_FASTER <= rate:
            self.notes.say(
                "rate", f"{x.name}: has {x.rate:,} Hz, the model {rate:,} Hz: half or more of its bands are empty"
            )
        if min(x.encoding.gains) < -MUCH_LOST:
            self.notes.say("polarity", f"{x.name}: its channels cancel each other: the loudest one is taken")
        if x.encoding.lost > MUCH_LOST:
            self.notes.say(
                "channels",
                f"{x.name}: its {channels} channels differ, and are mixed to one: {x.encoding.lost:.0%} of their power "
                f"is lost; the result has {channels} channels of the same voice",
            )
        if self.is_silent(x):
            self.notes.say("silence", f"{x.name}: silence, and so is the result")

    def from_model(self, y: Tensor, undo: _Undo, domain: str) -> Sound:
        """Return a sound of the source's number of samples, sample rate, loudness and encoding."""
        frames = self.denormalize(self.join(y, undo), domain)
        source, target = self.domain_statistics(undo.domain), self.domain_statistics(domain)
        analysis = self.extractor.convert(undo.analysis, frames, source, target)
        converted = Sound(self.extractor.synthesize(analysis) / np.float32(undo.gain), self.extractor.rate)
        converted = converted.resample(undo.sound.rate)
        length = len(undo.sound.samples)
        samples = np.zeros(length, np.float32)
        samples[: len(converted.samples)] = converted.samples[:length]
        converted = Sound(samples, undo.sound.rate)
        rms = audio.loudness(converted)
        factor = audio.loudness(undo.sound) / rms if rms else 0.0
        return Sound(samples * np.float32(factor), undo.sound.rate, undo.sound.encoding)

    def join(self, y: Tensor, undo: Any) -> Tensor:
        """Return the frames (B, L) of a recording from its translated windows, as `from_model` takes them.

        Args:
            y: (K, B, T), for what `to_model` returned with `undo`.
        """
        count = len(undo.analysis.frames)
        return cross_fade(y[None], count)[0] if undo.window else y[0, :, :count]

    def export(self, x: Sound) -> Sound:
        """Return the sound itself, which has `samples`, `rate` and `save(path)`."""
        return x

    def export_like(self, x: Sound, like: Any) -> Any:
        """Return a sound as a pair of samples and their rate, or as samples, where `like` is one, see `read`.

        They have the type, the channels and the device of those. As integers a sound that would clip is scaled down as
        a whole.
        """
        if _is_pair(like):
            return self.export_like(x, like[0]), x.rate
        if isinstance(like, Tensor):
            array = audio.samples_like(x, like.detach().cpu().numpy().T)
            return torch.from_numpy(np.ascontiguousarray(array.T)).to(like.device)
        return audio.samples_like(x, like) if isinstance(like, np.ndarray) else x

    def write(self, x: Sound, path: Path) -> None:
        factor = audio.write_sound(x, path)
        if factor < QUIETER:
            self.notes.say("clipping", f"{path}: made quieter by {-audio.decibels(factor):.1f} dB, else it would clip")

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Write an image of spectrograms, and for each column a recording of its items, one after the other."""
        images: dict[str, list[np.ndarray]] = {}
        pause = np.zeros(self.extractor.rate * 3 // 10, np.float32)
        for number, (name, column) in enumerate(columns.items()):
            statistics = self.domain_statistics(column.domain)
            items = [self.denormalize(x, column.domain) for x in column.items]
            images[name] = [self.extractor.spectrogram(frames) for frames in items]
            sounds = [self.extractor.synthesize(self.extractor.from_frames(frames, statistics)) for frames in items]
            segments = [segment for each in sounds for segment in (each, pause)]
            sound = Sound(np.concatenate(segments), self.extractor.rate)
            audio.write_sound(sound, path.with_name(f"{path.name}-{number + 1}-{spectrogram_images.slug(name)}.wav"))
        return spectrogram_images.save(spectrogram_images.grid(images), path.with_suffix(".png"))

    @classmethod
    def embed(cls, path: Path, side: int) -> Embedded:
        """Return the image of spectrograms for a web page as WebP; recordings as they are."""
        return embedded(path, side) if path.suffix == ".png" else super().embed(path, side)


def _is_pair(value: Any) -> bool:
    """Return whether a value is samples with their rate."""
    pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (np.ndarray, Tensor))
    return pair and isinstance(value[1], (int, float, np.number))
