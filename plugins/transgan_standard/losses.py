"""Losses: functions of tensors, named by what they need. Means over everything but stated otherwise."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from transgan.api import DiscriminatorOutput, Loss, Options


def mean(tensors: list[Tensor]) -> Tensor:
    """The mean of means: every scale of a discriminator counts the same."""
    return torch.stack([tensor.mean() for tensor in tensors]).mean()


class SmoothOptions(Options):
    smooth: float = Field(0.0, ge=0, lt=0.5)
    """One-sided label smoothing (Salimans et al., 2016, section 3.4): real samples count as real by this much less."""


class LeastSquares(Loss):
    """Least-squares adversarial loss (Mao et al., 2017, eq. 9), targets 1 and 0; the discriminator's is halved."""

    Options = SmoothOptions
    boundary = 0.5

    def opinion(self, logits: Tensor) -> Tensor:
        return 1 - (logits - 1).square()

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        label = 1 - self.options.smooth
        real = mean([(logits - label).square() for logits in real_output.logits])
        return 0.5 * (real + mean([logits.square() for logits in fake_output.logits]))

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return mean([(logits - 1).square() for logits in fake_output.logits])


class Vanilla(Loss):
    """The first, non-saturating adversarial loss (Goodfellow et al., 2014, sec. 3); the discriminator's is halved."""

    Options = SmoothOptions
    boundary = 0.0

    def opinion(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        smooth = self.options.smooth  # the cross-entropy with a label of 1 - smooth
        real = mean([F.softplus(-logits) + smooth * logits for logits in real_output.logits])
        return 0.5 * (real + mean([F.softplus(logits) for logits in fake_output.logits]))

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return mean([F.softplus(-logits) for logits in fake_output.logits])


class Hinge(Loss):
    """Hinge adversarial loss (Lim & Ye, 2017, eq. 2-3); the discriminator's is halved."""

    boundary = 0.0

    def opinion(self, logits: Tensor) -> Tensor:
        return (0.5 + 0.5 * logits).clamp(0, 1)

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        real = mean([F.relu(1 - logits) for logits in real_output.logits])
        return 0.5 * (real + mean([F.relu(1 + logits) for logits in fake_output.logits]))

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return -mean(fake_output.logits)


class Wasserstein(Loss):
    """Wasserstein adversarial loss (Arjovsky et al., 2017, eq. 2). The critic needs a bound on its slope beside it."""

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        return mean(fake_output.logits) - mean(real_output.logits)

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return -mean(fake_output.logits)


class Identity(Loss):
    """What is of the target domain already stays as it is: L1 (Zhu et al., 2017, section 5.2)."""

    def for_generator(self, target: Tensor, identity: Tensor) -> Tensor:
        return (identity - target).abs().mean()


class Paired(Loss):
    """The fake is the target, number by number: L1, for paired tasks only (Isola et al., 2017, eq. 3)."""

    def for_generator(self, fake: Tensor, target: Tensor) -> Tensor:
        return (fake - target).abs().mean()


class PreserveOptions(Options):
    like: Literal["source", "target"] = "source"
    """Whose logits the fake should get: those of its own `source`, or of a real `target`."""


class Preserve(Loss):
    """The other tasks' discriminators should not notice that this task was done: squared difference of logits."""

    Options = PreserveOptions

    def for_generator(
        self,
        fake: Tensor,
        source: Tensor,
        target: Tensor,
        other_discriminators: list[Callable[[Tensor], DiscriminatorOutput]],
    ) -> Tensor:
        reference = source if self.options.like == "source" else target
        gaps = []
        for discriminator in other_discriminators:
            with torch.no_grad():
                wanted = discriminator(reference).logits
            gaps += [(got - want).square().mean() for got, want in zip(discriminator(fake).logits, wanted, strict=True)]
        return torch.stack(gaps).sum() if gaps else fake.new_zeros(())


class DomainClassification(Loss):
    """Fakes are recognised as the domain that they were sent to (Choi et al., 2018, eq. 2-3): cross-entropy.

    Only the domains of the task compete: a sample may well be of another task's domain too. The discriminator must
    classify (`classes = true`).
    """

    def for_discriminator(
        self, real_output: DiscriminatorOutput, target_domain: Tensor, task_domains: Tensor
    ) -> Tensor:
        return self._cross_entropy(real_output, target_domain, task_domains)

    def for_generator(self, fake_output: DiscriminatorOutput, target_domain: Tensor, task_domains: Tensor) -> Tensor:
        return self._cross_entropy(fake_output, target_domain, task_domains)

    def _cross_entropy(self, output: DiscriminatorOutput, domain: Tensor, among: Tensor) -> Tensor:
        if output.class_logits is None:
            raise ValueError("the discriminator does not classify; set its option classes = true")
        wanted = (domain[:, None] == among).long().argmax(1)
        return F.cross_entropy(output.class_logits[:, among], wanted)
