"""Log-mel spectrograms against published values and manual computation, and their inversion."""

import numpy as np
import pytest
import torch
from transgan_voice.mel import FLOOR, LogMel, filter_bank, hertz_to_mel, mel_to_hertz


def test_the_mel_scale_is_slaneys() -> None:
    assert np.allclose(hertz_to_mel(np.array([0.0, 500.0, 1000.0, 6400.0])), [0, 7.5, 15, 42])
    # From librosa's documentation of mel_frequencies(40).
    published = {1: 85.317, 11: 938.49, 12: 1024.856, 13: 1119.114, 20: 2071.84, 38: 10096.408, 39: 11025.0}
    found = mel_to_hertz(np.linspace(0, hertz_to_mel(11025.0), 40))
    assert all(found[i] == pytest.approx(hertz, abs=6e-4) for i, hertz in published.items())
    assert np.allclose(mel_to_hertz(hertz_to_mel(np.linspace(0, 8000, 99))), np.linspace(0, 8000, 99))


def test_the_filter_bank_computed_manually() -> None:
    # 0, 5, 10 and 15 mel are 0, 333.3, 666.7 and 1000 Hz; a triangle over 666.7 Hz of area 1 is 0.003 high.
    expected = 0.003 * np.array([[0, 0.75, 0.5, 0, 0], [0, 0, 0.5, 0.75, 0]])
    assert np.allclose(filter_bank(2, 8, 2000), expected)
    bank = filter_bank(128, 1024, 16_000)
    # mel(8000) = 15 + 27 ln 8 / ln 6.4 = 45.24564: edges are 23.38276 Hz apart, band 10 covers 233.83 to 280.59 Hz.
    row = np.zeros(513)
    row[15], row[16], row[17] = 0.0010012, 0.0295790, 0.0273763
    assert np.allclose(bank[10], row, atol=2e-6)
    assert (bank.max(1) > 0).all() and np.allclose(bank[60:].sum(1) * 15.625, 1, atol=0.06)


def test_a_tone_is_in_its_band_with_the_expected_magnitude() -> None:
    mel = LogMel(window=1024)
    hertz = 64 * 15.625  # in the middle of a bin, so that its magnitude is half the window's sum
    x = torch.sin(2 * torch.pi * hertz * torch.arange(8000) / 16_000)
    frames = mel(x)
    assert frames.shape == (8000 // 128 + 1, 128)
    band = int(frames[30].argmax())
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(8000), 130))
    assert edges[band] < hertz < edges[band + 2]
    magnitude = torch.tensor([128.0, 256.0, 128.0])  # of a Hann window: a quarter, a half, a quarter of its sum
    expected = (mel.filters[:, 63:66] @ magnitude).log()
    assert torch.allclose(frames[30][band - 1 : band + 2], expected[band - 1 : band + 2], atol=1e-2)
    assert torch.equal(mel(torch.zeros(500)), torch.full((4, 128), FLOOR).log())


@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 1000, 4096, 5001])
def test_the_stft_is_inverted_exactly(length: int) -> None:
    mel = LogMel()
    x = torch.randn(length, generator=torch.Generator().manual_seed(length))
    spectrum = mel.stft(x)
    assert spectrum.shape == (513, length // 128 + 1)
    assert torch.allclose(mel.istft(spectrum, length), x, atol=1e-4)
    assert mel.griffin_lim(spectrum.abs(), length, iterations=2).shape == (length,)


def test_frames_are_as_short_as_the_window() -> None:
    """A click is in the frames whose centre is within half a window of it, and in no other."""
    mel = LogMel()
    x = torch.zeros(8000)
    x[4000] = 1.0
    samples = (mel(x).exp() > 2 * FLOOR).any(1).nonzero().flatten() * 128
    assert len(samples) == 3 and bool(((samples - 4000).abs() < 200).all())


def test_griffin_lim_converges_with_iterations() -> None:
    mel = LogMel()
    x = torch.randn(6000, generator=torch.Generator().manual_seed(1)).cumsum(0) / 50
    magnitude = mel.stft(x).abs()

    def convergence(iterations: int) -> float:
        """Return the spectral convergence (Sturmel and Daudet, 2011): the relative error of the magnitudes."""
        rebuilt = mel.stft(mel.griffin_lim(magnitude, 6000, iterations=iterations)).abs()
        return float((rebuilt - magnitude).norm() / magnitude.norm())

    errors = [convergence(n) for n in (0, 4, 32)]
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.35
    phase = mel.stft(x) / magnitude.clamp_min(1e-9)
    assert torch.allclose(mel.griffin_lim(magnitude, 6000, phase, 4), x, atol=2e-3)  # the true phase is a fixed point


def test_bands_are_inverted_by_least_squares() -> None:
    mel = LogMel()
    magnitude = mel.filters.T @ torch.rand(
        128, 5, generator=torch.Generator().manual_seed(0)
    )  # in the range of the filters
    assert torch.allclose(mel.magnitude(mel.of_magnitude(magnitude)), magnitude, atol=1e-4)
