"""The sound of a clip that is written: that of the clip it comes from."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from transgan.api import DataError
from transgan_video.clips import warn
from transgan_video.streams import opened, pyav

#: FFmpeg's layout for a number of channels. PCM in AVI and Matroska does not say what its channels are, and some
#: encoders and containers refuse that.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
#: What every encoder takes.
_COMMON_RATE, _COMMON_LAYOUT = 48000, "stereo"
#: Sound that pauses for longer, in seconds, is out of step without silence: about a frame. Clocks of files differ by
#: less.
_PAUSE = Fraction(1, 25)
#: A longer pause, in seconds, is a damaged time.
_LONGEST_PAUSE = 3600
#: Samples of silence that are encoded at a time: a long pause is not held in memory.
_SILENCE = 4096


class SoundTracks:
    """The sound of a clip, copied packet by packet where the container takes it, else encoded again.

    PCM is encoded again as the same PCM, which loses nothing: pauses are then filled with silence, which the sizes and
    times of its packets could not state.

    Args:
        container: PyAV's, which is written.
        path: of the file that it becomes, for messages.
        source: the clip that has the sound.
        encoder: FFmpeg's encoder of sound that the container cannot take as it is.

    Raises:
        DataError: the sound can neither be copied nor encoded.
    """

    def __init__(self, container: Any, path: Path, source: Path, encoder: str):
        self.container = container
        self.path = path
        self.source = source
        self.timed = container.format.name != "avi"  # where packets have no times: sound is what follows upon 0
        self.stack = ExitStack()
        opened_source = self.stack.enter_context(opened(source))
        self.outputs: dict[int, tuple[Any, bool]] = {}
        self.ends: dict[int, Fraction] = {}
        """Where the sound of each stream ends so far, in seconds."""
        self.gaps = False
        """Whether a pause that the file cannot hold has been reported."""
        again = []
        for stream in opened_source.streams.audio:
            if self._is_copied(stream):
                output, copied = self.container.add_stream_from_template(stream), True
            else:
                output, copied = self._encoder(encoder, stream), False
                before, after = _described(stream), output.codec_context.name.removeprefix("lib")
                fewer = output.layout.nb_channels < stream.layout.nb_channels
                if fewer or output.codec_context.name != stream.codec_context.name:
                    again.append(f"{before[0]} as {after}" + (f" in {output.layout.name}" if fewer else ""))
            output.metadata.update({key: each for key, each in stream.metadata.items() if key == "language"})
            self.outputs[stream.index] = output, copied
        if again:
            warn(path, f"its container does not take the sound as it is; encoded again: {', '.join(again)}")
        self.packets = self._packets(opened_source)
        self.waiting: Any = None

    def _is_copied(self, stream: Any) -> bool:
        context = stream.codec_context
        if context is None or _is_pcm(context):
            return False
        begins = (stream.start_time or 0) * Fraction(stream.time_base)
        if not self.timed and begins > _PAUSE:
            return False
        if not {context.name, context.codec.canonical_name} & self.container.supported_codecs:
            return False
        with self._nowhere() as trying:
            return _takes_copy(trying, stream)

    def _encoder(self, name: str, stream: Any) -> Any:
        """Return a stream that encodes sound with the rate and the channels of another, as far as an encoder can."""
        if stream.codec_context is None:
            raise self._error(stream, "it cannot be decoded here")
        names = [name]
        if _is_pcm(stream.codec_context) and stream.codec_context.name in self.container.supported_codecs:
            names.insert(0, stream.codec_context.name)
        channels = stream.layout.nb_channels
        stated = [] if stream.layout.name == f"{channels} channels" else [stream.layout.name]
        usual = [_LAYOUTS[channels]] if channels in _LAYOUTS else []
        layouts, rates = (*stated, *usual, _COMMON_LAYOUT), (stream.rate, _COMMON_RATE)
        for codec, layout, rate in product(names, layouts, rates):
            with self._nowhere() as trying:
                if _takes(trying, codec, rate, layout):
                    return _added(self.container, codec, rate, layout)
        raise self._error(stream, f"the encoder {name} does not take it")

    @contextmanager
    def _nowhere(self) -> Iterator[Any]:
        """Yield a container of the same format, to learn what it takes."""
        container = pyav().open(BytesIO(), "w", format=self.container.format.name)
        with suppress(pyav().error.FFmpegError):  # closing one that has failed fails again
            yield container
            container.close()

    def _error(self, stream: Any, why: str) -> DataError:
        codec, layout = _described(stream)
        return DataError(
            f"{self.path}: the sound of {self.source} ({', '.join(filter(None, (codec, layout)))}) cannot be written: "
            f"{' '.join(why.split())}; write another kind of file, or omit the sound with clip.sound=false"
        )

    def _packets(self, source: Any) -> Iterator[tuple[Fraction, Any]]:
        """Yield packets to mux with their times, in the order of the source; what cannot be read ends them."""
        av = pyav()
        streams = [stream for stream in source.streams.audio if stream.index in self.outputs]
        with suppress(av.error.InvalidDataError, av.error.EOFError):
            for packet in source.demux(*streams):
                output, copied = self.outputs[packet.stream.index]
                if copied:
                    if packet.dts is None or packet.is_corrupt:  # the end, or one that the file breaks off in
                        continue
                    time = packet.dts * Fraction(packet.time_base)
                    self._check_pause(packet, time)
                    packet.stream = output
                    yield time, packet
                else:
                    with suppress(av.error.InvalidDataError):
                        for frame in packet.decode():
                            for each in self._in_step(packet.stream.index, frame):
                                time = each.pts * Fraction(each.time_base)
                                for encoded in output.encode(each):
                                    yield time, encoded
        for output, copied in self.outputs.values():
            if not copied:
                for each in output.encode(None):
                    yield Fraction(0), each

    def _check_pause(self, packet: Any, time: Fraction) -> None:
        """Report, once, a pause in sound that is copied to where packets have no times."""
        index = packet.stream.index
        end = self.ends.get(index, Fraction(0))
        self.ends[index] = time + (packet.duration or 0) * Fraction(packet.time_base)
        if not self.timed and not self.gaps and packet.duration and time - end > _PAUSE:
            self.gaps = True
            codec, when, early = packet.stream.codec_context.name, float(end), float(time - end)
            warn(
                self.path,
                f"{self.path.suffix} files hold no pauses in {codec} sound; from {when:.2f} s on it is early, by "
                f"{early:.2f} s and more; .mkv and .mp4 hold them",
            )

    def _in_step(self, index: int, frame: Any) -> Iterator[Any]:
        """Yield a frame of sound, before it silence where the sound pauses: encoders join what they get."""
        rate = frame.sample_rate
        begins = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
        end = self.ends.get(index, (begins or Fraction(0)) if self.timed else Fraction(0))
        pause = Fraction(0) if begins is None else begins - end
        missing = round(pause * rate) if _PAUSE < pause < _LONGEST_PAUSE else 0
        while missing:
            silence = _silence(frame, min(missing, _SILENCE))
            missing -= silence.samples
            yield _at(silence, end)
            end += Fraction(silence.samples, rate)
        self.ends[index] = end + Fraction(frame.samples, rate)
        yield _at(frame, end)

    def mux_until(self, time: Fraction | None) -> None:
        """Mux what begins before a time, or all that is left."""
        while True:
            with self._errors():
                self.waiting = self.waiting or next(self.packets, None)
                if self.waiting is None or (time is not None and self.waiting[0] > time):
                    break
                self.container.mux(self.waiting[1])
            self.waiting = None
        if time is None:
            self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Name the sound in errors of FFmpeg that are none of the disk and the memory."""
        try:
            yield
        except pyav().error.FFmpegError as error:
            if isinstance(error, (OSError, MemoryError)):
                raise
            with opened(self.source) as source:
                raise self._error(source.streams.audio[0], error.strerror or str(error)) from error

    def close(self) -> None:
        self.stack.close()


def _is_pcm(context: Any) -> bool:
    return bool(context.name.startswith("pcm_"))


def _described(stream: Any) -> tuple[str, str]:
    """Return the names of a sound's codec and of its channels."""
    context = stream.codec_context
    if context is None:
        return "of an unknown codec", ""
    return context.codec.canonical_name or context.name, f"{stream.layout.name}, {stream.rate} Hz"


def _added(container: Any, codec: str, rate: int, layout: str) -> Any:
    """Add a stream of sound to a container."""
    output = container.add_stream(codec, rate=rate)
    output.layout = layout
    output.bit_rate = 96_000 * output.layout.nb_channels
    return output


def _takes_copy(container: Any, stream: Any) -> bool:
    """Return whether a container can be written with a copy of a stream: its list of codecs has FLAC for .mov."""
    try:
        container.add_stream_from_template(stream)
        container.start_encoding()
    except (pyav().error.FFmpegError, ValueError):
        return False
    return True


def _takes(container: Any, codec: str, rate: int, layout: str) -> bool:
    """Return whether a container can be written with such sound: some say no to the first packet, or at the end."""
    try:
        output = _added(container, codec, rate, layout)
        nothing = np.zeros((output.layout.nb_channels, _SILENCE), np.float32)
        frame = pyav().AudioFrame.from_ndarray(nothing, format="fltp", layout=layout)
        frame.sample_rate = rate
        container.mux(output.encode(_at(frame, Fraction(0))))
        container.mux(output.encode(None))
        container.close()
    except (pyav().error.FFmpegError, ValueError):
        return False
    return True


def _silence(like: Any, samples: int) -> Any:
    """Return a frame of silence, with the format of another."""
    shape, dtype = like.to_ndarray().shape, like.to_ndarray().dtype
    middle = 128 if dtype == np.uint8 else 0  # numbers of 8 bits have no sign
    numbers = np.full((shape[0], shape[1] // like.samples * samples), middle, dtype)
    frame = pyav().AudioFrame.from_ndarray(numbers, format=like.format.name, layout=like.layout.name)
    frame.sample_rate = like.sample_rate
    return frame


def _at(frame: Any, time: Fraction) -> Any:
    frame.time_base = Fraction(1, frame.sample_rate)
    frame.pts = round(time * frame.sample_rate)
    return frame
