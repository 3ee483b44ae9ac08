"""Adversarial, identity, paired and classification losses. All are means over samples and positions."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from transgan.api import DiscriminatorOutput, Loss, Options


def mean(tensors: list[Tensor]) -> Tensor:
    """Return the mean of the tensors' means, so that every scale of a discriminator has the same weight."""
    return torch.stack([tensor.mean() for tensor in tensors]).mean()


class SmoothOptions(Options):
    smooth: float = Field(0.0, ge=0, lt=0.5)
    """One-sided label smoothing (Salimans et al., 2016, section 3.4): the discriminator's target for real samples is 1
    minus this (0 to below 0.5)."""


class LeastSquares(Loss[SmoothOptions]):
    """Least-squares adversarial loss (Mao et al., 2017, eq. 9) with targets 1 for real and 0 for fake samples.

    The discriminator's loss is halved, as in CycleGAN.
    """

    decision_logit = 0.5

    def realness(self, logits: Tensor) -> Tensor:
        """Return 1 minus the squared distance to the target 1: 1 at most, and 0 for a logit of 0."""
        return 1 - (logits - 1).square()

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        label = 1 - self.options.smooth
        real = mean([(logits - label).square() for logits in real_output.logits])
        return 0.5 * (real + mean([logits.square() for logits in fake_output.logits]))

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return mean([(logits - 1).square() for logits in fake_output.logits])


class Vanilla(Loss[SmoothOptions]):
    """Non-saturating cross-entropy adversarial loss (Goodfellow et al., 2014, section 3).

    The discriminator's loss is halved.
    """

    decision_logit = 0.0

    def realness(self, logits: Tensor) -> Tensor:
        """Return the probability that each sample is real, in [0, 1]."""
        return logits.sigmoid()

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        smooth = self.options.smooth  # softplus(-x) + smooth * x is the cross-entropy with a target of 1 - smooth
        real = mean([F.softplus(-logits) + smooth * logits for logits in real_output.logits])
        return 0.5 * (real + mean([F.softplus(logits) for logits in fake_output.logits]))

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return mean([F.softplus(-logits) for logits in fake_output.logits])


class Hinge(Loss):
    """Hinge adversarial loss (Lim & Ye, 2017, eq. 2-3). The discriminator's loss is halved."""

    decision_logit = 0.0

    def realness(self, logits: Tensor) -> Tensor:
        """Return the logits mapped linearly from the margins -1 and 1 to [0, 1], and clamped."""
        return (0.5 + 0.5 * logits).clamp(0, 1)

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        real = mean([F.relu(1 - logits) for logits in real_output.logits])
        return 0.5 * (real + mean([F.relu(1 + logits) for logits in fake_output.logits]))

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return -mean(fake_output.logits)


class Wasserstein(Loss):
    """Wasserstein adversarial loss (Arjovsky et al., 2017, eq. 2).

    The critic must be kept Lipschitz: add `gradient_penalty`, or set the discriminator's `spectral = true`.
    """

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        return mean(fake_output.logits) - mean(real_output.logits)

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return -mean(fake_output.logits)


class Identity(Loss):
    """Identity loss: L1 distance between a target sample and its translation to its own domain.

    Zhu et al. (2017), section 5.2.
    """

    def for_generator(self, target: Tensor, identity: Tensor) -> Tensor:
        return (identity - target).abs().mean()


class Paired(Loss):
    """L1 distance between the translation of a known pair's source and its target (Isola et al., 2017, eq. 3).

    For tasks of pairs alone (`paired = true`), and for those with some pairs beside unpaired samples
    (`paired = "some"`).
    """

    def for_generator(self, pair_fake: Tensor, pair_target: Tensor) -> Tensor:
        return (pair_fake - pair_target).abs().mean()


class PreserveOptions(Options):
    like: Literal["source", "target"] = "source"
    """The sample whose logits the fake should get: its own `source`, or a real `target`."""


class Preserve(Loss[PreserveOptions]):
    """Keeps a translation from changing what other tasks change: squared difference of two samples' logits.

    The logits are those of the other tasks' discriminators, for the fake and for a reference, which is the source or a
    target sample; the reference's logits carry no gradient. The means of all discriminators and scales are summed; the
    sum is 0 where no other task has a discriminator.
    """

    def for_generator(
        self,
        fake: Tensor,
        source: Tensor,
        target: Tensor,
        other_discriminators: list[Callable[[Tensor], DiscriminatorOutput]],
    ) -> Tensor:
        reference = source if self.options.like == "source" else target
        terms = []
        for discriminator in other_discriminators:
            with torch.no_grad():
                expected = discriminator(reference).logits
            pairs = zip(discriminator(fake).logits, expected, strict=True)
            terms += [(logits - target_logits).square().mean() for logits, target_logits in pairs]
        return torch.stack(terms).sum() if terms else fake.new_zeros(())


class DomainClassification(Loss):
    """Domain classification: cross-entropy of the discriminator's class head (Choi et al., 2018, eq. 2-3).

    The discriminator learns to classify real samples, the generator to have fakes classified as their target domain.
    The softmax runs over the domains of the task only, as a sample may belong to a domain of another task too.

    Raises:
        ValueError: the discriminator has no class head; set `classes = true`.
    """

    def for_discriminator(
        self, real_output: DiscriminatorOutput, target_domain: Tensor, task_domains: Tensor
    ) -> Tensor:
        return self._cross_entropy(real_output, target_domain, task_domains)

    def for_generator(self, fake_output: DiscriminatorOutput, target_domain: Tensor, task_domains: Tensor) -> Tensor:
        return self._cross_entropy(fake_output, target_domain, task_domains)

    def _cross_entropy(self, output: DiscriminatorOutput, domain: Tensor, task_domains: Tensor) -> Tensor:
        """Return the cross-entropy with the class `domain`, (N,), among `task_domains`, (K,); indices of domains."""
        if output.class_logits is None:
            raise ValueError("the discriminator has no class head; set its option classes = true")
        label = (domain[:, None] == task_domains).long().argmax(1)
        return F.cross_entropy(output.class_logits[:, task_domains], label)
