"""Where the faces in a photograph are, and how each is turned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from transgan.api import PluginError, Weights, require
from transgan_faces.pasting import Square

#: Wu et al., "YuNet: a tiny millisecond-level face detector", 2023: boxes and five landmarks.
YUNET = Weights(
    name="yunet",
    file="face_detection_yunet_2023mar.onnx",
    url="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size=232_589,
    terms="face detector YuNet, MIT licence, from OpenCV Zoo",
)

#: Where eyes and corners of the mouth (right, left, of the person) lie in photographs cropped as FairFace crops them
#: (its 'padding 0.25'), in shares of the side: means over 298 of them, as YuNet sees them, made symmetric.
EYES_AND_MOUTH = np.array([[0.333, 0.289], [0.667, 0.289], [0.360, 0.694], [0.640, 0.694]])
#: Side of such a crop, and how far its centre lies below that of the box, in sides of a cascade's box: means over faces
#: that YuNet sees too.
CASCADE_SIDE, CASCADE_DOWN = 0.97, 0.085

#: OpenCV's cascades, the surest first, and the score from which on each is believed; pixels of their smallest face.
CASCADES, WINDOW = (("frontalface_alt2", 0.0), ("frontalface_default", 5.0), ("profileface", 2.0)), 24

#: Pixels to which the smallest face wanted is scaled, and the factor from one scale to the next coarser one.
SMALLEST, STEP = 32, 3.0
#: Pixels a side that YuNet is given at least: with a single cell of 32 on a side it answers with boxes at 1e30.
LEAST = 64
#: Pictures with no longer side than this are looked at whole.
SIDE = 640


@dataclass(frozen=True)
class Face:
    """A face that was found."""

    box: tuple[float, float, float, float]
    """Left, top, width and height in pixels."""
    square: Square
    """What a model should see of it."""
    score: float
    """The detector's confidence; comparable only within one detector."""

    @property
    def extent(self) -> float:
        """The longer side of the box."""
        return max(self.box[2:])


class Detector(Protocol):
    """`detector(picture, smallest)`: the faces of at least `smallest` pixels in (H, W, 3) bytes, blue first."""

    def __call__(self, picture: np.ndarray, smallest: float) -> list[Face]: ...


class YuNet:
    """OpenCV's YuNet, on several scales. It knows faces of 10 to 300 pixels."""

    def __init__(self, weights: Path, score: float):
        self.cv2 = _cv2()
        level = self.cv2.utils.logging.getLogLevel()
        self.cv2.utils.logging.setLogLevel(self.cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of its own defaults
        self.network = self.cv2.FaceDetectorYN.create(str(weights), "", (320, 320), score, 0.3, 5000)
        self.cv2.utils.logging.setLogLevel(level)

    def __call__(self, picture: np.ndarray, smallest: float) -> list[Face]:
        found = []
        for scale in scales(picture.shape[:2], smallest):
            scaled = _scaled(self.cv2, picture, scale)
            below, right = (max(0, LEAST - side) for side in scaled.shape[:2])
            scaled = self.cv2.copyMakeBorder(scaled, 0, below, 0, right, self.cv2.BORDER_CONSTANT)
            self.network.setInputSize((scaled.shape[1], scaled.shape[0]))
            _, rows = self.network.detect(scaled)
            for row in () if rows is None else np.asarray(rows, dtype=np.float64):
                left, top, width, height = (float(each) / scale for each in row[:4])
                points = row[4:14].reshape(5, 2)[[0, 1, 3, 4]] / scale  # without the nose, which does not lie flat
                found.append(Face((left, top, width, height), aligned(points), float(row[14])))
        return [face for face in distinct(found) if face.extent >= smallest]


class Cascades:
    """The cascades that OpenCV before version 5 brings along (Viola & Jones, 2001): frontal, and both profiles.

    They see less than YuNet, take some things for faces, and do not see how a face is turned.
    """

    def __init__(self) -> None:
        self.cv2 = _cv2()
        folder = Path(getattr(getattr(self.cv2, "data", None), "haarcascades", ""))
        files = [folder / f"haarcascade_{name}.xml" for name, _ in CASCADES]
        if not hasattr(self.cv2, "CascadeClassifier") or not all(file.is_file() for file in files):
            raise PluginError(
                f"OpenCV {self.cv2.__version__} brings no face detector: 'transgan download {YUNET.name}' fetches one, "
                "or --set weights=FILE names one"
            )
        self.cascades = [self.cv2.CascadeClassifier(str(file)) for file in files]

    def __call__(self, picture: np.ndarray, smallest: float) -> list[Face]:
        scale = min(2.0, WINDOW / max(smallest, 1.0))
        grey = self.cv2.equalizeHist(self.cv2.cvtColor(_scaled(self.cv2, picture, scale), self.cv2.COLOR_BGR2GRAY))
        found = []
        for i, (name, least) in enumerate(CASCADES):
            for mirrored in (False, True) if "profile" in name else (False,):
                boxes, _, scores = self.cascades[i].detectMultiScale3(
                    grey[:, ::-1].copy() if mirrored else grey,
                    1.1,
                    6,
                    minSize=(WINDOW, WINDOW),
                    outputRejectLevels=True,
                )
                for box, score in zip(
                    np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.ravel(scores), strict=True
                ):
                    if score >= least:
                        left = grey.shape[1] - box[0] - box[2] if mirrored else box[0]
                        found.append(_upright(left / scale, box[1] / scale, box[2] / scale, len(CASCADES) - i))
        return [face for face in distinct(found) if face.extent >= smallest]


def _upright(left: float, top: float, side: float, score: float) -> Face:
    """A face of which only a square box is known."""
    square = Square(left + side / 2, top + side / 2 + CASCADE_DOWN * side, CASCADE_SIDE * side)
    return Face((left, top, side, side), square, score)


def _cv2() -> Any:
    return require("cv2", "faces", "finding faces")


def _scaled(cv2: Any, picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    scaled: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return scaled


def scales(shape: tuple[int, ...], smallest: float) -> list[float]:
    """Factors at which a picture (H, W) is looked at, the finest first, so that each face has some good size in one."""
    longer = max(shape[:2])
    scale = max(min(2.0, SMALLEST / max(smallest, 1.0)), min(1.0, SIDE / longer))
    found = [scale]
    while found[-1] * longer > SIDE:
        found.append(found[-1] / STEP)
    return found


def aligned(points: np.ndarray) -> Square:
    """The square in which eyes and mouth, (4, 2) in pixels, come nearest to where crops have them.

    The similarity of least squares, in closed form (Umeyama, 1991, in two dimensions as complex numbers).
    """
    ours = (EYES_AND_MOUTH - 0.5) @ [1, 1j]
    theirs = points @ [1, 1j]
    middle = ours.mean()
    turn = ((ours - middle).conj() * (theirs - theirs.mean())).sum() / (np.abs(ours - middle) ** 2).sum()
    centre = theirs.mean() - turn * middle
    return Square(float(centre.real), float(centre.imag), max(float(abs(turn)), 1.0), float(np.angle(turn)))


def distinct(faces: list[Face]) -> list[Face]:
    """Each face once, the surest of its finds; the largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_shared(face.box, other.box) < 0.5 for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.extent)


def _shared(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area in common, as a share of the smaller box."""
    width, height = (min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    least = min(one[2] * one[3], other[2] * other[3])
    return max(width, 0.0) * max(height, 0.0) / least if least > 0 else 1.0
