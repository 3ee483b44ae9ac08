"""Cycle consistency, plain (Zhu et al., 2017) and better (Wang & Lin, 2018)."""

from collections.abc import Sequence

import torch
from pydantic import field_validator
from torch import Tensor

from transgan.api import Clock, DiscriminatorOutput, Loss, Options, Schedule, constant

#: The least and the most that a sample's cycle term is weighted by the opinion of its translation.
LEAST, MOST = 0.1, 1.0


class CycleOptions(Options):
    features: Schedule = constant(0.0)
    """Share of the term, from 0 to 1, that is taken in features of the source domain's discriminators instead of in
    numbers; a number or a schedule. Wang & Lin let it rise, and stay below 1."""
    layer: int = -1
    """Which features: 0 for those of a discriminator's first layer, -1 for the last before the logits."""
    quality: bool = False
    """Whether each sample's term is weighted by how real the target domain's discriminators take its translation to be,
    between 0.1 and 1."""

    @field_validator("features")
    @classmethod
    def _a_share(cls, features: Schedule) -> Schedule:
        if not all(0 <= number <= 1 for number in (features.start, features.to or 0.0, *features.values)):
            raise ValueError("expected shares from 0 to 1")
        return features


class Cycle(Loss):
    """There and back again is where we started: L1 (Zhu et al., 2017, eq. 2).

    With `features` and `quality` that of Wang & Lin (2018): for each sample
    `quality * (share * L1 of features + (1 - share) * L1 of numbers)`. Features are those of the discriminators that
    judge the way back, averaged over these and their scales; those of the source have no gradient.
    """

    Options = CycleOptions
    lasting = True

    def __init__(self, options: CycleOptions):
        super().__init__(options)
        self.unneeded = {
            *(() if options.features.ever else ("clock", "source_outputs", "reconstruction_outputs")),
            *(() if options.quality else ("fake_opinion",)),
        }

    def for_generator(
        self,
        source: Tensor,
        reconstruction: Tensor,
        clock: Clock | None = None,
        source_outputs: Sequence[DiscriminatorOutput] = (),
        reconstruction_outputs: Sequence[DiscriminatorOutput] = (),
        fake_opinion: Tensor | None = None,
    ) -> Tensor:
        gap = _gap(reconstruction, source)
        if clock and source_outputs:
            share = self.options.features.at_clock(clock)
            pairs = zip(reconstruction_outputs, source_outputs, strict=True)
            gaps = [_gap(x, y.detach()) for r, s in pairs for x, y in zip(self._seen(r), self._seen(s), strict=True)]
            gap = share * torch.stack(gaps).mean(0) + (1 - share) * gap
        if fake_opinion is not None:
            gap = fake_opinion.clamp(LEAST, MOST) * gap
        return gap.mean()

    def _seen(self, output: DiscriminatorOutput) -> list[Tensor]:
        """The features of the layer, one tensor a scale."""
        layers = len(output.features) // len(output.logits)
        if not -layers <= self.options.layer < layers:
            raise ValueError(f"layer = {self.options.layer}: the discriminator has {layers} layers of features")
        return output.features[self.options.layer % layers :: layers]


def _gap(x: Tensor, y: Tensor) -> Tensor:
    """(N,) mean absolute differences, in no less than fp32."""
    if x.element_size() < 4:
        x, y = x.float(), y.float()
    return (x - y).abs().flatten(1).mean(1)
