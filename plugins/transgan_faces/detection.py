"""Face detection: bounding boxes of the faces in a photograph, and the rotated square to crop for each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from transgan.api import PluginError, WeightFile, require
from transgan_faces.pasting import Square

#: Wu et al., "YuNet: a tiny millisecond-level face detector", 2023: bounding boxes and five landmarks.
YUNET = WeightFile(
    name="yunet",
    file="face_detection_yunet_2023mar.onnx",
    url="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size=232_589,
    terms="face detector YuNet, MIT licence, from OpenCV Zoo",
)

#: Positions (x, y) of the person's right eye, left eye, right and left corner of the mouth in photographs cropped as in
#: FairFace ('padding 0.25'), as fractions of the side: means of YuNet's landmarks over 298 of them, made symmetric.
LANDMARK_TEMPLATE = np.array([[0.333, 0.289], [0.667, 0.289], [0.360, 0.694], [0.640, 0.694]])
#: Side of such a crop, and how far its center is below that of the box, as fractions of the side of a cascade's box:
#: means over faces that YuNet detects too.
CASCADE_SIDE, CASCADE_DOWN = 0.97, 0.085

#: OpenCV's cascades, the most precise first, each with the minimum score of its detections.
CASCADES = (("frontalface_alt2", 0.0), ("frontalface_default", 5.0), ("profileface", 2.0))
#: Side of the smallest face that the cascades detect, in pixels.
WINDOW = 24

#: Size in pixels to which the finest level of the image pyramid scales the smallest face wanted, and the ratio between
#: the scales of adjacent levels.
TARGET_EXTENT, PYRAMID_STEP = 32, 3.0
#: Minimum side in pixels of YuNet's input: with a single 32-pixel cell on a side it returns boxes at 1e30.
MIN_INPUT = 64
#: The coarsest pyramid level has at most this longer side, in pixels.
MAX_COARSEST_SIDE = 640


@dataclass(frozen=True)
class Face:
    """A detected face."""

    box: tuple[float, float, float, float]
    """Bounding box: left, top, width and height in pixels."""
    square: Square
    """The square to crop for a model."""
    score: float
    """The detector's confidence; not comparable between detectors."""
    track: int = 0
    """In a clip, the number of the track that the face belongs to; 0 where faces are not followed."""

    @property
    def extent(self) -> float:
        """The longer side of the box in pixels."""
        return max(self.box[2:])


class FaceDetector(Protocol):
    """A function that detects faces."""

    def __call__(self, image: np.ndarray, min_extent: float) -> list[Face]:
        """Return the faces of at least `min_extent` pixels in a BGR uint8 image (H, W, 3), the largest first."""


class YuNet:
    """OpenCV's YuNet on an image pyramid; one level covers faces of 10 to 300 pixels.

    Args:
        weights: the ONNX file.
        score: minimum confidence of a detection, 0 to 1.
    """

    def __init__(self, weights: Path, score: float):
        self.cv2 = _import_cv2()
        level = self.cv2.utils.logging.getLogLevel()
        # OpenCV 5 logs warnings about its own defaults.
        self.cv2.utils.logging.setLogLevel(self.cv2.utils.logging.LOG_LEVEL_ERROR)
        self.network = self.cv2.FaceDetectorYN.create(str(weights), "", (320, 320), score, 0.3, 5000)
        self.cv2.utils.logging.setLogLevel(level)

    def __call__(self, image: np.ndarray, min_extent: float) -> list[Face]:
        faces = []
        for scale in pyramid_scales(image.shape[:2], min_extent):
            scaled = _resize(self.cv2, image, scale)
            pad_bottom, pad_right = (max(0, MIN_INPUT - side) for side in scaled.shape[:2])
            scaled = self.cv2.copyMakeBorder(scaled, 0, pad_bottom, 0, pad_right, self.cv2.BORDER_CONSTANT)
            self.network.setInputSize((scaled.shape[1], scaled.shape[0]))
            _, rows = self.network.detect(scaled)
            for row in () if rows is None else np.asarray(rows, dtype=np.float64):
                left, top, width, height = (float(each) / scale for each in row[:4])
                # The landmark on the tip of the nose is skipped: it is not in the plane of eyes and mouth.
                landmarks = row[4:14].reshape(5, 2)[[0, 1, 3, 4]] / scale
                faces.append(Face((left, top, width, height), fit_square(landmarks), float(row[14])))
        return [face for face in suppress_duplicates(faces) if face.extent >= min_extent]


class Cascades:
    """The Haar cascades that come with OpenCV before version 5 (Viola & Jones, 2001): frontal, and both profiles.

    They miss more faces than YuNet, have more false positives, and do not estimate a face's rotation.

    Raises:
        PluginError: OpenCV is not installed, or comes without cascades.
    """

    def __init__(self) -> None:
        self.cv2 = _import_cv2()
        folder = Path(getattr(getattr(self.cv2, "data", None), "haarcascades", ""))
        files = [folder / f"haarcascade_{name}.xml" for name, _ in CASCADES]
        if not hasattr(self.cv2, "CascadeClassifier") or not all(file.is_file() for file in files):
            raise PluginError(
                f"OpenCV {self.cv2.__version__} comes without a face detector: 'transgan download {YUNET.name}' "
                "fetches one, or --set weights=FILE names one"
            )
        self.cascades = [self.cv2.CascadeClassifier(str(file)) for file in files]

    def __call__(self, image: np.ndarray, min_extent: float) -> list[Face]:
        scale = min(2.0, WINDOW / max(min_extent, 1.0))
        grey = self.cv2.equalizeHist(self.cv2.cvtColor(_resize(self.cv2, image, scale), self.cv2.COLOR_BGR2GRAY))
        faces = []
        for i, (name, min_score) in enumerate(CASCADES):
            # The profile cascade knows one side only.
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
                    if score >= min_score:
                        left = grey.shape[1] - box[0] - box[2] if mirrored else box[0]
                        # Scores of different cascades are not comparable: the cascade's rank takes their place.
                        faces.append(_upright_face(left / scale, box[1] / scale, box[2] / scale, len(CASCADES) - i))
        return [face for face in suppress_duplicates(faces) if face.extent >= min_extent]


def _upright_face(left: float, top: float, side: float, score: float) -> Face:
    """Return a face of which only a square bounding box is known."""
    square = Square(left + side / 2, top + side / 2 + CASCADE_DOWN * side, CASCADE_SIDE * side)
    return Face((left, top, side, side), square, score)


def _import_cv2() -> Any:
    return require("cv2", "faces", "face detection")


def _resize(cv2: Any, image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    resized: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return resized


def pyramid_scales(shape: tuple[int, ...], min_extent: float) -> list[float]:
    """Return the scales of the image pyramid for an image of shape (H, W), the finest first.

    Every face of at least `min_extent` pixels has a size that YuNet detects in one of them.
    """
    longer = max(shape[:2])
    scale = max(min(2.0, TARGET_EXTENT / max(min_extent, 1.0)), min(1.0, MAX_COARSEST_SIDE / longer))
    scales = [scale]
    while scales[-1] * longer > MAX_COARSEST_SIDE:
        scales.append(scales[-1] / PYRAMID_STEP)
    return scales


def fit_square(landmarks: np.ndarray) -> Square:
    """Return the square whose `LANDMARK_TEMPLATE` fits the landmarks, (4, 2) in pixels, best.

    The fit is the least-squares similarity transform in closed form (Umeyama, 1991), in two dimensions by complex
    numbers.
    """
    template = (LANDMARK_TEMPLATE - 0.5) @ [1, 1j]
    points = landmarks @ [1, 1j]
    mean = template.mean()
    transform = ((template - mean).conj() * (points - points.mean())).sum() / (np.abs(template - mean) ** 2).sum()
    center = points.mean() - transform * mean
    return Square(float(center.real), float(center.imag), max(float(abs(transform)), 1.0), float(np.angle(transform)))


def suppress_duplicates(faces: list[Face]) -> list[Face]:
    """Return the faces after non-maximum suppression: of overlapping ones the highest score; the largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_overlap(face.box, other.box) < 0.5 for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.extent)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the intersection of two boxes as a fraction of the smaller box's area."""
    width, height = (min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    smaller_area = min(one[2] * one[3], other[2] * other[3])
    return max(width, 0.0) * max(height, 0.0) / smaller_area if smaller_area > 0 else 1.0
