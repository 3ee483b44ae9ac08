"""Measures of clips: how much they flicker."""

import numpy as np

from transgan_video.motion import Motion, warped


class Flicker:
    """How much a translated clip flickers, beside how much its source does.

    For each pair of frames, the way from each pixel back to the previous frame is found in the *source* (optical flow,
    see `motion.Motion`). The previous frame is warped along it to the present one. Flicker is the mean absolute
    difference of the two, over the pixels whose way can be trusted, the channels, and all pairs of frames; in levels of
    0 to 255. It is the warping error of Lai et al. (2018, "Learning blind video temporal consistency", section 4.2),
    with absolute differences.

    A source has flicker too, from noise, changes of light and errors of the flow: a translation cannot be expected to
    have less, so compare `translated` with `source`. It says nothing about whether a translation is right: one of a
    single colour does not flicker.
    """

    def __init__(self) -> None:
        self.motion = Motion()
        self.pairs = 0
        """Pairs of frames measured so far."""
        self.trusted = 0.0
        """The sum over pairs of the share of pixels whose way can be trusted."""
        self._sums = [0.0, 0.0]
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, source: np.ndarray, translated: np.ndarray) -> None:
        """Add the next frame of the source and of its translation, (H, W, 3) uint8 of one size."""
        source, translated = source[..., :3], translated[..., :3]
        if self._previous:
            back, trusted = self.motion.between(self._previous[0], np.ascontiguousarray(source))
            if trusted.any():
                for i, (before, now) in enumerate(zip(self._previous, (source, translated), strict=True)):
                    gap = np.abs(warped(before.astype(np.float32), back) - now.astype(np.float32))
                    self._sums[i] += float(gap[trusted].mean(dtype=np.float64))
                self.trusted += float(trusted.mean())
                self.pairs += 1
        self._previous = np.ascontiguousarray(source), np.ascontiguousarray(translated)

    def compute(self) -> dict[str, float]:
        """Return `source` and `translated`, the flicker of each in levels of 0 to 255, and `trusted`, the mean share of
        pixels that they are measured on; of a clip of one frame all are 0."""
        pairs = max(1, self.pairs)
        return {
            "source": self._sums[0] / pairs,
            "translated": self._sums[1] / pairs,
            "trusted": self.trusted / pairs,
        }
