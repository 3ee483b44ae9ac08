"""The sound of clips that are written: every usual one, in step with the frames."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transgan_video.reading import open_clip
from transgan_video.writing import ClipWriter, _File

from transgan.api import DataError, DataWarning, DiskError

av = pytest.importorskip("av", reason="PyAV is not installed")

WriteSound = Callable[..., Path]
Heard = Callable[[Path], tuple[Any, np.ndarray]]


@pytest.fixture
def write_sound(tmp_path: Path) -> WriteSound:
    """`write_sound("a.mkv", "aac")`: write with PyAV 50 frames at 25 per second, and a tone where `spans` say."""

    def write(
        name: str,
        codec: str,
        layout: str = "mono",
        rate: int = 48000,
        spans: Sequence[tuple[float, float]] = ((0.0, 2.0),),
        options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            frames = container.add_stream("mpeg4", rate=25)
            frames.width, frames.height = 64, 48
            sound = container.add_stream(codec, rate=rate)
            sound.layout = layout
            packets: list[Any] = []
            for number in range(50):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * number, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += frames.encode(frame)
            for begin, end in spans:
                for at in range(int(begin * rate), int(end * rate), 1024):
                    wave = 0.3 * np.sin(np.arange(at, min(at + 1024, int(end * rate))) * 2000 / rate)
                    planes = np.repeat(wave[None].astype(np.float32), sound.layout.nb_channels, 0)
                    heard = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
                    heard.sample_rate, heard.pts, heard.time_base = rate, at, Fraction(1, rate)
                    packets += sound.encode(heard)
            packets += [*frames.encode(None), *sound.encode(None)]
            for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
                container.mux(packet)
        return path

    return write


@pytest.fixture
def heard() -> Heard:
    """`heard(path)`: PyAV's stream of sound, and its samples (channels, N) from 0 on, one after another from the first
    one's time."""

    def read(path: Path) -> tuple[Any, np.ndarray]:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            resampler = av.AudioResampler("fltp")
            frames = list(container.decode(stream))
            found = [each.to_ndarray() for frame in frames for each in resampler.resample(frame)]
            before = np.zeros((found[0].shape[0], round(frames[0].pts * frames[0].time_base * stream.rate)))
            codec, layout = stream.codec_context.codec.canonical_name, stream.layout.name
        return (codec, layout, stream.rate), np.concatenate([before, *found], 1)

    return read


def copy(source: Path, path: Path) -> None:
    with ClipWriter(path, open_clip(source)) as writer:
        for frame in open_clip(source).frames():
            writer.write(frame)


@pytest.mark.parametrize(
    ("source", "codec", "layout", "rate", "result", "expected"),
    [
        ("a.avi", "pcm_s16le", "stereo", 44100, "b.mp4", ("pcm_s16le", "stereo", 44100)),
        ("a.mkv", "pcm_s16le", "5.1", 48000, "b.mp4", ("pcm_s16le", "5.1", 48000)),
        ("a.mkv", "pcm_s24le", "stereo", 48000, "b.mov", ("pcm_s24le", "stereo", 48000)),
        ("a.avi", "pcm_mulaw", "mono", 8000, "b.mp4", ("aac", "mono", 8000)),
        ("a.mkv", "ac3", "5.1(side)", 48000, "b.webm", ("opus", "5.1", 48000)),
        ("a.mkv", "flac", "stereo", 96000, "b.mov", ("aac", "stereo", 96000)),
        ("a.mkv", "flac", "stereo", 192000, "b.mov", ("aac", "stereo", 48000)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encoded again")
def test_usual_sounds_are_written(
    write_sound: WriteSound,
    heard: Heard,
    tmp_path: Path,
    source: str,
    codec: str,
    layout: str,
    rate: int,
    result: str,
    expected: tuple[str, str, int],
) -> None:
    path = write_sound(source, codec, layout, rate)
    copy(path, tmp_path / result)
    found, samples = heard(tmp_path / result)
    assert found == expected
    assert abs(samples.shape[1] - 2 * expected[2]) <= 2048
    if codec == expected[0]:
        assert np.array_equal(samples, heard(path)[1])  # nothing is lost
    else:
        loudness = np.sqrt((samples[:, samples.shape[1] // 4 : -samples.shape[1] // 4] ** 2).mean(1))
        assert np.abs(np.delete(loudness, 3 if layout.startswith("5.1") else [], 0) - 0.3 / 2**0.5).max() < 0.03


def test_fewer_channels_are_reported(write_sound: WriteSound, heard: Heard, tmp_path: Path) -> None:
    path = write_sound("a.mkv", "pcm_s16le", "4.0")
    with pytest.warns(DataWarning, match="encoded again: pcm_s16le as opus in stereo"):
        copy(path, tmp_path / "b.webm")
    assert heard(tmp_path / "b.webm")[0][1] == "stereo"


@pytest.mark.parametrize(
    ("source", "codec", "result"),
    [
        ("a.mkv", "pcm_s16le", "b.mp4"),
        ("a.mkv", "pcm_u8", "b.mov"),
        ("a.mkv", "pcm_s16le", "b.avi"),
        ("a.mkv", "pcm_s16le", "b.webm"),
        ("a.mkv", "aac", "b.webm"),
        ("a.mkv", "aac", "b.avi"),
        ("a.mp4", "aac", "b.avi"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encoded again")
def test_pauses_are_silence(
    write_sound: WriteSound, heard: Heard, tmp_path: Path, source: str, codec: str, result: str
) -> None:
    copy(write_sound(source, codec, spans=[(0.4, 0.8), (1.4, 2.0)]), tmp_path / result)
    (*_, rate), samples = heard(tmp_path / result)
    # Encoders of frames of sound begin and end up to 0.05 s beside.
    inside = [samples[0, round((i / 5 + 0.08) * rate) : round((i / 5 + 0.18) * rate)] for i in range(10)]
    assert [bool(np.abs(each).max() > 0.1) for each in inside] == [i in (2, 3, 7, 8, 9) for i in range(10)]


def test_a_pause_in_sound_that_is_copied_is_kept_or_reported(write_sound: WriteSound, tmp_path: Path) -> None:
    path = write_sound("a.mkv", "aac", spans=[(0.0, 0.5), (1.5, 2.0)])
    copy(path, tmp_path / "b.mp4")  # which holds it, and says nothing
    with pytest.warns(
        DataWarning, match=r"\.avi files hold no pauses in aac sound; from 0\.5\d s on it is early"
    ) as warned:
        copy(path, tmp_path / "b.avi")
    assert len(warned) == 1


def test_sound_that_cannot_be_written_is_named(write_sound: WriteSound, tmp_path: Path) -> None:
    path = write_sound("a.mkv", "aac")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    expected = r"b\.mp4: the sound of .*a\.mkv \(of an unknown codec\) cannot be written: .*clip\.sound=false$"
    with pytest.raises(DataError, match=expected):
        copy(path, tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (
            av.error.ArgumentError(22, "Invalid argument"),
            DataError,
            r"a\.mkv \(aac, mono, 48000 Hz\).*clip\.sound=false",
        ),
        (av.error.OSError(28, "No space left on device"), DiskError, "free some space"),
    ],
)
def test_faults_of_sound_and_of_the_disk_are_kept_apart(
    write_sound: WriteSound,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    expected: type[Exception],
    words: str,
) -> None:
    class Failing:
        def mux(self, packet: Any) -> None:
            raise fault

    path = write_sound("a.mkv", "aac")
    with pytest.raises(expected, match=words), ClipWriter(tmp_path / "b.mkv", open_clip(path)) as writer:
        for number, frame in enumerate(open_clip(path).frames()):
            if number == 5:
                assert isinstance(writer._sink, _File) and writer._sink.tracks
                monkeypatch.setattr(writer._sink.tracks, "container", Failing())
            writer.write(frame)
    assert not (tmp_path / "b.mkv").exists()


def test_a_packet_of_sound_that_the_file_breaks_off_in_is_not_copied(write_sound: WriteSound, tmp_path: Path) -> None:
    path = write_sound("a.mp4", "aac", options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        packets = [(each.pos, bytes(each)) for each in container.demux(audio=0) if each.size]
    place, content = packets[60]
    path.write_bytes(path.read_bytes()[: place + len(content) // 2])
    with pytest.warns(DataWarning, match="its end is missing"):
        copy(path, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [bytes(each) for each in container.demux(audio=0) if each.size] == [each for _, each in packets[:60]]
