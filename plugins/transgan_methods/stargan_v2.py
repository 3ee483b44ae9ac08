"""StarGAN v2 (Choi et al., 2020): one generator for translations between several domains, each in many styles.

A *style code* says how a sample of a domain looks. It comes from a latent code, by a mapping network, or from a
reference, by a style encoder; both have an output for each domain, and so has the discriminator. The authors' network
for faces that finds what is to be kept (`w_hpf`) is not here: it needs weights trained on landmarks of faces.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from transgan_standard.layers import Norm, two_axes
from transgan_standard.nodes import Passes, TranslationNodes
from transgan_standard.norms import InstanceNorm

from transgan.api import (
    Call,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Encoder,
    Generator,
    Loss,
    NetworkSpec,
    Nodes,
    Options,
    SampleRng,
    Tensor,
    UsageError,
    node,
)

#: Side of the feature map that the last convolution of the style encoder and of the discriminator covers.
SMALLEST = 4


class Down(nn.Module):
    """Pre-activation residual block; the sum of its branches is divided by sqrt(2), so that the variance stays.

    Args:
        normalized: whether instance norm with scale and shift comes before each activation.
        halves: whether height and width are halved, by average pooling.
    """

    def __init__(self, inputs: int, outputs: int, *, normalized: bool = False, halves: bool = True):
        super().__init__()
        self.first_norm = InstanceNorm(inputs) if normalized else nn.Identity()
        self.first = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.second_norm = InstanceNorm(inputs) if normalized else nn.Identity()
        self.second = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.pool = nn.AvgPool2d(2) if halves else nn.Identity()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.first(F.leaky_relu(self.first_norm(x), 0.2)))
        y = self.second(F.leaky_relu(self.second_norm(y), 0.2))
        return _sum(y, self.shortcut(self.pool(x)))


class Up(nn.Module):
    """The same with AdaIN, whose scale and shift follow from the style code.

    Args:
        style: length of the style code.
        doubles: whether height and width are doubled, by repeating pixels.
    """

    def __init__(self, inputs: int, outputs: int, style: int, *, doubles: bool = True):
        super().__init__()
        self.first_norm = Norm("instance", inputs, style, affine=False)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second_norm = Norm("instance", outputs, style, affine=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.grow = nn.Upsample(scale_factor=2) if doubles else nn.Identity()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.first(self.grow(F.leaky_relu(self.first_norm(x, code), 0.2)))
        y = self.second(F.leaky_relu(self.second_norm(y, code), 0.2))
        return _sum(y, self.grow(self.shortcut(x)))


def _sum(x: Tensor, y: Tensor) -> Tensor:
    return (x + y) / math.sqrt(2)


def init_weights(network: nn.Module) -> None:
    """Initialise all convolutions and linear layers as He et al. (2015, eq. 10), biases 0."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def of_domain(outputs: Tensor, domain: Tensor) -> Tensor:
    """Return each sample's output for its own domain.

    Args:
        outputs: (N, domains, ...).
        domain: (N,) indices of domains.
    """
    return outputs[torch.arange(len(domain), device=domain.device), domain]


def _halvings(spec: NetworkSpec, name: str, smallest: int) -> int:
    """Return how often a sample's sides can be halved, so that the shorter one is not below `smallest`."""
    space = two_axes(spec, name)
    if min(space) < smallest:
        raise UsageError(f"'{name}': {space[0]}x{space[1]} pixels are too few; expected {smallest} or more")
    return int(math.log2(min(space) / smallest))


class TrunkOptions(Options):
    """Options of the discriminator `stargan_v2` and of the encoder `stargan_v2_style`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each block doubles them, up to `widest` (1 or more). The source has 16384 /
    `data.size`."""
    widest: int = Field(512, ge=1)
    """Largest number of channels (1 or more)."""


class Trunk(nn.Module):
    """From a sample to features: residual blocks that halve it to 4 to 7 pixels, a 4x4 convolution, the mean of it.

    `forward(x)`: x (N, inputs, H, W); returns the features, (N, channels), and the activations of every block.

    Raises:
        UsageError: samples are not images, or are too small.
    """

    def __init__(self, options: TrunkOptions, spec: NetworkSpec, name: str):
        super().__init__()
        self.channels = min(options.width, options.widest)
        self.blocks = nn.ModuleList([nn.Conv2d(spec.inputs, self.channels, 3, padding=1)])
        for _ in range(_halvings(spec, name, SMALLEST)):
            before, self.channels = self.channels, min(2 * self.channels, options.widest)
            self.blocks.append(Down(before, self.channels))
        self.last = nn.Conv2d(self.channels, self.channels, SMALLEST)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        activations = []
        for block in self.blocks:
            x = block(x)
            activations.append(x)
        # With a side of a power of 2, as in the source, one position is left, and the mean is that.
        return F.leaky_relu(self.last(F.leaky_relu(x, 0.2)), 0.2).mean((2, 3)), activations


class StarganV2GeneratorOptions(Options):
    """Options of the generator `stargan_v2`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each downsampling doubles them, up to `widest` (1 or more). The source has
    16384 / `data.size`."""
    widest: int = Field(512, ge=1)
    """Largest number of channels (1 or more)."""
    downs: int | None = Field(None, ge=1, le=8)
    """Number of downsamplings by 2 (1 to 8); defaults to those that make 16 to 31 pixels, as the source."""
    blocks: int = Field(2, ge=1, le=100)
    """Number of residual blocks between downsampling and upsampling, without a style code, and as many with one (1 or
    more)."""
    style: int = Field(64, ge=1)
    """Length of the style code (1 or more)."""


class StarganV2Generator(Generator[StarganV2GeneratorOptions]):
    """The generator of StarGAN v2 (Choi et al., 2020, appendix A): a residual encoder, and a decoder with AdaIN.

    Its output is linear, as the source's: nothing but the discriminator keeps it within [-1, 1].

    `forward(x, code)`: x (N, inputs, H, W), H and W multiples of `stride`; code (N, style), the style code, which the
    nodes `stargan_v2_translation` give; returns (N, channels, H, W).

    Raises:
        UsageError: samples are not images, or are too small; in `forward`, where there is no code.
    """

    channels_last = True

    def __init__(self, options: StarganV2GeneratorOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        most = _halvings(spec, "stargan_v2", 2)
        downs = max(1, most - 3) if options.downs is None else options.downs
        if downs > most:
            raise UsageError(f"'stargan_v2': samples of {spec.space} are too small for downs = {downs}; at most {most}")
        widths = [min(options.width * 2**i, options.widest) for i in range(downs + 1)]
        ends = list(pairwise(widths))
        inner = widths[-1]
        self.stride = 2**downs
        self.first = nn.Conv2d(spec.inputs, widths[0], 3, padding=1)
        self.encoder = nn.Sequential(
            *(Down(a, b, normalized=True) for a, b in ends),
            *(Down(inner, inner, normalized=True, halves=False) for _ in range(options.blocks)),
        )
        self.decoder = nn.ModuleList(
            [
                *(Up(inner, inner, options.style, doubles=False) for _ in range(options.blocks)),
                *(Up(b, a, options.style) for a, b in reversed(ends)),
            ]
        )
        self.last = nn.Sequential(InstanceNorm(widths[0]), nn.LeakyReLU(0.2), nn.Conv2d(widths[0], spec.channels, 1))
        init_weights(self)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        if code is None:
            raise UsageError(
                "'stargan_v2' takes a style code, and these nodes give none; set nodes = \"stargan_v2_translation\""
            )
        x = self.encoder(self.first(x))
        for block in self.decoder:
            x = block(x, code)
        y: Tensor = self.last(x)
        return y


class MappingOptions(Options):
    """Options of the encoder `stargan_v2_mapping`."""

    latent: int = Field(16, ge=1)
    """Length of the latent code (1 or more), that of the nodes."""
    style: int = Field(64, ge=1)
    """Length of the style code (1 or more), that of the generator."""
    width: int = Field(512, ge=1)
    """Width of the hidden layers (1 or more)."""
    shared: int = Field(4, ge=0, le=100)
    """Number of hidden layers for all domains (0 or more)."""
    own: int = Field(3, ge=0, le=100)
    """Number of hidden layers of each domain (0 or more)."""


class MappingNetwork(Encoder[MappingOptions]):
    """The mapping network of StarGAN v2 (Choi et al., 2020, section 2.1): from a latent code to a style code.

    `forward(x, domain)`: x (N, latent), standard normal; domain (N,); returns (N, style).

    Raises:
        UsageError: in `forward`, where x has another length.
    """

    def __init__(self, options: MappingOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.latent = options.latent
        sizes = [options.latent, *[options.width] * options.shared]
        own = [sizes[-1], *[options.width] * options.own]

        def hidden(sizes: list[int]) -> list[nn.Module]:
            return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]

        self.shared = nn.Sequential(*hidden(sizes))
        self.own = nn.ModuleList(nn.Sequential(*hidden(own), nn.Linear(own[-1], options.style)) for _ in spec.domains)
        init_weights(self)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        if x.shape[1] != self.latent:
            raise UsageError(
                f"'stargan_v2_mapping': latent = {self.latent}, and nodes.latent is {x.shape[1]}; expected the same"
            )
        y = self.shared(x)
        return of_domain(torch.stack([each(y) for each in self.own], 1), domain)


class StyleEncoderOptions(TrunkOptions):
    """Options of the encoder `stargan_v2_style`."""

    style: int = Field(64, ge=1)
    """Length of the style code (1 or more), that of the generator."""


class StyleEncoder(Encoder[StyleEncoderOptions]):
    """The style encoder of StarGAN v2 (Choi et al., 2020, section 2.1): from a sample of a domain to its style code.

    `forward(x, domain)`: x (N, inputs, H, W), domain (N,); returns (N, style).

    Raises:
        UsageError: samples are not images, or are too small.
    """

    channels_last = True

    def __init__(self, options: StyleEncoderOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.trunk = Trunk(options, spec, "stargan_v2_style")
        self.own = nn.ModuleList(nn.Linear(self.trunk.channels, options.style) for _ in spec.domains)
        init_weights(self)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        y, _ = self.trunk(x)
        return of_domain(torch.stack([each(y) for each in self.own], 1), domain)


class StarganV2Discriminator(Discriminator[TrunkOptions]):
    """The discriminator of StarGAN v2 (Choi et al., 2020, section 2.1), which has a logit for each domain.

    `forward(x, domain)`: x (N, inputs, H, W), domain (N,); returns for each sample the logit of its domain, (N, 1), and
    the activations of every block.

    Raises:
        UsageError: samples are not images, or are too small.
    """

    channels_last = True

    def __init__(self, options: TrunkOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.trunk = Trunk(options, spec, "stargan_v2")
        self.own = nn.Linear(self.trunk.channels, len(spec.domains))
        init_weights(self)

    def forward(self, x: Tensor, domain: Tensor) -> DiscriminatorOutput:
        y, activations = self.trunk(x)
        return DiscriminatorOutput([of_domain(self.own(y), domain)[:, None]], features=activations)


class StarganV2NodesOptions(Options):
    """Options of the nodes `stargan_v2_translation`."""

    latent: int = Field(16, ge=1)
    """Length of the latent code (1 or more)."""


class StarganV2Nodes(TranslationNodes, Nodes[StarganV2NodesOptions]):
    """The nodes of StarGAN v2: translations by the style of a latent code, and by that of a target sample (`ref_`).

    The encoder `mapping` turns a latent code into a style code, the encoder `style` a sample. Where a model is used,
    `fake` has the style of the reference, if one is given, and a `strength` goes from the source's own style code, by
    the style encoder, to that of the target domain. Generators get the style code as the condition `code`.

    Samples are (N, C, H, W), style codes (N, S).
    """

    options: StarganV2NodesOptions

    @node
    def style(
        self,
        source: Tensor,
        to_source: Conditions,
        to_target: Conditions,
        latents: SampleRng,
        reference: Tensor | None,
        strength: float | None,
    ) -> Passes:
        """The style code of the translation: that of a latent code, or of the reference."""
        if reference is None:
            style = yield Call("mapping.target", latents.normal("style", self.options.latent), to_target)
        else:
            style = yield Call("style.target", reference, to_target)
        if strength is not None:
            own = yield Call("style.source", source, to_source)
            style = own + strength * (style - own)
        return style

    @node
    def fake(self, source: Tensor, to_target: Conditions, style: Tensor) -> Call:
        """Translate the source to the target domain, in this style."""
        return _styled("generator", source, to_target, style)

    @node
    def fake_style(self, fake: Tensor, to_target: Conditions) -> Call:
        """The style code that the encoder reads from the fake."""
        return Call("style.target", fake, to_target)

    @node
    def other_fake(self, source: Tensor, to_target: Conditions, rng: SampleRng) -> Passes:
        """Translate the source in the style of another latent code, without gradients."""
        other = yield Call("mapping.target", rng.normal("other style", self.options.latent), to_target, frozen=True)
        return _styled("generator", source, to_target, other.detach(), frozen=True)

    @node
    def source_style(self, source: Tensor, to_source: Conditions) -> Call:
        """The style code of the source."""
        return Call("style.source", source, to_source)

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions, source_style: Tensor) -> Call:
        """Translate the fake back to the source domain, in the source's style."""
        return _styled("back", fake, to_source, source_style)

    @node
    def ref_style(self, target: Tensor, to_target: Conditions) -> Call:
        """The style code of the target."""
        return Call("style.target", target, to_target)

    @node
    def identity(self, target: Tensor, to_target: Conditions, ref_style: Tensor) -> Call:
        """Translate a target sample to its own domain, in its own style."""
        return _styled("generator", target, to_target, ref_style)

    @node
    def ref_fake(self, source: Tensor, to_target: Conditions, ref_style: Tensor) -> Call:
        """Translate the source to the target domain, in the style of the target."""
        return _styled("generator", source, to_target, ref_style)

    @node
    def ref_fake_style(self, ref_fake: Tensor, to_target: Conditions) -> Call:
        """The style code that the encoder reads from that translation."""
        return Call("style.target", ref_fake, to_target)

    @node
    def other_ref_fake(self, source: Tensor, to_target: Conditions, other_target: Tensor) -> Passes:
        """Translate the source in the style of another sample of the target domain, without gradients."""
        other = yield Call("style.target", other_target, to_target, frozen=True)
        return _styled("generator", source, to_target, other.detach(), frozen=True)

    @node
    def ref_reconstruction(self, ref_fake: Tensor, to_source: Conditions, source_style: Tensor) -> Call:
        """Translate that translation back to the source domain, in the source's style."""
        return _styled("back", ref_fake, to_source, source_style)


def _styled(role: str, x: Tensor, to: Conditions, style: Tensor, frozen: bool = False) -> Call:
    return Call(role, x, {**to, "code": style}, frozen)


class StylesOptions(Options):
    """Options of the losses of StarGAN v2."""

    of: Literal["latent", "reference"] = "latent"
    """The translation that the loss is of: that in the style of a latent code, or of a reference, the target."""


class _StylesLoss(Loss[StylesOptions]):
    """Base class: of the arguments of `for_generator` those of the other translation are not computed."""

    inputs: ClassVar[Mapping[str, tuple[str, ...]]]
    """The names of those that differ, by `of`."""

    def __init__(self, options: StylesOptions):
        super().__init__(options)
        self.unused_inputs = {name for of, names in self.inputs.items() if of != options.of for name in names}


class StyleReconstruction(_StylesLoss):
    """Style reconstruction: L1 distance between the style code of a translation and the one read from it.

    Choi et al. (2020), eq. 2.
    """

    inputs = {"latent": ("style", "fake_style"), "reference": ("ref_style", "ref_fake_style")}

    def for_generator(
        self,
        style: Tensor | None = None,
        fake_style: Tensor | None = None,
        ref_style: Tensor | None = None,
        ref_fake_style: Tensor | None = None,
    ) -> Tensor:
        return _l1(fake_style, style) if self.options.of == "latent" else _l1(ref_fake_style, ref_style)


class StyleDiversity(_StylesLoss):
    """Diversity sensitive loss: the negative L1 distance between two translations of a sample, in two styles.

    Choi et al. (2020), eq. 3; the second translation carries no gradient, as in the authors' code. It has no least
    value: its weight decays to 0.
    """

    inputs = {"latent": ("fake", "other_fake"), "reference": ("ref_fake", "other_ref_fake")}

    def for_generator(
        self,
        fake: Tensor | None = None,
        other_fake: Tensor | None = None,
        ref_fake: Tensor | None = None,
        other_ref_fake: Tensor | None = None,
    ) -> Tensor:
        return -_l1(fake, other_fake) if self.options.of == "latent" else -_l1(ref_fake, other_ref_fake)


class ReferenceCycle(Loss):
    """Cycle consistency of translations by a reference: L1 distance between a source and its reconstruction.

    Choi et al. (2020), eq. 4; that of translations by a latent code is `cycle`.
    """

    nonzero_at_end = True

    def for_generator(self, source: Tensor, ref_reconstruction: Tensor) -> Tensor:
        return _l1(ref_reconstruction, source)


def _l1(x: Tensor | None, y: Tensor | None) -> Tensor:
    assert x is not None and y is not None, "one of them is always computed"
    return (x - y).abs().mean()
