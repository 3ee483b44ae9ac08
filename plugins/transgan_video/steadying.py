"""Less flicker: what was shown before, warped along the motion of the source, mixed into each frame."""

import numpy as np

from transgan_video.motion import Motion, opencv, warped

#: Pixels whose source differs from the warped previous one by this many levels keep 1/e of the mixing.
_LEVELS = 12.0
#: Frames that agree with the previous one less than this, on average, follow a cut.
_CUT = 0.3


class Steadying:
    """Mixes each translated frame with the previous result, where the source shows the same thing in both.

    The result is (1 - s c) y + s c w, with y the translation, w the previous result warped along the motion of the
    source, s the strength, and c between 0 and 1: 0 where the way between the frames cannot be trusted (hidden pixels,
    borders), and exp(-(d / 12)^2) elsewhere, with d the mean absolute difference of the source's channels along the
    motion, in levels. So what the flow gets wrong shows the translation as it is. So does a whole frame whose mean c is
    below 0.3: it follows a cut.

    Args:
        strength: s, from 0 to less than 1. A change of the translation that lasts is shown by 1 - s^n after n frames.
    """

    def __init__(self, strength: float):
        self.strength = strength
        self.motion = Motion()
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, source: np.ndarray, translated: np.ndarray) -> np.ndarray:
        """Return the next frame, steadied: (H, W, C) uint8 as `translated`; opacity is not mixed.

        Args:
            source, translated: (H, W, 3 or 4) uint8 of one size.
        """
        seen = np.ascontiguousarray(source[..., :3])
        result = translated[..., :3].astype(np.float32)
        if self._previous:
            back, trusted = self.motion.between(self._previous[0], seen)
            gap = np.abs(warped(self._previous[0], back).astype(np.float32) - seen).mean(-1)
            agreement = (trusted * np.exp(-((gap / _LEVELS) ** 2))).astype(np.float32)
            if agreement.mean() > _CUT:
                share = self.strength * opencv().blur(agreement, (5, 5))[..., None]  # without seams
                result += share * (warped(self._previous[1], back) - result)
        self._previous = seen, result  # not rounded: else small changes would never be reached
        steady = translated.copy()
        steady[..., :3] = np.rint(result)
        return steady
