"""Nodes: the named tensors of a translation, and how they are computed."""

from torch import Tensor

from transgan.api import Call, Conditions, Nodes, node


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
    def fake(self, source: Tensor, to_target: Conditions) -> Call:
        """Translate the source to the target domain."""
        return Call("generator", source, to_target)

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions) -> Call:
        """Translate the fake back to the source domain."""
        return Call("back", fake, to_source)

    @node
    def identity(self, target: Tensor, to_target: Conditions) -> Call:
        """Translate a target sample to its own domain."""
        return Call("generator", target, to_target)
