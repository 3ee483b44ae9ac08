"""CUT and FastCUT (Park et al., 2020): the loss PatchNCE, and the networks that it compares patches with."""

from collections.abc import Generator, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_standard.layers import init_weights

from transgan.api import Call, Conditions, Loss, NetworkSpec, Options, SampleRng, UsageError, node

Patches = tuple[list[Tensor], list[Tensor]]
"""Queries and keys: for each layer P patches of each picture, projected to vectors of length 1, (N, P, width)."""


class _LazyLinear(nn.LazyLinear):
    """A linear layer that takes its input's length from the first pass, and its initial weights as CUT does."""

    def reset_parameters(self) -> None:
        if self.in_features and not self.has_uninitialized_params():
            init_weights(self, "xavier")


class PatchProjection(nn.Module):
    """For each layer a perceptron with one hidden layer, of its own; CUT calls them F.

    `forward(patches)`: for each layer (N, P, C), C its number of channels; returns (N, P, width), of length 1.
    """

    def __init__(self, layers: int, width: int):
        super().__init__()
        self.perceptrons = nn.ModuleList(
            nn.Sequential(_LazyLinear(width), nn.ReLU(), nn.Linear(width, width)) for _ in range(layers)
        )
        for perceptron in self.perceptrons:
            init_weights(perceptron[-1], "xavier")  # type: ignore[index]

    def forward(self, patches: Sequence[Tensor]) -> list[Tensor]:
        projected = [perceptron(x) for perceptron, x in zip(self.perceptrons, patches, strict=True)]
        # As the authors, who add this: with their initial weights the vectors are hardly longer.
        return [x / (x.norm(dim=-1, keepdim=True) + 1e-7) for x in projected]


class PatchNCEOptions(Options):
    """Options of the loss `patch_nce`."""

    layers: list[Annotated[int, Field(ge=0)]] = Field([0, 4, 8, 12, 16], min_length=1)
    """Layers of the generator whose activations are compared, by the numbers that the generator gives them. The default
    is CUT's, for a `resnet` with antialiased downsampling: its padded input, both convolutions that are followed by
    downsampling, and the first and the fifth residual block."""
    patches: int = Field(256, ge=2)
    """Number of patches of each picture and layer, at positions chosen at random; all where a layer has no more."""
    temperature: float = Field(0.07, gt=0)
    """Divides the inner products of patches (above 0)."""
    width: int = Field(256, ge=1)
    """Length of the vectors that patches are projected to, and of the hidden layer (1 or more)."""
    identity: bool = True
    """Whether the loss is the mean of two: that of sources and their translations, and that of target samples and
    their translations to their own domain. True in CUT, false in FastCUT."""
    flip: bool = False
    """Flip equivariance: half of the sources are mirrored before their patches are taken, and the patches of their
    translations are mirrored to match. False in CUT, true in FastCUT."""


class PatchNCE(Loss[PatchNCEOptions]):
    """A patch of a translation has to be nearer to the source's patch at its place than to its other patches.

    Park et al. (2020), eq. 3 and 4. A patch is what some layers of the generator itself hold at a position, projected
    by a small network of the loss. For each position the cross-entropy of finding the source's patch there, the key,
    among all that were chosen of the same picture, by inner products divided by `temperature`; the mean over patches,
    layers and pictures. Keys carry no gradient. It needs no way back: a task may have one direction only.

    Raises:
        UsageError: the generator does not return its layers.
    """

    def __init__(self, options: PatchNCEOptions):
        super().__init__(options)
        self.unused_inputs = () if options.identity else ("identity_patches",)

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        """Return the projection of patches."""
        return {"projection": PatchProjection(len(self.options.layers), self.options.width)}

    @node
    def patches(
        self, source: Tensor, fake: Tensor, to_target: Conditions, rng: SampleRng
    ) -> Generator[Call, Any, Patches]:
        """Return the patches of translations and of their sources."""
        return self._patches(source, fake, to_target, rng)

    @node
    def identity_patches(
        self, target: Tensor, identity: Tensor, to_target: Conditions, rng: SampleRng
    ) -> Generator[Call, Any, Patches]:
        """Return the patches of target samples, translated to their own domain, and of the samples themselves."""
        return self._patches(target, identity, to_target, rng)

    def for_generator(self, patches: Patches, identity_patches: Patches | None = None) -> Tensor:
        terms = [patches] if identity_patches is None else [patches, identity_patches]
        return torch.stack([self._cross_entropy(*pair) for term in terms for pair in zip(*term, strict=True)]).mean()

    def _cross_entropy(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the mean over pictures and patches, both (N, P, width)."""
        logits = queries @ keys.transpose(1, 2) / self.options.temperature
        place = torch.arange(logits.shape[1], device=logits.device)
        return F.cross_entropy(logits.flatten(0, 1), place.repeat(len(logits)))

    def _patches(self, x: Tensor, y: Tensor, to_target: Conditions, rng: SampleRng) -> Generator[Call, Any, Patches]:
        """Return the patches of y, the queries, and those of x at the same positions, the keys."""
        mirrored = rng.uniform("patch_nce|flip") < 0.5 if self.options.flip else None
        conditions = {**to_target, "layers": self.options.layers}
        of_x = yield Call("generator", _mirror(x, mirrored), conditions, frozen=True)
        if isinstance(of_x, Tensor):
            raise UsageError("patch_nce compares layers of the generator, which this generator does not return")
        of_y = yield Call("generator", y, conditions)
        of_y = [_mirror(each, mirrored) for each in of_y]
        positions = [self._positions(each, rng, layer) for each, layer in zip(of_x, self.options.layers, strict=True)]
        keys = yield Call("projection", list(map(_at, of_x, positions)), frozen=True)
        queries = yield Call("projection", list(map(_at, of_y, positions)))
        return queries, keys

    def _positions(self, x: Tensor, rng: SampleRng, layer: int) -> Tensor:
        """Return (N, P) different positions of activations (N, C, *space), chosen at random."""
        count = x[0, 0].numel()
        order = rng.uniform(f"patch_nce|{layer}", count).to(x.device)
        return order.topk(min(self.options.patches, count)).indices


def _mirror(x: Tensor, which: Tensor | None) -> Tensor:
    """Return x (N, C, *space), of which the samples in `which` (N,) are mirrored along the last axis."""
    return x if which is None else torch.where(which.to(x.device).view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """Return (N, P, C), the activations x (N, C, *space) at positions (N, P)."""
    return x.flatten(2).gather(2, positions[:, None].expand(-1, x.shape[1], -1)).transpose(1, 2)
