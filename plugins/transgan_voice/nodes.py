"""Nodes of voice translation: those of any translation, with masked source frames and the source speaker."""

import torch
from pydantic import Field

from transgan.api import Call, Conditions, Nodes, Options, SampleRng, Tensor, node


class VoiceTranslationOptions(Options):
    """Options of the nodes `voice_translation`."""

    longest_gap: int = Field(0, ge=0)
    """Frames that are removed from each source in training, at most (0 for none); their number and place are chosen at
    random for each sample. MaskCycleGAN-VC removes up to half of a crop."""


class VoiceTranslationNodes(Nodes[VoiceTranslationOptions]):
    """The fake, the reconstruction and the identity, conditioned on source and target speaker, with removed frames.

    Filling in frames (Kaneko et al., 2021, section 3.1): a generator that has to restore removed frames learns how
    sounds follow each other. Its input is the source times the mask, and the mask is one of its conditions; the mask is
    all ones for reconstruction and identity, and outside of training.

    Samples are (N, B, T); `task` and the domains are indices, (N,).
    """

    @node
    def to_target(
        self, task: Tensor, source_domain: Tensor, target_domain: Tensor, target_attributes: Conditions
    ) -> Conditions:
        """Return the conditions of the forward translation: `task`, `domain` (the target's), each attribute, and
        `origin` (the source domain)."""
        return {"task": task, "domain": target_domain, **target_attributes, "origin": source_domain}

    @node
    def to_source(
        self, task: Tensor, source_domain: Tensor, target_domain: Tensor, source_attributes: Conditions
    ) -> Conditions:
        """Return the conditions of the backward translation: as above, with source and target exchanged."""
        return {"task": task, "domain": source_domain, **source_attributes, "origin": target_domain}

    @node
    def mask(self, source: Tensor, rng: SampleRng, training: bool) -> Tensor:
        """Return the mask (N, 1, T): in training 0 in one gap of 0 to `longest_gap` frames, 1 elsewhere."""
        frames = source.shape[-1]
        longest = min(self.options.longest_gap, frames)
        if not (training and longest):
            return torch.ones_like(source[:, :1])
        uniform = rng.uniform("gap", 2)
        length = (uniform[:, :1] * (longest + 1)).floor()
        start = (uniform[:, 1:] * (frames - length + 1)).floor()
        numbers = torch.arange(frames, device=source.device)
        gap = (numbers >= start) & (numbers < start + length)
        return (~gap).to(source.dtype)[:, None]

    @node
    def fake(self, source: Tensor, mask: Tensor, to_target: Conditions) -> Call:
        """Translate the masked source to the target domain, (N, B, T)."""
        return Call("generator", source * mask, {**to_target, "mask": mask})

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions) -> Call:
        """Translate the fake back to the source domain, (N, B, T)."""
        return Call("back", fake, {**to_source, "mask": torch.ones_like(fake[:, :1])})

    @node
    def identity(self, target: Tensor, target_domain: Tensor, to_target: Conditions) -> Call:
        """Translate the target to its own domain, (N, B, T)."""
        conditions = {**to_target, "origin": target_domain, "mask": torch.ones_like(target[:, :1])}
        return Call("generator", target, conditions)
