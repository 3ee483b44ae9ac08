"""The sound of a clip that is written: that of the clip it comes from."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from transgan_video.clips import warn
from transgan_video.streams import opened, pyav


class SoundTracks:
    """The sound of a clip, copied packet by packet where the container takes it, else encoded again.

    Args:
        container: PyAV's, which is written.
        path: of the file that it becomes, for messages.
        source: the clip that has the sound.
        encoder: FFmpeg's encoder of sound that the container cannot take as it is.
    """

    def __init__(self, container: Any, path: Path, source: Path, encoder: str):
        self.container = container
        self.stack = ExitStack()
        opened_source = self.stack.enter_context(opened(source))
        supported = self.container.supported_codecs
        self.outputs: dict[int, tuple[Any, bool]] = {}
        again = []
        for stream in opened_source.streams.audio:
            name = stream.codec_context.name if stream.codec_context else ""
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
            copied = bool({name, codec} & supported)
            if copied:
                output = self.container.add_stream_from_template(stream)
            else:
                output = self._encoder(encoder, stream)
                again.append(f"{codec or name} as {encoder.removeprefix('lib')}")
            output.metadata.update({key: each for key, each in stream.metadata.items() if key == "language"})
            self.outputs[stream.index] = output, copied
        if again:
            warn(path, f"its container takes no such sound as the source has; encoded again: {', '.join(again)}")
        self.packets = self._packets(opened_source)
        self.waiting: Any = None

    def _encoder(self, name: str, stream: Any) -> Any:
        rate = 48000 if name == "libopus" else stream.rate
        output = self.container.add_stream(name, rate=rate)
        output.layout = stream.layout.name
        output.bit_rate = 96_000 * max(1, stream.layout.nb_channels)
        return output

    def _packets(self, source: Any) -> Iterator[tuple[Fraction, Any]]:
        """Yield packets to mux with their times, in the order of the source; what cannot be read ends them."""
        av = pyav()
        streams = [stream for stream in source.streams.audio if stream.index in self.outputs]
        with suppress(av.error.InvalidDataError, av.error.EOFError):
            for packet in source.demux(*streams):
                output, copied = self.outputs[packet.stream.index]
                if copied:
                    if packet.dts is None:  # the end
                        continue
                    time = packet.dts * Fraction(packet.time_base)
                    packet.stream = output
                    yield time, packet
                else:
                    with suppress(av.error.InvalidDataError):
                        for frame in packet.decode():
                            time = (frame.pts or 0) * Fraction(frame.time_base)
                            for each in output.encode(frame):
                                yield time, each
        for output, copied in self.outputs.values():
            if not copied:
                for each in output.encode(None):
                    yield Fraction(0), each

    def mux_until(self, time: Fraction | None) -> None:
        """Mux what begins before a time, or all that is left."""
        while True:
            self.waiting = self.waiting or next(self.packets, None)
            if self.waiting is None or (time is not None and self.waiting[0] > time):
                break
            self.container.mux(self.waiting[1])
            self.waiting = None
        if time is None:
            self.close()

    def close(self) -> None:
        self.stack.close()
