"""Reading and writing recordings: valid files are read exactly, damaged ones are rejected with a one-line error."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="resampling needs scipy")

import soundfile
from transgan_voice import audio
from transgan_voice.audio import TARGET_RMS, Sound, levels, loudness, read_sound, to_sound, trim, write_sound

from transgan.api import DataError, DiskError


def tone(hertz: float = 440.0, rate: int = 16_000, seconds: float = 0.5, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def error_of(path: Path) -> str:
    """Return the error of reading a file, without the path."""
    with pytest.raises(DataError) as raised:
        read_sound(path)
    line = str(raised.value)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_16", 4e-5),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_U8", 1e-2),
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 0.0),
        ("a.flac", "PCM_24", 1e-6),
        ("a.ogg", "VORBIS", 0.05),
    ],
)
def test_every_format_and_rate_is_read_as_written(
    tmp_path: Path, name: str, subtype: str, error: float, rate: int
) -> None:
    written = tone(rate=rate)
    soundfile.write(str(tmp_path / name), written, rate, subtype=subtype)
    read = read_sound(tmp_path / name)
    assert read.rate == rate and read.samples.dtype == np.float32
    assert read.samples.shape == written.shape
    assert np.abs(read.samples - written).max() <= error


def test_several_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(str(tmp_path / "a.wav"), np.stack([tone(), np.zeros_like(tone())], 1), 16_000, subtype="FLOAT")
    assert np.abs(read_sound(tmp_path / "a.wav").samples - tone() / 2).max() < 1e-7


def wav(path: Path, frames: int = 100, channels: int = 1, rate: int = 16_000, size: int | None = None) -> Path:
    """Write a 16-bit wav file of zeros; `size` is the length of its data in the header, by default the true one."""
    data = bytes(2 * channels * frames)
    size = len(data) if size is None else size
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", size) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def test_damaged_and_unsupported_files_are_rejected(tmp_path: Path) -> None:
    assert error_of(wav(tmp_path / "a.wav", size=1_000_000)) == "truncated: holds 200 of 1,000,000 bytes of audio data"
    assert error_of(wav(tmp_path / "a.wav", frames=0)) == "a recording of 0 samples"
    assert error_of(wav(tmp_path / "a.wav", channels=64)) == "64 channels; expected at most 8"
    assert error_of(wav(tmp_path / "a.wav", rate=1)) == "sample rate of 1 Hz; expected 4,000 to 384,000 Hz"
    assert error_of(tmp_path) == "cannot be read: Is a directory"
    assert error_of(tmp_path / "none.wav") == "cannot be read: No such file or directory"
    assert len(read_sound(wav(tmp_path / "a.wav", size=0xFFFFFFFF)).samples) == 100  # as a streaming writer leaves it
    for content in (
        b"",
        b"RIFF",
        b"no sound",
        b"RIFF\0\0\0\0WAVE" + bytes(50),
        b"fLaC" + bytes(60),
        b"OggS" + bytes(60),
    ):
        (tmp_path / "b.wav").write_bytes(content)
        assert error_of(tmp_path / "b.wav").startswith("not a recording" if content else "an empty file")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_samples_that_are_not_finite_or_out_of_range_are_rejected(tmp_path: Path, bad: float) -> None:
    samples = tone()
    samples[7] = bad
    soundfile.write(str(tmp_path / "a.wav"), samples, 16_000, subtype="FLOAT")
    line = error_of(tmp_path / "a.wav")
    assert "not finite" in line if bad != 1e30 else line == "samples up to 1e+30; expected -1 to 1"


def test_a_flac_shorter_than_its_header_says_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(str(path), tone(seconds=2.0), 16_000)
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", 2**31)  # the low 32 bits of STREAMINFO's 36 of samples
    path.write_bytes(data)
    assert error_of(path)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_a_file_truncated_anywhere_is_read_or_rejected_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(str(path), tone(), 16_000)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 29)):
        path.write_bytes(whole[:length])
        if name == "a.wav":
            error_of(path)
        else:
            try:
                assert len(read_sound(path).samples) <= 8000
            except DataError as error:
                assert "\n" not in str(error)


def test_a_too_long_file_is_rejected_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_VALUES", 5_000)
    assert error_of(wav(tmp_path / "a.wav", frames=6_000)).startswith("too long")


def test_written_files_have_16_bits_and_do_not_clip(tmp_path: Path) -> None:
    loud = Sound(4 * tone(), 16_000)
    loud.save(tmp_path / "deep/er/a.wav")
    info = soundfile.info(str(tmp_path / "deep/er/a.wav"))
    assert (info.subtype, info.channels, info.frames) == ("PCM_16", 1, 8000)
    back = read_sound(tmp_path / "deep/er/a.wav").samples
    assert np.abs(back - tone() * 1.998).max() < 1e-4  # scaled down as a whole
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match=r"file/a\.wav: cannot be written: "):
        write_sound(loud, tmp_path / "file/a.wav")
    with pytest.raises(DiskError, match=r"a\.xyz: cannot be written: "):
        write_sound(loud, tmp_path / "a.xyz")


@pytest.mark.parametrize(("rate", "to"), [(8_000, 16_000), (44_100, 16_000), (16_000, 22_050)])
def test_resampling_preserves_a_tone(rate: int, to: int) -> None:
    resampled = Sound(tone(rate=rate), rate).resample(to)
    assert resampled.rate == to and len(resampled.samples) == -(-len(tone(rate=rate)) * to // rate)
    inner = slice(len(resampled.samples) // 4, -len(resampled.samples) // 4)
    assert np.abs(resampled.samples[inner] - tone(rate=to)[: len(resampled.samples)][inner]).max() < 0.005


def test_loudness_ignores_silence_and_trim_removes_it() -> None:
    silence = np.zeros(16_000, np.float32)
    speech = Sound(np.concatenate([silence, tone(amplitude=0.5), silence]), 16_000)
    assert loudness(speech) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)  # of the tone alone
    cut = trim(speech)
    assert 8_000 <= len(cut.samples) <= 8_000 + 4 * 3 * 320
    assert loudness(cut) == pytest.approx(loudness(speech), rel=1e-3)
    assert loudness(Sound(silence, 16_000)) == 0.0
    assert np.array_equal(trim(Sound(silence, 16_000)).samples, silence)
    assert levels(tone(amplitude=1.0), 16_000)[3] == pytest.approx(10 * np.log10(0.5), abs=0.2)
    assert 20 * np.log10(TARGET_RMS) == pytest.approx(-24, abs=0.1)


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 2)), np.zeros(0), np.array(["a"]), np.zeros(3, complex)])
def test_arrays_of_wrong_shape_or_type_are_rejected(bad: Any) -> None:
    with pytest.raises(DataError, match="expected samples as numbers"):
        to_sound(bad, 16_000, "it")
    assert to_sound(np.array([-32768, 16384], np.int16), 16_000, "it").samples.tolist() == [-1.0, 0.5]
