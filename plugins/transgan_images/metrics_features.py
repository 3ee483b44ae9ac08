"""Figures over the features of a network that is named in them: distances to real pictures, diversity, content kept.

Each stands beside the same figure of the untranslated sources, of which there are as many, and has a 95% interval.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from transgan.api import Domain, Metric, Options, Translation
from transgan_images import distances
from transgan_images.classifier import ClassifierOptions, classifier
from transgan_images.features import OWN, Extractor, Looked, joined, load, short_name

#: A figure's function, and the sets of which row i belongs to row i.
Part = tuple[Callable[..., float], Sequence[np.ndarray]]


class FeatureOptions(Options):
    network: str = OWN
    """What features are of: `"squeezenet"`, `"inception"`, `"timm:MODEL"`, all with `weights`, or `"own"`, the
    classifier of the task, trained on the run's own data."""
    weights: str | None = None
    """The file with the network's weights."""
    against: Literal["all", "held_out"] = "all"
    """Real pictures of the target domain that are compared with: all, or those that are not trained on."""
    halves: int = Field(100, ge=0)
    """Random halves of the samples, from which intervals follow; 0 for no intervals."""


class FeatureMetric(Metric):
    """What the figures over features share."""

    Options = FeatureOptions
    word = ""

    def __init__(self, options: FeatureOptions):
        super().__init__(options)
        path = Path(options.weights) if options.weights is not None else None
        self.named = None if options.network == OWN else load(options.network, path)

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        self.domains, self.seed = domains, seed
        self.extractors: dict[str, Extractor] = {}
        for task, names in tasks.items():
            self.extractors[task] = self.named or Extractor(classifier(domains, names, ClassifierOptions(), seed))

    def reset(self) -> None:
        self.seen: dict[Translation, list[tuple[Looked, Looked]]] = defaultdict(list)
        self.size = ""

    def update(self, translation: Translation, source: Tensor, fake: Tensor) -> None:  # type: ignore[override]
        look = self.extractors[translation.task]
        self.seen[translation].append((look(source), look(fake)))
        sides = list(source.shape[2:])
        self.size = f"{sides[0]}px" if len(set(sides)) == 1 else f"{'x'.join(map(str, sides))}px"

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Two samples are needed for any of them; where there are fewer, there are no figures."""
        result: dict[Translation, dict[str, float]] = {}
        for translation, seen in self.seen.items():
            source, fake = joined([each for each, _ in seen]), joined([each for _, each in seen])
            only = self.options.against == "held_out"
            real = self.extractors[translation.task].of_real(self.domains[translation.target], only)
            if min(len(source[0]), len(real[0])) >= 2:
                result[translation] = self._figures(self.parts(source, fake, real))
        return result

    def parts(self, source: Looked, fake: Looked, real: Looked) -> dict[str, Part]:
        """The figures by the ending of their names, the first one without."""
        raise NotImplementedError

    def _figures(self, parts: Mapping[str, Part]) -> dict[str, float]:
        figures = {}
        for ending, (function, sets) in parts.items():
            name = f"{self.word}_{short_name(self.options.network)}_{self.size}{ending}"
            figures[name] = value = function(*sets)
            on_rows = distances.on_rows(function, *sets)
            spread = distances.spread(on_rows, len(sets[0]), self.options.halves, self.seed)
            if np.isfinite(spread):
                figures |= {f"{name}_low": value - 1.96 * spread, f"{name}_high": value + 1.96 * spread}
        return figures


class Frechet(FeatureMetric):
    """The Frechet distance between the features of translations and of real target pictures (FID's formula).

    Comparable only between figures of the same name, on the same data and the same number of samples: with few samples
    it is too high, for translations as for sources. FID as it is published is that over `inception`.
    """

    word = "frechet"

    def parts(self, source: Looked, fake: Looked, real: Looked) -> dict[str, Part]:
        root = distances.centred_root(real[0])

        def to_real(x: np.ndarray) -> float:
            return distances.frechet_between(distances.centred_root(x), root)

        return {"": (to_real, [fake[0]]), "_of_source": (to_real, [source[0]])}


class Kernel(FeatureMetric):
    """The kernel distance between the features of translations and of real target pictures (KID's formula).

    Unbiased with any number of samples: 0, or a little below, where both sets are alike.
    """

    word = "kernel"

    def parts(self, source: Looked, fake: Looked, real: Looked) -> dict[str, Part]:
        within = distances.within(real[0])

        def to_real(x: np.ndarray) -> float:
            return distances.kernel(x, real[0], within)

        return {"": (to_real, [fake[0]]), "_of_source": (to_real, [source[0]])}


class Diversity(FeatureMetric):
    """How much translations differ among each other: the mean distance of unit features over all pairs.

    Beside it that of the sources and of real target pictures; far below both, many inputs become one output.
    """

    word = "diversity"

    def parts(self, source: Looked, fake: Looked, real: Looked) -> dict[str, Part]:
        sets = {"": fake, "_of_source": source, "_of_real": real}
        return {ending: (distances.diversity, [each[0]]) for ending, each in sets.items()}


class Content(FeatureMetric):
    """How far translations lie from their own sources, by unit features; beside it, from the sources of others.

    0 is a copy; the figure of others is what keeping nothing comes to.
    """

    word = "content"

    def parts(self, source: Looked, fake: Looked, real: Looked) -> dict[str, Part]:
        both: list[Any] = [source[0], fake[0]]
        return {"": (distances.content, both), "_of_others": (distances.content_of_others, both)}


class InceptionScore(FeatureMetric):
    """How sure a classifier is of single translations while it sees many classes in all; in one split.

    Over the run's own classifier it is at most the number of the task's domains, and 1 is best for one target.
    """

    word = "inception_score"

    def parts(self, source: Looked, fake: Looked, real: Looked) -> dict[str, Part]:
        sets = {"": fake, "_of_source": source, "_of_real": real}
        return {ending: (distances.inception_score, [each[1]]) for ending, each in sets.items() if each[1] is not None}
