"""Faces as the parts of a photograph that a model works on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import Field

from transgan.api import Finder, Options, Part, Tensor, locate
from transgan_faces.detection import YUNET, Cascades, Detector, Face, YuNet
from transgan_faces.pasting import cut, paste


class FacesOptions(Options):
    weights: str | None = None
    """The file with YuNet's weights, `face_detection_yunet_2023mar.onnx`. Left out, the one that `transgan download
    yunet` has put into the cache folder; where there is none, cascades that OpenCV before version 5 brings along."""
    score: float = Field(0.8, ge=0.0, le=1.0)
    """YuNet's confidence from which on something is a face."""
    margin: float = Field(0.0, ge=-0.25, le=2.0)
    """Added to the cut-out on each side, as a share of its side. With 0 eyes and mouth lie where FairFace's crops have
    them; a model trained on wider crops needs more."""
    match: bool = True
    """Keep the photograph's colours: what a model does to the corners of a cut-out too is taken for a colour cast."""


class Faces(Finder):
    """Finds faces in pictures, and cuts each out upright, with eyes and mouth where training photographs have them.

    A translation is put back as a change, which fades towards the edge of an ellipse within the cut-out; pixels outside
    of it stay as they are, and so does detail finer than what the model works at.
    """

    Options = FacesOptions
    smallest = 48.0

    def __init__(self, options: FacesOptions):
        super().__init__(options)
        self.options: FacesOptions = options
        weights = locate(YUNET, Path(options.weights) if options.weights else None)
        self.detector: Detector = YuNet(weights, options.score) if weights else Cascades()
        if weights is None:
            self.note = (
                "faces are looked for with OpenCV's old cascades, which miss some; "
                f"'transgan download {YUNET.name}' fetches a better detector"
            )

    def find(self, x: Tensor, smallest: float) -> list[Part]:
        faces = self.detector(_bytes(x)[..., ::-1].copy(), smallest)
        return [self._part(x, face) for face in faces]

    def _part(self, x: Tensor, face: Face) -> Part:
        square = replace(face.square, side=face.square.side * (1 + 2 * self.options.margin))
        return Part(cut(x, square), face.extent, replace(face, square=square))

    def put_back(self, x: Tensor, parts: Sequence[Part], changes: Sequence[Tensor]) -> Tensor:
        return paste(x, [part.place.square for part in parts], changes, self.options.match)

    def show(self, x: Tensor, parts: Sequence[Part]) -> Tensor:
        """The box of each face, and the square cut out."""
        picture = Image.fromarray(_bytes(x))
        draw = ImageDraw.Draw(picture)
        for part in parts:
            wide = max(1, round(part.extent / 60))
            left, top, width, height = part.place.box
            draw.rectangle((left, top, left + width, top + height), outline=(255, 220, 0), width=wide)
            corners = part.place.square.corners()
            draw.line([*corners, corners[0]], fill=(0, 200, 255), width=wide)
        shown = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
        return shown if x.shape[0] == 3 else shown.mean(0, keepdim=True)


def _bytes(x: Tensor) -> np.ndarray:
    """A picture (C, H, W) in [-1, 1] as (H, W, 3) bytes."""
    y = ((x.expand(3, -1, -1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    array: np.ndarray = y.permute(1, 2, 0).numpy()
    return array
