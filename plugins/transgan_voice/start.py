"""Where a voice's translation starts: maps between the features of two speakers who said different things.

Closed form, from unpaired frames, in seconds. They are what a trained network has to beat, and a start for it: from the
identity, training fails without a sign in its losses where two vocal tracts differ much.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np

from transgan.api import Domain
from transgan_voice.kernel import Bumps, bumps_of, ridge
from transgan_voice.matching import like, matched, stretches
from transgan_voice.warp import Affine, Array, Mixture, cosine_basis, warped_bands, warped_cepstra

StartKind = Literal["none", "mean_variance", "transport", "warp_transport", "matching"]

#: Warps that are tried, as all-pass constants.
WARPS = np.round(np.arange(-0.20, 0.201, 0.02), 2)
#: Cepstra by which a warp of mel bands is chosen.
ORDERS = 24
#: Frames that a warp is chosen by, of the target and of the source.
MOST = 8000, 4000
#: Of the mean variance, added to all variances before a transport: estimates of many bands need it.
SHARE = 0.5
#: Recordings that are looked at.
HEARD = 640
#: Recordings by which the variances of a map with bumps are found.
SEEN = 40


@dataclass(frozen=True)
class VoiceMap:
    """From one speaker's normalised frames to another's: y = W x + s, plus what bumps over x and its neighbours add."""

    matrix: Array
    """(B, B)"""
    shift: Array
    """(B,)"""
    bumps: Bumps | None = None
    weights: Array | None = None
    """(B, K): of the bumps."""

    def __call__(self, recordings: Array) -> Array:
        """(N, T, B) as (N, T, B)."""
        made: Array = recordings @ self.matrix.T + self.shift
        if self.bumps is None or self.weights is None:
            return made
        every = stretches(recordings, np.arange(made.shape[0] * made.shape[1]))
        made += (self.bumps(every) @ self.weights.T).reshape(made.shape)
        return made

    def then(self, affine: Affine) -> "VoiceMap":
        """This map, and then an affine one."""
        matrix, shift = affine
        weights = None if self.weights is None else matrix @ self.weights
        return replace(self, matrix=matrix @ self.matrix, shift=matrix @ self.shift + shift, weights=weights)


def monge(source: Array, target: Array) -> Array:
    """The optimal transport between two centred Gaussians (Olkin and Pukelsheim, 1982): symmetric, W S W = T.

    W = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2; S and T are (D, D), positive definite.
    """
    root, inverse = _power(source, 0.5), _power(source, -0.5)
    matrix: Array = inverse @ _power(root @ target @ root, 0.5) @ inverse
    return matrix


def _power(symmetric: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(0.5 * (symmetric + symmetric.T))
    least = values.max() * 1e-10
    power: Array = vectors * np.maximum(values, least) ** exponent @ vectors.T
    return power


def transport(source: Array, target: Array, share: float = 0.0) -> Affine:
    """The affine map (W, s), y = W x + s, that gives `source` (F, D) the mean and the covariance of `target` (G, D).

    Args:
        share: of the mean variance, added to all variances, so that directions with little are hardly stretched.
    """

    def covariance(x: Array) -> Array:
        found = np.atleast_2d(np.cov(x.T))
        widened: Array = found + share * np.trace(found) / len(found) * np.eye(len(found))
        return widened

    matrix = monge(covariance(source), covariance(target))
    return matrix, target.mean(0) - matrix @ source.mean(0)


def choose_warp(source: Array, target: Array) -> float:
    """The all-pass constant that makes centred cepstra (F, D) of one speaker most likely under a mixture of another's.

    With the term log|det M|, without which the likelihood would reward whatever shrinks. Rows are c_1 .. c_D.
    """
    rng = np.random.default_rng(0)
    target, source = (x[rng.permutation(len(x))[:most]] for x, most in zip((target, source), MOST, strict=True))
    mixture = Mixture(target - target.mean(0))
    orders = source.shape[1]
    scores = []
    for alpha in WARPS:
        matrix = warped_cepstra(orders, orders, alpha)[1:, 1:]
        warped = (source - source.mean(0)) @ matrix.T
        scores.append(mixture.log_likelihood(warped) + np.linalg.slogdet(matrix)[1])
    return float(WARPS[int(np.argmax(scores))]) + 0.0


def affine_map(
    source: Array, target: Array, scales: tuple[Array, Array], features: str, kind: StartKind, share: float = SHARE
) -> Affine:
    """The map from normalised frames (F, B) of one speaker to those of another; for `matching`, what it goes on from.

    Args:
        scales: what each speaker's normalised values are multiplied by to be cepstra or log amplitudes again.
        features: `"cepstra"` (c_1 .. c_B) or `"bands"` (log amplitudes at equal steps of a mel axis).
        share: of the mean variance, added to all before a transport.
    """
    bands = source.shape[1]
    if kind in ("none", "mean_variance"):
        return np.eye(bands), np.zeros(bands)
    matrix = np.eye(bands)
    if kind in ("warp_transport", "matching"):
        basis = np.eye(bands) if features == "cepstra" else cosine_basis(bands, min(ORDERS, bands - 1))[1:]
        alpha = choose_warp(source * scales[0] @ basis.T, target * scales[1] @ basis.T)
        warp = warped_cepstra(bands, bands, alpha)[1:, 1:] if features == "cepstra" else warped_bands(bands, alpha)
        matrix = warp * scales[0] / scales[1][:, None]
    moved, shift = transport(source @ matrix.T, target, share)
    return moved @ matrix, shift


def inverse(affine: Affine, source: Array, share: float = 1e-3) -> Affine:
    """The map back, as far as it can be told: the best linear guess of x from y = W x + s with a little noise.

    A warp squeezes the finest detail of some bands out of the spectrum; dividing by what is left of it would blow noise
    up. Where nothing is lost it is the inverse.

    Args:
        source: (F, D) frames x.
        share: variance of the noise, of the mean variance of y.
    """
    matrix, shift = affine
    spread = np.atleast_2d(np.cov(source.T)) @ matrix.T
    seen = matrix @ spread
    seen += share * np.trace(seen) / len(seen) * np.eye(len(seen))
    back = np.linalg.solve(seen, spread.T).T
    return back, source.mean(0) - back @ (matrix @ source.mean(0) + shift)


def maps_of(
    domains: Mapping[str, Domain], names: Sequence[str], pairs: Iterable[tuple[str, str]], kind: StartKind
) -> dict[tuple[str, str], VoiceMap]:
    """The maps between pairs of speakers; found for the one first in `names`, inverted for the other.

    Of the kind `matching` each of the two goes on from there by itself.
    """
    wanted = {pair for pair in pairs if pair[0] != pair[1]}
    found: dict[tuple[str, str], VoiceMap] = {}
    spoken: dict[str, Array] = {}
    for first, second in sorted({tuple(sorted(pair, key=list(names).index)) for pair in wanted}):
        for name in (first, second):
            if name not in spoken:
                spoken[name] = recordings(domains[name])
        frames = {name: active_frames(spoken[name], domains[name]) for name in (first, second)}
        media: Any = domains[first].media
        scales = {name: media.statistics(name).std.double().numpy() for name in (first, second)}
        there = affine_map(frames[first], frames[second], (scales[first], scales[second]), media.kind, kind)
        for (a, b), affine in {(first, second): there, (second, first): inverse(there, frames[first])}.items():
            if (a, b) in wanted:
                if kind == "matching":
                    found[a, b] = matching_map(spoken[a], spoken[b], scales[b], affine, domains[b])
                else:
                    found[a, b] = VoiceMap(*affine)
    return found


def matching_map(source: Array, target: Array, scale: Array, affine: Affine, speaker: Domain) -> VoiceMap:
    """From an affine map to one that bends: by regression on pairs of frames that are near each other.

    First affine, in rounds (`matched`); then, on pairs found once more, bumps for what is left. Regression makes what
    it is not sure of too small, and phones are then taken for each other; so a transport follows either.

    Args:
        source, target: (N, T, B) and (M, T, B) normalised frames, recording by recording.
        scale, affine: as for `matched`.
        speaker: the target.
    """

    def spread(made: VoiceMap) -> VoiceMap:
        mine = active_frames(made(source[:SEEN]), speaker)
        return made.then(transport(mine, active_frames(target, speaker), SHARE))

    straight = VoiceMap(*matched(source, target, scale, affine))
    a, b = like(spread(straight)(source), target, scale, np.random.default_rng(1), often=2)
    rest = target.reshape(-1, target.shape[-1])[b] - straight(source).reshape(-1, source.shape[-1])[a]
    bumps = bumps_of(source)
    weights, constant = ridge(bumps(stretches(source, a)), rest)
    return spread(VoiceMap(straight.matrix, straight.shift + constant, bumps, weights))


def recordings(domain: Domain) -> Array:
    """(N, T, B) normalised frames of a domain's training samples, of each what the media keeps of the middle.

    Of the first HEARD: so much of a voice tells what the whole of a large corpus does.
    """
    batches = islice(domain.batches(False, 64), HEARD // 64)
    parts = [x.double().cpu().transpose(1, 2).numpy() for _, x in batches]
    return np.concatenate(parts)


def active_frames(spoken: Array, domain: Domain) -> Array:
    """(F, B) of those in which somebody speaks, as far as frames tell."""
    media: Any = domain.media
    frames: Array = spoken.reshape(-1, spoken.shape[-1])
    if media.kind == "bands":
        statistics = media.statistics(domain.name)
        raw = frames * statistics.std.double().numpy() + statistics.mean.double().numpy()
        power = np.log10(np.exp(2 * raw).sum(1)) * 10
        frames = frames[power > np.percentile(power, 97) - 35]
    return frames
