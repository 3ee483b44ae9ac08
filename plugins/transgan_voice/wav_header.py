"""Headers of wav files: lengths that are missing, or longer than the file."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from transgan.api import DataError

#: Sizes of the data in headers of wav files whose writers streamed them and could not go back to the header: close to
#: 2 GiB or 4 GiB, and in files of 64 bits 0 or close to 2^64.
_UNKNOWN = (range(0x7FFF_0000, 0x8001_0000), range(0xFFFF_0000, 1 << 32), range((1 << 63) - (1 << 16), 1 << 64))


class _Patched:
    """A binary file of which some bytes are replaced while it is read."""

    def __init__(self, file: BinaryIO, patches: Mapping[int, bytes]):
        self.file, self.patches = file, patches
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        start = self.file.tell()
        data = bytearray(self.file.read(count))
        for at, patch in self.patches.items():
            for i, byte in enumerate(patch, at - start):
                if 0 <= i < len(data):
                    data[i] = byte
        return bytes(data)


def checked_wav(path: Path, file: BinaryIO) -> Any:
    """Return a file such that libsndfile reads a wav file of unknown length to its end.

    Raises:
        DataError: a wav file is shorter than its header says, which libsndfile does not report.
    """
    head = file.read(12)
    patches: dict[int, bytes] = {}
    order = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<"}.get(head[:4])
    if order and head[8:] == b"WAVE":
        end = file.seek(0, 2)
        unfinished = abs(struct.unpack(f"{order}I", head[4:8])[0] + 8 - end) > 1  # the header's length of the file
        position, long_size = 12, None
        while position + 8 <= end:
            file.seek(position)
            name, size = struct.unpack(f"{order}4sI", file.read(8))
            position += 8
            if name == b"ds64" and len(sizes := file.read(16)) == 16:
                long_size = struct.unpack("<QQ", sizes)[1]
            if name == b"data":
                held = end - position
                if long_size is not None and size == 0xFFFFFFFF:
                    if not long_size or _is_unknown(long_size):
                        patches[0] = b"RIFF"  # whose data of this size is read to the end
                    else:
                        size = long_size
                elif size == 0 and held and unfinished:
                    patches[position - 4] = struct.pack(f"{order}I", min(held, 0xFFFFFFFF))
                if size > held and not _is_unknown(size):
                    raise DataError(f"{path}: truncated: holds {held:,} of {size:,} bytes of audio data")
                break
            position += size + size % 2
    file.seek(0)
    return _Patched(file, patches) if patches else file


def _is_unknown(size: int) -> bool:
    return any(size in sizes for sizes in _UNKNOWN)
