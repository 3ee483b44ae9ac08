"""Reading and writing recordings: valid files are read exactly, damaged ones are rejected with a one-line error."""

import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="resampling needs scipy")

import soundfile
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


def wav(
    path: Path,
    frames: int = 100,
    channels: int = 1,
    rate: int = 16_000,
    size: int | None = None,
    riff: int | None = None,
    order: str = "<",
    tag: bytes = b"",
    before: bytes = b"",
) -> Path:
    """Write a 16-bit wav file of increasing samples around 0.

    Args:
        size, riff: the lengths of its data and of the file in its header, by default the true ones.
        order: ">" for big endian, RIFX.
        before: a chunk before all others.
    """
    data = (np.arange(channels * frames) - channels * frames // 2).astype(f"{order}i2").tobytes()
    size = len(data) if size is None else size
    head = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    body = b"WAVE" + before + head + struct.pack(f"{order}4sI", b"data", size) + data
    tag = tag or (b"RIFF" if order == "<" else b"RIFX")
    path.write_bytes(tag + struct.pack(f"{order}I", len(body) if riff is None else riff) + body)
    return path


def test_damaged_and_unsupported_files_are_rejected(tmp_path: Path) -> None:
    assert error_of(wav(tmp_path / "a.wav", size=1_000_000)) == "truncated: holds 200 of 1,000,000 bytes of audio data"
    assert error_of(wav(tmp_path / "a.wav", frames=0)) == "a recording of 0 samples"
    assert error_of(wav(tmp_path / "a.wav", channels=64)) == "64 channels; expected at most 8"
    assert error_of(wav(tmp_path / "a.wav", rate=1)) == "sample rate of 1 Hz; expected 4,000 to 384,000 Hz"
    assert error_of(tmp_path) == "cannot be read: Is a directory"
    assert error_of(tmp_path / "none.wav") == "cannot be read: No such file or directory"
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
    expected = "samples that are not finite (NaN or infinity), the first of them after 0.000 s"
    assert line == expected if bad != 1e30 else line == "samples up to 1e+30; expected -1 to 1"


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


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_is_read_whole_or_not_at_all(tmp_path: Path, subtype: str) -> None:
    """Whatever is cut off: all that is missing, as well after a page as within one."""
    path, written = tmp_path / "a.ogg", tone(seconds=8.0, rate=48_000)
    soundfile.write(str(path), written, 48_000, format="OGG", subtype=subtype)
    whole = path.read_bytes()
    pages = [each.start() for each in re.finditer(b"OggS", whole)]
    assert len(pages) > 4
    for length in (*pages[3:], *(start + 30 for start in pages[3:]), len(whole) - 1):
        path.write_bytes(whole[:length])
        assert error_of(path).startswith(("truncated: no page of it is marked", "not a recording"))
    for after in (b"", bytes(100), b"OggS", b"OggS" + bytes(5)):  # what follows the last page is no part of it
        path.write_bytes(whole + after)
        assert len(read_sound(path).samples) == len(written)


def test_an_ogg_of_another_program_is_read(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.ogg"), "w") as file:
        stream = file.add_stream("libopus", rate=48_000)
        for start in range(0, 48_000, 960):
            frame = av.AudioFrame.from_ndarray(tone(seconds=0.02, rate=48_000)[None], format="fltp", layout="mono")
            frame.rate, frame.pts = 48_000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert len(read_sound(tmp_path / "a.ogg").samples) == pytest.approx(48_000, abs=960)


def test_written_files_have_16_bits_and_do_not_clip(tmp_path: Path) -> None:
    loud = Sound(4 * tone(), 16_000)
    loud.save(tmp_path / "deep/er/a.wav")
    info = soundfile.info(str(tmp_path / "deep/er/a.wav"))
    assert (info.subtype, info.channels, info.frames) == ("PCM_16", 1, 8000)
    back = read_sound(tmp_path / "deep/er/a.wav").samples
    assert np.abs(back - tone() * 2).max() < 1e-4  # scaled down as a whole
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match=r"file/a\.wav: cannot be written: "):
        write_sound(loud, tmp_path / "file/a.wav")
    with pytest.raises(DiskError, match=r"a\.xyz: cannot be written: the suffix is '\.xyz', expected one of \.wav, "):
        write_sound(loud, tmp_path / "a.xyz")
    with pytest.raises(DiskError, match=r"a\.ogg: cannot be written: ogg has at most 192,000 Hz"):
        write_sound(Sound(tone(), 384_000), tmp_path / "a.ogg")  # where the encoder ends the process
    assert not (tmp_path / "a.ogg").exists()


# Kind: the length in a header is a claim. Too long is refused before decoding, unknown is read to the end.


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", ["a.flac", "a.wav"])
def test_a_long_file_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, channels: int
) -> None:
    with soundfile.SoundFile(str(tmp_path / name), "w", 16_000, channels, "PCM_16") as file:
        for _ in range(12):
            file.write(np.zeros((16_000, channels)))
    assert len(read_sound(tmp_path / name, 12.0).samples) == 192_000
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    with pytest.raises(DataError) as raised:
        read_sound(tmp_path / name, 10.0)
    assert str(raised.value) == (
        f"{tmp_path / name}: 12 s (192,000 samples) long; at most max_seconds = 10 s are read; cut the recording, or "
        "raise this option of the media: data.media.max_seconds = 3600 in a recipe, "
        'media_options={"max_seconds": 3600} of a model'
    )


def flac(path: Path, total: int) -> Path:
    """Write a flac file of 1.25 s whose header says that it has `total` samples."""
    soundfile.write(str(path), tone(seconds=1.25), 16_000)
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0 | total >> 32]) + struct.pack(">I", total & 0xFFFFFFFF)
    path.write_bytes(data)
    return path


def test_a_flac_of_unknown_length_is_read_to_its_end_and_no_further_than_allowed(tmp_path: Path) -> None:
    assert len(read_sound(flac(tmp_path / "a.flac", 0)).samples) == 20_000
    with pytest.raises(DataError, match=r"more than 1 s long; at most max_seconds = 1 s are read"):
        read_sound(tmp_path / "a.flac", 1.0)
    assert error_of(flac(tmp_path / "a.flac", 2**36 - 1)).startswith("4,294,967 s (68,719,476,735 samples) long; at mo")
    assert error_of(flac(tmp_path / "a.flac", 30_000)) == "truncated: holds 20,000 of 30,000 samples"


@pytest.mark.parametrize("riff", [None, 0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path, size: int, riff: int | None, order: str) -> None:
    path = wav(tmp_path / "a.wav", size=size, riff=riff, order=order)
    if size == 0 and riff is None:  # the header is complete, and says that there are no samples
        assert error_of(path) == "a recording of 0 samples"
    else:
        assert np.array_equal(read_sound(path).samples * 32768, np.arange(100) - 50)


@pytest.mark.parametrize(("size", "held"), [(200, 100), (0, 100), (2**64 - 1, 100), (1000, None)])
def test_a_wav_of_64_bits_is_read_to_its_end_or_reported_as_truncated(tmp_path: Path, size: int, held: Any) -> None:
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 1000, size, 100, 0)
    path = wav(tmp_path / "a.wav", size=0xFFFFFFFF, riff=0xFFFFFFFF, tag=b"RF64", before=sizes)
    if held:
        assert len(read_sound(path).samples) == held
    else:
        assert error_of(path) == "truncated: holds 200 of 1,000 bytes of audio data"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_instead_of_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert error_of(tmp_path / "a.wav") == "not a regular file"


# Kind: several channels. None is lost by mixing, and each comes back.


@pytest.mark.parametrize(
    ("channels", "mix", "gains"),
    [
        ([1.0, 1.0], 1.0, (1.0, 1.0)),
        ([1.0, 0.0], 0.5, (2.0, 0.0)),
        ([1.0, -1.0], 1.0, (1.0, -1.0)),  # reversed polarity
        ([1.0, -0.9], 1.0, (1.0, -0.9)),
        ([-0.5, 1.0], 1.0, (-0.5, 1.0)),
        ([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 1 / 6, (0.0, 0.0, 6.0, 0.0, 0.0, 0.0)),  # 5.1 with the voice in the centre
        ([1.0, 0.2, 0.0, 0.0, -0.5, -0.7], 1.0, (1.0, 0.2, 0.0, 0.0, -0.5, -0.7)),
        ([0.0, 0.0], 0.0, (1.0, 1.0)),
    ],
)
def test_channels_are_averaged_unless_they_cancel_and_are_written_as_they_were(
    tmp_path: Path, channels: list[float], mix: float, gains: tuple[float, ...]
) -> None:
    recording = tone()[:, None] * np.array(channels, np.float32)
    soundfile.write(str(tmp_path / "a.wav"), recording, 16_000, subtype="FLOAT")
    for sound in (read_sound(tmp_path / "a.wav"), to_sound(recording, 16_000, "it")):
        assert np.abs(sound.samples - mix * tone()).max() < 1e-6
        assert sound.encoding.gains == pytest.approx(gains, abs=1e-4)
        sound.save(tmp_path / "b.wav")
        written = soundfile.read(str(tmp_path / "b.wav"))[0]
        assert written.shape == recording.shape and np.abs(written - recording).max() < 1e-4


def test_unrelated_channels_are_averaged(tmp_path: Path) -> None:
    recording = np.random.default_rng(0).normal(0, 0.1, (48_000, 2))
    soundfile.write(str(tmp_path / "a.wav"), recording, 48_000, subtype="DOUBLE")
    sound = read_sound(tmp_path / "a.wav")
    assert np.abs(sound.samples - recording.mean(1)).max() < 1e-6
    assert sound.encoding.gains == pytest.approx((1, 1), abs=0.02)


@pytest.mark.parametrize("offset", [0.2, -0.01, 0.001])
def test_a_dc_offset_is_removed_where_it_is_audible_in_the_levels(tmp_path: Path, offset: float) -> None:
    """Else it hides what is silence; offsets of opposite sign in two channels count too."""
    channels = np.stack([tone(amplitude=0.2) + offset, tone(amplitude=0.2) + 0.5 * offset], 1)
    soundfile.write(str(tmp_path / "a.wav"), channels, 16_000, subtype="FLOAT")
    expected = tone(amplitude=0.2) + (0.75 * offset if abs(offset) < 0.002 else 0)
    assert np.abs(read_sound(tmp_path / "a.wav").samples - expected).max() < 1e-6


# Kind: what a file holds comes back as it was: rate, length, channels, subtype, samples.

SUBTYPES = [
    (name, subtype)
    for name, form in (("a.wav", "WAV"), ("a.wav", "WAVEX"), ("a.wav", "RF64"), ("a.flac", "FLAC"), ("a.ogg", "OGG"))
    for subtype in soundfile.available_subtypes(form)
    if subtype != "MPEG_LAYER_III"
]
LOSSY = ("ADPCM", "GSM", "G721", "VORBIS", "OPUS")


def store(path: Path, samples: np.ndarray, rate: int, subtype: str) -> np.ndarray:
    """Write a file with soundfile, and return what soundfile reads of it."""
    with soundfile.SoundFile(str(path), "w", rate, samples.shape[1], subtype) as file:
        file.seekable = lambda: False
        file.write(samples)
    return load(path)


def load(path: Path) -> np.ndarray:
    with soundfile.SoundFile(str(path)) as file:
        file.seekable = lambda: False
        samples: np.ndarray = file.read(1 << 20, always_2d=True)
        return samples


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "subtype"), list(dict.fromkeys(SUBTYPES)))
def test_every_subtype_comes_back_as_it_was(tmp_path: Path, name: str, subtype: str, channels: int) -> None:
    half = np.random.default_rng(0).uniform(-1, 1, 4080)
    half[0] = 1.0
    samples = np.concatenate([half, -half])[:, None].repeat(channels, 1)  # without an offset, which would be removed
    try:
        original = store(tmp_path / name, samples, 16_000, subtype)
    except soundfile.LibsndfileError:
        assert channels == 2 and subtype.startswith(("GSM", "G721", "NMS"))  # mono only
        return
    sound = read_sound(tmp_path / name)
    sound.save(tmp_path / f"b{name[1:]}")
    before, after = (soundfile.info(str(tmp_path / each)) for each in (name, f"b{name[1:]}"))
    same = [(each.samplerate, each.channels, each.format, each.subtype, each.frames) for each in (before, after)]
    assert same[0] == same[1]
    written = load(tmp_path / f"b{name[1:]}")
    if any(word in subtype for word in LOSSY):
        assert np.corrcoef(written[:, 0], original[:, 0])[0, 1] > 0.5
    else:  # exact, up to the 24 bits of single precision
        assert np.abs(written - original).max() <= (2**-24 if subtype in ("PCM_32", "DOUBLE") else 0)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_every_rate_comes_back_as_it_was(tmp_path: Path, name: str, rate: int) -> None:
    soundfile.write(str(tmp_path / name), tone(100, rate), rate)
    read_sound(tmp_path / name).save(tmp_path / f"b{name[1:]}")
    before, after = (soundfile.info(str(tmp_path / each)) for each in (name, f"b{name[1:]}"))
    assert (after.samplerate, after.frames, after.subtype) == (rate, rate // 2, before.subtype)


@pytest.mark.parametrize(
    ("subtype", "name", "written"),
    [
        ("FLOAT", "b.flac", "PCM_24"),
        ("PCM_U8", "b.flac", "PCM_S8"),
        ("ULAW", "b.flac", "PCM_16"),
        ("PCM_24", "b.ogg", "VORBIS"),
        ("MS_ADPCM", "b.ogg", "VORBIS"),
        ("PCM_24", "b.flac", "PCM_24"),
    ],
)
def test_a_subtype_that_a_format_lacks_becomes_the_nearest(
    tmp_path: Path, subtype: str, name: str, written: str
) -> None:
    store(tmp_path / "a.wav", tone()[:, None], 16_000, subtype)
    read_sound(tmp_path / "a.wav").save(tmp_path / name)
    assert soundfile.info(str(tmp_path / name)).subtype == written


def test_numbers_beyond_full_scale_come_back_where_the_subtype_holds_them(tmp_path: Path) -> None:
    soundfile.write(str(tmp_path / "a.wav"), 3 * tone(), 16_000, subtype="FLOAT")
    sound = read_sound(tmp_path / "a.wav")
    sound.save(tmp_path / "b.wav")
    assert np.abs(soundfile.read(str(tmp_path / "b.wav"))[0] - 3 * tone()).max() < 1e-6
    sound.save(tmp_path / "b.flac")
    assert np.abs(soundfile.read(str(tmp_path / "b.flac"))[0] - 2 * tone()).max() < 1e-6


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_tags_are_kept(tmp_path: Path, name: str) -> None:
    with soundfile.SoundFile(str(tmp_path / name), "w", 16_000, 1) as file:
        file.title, file.artist = "Lärche", "anna"
        file.write(tone())
    read_sound(tmp_path / name).save(tmp_path / f"b{name[1:]}")
    with soundfile.SoundFile(str(tmp_path / f"b{name[1:]}")) as file:
        assert (file.title, file.artist) == ("Lärche", "anna")


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
    assert to_sound(np.array([0, 192], np.uint8), 16_000, "it").samples.tolist() == [-1.0, 0.5]


def test_masked_samples_are_refused() -> None:
    """What a mask hides would be heard."""
    whole = np.ma.masked_array(np.array([0.5, -0.5]), False)
    assert to_sound(whole, 16_000, "it").samples.tolist() == [0.5, -0.5]
    with pytest.raises(DataError, match=r"^it: 1 samples are masked, and none can be missing; .* x\.filled\(0\)$"):
        to_sound(np.ma.masked_array(np.array([0.5, 9.0]), [False, True]), 16_000, "it")
