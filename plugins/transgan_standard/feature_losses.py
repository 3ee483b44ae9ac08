"""Losses on features: those of the discriminators, and those of an encoder, usually pretrained and frozen."""

from dataclasses import replace
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.api import Call, DiscriminatorOutput, Loss, NetworkSpec, Options, node

DISTANCES = {"l1": F.l1_loss, "l2": F.mse_loss}
"""Mean absolute and mean squared difference."""


def single(x: Tensor) -> Tensor:
    """Return a tensor in at least fp32, in which differences of features are computed."""
    return x.float() if x.element_size() < 4 else x


class FeatureMatchingOptions(Options):
    compare: Literal["samples", "means"] = "samples"
    """What is compared: `samples`, each fake with the real sample beside it at every position, which a paired task
    needs, as in pix2pixHD; or `means`, the means of both batches over samples and positions, which unpaired ones allow
    (Salimans et al., 2016, section 3.1)."""


class FeatureMatching(Loss[FeatureMatchingOptions]):
    """Feature matching: L1 distance between a discriminator's features of the fake and of the real sample.

    Wang et al. (2018), eq. 4: the mean absolute difference of each layer, averaged over layers and scales. Features of
    the real sample carry no gradient, and the discriminator is not trained.

    Raises:
        ValueError: the discriminator returns no features.
    """

    def for_generator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> Tensor:
        if not fake_output.features:
            raise ValueError("the discriminator returns no features; choose another discriminator")
        distances = [
            F.l1_loss(self._compared(fake), self._compared(real.detach()))
            for fake, real in zip(fake_output.features, real_output.features, strict=True)
        ]
        return torch.stack(distances).mean()

    def _compared(self, features: Tensor) -> Tensor:
        """Return what is compared of features (N, C, *space): themselves, or the means (C,)."""
        features = single(features)
        return features if self.options.compare == "samples" else features.transpose(0, 1).flatten(1).mean(1)


class PerceptualOptions(Options):
    of: Literal["fake", "reconstruction", "identity"] = "fake"
    """What the loss trains."""
    to: Literal["source", "target", "reconstruction"] = "source"
    """What it should resemble: `source` preserves content; `target` is for paired tasks, or for `identity`."""
    encoder: str | None = None
    """The network whose features are compared: a slot of `[encoders]`. It is not trained by this loss."""
    model: str | None = None
    """Instead of `encoder`: a network of this loss's own, frozen, by the option `model` of the encoder `timm`."""
    weights: str | None = None
    """The file with the weights of `model`, as the option of the encoder `timm`; by default they are random."""
    size: int | None = Field(None, ge=1)
    """Height and width to which images are resized for `model`, as the option of the encoder `timm`."""
    layers: list[int] | None = Field(None, min_length=1)
    """Indices of the feature maps to compare; by default all that the encoder returns."""
    layer_weights: list[float] | None = None
    """Factor of each feature map's distance; by default 1 divided by their number."""
    distance: Literal["l1", "l2"] = "l1"
    """Mean absolute difference (`l1`), as in pix2pixHD, or mean squared difference (`l2`), as in Johnson et al."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.encoder is None) == (self.model is None):
            raise ValueError("expected either encoder, a slot of [encoders], or model, a network of the loss's own")
        if self.encoder is not None and (self.weights is not None or self.size is not None):
            raise ValueError("weights and size are those of model; with encoder they belong into its slot")
        if self.of == self.to:
            raise ValueError(f"of and to are both '{self.of}'; expected two different samples")
        if self.layers is not None and self.layer_weights is not None and len(self.layers) != len(self.layer_weights):
            raise ValueError(f"{len(self.layer_weights)} layer_weights for {len(self.layers)} layers; expected as many")
        return self


class Perceptual(Loss[PerceptualOptions]):
    """Perceptual (content) loss: distance between an encoder's features of two samples (Johnson et al., 2016, eq. 2).

    The mean difference of each feature map, times its weight, summed over feature maps. Gradients pass through the
    encoder and do not reach its parameters.

    Raises:
        UsageError: there is no such model, layer, size or encoder.
        DataError: the weights cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
        ValueError: there are more or fewer `layer_weights` than feature maps.
    """

    def __init__(self, options: PerceptualOptions):
        super().__init__(options)
        samples = ("source", "target", "fake", "reconstruction", "identity")
        self.unused_inputs = {f"{name}_features" for name in samples if name not in (options.of, options.to)}

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        """Return the encoder, where the loss has its own."""
        options = self.options
        if options.model is None:
            return {}
        from transgan_images.encoders import TimmEncoder, TimmOptions  # encoders of other kinds need none of it

        own = TimmOptions(model=options.model, weights=options.weights, size=options.size, layers=options.layers)
        # The spec is that of the first domain, whose samples may be maps; what is compared says its channels itself.
        return {"encoder": TimmEncoder(own, replace(spec, inputs=3))}

    def _features(self, x: Tensor) -> Call:
        layers = {} if self.options.layers is None else {"layers": self.options.layers}
        return Call(self.options.encoder or "encoder", x, layers, frozen=True)

    @node
    def source_features(self, source: Tensor) -> Call:
        """Encode the source."""
        return self._features(source)

    @node
    def target_features(self, target: Tensor) -> Call:
        """Encode the target."""
        return self._features(target)

    @node
    def fake_features(self, fake: Tensor) -> Call:
        """Encode the fake."""
        return self._features(fake)

    @node
    def reconstruction_features(self, reconstruction: Tensor) -> Call:
        """Encode the reconstruction."""
        return self._features(reconstruction)

    @node
    def identity_features(self, identity: Tensor) -> Call:
        """Encode the identity."""
        return self._features(identity)

    def for_generator(
        self,
        source_features: list[Tensor] | Tensor | None = None,
        target_features: list[Tensor] | Tensor | None = None,
        fake_features: list[Tensor] | Tensor | None = None,
        reconstruction_features: list[Tensor] | Tensor | None = None,
        identity_features: list[Tensor] | Tensor | None = None,
    ) -> Tensor:
        """Return the sum over feature maps.

        Args:
            source_features, ...: of two of these samples, what the encoder returns: a list of (N, C, *space), or one.
        """
        given = (source_features, target_features, fake_features, reconstruction_features, identity_features)
        one, other = ([each] if isinstance(each, Tensor) else each for each in given if each is not None)
        weights = self.options.layer_weights or [1 / len(one)] * len(one)
        if len(weights) != len(one):
            raise ValueError(f"{len(weights)} layer_weights for {len(one)} feature maps; expected as many")
        difference = DISTANCES[self.options.distance]
        pairs = zip(weights, one, other, strict=True)
        return torch.stack([weight * difference(single(x), single(y)) for weight, x, y in pairs]).sum()
