"""What a process, or a GPU, holds at most."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

import torch


class Memory:
    """What the process holds; on a GPU, what tensors hold of its memory. Bytes; 0 where the system does not say."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def settle(self) -> None:
        """Give back what is free, and forget the peak."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):
                ctypes.CDLL("libc.so.6").malloc_trim(0)
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak becomes what is held now

    @property
    def peak(self) -> int:
        """The most since `settle`."""
        return torch.cuda.max_memory_allocated() if self.cuda else _status("VmHWM")

    @property
    def now(self) -> int:
        """What is held now."""
        return torch.cuda.memory_allocated() if self.cuda else _status("VmRSS")


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
