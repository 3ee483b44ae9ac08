"""Metrics of any data: elementwise errors of reconstructions and of translations with a known ground truth, and how
well a fresh discriminator distinguishes translations from real samples."""

from collections import defaultdict

from pydantic import Field
from torch import Tensor

from transgan.api import Metric, Options, Translation
from transgan_standard.separation import distinct, held_out_auc


class _MeanError(Metric):
    """Base class of mean absolute errors, as shares of the range [-1, 1] of samples: from 0 to 1."""

    def reset(self) -> None:
        """Forget all updates."""
        self.sums: dict[Translation, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.counts: dict[Translation, int] = defaultdict(int)

    def add(self, translation: Translation, **pairs: tuple[Tensor, Tensor]) -> None:
        """Add a batch: for each figure, by its name, the two tensors (N, C, *space) to compare."""
        for name, (a, b) in pairs.items():
            self.sums[translation][name] += float((a - b).abs().flatten(1).mean(1).sum()) / 2
            self.counts[translation] = self.counts[translation] + (len(a) if name == next(iter(pairs)) else 0)

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the mean over all samples of each figure, by translation and name."""
        return {
            translation: {name: value / self.counts[translation] for name, value in sums.items()}
            for translation, sums in self.sums.items()
        }


class CycleError(_MeanError):
    """Mean absolute difference between a sample and its reconstruction: 0 is perfect, 1 the whole range of values."""

    direction = {"cycle_error": "lower"}

    def update(self, translation: Translation, source: Tensor, reconstruction: Tensor) -> None:
        """Add a batch: sources and their reconstructions, (N, C, *space)."""
        self.add(translation, cycle_error=(source, reconstruction))


def _of_source(name: str, source: Tensor, truth: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the pair for the figure of the untranslated source; none where it has other channels than the truth."""
    return {f"{name}_of_source": (source, truth)} if source.shape == truth.shape else {}


class CounterpartError(_MeanError):
    """Mean absolute difference between a translation and the true one, from 0 to 1, for samples that have one.

    True translations are known for paired data and for synthetic faces and voices. `counterpart_error_of_source` is the
    error of the untranslated source, for comparison.
    """

    direction = {"counterpart_error": "lower"}

    def update(self, translation: Translation, source: Tensor, fake: Tensor, counterpart: Tensor) -> None:
        """Add a batch: sources, their translations and the true ones, (N, C, *space)."""
        of_source = _of_source("counterpart_error", source, counterpart)
        self.add(translation, counterpart_error=(fake, counterpart), **of_source)


class PairedError(_MeanError):
    """Mean absolute difference between a translation and its partner in a paired task, from 0 to 1.

    `paired_error_of_source` is the error of the untranslated source, for comparison. Samples without a partner are not
    measured.
    """

    direction = {"paired_error": "lower"}

    def update(self, translation: Translation, source: Tensor, fake: Tensor, counterpart: Tensor) -> None:
        """Add a batch: sources, their translations and their partners, (N, C, *space)."""
        self.add(translation, paired_error=(fake, counterpart), **_of_source("paired_error", source, counterpart))


class DiscriminatorAucOptions(Options):
    """Options of the metric `discriminator_auc`."""

    samples: int = Field(200, ge=4)
    """Samples of either kind, at most."""
    steps: int = Field(300, ge=1)
    """Steps of training of each of two discriminators, of 16 samples of either kind."""
    width: int = Field(32, ge=1)
    """Channels of their first convolution."""
    crop: int | None = Field(None, ge=8)
    """Length of random crops along the last axis, by default all of a sample."""


class DiscriminatorAuc(Metric[DiscriminatorAucOptions]):
    """How well a small discriminator that is trained afresh distinguishes translations from real samples of the target.

    The area under the ROC curve on samples that it was not trained on, the mean over two folds: 0.5 is ideal, at 1
    all are recognised. Other than a loss of the training's own discriminators it can be compared between runs.
    `discriminator_auc_of_source` is that of the untranslated source, for comparison, `discriminator_auc_of_split` that
    of two halves of the real samples: how far from 0.5 chance alone comes.
    """

    direction = {"discriminator_auc": "lower"}

    def reset(self) -> None:
        """Forget all updates."""
        self.samples: dict[Translation, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))

    def update(self, translation: Translation, source: Tensor, fake: Tensor, target: Tensor) -> None:
        """Add a batch: sources, their translations and samples of the target domain, (N, C, *space)."""
        for name, x in (("source", source), ("fake", fake), ("target", target)):
            kept = self.samples[translation][name]
            kept += x[: self.options.samples - len(kept)].detach().float().unbind()

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation; none of fewer than four samples."""
        return {translation: self._figures(**each) for translation, each in self.samples.items()}

    def _figures(self, source: list[Tensor], fake: list[Tensor], target: list[Tensor]) -> dict[str, float]:
        options, target = self.options, distinct(target)
        pairs = {"discriminator_auc": (target, fake), "discriminator_auc_of_split": (target[::2], target[1::2])}
        if source[0].shape == target[0].shape:
            pairs["discriminator_auc_of_source"] = (target, source)
        return {
            name: held_out_auc(real, others, options.crop, steps=options.steps, width=options.width)
            for name, (real, others) in pairs.items()
            if min(len(real), len(others)) >= 4
        }
