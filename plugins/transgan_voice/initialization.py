"""Closed-form maps between the features of two speakers, fitted to unpaired recordings before training.

They are a baseline that a trained network has to beat, and its initialization: where two vocal tracts differ much,
training from the identity exchanges phones without a sign of it in the losses.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from transgan.api import DataError, Domain
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
#: Frames of a piece of a recording, and pieces of a speaker that maps are fitted to, at most: 8.5 minutes with mel, 5.3
#: with WORLD.
PIECE, MAX_PIECES = 128, 500
#: Pieces from which the covariance of a mapped speaker is estimated.
COVARIANCE_PIECES = 100
#: Fits that are kept for further generators and metrics of the process.
KEPT_FITS = 32


@dataclass(frozen=True)
class Speech:
    """Pieces of a speaker's recordings, all of the same length."""

    frames: Array
    """(N, T, B) float64, normalized."""
    active: Array
    """(N, T) bool: which frames are not silence; frames beyond the end of a recording are not."""

    @property
    def active_frames(self) -> Array:
        """(F, B) the active frames."""
        frames: Array = self.frames[self.active]
        return frames

    @cached_property
    def digest(self) -> bytes:
        """A hash of the frames."""
        return blake2b(np.ascontiguousarray(self.frames).tobytes() + self.active.tobytes(), digest_size=16).digest()


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
    direction. For the kind `matching`, INCA then improves either direction separately. A fit to the same frames is not
    repeated within a process.
    """
    wanted = {pair for pair in pairs if pair[0] != pair[1]}
    speech = {name: training_speech(domains[name]) for name in sorted({name for pair in wanted for name in pair})}
    scales = {name: domains[name].media.normalization(name).std.double().numpy() for name in speech}  # type: ignore[attr-defined]
    maps: dict[tuple[str, str], VoiceMap] = {}
    for a, b in sorted(wanted):
        ends = sorted((a, b), key=list(names).index)
        features = domains[a].media.kind  # type: ignore[attr-defined]
        both = [(speech[name], scales[name]) for name in ends]
        key = (features, *(part for each, scale in both for part in (each.digest, scale.tobytes())))
        maps[a, b] = _fitted((kind, a == ends[0], *key), partial(_fit, kind, features, both, key, a == ends[0]))
    return maps


def _fit(kind: MapKind, features: str, both: Sequence[tuple[Speech, Array]], key: Any, forward: bool) -> VoiceMap:
    """Return the map from the first of two speakers to the second or, unless `forward`, from the second to the first.

    Args:
        both: the speech of both, and the factors from their normalized values to cepstra or log amplitudes.
        key: what both are known by.
    """
    (first, first_scale), (second, second_scale) = both
    affine_kind: MapKind = "warp_transport" if kind == "matching" else kind
    fit = partial(
        affine_map, first.active_frames, second.active_frames, (first_scale, second_scale), features, affine_kind
    )
    affine: Affine = _fitted((affine_kind, *key), fit)
    if not forward:
        affine = inverse(affine, first.active_frames)
    if kind != "matching":
        return VoiceMap(*affine)
    return (
        matching_map(first, second, second_scale, affine)
        if forward
        else matching_map(second, first, first_scale, affine)
    )


@dataclass(frozen=True)
class Starts:
    """The maps of all pairs of speakers: direct ones between two, else by way of one of them, the hub.

    So there are as many maps as speakers in either stage, and not as many as pairs.
    """

    hub: str
    stages: tuple[Mapping[str, VoiceMap], ...]
    """Of two speakers, the map of either to the other. Of more, of each but the hub its map to the hub, and the hub's
    to it."""

    def __call__(self, frames: Array, source: str, target: str) -> Array:
        """Return frames (N, T, B) of a source speaker, mapped to those of another one."""
        if len(self.stages) == 1:
            return self.stages[0][source](frames)
        to_hub, from_hub = self.stages
        common = frames if source == self.hub else to_hub[source](frames)
        return common if target == self.hub else from_hub[target](common)


def starts_of(
    domains: Mapping[str, Domain], names: Sequence[str], pairs: Iterable[tuple[str, str]], kind: MapKind
) -> Starts:
    """Return what generators for these speakers start from, for the ordered pairs (source, target).

    Args:
        names: all speakers that a generator has. Of three and more the hub is the one whose mean frame is nearest to
            those of the others.
    """
    wanted = {pair for pair in pairs if pair[0] != pair[1]}
    if len(names) < 3:
        return Starts(names[0], ({a: found for (a, _), found in maps_of(domains, names, wanted, kind).items()},))
    means = np.stack([domains[name].media.normalization(name).mean.double().numpy() for name in names])  # type: ignore[attr-defined]
    hub = names[int(np.linalg.norm(means[:, None] - means, axis=-1).sum(1).argmin())]
    legs = {leg for a, b in wanted for leg in ((a, hub), (hub, b))}
    maps = maps_of(domains, names, legs, kind)
    return Starts(
        hub, ({a: m for (a, b), m in maps.items() if b == hub}, {b: m for (a, b), m in maps.items() if a == hub})
    )


_fits: OrderedDict[Any, Any] = OrderedDict()


def _fitted(key: Any, fit: Callable[[], Any]) -> Any:
    """Return what a fit returned for a key, the newest of them without fitting again."""
    if key not in _fits:
        _fits[key] = fit()
        while len(_fits) > KEPT_FITS:
            _fits.popitem(last=False)
    _fits.move_to_end(key)
    return _fits[key]


def matching_map(source: Speech, target: Speech, scale: Array, affine: Affine) -> VoiceMap:
    """Return a nonlinear map, fitted to pairs of nearest frames.

    First INCA improves the affine map; then kernel ridge regression predicts, from newly searched pairs, the residual
    of the affine map. Regression shrinks the variance, and wrong neighbours are found for shrunken frames; so either is
    followed by a transport to the target's covariance.

    Args:
        scale, affine: as for `inca`.
    """

    def restore_variance(found: VoiceMap) -> VoiceMap:
        some = slice(COVARIANCE_PIECES)
        mapped = found(source.frames[some])[source.active[some]]
        return found.then(transport(mapped, target.active_frames, REGULARIZATION))

    x, y, active = source.frames, target.frames, (source.active, target.active)
    linear = VoiceMap(*inca(x, y, scale, affine, active))
    a, b = nearest_pairs(restore_variance(linear)(x), y, scale, np.random.default_rng(1), 2, active)
    residual = y.reshape(-1, y.shape[-1])[b] - linear(x).reshape(-1, x.shape[-1])[a]
    basis = radial_basis(x, source.active)
    weights, constant = ridge_regression(basis(with_context(x, a)), residual)
    return restore_variance(VoiceMap(linear.matrix, linear.shift + constant, basis, weights))


def training_speech(domain: Domain) -> Speech:
    """Return pieces of a speaker's training recordings: of each recording as many, evenly over it; no silence.

    All of a corpus of up to MAX_PIECES pieces; of a larger one that many, of recordings in random order.

    Raises:
        DataError: there are no two frames that differ: they have no covariance, and hence no map.
    """
    media: Any = domain.media
    count = len(domain.samples)
    order = np.random.default_rng(0).permutation(count)
    share = -(-MAX_PIECES // count)
    frames: list[Array] = []
    active: list[Array] = []
    for first in range(0, count, 32):
        for decoded in domain.decoded(False, order[first : first + 32].tolist()):
            pieces = -(-len(decoded) // PIECE)
            for piece in np.unique(np.linspace(0, pieces - 1, min(share, pieces)).round().astype(int)):
                part = np.asarray(decoded[piece * PIECE : (piece + 1) * PIECE])
                padding = (0, PIECE - len(part))
                is_active = np.pad(media.active_frames(part), padding)
                if is_active.any():
                    frames.append(np.pad(media.normalized_frames(part, domain.name), (padding, (0, 0)), "edge"))
                    active.append(is_active)
        if len(frames) >= MAX_PIECES:
            break
    if frames:
        speech = Speech(np.stack(frames[:MAX_PIECES]).astype(np.float64), np.stack(active[:MAX_PIECES]))
        if np.ptp(speech.active_frames, 0).any():
            return speech
    what = "its training recordings hold too few frames of speech for a map between voices, which needs two that differ"
    raise DataError(f"domain '{domain.name}': {what}; add recordings, or longer ones")
