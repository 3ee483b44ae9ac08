"""StarGAN (Choi et al., 2018): its discriminator; its other parts are `resnet`, `channel` and the standard losses."""

from itertools import pairwise

from pydantic import Field
from torch import nn
from transgan_standard.layers import two_axes

from transgan.api import Discriminator, DiscriminatorOutput, NetworkSpec, Options, Tensor, UsageError


class StarganDiscriminatorOptions(Options):
    """Options of the discriminator `stargan`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each layer doubles them (1 or more)."""
    layers: int = Field(6, ge=1, le=10)
    """Number of convolutions with stride 2 (1 to 10): 6 leave 2x2 positions of 128x128 pixels."""


class StarganDiscriminator(Discriminator[StarganDiscriminatorOptions]):
    """The discriminator of StarGAN (Choi et al., 2018, table 5): strided convolutions without norm, and a class head.

    The class head is a convolution as large as the feature map of `data.size`. Initial weights are PyTorch's, as in the
    authors' code.

    `forward(x)`: x (N, inputs, H, W); logits (N, 1, H', W'), class logits (N, number of domains), the features of every
    layer.

    Raises:
        UsageError: samples are not images, or are too small for the layers.
    """

    channels_last = True

    def __init__(self, options: StarganDiscriminatorOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        space = two_axes(spec, "stargan")
        height, width = (side // 2**options.layers for side in space)
        if not (height and width):
            raise UsageError(
                f"'stargan': {space[0]}x{space[1]} pixels are too few for layers = {options.layers}; choose fewer"
            )
        widths = [spec.inputs, *(options.width * 2**i for i in range(options.layers))]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.01))
            for before, after in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.classifier = nn.Conv2d(widths[-1], len(spec.domains), (height, width), bias=False)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return DiscriminatorOutput([self.last(x)], self.classifier(x).flatten(1), features)
