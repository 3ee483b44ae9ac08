"""Adversarial, identity, paired and classification losses. All are means over samples and positions."""

from collections.abc import Callable, Collection
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import TypeVar

from transgan.api import DiscriminatorOutput, Loss, Options


def mean(tensors: list[Tensor]) -> Tensor:
    """Return the mean of the tensors' means, so that every scale of a discriminator has the same weight."""
    return torch.stack([tensor.mean() for tensor in tensors]).mean()


class AdversarialOptions(Options):
    """Options of all adversarial losses."""

    negatives: Literal["fakes", "other_domains"] = "fakes"
    """What a discriminator learns to reject: `fakes` alone, or with `other_domains` also real samples of the domain at
    the other end of the translation, under the conditions of this one, and under other labels than their own of those
    that it keeps. It then has to know what tells the domains apart before translations do, and is not content with a
    sample that is real. Each is a term of the same weight."""


AdversarialT = TypeVar("AdversarialT", bound=AdversarialOptions, default=AdversarialOptions)


class Adversarial(Loss[AdversarialT]):
    """Base class of adversarial losses: what each logit of a real sample, of a fake and of the generator's costs.

    Scales have equal weights; what logits of kept labels count is the discriminator's to say.
    """

    Options = AdversarialOptions
    scale = 0.5
    """Factor of the discriminator's loss."""
    is_difference = False
    """True where a constant that is added to all logits must not change the loss: real samples then count once for
    fakes and once for negatives."""

    @property
    def unused_inputs(self) -> Collection[str]:  # type: ignore[override]
        return ("negative_output",) if self.options.negatives == "fakes" else ()

    def of_real(self, logits: Tensor) -> Tensor:
        """Return the discriminator's loss at each logit of a real sample."""
        raise NotImplementedError

    def of_fake(self, logits: Tensor) -> Tensor:
        """Return the discriminator's loss at each logit of a fake, or of another negative."""
        raise NotImplementedError

    def of_generator(self, logits: Tensor) -> Tensor:
        """Return the generator's loss at each logit of a fake."""
        raise NotImplementedError

    def for_discriminator(
        self,
        real_output: DiscriminatorOutput,
        fake_output: DiscriminatorOutput,
        negative_output: DiscriminatorOutput | None = None,
    ) -> Tensor:
        others = [fake_output] if negative_output is None else [fake_output, negative_output]
        of_others = torch.stack([over_logits(self.of_fake, output) for output in others]).sum()
        of_real = over_logits(self.of_real, real_output)
        return self.scale * ((len(others) if self.is_difference else 1) * of_real + of_others)

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return over_logits(self.of_generator, fake_output)


def over_logits(cost: Callable[[Tensor], Tensor], output: DiscriminatorOutput) -> Tensor:
    """Return the mean cost of a discriminator's logits, and of those of kept labels, times what each counts, added."""
    total = mean([cost(logits) for logits in output.logits])
    if output.kept_logits and output.kept is not None:
        counts = output.kept.to(total.dtype)
        total = total + mean([(counts * cost(x.unsqueeze(2)).flatten(2).mean(2)).sum(1) for x in output.kept_logits])
    return total


class SmoothOptions(AdversarialOptions):
    smooth: float = Field(0.0, ge=0, lt=0.5)
    """One-sided label smoothing (Salimans et al., 2016, section 3.4): the discriminator's target for real samples is 1
    minus this (0 to below 0.5)."""


class LeastSquares(Adversarial[SmoothOptions]):
    """Least-squares adversarial loss (Mao et al., 2017, eq. 9) with targets 1 for real and 0 for fake samples.

    The discriminator's loss is halved, as in CycleGAN.
    """

    decision_logit = 0.5

    def realness(self, logits: Tensor) -> Tensor:
        """Return 1 minus the squared distance to the target 1: 1 at most, and 0 for a logit of 0."""
        return 1 - (logits - 1).square()

    def of_real(self, logits: Tensor) -> Tensor:
        return (logits - (1 - self.options.smooth)).square()

    def of_fake(self, logits: Tensor) -> Tensor:
        return logits.square()

    def of_generator(self, logits: Tensor) -> Tensor:
        return (logits - 1).square()


class Vanilla(Adversarial[SmoothOptions]):
    """Non-saturating cross-entropy adversarial loss (Goodfellow et al., 2014, section 3).

    The discriminator's loss is halved.
    """

    decision_logit = 0.0

    def realness(self, logits: Tensor) -> Tensor:
        """Return the probability that each sample is real, in [0, 1]."""
        return logits.sigmoid()

    def of_real(self, logits: Tensor) -> Tensor:
        # This is the cross-entropy with a target of 1 - smooth.
        return F.softplus(-logits) + self.options.smooth * logits

    def of_fake(self, logits: Tensor) -> Tensor:
        return F.softplus(logits)

    def of_generator(self, logits: Tensor) -> Tensor:
        return F.softplus(-logits)


class Hinge(Adversarial):
    """Hinge adversarial loss (Lim & Ye, 2017, eq. 2-3). The discriminator's loss is halved."""

    decision_logit = 0.0

    def realness(self, logits: Tensor) -> Tensor:
        """Return the logits mapped linearly from the margins -1 and 1 to [0, 1], and clamped."""
        return (0.5 + 0.5 * logits).clamp(0, 1)

    def of_real(self, logits: Tensor) -> Tensor:
        return F.relu(1 - logits)

    def of_fake(self, logits: Tensor) -> Tensor:
        return F.relu(1 + logits)

    def of_generator(self, logits: Tensor) -> Tensor:
        return -logits


class Wasserstein(Adversarial):
    """Wasserstein adversarial loss (Arjovsky et al., 2017, eq. 2).

    The critic must be kept Lipschitz: add `gradient_penalty`, or set the discriminator's `spectral = true`. With
    negatives, real samples count twice.
    """

    scale = 1.0
    is_difference = True

    def of_real(self, logits: Tensor) -> Tensor:
        return -logits

    def of_fake(self, logits: Tensor) -> Tensor:
        return logits

    def of_generator(self, logits: Tensor) -> Tensor:
        return -logits


class Relativistic(Adversarial):
    """Relativistic pairing loss: each fake against a real sample (Jolicoeur-Martineau, 2019; Huang et al., 2025).

    The discriminator's loss is softplus(-(D(real) - D(fake))), the generator's softplus(-(D(fake) - D(real))), for each
    real sample and the fake beside it, at each position of a map of logits. There is no level at which a sample is real
    by itself, so that fakes cannot all be moved to one side. Huang et al. (R3GAN, eq. 2) add both zero-centred
    penalties, the losses `r1` and `r2`; the discriminator's loss is not halved.
    """

    scale = 1.0
    is_difference = True

    def for_discriminator(
        self,
        real_output: DiscriminatorOutput,
        fake_output: DiscriminatorOutput,
        negative_output: DiscriminatorOutput | None = None,
    ) -> Tensor:
        others = [fake_output] if negative_output is None else [fake_output, negative_output]
        return torch.stack([_above(real_output, each) for each in others]).sum()

    def for_generator(  # type: ignore[override]
        self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput
    ) -> Tensor:
        return _above(fake_output, real_output)


def _above(output: DiscriminatorOutput, other: DiscriminatorOutput) -> Tensor:
    """Return the mean of softplus(-(x - y)) over pairs of logits x of one output and y of another."""
    pairs = zip(output.logits, other.logits, strict=True)
    kept = zip(output.kept_logits, other.kept_logits, strict=True)
    differences = DiscriminatorOutput([x - y for x, y in pairs], kept_logits=[x - y for x, y in kept], kept=output.kept)
    return over_logits(lambda logits: F.softplus(-logits), differences)


class LazyOptions(Options):
    """Options of losses that need passes of their own."""

    every: int = Field(1, ge=1)
    """Computed at every Nth step of its phase only, with N times its weight: lazy regularisation (Karras et al., 2020,
    StyleGAN2; 1 or more). It saves passes: an identity translation is a third of those of generators with a cycle loss,
    a way back half of those without an identity loss."""


class Identity(Loss[LazyOptions]):
    """Identity loss: L1 distance between a target sample and its translation to its own domain.

    Zhu et al. (2017), section 5.2.
    """

    def __init__(self, options: LazyOptions):
        super().__init__(options)
        self.interval = options.every

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
