"""The source `synthetic_voices`: synthesized recordings, with ground truth, that need no download."""

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import Options, Sample, Source, UsageError
from transgan_voice.audio import Sound
from transgan_voice.synthetic import (
    RATE,
    SONORANTS,
    VOWELS,
    GroundTruth,
    Speaker,
    Utterance,
    f0_track,
    make_utterance,
    synthesize,
)

#: For each speaker the mean F0 in Hz, the standard deviation of its logarithm, and the exponent of the vocal-tract
#: ratio: 0 is the vocal tract of `low`, 1 that of `high`.
SPEAKERS = {
    "low": (115.0, 0.16, 0.0),
    "high": (205.0, 0.20, 1.0),
    "deep": (92.0, 0.14, -0.7),
    "middle": (155.0, 0.18, 0.5),
}
#: The vocal-tract ratio at which formant factors, bandwidth, tilt and breath change by the steps in `speaker`.
_REFERENCE_RATIO = 1.17


#: Of each speaker's manner: how far short vowels are reduced, frames of a glide beyond 13, creak, rise at the end.
MANNERS = {"low": (0.5, 2, 0.45, -1.2), "high": (0.0, 12, 0.0, 1.5), "deep": (0.25, 8, 0.6, 0.6),
           "middle": (0.65, 0, 0.2, -0.4)}  # fmt: skip
#: Standard deviation of the logarithm of formant factors by phone, of each formant.
ACCENT = (0.10, 0.10, 0.05, 0.02)


def speaker(name: str, ratio: float, manner: float = 0.0) -> Speaker:
    """Return one of SPEAKERS.

    Args:
        ratio: the vocal-tract ratio of `high` to `low`, with which all properties but F0 scale.
        manner: how much the speakers' habits differ: pronunciation of each phone, reduction of short vowels, glides,
            creak, melody; 0 for not at all.
    """
    f0, spread, exponent = SPEAKERS[name]
    tract = ratio**exponent
    share = log(tract) / log(_REFERENCE_RATIO)
    return Speaker(
        f0=f0,
        f0_spread=spread,
        tract=tract,
        formants=(1 + 0.02 * share, 1.0, 1 - 0.02 * share, 1.0),
        bandwidth=1 + 0.25 * share,
        tilt=0.55 - 0.2 * share,
        breath=max(0.002, 0.01 + 0.02 * share),
        open_quotient=0.55 + 0.15 * share,
        **_habits(name, manner),
    )


def _habits(name: str, manner: float) -> dict[str, Any]:
    """Return the fields of a `Speaker` that its manner sets."""
    if not manner:
        return {}
    reduction, glide, creak, melody = MANNERS[name]
    rng = np.random.Generator(np.random.Philox(key=list(SPEAKERS).index(name)))
    accent = np.exp(manner * np.array(ACCENT) * rng.standard_normal((len(VOWELS) + len(SONORANTS), 4)).clip(-1.5, 1.5))
    return {
        "accent": tuple((phone, tuple(row)) for phone, row in zip((*VOWELS, *SONORANTS), accent.tolist(), strict=True)),
        "reduction": min(1.0, manner * reduction),
        "glide": 13 + 2 * round(manner * glide / 2),
        "creak": min(0.8, manner * creak),
        "melody": manner * melody,
    }


@dataclass(frozen=True)
class SyntheticVoice:
    """An utterance by a speaker; calling it with a sample rate returns the samples."""

    seed: int
    index: int
    """Number of the utterance."""
    speaker: Speaker

    @property
    def utterance(self) -> Utterance:
        return make_utterance(self.seed, self.index)

    def __call__(self, rate: int = RATE) -> np.ndarray:
        """Return the samples (n,) float32 at a sample rate in Hz."""
        return Sound(synthesize(self.utterance, self.speaker), RATE).resample(rate).samples

    def ground_truth(self) -> GroundTruth:
        """Return phones and F0 every 5 ms."""
        utterance = self.utterance
        return GroundTruth(utterance.labels, np.where(utterance.voiced, f0_track(utterance, self.speaker), 0.0))


class SyntheticVoicesOptions(Options):
    """Options of the source `synthetic_voices`."""

    count: int = Field(80, ge=2, le=100_000)
    """Sentences of each speaker, two to four seconds each. No two speakers have a sentence in common."""
    ratio: float = Field(1.10, ge=1.0, le=1.3)
    """Ratio of the formants of `high` to those of `low`, by its shorter vocal tract: 1.05 is easy to convert, 1.10
    medium, 1.17 hard."""
    manner: float = Field(0.0, ge=0.0, le=1.5)
    """How much the speakers' habits differ: formants of each phone, reduction of short vowels, speed of transitions,
    creak and melody at the end of a sentence. 0: the voices are nearly a warp of each other, and an affine map of
    single frames converts them; 1: much of the difference depends on the phone and on its neighbours."""
    seed: int = Field(0, ge=0)
    """Random seed of the sentences."""


class SyntheticVoices(Source[SyntheticVoicesOptions]):
    """Voices of a formant synthesizer, selected by the speaker's name: `low`, `high`, `deep`, `middle`.

    Speakers have different sentences, so training is unpaired; the same sentence by another speaker, sample by sample,
    is the ground truth of a conversion. The voices are crude: use them to compare algorithms.
    """

    reads_root = False

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        voice = self._speaker(selection)
        offset = list(SPEAKERS).index(selection)
        numbers = [len(SPEAKERS) * i + offset for i in range(self.options.count)]
        # The prefix of the keys decides which samples are held out: it stays, so that results can be compared.
        return [
            Sample(f"drawn-{i:06d}", SyntheticVoice(self.options.seed, i, voice), {"speaker": selection})
            for i in numbers
        ]

    def _speaker(self, selection: Any) -> Speaker:
        if selection not in tuple(SPEAKERS):
            raise UsageError(f"found {selection!r}; expected a speaker: {', '.join(SPEAKERS)}")
        return speaker(selection, self.options.ratio, self.options.manner)

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the same sentence by the target speaker, with the same number of samples."""
        voice = SyntheticVoice(sample.location.seed, sample.location.index, self._speaker(target))
        return Sample(sample.key, voice, {"speaker": target})
