"""Recycle-GAN (Bansal et al., 2018): networks that predict the next frame tie a translation to the course of time."""

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor
from transgan_standard.generators import UnetGenerator, UnetOptions
from transgan_standard.layers import NormKind
from transgan_standard.nodes import TranslationNodes

from transgan.api import Call, Conditions, Encoder, Loss, Metric, NetworkSpec, Translation, node
from transgan_video.framewise import clip_axes


class PredictorOptions(UnetOptions):
    """Options of the encoder `next_frame`: those of the generator `unet`, and how many frames it sees."""

    frames: int = Field(2, ge=1)
    """Number of frames that the next one is predicted from (1 or more; 2 as published)."""
    norm: NormKind = "instance"
    """Normalisation between the outermost and the innermost level: `instance`, `batch`, `group` or `none`."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability in the decoder (0 to below 1), as that of `unet`."""


class NextFrame(Encoder[PredictorOptions]):
    """The temporal predictor of Recycle-GAN (Bansal et al., 2018, eq. 3): the next frame of a domain, by a U-Net.

    With 8 downs (256 pixels) it is the authors' `unet_256`; by default it has as many as the training size allows. With
    `output = "residual"` it starts from the last frame, as if nothing moved.

    `forward(x)`: x (N, C, T, H, W), T at least `frames`: frames that follow each other. Returns (N, C, T - frames + 1,
    H, W) in [-1, 1]: for each run of `frames` frames the one that follows.

    Raises:
        UsageError: samples are not clips, or their size is odd.
    """

    channels_last = True

    def __init__(self, options: PredictorOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.frames = options.frames
        space = clip_axes(spec, "next_frame")
        self.unet = UnetGenerator(options, replace(spec, inputs=options.frames * spec.inputs, style=0, space=space))

    def forward(self, x: Tensor) -> Tensor:
        runs = x.unfold(2, self.frames, 1).flip(5)  # (N, C, R, H, W, frames), the last frame first
        stacked = runs.permute(0, 2, 5, 1, 3, 4).flatten(2, 3).flatten(0, 1)  # (N R, frames C, H, W)
        predicted: Tensor = self.unet(stacked)
        return predicted.reshape(len(x), -1, *predicted.shape[1:]).transpose(1, 2)


class RecycleNodes(TranslationNodes):
    """The nodes of Recycle-GAN, beside those of `translation`. Samples are clips (N, C, T, H, W).

    The encoder `predictor` of the recipe, one for each domain, predicts the next frame: `use = "next_frame"`. With K
    for its `frames`, T - K frames of a clip are predicted, each from the K before it.
    """

    @node
    def prediction(self, source: Tensor) -> Call:
        """The frames of the source that its domain's predictor expects, (N, C, T - K, H, W)."""
        return Call("predictor.source", source[:, :, :-1])

    @node
    def fake_prediction(self, fake: Tensor) -> Call:
        """The frames that the target domain's predictor expects after those of the fake, (N, C, T - K, H, W)."""
        return Call("predictor.target", fake[:, :, :-1])

    @node
    def recycled(self, fake_prediction: Tensor, to_source: Conditions) -> Call:
        """These frames, translated back to the source domain, (N, C, T - K, H, W)."""
        return Call("back", fake_prediction, to_source)


class Recurrent(Loss):
    """Recurrent loss (Bansal et al., 2018, eq. 3): L1 distance between a frame and what is predicted from those before.

    It trains the source domain's predictor.
    """

    measures = ("clips", 3)

    def for_generator(self, source: Tensor, prediction: Tensor) -> Tensor:
        return (prediction - last_frames(source, prediction)).abs().mean()


class Recycle(Loss):
    """Recycle loss (Bansal et al., 2018, eq. 4): L1 distance between a frame and what comes of those before it.

    These are translated, the target domain's predictor says what comes next, and that is translated back.
    """

    measures = ("clips", 3)
    nonzero_at_end = True

    def for_generator(self, source: Tensor, recycled: Tensor) -> Tensor:
        return (recycled - last_frames(source, recycled)).abs().mean()


def last_frames(x: Tensor, like: Tensor) -> Tensor:
    """Return the last frames of clips (N, C, T, H, W), as many as others have."""
    return x[:, :, x.shape[2] - like.shape[2] :]


class TemporalCycle(Metric):
    """Error of frames that are predicted through the other domain, as a mean absolute difference: 0 to 1.

    `temporal_cycle` is that of the loss `recycle`; `temporal_cycle_of_still` that of the frame before, as if nothing
    moved.
    """

    measures = ("clips", 3)
    direction = {"temporal_cycle": "lower"}

    def reset(self) -> None:
        self.sums: dict[Translation, list[Tensor]] = {}

    def update(self, translation: Translation, source: Tensor, recycled: Tensor) -> None:
        """Add a batch: sources (N, C, T, H, W), and their last frames predicted through the other domain."""
        true, still = last_frames(source, recycled), last_frames(source[:, :, :-1], recycled)
        errors = [(each - true).abs().flatten(1).mean(1) / 2 for each in (recycled, still)]
        self.sums.setdefault(translation, []).append(torch.stack(errors, 1))

    def compute(self) -> dict[Translation, dict[str, float]]:
        names = ("temporal_cycle", "temporal_cycle_of_still")
        means = {translation: torch.cat(rows).mean(0).tolist() for translation, rows in self.sums.items()}
        return {translation: dict(zip(names, each, strict=True)) for translation, each in means.items()}
