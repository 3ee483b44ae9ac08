"""Metrics that need no network: elementwise errors of reconstructions and of translations with a known ground truth."""

from collections import defaultdict

from torch import Tensor

from transgan.api import Metric, Translation


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
