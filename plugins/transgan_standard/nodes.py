"""Nodes: the named tensors of a translation, and how they are computed."""

from collections.abc import Generator
from typing import Any

from torch import Tensor

from transgan.api import Call, Conditions, Nodes, UsageError, node

Passes = Generator[Call, Any, Any]
"""A node that takes several passes."""


def scaled_change(call: Call, source: Tensor, strength: float) -> Generator[Call, Tensor, Tensor]:
    """Return source + strength (y - source), where y is the result of the call; as `scaled`."""
    y = yield call
    return scaled(y, source, strength)


def scaled(y: Tensor, source: Tensor, strength: float) -> Tensor:
    """Return source + strength (y - source), of a translation y.

    Raises:
        UsageError: y has other channels than the source.
    """
    if y.shape[1] != source.shape[1]:
        what = f"this translation turns {source.shape[1]} channels into {y.shape[1]}"
        raise UsageError(f"strength {strength:g} scales the change of a sample, and {what}; leave it out")
    return source + strength * (y - source)


class TranslationNodes(Nodes):
    """The fake, the reconstruction and the identity: the nodes of CycleGAN, pix2pix, CUT and StarGAN.

    Samples are (N, C, *space) in [-1, 1]; `task` and the domains are indices, (N,).
    """

    @node
    def to_target(self, task: Tensor, target_domain: Tensor, target_attributes: Conditions) -> Conditions:
        """Return the conditions of the forward translation: `task`, `domain` (the target's), and each attribute."""
        return {"task": task, "domain": target_domain, **target_attributes}

    @node
    def to_source(self, task: Tensor, source_domain: Tensor, source_attributes: Conditions) -> Conditions:
        """Return the conditions of the backward translation: as above, with the source's domain and attributes."""
        return {"task": task, "domain": source_domain, **source_attributes}

    @node
    def to_pair_target(self, task: Tensor, target_domain: Tensor, pair_target_attributes: Conditions) -> Conditions:
        """Return the conditions of the forward translation of known pairs, with the attributes of their targets."""
        return {"task": task, "domain": target_domain, **pair_target_attributes}

    @node
    def fake(self, source: Tensor, to_target: Conditions, strength: float | None) -> Call | Passes:
        """Translate the source to the target domain, (N, C, *space); scale each change by `strength`, where given."""
        call = Call("generator", source, to_target)
        return call if strength is None else scaled_change(call, source, strength)

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions) -> Call:
        """Translate the fake back to the source domain, (N, C, *space)."""
        return Call("back", fake, to_source)

    @node
    def pair_fake(self, source: Tensor, fake: Tensor, pair_source: Tensor, to_pair_target: Conditions) -> Call | Tensor:
        """Translate the sources of known pairs, (N, C, *space); where all samples are pairs, this is the fake."""
        return fake if pair_source is source else Call("generator", pair_source, to_pair_target)

    @node
    def identity(self, target: Tensor, to_target: Conditions) -> Call:
        """Translate a target sample to its own domain, (N, C, *space)."""
        return Call("generator", target, to_target)
