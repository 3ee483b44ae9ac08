"""The metric `coverage`: whether translations lie among real target images, and reach all of them."""

import numpy as np
import torch
from pydantic import Field

from transgan_images.features import Features, short_name
from transgan_images.metrics_features import FeatureMetric, FeatureOptions, Figure

#: Figures that are means over translations; the others depend on the number of them.
MEANS = ("precision", "density")


class CoverageOptions(FeatureOptions):
    """Options of the metric `coverage`."""

    k: int = Field(5, ge=1, le=1000)
    """The ball around an image reaches to its k-th nearest neighbour."""


class Coverage(FeatureMetric):
    """Precision, recall (Kynkaanniemi et al., 2019), density and coverage (Naeem et al., 2020, eq. 3 to 8).

    Around each image of a set is a ball that reaches to its k-th nearest neighbour of the set, in features.

    - `coverage`: the share of real target images whose ball has a translation in it, from 0 to 1;
    - `precision`: the share of translations that are in the ball of any real image, from 0 to 1;
    - `density`: the mean number of such balls that a translation is in, over k: 0 or more, and 1 on average where both
      sets have the same distribution;
    - `recall`: the share of real images that are in the ball of any translation, from 0 to 1; a set with outliers has
      large balls, so that it is high for scattered failures too.

    Read them together: a blurred mean image is dense and precise, and covers nothing; copies of the sources show in
    `..._of_source`, the same figures of the untranslated sources. Coverage and recall grow with the number of samples,
    so as many real images are used as there are translations, if there are, chosen at random; where there are as many
    others, `..._of_real` are their figures, the best to expect. These two figures have no intervals, since half of the
    samples cover less.
    """

    Options = CoverageOptions
    prefix = "coverage"

    def __init__(self, options: CoverageOptions):
        super().__init__(options)
        self.k = options.k
        self.least = options.k + 1

    def figures(self, source: Features, fake: Features, real: Features) -> dict[str, Figure]:
        count = len(fake[0])
        mixed = real[0][np.random.default_rng(self.seed).permutation(len(real[0]))]
        balls, others = Balls(mixed[:count], self.k), mixed[count : 2 * count]
        sets = {"": fake[0], "_of_source": source[0]} | ({"_of_real": others} if len(others) == count else {})
        found: dict[str, Figure] = {}
        for end, x in sets.items():
            inside = balls.inside(x)  # once: intervals are of its rows
            found |= {f"{name}{end}": (getattr(balls, name), [inside]) for name in ("coverage", "precision", "density")}
            found[f"recall{end}"] = (balls.recall, [x])
        return found

    def name_of(self, figure: str) -> str:
        what, of, end = figure.partition("_of_")
        return f"{what}_{short_name(self.options.network)}_{self.size}{of}{end}"

    def has_interval(self, figure: str) -> bool:
        return figure.partition("_")[0] in MEANS


class Balls:
    """The balls around the features of real images, (N, D), each to its k-th nearest neighbour, which it excludes.

    As in the code of Naeem et al., so that the density of a set of distinct images in itself is 1.
    """

    def __init__(self, real: np.ndarray, k: int):
        self.real, self.k = real, k
        self.radii = radii(real, k)

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Return whether each of x (M, D) is in each ball, (M, N)."""
        inside: np.ndarray = distances_between(x, self.real) < self.radii
        return inside

    def precision(self, inside: np.ndarray) -> float:
        """Return the share of samples in any ball (Naeem et al., 2020, eq. 3).

        Args:
            inside: (M, N), a row for each sample, as `inside` returns it.
        """
        return float(inside.any(1).mean())

    def density(self, inside: np.ndarray) -> float:
        """Return the mean number of balls that a sample is in, over k (eq. 5)."""
        return float(inside.sum(1).mean() / self.k)

    def coverage(self, inside: np.ndarray) -> float:
        """Return the share of the balls that a sample is in (eq. 6)."""
        return float(inside.any(0).mean())

    def recall(self, x: np.ndarray) -> float:
        """Return the share of the real images in any ball around one of x (M, D), M > k (eq. 4)."""
        return float((distances_between(x, self.real) < radii(x, self.k)[:, None]).any(0).mean())


def distances_between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances between features (M, D) and (N, D), (M, N); 0 between equal ones."""
    a, b = (torch.from_numpy(np.ascontiguousarray(each, np.float64)) for each in (x, y))
    found: np.ndarray = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    return found


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each of x (N, D), N > k, from its k-th nearest neighbour in x, (N,)."""
    nearest: np.ndarray = np.partition(distances_between(x, x), k, axis=1)[:, k]  # the nearest is the image itself
    return nearest
