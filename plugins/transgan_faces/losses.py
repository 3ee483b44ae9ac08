"""Losses of faces that are cropped upright, as the region detector `faces` and `transgan faces extract` do it."""

from typing import Literal

import torch
from pydantic import Field

from transgan.api import Loss, Options, Tensor
from transgan_faces.pasting import blend_mask


class FaceCycleOptions(Options):
    outside: float = Field(0.2, ge=0.0, le=1.0)
    """Weight of a pixel outside of the face, where one in the middle of the face has 1 (0 to 1)."""
    margin: float = Field(0.0, ge=-0.25, le=2.0)
    """The margin with which faces were cropped, see the region detector `faces`: it says how large the face is."""
    mask: Literal["ellipse", "input"] = "ellipse"
    """Where the face is: in the ellipse within which `transgan translate --faces` changes pixels, or where the further
    input `mask` of the source, `[inputs.mask]`, is 1."""


class FaceCycle(Loss[FaceCycleOptions]):
    """Cycle consistency that counts the face more than what is around it: the weighted L1 distance.

    Weights are scaled to a mean of 1 in each sample, so that the loss is comparable with `cycle`, of which it takes the
    place. After the face mask of CycleGAN Face-off (Jin et al., 2017).
    """

    measures = ("pictures", 2)
    nonzero_at_end = True

    def __init__(self, options: FaceCycleOptions):
        super().__init__(options)
        self.unused_inputs = () if options.mask == "input" else ("source_mask",)

    def for_generator(self, source: Tensor, reconstruction: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Return the mean over samples.

        Args:
            source: (N, C, H, W).
            reconstruction: the source, translated and translated back, (N, C, H, W).
            source_mask: (N, 1, H, W) in [-1, 1], 1 in the face.
        """
        face = self._ellipse(source) if source_mask is None else (source_mask[:, :1] + 1) / 2
        weights = self.options.outside + (1 - self.options.outside) * face
        # A mask without a face has the weight 1 everywhere, also where `outside` is 0.
        mean = weights.mean((2, 3), keepdim=True)
        weights = torch.where(mean > 0, weights / mean.clamp(min=1e-6), 1.0)
        return (weights * (reconstruction - source).abs()).mean()

    def _ellipse(self, x: Tensor) -> Tensor:
        """Return the share to which pixels of (N, C, H, W) are face, (1, 1, H, W)."""
        down, across = (
            ((torch.arange(side, device=x.device, dtype=x.dtype) + 0.5) / side - 0.5) * (1 + 2 * self.options.margin)
            for side in x.shape[-2:]
        )
        return blend_mask(across[None, :], down[:, None])[None, None]
