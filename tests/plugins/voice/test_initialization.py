"""Closed-form maps between speakers: the frequency transform, warps, transport and their inverse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from transgan_voice import initialization
from transgan_voice.initialization import affine_map, choose_warp, inverse, monge, training_speech, transport
from transgan_voice.warp import GaussianMixture, bilinear, cosine_basis, warped_bands, warped_cepstra

from transgan.api import DataError


def freqt(c: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """Return the frequency transform by the recursion of Tokuda et al. (1994), coefficient by coefficient."""
    g = np.zeros(order + 1)
    for value in c[::-1]:
        d = g.copy()
        g[0] = value + alpha * d[0]
        g[1] = (1 - alpha**2) * d[0] + alpha * d[1]
        for j in range(2, order + 1):
            g[j] = d[j - 1] + alpha * (d[j] - g[j - 1])
    return g


@pytest.mark.parametrize("alpha", [0.41, -0.1, 0.0])
def test_the_frequency_transform_equals_the_published_recursion(alpha: float) -> None:
    c = np.random.default_rng(0).normal(size=40)
    assert np.allclose(warped_cepstra(24, 39, alpha) @ c, freqt(c, 24, alpha), atol=1e-12)


def test_warps_of_cepstra_and_bands_resample_the_spectrum() -> None:
    c = np.exp(-0.3 * np.arange(13)) * np.cos(np.arange(13))
    w = np.linspace(0, np.pi, 50)
    orders = np.arange(13)
    warped = warped_cepstra(60, 12, 0.15) @ c
    assert np.allclose(np.cos(np.outer(bilinear(w, 0.15), np.arange(61))) @ warped, np.cos(np.outer(w, orders)) @ c)
    centres = np.pi * (np.arange(64) + 0.5) / 64
    bands = warped_bands(64, 0.15) @ (np.cos(np.outer(centres, orders)) @ c)
    assert np.allclose(bands, np.cos(np.outer(bilinear(centres, -0.15), orders)) @ c, atol=1e-9)
    assert np.allclose(cosine_basis(64, 12) @ (np.cos(np.outer(centres, orders)) @ c), c)


def test_transport_matches_mean_and_covariance_and_is_symmetric() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6) for _ in range(2))
    matrix, shift = transport(a, b)
    mapped = a @ matrix.T + shift
    assert np.allclose(mapped.mean(0), b.mean(0)) and np.allclose(np.cov(mapped.T), np.cov(b.T))
    assert np.allclose(matrix, matrix.T) and (np.linalg.eigvalsh(matrix) > 0).all()  # hence optimal
    assert np.allclose(monge(np.diag([4.0, 1.0]), np.diag([1.0, 9.0])), np.diag([0.5, 3.0]))


def test_the_inverse_is_exact_where_possible_and_bounded_elsewhere() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(500, 3))
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    back, shift_back = inverse((matrix, shift), a, noise=1e-12)
    assert np.allclose(back @ matrix, np.eye(3), atol=1e-6) and np.allclose(back @ shift + shift_back, 0, atol=1e-6)
    lossy = np.diag([1.0, 1.0, 1e-9])
    assert np.abs(inverse((lossy, shift), a)[0]).max() < 1.1


def speech(rng: np.random.Generator, frames: int = 4000) -> np.ndarray:
    """Return cepstra (F, 16) around twelve cluster means."""
    size = 1.5 / np.arange(1, 17)
    sounds = np.random.default_rng(5).normal(size=(12, 16)) * size
    return sounds[rng.integers(12, size=frames)] + 0.2 * size * rng.normal(size=(frames, 16))


@pytest.mark.parametrize("alpha", [-0.08, 0.0, 0.06])
def test_a_known_warp_is_found_from_different_sentences(alpha: float) -> None:
    rng = np.random.default_rng(1)
    warp = warped_cepstra(16, 16, alpha)[1:, 1:]
    assert choose_warp(speech(rng), speech(rng) @ warp.T + 0.3) == pytest.approx(alpha, abs=0.021)


def test_the_map_of_normalized_frames_warps_them_in_their_original_units() -> None:
    rng = np.random.default_rng(2)
    warp = warped_cepstra(16, 16, 0.08)[1:, 1:]
    a, test = speech(rng), speech(rng)
    b, truth = speech(rng) @ warp.T, test @ warp.T
    scales = a.std(0), b.std(0)
    x, expected = (test - a.mean(0)) / scales[0], (truth - b.mean(0)) / scales[1]

    def error(kind: str) -> float:
        matrix, shift = affine_map((a - a.mean(0)) / scales[0], (b - b.mean(0)) / scales[1], scales, "cepstra", kind)  # type: ignore[arg-type]
        return float(np.abs(x @ matrix.T + shift - expected).mean())

    assert error("warp_transport") < 0.25 * error("mean_variance") and error("warp_transport") < 0.5 * error(
        "transport"
    )


def test_a_mixture_fits_two_separate_gaussians() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-6, 1, (2000, 1)), rng.normal(6, 2, (2000, 1))])
    fitted = GaussianMixture(x, components=2)
    entropy = np.log(2) + 0.5 * np.log(2 * np.pi * np.e) + 0.5 * np.log(2)  # of the mixture, in nats
    assert fitted.log_likelihood(x) == pytest.approx(-entropy, abs=0.05)
    assert sorted(fitted.means[:, 0]) == pytest.approx([-6, 6], abs=0.2)


class Corpus:
    """Recordings whose frames are numbered on; a media for which those of odd recordings are silence from frame 150."""

    name = "anna"

    def __init__(self, lengths: Sequence[int]):
        ends = np.cumsum(lengths)
        self.samples = [
            np.arange(end - length, end, dtype=np.float32)[:, None] for end, length in zip(ends, lengths, strict=True)
        ]
        self.media = self

    def decoded(self, held_out: bool, numbers: Sequence[int]) -> list[np.ndarray]:
        return [np.column_stack([np.arange(len(x)) < 150 if i % 2 else np.ones(len(x)), x])
                for i, x in ((i, self.samples[i]) for i in numbers)]  # fmt: skip

    def active_frames(self, decoded: np.ndarray) -> np.ndarray:
        active: np.ndarray = decoded[:, 0] > 0
        return active

    def normalized_frames(self, decoded: np.ndarray, name: str) -> np.ndarray:
        return decoded[:, 1:]


def test_a_start_sees_every_frame_of_a_small_corpus_but_for_silence() -> None:
    corpus: Any = Corpus([1000, 300, 7, 128])
    speech = training_speech(corpus)
    assert speech.frames.shape == (len(speech.active), initialization.PIECE, 1)
    expected = [*range(1000), *range(1000, 1150), *range(1300, 1307), *range(1307, 1435)]
    assert sorted(speech.active_frames[:, 0]) == expected


def test_a_start_sees_all_parts_of_a_large_corpus_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialization, "MAX_PIECES", 20)
    one: Any = Corpus([100_000])
    seen = training_speech(one).frames[:, 0, 0]
    assert len(seen) == 20 and seen.min() == 0 and seen.max() > 99_000 and np.diff(np.sort(seen)).max() < 6000
    many: Any = Corpus([300] * 100)
    speech = training_speech(many)
    assert len(speech.frames) == 20 and len({int(x) // 300 for x in speech.frames[:, 0, 0]}) == 20


@pytest.mark.parametrize("lengths", [[1], [0], [0, 0, 0]])
def test_a_speaker_without_two_frames_that_differ_is_named(lengths: list[int]) -> None:
    """The covariance of such frames is 0 or, of a single one, undefined."""
    corpus: Any = Corpus(lengths)
    with pytest.raises(DataError, match="domain 'anna': its training recordings hold too few frames of speech"):
        training_speech(corpus)
    same: Any = Corpus([40])
    same.samples[0][:] = 7
    with pytest.raises(DataError, match="needs two that differ"):
        training_speech(same)
    least: Any = Corpus([2])
    assert len(training_speech(least).active_frames) == 2


def test_the_same_speech_is_fitted_once() -> None:
    calls = list[int]()
    assert [initialization._fitted("a key", lambda: calls.append(1) or "a fit") for _ in range(3)] == ["a fit"] * 3
    assert len(calls) == 1
