"""Nodes of a voice's translation: as any translation's, with frames removed from the source while training."""

import torch
from pydantic import Field
from transgan_standard.nodes import TranslationNodes

from transgan.api import Call, Conditions, Draws, Options, Tensor, node


class VoiceOptions(Options):
    """Options of the nodes `voice_translation`."""

    longest_gap: int = Field(0, ge=0)
    """Frames removed from each source, at most (0 for none); how many, and where, is drawn anew for each sample.
    MaskCycleGAN-VC takes half of a crop."""


class VoiceTranslationNodes(TranslationNodes):
    """There, back again, and staying put, told who speaks and who is to speak; frames may be missing on the way there.

    "Filling in frames" (Kaneko et al., 2021, section 3.1): a generator that has to restore what is missing learns how
    sounds follow each other. The generator is given the source times the mask, and the mask itself; the mask is all
    ones on the way back, for identity, and at use.
    """

    Options = VoiceOptions
    options: VoiceOptions

    @node
    def to_target(  # type: ignore[override]
        self, task: Tensor, source_domain: Tensor, target_domain: Tensor, target_attributes: Conditions
    ) -> Conditions:
        """What a generator is told on the way there."""
        return {**super().to_target(task, target_domain, target_attributes), "origin": source_domain}

    @node
    def to_source(  # type: ignore[override]
        self, task: Tensor, source_domain: Tensor, target_domain: Tensor, source_attributes: Conditions
    ) -> Conditions:
        """What a generator is told on the way back."""
        return {**super().to_source(task, source_domain, source_attributes), "origin": target_domain}

    @node
    def mask(self, source: Tensor, draws: Draws, training: bool) -> Tensor:
        """(N, 1, T): 0 in one gap of 0 to `longest_gap` frames while training, 1 elsewhere."""
        frames = source.shape[-1]
        longest = min(self.options.longest_gap, frames)
        if not (training and longest):
            return torch.ones_like(source[:, :1])
        chance = draws.uniform("gap", 2)
        length = (chance[:, :1] * (longest + 1)).floor()
        begin = (chance[:, 1:] * (frames - length + 1)).floor()
        at = torch.arange(frames, device=source.device)
        gap = (at >= begin) & (at < begin + length)
        return (~gap).to(source.dtype)[:, None]

    @node
    def fake(self, source: Tensor, mask: Tensor, to_target: Conditions) -> Call:  # type: ignore[override]
        """The source, with frames missing, translated."""
        return Call("generator", source * mask, {**to_target, "mask": mask})

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions) -> Call:
        """The fake, translated back."""
        return Call("back", fake, {**to_source, "mask": torch.ones_like(fake[:, :1])})

    @node
    def identity(self, target: Tensor, target_domain: Tensor, to_target: Conditions) -> Call:  # type: ignore[override]
        """The target, told to become what it is."""
        told = {**to_target, "origin": target_domain, "mask": torch.ones_like(target[:, :1])}
        return Call("generator", target, told)
