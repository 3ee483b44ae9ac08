"""pix2pixHD (Wang et al., 2018): a generator from coarse to fine, and its nodes with maps of instance boundaries."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_standard.generators import ResnetGenerator, ResnetOptions
from transgan_standard.layers import (
    Dropout,
    InitKind,
    Norm,
    NormKind,
    Residual,
    convolution_has_bias,
    init_weights,
    run,
    two_axes,
)
from transgan_standard.nodes import TranslationNodes
from transgan_standard.padding import Pad

from transgan.api import Conditions, Generator, NetworkSpec, Options, UsageError, node


class Pix2pixHdOptions(Options):
    """Options of the generator `pix2pixhd`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution of the global generator; each enhancer has half of those of the network that it
    enhances (a multiple of 2 to the power of `enhancers`)."""
    downs: int = Field(4, ge=0, le=8)
    """Number of downsamplings by 2 of the global generator (0 to 8)."""
    blocks: int = Field(9, ge=0, le=1000)
    """Number of residual blocks of the global generator (0 or more)."""
    enhancers: int = Field(1, ge=0, le=4)
    """Number of local enhancers, each of which doubles height and width (0 to 4)."""
    enhancer_blocks: int = Field(3, ge=0, le=1000)
    """Number of residual blocks of each enhancer (0 or more)."""
    norm: NormKind = "instance"
    """Normalisation after every convolution but the last: `instance`, `batch`, `group` (of 8 groups) or `none`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel; the reference's does not."""
    init: InitKind = "normal"
    """Initial weights: `normal`, as the reference, or `xavier`, as in CUT."""


class Enhancer(nn.Module):
    """A local enhancer: a network of twice the resolution, to whose features those of a coarser one are added.

    `forward(x, features, style)`: x (N, inputs, H, W), features (N, 2 * width, H / 2, W / 2) of the coarser network;
    returns features (N, width, H, W).
    """

    def __init__(self, inputs: int, width: int, options: Pix2pixHdOptions, style: int):
        super().__init__()
        bias = convolution_has_bias(options.norm, options.affine)

        def norm(channels: int) -> list[nn.Module]:
            return [Norm(options.norm, channels, style, options.affine), nn.ReLU()]

        def make_norm(channels: int) -> Norm:
            return Norm(options.norm, channels, style, options.affine)

        self.front = nn.ModuleList(
            [
                Pad(3),
                nn.Conv2d(inputs, width, 7, bias=bias),
                *norm(width),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias),
                *norm(2 * width),
            ]
        )
        plain = Dropout(0.0, False, 0)
        blocks = [Residual(2 * width, make_norm, "reflect", bias, plain, False) for _ in range(options.enhancer_blocks)]
        up = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1, bias=bias)
        self.back = nn.ModuleList([*blocks, up, *norm(width)])

    def forward(self, x: Tensor, features: Tensor, style: Tensor | None) -> Tensor:
        for layer in self.front:
            x = run(layer, x, style)
        x = x + features
        for layer in self.back:
            x = run(layer, x, style)
        return x


class Pix2pixHdGenerator(Generator[Pix2pixHdOptions]):
    """The generator of pix2pixHD (Wang et al., 2018, section 3.2): a global generator, and enhancers around it.

    The global generator is `resnet` with four downsamplings. The first enhancer sees the input at twice its resolution;
    the last feature map of the global generator is added to what the enhancer has made of it, halfway; further
    enhancers likewise. Every network has an output layer of its own, which is not used once an enhancer follows. With
    the default options the networks are those of the authors' implementation (`netG = local`, `ngf = 32`).

    A stage says how many enhancers take part: `conditions = { enhancers = 0 }`. Samples then have the size that the
    enhancers that take part make: with none of one, `size` is half of `data.size`. In evaluation mode, which always has
    samples of `data.size`, the input is reduced to that size, and the output enlarged.

    Parameters are called `global_generator.*`, `enhancers.0.*` and so on, and those of output layers `outputs.0.*` (the
    global generator's) and so on: `freeze = ["pix2pixhd|global_generator*"]`.

    `forward(x, style, enhancers)`: x (N, inputs, H, W), H and W multiples of `stride`; returns (N, channels, H, W).

    Raises:
        UsageError: samples are not images, or are too small; there are no such enhancers; in training, samples have
            another size than the enhancers that take part need.
    """

    channels_last = True

    def __init__(self, options: Pix2pixHdOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.space = two_axes(spec, "pix2pixhd")
        count = options.enhancers
        if options.width % 2**count:
            raise UsageError(
                f"'pix2pixhd': width = {options.width} cannot be halved {count} times; choose a multiple of {2**count}"
            )
        if min(self.space) < 2 ** (options.downs + count + 1):
            raise UsageError(
                f"'pix2pixhd': {self.space[0]}x{self.space[1]} pixels are too few for downs = {options.downs} and "
                f"enhancers = {count}; choose fewer"
            )
        own = ResnetOptions(
            width=options.width, downs=options.downs, blocks=options.blocks, norm=options.norm, affine=options.affine
        )
        layers = list(ResnetGenerator(own, spec).model)
        widths = [options.width // 2**i for i in range(count + 1)]
        self.global_generator = nn.ModuleList(layers[:-2])  # but for its padding and its output layer
        self.enhancers = nn.ModuleList(Enhancer(spec.inputs, width, options, spec.style) for width in widths[1:])
        self.outputs = nn.ModuleList(nn.Conv2d(width, spec.channels, 7) for width in widths)
        self.pad = Pad(3)
        self.stride = 2 ** (options.downs + count)
        init_weights(self, options.init)

    def forward(self, x: Tensor, style: Tensor | None = None, enhancers: int | None = None) -> Tensor:
        missing = 0 if enhancers is None else len(self.enhancers) - enhancers
        if not 0 <= missing <= len(self.enhancers):
            raise UsageError(f"enhancers = {enhancers}: expected 0 to {len(self.enhancers)}")
        if self.training:
            self._check_size(x, missing)
            return self._image(x, style, missing)
        for _ in range(missing):
            x = halved(x)
        y = self._image(x, style, missing)
        return F.interpolate(y, scale_factor=2**missing, mode="bilinear") if missing else y

    def _image(self, x: Tensor, style: Tensor | None, missing: int) -> Tensor:
        """Return an image of the size of x, by all enhancers but the last `missing` ones."""
        used = len(self.enhancers) - missing
        pyramid = [x]
        for _ in range(used):
            pyramid.insert(0, halved(pyramid[0]))
        features = pyramid[0]
        for layer in self.global_generator:
            features = run(layer, features, style)
        for enhancer, finer in zip(list(self.enhancers)[:used], pyramid[1:], strict=True):
            features = enhancer(finer, features, style)
        image: Tensor = self.outputs[used](self.pad(features)).tanh()
        return image

    def _check_size(self, x: Tensor, missing: int) -> None:
        wanted = tuple(axis // 2**missing for axis in self.space)
        if missing and tuple(x.shape[2:]) != wanted:
            raise UsageError(
                f"'pix2pixhd' with {missing} of {len(self.enhancers)} enhancers missing makes images of "
                f"{wanted[0]}x{wanted[1]} pixels, and samples have {x.shape[2]}x{x.shape[3]}; set size = "
                f"{list(wanted)} in this stage"
            )


def halved(x: Tensor) -> Tensor:
    """Return images (N, C, H, W) at half the size: means over 3x3 pixels, without the border's outside."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


class Pix2pixHdNodes(TranslationNodes):
    """The nodes of `translation`, with a map of instance boundaries as a condition of the generator, `boundaries`.

    The recipe has the maps as `[inputs.boundaries]`, and a conditioning `planes` with `of = "boundaries"` appends them
    to the generator's input. For tasks with one direction, trained on pairs.
    """

    @node
    def to_target(
        self,
        task: Tensor,
        target_domain: Tensor,
        target_attributes: Conditions,
        source_boundaries: Tensor,
    ) -> Conditions:
        """Return the conditions of the forward translation: those of `translation`, and `boundaries`."""
        return {
            **super().to_target(task, target_domain, target_attributes),
            "boundaries": source_boundaries,
        }
