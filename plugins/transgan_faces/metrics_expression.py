"""The metric `expression_kept`: which expression a translated picture of a synthetic identity shows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from transgan.api import Domain, Metric, Options, Sample, Translation
from transgan_faces.identities import EXPRESSION, IdentityFace

BATCH = 64
#: Pictures are reduced to this side in pixels before they are read.
SIDE = 64
#: Penalties that are tried, as shares of the mean eigenvalue of the kernel matrix.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class ExpressionKeptOptions(Options):
    """Options of the metric `expression_kept`."""

    pictures: int = Field(1500, ge=20)
    """Number of real training pictures of the target identity from which expressions are learned (20 or more)."""


class ExpressionKept(Metric[ExpressionKeptOptions]):
    """Mean absolute error of the expression that a translation shows, as a share of each parameter's range: 0 to 1.

    For the source `synthetic_identities`. The expression is read by ridge regression on pixels and their products with
    a few directions (a polynomial kernel), fitted to real pictures of the target identity; the penalty is the one with
    the least leave-one-out error. The regressor's own error limits what can be said:

    - `expression_error`: of translations, the mean over all parameters; `expression_error_<parameter>` of each;
    - `expression_error_of_real`: of real held-out pictures of the target identity;
    - `expression_error_of_others`: of translations, to the expression of another source, which a translation that
      ignores its source would have.
    """

    measures = ("pictures", 2)
    direction = {"expression_error": "lower"}

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Keep the domains; a regressor is fitted where a domain is first a target."""
        self.domains = {
            name: domain
            for name, domain in domains.items()
            if all(isinstance(each.location, IdentityFace) for each in domain.samples)
        }
        self.readers: dict[str, tuple[Reader, float]] = {}

    def reset(self) -> None:
        """Forget all updates."""
        self.errors: dict[Translation, list[Tensor]] = defaultdict(list)
        self.others: dict[Translation, list[Tensor]] = defaultdict(list)

    def update(self, translation: Translation, samples: list[Sample], fake: Tensor) -> None:
        """Add a batch: the held-out samples and their translations (N, 3, H, W)."""
        if translation.target not in self.domains:
            return
        reader, _ = self._reader(translation.target)
        true, shown = _expressions(samples), reader(fake)
        self.errors[translation].append((shown - true).abs())
        if len(samples) > 1:
            self.others[translation].append((shown - true.roll(1, 0)).abs())

    def _reader(self, domain: str) -> "tuple[Reader, float]":
        """Return the regressor of a domain, and its error on real held-out pictures."""
        if domain not in self.readers:
            pictures, true = self._real(domain, False)
            reader = Reader.fit(pictures, true)
            pictures, true = self._real(domain, True)
            self.readers[domain] = reader, float((reader(pictures) - true).abs().mean())
        return self.readers[domain]

    def _real(self, name: str, held_out: bool) -> tuple[Tensor, Tensor]:
        """Return pictures of a domain, (n, 3, H, W), and their expressions (n, E)."""
        domain = self.domains[name]
        pictures: list[Tensor] = []
        keys: list[str] = []
        for batch_keys, x in domain.batches(held_out, BATCH):
            keys += batch_keys
            pictures.append(x)
            if len(keys) >= self.options.pictures:
                break
        by_key = {each.key: each for each in (domain.held_out if held_out else domain.samples)}
        return torch.cat(pictures), _expressions([by_key[key] for key in keys])

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        found = {}
        for translation, batches in self.errors.items():
            errors = torch.cat(batches).mean(0)
            figures = {"expression_error": float(errors.mean())}
            figures |= {f"expression_error_{name}": float(e) for name, e in zip(EXPRESSION, errors, strict=True)}
            figures["expression_error_of_real"] = self._reader(translation.target)[1]
            if others := self.others[translation]:
                figures["expression_error_of_others"] = float(torch.cat(others).mean())
            found[translation] = figures
        return found

    def warnings(self) -> Sequence[str]:
        """Say where there is nothing to read."""
        return [] if self.domains else ["expressions are known for the source synthetic_identities only"]


def _expressions(samples: Sequence[Sample]) -> Tensor:
    """Return the expressions of samples, (N, E) in 0..1."""
    return torch.tensor([each.location.expression for each in samples], dtype=torch.float64)


@dataclass(frozen=True)
class Reader:
    """Kernel ridge regression from pictures to numbers, with the kernel (1 + x.y / s)^2 of centred pixels."""

    mean: Tensor
    pixels: Tensor
    """(n, D) of the fitted pictures, centred."""
    scale: float
    """s, the mean of |x|^2 over the fitted pictures."""
    weights: Tensor
    """(n, E)."""
    offset: Tensor
    """(E,)."""

    @classmethod
    def fit(cls, pictures: Tensor, numbers: Tensor) -> "Reader":
        """Return the regressor of pictures (n, C, H, W) to numbers (n, E)."""
        x = _pixels(pictures)
        mean = x.mean(0)
        x = x - mean
        scale = float(x.square().sum(1).mean())
        offset = numbers.mean(0)
        kernel = (1 + x @ x.T / scale) ** 2
        values, vectors = torch.linalg.eigh(kernel)
        rotated = vectors.T @ (numbers - offset)
        best: tuple[float, Tensor] | None = None
        for share in PENALTIES:
            inverse = 1 / (values.clamp(min=0) + share * values.mean())
            weights = vectors @ (inverse[:, None] * rotated)
            # The leave-one-out residual of ridge regression: alpha_i / (K + p)^-1_ii.
            residual = weights / (vectors.square() @ inverse)[:, None]
            error = float(residual.abs().mean())
            if best is None or error < best[0]:
                best = error, weights
        assert best is not None
        return cls(mean, x, scale, best[1], offset)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the numbers of pictures (N, C, H, W), (N, E) in 0..1."""
        x = _pixels(pictures) - self.mean
        kernel = (1 + x @ self.pixels.T / self.scale) ** 2
        return (kernel @ self.weights + self.offset).clamp(0, 1)


def _pixels(pictures: Tensor) -> Tensor:
    """Return pictures (N, C, H, W), reduced to SIDE where they are larger, as rows (N, D) in double precision."""
    x = pictures.detach().cpu().double()
    if x.shape[-1] > SIDE:
        x = F.interpolate(x, size=(SIDE, SIDE), mode="area")
    return x.flatten(1)
