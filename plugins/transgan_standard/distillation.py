"""Distillation: a generator learns to do what a trained model does."""

import torch
from pydantic import Field
from torch import Tensor

from transgan import Translator
from transgan.api import Loss, NetworkSpec, Options, Translation, UsageError


class DistillationOptions(Options):
    model: str = Field(min_length=1)
    """The teacher: the folder of a model, a run or a checkpoint. Its domains must have the same names."""


class Distillation(Loss[DistillationOptions]):
    """L1 distance between the translation and that of a trained model, the teacher, of the same source.

    With a smaller generator as student it is the loss by which GAN Compression (Li et al., 2020, section 3.1) makes
    pairs of unpaired samples. The teacher is neither trained nor saved with the run; a student needs it for training
    only.

    Raises:
        UsageError: the teacher does not translate between these domains.
        DataError: there is no model, or it is damaged.
    """

    def __init__(self, options: DistillationOptions):
        super().__init__(options)
        self.domains: tuple[str, ...] = ()
        self.teacher = Translator.from_pretrained(options.model, "cpu")  # a missing one is reported before the run

    def networks(self, spec: NetworkSpec) -> dict[str, torch.nn.Module]:
        """Return none of its own; note the names of the domains."""
        self.domains = spec.domains
        return {}

    def for_generator(
        self, fake: Tensor, source: Tensor, translation: Translation, source_domain: Tensor, target_domain: Tensor
    ) -> Tensor:
        if source.is_meta:
            return (fake - torch.empty_like(fake)).abs().mean()
        if translation.target != "*":
            return (fake - self._taught(source, translation.source, translation.target)).abs().mean()
        expected = torch.empty_like(fake)
        pairs = torch.stack([source_domain, target_domain], 1)
        for a, b in torch.unique(pairs, dim=0).tolist():
            rows = (pairs == pairs.new_tensor([a, b])).all(1)
            expected[rows] = self._taught(source[rows], self.domains[a], self.domains[b]).to(expected)
        return (fake - expected).abs().mean()

    def _taught(self, x: Tensor, source: str, target: str) -> Tensor:
        """Return the teacher's translation of samples, (N, C, *space)."""
        if self.teacher.device != x.device:
            self.teacher = Translator.from_pretrained(self.options.model, x.device)
        try:
            direction = self.teacher.choose(to=target, source=source)
        except UsageError as error:
            raise UsageError(f"the teacher {self.options.model}: {error}") from None
        taught: Tensor = self.teacher.translate_batch(x, direction)
        return taught
