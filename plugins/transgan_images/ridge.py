"""Ridge regression in closed form, with its penalty chosen by leave-one-out errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Penalties that are tried, for each number of features.
PENALTIES = tuple(10 ** (exponent / 2) for exponent in range(-8, 6))


@dataclass(frozen=True)
class Ridge:
    """A linear model `x @ coefficients + intercept`."""

    coefficients: Tensor
    """(D, K)"""
    intercept: Tensor
    """(K,)"""
    penalty: float
    error: float
    """The weighted mean squared error of leave-one-out predictions, summed over K."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return predictions (N, K) of x (N, D)."""
        return x.to(self.coefficients) @ self.coefficients + self.intercept


def fit_ridge(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    changes: Tensor | None = None,
    penalties: Sequence[float] = PENALTIES,
) -> Ridge:
    """Fit ridge regression with an intercept, in float64, with the penalty of the smallest leave-one-out error.

    The model minimises the weighted sum of squared errors plus penalty times the squared coefficients, plus the squared
    changes of its predictions along `changes`. The leave-one-out residual is that of the fit divided by one minus the
    sample's leverage (Allen's PRESS, 1974), so one decomposition serves all penalties.

    Args:
        x: features (N, D).
        y: targets (N, K).
        weight: of each sample, (N,); scaled to a mean of 1. Defaults to 1.
        changes: changes of features (M, D) that should not change a prediction (Simard et al., 1992, tangent prop).
        penalties: those to try; penalty 0 needs N > D and features of full rank.
    """
    x, y = x.double(), y.double()
    w = torch.ones(len(x), dtype=x.dtype) if weight is None else weight.double() / weight.double().mean()
    root = w.sqrt()[:, None]
    center, middle = (w[:, None] * x).mean(0), (w[:, None] * y).mean(0)
    a, b, count = root * (x - center), root * (y - middle), len(x)
    if changes is not None:
        a, b = torch.cat([a, changes.double()]), torch.cat([b, b.new_zeros(len(changes), b.shape[1])])
    if len(a) <= a.shape[1]:
        values, u = torch.linalg.eigh(a @ a.T)
    else:
        values, v = torch.linalg.eigh(a.T @ a)
        u = a @ v / values.clamp(min=1e-12 * float(values.max())).sqrt()
    kept = values > 1e-12 * values.max()
    values, u = values[kept], u[:, kept]
    along = u.T @ b
    best: tuple[float, float] | None = None
    for penalty in penalties:
        shrunk = values / (values + penalty)
        leverage = (u[:count] ** 2) @ shrunk + w / count
        residual = (b[:count] - u[:count] @ (shrunk[:, None] * along)) / (1 - leverage).clamp(min=1e-9)[:, None]
        error = float((residual**2).sum(1).mean())
        if best is None or error < best[0]:
            best = error, penalty
    assert best is not None
    coefficients = a.T @ (u @ (along / (values + best[1])[:, None]))
    return Ridge(coefficients, middle - center @ coefficients, best[1], best[0])
