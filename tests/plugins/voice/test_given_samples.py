"""Recordings as objects: samples with their rate come back as they were given."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("scipy", reason="resampling needs scipy")

from transgan_voice.media import VoiceMedia, VoiceMediaOptions

from transgan.api import DataError

SAMPLES = (np.sin(np.arange(8000) * 0.05) * 0.5).astype(np.float32)
STEREO = np.stack([SAMPLES, SAMPLES / 2], 1)


@pytest.fixture(scope="module")
def media() -> VoiceMedia:
    return VoiceMedia(VoiceMediaOptions(bands=32), 16)


@pytest.mark.parametrize(
    "given",
    [
        (SAMPLES, 22_050),
        (SAMPLES.astype(np.float64), np.int64(8000)),
        (np.rint(SAMPLES * 32767).astype(np.int16), 48_000),
        (np.rint(SAMPLES * 127 + 128).astype(np.uint8), 8000),
        (STEREO, 44_100),
        (np.rint(STEREO * 2**31 * 0.99).astype(np.int32), 44_100),
        (torch.from_numpy(STEREO.T), 44_100),
        (torch.from_numpy(SAMPLES), 16_000),
        SAMPLES,
        torch.from_numpy(STEREO.T),
    ],
)
def test_samples_that_nothing_changes_are_the_same(media: VoiceMedia, given: Any) -> None:
    assert media.is_item(given)
    back = media.export_like(media.read(given), given)
    if isinstance(given, tuple):
        assert back[1] == given[1]
        given, back = given[0], back[0]
    assert type(back) is type(given) and back.dtype == given.dtype and back.shape == given.shape
    one, two = (np.asarray(each).astype(float) for each in (given, back))
    assert np.abs(one - two).max() <= (1e-6 if np.asarray(given).dtype.kind == "f" else np.ptp(one) * 1e-6 + 1)


def test_what_would_clip_as_integers_is_scaled_down(media: VoiceMedia) -> None:
    loud = media.read((SAMPLES * 4, 16_000))
    back = media.export_like(loud, np.zeros(1, np.int16))
    assert back.max() == 32767 and np.corrcoef(back, SAMPLES)[0, 1] > 0.99999


def test_a_list_holds_several(media: VoiceMedia) -> None:
    assert not media.is_item([(SAMPLES, 16_000)]) and not media.is_item(((SAMPLES, 16_000), (SAMPLES, 16_000)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((SAMPLES, 10), "sample rate of 10 Hz; expected 4,000 to 384,000 Hz"),
        ((np.zeros((2, 2, 2)), 16_000), "expected samples as numbers"),
        ((16_000, SAMPLES), "found tuple; expected a path, a pair"),
        (3, "found int; expected a path"),
    ],
)
def test_what_cannot_be_read_is_said(media: VoiceMedia, given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        media.read(given)
