"""A loss asks for the tensors that it needs by their names, and returns one number."""

from pydantic import Field

from transgan.api import Loss, Options, Tensor


class TotalVariationOptions(Options):
    power: float = Field(1.0, gt=0, le=4)
    """What differences are raised to: 1 keeps edges, 2 smooths them."""


class TotalVariation(Loss):
    """Neighbouring pixels of a translation differ little (Rudin et al., 1992): the mean over both axes."""

    Options = TotalVariationOptions

    def for_generator(self, fake: Tensor) -> Tensor:
        down = fake[..., 1:, :] - fake[..., :-1, :]
        right = fake[..., :, 1:] - fake[..., :, :-1]
        power = self.options.power
        return down.abs().pow(power).mean() + right.abs().pow(power).mean()
