"""What `transgan data check` says of a recording: loudness, clipping, silence, and a hash that survives conversion."""

from pathlib import Path

import numpy as np
import pytest
from transgan_voice.audio import Sound
from transgan_voice.media import VoiceMedia, VoiceMediaOptions
from transgan_voice.quality import clipped_share, fingerprint
from transgan_voice.sources import SyntheticVoice, speaker

from transgan.data.similar import MAX_BITS

pytest.importorskip("scipy", reason="the extra 'voice' is not installed")
soundfile = pytest.importorskip("soundfile", reason="the extra 'voice' is not installed")


def voice(index: int, name: str = "low") -> np.ndarray:
    samples = SyntheticVoice(3, index, speaker(name, 1.1))(16_000)
    return 0.5 * samples / np.abs(samples).max()


@pytest.fixture(scope="module")
def media() -> VoiceMedia:
    return VoiceMedia(VoiceMediaOptions(), 64)


def test_faults_of_recordings_are_named(tmp_path: Path, media: VoiceMedia) -> None:
    """The kind: what spoils training without an error: clipping, silence, too little."""
    clean = voice(0)
    files = {
        "clean": clean,
        "clipped": np.clip(8 * clean, -1, 1),
        "silence": np.zeros(16_000),
        "shorter than data.size": clean[4000:9000],
    }
    for remark, samples in files.items():
        soundfile.write(tmp_path / "a.wav", samples, 16_000)
        found = media.describe(media.read(tmp_path / "a.wav"))
        assert list(found.remarks) == ([] if remark == "clean" else [remark])
        assert found.kind == "1 channel, PCM_16"
        assert found.figures["seconds"] == pytest.approx(len(samples) / 16_000)
        assert (found.fingerprint is None) == (remark in ("silence", "shorter than data.size"))
    soundfile.write(tmp_path / "a.wav", np.stack([clean, clean], 1), 44_100, "PCM_24")
    found = media.describe(media.read(tmp_path / "a.wav"))
    assert found.kind == "2 channels, PCM_24" and found.figures["Hz"] == 44_100
    assert found.figures["peak in dB"] == pytest.approx(-6, abs=0.2)


def test_a_loud_sine_is_not_clipped() -> None:
    sine = np.sin(np.arange(16_000) * 0.4).astype(np.float32)
    assert clipped_share(sine) == 0
    assert clipped_share(np.clip(1.5 * sine, -1, 1)) > 0.3
    assert clipped_share(np.clip(1.5 * sine, -1, 1) * 0.5) == 0  # made quieter since: nothing near full scale


def test_the_hash_survives_conversion_and_tells_sentences_apart(tmp_path: Path) -> None:
    sounds = [Sound(voice(i).astype(np.float32), 16_000) for i in range(8)]
    hashes = [fingerprint(sound) for sound in sounds]
    for sound, own in zip(sounds, hashes, strict=True):
        assert own is not None
        changed = [Sound(0.3 * sound.samples, 16_000), sound.resample(44_100), sound.resample(10_000)]
        soundfile.write(tmp_path / "a.ogg", sound.samples, 16_000)
        changed.append(Sound(soundfile.read(tmp_path / "a.ogg", dtype="float32")[0], 16_000))
        assert max((own ^ (fingerprint(each) or 0)).bit_count() for each in changed) <= MAX_BITS
    assert min(((a or 0) ^ (b or 0)).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]) > 2 * MAX_BITS
    assert fingerprint(Sound(sounds[0].samples[:500], 16_000)) is None
