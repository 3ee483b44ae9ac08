"""Regularisers of discriminators: gradient penalties, and LeCam regularisation."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from transgan.api import DiscriminatorOutput, Loss, Options, SampleRng
from transgan_standard.losses import LazyOptions

DiscriminatorFunction = Callable[[Tensor], DiscriminatorOutput]
Of = Literal["sum", "mean"]


def mean_logits(output: DiscriminatorOutput) -> Tensor:
    """Return the mean logit of each sample, (N,): over the positions of each scale, then over scales.

    Those of kept labels are added, times what each counts, as adversarial losses do.
    """
    return _over_scales(output, lambda logits: logits.mean(-1))


def sum_logits(output: DiscriminatorOutput) -> Tensor:
    """Return the sum of each sample's logits, (N,): over the positions of each scale, then the mean over scales."""
    return _over_scales(output, lambda logits: logits.sum(-1))


def _over_scales(output: DiscriminatorOutput, of_positions: Callable[[Tensor], Tensor]) -> Tensor:
    total = torch.stack([of_positions(logits.flatten(1)) for logits in output.logits]).mean(0)
    if output.kept_logits and output.kept is not None:  # (N, labels, *space), and what each label counts, (N, labels)
        counts = output.kept.to(total.dtype)
        total = total + torch.stack([(counts * of_positions(x.flatten(2))).sum(1) for x in output.kept_logits]).mean(0)
    return total


def squared_gradient_norms(discriminator: DiscriminatorFunction, x: Tensor, of: Of = "mean") -> Tensor:
    """Return the squared norm of the gradient of each sample's logits with respect to that sample, (N,).

    The result is differentiable. The discriminator must not mix samples: then the gradient of the sum over samples
    holds each sample's own gradient.

    Args:
        of: whether the gradient is that of the sum or of the mean of a sample's logits.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        output = discriminator(x)
        logits = sum_logits(output) if of == "sum" else mean_logits(output)
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


class LogitsOptions(Options):
    of: Of = "mean"
    """The number whose gradient is penalised, where a discriminator has a logit for each patch: the `mean` over
    positions, which the adversarial losses contain, or the `sum`, which the code of StarGAN, UVCGAN and the authors'
    PyTorch implementation of CycleGAN differentiates. With P positions the gradient of the sum is P times as large. For
    a discriminator with a single logit both are the same."""


class PenaltyOptions(LogitsOptions):
    form: Literal["two-sided", "one-sided", "zero-centred"] = "two-sided"
    """What is penalised: a gradient norm other than `slope` (`two-sided`), only a larger one (`one-sided`), or any
    gradient (`zero-centred`)."""
    slope: float = Field(1.0, gt=0)
    """Target of the gradient norm, or its upper bound where one-sided (above 0); unused by `zero-centred`. The pull of
    the adversarial loss on a generator is in proportion to it: see [](../methods/constants.md)."""


class GradientPenalty(Loss[PenaltyOptions]):
    """Gradient penalty at random interpolates of real and fake samples (Gulrajani et al., 2017, eq. 3; weight 10).

    With `g` the gradient of the critic's logits, their mean or sum by `of`, at a uniformly random point between a real
    and a fake sample:
    `two-sided` is `((|g| - slope) / slope)^2`; `one-sided` is the same where `|g|` exceeds `slope`, else 0 (ibid.,
    section 4); `zero-centred` is `|g|^2` (Thanh-Tung et al., 2019). Always computed in fp32. The critic's inputs are
    interpolated after augmentation, with all their channels. The critic may not mix samples: batch norm is refused,
    instance norm is allowed.
    """

    penalizes_gradient = True

    def for_discriminator(
        self, real_input: Tensor, fake_input: Tensor, discriminator: DiscriminatorFunction, rng: SampleRng
    ) -> Tensor:
        share = rng.uniform("between").to(real_input).view(-1, *[1] * (real_input.ndim - 1))
        interpolates = share * real_input.detach() + (1 - share) * fake_input.detach()
        squares = squared_gradient_norms(discriminator, interpolates, self.options.of)
        if self.options.form == "zero-centred":
            return squares.mean()
        tiny = torch.finfo(squares.dtype).tiny  # the square root has no derivative at 0
        excess = (squares + tiny).sqrt() / self.options.slope - 1
        penalised: Tensor = excess.relu() if self.options.form == "one-sided" else excess
        return penalised.square().mean()


class R1Options(LogitsOptions, LazyOptions):
    """Options of the penalties at one kind of sample."""


class R1(Loss[R1Options]):
    """R1 regularisation: half the mean squared gradient norm at real samples (Mescheder et al., 2018, eq. 9).

    The gradient is that of the mean or the sum of the logits, by `of`; the paper's discriminator has a single logit.
    Always computed in fp32. The loss's weight is the paper's gamma.
    """

    penalizes_gradient = True

    def __init__(self, options: R1Options):
        super().__init__(options)
        self.interval = options.every

    def for_discriminator(self, real_input: Tensor, discriminator: DiscriminatorFunction) -> Tensor:
        penalty: Tensor = 0.5 * squared_gradient_norms(discriminator, real_input, self.options.of).mean()
        return penalty


class R2(R1):
    """R2 regularisation: half the mean squared gradient norm at fakes (Mescheder et al., 2018, eq. 10).

    As `r1`, at the fakes as the discriminator gets them, which are augmented and may come from its image pool.
    """

    def for_discriminator(self, fake_input: Tensor, discriminator: DiscriminatorFunction) -> Tensor:
        return super().for_discriminator(fake_input, discriminator)


class LecamOptions(Options):
    decay: float = Field(0.99, ge=0, lt=1)
    """Decay of the exponential moving averages of logits, per discriminator phase (0 to below 1)."""


class Lecam(Loss[LecamOptions]):
    """LeCam regularisation for small data sets (Tseng et al., 2021).

    The mean of `(D(real) - average of D(fake))^2` plus the mean of `(D(fake) - average of D(real))^2`, where D is a
    logit. The averages are exponential moving averages of mean logits, kept for each translation and discriminator, and
    used as they were before this phase. In the first phase there are none, and the term is 0.
    """

    def for_discriminator(
        self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput, buffers: dict[str, Tensor]
    ) -> Tensor:
        before = dict(buffers)
        means = {"real": mean_logits(real_output).detach().mean(), "fake": mean_logits(fake_output).detach().mean()}
        for name, mean in means.items():
            buffers[name] = before.get(name, mean).lerp(mean, 1 - self.options.decay)
        if not before:
            return 0 * mean_logits(real_output).mean()  # with a gradient: it says that the loss trains
        terms = [(logits - before["fake"]).square().mean() for logits in real_output.logits]
        terms += [(logits - before["real"]).square().mean() for logits in fake_output.logits]
        return torch.stack(terms).sum() / len(real_output.logits)
