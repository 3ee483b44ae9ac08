"""Clips: what is known of one before its frames are read, and its frames."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from transgan.api import DataError, DataWarning

#: The default of the most pixels of a frame.
MAX_PIXELS = 64_000_000
#: The rate of a folder of frames, in frames per second.
RATE = Fraction(25)
#: FFmpeg's numbers of colour matrices (AVCOL_SPC) with those of its scaler (SWS_CS): others are taken for BT.601.
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
UNSPECIFIED = 2


@dataclass(frozen=True)
class Frame:
    """A frame of a clip."""

    pixels: np.ndarray
    """(H, W, 3) uint8, RGB, or (H, W, 4) with opacity; upright."""
    time: Fraction
    """When it begins to be shown, in seconds on the clock of its file, which its sound shares."""
    duration: Fraction
    """For how long it is shown, in seconds."""


@dataclass(frozen=True)
class Colours:
    """How a file's numbers stand for colours: FFmpeg's numbers (ITU-T H.273), 2 where a file does not say."""

    range: int = 0
    """0 where a file does not say, 1 limited (16 to 235), 2 full (0 to 255)."""
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED

    def scaler_matrix(self, height: int) -> int:
        """Return the matrix by FFmpeg's number for its scaler.

        A file that does not say is taken, as players do, for BT.709 above 576 lines and for BT.601 below.
        """
        if self.matrix == UNSPECIFIED:
            return 1 if height > 576 else 5
        return MATRICES.get(self.matrix, 5)


@dataclass(frozen=True)
class Clip:
    """A clip: what is known of it before its frames are read."""

    path: Path
    size: tuple[int, int]
    """Width and height of its upright frames, in pixels."""
    rate: Fraction
    """Frames per second; of a clip of variable rate the average. The times of the frames say more."""
    count: int | None
    """The number of frames that the file declares; None where it does not."""
    has_sound: bool = False
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel by its height, as a player shows the upright frames."""
    has_alpha: bool = False
    """Whether frames have opacity, a fourth channel."""
    pixel_format: str = ""
    """FFmpeg's name of the format of the stored pixels."""
    codec: str = ""
    colours: Colours = field(default_factory=Colours)
    time_base: Fraction = Fraction(1, 1000)
    """The unit of the file's clock, in seconds: times of frames are multiples of it."""
    loops: int | None = None
    """Of an animated picture: how often it is shown, 0 without end; None for others."""

    def frames(self, first: int = 0, count: int | None = None) -> Iterator[Frame]:
        """Yield frames in the order in which they are shown; one is in memory at a time.

        A damaged file gives what can be decoded of it, and one warning that says what is missing.

        Args:
            first: the number of the first frame; those before it are decoded, and not yielded.
            count: how many; all by default.

        Raises:
            DataError: the file cannot be read, has no frame, or one with too many pixels.
        """
        raise NotImplementedError


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Check that frames have no more pixels than the limit.

    Raises:
        DataError: they have.
    """
    if width * height > max_pixels:
        raise DataError(
            f"{path}: frames of {width} x {height} pixels, more than max_pixels = {max_pixels:,}; make them smaller, "
            "or raise the limit"
        )


def warn(path: Path, text: str) -> None:
    """Report in one line what of a clip is lost."""
    warnings.warn(DataWarning(f"{path}: {text}"), stacklevel=2)
