"""Synthetic voices: random utterances, synthesized for speakers that differ in a few numbers.

A source-filter synthesizer (Fant, 1960; Klatt, 1980): glottal pulses and breath noise through a cascade of six
resonators that follow the vowels' formants (averages as in Peterson and Barney, 1952), and filtered noise for
fricatives. An `Utterance` does not depend on the `Speaker`: the same utterance by two speakers gives two recordings
that are aligned sample by sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from transgan.api import require

#: Sample rate in Hz.
RATE = 16_000
#: Samples of a frame: 5 ms.
FRAME = 80
#: Four formants in Hz.
VOWELS = {
    "iy": (270, 2290, 3010, 3500), "ih": (390, 1990, 2550, 3500), "eh": (530, 1840, 2480, 3500),
    "ae": (660, 1720, 2410, 3500), "aa": (730, 1090, 2440, 3400), "ao": (570, 840, 2410, 3400),
    "uh": (440, 1020, 2240, 3400), "uw": (300, 870, 2240, 3400), "ah": (640, 1190, 2390, 3400),
    "er": (490, 1350, 1690, 3300),
}  # fmt: skip
#: Four formants in Hz, level in dB.
SONORANTS = {
    "m": (250, 1100, 2100, 3200, -9), "n": (250, 1500, 2400, 3300, -9), "l": (350, 1050, 2700, 3300, -5),
    "r": (330, 1150, 1450, 3200, -4), "w": (300, 650, 2200, 3200, -5), "y": (270, 2200, 3000, 3500, -5),
}  # fmt: skip
#: Centre and bandwidth of the noise in Hz, its level in dB, whether the phone is voiced.
FRICATIVES = {
    "s": (5200, 1400, -14, False), "sh": (3000, 1200, -12, False), "f": (4200, 4000, -24, False),
    "z": (5000, 1500, -17, True), "v": (3800, 3800, -20, True), "h": (1500, 2500, -22, False),
}  # fmt: skip
#: A label is an index into this tuple.
PHONES = ("silence", *VOWELS, *SONORANTS, *FRICATIVES)
CONSONANTS = (*SONORANTS, *FRICATIVES)
_NEUTRAL: tuple[float, ...] = VOWELS["ah"]
_HIGH_FORMANTS, _BANDWIDTHS = (4300.0, 5300.0), (60.0, 80.0, 120.0, 175.0, 250.0, 250.0)


@dataclass(frozen=True)
class Speaker:
    """The properties of a voice that do not depend on the utterance."""

    f0: float
    """Geometric mean of the fundamental frequency in Hz."""
    f0_spread: float
    """Standard deviation of its logarithm."""
    tract: float = 1.0
    """Factor of all formants: above 1 for a shorter vocal tract."""
    formants: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Further factor of each formant."""
    bandwidth: float = 1.0
    """Factor of all bandwidths."""
    tilt: float = 0.55
    """Pole of the glottal low-pass filter, 0 to 1: the larger, the less energy at high frequencies."""
    breath: float = 0.01
    """Amplitude of the breath noise."""
    open_quotient: float = 0.55
    """Share of a period in which the glottis is open."""
    accent: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()
    """Further factor of each formant, by phone: habits of pronunciation, which no warp of the spectrum describes."""
    reduction: float = 0.0
    """How far the shortest vowels are drawn towards the neutral one, 0 to 1; half as far for each 60 ms more."""
    glide: int = 13
    """Frames over which formants and levels move from one phone to the next: 13 are 60 ms. Odd."""
    creak: float = 0.0
    """How much the glottis closes, and breath is lost, towards the end of an utterance: 0 to 1."""
    melody: float = 0.0
    """Rise of F0 within the last quarter of an utterance, in standard deviations; a fall if negative."""


@dataclass(frozen=True)
class Utterance:
    """Phones, durations and F0 contour of a sentence, independent of the speaker."""

    phones: tuple[str, ...]
    durations: np.ndarray
    """(phones,) frames of each phone."""
    f0_contour: np.ndarray
    """(M,) logarithm of F0, in standard deviations from the speaker's mean."""
    noise_seed: int
    """Random seed of breath and fricatives."""

    @property
    def labels(self) -> np.ndarray:
        """(M,) index into PHONES of each frame."""
        return np.repeat([PHONES.index(phone) for phone in self.phones], self.durations)

    @property
    def voiced(self) -> np.ndarray:
        """(M,) bool: which frames are voiced."""
        voiced = [p in VOWELS or p in SONORANTS or (p in FRICATIVES and FRICATIVES[p][3]) for p in self.phones]
        return np.repeat(voiced, self.durations)


@dataclass(frozen=True)
class GroundTruth:
    """Phones and F0 of a synthetic recording every 5 ms; frame m are the samples 80 m to 80 m + 79."""

    labels: np.ndarray
    """(M,) index into PHONES; 0 is silence."""
    f0: np.ndarray
    """(M,) Hz; 0 where unvoiced."""

    @property
    def voiced(self) -> np.ndarray:
        """(M,) bool: which frames are voiced."""
        return self.f0 > 0

    def at(self, seconds: np.ndarray) -> "GroundTruth":
        """Return the ground truth at other times, in seconds."""
        frames = np.clip((np.asarray(seconds) * RATE // FRAME).astype(int), 0, len(self.labels) - 1)
        return GroundTruth(self.labels[frames], self.f0[frames])


@lru_cache(256)
def make_utterance(seed: int, index: int) -> Utterance:
    """Return a random utterance of six to ten syllables, two to four seconds; equal arguments give equal utterances."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    syllables = int(rng.integers(6, 11))
    phones, durations = ["silence"], [int(rng.integers(16, 30))]

    def append(phone: str, low: int, high: int) -> None:
        phones.append(phone)
        durations.append(int(rng.integers(low, high)))

    for _ in range(syllables):
        if rng.random() < 0.9:
            append(CONSONANTS[rng.integers(len(CONSONANTS))], 10, 22)
        append(tuple(VOWELS)[rng.integers(len(VOWELS))], 16, 40)
        if rng.random() < 0.3:
            append(CONSONANTS[rng.integers(len(CONSONANTS))], 10, 18)
        if rng.random() < 0.08:
            append("silence", 10, 30)
    append("silence", 16, 30)
    count = sum(durations)
    time = np.linspace(0, 1, count)
    # Declination, then pitch accents, then slow random variation.
    contour = 0.9 - 1.8 * time
    for _ in range(syllables // 2):
        contour = contour + rng.normal(0.7, 0.4) * np.exp(-0.5 * ((time - rng.random()) / 0.04) ** 2)
    window = np.hanning(41) / np.hanning(41).sum()
    contour = contour + 0.5 * np.convolve(rng.normal(0, 1, count + 40), window, "valid")
    return Utterance(tuple(phones), np.array(durations), contour, int(rng.integers(2**31)))


def f0_track(utterance: Utterance, speaker: Speaker) -> np.ndarray:
    """Return F0 in Hz, (M,), in unvoiced frames too."""
    contour = utterance.f0_contour + speaker.melody * _rising(len(utterance.f0_contour), 0.75)
    f0: np.ndarray = speaker.f0 * np.exp(speaker.f0_spread * contour)
    return f0


def _rising(frames: int, start: float) -> np.ndarray:
    """Return a ramp (M,) over an utterance: 0 until `start`, a share of it, then up to 1."""
    ramp: np.ndarray = np.clip((np.linspace(0, 1, frames) - start) / (1 - start), 0, 1)
    return ramp


def _smooth(track: np.ndarray, frames: int) -> np.ndarray:
    """Return a weighted moving average of targets (M, ...) over an odd number of frames: coarticulation."""
    window = np.hanning(frames)
    padded = np.pad(track, [(frames // 2, frames // 2)] + [(0, 0)] * (track.ndim - 1), "edge")
    slices = np.lib.stride_tricks.sliding_window_view(padded, frames, axis=0)
    smoothed: np.ndarray = slices @ (window / window.sum())
    return smoothed


def _targets(utterance: Utterance, speaker: Speaker) -> np.ndarray:
    """Return the synthesizer's targets of each phone, (phones, 8), before the speaker's vocal tract.

    Four formants in Hz, level of the voice in dB, and centre (Hz), bandwidth (Hz) and level (dB) of the noise.
    """
    rows, formants, accent = [], _NEUTRAL, dict(speaker.accent)
    for phone, duration in zip(utterance.phones, utterance.durations, strict=True):
        level, noise = -60.0, (4000.0, 2000.0, -80.0)
        if phone in VOWELS:
            formants, level = pronounced(phone, int(duration), accent, speaker.reduction), 0.0
        elif phone in SONORANTS:
            level = SONORANTS[phone][4]
        elif phone in FRICATIVES:
            level, noise = (-14.0 if FRICATIVES[phone][3] else -60.0), FRICATIVES[phone][:3]
        # Fricatives and silence keep the formants of the vowel before them.
        phone_formants = _accented(SONORANTS[phone][:4], accent.get(phone)) if phone in SONORANTS else formants
        rows.append((*phone_formants, level, *noise))
    return np.array(rows)


Formants = tuple[float, float, float, float]


def _accented(formants: Formants, factors: Formants | None) -> Formants:
    if factors is None:
        return formants
    first, second, third, fourth = (f * factor for f, factor in zip(formants, factors, strict=True))
    return first, second, third, fourth


def pronounced(vowel: str, duration: int, accent: Mapping[str, Formants], reduction: float) -> Formants:
    """Return the formants of a vowel of a duration in frames as a speaker says it."""
    formants = _accented(VOWELS[vowel], accent.get(vowel))
    if not reduction:
        return formants
    share = reduction * 0.5 ** ((duration - 16) / 12)
    first, second, third, fourth = (f + share * (n - f) for f, n in zip(formants, _NEUTRAL, strict=True))
    return first, second, third, fourth


def _resonators(frequency: np.ndarray, bandwidth: np.ndarray, gain: str) -> np.ndarray:
    """Return the second-order sections (..., 6) of resonators at frequencies in Hz.

    Args:
        gain: `"unit"` for a gain of 1 at 0 Hz, `"noise"` for a gain that grows with the bandwidth.
    """
    radius = np.exp(-np.pi * bandwidth / RATE)
    a1, a2 = -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2
    b0 = 1 + a1 + a2 if gain == "unit" else 1 - radius
    zero, one = np.zeros_like(a1), np.ones_like(a1)
    # A resonator near or above half the sample rate passes its input unchanged.
    valid = frequency < RATE / 2 - 200
    return np.stack([np.where(valid, b0, 1), zero, zero, one, np.where(valid, a1, 0), np.where(valid, a2, 0)], -1)


def synthesize(utterance: Utterance, speaker: Speaker) -> np.ndarray:
    """Return the samples of an utterance, (80 M,) float32 at 16 kHz, with a peak of 0.6."""
    signal = require("scipy.signal", "voice", "a synthetic voice")
    track = _smooth(np.repeat(_targets(utterance, speaker), utterance.durations, axis=0), speaker.glide)
    frames, count = len(track), len(track) * FRAME
    rng = np.random.Generator(np.random.Philox(key=utterance.noise_seed))
    times = np.arange(count) / FRAME
    centres = np.arange(frames) + 0.5

    def per_sample(values: np.ndarray) -> np.ndarray:
        interpolated: np.ndarray = np.interp(times, centres, values)
        return interpolated

    phase = np.cumsum(per_sample(f0_track(utterance, speaker))) / RATE % 1.0
    creak = 1 - speaker.creak * per_sample(_rising(frames, 0.5))
    open_quotient = speaker.open_quotient * creak
    is_open = phase < open_quotient
    flow = np.where(is_open, np.sin(np.pi * phase / open_quotient) ** 2, 0.0)
    noise = rng.normal(0, 1, count)
    breath = noise * speaker.breath * creak * (0.3 + is_open)
    amplitude = 10 ** (per_sample(track[:, 4]) / 20)
    voice = (np.diff(flow, prepend=0) * 8 + breath) * amplitude * per_sample(utterance.voiced.astype(float))
    voice = signal.lfilter([1 - speaker.tilt], [1, -speaker.tilt], voice)
    frication = noise * 10 ** (per_sample(track[:, 7]) / 20)

    formants = track[:, :4] * np.array(speaker.formants) * speaker.tract
    high = np.broadcast_to(np.array(_HIGH_FORMANTS) * speaker.tract, (frames, 2))
    widths = np.broadcast_to(np.array(_BANDWIDTHS) * speaker.bandwidth, (frames, 6))
    tract_filters = _resonators(np.concatenate([formants, high], 1), widths, "unit")
    centre = np.minimum(track[:, 5] * speaker.tract, RATE / 2 - 300)
    noise_filters = _resonators(centre, track[:, 6], "noise")[:, None]
    samples = np.empty(count)
    # The filters change with every frame; their states are carried over.
    tract_state, noise_state = np.zeros((6, 2)), np.zeros((1, 2))
    for i in range(frames):
        span = slice(i * FRAME, (i + 1) * FRAME)
        voiced, tract_state = signal.sosfilt(tract_filters[i], voice[span], zi=tract_state)
        unvoiced, noise_state = signal.sosfilt(noise_filters[i], frication[span], zi=noise_state)
        samples[span] = voiced + unvoiced
    samples += rng.normal(0, 1e-4, count)
    normalized: np.ndarray = (samples * (0.6 / np.abs(samples).max())).astype(np.float32)
    return normalized
