"""The unpaired neural Schroedinger bridge, UNSB (Kim et al., 2024): a translation is several steps of a random process.

At each moment a network predicts the end from where the process is; the next place lies between the two, with noise. An
adversarial loss wants predictions like the target, the bridge's losses want the way short and random.
"""

from dataclasses import replace
from itertools import accumulate

import torch
from pydantic import Field
from torch import Tensor
from transgan_standard.discriminators import PatchDiscriminator, PatchOptions
from transgan_standard.nodes import Passes, TranslationNodes
from transgan_standard.penalties import mean_logits

from transgan.api import (
    Call,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Loss,
    NetworkSpec,
    Nodes,
    Options,
    SampleRng,
    UsageError,
    node,
)


class UnsbOptions(Options):
    """Options of the nodes `unsb_translation`."""

    steps: int = Field(5, ge=1, le=100)
    """Number of moments, hence the most passes of a translation (1 or more)."""
    passes: int | None = Field(None, ge=1)
    """Passes of a translation, unless the user chooses another number, `--passes` (1 to `steps`); by default all."""
    tau: float = Field(0.01, ge=0)
    """How random the process is: the variance of its noise per unit of time (0 or more)."""
    numbers: int = Field(256, ge=1)
    """Length of the random code of each pass (1 or more); that of the conditioning with `of = "code"`."""


def moments(steps: int) -> list[float]:
    """Return the times of the moments, and last the end, 1: 0, then from 0.5 on in steps that become shorter.

    Those of the authors' code: between 0.5 and 1 in proportion to the harmonic numbers.
    """
    if steps == 1:
        return [0.0, 1.0]
    harmonic = [0.0, *accumulate(1 / i for i in range(1, steps))]
    return [0.0, *(0.5 + 0.5 * each / harmonic[-1] for each in harmonic)]


class UnsbNodes(TranslationNodes, Nodes[UnsbOptions]):
    """The nodes of UNSB: where the process is at a moment, and the translation that the generator predicts from there.

    In training the moment is drawn for each sample, and the process is simulated up to it without gradients; in
    translation it is the last one. Generators get the conditions `time`, (N,), in [0, 1), and `code`, (N, numbers).

    Samples are (N, C, *space).

    Raises:
        UsageError: more passes are asked for than there are moments.
    """

    options: UnsbOptions

    @node
    def to_target(
        self, task: Tensor, target_domain: Tensor, target_attributes: Conditions, latents: SampleRng
    ) -> Conditions:
        """Return the conditions of the forward translation, at the moment 0."""
        return {**super().to_target(task, target_domain, target_attributes), **self._at(0, task, latents, "start")}

    @node
    def to_source(
        self, task: Tensor, source_domain: Tensor, source_attributes: Conditions, latents: SampleRng
    ) -> Conditions:
        """Return the conditions of the backward translation, at the moment 0."""
        return {**super().to_source(task, source_domain, source_attributes), **self._at(0, task, latents, "back")}

    @node
    def moment(self, task: Tensor, training: bool, passes: int | None, rng: SampleRng) -> Tensor:
        """The number of the moment of each sample, (N,): any in training, else the last one."""
        steps = self.options.steps
        passes = passes or self.options.passes or steps
        if passes > steps:
            raise UsageError(f"{passes} passes: this model was trained with {steps} steps; expected 1 to {steps}")
        if training:
            return (rng.uniform("moment") * steps).long().to(task.device)
        return torch.full_like(task, passes - 1)

    @node
    def remaining(self, moment: Tensor) -> Tensor:
        """The share of the moments that remain, (N,), 1 at the first."""
        return (self.options.steps - moment) / self.options.steps

    @node
    def noisy(self, source: Tensor, to_target: Conditions, moment: Tensor, latents: SampleRng) -> Passes:
        """Where the process is that began at the source, (N, C, *space)."""
        return self._simulated("source", source, to_target, moment, latents)

    @node
    def other_noisy(self, other_source: Tensor, to_target: Conditions, moment: Tensor, latents: SampleRng) -> Passes:
        """Where it is that began at another sample of the source's domain, (N, C, *space)."""
        return self._simulated("other", other_source, to_target, moment, latents)

    @node
    def target_noisy(self, target: Tensor, to_target: Conditions, moment: Tensor, latents: SampleRng) -> Passes:
        """Where it is that began at a target sample, (N, C, *space)."""
        return self._simulated("target", target, to_target, moment, latents)

    @node
    def fake(self, noisy: Tensor, to_target: Conditions, moment: Tensor, latents: SampleRng) -> Call:
        """The end of the process that the generator predicts, (N, C, *space): the translation."""
        return self._predicted("source", noisy, to_target, moment, latents)

    @node
    def other_fake(self, other_noisy: Tensor, to_target: Conditions, moment: Tensor, latents: SampleRng) -> Call:
        """The same from the other sample, (N, C, *space)."""
        return self._predicted("other", other_noisy, to_target, moment, latents)

    @node
    def identity(self, target_noisy: Tensor, to_target: Conditions, moment: Tensor, latents: SampleRng) -> Call:
        """The same from the target sample, (N, C, *space)."""
        return self._predicted("target", target_noisy, to_target, moment, latents)

    @node
    def moment_planes(self, target: Tensor, moment: Tensor) -> Tensor:
        """The moment as planes like a target sample, (N, C, *space): what a discriminator is given beside it."""
        share = (moment / self.options.steps).to(target)
        return share.view(-1, *[1] * (target.dim() - 1)).expand_as(target)

    @node
    def own_pair(self, noisy: Tensor, fake: Tensor, moment_planes: Tensor) -> Tensor:
        """The moment, and a place of the process with its prediction, twice, (N, 1 + 4 C, *space)."""
        return torch.cat([moment_planes[:, :1], noisy, fake, noisy, fake], 1)

    @node
    def crossed_pair(
        self, noisy: Tensor, fake: Tensor, other_noisy: Tensor, other_fake: Tensor, moment_planes: Tensor
    ) -> Tensor:
        """The moment, a place with its prediction, and those of another process, (N, 1 + 4 C, *space)."""
        return torch.cat([moment_planes[:, :1], noisy, fake, other_noisy, other_fake], 1)

    def _at(self, moment: int | Tensor, like: Tensor, latents: SampleRng, purpose: str) -> Conditions:
        """Return the conditions of a pass: its time, and a code of its own."""
        time = torch.full((len(like),), 0.0, device=like.device) + moment / self.options.steps
        return {"time": time, "code": latents.normal(f"code {purpose}", self.options.numbers)}

    def _predicted(self, of: str, x: Tensor, to: Conditions, moment: Tensor, latents: SampleRng) -> Call:
        return Call("generator", x, {**to, **self._at(moment, moment, latents, f"{of} end")})

    def _simulated(self, of: str, x: Tensor, to: Conditions, moment: Tensor, latents: SampleRng) -> Passes:
        """Return where the process is at each sample's moment that began at x (Kim et al., 2024, eq. 5)."""
        steps = self.options.steps
        times = moments(steps)
        for i in range(steps - 1 if moment.is_meta else int(moment.max())):
            conditions = {**to, **self._at(i, moment, latents, f"{of} {i}")}
            end = yield Call("generator", x, conditions, frozen=True)
            share = (times[i + 1] - times[i]) / (1 - times[i])
            variance = self.options.tau * (times[i + 1] - times[i]) * (1 - share)
            noise = latents.normal(f"noise {of} {i}", *x.shape[1:]).to(x)
            moved = (1 - share) * x + share * end.detach() + variance**0.5 * noise
            x = torch.where((moment > i).view(-1, *[1] * (x.dim() - 1)), moved, x)
        return x


class PairEnergy(Discriminator[PatchOptions]):
    """The energy network of UNSB: the discriminator `patch` on two places of the process with their predictions.

    Its nodes are `real = "own_pair"` and `fake = "crossed_pair"`, which also hold the moment, as a plane.

    `forward(x)`: x (N, 1 + 4 C, H, W); logits and features as those of `patch`.
    """

    channels_last = True

    def __init__(self, options: PatchOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.network = PatchDiscriminator(options, replace(spec, inputs=1 + 4 * spec.channels, style=0))

    def forward(self, x: Tensor, domain: Tensor | None = None) -> DiscriminatorOutput:
        output: DiscriminatorOutput = self.network(x, domain=domain)
        return output


class BridgeEntropy(Loss):
    """The entropy of the bridge, by an energy network of own and crossed pairs (Kim et al., 2024, eq. 12).

    With E the logits of own pairs and L the logarithm of the sum of exp(E) over all logits of crossed pairs, the energy
    network's loss is -E + L + L^2, as in the authors' code, the generator's -(E - L) times the share of the moments
    that remain. The paper's factor is lambda tau.
    """

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        total = _logarithm_of_sum(fake_output)
        return -mean_logits(real_output).mean() + total + total.square()

    def for_generator(
        self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput, remaining: Tensor
    ) -> Tensor:
        energy = mean_logits(real_output)
        return -(remaining.to(energy) * (energy - _logarithm_of_sum(fake_output))).mean()


class BridgeTransport(Loss):
    """The length of the bridge: the mean squared difference of where the process is and the prediction from there.

    Kim et al. (2024), eq. 12; the paper's factor is lambda tau.
    """

    nonzero_at_end = True

    def for_generator(self, noisy: Tensor, fake: Tensor) -> Tensor:
        return (noisy - fake).square().mean()


def _logarithm_of_sum(output: DiscriminatorOutput) -> Tensor:
    return torch.cat([each.flatten() for each in output.logits]).logsumexp(0)
