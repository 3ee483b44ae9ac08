"""Drawn voices as a source: recordings that need no download, with the exact truth beside them."""

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import Options, Sample, Source, UsageError
from transgan_voice.audio import Sound
from transgan_voice.drawn import RATE, Score, Speaker, Truth, f0_of, score, speak

#: What makes the speakers: F0 in Hz, its spread, and how far each is from the first on the way to the second.
SPEAKERS = {
    "low": (115.0, 0.16, 0.0),
    "high": (205.0, 0.20, 1.0),
    "deep": (92.0, 0.14, -0.7),
    "middle": (155.0, 0.18, 0.5),
}
_WIDEST = 1.17


def speaker(name: str, ratio: float) -> Speaker:
    """One of SPEAKERS; `ratio` is the vocal-tract ratio of `high` to `low`, along which the rest of the voice moves."""
    f0, spread, way = SPEAKERS[name]
    tract = ratio**way
    share = log(tract) / log(_WIDEST)
    return Speaker(
        f0=f0,
        f0_spread=spread,
        tract=tract,
        formants=(1 + 0.02 * share, 1.0, 1 - 0.02 * share, 1.0),
        bandwidth=1 + 0.25 * share,
        tilt=0.55 - 0.2 * share,
        breath=max(0.002, 0.01 + 0.02 * share),
        open_quotient=0.55 + 0.15 * share,
    )


@dataclass(frozen=True)
class DrawnVoice:
    """One sentence by one speaker; called with a rate it is spoken."""

    seed: int
    index: int
    speaker: Speaker

    @property
    def score(self) -> Score:
        return score(self.seed, self.index)

    def __call__(self, rate: int = RATE) -> np.ndarray:
        """(n,) float32."""
        return Sound(speak(self.score, self.speaker), RATE).at(rate).samples

    def truth(self) -> Truth:
        """What is said, and how high, every 5 ms."""
        said = self.score
        return Truth(said.labels, np.where(said.voiced, f0_of(said, self.speaker), 0.0))


class DrawnVoicesOptions(Options):
    count: int = Field(80, ge=2, le=100_000)
    """Sentences of each speaker, two to four seconds each. No two speakers say the same."""
    ratio: float = Field(1.10, ge=1.0, le=1.3)
    """How much shorter the vocal tract of `high` is than that of `low`: 1.05 is easy, 1.10 the middle, 1.17 hard."""
    seed: int = Field(0, ge=0)
    """Of the sentences; another seed draws others."""


class DrawnVoices(Source):
    """Voices made up by a synthesiser, selected by the speaker's name: `low`, `high`, `deep`, `middle`.

    Speakers say different sentences, so that nothing is paired in training; what another speaker would have made of the
    same sentence, sample by sample, is known exactly. Crude voices, for measuring algorithms.
    """

    Options = DrawnVoicesOptions

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        who = self._speaker(selection)
        place = list(SPEAKERS).index(selection)
        numbers = [len(SPEAKERS) * i + place for i in range(self.options.count)]
        return [
            Sample(f"drawn-{i:06d}", DrawnVoice(self.options.seed, i, who), {"speaker": selection}) for i in numbers
        ]

    def _speaker(self, selection: Any) -> Speaker:
        if selection not in tuple(SPEAKERS):
            raise UsageError(f"found {selection!r}; expected a speaker: {', '.join(SPEAKERS)}")
        return speaker(selection, self.options.ratio)

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """The same sentence by the other speaker, of the same number of samples."""
        voice = DrawnVoice(sample.location.seed, sample.location.index, self._speaker(target))
        return Sample(sample.key, voice, {"speaker": target})
