"""A loss. The arguments of its methods are the names of the tensors that it needs; it returns a scalar."""

from pydantic import Field

from transgan.api import Loss, Options, Tensor


class TotalVariationOptions(Options):
    power: float = Field(1.0, gt=0, le=4)
    """Exponent of the differences (above 0, up to 4): 1 preserves edges, 2 smooths them."""


class TotalVariation(Loss[TotalVariationOptions]):
    """Total variation of a translation: mean difference of neighbouring pixels along both axes (Rudin et al., 1992)."""

    measures = ("pictures", 2)  # of other data the two last axes are something else

    def for_generator(self, fake: Tensor) -> Tensor:
        down = fake[..., 1:, :] - fake[..., :-1, :]
        right = fake[..., :, 1:] - fake[..., :, :-1]
        power = self.options.power
        return down.abs().pow(power).mean() + right.abs().pow(power).mean()
