"""The region detector `faces`: detects faces in images and crops them as face models expect them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import Field

from transgan.api import Options, Region, RegionDetector, Tensor, locate
from transgan_faces import pasting
from transgan_faces.detection import YUNET, Cascades, Face, FaceDetector, YuNet


class FacesOptions(Options):
    """Options of the region detector `faces`."""

    weights: str | None = None
    """Path of YuNet's weights, `face_detection_yunet_2023mar.onnx`. Defaults to the file that `transgan download yunet`
    has put into the cache folder; without it, the Haar cascades that come with OpenCV before version 5 are used."""
    score: float = Field(0.8, ge=0.0, le=1.0)
    """Minimum confidence of YuNet's detections."""
    margin: float = Field(0.0, ge=-0.25, le=2.0)
    """Margin added to each side of the crop, as a fraction of its side. With 0, eyes and mouth are where they are in
    FairFace's crops; a model trained on wider crops needs more."""
    turned: bool = True
    """Also find faces that lie on their side or upside down, from about twice the smallest size. It searches
    three quarters more pixels."""
    match: bool = True
    """Keep the photograph's colors: a color cast, which a model adds to the skin as to everything else, is removed, and
    never more of it than the skin itself has changed; and a grey photograph stays grey."""


class Faces(RegionDetector[FacesOptions]):
    """Detects faces in images, and crops each upright, with eyes and mouth where training photographs have them.

    A translation is pasted back as a difference that fades out towards the edge of an ellipse inside the crop. Pixels
    outside the ellipse stay as they are, and so does detail finer than the model's resolution.

    Raises:
        DataError: the weights are missing or damaged.
        PluginError: OpenCV is missing, or has no cascades and there are no weights.
    """

    min_extent = 48.0
    takes_levels = True

    def __init__(self, options: FacesOptions):
        super().__init__(options)
        weights = locate(YUNET, Path(options.weights) if options.weights else None)
        self.detector: FaceDetector = YuNet(weights, options.score, options.turned) if weights else Cascades()
        if weights is None:
            self.note = (
                "faces are detected by OpenCV's Haar cascades, which miss some; "
                f"'transgan download {YUNET.name}' fetches a better detector"
            )

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        """Return the faces whose bounding box has a longer side of at least `min_extent` pixels, the largest first."""
        faces = self.detector(_to_bytes(x), min_extent)
        return [self._region(x, face) for face in faces]

    def _region(self, x: Tensor, face: Face) -> Region:
        square = replace(face.square, side=face.square.side * (1 + 2 * self.options.margin))
        return Region(pasting.crop(x, square), face.extent, replace(face, square=square))

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        squares = [region.place.square for region in regions]
        return pasting.paste(x, squares, changes, self.options.match, self.options.margin)

    def mark(self, x: Tensor, regions: Sequence[Region]) -> Tensor:
        """Return the image with the bounding box of each face in yellow and the cropped square in blue."""
        image = Image.fromarray(_to_bytes(x))
        canvas = ImageDraw.Draw(image)
        for region in regions:
            line_width = max(1, round(region.extent / 60))
            left, top, width, height = region.place.box
            canvas.rectangle((left, top, left + width, top + height), outline=(255, 220, 0), width=line_width)
            corners = region.place.square.corners()
            canvas.line([*corners, corners[0]], fill=(0, 200, 255), width=line_width)
        marked = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        if x.is_floating_point():
            marked = marked.float() / 127.5 - 1
        return marked if x.shape[0] == 3 else marked.float().mean(0, keepdim=True).to(x.dtype)


def _to_bytes(x: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in [-1, 1] or of levels, C 1 or 3, as RGB uint8 (H, W, 3), of levels without a copy."""
    if x.is_floating_point():  # a part at a time, for little memory
        x = torch.cat(
            [(rows + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8) for rows in torch.split(x, 256, 1)], 1
        )
    array: np.ndarray = x.expand(3, -1, -1).permute(1, 2, 0).numpy()
    return array
