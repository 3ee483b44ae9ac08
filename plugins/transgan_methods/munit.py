"""Shared content: MUNIT (Huang et al., 2018), content and style apart, and UNIT (Liu et al., 2017), one latent space.

A generator here is a domain's autoencoder. A node asks for a part of it by the condition `part`: the encoders of the
source domain's generator, then the decoder of the target domain's.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from transgan_standard.nodes import Passes

from transgan.api import (
    Call,
    Generator,
    Loss,
    NetworkSpec,
    Nodes,
    Options,
    SampleRng,
    Tensor,
    Translation,
    UsageError,
    node,
    option,
)
from transgan_methods.autoencoder import ContentDecoder, ContentEncoder, StyleEncoder


class MunitOptions(Options):
    """Options of the generator `munit`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each downsampling doubles them (1 or more)."""
    downs: int = Field(2, ge=0, le=6)
    """Downsamplings by 2 of the content encoder (0 to 6)."""
    blocks: int = Field(4, ge=0, le=100)
    """Residual blocks of the content encoder, and of the decoder (0 or more)."""
    style_downs: int = Field(4, ge=0, le=8)
    """Downsamplings by 2 of the style encoder (0 to 8)."""
    numbers: int = Field(8, ge=1)
    """Length of a style code (1 or more)."""
    hidden: int = Field(256, ge=1)
    """Width of the layers that turn a style code into the decoder's scales and shifts (1 or more)."""


class Munit(Generator[MunitOptions]):
    """A domain's autoencoder in MUNIT (Huang et al., 2018, appendix B.1): content encoder, style encoder, decoder.

    The content encoder has instance norm, the style encoder none, the decoder adaptive instance norm in its residual
    blocks, set by the style code, and layer norm after its upsamplings.

    `forward(x, code, part)`: with part "content" x (N, C, H, W) gives its content (N, K, H', W'); with "style" its
    style code (N, numbers); with "decode" a content and a code give (N, channels, H, W) in [-1, 1]. Without a part x is
    encoded and decoded with the code, or with its own.

    Raises:
        UsageError: samples are not images.
    """

    channels_last = True

    def __init__(self, options: MunitOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        o = options
        self.content = ContentEncoder("munit", spec, o.width, o.downs, o.blocks)
        self.style = StyleEncoder(spec.inputs, o.width, o.style_downs, o.numbers)
        self.decoder = ContentDecoder(spec.channels, o.width, o.downs, o.blocks, o.numbers, o.hidden)
        self.stride = 2**o.downs

    def forward(self, x: Tensor, code: Tensor | None = None, part: str | None = None) -> Tensor:
        if part == "content":
            encoded: Tensor = self.content(x)
            return encoded
        if part == "style":
            read: Tensor = self.style(x)
            return read
        if part is None:
            code, x = self.style(x) if code is None else code, self.content(x)
        y: Tensor = self.decoder(x, code)
        return y


class MunitNodesOptions(Options):
    """Options of the nodes `munit_translation`."""

    numbers: int = Field(8, ge=1)
    """Length of a style code (1 or more); that of the generators."""


class MunitNodes(Nodes[MunitNodesOptions]):
    """The nodes of MUNIT: content of the source, style of the target domain, and everything that is read back.

    Samples are (N, C, *space), contents (N, K, *space / stride), codes (N, numbers).
    """

    @node
    def content(self, source: Tensor) -> Call:
        """The content of the source."""
        return Call("back", source, {"part": "content"})

    @node
    def source_code(self, source: Tensor) -> Call:
        """The style code of the source, in the source's domain."""
        return Call("back", source, {"part": "style"})

    @node
    def self_reconstruction(self, content: Tensor, source_code: Tensor) -> Call:
        """The source, decoded from its own content and code."""
        return Call("back", content, {"code": source_code, "part": "decode"})

    @node
    def code(self, latents: SampleRng, reference: Tensor | None) -> Any:
        """The style code of the translation: from N(0, I), or that of a reference."""
        if reference is None:
            return latents.normal("code", self.options.numbers)
        return Call("generator", reference, {"part": "style"})

    @node
    def fake(self, content: Tensor, code: Tensor) -> Call:
        """Decode the content with the code in the target domain."""
        return Call("generator", content, {"code": code, "part": "decode"})

    @node
    def content_reconstruction(self, fake: Tensor) -> Call:
        """The content that is read from the fake."""
        return Call("generator", fake, {"part": "content"})

    @node
    def code_reconstruction(self, fake: Tensor) -> Call:
        """The style code that is read from the fake."""
        return Call("generator", fake, {"part": "style"})

    @node
    def reconstruction(self, content_reconstruction: Tensor, source_code: Tensor) -> Call:
        """Translate the fake back: its content, with the code of the source."""
        return Call("back", content_reconstruction, {"code": source_code, "part": "decode"})


class SelfReconstruction(Loss):
    """L1 distance between a sample and its own reconstruction (Huang et al., 2018, eq. 1; Liu et al., 2017, eq. 3)."""

    def for_generator(self, source: Tensor, self_reconstruction: Tensor) -> Tensor:
        return (self_reconstruction - source).abs().mean()


class ContentReconstruction(Loss):
    """L1 distance between a source's content and the content of its translation (Huang et al., 2018, eq. 2)."""

    def for_generator(self, content: Tensor, content_reconstruction: Tensor) -> Tensor:
        return (content_reconstruction - content).abs().mean()


class UnitOptions(Options):
    """Options of the generator `unit`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each downsampling doubles them (1 or more)."""
    downs: int = Field(2, ge=0, le=6)
    """Downsamplings by 2 (0 to 6)."""
    blocks: int = Field(4, ge=1, le=100)
    """Residual blocks of the encoders, and of the decoders (1 or more); the last of the encoders' and the first of the
    decoders' are shared by all domains."""


class Unit(Generator[UnitOptions]):
    """The coupled autoencoders of UNIT (Liu et al., 2017, section 3): one latent space for all domains.

    Every domain has an encoder and a decoder; the last residual block of the encoders and the first one of the decoders
    are shared. It is one network for the whole run (`per = "run"`).

    `forward(x, of, part)`: with part "encode" x (N, C, H, W) of the domain `of` gives its mean latent (N, K, H', W');
    with "decode" a latent gives a sample of the domain `of`, (N, channels, H, W) in [-1, 1].

    Raises:
        UsageError: samples are not images; `forward` is called without a domain.
    """

    channels_last = True

    def __init__(self, options: UnitOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        o, last = options, options.blocks - 1
        self.encoders = nn.ModuleDict({d: ContentEncoder("unit", spec, o.width, o.downs, last) for d in spec.domains})
        self.shared_encoder = ContentEncoder.block(o.width * 2**o.downs)
        self.shared_decoder = ContentEncoder.block(o.width * 2**o.downs)
        self.decoders = nn.ModuleDict(
            {d: ContentDecoder(spec.channels, o.width, o.downs, last, 0, 0) for d in spec.domains}
        )
        self.stride = 2**o.downs

    def forward(self, x: Tensor, of: str | None = None, part: Literal["encode", "decode"] | None = None) -> Tensor:
        if of is None or part is None:
            raise UsageError("generator 'unit' is used by nodes = \"unit_translation\"")
        if part == "encode":
            encoded: Tensor = self.shared_encoder(self.encoders[of](x))
            return encoded
        decoded: Tensor = self.decoders[of](self.shared_decoder(x), None)
        return decoded


class UnitNodes(Nodes):
    """The nodes of UNIT: every sample becomes a latent with noise of N(0, I), and is decoded in either domain.

    In training noise is added to the latents (the reparametrisation with variance 1); outside of it none. A reference
    and a strength interpolate: from the latent of the source (strength 0) to that of the reference (1, the default),
    decoded in the target domain.
    """

    @node
    def latent(self, source: Tensor, translation: Translation) -> Call:
        """The mean of the source's latent, (N, K, H', W')."""
        return Call("generator", source, {"of": translation.source, "part": "encode"})

    @node
    def noisy_latent(self, latent: Tensor, rng: SampleRng, training: bool) -> Tensor:
        """The latent with noise."""
        return latent + rng.normal("latent", *latent.shape[1:]) if training else latent

    @node
    def self_reconstruction(self, noisy_latent: Tensor, translation: Translation) -> Call:
        """The source, decoded in its own domain."""
        return Call("generator", noisy_latent, {"of": translation.source, "part": "decode"})

    @node
    def fake(
        self, noisy_latent: Tensor, translation: Translation, reference: Tensor | None, strength: float | None
    ) -> Any:
        """The source's latent, decoded in the target domain."""
        decode = {"of": translation.target, "part": "decode"}
        if reference is None and strength is None:
            return Call("generator", noisy_latent, decode)
        if reference is None:
            raise UsageError(
                f"strength interpolates between the source and a reference; give {option('reference')} too"
            )
        return self._between(noisy_latent, reference, 1.0 if strength is None else strength, translation.target)

    def _between(self, latent: Tensor, reference: Tensor, strength: float, target: str) -> Passes:
        other = yield Call("generator", reference, {"of": target, "part": "encode"})
        if other.shape[2:] != latent.shape[2:]:
            other = F.interpolate(other, latent.shape[2:], mode="bilinear")
        return Call("generator", torch.lerp(latent, other, strength), {"of": target, "part": "decode"})

    @node
    def fake_latent(self, fake: Tensor, translation: Translation) -> Call:
        """The mean of the fake's latent."""
        return Call("generator", fake, {"of": translation.target, "part": "encode"})

    @node
    def noisy_fake_latent(self, fake_latent: Tensor, rng: SampleRng, training: bool) -> Tensor:
        """The fake's latent with noise."""
        return fake_latent + rng.normal("fake_latent", *fake_latent.shape[1:]) if training else fake_latent

    @node
    def reconstruction(self, noisy_fake_latent: Tensor, translation: Translation) -> Call:
        """Translate the fake back to the source domain."""
        return Call("generator", noisy_fake_latent, {"of": translation.source, "part": "decode"})


class LatentDivergence(Loss):
    """Divergence of latents from N(0, I) where their variance is 1 (Liu et al., 2017, eq. 3): the mean of mean^2.

    The authors' code takes the mean over all numbers, and has no factor 1/2: so does this. `for_generator` takes the
    source's latent and the fake's, and returns the sum of both.
    """

    def for_generator(self, latent: Tensor, fake_latent: Tensor) -> Tensor:
        return latent.square().mean() + fake_latent.square().mean()
