"""The device that a model runs on."""

import re

import torch

from transgan.errors import UsageError
from transgan.text import option

#: Types of devices that have numbers, and on which networks run.
_TYPES = ("cpu", "cuda", "mps", "xpu")


def best_device() -> str:
    """Return the type of device that is used by default: a GPU of CUDA, else one of Apple's, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def find_device(device: torch.device | str | None) -> torch.device:
    """Return the device of that name, or the best there is; the CPU where that is there and cannot be used."""
    best = best_device()
    unknown = UsageError(f"{option('device', str(device))}: expected cpu, cuda, cuda:1 or mps")
    try:
        found = torch.device(best if device is None else device)
        if found.type not in _TYPES:
            raise unknown
        torch.empty(1, device=found)
    except TypeError:
        raise unknown from None
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if device is None:
            return torch.device("cpu")
        # torch's messages list every backend, or advise how to build torch
        first = str(error).splitlines()[0]
        if first.startswith(("Expected one of", "Device string must not be empty")):
            raise unknown from None
        why = "there is none here" if first.startswith("Could not run") else re.split(r"[.:](\s|$)", first)[0][:100]
        raise UsageError(f"{option('device', str(device))}: cannot be used: {why}; without it {best} is used") from None
    return found
