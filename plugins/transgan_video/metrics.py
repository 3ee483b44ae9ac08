"""Flicker of translated clips: what changes from frame to frame beyond what moves."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
from pydantic import Field
from torch import Tensor

from transgan.api import Metric, Options, Translation, require

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

    Motion is the optical flow of the source (DIS, Kroeger et al., 2016), so that what a translation adds has to move
    with it. `flicker_of_source` is the source's own: what the flow does not explain, such as what was covered before. A
    translation may have as much, as far as it has the same contrasts; `flicker_of_truth` says how much it has to have.
    """

    direction = {"flicker": "lower"}

    def __init__(self, options: FlickerOptions):
        super().__init__(options)
        self.unused_inputs = () if options.truth else ("counterpart",)
        require("cv2", "video", "the metric 'flicker'")

    def reset(self) -> None:
        self.rows: dict[Translation, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def update(self, translation: Translation, source: Tensor, fake: Tensor, counterpart: Tensor | None = None) -> None:
        """Add a batch: sources, their translations and, with `truth`, the true ones, (N, C, T, H, W) in [-1, 1]."""
        clips = {"flicker": fake, "flicker_of_source": source}
        if counterpart is not None:
            clips["flicker_of_truth"] = counterpart
        arrays = {name: x.detach().float().cpu().permute(0, 2, 3, 4, 1).numpy() for name, x in clips.items()}
        rows = self.rows[translation]
        for number in range(min(len(source), self.options.samples - len(rows["flicker"]))):
            flows = motion_of(arrays["flicker_of_source"][number])
            for name, array in arrays.items():
                rows[name].append(flicker_of(array[number], flows) / 2)

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the means over clips, by translation and name."""
        return {
            translation: {name: float(np.mean(each)) for name, each in rows.items()}
            for translation, rows in self.rows.items()
        }


def motion_of(frames: np.ndarray) -> list[np.ndarray]:
    """Return the optical flow from each frame but the first to the one before.

    Args:
        frames: (T, H, W, C) in [-1, 1].

    Returns:
        (H, W, 2) each: where a point was before, relative to where it is, to the right and down in pixels.
    """
    cv2 = require("cv2", "video", "the metric 'flicker'")
    height, width = frames.shape[1:3]
    factor = max(1, -(-SIDE // min(height, width)))
    grey = [((frame.mean(-1).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8) for frame in frames]
    large = [cv2.resize(each, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC) for each in grey]
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = [estimator.calc(after, before, None) for before, after in pairwise(large)]
    return [cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / factor for flow in flows]


def flicker_of(frames: np.ndarray, flows: list[np.ndarray]) -> float:
    """Return the mean absolute difference of frames (T, H, W, C) to those before, moved by the flow."""
    cv2 = require("cv2", "video", "the metric 'flicker'")
    rows, columns = np.indices(frames.shape[1:3], dtype=np.float32)
    differences = []
    for (before, after), flow in zip(pairwise(frames), flows, strict=True):
        at = (columns + flow[..., 0], rows + flow[..., 1])
        moved = cv2.remap(
            before, *(each.astype(np.float32) for each in at), cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
        )
        differences.append(np.abs(after - moved.reshape(after.shape)).mean())
    return float(np.mean(differences))
