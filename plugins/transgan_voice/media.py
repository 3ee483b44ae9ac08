"""Voices as tensors: what a network sees of a recording, and the recording made of what it returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Column, DataError, Draws, Media, Options
from transgan_voice import audio, pictures
from transgan_voice.audio import Sound
from transgan_voice.features import Features, MelFeatures
from transgan_voice.world import WorldFeatures

#: A crop with less than this share of active frames is drawn again, so many times at most.
LEAST_ACTIVE, TRIES = 0.25, 4


class VoiceOptions(Options):
    features: Literal["mel", "world"] = "mel"
    """What networks see: `mel`, log-mel spectrograms, made audible by Griffin-Lim; `world`, mel-cepstra, made audible
    by WORLD, with pitch and breath around the network (`pip install "transgan[world]"`)."""
    bands: int = Field(128, ge=16, le=256)
    """`mel`: how many bands. Griffin-Lim sounds clearly better with 128 than with the usual 80."""
    hop: int = Field(128, ge=32, le=512)
    """`mel`: samples at 16 kHz from one frame to the next; 128 are 8 ms."""
    window: int = Field(400, ge=64, le=1024)
    """`mel`: samples at 16 kHz of one frame, at least twice `hop`. 400 are 25 ms, within which formants hardly
    move; with the 1024 that vocoders in files are mostly trained with, Griffin-Lim is 1.3 dB further off."""
    iterations: int = Field(32, ge=1, le=1000)
    """`mel`: of Griffin-Lim."""
    vocoder: str | None = None
    """`mel`: a file with a network that makes sounds of spectrograms instead of Griffin-Lim: TorchScript, or with the
    ending .pt2 a program of `torch.export`. It takes (1, bands, frames) and returns frames x hop samples at 16 kHz. It
    is a program: load only what you trust."""
    order: int = Field(24, ge=8, le=60)
    """`world`: how many mel-cepstra, without the one that tells the loudness, which is kept as it is."""
    pitch: Literal["harvest", "dio"] = "harvest"
    """`world`: how F0 is found; `dio` is four times as fast and a little worse."""
    excerpt: int = Field(256, ge=8)
    """Frames in the middle of a recording by which held-out recordings are measured and shown."""
    loudness: Literal["rms", "peak", "none"] = "rms"
    """How recordings are made equally loud before analysis: by their active parts, by their peak, or not at all."""
    trim: bool = False
    """Cut silence off the ends of training recordings."""


class Statistics(NamedTuple):
    """Of a domain's features over the active frames of its training recordings: (B,) each."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class _Undo:
    """What the way back needs to know of a sound."""

    sound: Sound
    gain: float
    analysis: Any
    domain: str
    window: int
    """Frames of each part; 0 where there is only one."""


class VoiceMedia(Media):
    """Recordings of voices: wav, flac, ogg of any length and rate, mono or mixed to mono.

    Networks see (B, T): B bands over T frames, each band normalised by the statistics of the recording's own domain,
    without limits; `data.size` is the T of a training crop. What a recording keeps apart from them (its phase; with
    `world` pitch and breath) goes around the network. An item is a `Sound`.
    """

    Options = VoiceOptions
    suffixes = audio.SUFFIXES
    ragged = True

    def __init__(self, options: VoiceOptions, size: int):
        super().__init__(options, size)
        self.front: Features = (
            WorldFeatures(options.order, options.pitch)
            if options.features == "world"
            else MelFeatures(options.bands, options.hop, options.window, options.iterations, options.vocoder)
        )
        self.channels = self.front.channels

    @property
    def space(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def kind(self) -> str:
        """What the channels are: `bands`, from low to high, or `cepstra`."""
        return self.front.kind

    # Reading and training

    def read(self, item: Any) -> Sound:
        """A sound: of a path, a `Sound`, an array of samples at 16 kHz, or a callable of the rate."""
        if isinstance(item, Sound):
            return audio.sound_of(item.samples, item.rate, "a sound")
        if callable(item):
            return Sound(np.asarray(item(self.front.rate), dtype=np.float32), self.front.rate)
        if isinstance(item, np.ndarray):
            return audio.sound_of(item, self.front.rate, "an array")
        return audio.read_sound(Path(item))

    def decode(self, location: Any) -> np.ndarray:
        """(L, columns) float32: the features of a whole recording, and what has to be learnt beside them."""
        sound = self.read(location)
        return self.front.pack(self.analyse(audio.trimmed(sound) if self.options.trim else sound))

    def gain(self, sound: Sound) -> float:
        """What a sound is multiplied with before it is analysed."""
        if self.options.loudness == "none":
            return 1.0
        if self.options.loudness == "peak":
            peak = float(np.abs(sound.samples).max())
            return 0.9 / peak if peak > 2e-6 else 1.0
        level = audio.loudness(sound)
        return audio.LEVEL / level if level else 1.0

    def analyse(self, sound: Sound) -> Any:
        """Features, and what is kept apart, of a sound made as loud as others: `frames` is (L, B), not normalised."""
        at_rate = sound.at(self.front.rate)
        return self.front.analyse(at_rate.samples * np.float32(self.gain(at_rate)))

    def sound(self, analysis: Any) -> Sound:
        """The opposite of `analyse`, as far as there is one."""
        return Sound(self.front.sound(analysis), self.front.rate)

    def learn(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        """Means and deviations over active frames; with `world` those of the pitch too."""
        packed, active = [], []
        for each in decoded:
            packed.append(np.asarray(each))
            active.append(audio.active(self.front.levels(packed[-1])))
        every, loud = np.concatenate(packed), np.concatenate(active)
        bands = self.front.bands(every[loud]).astype(np.float64)
        known = {"mean": bands.mean(0), "std": np.maximum(bands.std(0), 1e-4)}
        return {
            **{name: torch.from_numpy(value).float() for name, value in known.items()},
            **self.front.learn(every, loud),
        }

    def known(self, domain: str) -> Mapping[str, Tensor]:
        """What was learnt of a domain. DataError."""
        known = self.learnt.get(domain, {})
        shapes = {name: tuple(known[name].shape) for name in ("mean", "std", *self.front.names) if name in known}
        whole = len(shapes) == 2 + len(self.front.names)
        if not whole or (shapes["mean"], shapes["std"]) != ((self.channels,),) * 2:
            raise DataError(f"statistics of '{domain}' for {self.channels} bands were neither learnt nor stored")
        return known

    def statistics(self, domain: str) -> Statistics:
        """By which a domain's features are normalised. DataError."""
        known = self.known(domain)
        return Statistics(known["mean"], known["std"])

    def batch(self, decoded: Tensor | Sequence[Tensor], draws: Draws | None, domains: Sequence[str]) -> Tensor:
        size = self.size if draws is not None else self.options.excerpt
        lengths = [len(each) for each in decoded]
        room = np.maximum(np.array(lengths) - size, 0)
        if draws is None:
            begin = room // 2
        else:
            chances = draws.uniform("crop", TRIES).cpu().double().numpy()
            begin = np.array([self._drawn(*each, size) for each in zip(decoded, chances, room, strict=True)])
        crops = []
        for each, first, domain in zip(decoded, begin, domains, strict=True):
            mean, std = self.statistics(domain)
            frames = torch.from_numpy(frame_numbers(len(each), size, int(first)))
            crops.append(((self.front.bands(each[frames]) - mean) / std).T)
        return torch.stack(crops)

    def _drawn(self, packed: Tensor, chances: np.ndarray, room: int, size: int) -> int:
        """Where a crop begins: the first place drawn that is not nearly silent, or else the least silent one."""
        if not room:
            return 0
        begins = (chances * (room + 1)).astype(int)
        loud = audio.active(self.front.levels(packed.numpy()))
        shares = np.array([loud[begin : begin + size].mean() for begin in begins])
        enough = np.flatnonzero(shares >= LEAST_ACTIVE)
        return int(begins[enough[0] if len(enough) else shares.argmax()])

    # Translating

    def normalised(self, frames: np.ndarray, domain: str) -> Tensor:
        """(L, B) as (B, L), as networks see a domain."""
        mean, std = self.statistics(domain)
        return ((torch.from_numpy(frames) - mean) / std).T

    def restored(self, x: Tensor, domain: str) -> np.ndarray:
        """The opposite of `normalised`."""
        mean, std = self.statistics(domain)
        frames: np.ndarray = (x.detach().float().cpu().T * std + mean).numpy()
        return frames

    def to_model(self, x: Sound, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """Overlapping windows of `data.size` frames, or with `native` the whole recording at once."""
        at_rate = x.at(self.front.rate)
        gain = self.gain(at_rate)
        analysis = self.front.analyse(at_rate.samples * np.float32(gain))
        frames = self.normalised(analysis.frames, domain)
        count = frames.shape[1]
        if native:
            window = -(-max(count, self.size) // stride) * stride
            parts = frames[:, frame_numbers(count, window, 0)][None]
            return parts, _Undo(x, gain, analysis, domain, 0)
        window = -(-self.size // stride) * stride
        parts = torch.stack(
            [frames[:, reflected(begin + np.arange(window), count)] for begin in _begins(count, window)]
        )
        return parts, _Undo(x, gain, analysis, domain, window)

    def from_model(self, y: Tensor, undo: _Undo, domain: str) -> Sound:
        """A sound of exactly as many samples, and as loud."""
        count = len(undo.analysis.frames)
        joined = _joined(y, count) if undo.window else y[0, :, :count]
        frames = self.restored(joined, domain)
        analysis = self.front.converted(undo.analysis, frames, self.known(undo.domain), self.known(domain))
        made = Sound(self.front.sound(analysis) / np.float32(undo.gain), self.front.rate).at(undo.sound.rate)
        length = len(undo.sound.samples)
        samples = np.zeros(length, np.float32)
        samples[: len(made.samples)] = made.samples[:length]
        made = Sound(samples, undo.sound.rate)
        level = audio.loudness(made)
        factor = audio.loudness(undo.sound) / level if level else 0.0
        return Sound(samples * np.float32(factor), undo.sound.rate)

    def export(self, x: Sound) -> Sound:
        """The sound itself, which has `samples`, `rate` and `save(path)`."""
        return x

    def write(self, x: Sound, path: Path) -> None:
        audio.write_sound(x, path)

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Spectrograms on one picture, and a recording for each column: its items one after the other."""
        drawn: dict[str, list[np.ndarray]] = {}
        pause = np.zeros(self.front.rate * 3 // 10, np.float32)
        for number, (name, column) in enumerate(columns.items()):
            known = self.known(column.domain)
            items = [self.restored(x, column.domain) for x in column.items]
            drawn[name] = [self.front.picture(frames) for frames in items]
            spoken = [self.front.sound(self.front.imagined(frames, known)) for frames in items]
            parts = [part for each in spoken for part in (each, pause)]
            sound = Sound(np.concatenate(parts), self.front.rate)
            audio.write_sound(sound, path.with_name(f"{path.name}-{number + 1}-{pictures.slug(name)}.wav"))
        return pictures.save(pictures.sheet(drawn), path.with_suffix(".png"))


def reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Places before the begin and behind the end of something of this length, mirrored into it as often as needed."""
    period = max(1, 2 * (length - 1))
    folded = np.mod(places, period)
    found: np.ndarray = np.minimum(folded, period - folded) if length > 1 else np.zeros_like(places)
    return found


def frame_numbers(length: int, size: int, begin: int) -> np.ndarray:
    """The frames of a crop that begins at `begin`; a recording that is too short goes back and forth."""
    return reflected(begin + np.arange(size), length)


def _begins(count: int, window: int) -> range:
    """Where windows begin so that they overlap by half and every frame is in the inner part of one."""
    return range(-(window // 4), count - window // 4, max(1, window // 2))


def _joined(y: Tensor, count: int) -> Tensor:
    """(K, B, window) cross-faded into (B, count)."""
    window = y.shape[-1]
    begins = _begins(count, window)
    # Zero at a window's outer eighths, where a network sees least of what is around.
    ramp = ((torch.arange(window, dtype=torch.float64) + 0.5) / window * 2 - 1).abs()
    weight = ((0.75 - ramp) / 0.5).clamp(0, 1).to(y)
    lead, total = -begins[0], begins[-1] + window + window // 4
    joined, weights = y.new_zeros(y.shape[1], lead + total), y.new_zeros(lead + total)
    for part, begin in zip(y, begins, strict=True):
        joined[:, lead + begin : lead + begin + window] += part * weight
        weights[lead + begin : lead + begin + window] += weight
    inner = slice(lead, lead + count)
    return joined[:, inner] / weights[inner].clamp_min(1e-6)
