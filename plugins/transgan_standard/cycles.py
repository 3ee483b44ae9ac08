"""Cycle consistency: plain L1 (Zhu et al., 2017), and with feature distances and quality weights (Wang & Lin, 2018)."""

from collections.abc import Sequence

import torch
from pydantic import field_validator
from torch import Tensor

from transgan.api import Clock, DiscriminatorOutput, Loss, Schedule, constant
from transgan_standard.losses import LazyOptions

#: Bounds of the weight that `quality` gives to a sample's cycle term.
MIN_QUALITY, MAX_QUALITY = 0.1, 1.0


class CycleOptions(LazyOptions):
    features: Schedule = constant(0.0)
    """Share of the distance, from 0 to 1, that is measured between features of the source domain's discriminators
    instead of between samples; a number or a schedule. Wang & Lin let it rise to a value below 1."""
    layer: int = -1
    """Index of the discriminator layer whose features are compared: 0 is the first, -1 the last before the logits."""
    quality: bool | Schedule = False
    """Whether each sample's term is weighted by how real the target domain's discriminators find its translation,
    clamped to q between 0.1 and 1; or a share s from 0 to 1, a number or a schedule: the weight is then 1 - s (1 - q).
    The authors weight during the first epochs only: `{ from = 1.0, curve = "steps", at = [0.1], values = [0.0] }`."""

    @field_validator("features", "quality")
    @classmethod
    def _within_unit_interval(cls, share: bool | Schedule) -> bool | Schedule:
        if isinstance(share, Schedule) and not all(0 <= number <= 1 for number in share.numbers):
            raise ValueError("expected shares from 0 to 1")
        return share

    @property
    def quality_share(self) -> Schedule:
        """The share s of `quality`; 1 for true and 0 for false."""
        return self.quality if isinstance(self.quality, Schedule) else constant(float(self.quality))


class Cycle(Loss[CycleOptions]):
    """Cycle consistency: L1 distance between a source and its reconstruction (Zhu et al., 2017, eq. 2).

    With `features` and `quality` the better cycles of Wang & Lin (2018): for each sample
    `weight * (share * L1 of features + (1 - share) * L1 of samples)`, the weight from `quality`. Features are those of
    the source domain's discriminators, averaged over discriminators and scales; features of the source carry no
    gradient.

    Raises:
        ValueError: the discriminator has no layer of the index `layer`.
    """

    nonzero_at_end = True

    def __init__(self, options: CycleOptions):
        super().__init__(options)
        self.interval = options.every
        features, quality = options.features.ever_nonzero, options.quality_share.ever_nonzero
        self.unused_inputs = {
            *(() if features else ("source_outputs", "reconstruction_outputs")),
            *(() if quality else ("fake_realness",)),
            *(() if features or quality else ("clock",)),
        }

    def for_generator(
        self,
        source: Tensor,
        reconstruction: Tensor,
        clock: Clock | None = None,
        source_outputs: Sequence[DiscriminatorOutput] = (),
        reconstruction_outputs: Sequence[DiscriminatorOutput] = (),
        fake_realness: Tensor | None = None,
    ) -> Tensor:
        """Return the mean over samples.

        Args:
            source: (N, C, *space).
            reconstruction: the source, translated and translated back, (N, C, *space).
            source_outputs: outputs of the source domain's discriminators for the source.
            reconstruction_outputs: their outputs for the reconstruction, in the same order.
            fake_realness: (N,), at most 1.
        """
        distance = _l1(reconstruction, source)
        if clock and source_outputs:
            share = self.options.features.at_clock(clock)
            pairs = zip(reconstruction_outputs, source_outputs, strict=True)
            distances = [
                _l1(x, y.detach()) for r, s in pairs for x, y in zip(self._features(r), self._features(s), strict=True)
            ]
            distance = share * torch.stack(distances).mean(0) + (1 - share) * distance
        if clock and fake_realness is not None:
            share = self.options.quality_share.at_clock(clock)
            distance = (1 - share + share * fake_realness.clamp(MIN_QUALITY, MAX_QUALITY)) * distance
        return distance.mean()

    def _features(self, output: DiscriminatorOutput) -> list[Tensor]:
        """Return the features of the layer `layer`, one tensor for each scale."""
        layers = len(output.features) // len(output.logits)
        if not -layers <= self.options.layer < layers:
            raise ValueError(
                f"layer = {self.options.layer}: the discriminator has {layers} layers of features; "
                f"expected an index from {-layers} to {layers - 1}"
            )
        return output.features[self.options.layer % layers :: layers]


def _l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of each sample, (N,), computed in at least fp32."""
    if x.element_size() < 4:
        x, y = x.float(), y.float()
    return (x - y).abs().flatten(1).mean(1)
