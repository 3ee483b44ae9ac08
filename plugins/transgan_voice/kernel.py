"""Kernel ridge regression between frames of two speakers: what an affine map leaves to be explained."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transgan_voice.matching import stretches
from transgan_voice.warp import Array

#: Bumps that a map is a sum of, beside its affine part.
CENTRES = 500
#: Stretches by which their width is chosen.
MEASURED = 2000
#: Of the mean variance of a bump, added to all: pairs of frames that were found by nearness are often wrong.
RIDGE = 1e-3


@dataclass(frozen=True)
class Bumps:
    """Gaussian bumps around some of a speaker's frames with their neighbours: h_k(x) = exp(-|x - c_k|^2 / width).

    As many as CENTRES, chosen at random (Nystrom's method; Williams and Seeger, 2001); the width is the median of
    squared distances.
    """

    centres: Array
    """(K, D)"""
    width: float

    def __call__(self, stretches: Array) -> Array:
        """(F, D) as (F, K)."""
        centres, every = torch.from_numpy(self.centres), torch.from_numpy(stretches)
        found: Array = torch.cat(
            [heights(part.T, centres, self.width).T for part in torch.split(every, MEASURED)]
        ).numpy()
        return found


def bumps_of(recordings: Array) -> Bumps:
    """The bumps of a speaker, by recordings (N, T, B)."""
    places = np.random.default_rng(0).permutation(recordings.shape[0] * recordings.shape[1])
    # Of a speaker who said very little some are there twice.
    centres = stretches(recordings, np.resize(places, CENTRES))
    some = stretches(recordings, places[:MEASURED])
    width = float(np.median(_squares(torch.from_numpy(some).T, torch.from_numpy(centres)).numpy()))
    return Bumps(centres, max(width, 1e-6))


def ridge(bumps: Array, rest: Array) -> tuple[Array, Array]:
    """Weights (B, K) and a constant (B,): rest (F, B) as weights times bumps (F, K), plus the constant."""
    middle = bumps.mean(0)
    centred = bumps - middle
    square = centred.T @ centred / len(bumps)
    square += (RIDGE * np.trace(square) / len(square) + 1e-12) * np.eye(len(square))
    weights: Array = np.linalg.solve(square, centred.T @ (rest - rest.mean(0)) / len(bumps)).T
    return weights, rest.mean(0) - weights @ middle


def heights(stretches: Tensor, centres: Tensor, width: Tensor | float) -> Tensor:
    """(..., D, T) and centres (..., K, D) as (..., K, T)."""
    return torch.exp(-_squares(stretches, centres) / width)


def _squares(stretches: Tensor, centres: Tensor) -> Tensor:
    """Squared distances, of the same shapes."""
    squares = stretches.square().sum(-2, keepdim=True) + centres.square().sum(-1)[..., None]
    return (squares - 2 * centres @ stretches).clamp_min(0)
