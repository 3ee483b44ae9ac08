"""Drawn voices: sentences of phones, made up from a seed, spoken by speakers who are a few numbers each.

A source-filter synthesiser (Fant, 1960; Klatt, 1980): glottal pulses with breath, a cascade of six resonators that
follow the vowels' formants (averages as in Peterson and Barney, 1952), and filtered noise for fricatives. What is said
(`Score`) knows nothing of who says it (`Speaker`); one score spoken by two speakers gives two recordings of which every
sample belongs to the same place of the same phone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from transgan.api import require

RATE = 16_000
#: Samples of a frame of control: 5 ms.
FRAME = 80
#: Formants in Hz.
VOWELS = {
    "iy": (270, 2290, 3010, 3500), "ih": (390, 1990, 2550, 3500), "eh": (530, 1840, 2480, 3500),
    "ae": (660, 1720, 2410, 3500), "aa": (730, 1090, 2440, 3400), "ao": (570, 840, 2410, 3400),
    "uh": (440, 1020, 2240, 3400), "uw": (300, 870, 2240, 3400), "ah": (640, 1190, 2390, 3400),
    "er": (490, 1350, 1690, 3300),
}  # fmt: skip
#: Formants in Hz, level in dB.
SONORANTS = {
    "m": (250, 1100, 2100, 3200, -9), "n": (250, 1500, 2400, 3300, -9), "l": (350, 1050, 2700, 3300, -5),
    "r": (330, 1150, 1450, 3200, -4), "w": (300, 650, 2200, 3200, -5), "y": (270, 2200, 3000, 3500, -5),
}  # fmt: skip
#: Centre and width of the noise in Hz, its level in dB, whether the voice goes on.
FRICATIVES = {
    "s": (5200, 1400, -14, False), "sh": (3000, 1200, -12, False), "f": (4200, 4000, -24, False),
    "z": (5000, 1500, -17, True), "v": (3800, 3800, -20, True), "h": (1500, 2500, -22, False),
}  # fmt: skip
#: A label is a place in here.
PHONES = ("silence", *VOWELS, *SONORANTS, *FRICATIVES)
CONSONANTS = (*SONORANTS, *FRICATIVES)
_NEUTRAL = VOWELS["ah"]
_HIGH_FORMANTS, _BANDWIDTHS = (4300.0, 5300.0), (60.0, 80.0, 120.0, 175.0, 250.0, 250.0)


@dataclass(frozen=True)
class Speaker:
    """What makes a voice, whatever it says."""

    f0: float
    """Middle fundamental frequency in Hz."""
    f0_spread: float
    """Standard deviation of its logarithm."""
    tract: float = 1.0
    """Factor of all formants: a shorter vocal tract has higher ones."""
    formants: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Factor of each."""
    bandwidth: float = 1.0
    """Factor of all bandwidths."""
    tilt: float = 0.55
    """Pole of the low-pass filter behind the glottis, 0 to 1: the larger, the duller."""
    breath: float = 0.01
    """Noise beside the pulses."""
    open_quotient: float = 0.55
    """Share of a period in which the glottis is open."""


@dataclass(frozen=True)
class Score:
    """What is said, and how: nothing in it depends on the speaker."""

    phones: tuple[str, ...]
    durations: np.ndarray
    """Frames of each phone."""
    melody: np.ndarray
    """(M,) logarithm of F0, in standard deviations from the speaker's mean."""
    noise: int
    """Seed of breath and fricatives."""

    @property
    def labels(self) -> np.ndarray:
        """(M,) place in PHONES, by frame."""
        return np.repeat([PHONES.index(phone) for phone in self.phones], self.durations)

    @property
    def voiced(self) -> np.ndarray:
        """(M,) whether the voice sounds, by frame."""
        sounding = [p in VOWELS or p in SONORANTS or (p in FRICATIVES and FRICATIVES[p][3]) for p in self.phones]
        return np.repeat(sounding, self.durations)


@dataclass(frozen=True)
class Truth:
    """What is known of a drawn recording, for every 5 ms: frame m is its samples 80 m to 80 m + 79."""

    labels: np.ndarray
    """(M,) place in PHONES; 0 is silence."""
    f0: np.ndarray
    """(M,) Hz; 0 where the voice does not sound."""

    @property
    def voiced(self) -> np.ndarray:
        """(M,) bool."""
        return self.f0 > 0

    def at(self, seconds: np.ndarray) -> "Truth":
        """What is known at other moments."""
        frames = np.clip((np.asarray(seconds) * RATE // FRAME).astype(int), 0, len(self.labels) - 1)
        return Truth(self.labels[frames], self.f0[frames])


@lru_cache(256)
def score(seed: int, index: int) -> Score:
    """A sentence of six to ten syllables, two to four seconds; a pure function of its numbers."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    syllables = int(rng.integers(6, 11))
    phones, durations = ["silence"], [int(rng.integers(16, 30))]

    def say(phone: str, least: int, most: int) -> None:
        phones.append(phone)
        durations.append(int(rng.integers(least, most)))

    for _ in range(syllables):
        if rng.random() < 0.9:
            say(CONSONANTS[rng.integers(len(CONSONANTS))], 10, 22)
        say(tuple(VOWELS)[rng.integers(len(VOWELS))], 16, 40)
        if rng.random() < 0.3:
            say(CONSONANTS[rng.integers(len(CONSONANTS))], 10, 18)
        if rng.random() < 0.08:
            say("silence", 10, 30)
    say("silence", 16, 30)
    count = sum(durations)
    time = np.linspace(0, 1, count)
    melody = 0.9 - 1.8 * time  # declination, then accents, then a slow wobble
    for _ in range(syllables // 2):
        melody = melody + rng.normal(0.7, 0.4) * np.exp(-0.5 * ((time - rng.random()) / 0.04) ** 2)
    window = np.hanning(41) / np.hanning(41).sum()
    melody = melody + 0.5 * np.convolve(rng.normal(0, 1, count + 40), window, "valid")
    return Score(tuple(phones), np.array(durations), melody, int(rng.integers(2**31)))


def f0_of(said: Score, speaker: Speaker) -> np.ndarray:
    """(M,) Hz, in unvoiced frames too."""
    f0: np.ndarray = speaker.f0 * np.exp(speaker.f0_spread * said.melody)
    return f0


def _smooth(track: np.ndarray) -> np.ndarray:
    """Targets become movements: the mean over 60 ms, (M, ...)."""
    window = np.hanning(13)
    padded = np.pad(track, [(6, 6)] + [(0, 0)] * (track.ndim - 1), "edge")
    slices = np.lib.stride_tricks.sliding_window_view(padded, 13, axis=0)
    smoothed: np.ndarray = slices @ (window / window.sum())
    return smoothed


def _targets(said: Score) -> np.ndarray:
    """(phones, 8): four formants in Hz, level of the voice in dB, and centre, width and level of the noise."""
    rows, formants = [], _NEUTRAL
    for phone in said.phones:
        level, noise = -60.0, (4000.0, 2000.0, -80.0)
        if phone in VOWELS:
            formants, level = VOWELS[phone], 0.0
        elif phone in SONORANTS:
            level = SONORANTS[phone][4]
        elif phone in FRICATIVES:
            level, noise = (-14.0 if FRICATIVES[phone][3] else -60.0), FRICATIVES[phone][:3]
        here = SONORANTS[phone][:4] if phone in SONORANTS else formants
        rows.append((*here, level, *noise))
    return np.array(rows)


def _resonators(frequency: np.ndarray, bandwidth: np.ndarray, gain: str) -> np.ndarray:
    """Second-order sections (..., 6) of resonators: gain 1 at 0 Hz, or as it comes for noise."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    a1, a2 = -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2
    b0 = 1 + a1 + a2 if gain == "unit" else 1 - radius
    zero, one = np.zeros_like(a1), np.ones_like(a1)
    # Beyond what the rate can hold a resonator is left out.
    there = frequency < RATE / 2 - 200
    return np.stack([np.where(there, b0, 1), zero, zero, one, np.where(there, a1, 0), np.where(there, a2, 0)], -1)


def speak(said: Score, speaker: Speaker) -> np.ndarray:
    """(80 M,) float32 at 16 kHz, its peak at 0.6."""
    signal = require("scipy.signal", "voice", "drawn voices")
    track = _smooth(np.repeat(_targets(said), said.durations, axis=0))
    frames, count = len(track), len(track) * FRAME
    rng = np.random.Generator(np.random.Philox(key=said.noise))
    moments = np.arange(count) / FRAME
    middles = np.arange(frames) + 0.5

    def fine(values: np.ndarray) -> np.ndarray:
        interpolated: np.ndarray = np.interp(moments, middles, values)
        return interpolated

    place = np.cumsum(fine(f0_of(said, speaker))) / RATE % 1.0
    opened = place < speaker.open_quotient
    flow = np.where(opened, np.sin(np.pi * place / speaker.open_quotient) ** 2, 0.0)
    noise = rng.normal(0, 1, count)
    breath = noise * speaker.breath * (0.3 + opened)
    voice = (np.diff(flow, prepend=0) * 8 + breath) * 10 ** (fine(track[:, 4]) / 20) * fine(said.voiced.astype(float))
    voice = signal.lfilter([1 - speaker.tilt], [1, -speaker.tilt], voice)
    hiss = noise * 10 ** (fine(track[:, 7]) / 20)

    formants = track[:, :4] * np.array(speaker.formants) * speaker.tract
    high = np.broadcast_to(np.array(_HIGH_FORMANTS) * speaker.tract, (frames, 2))
    widths = np.broadcast_to(np.array(_BANDWIDTHS) * speaker.bandwidth, (frames, 6))
    tract = _resonators(np.concatenate([formants, high], 1), widths, "unit")
    centre = np.minimum(track[:, 5] * speaker.tract, RATE / 2 - 300)
    mouth = _resonators(centre, track[:, 6], "noise")[:, None]
    made = np.empty(count)
    state, state_of_mouth = np.zeros((6, 2)), np.zeros((1, 2))  # the filters change, what rings in them goes on
    for i in range(frames):
        span = slice(i * FRAME, (i + 1) * FRAME)
        spoken, state = signal.sosfilt(tract[i], voice[span], zi=state)
        hissed, state_of_mouth = signal.sosfilt(mouth[i], hiss[span], zi=state_of_mouth)
        made[span] = spoken + hissed
    made += rng.normal(0, 1e-4, count)
    spoken_aloud: np.ndarray = (made * (0.6 / np.abs(made).max())).astype(np.float32)
    return spoken_aloud
