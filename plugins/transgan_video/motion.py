"""Motion between frames, and images warped along it: dense optical flow with a check of its consistency."""

from typing import Any

import numpy as np

from transgan.api import require

#: Where forward and backward flow differ by more than this share of their squares plus a number of squared pixels, one
#: of the two pixels is hidden in the other frame (Sundaram, Brox & Keutzer, 2010, eq. 5).
_SHARE, _SQUARE = 0.01, 0.5


def opencv() -> Any:
    """Return the module `cv2`.

    Raises:
        PluginError: it is not installed.
    """
    return require("cv2", "video", "motion between frames")


class Motion:
    """Finds where each pixel of a frame was in the previous one, by DIS optical flow (Kroeger et al., 2016)."""

    def __init__(self) -> None:
        self.cv2 = opencv()
        self.flow = self.cv2.DISOpticalFlow_create(self.cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, previous: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the way back from each pixel of the present frame, and where it can be trusted.

        Args:
            previous, present: (H, W, 3) uint8.

        Returns:
            (H, W, 2) float32, (x, y) in pixels, from a pixel to its place in the previous frame; and (H, W) bool: the
            way forth from there leads back here, and the place is inside the frame.
        """
        height, width = present.shape[:2]
        if min(height, width) < 16 or previous.shape != present.shape:  # too small for the patches of the flow
            return np.zeros((height, width, 2), np.float32), np.ones((height, width), bool)
        one, two = (self.cv2.cvtColor(each, self.cv2.COLOR_RGB2GRAY) for each in (previous, present))
        back: np.ndarray = self.flow.calc(two, one, None)
        forth: np.ndarray = self.flow.calc(one, two, None)
        there = warped(forth, back)
        gap = ((back + there) ** 2).sum(-1)
        agrees = gap < _SHARE * ((back**2).sum(-1) + (there**2).sum(-1)) + _SQUARE
        y, x = np.mgrid[:height, :width]
        x, y = x + back[..., 0], y + back[..., 1]
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        return back, agrees & inside


def warped(image: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) of the previous frame as it would look in the present one, by bilinear interpolation.

    Args:
        image: uint8 or float32.
        back: as `Motion.between` returns it.
    """
    cv2 = opencv()
    height, width = back.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved: np.ndarray = cv2.remap(
        image, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved
