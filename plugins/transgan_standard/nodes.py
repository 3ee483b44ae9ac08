"""Nodes: the named tensors of a translation, and how they are made."""

from torch import Tensor

from transgan.api import Call, Conditions, Nodes, node


class TranslationNodes(Nodes):
    """There, back again, and staying put: enough for CycleGAN, pix2pix, CUT and StarGAN."""

    @node
    def to_target(self, task: Tensor, target_domain: Tensor, target_attributes: Conditions) -> Conditions:
        """What a generator is told on the way there: by `task`, `domain`, and the names of the attributes."""
        return {"task": task, "domain": target_domain, **target_attributes}

    @node
    def to_source(self, task: Tensor, source_domain: Tensor, source_attributes: Conditions) -> Conditions:
        """What a generator is told on the way back."""
        return {"task": task, "domain": source_domain, **source_attributes}

    @node
    def fake(self, source: Tensor, to_target: Conditions) -> Call:
        """The source, translated."""
        return Call("generator", source, to_target)

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions) -> Call:
        """The fake, translated back."""
        return Call("back", fake, to_source)

    @node
    def identity(self, target: Tensor, to_target: Conditions) -> Call:
        """The target, told to become what it is."""
        return Call("generator", target, to_target)
