"""Flicker of translated clips: what changes from frame to frame beyond what moves."""

from collections import defaultdict

import numpy as np
from pydantic import Field
from torch import Tensor
from transgan_images.media import to_bytes

from transgan.api import Metric, Options, Translation
from transgan_video import measures
from transgan_video.motion import opencv

#: Frames are enlarged to at least this side, in pixels, before their motion is estimated.
SIDE = 128


class FlickerOptions(Options):
    """Options of the metric `flicker`."""

    truth: bool = False
    """Whether `flicker_of_truth` is measured too, that of the true translations, where these are known."""
    samples: int = Field(200, ge=1)
    """Number of clips of each translation that are measured at most (1 or more): motion is estimated on the CPU."""


class Flicker(Metric[FlickerOptions]):
    """Flicker: the mean absolute difference of each frame to the one before, moved as the source moves: 0 to 1.

    Motion is the optical flow of the source, where it can be trusted (`transgan_video.measures`; the warping error of
    Lai et al., 2018): what a translation adds has to move with it. `flicker_of_source` is the source's own, from errors
    of the flow. A translation may have as much, as far as it has the same contrasts; `flicker_of_truth` says how much
    it has to have.
    """

    measures = ("clips", 3)
    direction = {"flicker": "lower"}

    def __init__(self, options: FlickerOptions):
        super().__init__(options)
        self.unused_inputs = () if options.truth else ("counterpart",)
        opencv()  # where it is missing, this is reported before training

    def reset(self) -> None:
        self.rows: dict[Translation, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def update(self, translation: Translation, source: Tensor, fake: Tensor, counterpart: Tensor | None = None) -> None:
        """Add a batch: sources, their translations and, with `truth`, the true ones, (N, C, T, H, W) in [-1, 1]."""
        clips = {"flicker": fake} if counterpart is None else {"flicker": fake, "flicker_of_truth": counterpart}
        rows = self.rows[translation]
        for number in range(min(len(source), self.options.samples - len(rows["flicker"]))):
            true_frames = _frames(source[number])
            for name, x in clips.items():
                measure = measures.Flicker()
                for pair in zip(true_frames, _frames(x[number]), strict=True):
                    measure.update(*pair)
                found = measure.compute()
                rows[name].append(found["translated"] / 255)
            rows["flicker_of_source"].append(found["source"] / 255)

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the means over clips, by translation and name."""
        return {
            translation: {name: float(np.mean(each)) for name, each in rows.items()}
            for translation, rows in self.rows.items()
        }


def _frames(x: Tensor) -> list[np.ndarray]:
    """Return the frames of a clip (C, T, H, W) in [-1, 1], large enough for the flow, (H', W', 3) uint8 each."""
    factor = max(1, -(-SIDE // min(x.shape[2:])))
    size = (x.shape[3] * factor, x.shape[2] * factor)
    return [opencv().resize(to_bytes(frame), size, interpolation=opencv().INTER_LINEAR) for frame in x.unbind(1)]
