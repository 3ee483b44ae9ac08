"""What keeps discriminators in bounds: penalties on their slope, and on their distance from what they said before."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Clock, DiscriminatorOutput, Draws, Loss, Options

Asked = Callable[[Tensor], DiscriminatorOutput]


def said(output: DiscriminatorOutput) -> Tensor:
    """(N,) one number a sample: the mean of the logits of each scale, averaged over scales. Losses are means of it."""
    return torch.stack([logits.flatten(1).mean(1) for logits in output.logits]).mean(0)


def squared_slopes(discriminator: Asked, x: Tensor) -> Tensor:
    """(N,) squared norms of the gradient of what a discriminator says of each sample by that sample; differentiable.

    It counts on samples not meeting: the gradient of the sum holds each sample's own.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(said(discriminator(x)).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


class PenaltyOptions(Options):
    form: Literal["two-sided", "one-sided", "zero-centred"] = "two-sided"
    """What is penalised: a slope other than `slope`, a larger slope only, or any slope."""
    slope: float = Field(1.0, gt=0)
    """The slope that is aimed at, or tolerated; `zero-centred` has none."""


class GradientPenalty(Loss):
    """Bounds a critic's slope between real and fake samples (Gulrajani et al., 2017, eq. 3, where the weight is 10).

    `two-sided`: `((|g| - slope) / slope)^2`, where `g` is the gradient of the mean of the critic's logits at a point
    drawn for each sample between a real one and a fake one. `one-sided`: the same where `|g|` is larger (ibid., section
    4). `zero-centred`: `|g|^2` (Thanh-Tung et al., 2019). Always in fp32. The points lie between what the critic is
    shown, augmented and with what it sees beside. The critic may have no batch norm; instance norm treats every sample
    by itself, and is allowed.
    """

    Options = PenaltyOptions
    slopes = True

    def for_discriminator(self, real_input: Tensor, fake_input: Tensor, discriminator: Asked, draws: Draws) -> Tensor:
        share = draws.uniform("between").to(real_input).view(-1, *[1] * (real_input.ndim - 1))
        squares = squared_slopes(discriminator, share * real_input.detach() + (1 - share) * fake_input.detach())
        if self.options.form == "zero-centred":
            return squares.mean()
        tiny = torch.finfo(squares.dtype).tiny  # the root of zero has no derivative
        excess = (squares + tiny).sqrt() / self.options.slope - 1
        penalised: Tensor = excess.relu() if self.options.form == "one-sided" else excess
        return penalised.square().mean()


class R1Options(Options):
    every: int = Field(1, ge=1)
    """Taken in every so manieth step alone, and so many times as large (Karras et al., 2020, analysing StyleGAN)."""


class R1(Loss):
    """Flattens a discriminator at real samples: half the mean of `|g|^2` (Mescheder et al., 2018, eq. 9); always fp32.

    The weight is their gamma.
    """

    Options = R1Options
    slopes = True

    def for_discriminator(self, real_input: Tensor, discriminator: Asked, clock: Clock) -> Tensor:
        if clock.step % self.options.every:
            return real_input.new_zeros(())
        flat: Tensor = 0.5 * self.options.every * squared_slopes(discriminator, real_input).mean()
        return flat


class LecamOptions(Options):
    decay: float = Field(0.99, ge=0, lt=1)
    """Decay a phase of the running means of logits."""


class Lecam(Loss):
    """Ties a discriminator to what it used to say, where data are few (Tseng et al., 2021).

    The mean squares of `D(real) - mean of D(fake)` and of `D(fake) - mean of D(real)`, where the means are running
    ones, kept for each translation and discriminator, as they were before this phase. In the first phase there is none,
    and the term is 0.
    """

    Options = LecamOptions

    def for_discriminator(
        self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput, memory: dict[str, Tensor]
    ) -> Tensor:
        before = dict(memory)
        now = {"real": said(real_output).detach().mean(), "fake": said(fake_output).detach().mean()}
        for name, mean in now.items():
            memory[name] = before.get(name, mean).lerp(mean, 1 - self.options.decay)
        if not before:
            return 0 * now["real"]
        gaps = [(logits - before["fake"]).square().mean() for logits in real_output.logits]
        gaps += [(logits - before["real"]).square().mean() for logits in fake_output.logits]
        return torch.stack(gaps).sum() / len(real_output.logits)
