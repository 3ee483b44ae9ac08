"""Metrics that read known factors back from pictures, such as those of the source `synthetic_shapes`; see `factors`.

Distances of hues are shares of the circle, from 0 to 0.5. Where a picture should have a hue and a translation has none,
since it is grey or empty, the distance counts as 0.25, that of a random hue.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Domain, Metric, Options, OptionsT, Translation
from transgan_images.classifier import BATCH
from transgan_images.factors import circular_distance, read_factors

#: Mean distance of independent hues that are uniform on the circle.
RANDOM = 0.25
#: Largest number of real samples from which the distribution of hues in a domain is estimated.
MOST_REAL = 2000
#: Of real hues with a smaller mean distance, all are the same.
LEAST_SPREAD = 0.01


class _MeanMetric(Metric[OptionsT]):
    """Base class of means over samples; where a sample has no value, nan, it is not counted."""

    measures = ("pictures", 2)

    none: str = ""
    """Why a translation may have no figures."""

    def reset(self) -> None:
        """Forget all updates."""
        self.values: dict[Translation, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))

    def add(self, translation: Translation, **values: Tensor) -> None:
        """Add the values of a batch, (N,), by the name of the figure."""
        for name, each in values.items():
            self.values[translation][name].append(each[~each.isnan()].cpu().double())

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the mean of each figure, by translation and name."""
        joined = {
            translation: {name: torch.cat(each) for name, each in values.items()}
            for translation, values in self.values.items()
        }
        return {
            translation: {name: float(each.mean()) for name, each in values.items() if len(each)}
            for translation, values in joined.items()
        }

    def warnings(self) -> Sequence[str]:
        return [
            f"no figures for {translation}: {self.none}" for translation, each in self.compute().items() if not each
        ]


def hue_errors(hue: Tensor, true: Tensor) -> Tensor:
    """Return the distance of each hue (N,) to the true one, (N,): nan where that is, RANDOM where only the hue is."""
    return torch.where(true.isnan(), true, circular_distance(hue, true).nan_to_num(RANDOM))


class FactorError(_MeanMetric):
    """Mean distance between the hue of a translation and that of the true one, from 0 to 0.5, a share of the circle.

    Hues are those of shapes as the source `synthetic_shapes` makes them; a translation without one, grey or empty,
    counts as 0.25, the mean distance of a random hue. It is for translations whose hue follows from the source, as
    pairs show it; with a `free` target it is that of a guess. `factor_error_of_others` is the mean distance to the true
    translations of other sources.
    """

    direction = {"factor_error": "lower"}
    none = "the true translations have no hue"

    def update(self, translation: Translation, fake: Tensor, counterpart: Tensor) -> None:
        """Add a batch: translations and the true ones, (N, 3, H, W) both."""
        hue, true = read_factors(fake).hue, read_factors(counterpart).hue
        self.add(translation, factor_error=hue_errors(hue, true))
        if len(hue) > 1:
            self.add(translation, factor_error_of_others=hue_errors(hue, true.roll(1)))


class ContentKept(_MeanMetric):
    """Mean overlap (intersection over union) of the shape in a translation and in the true one, from 0 to 1.

    It is for shapes as the source `synthetic_shapes` makes them, and depends on their place, size, angle, kind and
    fill, and not on hues. `content_kept_of_others` is the mean overlap with the true translations of other sources.
    """

    direction = {"content_kept": "higher"}

    def update(self, translation: Translation, fake: Tensor, counterpart: Tensor) -> None:
        """Add a batch: translations and the true ones, (N, 3, H, W) both."""
        mask, true = read_factors(fake).mask, read_factors(counterpart).mask
        self.add(translation, content_kept=overlap(mask, true))
        if len(mask) > 1:
            self.add(translation, content_kept_of_others=overlap(mask, true.roll(1, 0)))


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection over union of masks, (N, H, W) each in [0, 1], as (N,); 1 where both are empty."""
    union = torch.maximum(a, b).sum((1, 2))
    return torch.where(union > 0, torch.minimum(a, b).sum((1, 2)) / union, 1.0)


class ReferenceStyle(_MeanMetric):
    """Mean distance between the hue of a translation in the style of a reference and that reference's, from 0 to 0.5.

    Hues are read as by `factor_error`; references are the batch's target samples. `reference_style_of_others` is the
    mean distance to other references, which a translation that ignores its reference would have.
    """

    direction = {"reference_style": "lower"}
    none = "the references have no hue"

    def update(self, translation: Translation, reference: Tensor, reference_fake: Tensor) -> None:
        """Add a batch: references, and the translations in their style, (N, 3, H, W) both."""
        hue, wanted = read_factors(reference_fake).hue, read_factors(reference).hue
        self.add(translation, reference_style=hue_errors(hue, wanted))
        if len(hue) > 1:
            self.add(translation, reference_style_of_others=hue_errors(hue, wanted.roll(1)))


class CoverageOptions(Options):
    samples: int = Field(10, ge=2, le=100)
    """Translations of each source, with different latent codes (2 to 100)."""
    bins: int = Field(12, ge=2, le=360)
    """Number of equal parts of the circle of hues (2 to 360)."""


class FactorCoverage(_MeanMetric[CoverageOptions]):
    """How much of the target domain's range of hues the translations of one source cover: 1 is as varied as real.

    Hues are those of shapes as the source `synthetic_shapes` makes them. `factor_coverage` is the number of parts of
    the circle, out of those in which real samples lie, that the translations of a source with different latent codes
    reach, divided by the number that as many real samples reach on average. `factor_spread` is the mean distance
    between the hues of two translations of a source, divided by that of two real samples. A model that ignores its code
    has the spread 0. Neither says whether content is preserved: see `content_kept`.
    """

    direction = {"factor_coverage": "higher", "factor_spread": "higher"}
    none = "the real target samples have no hue"

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Keep the domains, of which hues are read where they are a target."""
        self.domains = domains
        self.real: dict[str, Tensor] = {}

    def _real_hues(self, name: str) -> Tensor:
        """Return the hues of a domain's training samples, (n,), those that have one."""
        if name not in self.real:
            hues = [torch.empty(0)]
            for _, x in self.domains[name].batches(False, BATCH):
                hues.append(read_factors(x).hue.cpu())
                if sum(map(len, hues)) >= MOST_REAL:
                    break
            joined = torch.cat(hues)[:MOST_REAL]
            self.real[name] = joined[~joined.isnan()]
        return self.real[name]

    def update(self, translation: Translation, resample: Callable[[int], Tensor]) -> None:
        """Add a batch.

        Args:
            resample: returns translations (N, 3, H, W) of the same N sources for a number of the latent codes.
        """
        hues = torch.stack([read_factors(resample(k)).hue.cpu() for k in range(self.options.samples)], 1)  # (N, S)
        real = self._real_hues(translation.target)
        if not len(real):
            self.add(translation, factor_coverage=torch.empty(0))
            return
        shares = self._histogram(real[None])[0] / len(real)
        reached = ((self._histogram(hues) > 0) & (shares > 0)).sum(1)
        expected = (1 - (1 - shares) ** self.options.samples).sum()
        self.add(translation, factor_coverage=reached / expected)
        if (spread := mean_distance(real[None])[0]) > LEAST_SPREAD:
            self.add(translation, factor_spread=mean_distance(hues) / spread)

    def _histogram(self, hues: Tensor) -> Tensor:
        """Return how many of each row's hues, (N, S), lie in each part of the circle, (N, bins); red is amid part 0."""
        bins = self.options.bins
        part = torch.where(hues.isnan(), bins, (hues * bins).round().remainder(bins)).long()
        return torch.nn.functional.one_hot(part, bins + 1)[..., :bins].sum(1).cpu().double()


def mean_distance(hues: Tensor) -> Tensor:
    """Return the mean distance between two of each row's hues, (N, S), as (N,); a missing hue differs from none."""
    count = hues.shape[1]
    return torch.stack([circular_distance(row[:, None], row).nan_to_num(0).sum() for row in hues]) / (
        count * (count - 1)
    )
