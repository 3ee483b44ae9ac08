"""Metrics on the features of a network: distances to real images, diversity, preserved content, inception score.

Figures are named `<figure>_<network>_<size>px`. Each comes with a reference figure, usually that of the untranslated
sources, and with a 95% confidence interval, `..._low` and `..._high`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from transgan.api import Domain, Metric, Options, Translation, listed
from transgan_images import distances
from transgan_images.classifier import ClassifierOptions, check_channels, trained_classifier
from transgan_images.features import OWN, Extractor, Features, concatenate, load, short_name

#: A figure: a function of sets of features, and the sets, whose rows correspond.
Figure = tuple[Callable[..., float], Sequence[np.ndarray]]


class FeatureOptions(Options):
    network: str = OWN
    """The feature network: `"squeezenet"`, `"inception"` or `"timm:MODEL"`, pretrained, or `"own"`, a classifier of the
    task's domains that is trained on the run's own data."""
    weights: str | None = None
    """The file with the network's weights; not needed for `"own"`, nor for `"inception"` and
    `"timm:tf_efficientnet_lite0"` once `transgan download` has fetched them."""
    against: Literal["all", "held_out"] = "all"
    """The real images of the target domain to compare with: all, or only the held-out ones."""
    halves: int = Field(100, ge=0, le=100_000)
    """Number of random halves of the samples from which confidence intervals are estimated; 0 for no intervals."""


#: Figures of fewer samples are reported.
FEW_SAMPLES = 50


class FeatureMetric(Metric[FeatureOptions]):
    """Base class of metrics on features. A translation with fewer than `least` samples has no figures, and is reported.

    Raises:
        UsageError: there is no network of that name, or `weights` is missing.
        DataError: the weights cannot be read.
        PluginError: timm is needed and not installed.
    """

    measures = ("pictures", 2)
    prefix = ""
    """The beginning of the figures' names."""
    fits_covariance = False
    """Whether the figure needs more samples than there are features."""
    least = 2
    """The number of translated and of real images that the figures need at least."""

    def __init__(self, options: FeatureOptions):
        super().__init__(options)
        self.remarks: list[str] = []
        path = Path(options.weights) if options.weights is not None else None
        self.pretrained = None if options.network == OWN else load(options.network, path)

    def check_domains(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Refuse domains that differ in channels where the network is `own`; a pretrained one sees colours in grey."""
        if self.pretrained is None:
            for names in tasks.values():
                pretrained = 'network = "squeezenet" with its weights'
                check_channels(
                    domains, names, f"choose a pretrained network, such as {pretrained}, or leave the metric out"
                )

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Train a classifier for each task, where the network is `own`."""
        self.domains, self.seed = domains, seed
        self.extractors: dict[str, Extractor] = {}
        for task, names in tasks.items():
            self.extractors[task] = self.pretrained or Extractor(
                trained_classifier(domains, names, ClassifierOptions(), seed)
            )

    def reset(self) -> None:
        """Forget all updates."""
        self.features: dict[Translation, list[tuple[Features, Features]]] = defaultdict(list)
        self.size = ""

    def update(self, translation: Translation, source: Tensor, fake: Tensor) -> None:
        """Add a batch: sources and their translations, (N, C, H, W)."""
        extract = self.extractors[translation.task]
        self.features[translation].append((extract(source), extract(fake)))
        sides = list(source.shape[2:])
        self.size = f"{sides[0]}px" if len(set(sides)) == 1 else f"{'x'.join(map(str, sides))}px"

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return figures and their 95% confidence intervals, by translation and name."""
        result: dict[Translation, dict[str, float]] = {}
        self.remarks, few = [], []
        wanted = FEW_SAMPLES
        for translation, batches in self.features.items():
            source, fake = concatenate([each for each, _ in batches]), concatenate([each for _, each in batches])
            held_out_only = self.options.against == "held_out"
            real = self.extractors[translation.task].of_real(self.domains[translation.target], held_out_only)
            counts = f"{len(source[0])} translated and {len(real[0])} real images"
            least = min(len(source[0]), len(real[0]))
            if least < self.least:
                self.remarks.append(f"no figure for {translation}: {counts}, expected at least {self.least} of each")
                continue
            result[translation] = self._evaluate(self.figures(source, fake, real))
            if self.fits_covariance:
                wanted = max(wanted, source[0].shape[1] + 1)
            if not result[translation]:
                self.remarks.append(f"no figure for {translation}: its network is not a classifier")
            elif least < wanted:
                few.append(f"{translation}: {counts}")
        if few:
            effect = ", so it is biased upwards" if self.fits_covariance else ""
            self.remarks.append(f"the figure is of fewer than {wanted} samples{effect}: {listed(few)}")
        return result

    def warnings(self) -> Sequence[str]:
        return self.remarks

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        """Return the figures to compute, by the suffix of their names; the main figure's is empty."""
        raise NotImplementedError

    def name_of(self, figure: str) -> str:
        """Return the name of a figure that `figures` has returned."""
        return f"{self.prefix}_{short_name(self.options.network)}_{self.size}{figure}"

    def has_interval(self, figure: str) -> bool:
        """Return whether halves of the samples say how uncertain a figure is."""
        return True

    def _evaluate(self, figures: Mapping[str, Figure]) -> dict[str, float]:
        """Return the values of figures and the ends of their confidence intervals, by name."""
        values = {}
        for suffix, (function, sets) in figures.items():
            name = self.name_of(suffix)
            values[name] = value = function(*sets)
            if not self.has_interval(suffix):
                continue
            on_rows = distances.on_rows(function, *sets)
            error = distances.standard_error(on_rows, len(sets[0]), self.options.halves, self.seed)
            if np.isfinite(error):
                values |= {f"{name}_low": value - 1.96 * error, f"{name}_high": value + 1.96 * error}
        return values


class Frechet(FeatureMetric):
    """Frechet distance between the features of translations and of real target images (Heusel et al., 2017).

    FID is this figure with the network `inception`. `..._of_source` is the distance of the untranslated sources. Small
    samples bias the figure upwards: compare only figures of the same name, on the same data and number of samples.
    `..._of_real` says how much: it is the distance of as many real target images, chosen at random, to the others,
    where there are at least as many others. A translation can hardly be expected to have less.
    """

    prefix = "frechet"
    fits_covariance = True

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        def distance_to(reference: np.ndarray) -> Callable[[np.ndarray], float]:
            gaussian = distances.mean_and_root(reference)
            return lambda x: distances.frechet_between(distances.mean_and_root(x), gaussian)

        to_real, count = distance_to(real[0]), len(fake[0])
        found: dict[str, Figure] = {"": (to_real, [fake[0]]), "_of_source": (to_real, [source[0]])}
        if len(real[0]) >= 2 * count:
            mixed = real[0][np.random.default_rng(self.seed).permutation(len(real[0]))]
            found["_of_real"] = (distance_to(mixed[count:]), [mixed[:count]])
        return found

    def has_interval(self, figure: str) -> bool:
        return figure != "_of_real"


class Kernel(FeatureMetric):
    """Kernel distance between the features of translations and of real target images (Binkowski et al., 2018).

    KID is this figure with the network `inception`. `..._of_source` is the distance of the untranslated sources. The
    estimate is unbiased for any number of samples, and may be slightly negative.
    """

    prefix = "kernel"

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        within = distances.within(real[0])

        def to_real(x: np.ndarray) -> float:
            return distances.kernel(x, real[0], within)

        return {"": (to_real, [fake[0]]), "_of_source": (to_real, [source[0]])}


class Diversity(FeatureMetric):
    """Diversity of translations: mean distance between their normalised features over all pairs, from 0 to 2.

    `..._of_source` and `..._of_real` are the diversity of the untranslated sources and of real target images; a figure
    far below both indicates mode collapse.
    """

    prefix = "diversity"

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        sets = {"": fake, "_of_source": source, "_of_real": real}
        return {suffix: (distances.diversity, [each[0]]) for suffix, each in sets.items()}


class Content(FeatureMetric):
    """Preserved content: mean distance between normalised features of a source and its translation, from 0 to 2.

    0 means a copy. `..._of_others` is the mean distance to the translations of other sources, which a translation that
    preserves nothing would have.
    """

    prefix = "content"

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        sets = [source[0], fake[0]]
        return {"": (distances.content, sets), "_of_others": (distances.content_of_others, sets)}


class InceptionScore(FeatureMetric):
    """Inception score of translations (Salimans et al., 2016), in one split: from 1 to the number of classes.

    It is high where a classifier is confident of every translation and all together spread over many classes.
    `..._of_source` and `..._of_real` are the scores of the untranslated sources and of real target images. With the
    network `own` the classes are the task's domains, and 1 is best: all translations belong to one target domain. There
    are no figures where the network is not a classifier.
    """

    prefix = "inception_score"

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        sets = {"": fake, "_of_source": source, "_of_real": real}
        return {suffix: (distances.inception_score, [each[1]]) for suffix, each in sets.items() if each[1] is not None}
