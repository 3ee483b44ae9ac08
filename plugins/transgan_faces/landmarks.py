"""The metric `landmarks_moved`: whether a translated face stays where it was, and what surrounds it as it was."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from transgan.api import DataError, Metric, Options, Translation, UsageError, listed, locate
from transgan_faces.detection import YUNET, YuNet

#: The longer side of the detector's input: of faces that fill photographs of 64 and 128 pixels it finds most at 256.
SIDE = 256
#: Quality of the JPEG copies, and by how much their blocks are shifted against those of a source that was a JPEG file.
QUALITY, SHIFT = 90, 4


class LandmarksMovedOptions(Options):
    """Options of the metric `landmarks_moved`."""

    weights: str | None = None
    """Path of YuNet's weights, `face_detection_yunet_2023mar.onnx`. Defaults to the file that `transgan download yunet`
    has put into the cache folder."""
    score: float = Field(0.6, ge=0.0, le=1.0)
    """Minimum confidence of a detection."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """A detected face, in pixels of an image with a longer side of 256."""

    points: np.ndarray
    """(5, 2): (x, y) of right eye, left eye, tip of the nose, right and left corner of the mouth."""
    box: tuple[float, float, float, float]
    """Bounding box: left, top, width and height."""

    @property
    def between_eyes(self) -> float:
        """The distance between the eyes; at least 1, for faces in profile."""
        return max(float(np.linalg.norm(self.points[0] - self.points[1])), 1.0)

    def distance(self, other: "Landmarks") -> float:
        """Return the mean distance from the landmarks of another face, as a fraction of the distance between eyes."""
        return float(np.linalg.norm(self.points - other.points, axis=1).mean() / self.between_eyes)

    def ellipse(self, height: int, width: int) -> Tensor:
        """Return which pixels of an image are in the face, (height, width): in the ellipse that fills the box."""
        scale = max(height, width) / SIDE
        left, top, across, down = (each * scale for each in self.box)
        x = (torch.arange(width, dtype=torch.float64) + 0.5 - left - across / 2) / max(across / 2, 0.5)
        y = (torch.arange(height, dtype=torch.float64) + 0.5 - top - down / 2) / max(down / 2, 0.5)
        return x[None, :] ** 2 + y[:, None] ** 2 <= 1


class LandmarkDetector:
    """YuNet's five landmarks of the faces in an image of any size, which is resized to a longer side of 256.

    Args:
        weights: the ONNX file.
        score: minimum confidence of a detection, 0 to 1.

    Raises:
        PluginError: OpenCV is not installed.
    """

    def __init__(self, weights: Path, score: float):
        yunet = YuNet(weights, score)
        self.cv2, self.network = yunet.cv2, yunet.network

    def __call__(self, image: np.ndarray) -> list[Landmarks]:
        """Return the faces in a BGR uint8 image (H, W, 3), the largest first."""
        scale = SIDE / max(image.shape[:2])
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        if scale != 1:
            how = self.cv2.INTER_CUBIC if scale > 1 else self.cv2.INTER_AREA
            image = self.cv2.resize(image, size, interpolation=how)
        square = np.zeros((SIDE, SIDE, 3), np.uint8)  # a narrow image would be smaller than YuNet's cells
        square[: size[1], : size[0]] = image
        self.network.setInputSize((SIDE, SIDE))
        _, rows = self.network.detect(square)
        rows = np.empty((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64)
        faces = [Landmarks(row[4:14].reshape(5, 2), tuple(row[:4].tolist())) for row in rows]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def as_jpeg(self, image: np.ndarray) -> np.ndarray:
        """Return a BGR uint8 image (H, W, 3) after JPEG compression of quality 90, on other blocks than a file's own.

        On the same blocks, compressing a JPEG file once more would change hardly anything.
        """
        padded = self.cv2.copyMakeBorder(image, SHIFT, 0, SHIFT, 0, self.cv2.BORDER_REPLICATE)
        _, file = self.cv2.imencode(".jpg", padded, [self.cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        decoded: np.ndarray = self.cv2.imdecode(file, self.cv2.IMREAD_COLOR)[SHIFT:, SHIFT:]
        return np.ascontiguousarray(decoded)


@dataclass
class _Measured:
    """What was measured of one translation's samples."""

    sources: int = 0
    """Number of samples."""
    moved: list[float | None] = field(default_factory=list)
    """Of each sample with a face how far it moved; None where it is not found again."""
    moved_of_jpeg: list[float | None] = field(default_factory=list)
    """The same of the compressed source."""
    changes: list[tuple[float, float]] = field(default_factory=list)
    """The change inside and outside the face, of samples with an outside."""


class LandmarksMoved(Metric[LandmarksMovedOptions]):
    """How far YuNet's five landmarks (eyes, tip of the nose, corners of the mouth) move in a translation of a face.

    Only sources in which a face is found are measured, and of several the largest face.

    - `landmarks_moved`: the mean distance of the five landmarks between source and translation, as a fraction of the
      distance between the source's eyes: the median over samples; `landmarks_moved_p95` is the 95th percentile;
    - `faces_found`: the share of the faces that are found in the translation again;
    - `..._of_jpeg`: the same figures of the untranslated source, compressed as a JPEG of quality 90: the noise of the
      detector, below which a figure says nothing;
    - `change_inside`: the mean absolute change of the pixels in the face, as a fraction of the range from black to
      white; the face is the ellipse that fills its bounding box;
    - `change_outside`: that of the pixels outside the face, divided by `change_inside`: 0 where hair and background
      stay as they are, about 1 where all is changed alike; no figure where the face does not change.

    An unchanged copy has the best values: they say what a translation leaves alone, not whether it is one.

    Raises:
        DataError: the weights are missing or damaged.
        PluginError: OpenCV is not installed.
    """

    measures = ("pictures", 2)
    direction = {
        "landmarks_moved": "lower",
        "landmarks_moved_p95": "lower",
        "faces_found": "higher",
        "change_outside": "lower",
    }

    def __init__(self, options: LandmarksMovedOptions):
        super().__init__(options)
        weights = locate(YUNET, Path(options.weights) if options.weights is not None else None)
        if weights is None:
            raise DataError(
                f"the weights of '{YUNET.name}' are not downloaded: run 'transgan download {YUNET.name}', "
                'or set weights = "FILE"'
            )
        self.detect = LandmarkDetector(weights, options.score)

    def reset(self) -> None:
        """Forget all updates."""
        self.measured: dict[Translation, _Measured] = defaultdict(_Measured)

    def update(self, translation: Translation, source: Tensor, fake: Tensor) -> None:
        """Add a batch: the sources and their translations, (N, 1 or 3, H, W) both.

        Raises:
            UsageError: the samples have other channels.
        """
        measured = self.measured[translation]
        for x, y in zip(_rgb(source), _rgb(fake), strict=True):
            image = _as_bgr(x)
            measured.sources += 1
            if faces := self.detect(image):
                face = faces[0]
                measured.moved.append(self._moved(face, _as_bgr(y)))
                measured.moved_of_jpeg.append(self._moved(face, self.detect.as_jpeg(image)))
                if x.shape == y.shape and not (inside := face.ellipse(*x.shape[1:])).all() and inside.any():
                    change = (y - x).abs().mean(0) / 2
                    measured.changes.append((float(change[inside].mean()), float(change[~inside].mean())))

    def _moved(self, face: Landmarks, image: np.ndarray) -> float | None:
        """Return how far a face has moved: the distance to the nearest one in a BGR image; None where there is none."""
        return min((face.distance(each) for each in self.detect(image)), default=None)

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        result = {}
        for translation, measured in self.measured.items():
            if measured.moved:
                figures = {**_figures(measured.moved, ""), **_figures(measured.moved_of_jpeg, "_of_jpeg")}
                if measured.changes:
                    inside, outside = np.mean(measured.changes, axis=0).tolist()
                    figures |= {"change_inside": inside, **({"change_outside": outside / inside} if inside else {})}
                result[translation] = figures
        return result

    def warnings(self) -> Sequence[str]:
        few = [
            f"{translation} {len(measured.moved)} of {measured.sources}"
            for translation, measured in self.measured.items()
            if len(measured.moved) < measured.sources
        ]
        return (
            [f"sources without a face that is found are not measured; faces are found in {listed(few)}"] if few else []
        )


def _figures(moved: Sequence[float | None], end: str) -> dict[str, float]:
    """Return the figures of how far faces moved, with this end of their names."""
    found = [each for each in moved if each is not None]
    figures = {f"faces_found{end}": len(found) / len(moved)}
    if found:
        figures[f"landmarks_moved{end}"] = float(np.median(found))
        figures[f"landmarks_moved_p95{end}"] = float(np.quantile(found, 0.95))
    return figures


def _rgb(x: Tensor) -> Tensor:
    """Return images (N, 1 or 3, H, W) on the CPU with three channels."""
    if x.shape[1] not in (1, 3):
        raise UsageError(f"landmarks_moved takes images of 1 or 3 channels, and these have {x.shape[1]}")
    return x.detach().float().cpu().expand(-1, 3, -1, -1)


def _as_bgr(x: Tensor) -> np.ndarray:
    """Return an RGB image (3, H, W) in [-1, 1] as BGR uint8 (H, W, 3)."""
    levels = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.flip(0).permute(1, 2, 0).numpy())
