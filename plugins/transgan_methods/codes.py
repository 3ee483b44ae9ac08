"""One source, many answers: Augmented CycleGAN (Almahairi et al., 2018) and BicycleGAN (Zhu et al., 2017b).

Both give a generator a code beside its source, drawn from N(0, I), and read the code back by an encoder, so that it
cannot be ignored. Augmented CycleGAN learns from unpaired samples, BicycleGAN from pairs.
"""

from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import nn
from transgan_standard.layers import NormKind, init_weights, plain_norm, two_axes
from transgan_standard.nodes import Passes, TranslationNodes

from transgan.api import (
    Call,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Encoder,
    Loss,
    NetworkSpec,
    Nodes,
    Options,
    SampleRng,
    Tensor,
    Translation,
    node,
)


class CodeEncoderOptions(Options):
    """Options of the encoder `code`."""

    numbers: int = Field(8, ge=1)
    """Length of the code (1 or more)."""
    inputs: int = Field(0, ge=0)
    """Channels of the input: 0 for those of a sample; for a pair, which Augmented CycleGAN encodes, those of both."""
    width: int = Field(64, ge=1)
    """Channels of the first convolution; each block doubles them, up to 4 times as many (1 or more)."""
    downs: int = Field(4, ge=1, le=8)
    """Number of downsamplings by 2: the first convolution, and residual blocks (1 to 8)."""
    norm: NormKind = "instance"
    """Normalisation in the residual blocks: `instance`, `batch`, `group` or `none`. Instance norm removes the mean of
    every channel, hence plain colours: for codes of colour choose `none`."""
    variational: bool = False
    """Whether it also returns the logarithm of the variance of each number of the code."""


class _Shrink(nn.Module):
    """A residual block that halves the size by average pooling: BicycleGAN's `BasicBlock`."""

    def __init__(self, inputs: int, outputs: int, norm: NormKind):
        super().__init__()
        self.body = nn.Sequential(
            plain_norm(norm, inputs, False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inputs, inputs, 3, padding=1),
            plain_norm(norm, inputs, False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.AvgPool2d(2),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


class CodeEncoder(Encoder[CodeEncoderOptions]):
    """The residual encoder of BicycleGAN (Zhu et al., 2017b, section 4): from a sample, or a pair, to a code.

    A convolution with stride 2, residual blocks that halve the size, the mean over positions, a linear layer.

    `forward(x)`: x (N, C, H, W); returns the code (N, numbers), or with `variational` its mean and log-variance, both
    (N, numbers).

    Raises:
        UsageError: samples are not images.
    """

    channels_last = True

    def __init__(self, options: CodeEncoderOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        two_axes(spec, "code")
        widths = [options.width * min(2**i, 4) for i in range(options.downs)]
        layers: list[nn.Module] = [nn.Conv2d(options.inputs or spec.inputs, widths[0], 4, 2, 1)]
        layers += [_Shrink(a, b, options.norm) for a, b in pairwise(widths)]
        self.body = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.mean = nn.Linear(widths[-1], options.numbers)
        self.log_variance = nn.Linear(widths[-1], options.numbers) if options.variational else None
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.body(x)
        mean: Tensor = self.mean(features)
        return mean if self.log_variance is None else (mean, self.log_variance(features))


class CodeDiscriminatorOptions(Options):
    """Options of the discriminator `code`."""

    numbers: int = Field(8, ge=1)
    """Length of a code (1 or more)."""
    width: int = Field(64, ge=1)
    """Width of the hidden layers (1 or more)."""


class CodeDiscriminator(Discriminator[CodeDiscriminatorOptions]):
    """Distinguishes codes that an encoder returns from those of the prior (Almahairi et al., 2018, section 4.2).

    Three linear layers, LeakyReLU. `forward(x)`: x (N, numbers); logits (N, 1).
    """

    channels_last = True

    def __init__(self, options: CodeDiscriminatorOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        width = options.width
        layers = [nn.Linear(options.numbers, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))
        init_weights(self)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([self.layers(x)])


class CodeOptions(Options):
    """Options of the nodes `augmented_translation` and `bicycle_translation`."""

    numbers: int = Field(8, ge=1)
    """Length of a code (1 or more); that of the encoder and of the generators' conditioning."""


class AugmentedOptions(CodeOptions):
    """Options of the nodes `augmented_translation`."""

    coded: list[str] = []
    """The domains with codes: generators of the others get none. All domains by default; in the authors' experiment
    with drawings and photographs of shoes only the photographs."""


class AugmentedNodes(TranslationNodes, Nodes[AugmentedOptions]):
    """The nodes of Augmented CycleGAN: every cycle passes through a code of the domain that it leaves.

    The condition `code`, (N, numbers), reaches generators by a conditioning with `of = "code"`; the encoder `code`
    takes a sample of the other domain and one of its own, joined along the channels: set its `inputs`.

    Samples are (N, C, *space).
    """

    options: AugmentedOptions

    @node
    def code(self, translation: Translation, latents: SampleRng, source: Tensor, reference: Tensor | None) -> Any:
        """The code of the translation, (N, numbers): from N(0, I), or that of a reference; None without codes."""
        if not self._coded(translation.target):
            return None
        if reference is not None:
            return Call("code.target", torch.cat([source, reference], 1))
        return latents.normal("code", self.options.numbers)

    @node
    def fake(self, source: Tensor, to_target: Conditions, code: Tensor | None) -> Call:
        """Translate the source to the target domain, by the code."""
        return Call("generator", source, to_target if code is None else {**to_target, "code": code})

    @node
    def code_reconstruction(self, translation: Translation, source: Tensor, fake: Tensor) -> Call | None:
        """The code that the encoder reads from the fake, (N, numbers)."""
        return Call("code.target", torch.cat([source, fake], 1)) if self._coded(translation.target) else None

    @node
    def source_code(self, translation: Translation, source: Tensor, fake: Tensor) -> Call | None:
        """The code of the source, (N, numbers): what its translation does not say of it."""
        return Call("code.source", torch.cat([fake, source], 1)) if self._coded(translation.source) else None

    @node
    def source_prior(self, rng: SampleRng) -> Tensor:
        """Codes from N(0, I), (N, numbers): what the codes of sources are to be distributed as."""
        return rng.normal("source_prior", self.options.numbers)

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions, source_code: Tensor | None) -> Call:
        """Translate the fake back to the source domain, by the code of the source."""
        return Call("back", fake, to_source if source_code is None else {**to_source, "code": source_code})

    def _coded(self, domain: str) -> bool:
        return not self.options.coded or domain in self.options.coded


class BicycleNodes(TranslationNodes, Nodes[CodeOptions]):
    """The nodes of BicycleGAN: the target's code gives the target again, and a random code is read back from the fake.

    The condition `code`, (N, numbers), reaches the generator by a conditioning with `of = "code"`; the encoder `code`
    has `variational = true`.

    Samples are (N, C, *space).
    """

    options: CodeOptions

    @node
    def encoded(self, target: Tensor) -> Call:
        """The mean and the log-variance of the target's code, (N, numbers) each."""
        return Call("code", target)

    @node
    def encoded_code(self, encoded: tuple[Tensor, Tensor], rng: SampleRng) -> Tensor:
        """A code of the target, (N, numbers), sampled from what the encoder says of it."""
        mean, log_variance = encoded
        return mean + (0.5 * log_variance).exp() * rng.normal("encoded", self.options.numbers).to(mean)

    @node
    def encoded_fake(self, source: Tensor, to_target: Conditions, encoded_code: Tensor) -> Call:
        """Translate the source by the code of its true translation (cVAE-GAN)."""
        return Call("generator", source, {**to_target, "code": encoded_code})

    @node
    def code(self, latents: SampleRng, reference: Tensor | None) -> Any:
        """The code of the translation, (N, numbers): from N(0, I), or that of a reference."""
        if reference is None:
            return latents.normal("code", self.options.numbers)
        return self._mean(reference, frozen=False)

    @node
    def fake(self, source: Tensor, to_target: Conditions, code: Tensor) -> Call:
        """Translate the source to the target domain, by the code (cLR-GAN)."""
        return Call("generator", source, {**to_target, "code": code})

    @node
    def code_reconstruction(self, fake: Tensor) -> Passes:
        """The code that the encoder reads from the fake, (N, numbers); it trains the generator and not the encoder."""
        return self._mean(fake, frozen=True)

    def _mean(self, x: Tensor, frozen: bool) -> Passes:
        mean, _ = yield Call("code", x, frozen=frozen)
        return mean


class CodeReconstruction(Loss):
    """L1 distance between a random code and what the encoder reads from the translation made by it.

    Almahairi et al. (2018), section 4.1; Zhu et al. (2017b), eq. 6. 0 for translations without a code.
    """

    def for_generator(self, fake: Tensor, code: Tensor | None, code_reconstruction: Tensor | None) -> Tensor:
        if code is None or code_reconstruction is None:
            return fake.new_zeros(())
        return (code_reconstruction - code).abs().mean()


class EncodedPaired(Loss):
    """L1 distance between the target and the translation by the target's own code (Zhu et al., 2017b, eq. 3)."""

    def for_generator(self, encoded_fake: Tensor, target: Tensor) -> Tensor:
        return (encoded_fake - target).abs().mean()


class CodeDivergence(Loss):
    """Kullback-Leibler divergence of the targets' codes from N(0, I) (Zhu et al., 2017b, eq. 4).

    The sum over the numbers of a code, the mean over samples, in nats.
    """

    def for_generator(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        mean, log_variance = encoded
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
