"""Face detection: bounding boxes of the faces in a photograph, and the rotated square to crop for each."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from transgan.api import Blank, PluginError, WeightFile, option, require
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
#: Least side of such a crop, as a fraction of the longer side of YuNet's box: in profile the landmarks, which lie close
#: together, say too little of a face's size. Medians over FairFace: 0.82 to 0.86 of profiles, 0.93 of frontal faces.
BOX_SIDE = 0.85
#: Distance of the eyes, as a fraction of that between eyes and mouth, below which a face's middle is, more and more,
#: that of its box, and where it is that alone.
PROFILE = (0.3, 0.1)
#: Side of such a crop, and how far its center is below that of the box, as fractions of the side of a cascade's box:
#: means over faces that YuNet detects too.
CASCADE_SIDE, CASCADE_DOWN = 0.97, 0.085

#: OpenCV's cascades, the most precise first, each with the minimum score of its detections.
CASCADES = (("frontalface_alt2", 0.0), ("frontalface_default", 5.0), ("profileface", 2.0))
#: Side of the smallest face that the cascades detect, in pixels.
WINDOW = 24

#: Size in pixels to which the finest level of the image pyramid scales the smallest face wanted, and the ratio between
#: the scales of adjacent levels.
TARGET_EXTENT, PYRAMID_STEP = 48, 3.0
#: Minimum side in pixels of YuNet's input: with a single 32-pixel cell on a side it returns boxes at 1e30.
MIN_INPUT = 64
#: The coarsest pyramid level has at most this longer side, in pixels.
MAX_COARSEST_SIDE = 640
#: Side of the tiles in which a pyramid level is searched, so that memory does not grow with the image, and by how much
#: they overlap, in pixels of the level; the next level has the faces that are larger than the overlap.
TILE, OVERLAP = 1024, 128
#: Side in pixels of the upright view in which a detected face is looked at again, its side as a multiple of the
#: square's; and how often at most, since the detector underestimates strong rotations: until less than
#: SETTLED remains, in radians.
VIEW, VIEW_SIDE, LOOKS, SETTLED = 256, 2.0, 3, math.radians(5)


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
        """Return the faces of at least `min_extent` pixels in an RGB uint8 image (H, W, 3), the largest first."""


class YuNet:
    """OpenCV's YuNet on an image pyramid; one level covers faces of 10 to 300 pixels.

    YuNet finds faces that are rotated by up to about 30 degrees. So each level is also searched turned by quarters, and
    each detection is looked at again in a view that is rotated upright, where landmarks and box are more precise. One
    that only a turned copy shows has to be found again there.

    Args:
        weights: the ONNX file.
        score: minimum confidence of a detection, 0 to 1.
        turned: also search the image turned by quarters.
    """

    def __init__(self, weights: Path, score: float, turned: bool = True):
        self.cv2 = _import_cv2()
        self.turned = turned
        level = self.cv2.utils.logging.getLogLevel()
        # OpenCV 5 logs warnings about its own defaults.
        self.cv2.utils.logging.setLogLevel(self.cv2.utils.logging.LOG_LEVEL_ERROR)
        self.network = self.cv2.FaceDetectorYN.create(str(weights), "", (320, 320), score, 0.3, 5000)
        self.cv2.utils.logging.setLogLevel(level)

    def __call__(self, image: np.ndarray, min_extent: float) -> list[Face]:
        upright = self._search(image, 0, min_extent)
        # At half the resolution: three turned copies together take less time than the image itself.
        turned = [face for i in (1, 2, 3) for face in self._search(image, i, 2 * min_extent)] if self.turned else []
        again = [self._look_again(image, face, needed=False) for face in suppress_duplicates(upright)]
        again += [self._look_again(image, face, needed=True) for face in suppress_duplicates(turned)]
        return [face for face in suppress_duplicates([each for each in again if each]) if face.extent >= min_extent]

    def _search(self, image: np.ndarray, quarters: int, min_extent: float) -> list[Face]:
        """Return what is detected in an image that is turned counterclockwise by quarters; duplicates included."""
        faces = []
        for scale in pyramid_scales(image.shape[:2], min_extent):
            for rows, columns in tiles(image.shape[:2], scale):
                part = image[rows, columns]
                tile = _resize(self.cv2, part, scale)
                zoom = np.array(part.shape[1::-1]) / tile.shape[1::-1]
                start, end = (np.array(each) for each in ((columns.start, rows.start), (columns.stop, rows.stop)))
                for corners, landmarks, score in self._detect(np.rot90(tile, quarters)):
                    corners, landmarks = (turn_back(each, quarters, tile.shape[:2]) for each in (corners, landmarks))
                    low, high = corners.min(0) * zoom + start, corners.max(0) * zoom + start
                    cut = (low <= start) & (start > 0) | (high >= end) & (end < image.shape[1::-1])
                    if not cut.any():  # else another tile or level has it whole
                        square = fit_square(landmarks * zoom + start)
                        square = replace(square, side=max(square.side, BOX_SIDE * float((high - low).max())))
                        faces.append(Face((*low.tolist(), *(high - low).tolist()), square, score))
        return faces

    def _detect(self, image: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Return of each face in an RGB image of moderate size two corners of its box, (2, 2), landmarks, (4, 2), and
        score."""
        pad_bottom, pad_right = (max(0, MIN_INPUT - side) for side in image.shape[:2])
        bgr = np.ascontiguousarray(image[..., ::-1])
        bgr = self.cv2.copyMakeBorder(bgr, 0, pad_bottom, 0, pad_right, self.cv2.BORDER_CONSTANT)
        self.network.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, rows = self.network.detect(bgr)
        found = []
        for row in () if rows is None else np.asarray(rows, dtype=np.float64):
            corners = np.stack([row[:2], row[:2] + row[2:4]])
            # The landmark on the tip of the nose is skipped: it is not in the plane of eyes and mouth.
            found.append((corners, row[4:14].reshape(5, 2)[[0, 1, 3, 4]], float(row[14])))
        return found

    def _look_again(self, image: np.ndarray, face: Face, needed: bool) -> Face | None:
        """Return a face as it is detected in a view of it that is rotated upright.

        Where it is not found there, it is returned as it was, or with `needed` not at all.
        """
        confirmed = False
        for _ in range(LOOKS):
            frame = replace(face.square, side=VIEW_SIDE * face.square.side)
            middle, scale = np.array([VIEW / 2, VIEW / 2]), frame.side / VIEW
            near = [
                each
                for each in self._detect(upright_view(self.cv2, image, frame))
                if np.linalg.norm(each[0].mean(0) - middle) < 0.3 * VIEW / VIEW_SIDE
            ]
            if not near:
                break
            confirmed = True
            corners, landmarks, score = max(near, key=lambda each: each[2])
            square, extents = fit_square_upright(landmarks, corners), (corners[1] - corners[0]) * scale
            turned, angle = square.angle, square.angle + frame.angle
            centers = torch.from_numpy(np.array([[square.x, square.y], corners.mean(0)]) / VIEW - 0.5)
            (x, box_x), (y, box_y) = (each.tolist() for each in frame.to_image(centers[:, 0], centers[:, 1]))
            square = Square(x, y, square.side * scale, math.remainder(angle, 2 * math.pi))
            # The bounding box of the ellipse that fills the box in the view.
            width, height = (float(np.hypot(*(extents * each))) for each in rotation(frame.angle))
            face = Face((box_x - width / 2, box_y - height / 2, width, height), square, score)
            if abs(turned) < SETTLED:
                break
        return None if needed and not confirmed else face


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
                f"fetches one, or {option('options', {'weights': Blank('FILE')})} names one"
            )
        self.cascades = [self.cv2.CascadeClassifier(str(file)) for file in files]

    def __call__(self, image: np.ndarray, min_extent: float) -> list[Face]:
        scale = min(2.0, WINDOW / max(min_extent, 1.0))
        grey = self.cv2.equalizeHist(self.cv2.cvtColor(_resize(self.cv2, image, scale), self.cv2.COLOR_RGB2GRAY))
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


def fit_square_upright(landmarks: np.ndarray, corners: np.ndarray) -> Square:
    """Return the square of an about upright face by its landmarks, (4, 2), and two corners of its box, (2, 2).

    The box decides where landmarks cannot: the size of a face whose eyes lie close together, and the middle of a
    profile.
    """
    square, (left, top), (right, bottom) = fit_square(landmarks), *corners
    eyes, mouth = landmarks[:2], landmarks[2:]
    ratio = math.dist(*eyes) / max(math.dist(eyes.mean(0), mouth.mean(0)), 1e-6)
    share = min(max((PROFILE[0] - ratio) / (PROFILE[0] - PROFILE[1]), 0.0), 1.0)
    side = max(square.side, BOX_SIDE * max(right - left, bottom - top))
    return replace(square, x=float(square.x + share * ((left + right) / 2 - square.x)), side=float(side))


def tiles(shape: tuple[int, ...], scale: float) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of an image (H, W), in its own pixels, that cover it and are at most TILE pixels at a
    scale; neighbors share OVERLAP pixels at that scale."""
    side, shared = TILE / scale, OVERLAP / scale
    spans = []
    for length in shape[:2]:
        count = max(1, math.ceil((length - shared) / (side - shared)))
        share = (length - shared) / count
        spans.append([slice(int(i * share), min(length, math.ceil((i + 1) * share + shared))) for i in range(count)])
    for rows in spans[0]:
        for columns in spans[1]:
            yield rows, columns


def turn_back(points: np.ndarray, quarters: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return where points (N, 2), x and y in `np.rot90(image, quarters)`, are in the image (H, W)."""
    for i in reversed(range(quarters)):
        points = np.stack([shape[1 - i % 2] - points[:, 1], points[:, 0]], 1)
    return points


def rotation(angle: float) -> np.ndarray:
    """Return the matrix that turns (x, y) clockwise as displayed, by radians."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def upright_view(cv2: Any, image: np.ndarray, frame: Square) -> np.ndarray:
    """Return the square of an RGB image, rotated upright, (VIEW, VIEW, 3); black beyond the edge."""
    corners = np.array(frame.corners())
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, np.array(image.shape[1::-1]) - 1)
    high = np.maximum(np.clip(np.ceil(corners.max(0)).astype(int), 0, image.shape[1::-1]), low + 1)
    part = image[low[1] : high[1], low[0] : high[0]]
    small = _resize(cv2, part, min(1.0, VIEW / frame.side))
    zoom = np.array(small.shape[1::-1]) / part.shape[1::-1]
    # From pixels of the view, whose centers are at 0.5, to those of the part; OpenCV counts centers as whole numbers.
    matrix = rotation(frame.angle) * frame.side / VIEW
    offset = np.array([frame.x, frame.y]) - matrix @ [VIEW / 2, VIEW / 2]
    matrix, offset = matrix * zoom[:, None], (offset - low) * zoom
    offset = offset + matrix @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    view: np.ndarray = cv2.warpAffine(small, np.column_stack([matrix, offset]), (VIEW, VIEW), flags=flags)
    return view


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
