"""Figures that need no network: how far a round trip ends from its start, and a translation from the truth."""

from collections import defaultdict

from torch import Tensor

from transgan.api import Metric, Translation


class _MeanError(Metric):
    """Sums of absolute differences, by translation and figure, as shares of the range [-1, 1] of samples."""

    def reset(self) -> None:
        self.sums: dict[Translation, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.counts: dict[Translation, int] = defaultdict(int)

    def add(self, translation: Translation, **pairs: tuple[Tensor, Tensor]) -> None:
        for name, (a, b) in pairs.items():
            self.sums[translation][name] += float((a - b).abs().flatten(1).mean(1).sum()) / 2
            self.counts[translation] = self.counts[translation] + (len(a) if name == next(iter(pairs)) else 0)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {
            translation: {name: value / self.counts[translation] for name, value in sums.items()}
            for translation, sums in self.sums.items()
        }


class CycleError(_MeanError):
    """Mean absolute difference between a sample and its reconstruction: 0 is perfect, 1 the whole range."""

    better = {"cycle_error": "lower"}

    def update(self, translation: Translation, source: Tensor, reconstruction: Tensor) -> None:  # type: ignore[override]
        self.add(translation, cycle_error=(source, reconstruction))


class CounterpartError(_MeanError):
    """Mean absolute difference between a translation and the true one, and, to compare, of leaving the source as it is.

    Only where the true one is known: of pairs, and of drawn faces and voices.
    """

    better = {"counterpart_error": "lower"}

    def update(self, translation: Translation, source: Tensor, fake: Tensor, counterpart: Tensor) -> None:  # type: ignore[override]
        self.add(translation, counterpart_error=(fake, counterpart), counterpart_error_of_source=(source, counterpart))


class PairedError(_MeanError):
    """Mean absolute difference between a translation and its partner in a paired task, and that of the source."""

    better = {"paired_error": "lower"}

    def update(self, translation: Translation, source: Tensor, fake: Tensor, target: Tensor) -> None:  # type: ignore[override]
        self.add(translation, paired_error=(fake, target), paired_error_of_source=(source, target))
