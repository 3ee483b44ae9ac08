"""Closed-form maps between the features of two speakers, fitted to unpaired recordings before training.

They are a baseline that a trained network has to beat, and its initialization: where two vocal tracts differ much,
training from the identity exchanges phones without a sign of it in the losses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np

from transgan.api import Domain
from transgan_voice import audio
from transgan_voice.kernel import RadialBasis, radial_basis, ridge_regression
from transgan_voice.matching import inca, nearest_pairs, with_context
from transgan_voice.warp import Affine, Array, GaussianMixture, cosine_basis, warped_bands, warped_cepstra

MapKind = Literal["none", "mean_variance", "transport", "warp_transport", "matching"]

#: Candidates for the warp, as all-pass constants.
WARPS = np.round(np.arange(-0.20, 0.201, 0.02), 2)
#: Cepstra from which the warp of mel bands is chosen.
WARP_ORDERS = 24
#: Frames from which a warp is chosen, at most: of the target and of the source.
WARP_FRAMES = 8000, 4000
#: Added to all variances before a transport, relative to the mean variance: covariances of many bands need it.
REGULARIZATION = 0.5
#: Training recordings that are used, at most; more of a large corpus do not change the maps.
MAX_RECORDINGS = 640
#: Recordings from which the covariance of a mapped speaker is estimated.
COVARIANCE_RECORDINGS = 40


@dataclass(frozen=True)
class VoiceMap:
    """A map from one speaker's normalized frames to another's: y = W x + s, plus radial basis functions of x."""

    matrix: Array
    """(B, B)"""
    shift: Array
    """(B,)"""
    basis: RadialBasis | None = None
    """Radial basis functions of a frame with its context; None for an affine map."""
    weights: Array | None = None
    """(B, K) weights of the radial basis functions."""

    def __call__(self, frames: Array) -> Array:
        """Return mapped frames (N, T, B) of frames (N, T, B)."""
        mapped: Array = frames @ self.matrix.T + self.shift
        if self.basis is None or self.weights is None:
            return mapped
        contexts = with_context(frames, np.arange(mapped.shape[0] * mapped.shape[1]))
        mapped += (self.basis(contexts) @ self.weights.T).reshape(mapped.shape)
        return mapped

    def then(self, affine: Affine) -> "VoiceMap":
        """Return this map followed by an affine one."""
        matrix, shift = affine
        weights = None if self.weights is None else matrix @ self.weights
        return replace(self, matrix=matrix @ self.matrix, shift=matrix @ self.shift + shift, weights=weights)


def monge(source: Array, target: Array) -> Array:
    """Return the optimal transport map W between two centred Gaussians (Olkin and Pukelsheim, 1982).

    W = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2 is symmetric, and W S W = T; the covariances S and T are (D, D), positive
    definite.
    """
    root, inverse_root = _power(source, 0.5), _power(source, -0.5)
    matrix: Array = inverse_root @ _power(root @ target @ root, 0.5) @ inverse_root
    return matrix


def _power(symmetric: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(0.5 * (symmetric + symmetric.T))
    smallest = values.max() * 1e-10
    power: Array = vectors * np.maximum(values, smallest) ** exponent @ vectors.T
    return power


def transport(source: Array, target: Array, regularization: float = 0.0) -> Affine:
    """Return the affine map (W, s), y = W x + s, that gives `source` (F, D) the mean and covariance of `target` (G, D).

    Args:
        regularization: added to all variances, relative to the mean variance, so that directions of little variance are
            hardly stretched.
    """

    def covariance(x: Array) -> Array:
        estimate = np.atleast_2d(np.cov(x.T))
        regularized: Array = estimate + regularization * np.trace(estimate) / len(estimate) * np.eye(len(estimate))
        return regularized

    matrix = monge(covariance(source), covariance(target))
    return matrix, target.mean(0) - matrix @ source.mean(0)


def choose_warp(source: Array, target: Array) -> float:
    """Return the all-pass constant of the vocal-tract-length warp from source to target speaker, by maximum likelihood.

    The warped cepstra of the source (F, D) are evaluated under a Gaussian mixture of the target's (G, D), both centred;
    rows are c_1 .. c_D. The term log|det M| is part of the likelihood of M x: without it, maps that shrink would win.
    """
    rng = np.random.default_rng(0)
    target, source = (
        x[rng.permutation(len(x))[:count]] for x, count in zip((target, source), WARP_FRAMES, strict=True)
    )
    mixture = GaussianMixture(target - target.mean(0))
    orders = source.shape[1]
    scores = []
    for alpha in WARPS:
        matrix = warped_cepstra(orders, orders, alpha)[1:, 1:]
        warped = (source - source.mean(0)) @ matrix.T
        scores.append(mixture.log_likelihood(warped) + np.linalg.slogdet(matrix)[1])
    return float(WARPS[int(np.argmax(scores))]) + 0.0


def affine_map(
    source: Array,
    target: Array,
    scales: tuple[Array, Array],
    features: str,
    kind: MapKind,
    regularization: float = REGULARIZATION,
) -> Affine:
    """Return the affine map from the source speaker's normalized frames (F, B) to the target's (G, B).

    Args:
        scales: for either speaker (B,), the factor from normalized values to cepstra or log amplitudes.
        features: `"cepstra"` (c_1 .. c_B) or `"bands"` (log amplitudes of equal bands of a mel axis).
        kind: for `"matching"` the result is that of `"warp_transport"`, from which `matching_map` continues.
        regularization: see `transport`.
    """
    bands = source.shape[1]
    if kind in ("none", "mean_variance"):
        return np.eye(bands), np.zeros(bands)
    matrix = np.eye(bands)
    if kind in ("warp_transport", "matching"):
        basis = np.eye(bands) if features == "cepstra" else cosine_basis(bands, min(WARP_ORDERS, bands - 1))[1:]
        alpha = choose_warp(source * scales[0] @ basis.T, target * scales[1] @ basis.T)
        warp = warped_cepstra(bands, bands, alpha)[1:, 1:] if features == "cepstra" else warped_bands(bands, alpha)
        matrix = warp * scales[0] / scales[1][:, None]
    transported, shift = transport(source @ matrix.T, target, regularization)
    return transported @ matrix, shift


def inverse(affine: Affine, source: Array, noise: float = 1e-3) -> Affine:
    """Return a regularized inverse of an affine map: the best linear estimate of x from y = W x + s plus noise.

    A warp removes the finest detail of some bands from the spectrum; the exact inverse would amplify noise there. Where
    W is well conditioned, the result is close to the inverse.

    Args:
        source: (F, D) frames x.
        noise: variance of the noise, relative to the mean variance of y.
    """
    matrix, shift = affine
    cross_covariance = np.atleast_2d(np.cov(source.T)) @ matrix.T
    covariance = matrix @ cross_covariance
    covariance += noise * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    estimator = np.linalg.solve(covariance, cross_covariance.T).T
    return estimator, source.mean(0) - estimator @ (matrix @ source.mean(0) + shift)


def maps_of(
    domains: Mapping[str, Domain], names: Sequence[str], pairs: Iterable[tuple[str, str]], kind: MapKind
) -> dict[tuple[str, str], VoiceMap]:
    """Return the maps of ordered pairs (source, target) of different speakers.

    An affine map is fitted from the speaker who comes first in `names` to the other, and inverted for the opposite
    direction. For the kind `matching`, INCA then improves either direction separately.
    """
    wanted = {pair for pair in pairs if pair[0] != pair[1]}
    maps: dict[tuple[str, str], VoiceMap] = {}
    training: dict[str, Array] = {}
    for first, second in sorted({tuple(sorted(pair, key=list(names).index)) for pair in wanted}):
        for name in (first, second):
            if name not in training:
                training[name] = training_frames(domains[name])
        active = {name: active_frames(training[name], domains[name]) for name in (first, second)}
        media: Any = domains[first].media
        scales = {name: media.normalization(name).std.double().numpy() for name in (first, second)}
        forward = affine_map(active[first], active[second], (scales[first], scales[second]), media.kind, kind)
        backward = inverse(forward, active[first])
        for (a, b), affine in {(first, second): forward, (second, first): backward}.items():
            if (a, b) in wanted:
                if kind == "matching":
                    maps[a, b] = matching_map(training[a], training[b], scales[b], affine, domains[b])
                else:
                    maps[a, b] = VoiceMap(*affine)
    return maps


def matching_map(source: Array, target: Array, scale: Array, affine: Affine, speaker: Domain) -> VoiceMap:
    """Return a nonlinear map, fitted to pairs of nearest frames.

    First INCA improves the affine map; then kernel ridge regression predicts, from newly searched pairs, the residual
    of the affine map. Regression shrinks the variance, and wrong neighbours are found for shrunken frames; so either is
    followed by a transport to the target's covariance.

    Args:
        source, target: (N, T, B) and (M, T, B) normalized frames of N and M recordings.
        scale, affine: as for `inca`.
        speaker: the target.
    """

    def restore_variance(found: VoiceMap) -> VoiceMap:
        mapped = active_frames(found(source[:COVARIANCE_RECORDINGS]), speaker)
        return found.then(transport(mapped, active_frames(target, speaker), REGULARIZATION))

    linear = VoiceMap(*inca(source, target, scale, affine))
    a, b = nearest_pairs(restore_variance(linear)(source), target, scale, np.random.default_rng(1), factor=2)
    residual = target.reshape(-1, target.shape[-1])[b] - linear(source).reshape(-1, source.shape[-1])[a]
    basis = radial_basis(source)
    weights, constant = ridge_regression(basis(with_context(source, a)), residual)
    return restore_variance(VoiceMap(linear.matrix, linear.shift + constant, basis, weights))


def training_frames(domain: Domain) -> Array:
    """Return normalized frames (N, T, B) of at most MAX_RECORDINGS training recordings: the excerpts of the media."""
    batches = islice(domain.batches(False, 64), MAX_RECORDINGS // 64)
    frames = [x.cpu().double().transpose(1, 2).numpy() for _, x in batches]
    return np.concatenate(frames)


def active_frames(frames: Array, domain: Domain) -> Array:
    """Return the active frames (F, B) of frames (N, T, B); all of them for cepstra, which lack the level."""
    media: Any = domain.media
    flat: Array = frames.reshape(-1, frames.shape[-1])
    if media.kind == "bands":
        statistics = media.normalization(domain.name)
        bands = flat * statistics.std.double().numpy() + statistics.mean.double().numpy()
        flat = flat[audio.active(media.extractor.levels(bands))]
    return flat
