"""UVCGAN v2 (Torbunov et al., 2023): CycleGAN with a transformer in its generators, which first learn to inpaint.

The authors' samples lie in [0, 1]; networks here take and return [-1, 1] and compute with [0, 1]. So weights of losses
of differences are half of theirs, and that of a gradient penalty is four times as large.
"""

from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from transgan_standard.discriminators import ConvStack, init_and_normalise
from transgan_standard.layers import init_weights, two_axes

from transgan.api import (
    Call,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Generator,
    Loss,
    NetworkSpec,
    Options,
    SampleRng,
    Tensor,
    UsageError,
    node,
    require,
)


class ReZeroBlock(nn.Module):
    """A transformer block of timm, what it adds multiplied by a number that begins at 0 (Bachlechner et al., 2021).

    `forward(x)`: x and the result (N, tokens, features). Both branches of a block, attention and perceptron, share the
    number.
    """

    def __init__(self, features: int, heads: int, timm: Any):
        super().__init__()
        self.block = timm.Block(features, heads, qkv_bias=True, norm_layer=nn.LayerNorm)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.share * self.block.attn(self.block.norm1(x))
        y: Tensor = x + self.share * self.block.mlp(self.block.norm2(x))
        return y


class Transformer(nn.Module):
    """A vision transformer over the positions of a feature map, and a further token, whose result is the style.

    `forward(x)`: x (N, C, H, W); returns a map of the same form, and the style (N, features). The embedding of a
    position is the sine of a linear map of its place from -1 to 1: so every size has one.
    """

    def __init__(self, channels: int, features: int, heads: int, blocks: int):
        super().__init__()
        timm = require("timm.models.vision_transformer", "metrics", "the generator 'uvcgan2'")
        self.place = nn.Linear(2, features)
        self.first = nn.Linear(features + channels, features)
        self.token = nn.Parameter(torch.empty(1, 1, features))
        nn.init.normal_(self.token)
        self.blocks = nn.ModuleList(ReZeroBlock(features, heads, timm) for _ in range(blocks))
        self.last = nn.Linear(features, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count, _, *axes = x.shape
        places = torch.meshgrid(
            *(torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in axes), indexing="ij"
        )
        embedding = self.place(torch.stack(places, -1).flatten(0, 1)).sin().expand(count, -1, -1)
        tokens = self.first(torch.cat([embedding, x.flatten(2).transpose(1, 2)], 2))
        tokens = torch.cat([tokens, self.token.to(tokens.dtype).expand(count, -1, -1)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.last(tokens[:, :-1]).transpose(1, 2).unflatten(2, axes), tokens[:, -1]


class ModulatedConv(nn.Module):
    """A 3x3 convolution whose input channels are scaled by the style, then demodulated (Karras et al., 2020, eq. 1-3).

    `forward(x, style)`: x (N, inputs, H, W), style (N, features); returns (N, outputs, H, W). The scales are 1 plus a
    linear map of the style, times a number that begins at 0. The bias is demodulated too, as in the authors' code.
    """

    def __init__(self, inputs: int, outputs: int, features: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.scale = nn.Linear(features, inputs)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = 1 + self.share * self.scale(style)
        squares = scale.square() @ self.conv.weight.square().sum((2, 3)).T
        y: Tensor = self.conv(x * scale[:, :, None, None].to(x.dtype))
        demodulation: Tensor = (squares + 1e-6).rsqrt()[:, :, None, None]
        return y * demodulation.to(y.dtype)


class _Encoder(nn.Module):
    """A level of the encoder: two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.second(F.leaky_relu(self.first(x))))


class _Decoder(nn.Module):
    """A level of the decoder: a 3x3 convolution after doubling, and two modulated ones over that and the encoder's."""

    def __init__(self, inputs: int, outputs: int, features: int):
        super().__init__()
        self.up = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.first = ModulatedConv(2 * inputs, inputs, features)
        self.second = ModulatedConv(inputs, outputs, features)

    def forward(self, x: Tensor, skipped: Tensor, style: Tensor) -> Tensor:
        x = torch.cat([self.up(F.interpolate(x, scale_factor=2.0)), skipped], 1)
        return F.leaky_relu(self.second(F.leaky_relu(self.first(x, style)), style))


class UvcganOptions(Options):
    """Options of the generator `uvcgan2`."""

    width: int = Field(48, ge=1)
    """Channels of the outermost level; each level doubles them (1 or more)."""
    downs: int = Field(4, ge=1, le=8)
    """Number of levels, each of which halves height and width (1 to 8)."""
    features: int = Field(384, ge=1)
    """Length of the transformer's tokens (1 or more), a multiple of `heads`."""
    heads: int = Field(6, ge=1)
    """Heads of the transformer's attention (1 or more)."""
    blocks: int = Field(12, ge=1, le=100)
    """Blocks of the transformer (1 or more)."""


class UvcganGenerator(Generator[UvcganOptions]):
    """The generator of UVCGAN v2 (Torbunov et al., 2023, section 3.1): a U-Net with a transformer as its bottleneck.

    A further token of the transformer becomes the style, by which the decoder's convolutions are modulated. There is no
    norm outside of the transformer. The transformer's blocks are timm's.

    `forward(x)`: x (N, inputs, H, W), H and W multiples of `stride`; returns (N, channels, H, W) in [-1, 1].

    Raises:
        UsageError: samples are not images, or too small; `features` is no multiple of `heads`.
        PluginError: timm is needed and not installed.
    """

    channels_last = True

    def __init__(self, options: UvcganOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        space = two_axes(spec, "uvcgan2")
        self.stride = 2**options.downs
        if min(space) < self.stride:
            raise UsageError(
                f"'uvcgan2': {space[0]}x{space[1]} pixels are too few for downs = {options.downs}; choose fewer downs"
            )
        if options.features % options.heads:
            raise UsageError(
                f"'uvcgan2': features = {options.features} is no multiple of heads = {options.heads}; choose others"
            )
        widths = [options.width, *(options.width * 2**i for i in range(options.downs))]
        levels = list(pairwise(widths))
        self.first = nn.Conv2d(spec.inputs, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(_Encoder(before, after) for before, after in levels)
        self.downs = nn.ModuleList(nn.Conv2d(after, after, 2, 2) for _, after in levels)
        self.transformer = Transformer(widths[-1], options.features, options.heads, options.blocks)
        self.decoder = nn.ModuleList(_Decoder(after, before, options.features) for before, after in reversed(levels))
        self.last = nn.Conv2d(widths[0], spec.channels, 1)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first((x + 1) / 2))
        skipped = []
        for level, down in zip(self.encoder, self.downs, strict=True):
            x = level(x)
            skipped.append(x)
            x = down(x)
        x, style = self.transformer(x)
        for level in self.decoder:
            x = level(x, skipped.pop(), style)
        y: Tensor = (self.last(x) / 2).tanh()  # from -1 to 1 what a sigmoid is from 0 to 1
        return y


class BatchHead(nn.Module):
    """Batch normalisation with a queue of past samples' features, then two 3x3 convolutions (ibid., section 3.2).

    Each sample is normalised with the mean and variance, for each channel, over its own positions and those of the last
    samples of its kind: real ones and fakes have a queue each. With the authors' batch of 1 this is their batch norm.
    The queue's features carry no gradient, and samples of a batch do not affect each other. Of past features only the
    means and the mean squares are kept, which is all that enters.

    `forward(x, real)`: x (N, C, H, W), real (N,) from 0, with the fakes' queue, to 1, with that of real samples; or
    None, with half of both. Returns the logits (N, 1, H, W), and the moments (N, 2, C), which `push` takes.
    """

    queue: Tensor
    filled: Tensor

    def __init__(self, channels: int, length: int):
        super().__init__()
        self.length = length
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, 1, 3, padding=1)
        self.register_buffer("queue", torch.zeros(2, length, 2, channels))
        self.register_buffer("filled", torch.zeros(2))

    def forward(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        single = x if x.element_size() > 2 else x.float()
        own = torch.stack([single.mean((2, 3)), single.square().mean((2, 3))], 1)
        real = own.new_full((len(x),), 0.5) if real is None else real.to(own)
        kinds = torch.stack([1 - real, real], 1)
        past = torch.einsum("nk,kmc->nmc", kinds, self.queue.sum(1))
        mean, square = ((own + past) / (1 + kinds @ self.filled)[:, None, None])[..., None, None].unbind(1)
        y = (single - mean) * ((square - mean.square()).clamp(min=0) + 1e-5).rsqrt() * self.scale + self.shift
        return self.last(F.leaky_relu(self.first(y.to(x.dtype)))), own

    @torch.no_grad()
    def push(self, moments: Tensor, real: Tensor) -> None:
        """Add the moments of samples, (N, 2, C), to the queues of their kinds, (N,) 0 or 1."""
        for kind in (0, 1):
            new = moments[real == kind]
            self.queue[kind] = torch.cat([self.queue[kind], new.to(self.queue)])[-self.length :]
            self.filled[kind] = (self.filled[kind] + len(new)).clamp(max=self.length)


class UvcganDiscriminatorOptions(Options):
    """Options of the discriminator `uvcgan2`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each layer doubles them, up to 8 times as many (1 or more)."""
    layers: int = Field(3, ge=1, le=8)
    """Number of convolutions with stride 2 (1 to 8)."""
    queue: int = Field(3, ge=1, le=1000)
    """How many past samples of each kind the head's statistics contain (1 or more)."""


class UvcganDiscriminator(Discriminator[UvcganDiscriminatorOptions]):
    """The discriminator of UVCGAN v2 (Torbunov et al., 2023, section 3.2): a PatchGAN with a head of batch statistics.

    The body is that of `patch` with spectral normalisation, without its last layer. The features of the discriminator's
    own update enter the queues after it; with several processes each has queues of its own.

    `forward(x, real)`: x (N, inputs, H, W), real (N,) or None; logits (N, 1, H', W'), and the features of every layer.

    Raises:
        UsageError: samples are not images, or too small for the layers.
    """

    channels_last = True

    def __init__(self, options: UvcganDiscriminatorOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        space = two_axes(spec, "uvcgan2")
        if min(space) // 2**options.layers < 3:
            raise UsageError(
                f"'uvcgan2': {space[0]}x{space[1]} pixels are too few for layers = {options.layers}; choose fewer"
            )
        widths = [options.width * min(2**i, 8) for i in range(options.layers + 1)]
        strides = [2] * options.layers + [1]
        self.layers = ConvStack(spec.inputs, widths, strides, 4, "instance", False, 0).layers
        init_and_normalise(self.layers, spectral=True)
        self.head = BatchHead(widths[-1], options.queue)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, real: Tensor | None = None) -> DiscriminatorOutput:
        features = []
        y = (x + 1) / 2
        for layer in self.layers:
            y = layer(y)
            features.append(y)
        logits, moments = self.head(y, real)
        # In a generator's update no weight needs a gradient here, and in a penalty the sample needs one itself.
        if self.training and real is not None and moments.requires_grad and not x.requires_grad:
            self._seen.append((moments.detach(), real))
        return DiscriminatorOutput([logits], features=features)

    def after_step(self) -> None:
        """Take what this update has seen into the queues."""
        if self._seen:
            self.head.push(*(torch.cat(each) for each in zip(*self._seen, strict=True)))
            self._seen = []


class InpaintingOptions(Options):
    """Options of the loss `inpainting`."""

    patch: int = Field(32, ge=1)
    """Side of the patches that are masked, along every axis (1 or more)."""
    share: float = Field(0.4, gt=0, lt=1)
    """Probability of masking a patch (above 0 to below 1)."""


class Inpainting(Loss[InpaintingOptions]):
    """Inpainting, by which a generator is trained before it translates (ibid., section 3.3): L1 distance to the sample.

    Random patches of samples are set to -1, which is the authors' 0, and the generator has to return the whole sample.
    It sees samples of both of its domains. The mean over all positions, masked or not, and over both domains.
    """

    @node
    def inpainted_source(self, source: Tensor, to_target: Conditions, rng: SampleRng) -> Call:
        """The source, from what is left of it, (N, C, *space)."""
        return Call("generator", self._masked(source, rng, "source"), to_target)

    @node
    def inpainted_target(self, target: Tensor, to_target: Conditions, rng: SampleRng) -> Call:
        """The target sample, from what is left of it, (N, C, *space)."""
        return Call("generator", self._masked(target, rng, "target"), to_target)

    def for_generator(
        self, source: Tensor, target: Tensor, inpainted_source: Tensor, inpainted_target: Tensor
    ) -> Tensor:
        return ((inpainted_source - source).abs().mean() + (inpainted_target - target).abs().mean()) / 2

    def _masked(self, x: Tensor, rng: SampleRng, which: str) -> Tensor:
        axes, patch = x.shape[2:], self.options.patch
        kept = rng.uniform(f"inpainting|{which}", 1, *(-(-axis // patch) for axis in axes)) >= self.options.share
        for dim, axis in enumerate(axes, 2):
            kept = kept.repeat_interleave(patch, dim).narrow(dim, 0, axis)
        return torch.where(kept.to(x.device), x, -1.0)
