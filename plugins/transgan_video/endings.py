"""What FFmpeg's writers of animated PNG and WebP files leave away: the duration of the last frame, and opacity of WebP.

They know how long a frame is shown from the time of the next one, and guess that of the last. libwebp cuts each frame
to the rectangle that has changed; where all of these are opaque, the file does not say that what is around them is not.
"""

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

#: APNG's units of time, as parts of a second: the finest in which a duration fits into 16 bits is used.
_UNITS = (1000, 100, 10, 1)


def set_last_duration(file: BinaryIO, duration: Fraction) -> None:
    """Write for how many seconds the last frame of an animated PNG or WebP file is shown; other files stay as are."""
    file.seek(0)
    start = file.read(12)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        _set_in_png(file, duration)
    elif start[:4] == b"RIFF" and start[8:] == b"WEBP":
        _set_in_webp(file, duration)


def set_opacity(file: BinaryIO) -> None:
    """Say of an animated WebP file that it has opacity (RFC 9649, 2.7.1); other files stay as they are."""
    file.seek(0)
    start = bytearray(file.read(21))
    if start[8:16] == b"WEBPVP8X":
        file.seek(20)
        file.write(bytes([start[20] | 0x10]))


def _set_in_png(file: BinaryIO, duration: Fraction) -> None:
    """Change the last frame control chunk (PNG, third edition, 11.3.6.2) and its check sum."""
    places = [place for name, place in _chunks(file, 8, ">I4s", 4) if name == b"fcTL"]
    if not places:
        return
    unit = next((each for each in _UNITS if round(duration * each) < 2**16), 1)
    file.seek(places[-1])
    data = bytearray(file.read(26))
    data[20:24] = struct.pack(">HH", min(round(duration * unit), 2**16 - 1), unit)
    file.seek(places[-1])
    file.write(data + struct.pack(">I", zlib.crc32(b"fcTL" + data)))


def _set_in_webp(file: BinaryIO, duration: Fraction) -> None:
    """Change the last chunk of an animation's frame (RFC 9649, 2.7.1.1): milliseconds in 24 bits."""
    places = [place for name, place in _chunks(file, 12, "<4sI", 0) if name == b"ANMF"]
    if places:
        file.seek(places[-1] + 12)
        file.write(min(round(duration * 1000), 2**24 - 1).to_bytes(3, "little"))


def _chunks(file: BinaryIO, place: int, header: str, after: int) -> Iterator[tuple[bytes, int]]:
    """Yield the names of chunks with the places of their data, which `after` bytes of a check sum follow."""
    while True:
        file.seek(place)
        data = file.read(8)
        if len(data) < 8:
            return
        one, two = struct.unpack(header, data)
        name, size = (one, two) if isinstance(one, bytes) else (two, one)
        yield name, place + 8
        place += 8 + size + (after or size % 2)  # those of RIFF have even sizes
