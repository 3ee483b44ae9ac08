"""The metrics `modes` and `transport`: figures of samples as points of their own space, for small samples and toys."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Domain, Metric, Options, Translation, UsageError, did_you_mean, require


def points_of(x: Tensor) -> np.ndarray:
    """Return samples (N, C, *space) as points, (N, D), in float64."""
    points: np.ndarray = x.detach().flatten(1).cpu().double().numpy()
    return points


def held_out_points(domain: Domain) -> np.ndarray:
    """Return a domain's held-out samples, or all where none are held out, as points, (N, D)."""
    return np.concatenate([points_of(x) for _, x in domain.batches(bool(domain.held_out), 64)])


class ModesOptions(Options):
    """Options of the metric `modes`."""

    label: str = Field("mode", min_length=1)
    """The label whose values are the modes: real samples of one value lie around one centre."""
    within: float = Field(2.0, gt=0)
    """How far from a centre a translation may be, as a multiple of the root mean square distance of real samples (above
    0). With 2, of a Gaussian in two dimensions 98 % are near."""


class Modes(Metric[ModesOptions]):
    """Which modes of the target translations reach, after Srivastava et al. (2017, section 5.1).

    - `modes`: the share of the label's values near whose centre any translation is, from 0 to 1;
    - `near_modes`: the share of translations that are near any centre, from 0 to 1.

    """

    direction = {"modes": "higher", "near_modes": "higher"}

    def check_domains(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Refuse domains of which none has samples that all have the label."""
        label = self.options.label
        if not any(all(s.attributes.get(label) is not None for s in each.samples) for each in domains.values()):
            known = {name for each in domains.values() for sample in each.samples for name in sample.attributes}
            hint = did_you_mean(label, known - {label}) if known - {label} else "They have no other labels."
            raise UsageError(f"no domain whose samples all have the label '{label}'. {hint}")

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        self.centres: dict[str, np.ndarray] = {}
        self.radius: dict[str, float] = {}
        for name, domain in domains.items():
            value_of = {each.key: each.attributes.get(self.options.label) for each in domain.samples}
            if None in value_of.values():
                continue
            by_value: dict[Any, list[np.ndarray]] = defaultdict(list)
            for keys, x in domain.batches(False, 64):
                for key, point in zip(keys, points_of(x), strict=True):
                    by_value[value_of[key]].append(point)
            self.centres[name] = np.stack([np.mean(each, 0) for each in by_value.values()])
            offsets = [np.array(each) - np.mean(each, 0) for each in by_value.values()]
            self.radius[name] = float(np.sqrt(np.mean(np.square(np.concatenate(offsets)).sum(1))))

    def reset(self) -> None:
        self.found: dict[Translation, list[np.ndarray]] = defaultdict(list)

    def update(self, translation: Translation, fake: Tensor) -> None:
        """Add translations, (N, C, *space)."""
        if translation.target in self.centres:
            self.found[translation].append(points_of(fake))

    def compute(self) -> dict[Translation, dict[str, float]]:
        figures = {}
        for translation, parts in self.found.items():
            centres, radius = self.centres[translation.target], self.radius[translation.target]
            distances = np.linalg.norm(np.concatenate(parts)[:, None] - centres, axis=2)
            near = distances.min(1) <= self.options.within * radius
            reached = np.unique(distances.argmin(1)[near])
            figures[translation] = {"modes": len(reached) / len(centres), "near_modes": float(near.mean())}
        return figures


class TransportOptions(Options):
    """Options of the metric `transport`."""

    most: int = Field(1000, ge=2, le=5000)
    """The most samples that are compared (2 to 5,000): the cost grows with the cube of their number."""


class Transport(Metric[TransportOptions]):
    """How translations lie among real targets, and how far they went, by optimal transport (Peyre & Cuturi, 2019).

    Distances are root mean squares over samples, in the space of samples in [-1, 1]:

    - `transport_error`: the 2-Wasserstein distance of translations and held-out targets, 0 at best; for two sets of
      real samples it is `transport_error_of_real`, which is not 0 either, since samples are few;
    - `transport_length`: the distance from sources to their translations;
    - `transport_least`: the 2-Wasserstein distance of sources and held-out targets: no way that reaches the target's
      distribution is shorter.

    Needs SciPy.
    """

    direction = {"transport_error": "lower", "transport_length": "lower"}

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.real = {}
        for name in dict.fromkeys(name for each in tasks.values() for name in each):  # the same order in every process
            points = held_out_points(domains[name])
            self.real[name] = points[rng.permutation(len(points))]

    def reset(self) -> None:
        self.pairs: dict[Translation, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)

    def update(self, translation: Translation, source: Tensor, fake: Tensor) -> None:
        """Add sources and their translations, both (N, C, *space)."""
        self.pairs[translation].append((points_of(source), points_of(fake)))

    def compute(self) -> dict[Translation, dict[str, float]]:
        figures = {}
        for translation, parts in self.pairs.items():
            source, fake = (np.concatenate(each) for each in zip(*parts, strict=True))
            real = self.real[translation.target]
            figures[translation] = {"transport_error": wasserstein(fake, real[: self.options.most])}
            if len(real) >= 4:
                half = min(len(real) // 2, self.options.most)
                figures[translation]["transport_error_of_real"] = wasserstein(real[:half], real[half : 2 * half])
            if source.shape[1] == fake.shape[1]:
                length = float(np.sqrt(np.mean(np.square(fake - source).sum(1))))
                least = wasserstein(source, real[: self.options.most])
                figures[translation] |= {"transport_length": length, "transport_least": least}
        return figures


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """Return the 2-Wasserstein distance of two sets of points, (N, D) and (M, D), of which min(N, M) are compared.

    Raises:
        PluginError: SciPy is not installed.
    """
    count = min(len(x), len(y))
    optimize: Any = require("scipy.optimize", "transport", "the metric 'transport'")
    costs = torch.cdist(torch.from_numpy(x[:count]), torch.from_numpy(y[:count])).square().numpy()
    rows, columns = optimize.linear_sum_assignment(costs)
    return float(np.sqrt(costs[rows, columns].mean()))
