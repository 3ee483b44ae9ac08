"""Kernel ridge regression between the frames of two speakers, for the residual of an affine map."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transgan_images.ridge import fit_ridge

from transgan_voice.matching import with_context
from transgan_voice.warp import Array

#: Radial basis functions of a map.
CENTRES = 500
#: Frames from which their width is chosen.
WIDTH_FRAMES = 2000
#: Frames that are evaluated at a time.
CHUNK = 2000
#: Ridge penalty relative to the mean variance of a basis function; large, since many of the matched pairs are wrong.
RIDGE = 1e-3


@dataclass(frozen=True)
class RadialBasis:
    """Gaussian radial basis functions of frames with context: h_k(x) = exp(-|x - c_k|^2 / width).

    The centres are CENTRES frames of a speaker, chosen at random (Nystrom's method; Williams and Seeger, 2001); the
    width is the median of the squared distances.
    """

    centres: Array
    """(K, D)"""
    width: float

    def __call__(self, contexts: Array) -> Array:
        """Return the values (F, K) at frames with context (F, D)."""
        centres, every = torch.from_numpy(self.centres), torch.from_numpy(contexts)
        values: Array = torch.cat(
            [gaussians(chunk.T, centres, self.width).T for chunk in torch.split(every, CHUNK)]
        ).numpy()
        return values


def radial_basis(frames: Array, active: Array | None = None) -> RadialBasis:
    """Return the radial basis functions of a speaker, by the frames of the speaker's recordings (N, T, B).

    Args:
        active: (N, T) bool: frames that may be centres; all by default.
    """
    allowed = np.ones(frames.shape[:2], bool) if active is None else active
    order = np.random.default_rng(0).permutation(np.flatnonzero(allowed))
    # `resize` repeats frames where there are fewer than CENTRES.
    centres = with_context(frames, np.resize(order, CENTRES))
    probes = with_context(frames, order[:WIDTH_FRAMES])
    width = float(np.median(_squared_distances(torch.from_numpy(probes).T, torch.from_numpy(centres)).numpy()))
    return RadialBasis(centres, max(width, 1e-6))


def ridge_regression(inputs: Array, outputs: Array) -> tuple[Array, Array]:
    """Return weights (B, K) and a constant (B,) that predict outputs (F, B) from inputs (F, K)."""
    penalty = len(inputs) * (RIDGE * float(inputs.var(0).mean()) + 1e-12)
    model = fit_ridge(torch.from_numpy(inputs), torch.from_numpy(outputs), penalties=(penalty,))
    return model.coefficients.T.numpy(), model.intercept.numpy()


def gaussians(contexts: Tensor, centres: Tensor, width: Tensor | float) -> Tensor:
    """Return the radial basis functions around centres (..., K, D) at frames with context (..., D, T): (..., K, T)."""
    return torch.exp(-_squared_distances(contexts, centres) / width)


def _squared_distances(contexts: Tensor, centres: Tensor) -> Tensor:
    """Return the squared distances (..., K, T), see `gaussians`."""
    squares = contexts.square().sum(-2, keepdim=True) + centres.square().sum(-1)[..., None]
    return (squares - 2 * centres @ contexts).clamp_min(0)
