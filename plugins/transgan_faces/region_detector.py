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
from transgan_faces.tracking import Tracker, badge

#: The line of text in clips.
MARK = "synthetic faces"
#: A face that is followed may be smaller than others by this factor.
FOLLOWED = 0.8
#: Share of the last frame's colour cast in that of a frame.
CAST_SMOOTHING = 0.9


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
    """Keep the photograph's colors: a color cast, which a model adds to the skin as to everything else, is removed;
    and a grey photograph stays grey. What changes in hair or clothes alone tints no face."""
    detail: bool = True
    """Keep detail of the face that is finer than the model's resolution, such as pores. Turn it off where a face
    becomes another person's, who has other detail: the result is then as smooth as the model makes it."""
    smoothing: float = Field(0.6, ge=0.0, lt=1.0)
    """How much the square of a face is smoothed over the frames of a clip: from 0, as detected, to below 1."""
    bridge: int = Field(8, ge=0, le=1000)
    """For how many frames of a clip in a row a face that is not detected is kept where it was moving to, as long as the
    picture there stays much the same (0 to 1000)."""
    mark: bool = True
    """Whether clips get a small line of text in a corner of each frame, `synthetic faces`. Turn it off only where
    everybody who will see the clip knows what it is; the note in the file's metadata is always written."""


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
    disclosure = "faces translated by TransGAN, synthetic"

    def __init__(self, options: FacesOptions):
        super().__init__(options)
        self.keeps_detail = options.detail
        weights = locate(YUNET, Path(options.weights) if options.weights else None)
        self.detector: FaceDetector = YuNet(weights, options.score, options.turned) if weights else Cascades()
        if weights is None:
            self.note = (
                "faces are detected by OpenCV's Haar cascades, which miss some; "
                f"'transgan download {YUNET.name}' fetches a better detector"
            )

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        """Return the faces whose bounding box has a longer side of at least `min_extent` pixels, the largest first."""
        faces = self.detector(to_bytes(x), min_extent)
        return [self.region(x, face) for face in faces]

    def tracker(self) -> "TrackedFaces":
        """Return a detector that follows faces through the frames of a clip."""
        return TrackedFaces(self)

    def region(self, x: Tensor, face: Face) -> Region:
        """Return a face as a region."""
        square = replace(face.square, side=face.square.side * (1 + 2 * self.options.margin))
        return Region(pasting.crop(x, square), face.extent, replace(face, square=square))

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        squares = [region.place.square for region in regions]
        return pasting.paste(x, squares, changes, self.options.match, self.options.margin)

    def mark(self, x: Tensor, regions: Sequence[Region]) -> Tensor:
        """Return the image with the bounding box of each face in yellow and the cropped square in blue."""
        image = Image.fromarray(to_bytes(x))
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


class TrackedFaces(RegionDetector[FacesOptions]):
    """Detects the faces in the frames of a clip, one after the other, and follows each from frame to frame.

    Squares move smoothly, and so does the colour cast that is removed; a face that is missed for a few frames is kept.
    """

    min_extent = Faces.min_extent
    disclosure = Faces.disclosure

    def __init__(self, faces: Faces):
        super().__init__(faces.options)
        self.keeps_detail = faces.keeps_detail
        self.faces = faces
        self.following = Tracker(faces.options.smoothing, faces.options.bridge)
        self.casts: dict[int, Tensor] = {}

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        """Return the faces of the next frame, the largest first.

        One that has been followed may be a little smaller than `min_extent`, so that faces of that size do not flicker.
        """
        detected = self.faces.detector(to_bytes(x), FOLLOWED * min_extent)
        tracks = self.following.update(x, detected, min_extent)
        self.casts = {track.number: self.casts[track.number] for track in tracks if track.number in self.casts}
        return [self.faces.region(x, replace(track.smoothed, track=track.number)) for track in tracks]

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        """Return the frame with its faces changed, and marked as synthetic unless `mark` is off, faces or none."""

        def steady(number: int, cast: Tensor) -> Tensor:
            track = regions[number].place.track
            before = self.casts.get(track, cast)
            self.casts[track] = before + (1 - CAST_SMOOTHING) * (cast - before)
            return self.casts[track]

        squares, options = [region.place.square for region in regions], self.options
        y = pasting.paste(x, squares, changes, options.match, options.margin, steady)
        return badge(y, MARK) if options.mark else y

    def mark(self, x: Tensor, regions: Sequence[Region]) -> Tensor:
        return self.faces.mark(x, regions)


def to_bytes(x: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in [-1, 1] or of levels, C 1 or 3, as RGB uint8 (H, W, 3), of levels without a copy."""
    if x.is_floating_point():  # a part at a time, for little memory
        x = torch.cat(
            [(rows + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8) for rows in torch.split(x, 256, 1)], 1
        )
    array: np.ndarray = x.expand(3, -1, -1).permute(1, 2, 0).numpy()
    return array
