"""Reads generators that were saved by the authors' PyTorch implementation of CycleGAN and pix2pix (or of CUT)."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from transgan.api import DataError, ImportedGenerator, Spec, Tensor
from transgan_standard.generators import ResnetGenerator, ResnetOptions, UnetGenerator, UnetOptions

SECONDS = 300

# Runs in a process of its own: a pickle can ask for any memory and time, and the unpickler for tensors only may have
# holes that are not known yet. What comes back is safetensors, which is nothing but numbers.
UNPICKLE = """
import os, sys, warnings
import torch
from safetensors.torch import save_file

warnings.simplefilter("ignore")
torch.set_num_threads(1)
source, target = sys.argv[1:]
size = os.path.getsize(source)
try:
    import resource
except ImportError:
    limits = {}  # not every system has them
else:
    limits = {"RLIMIT_FSIZE": 2 * size + 2**20, "RLIMIT_CPU": 120, "RLIMIT_CORE": 0}
    if os.path.exists("/proc/self/statm"):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = used + 4 * size + 2**28
for kind, limit in limits.items():
    try:
        resource.setrlimit(getattr(resource, kind), (limit, limit))
    except (OSError, ValueError):
        pass  # a stricter one is in force
try:
    state = torch.load(source, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not state:
        raise ValueError(f"it holds {type(state).__name__}, not named tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError(f"{name!r} is {type(value).__name__}, not a tensor")
    save_file({name: value.detach().clone().contiguous() for name, value in state.items()}, target)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def read_reference_generator(path: Path) -> ImportedGenerator:
    """Reads a file such as `latest_net_G_A.pth`: weights only, no code, in a process of its own.

    What the network is follows from the names and shapes of its weights; it computes exactly what it did.

    Raises:
        DataError: the file cannot be read, is not such a file, or is of a network that the reference does not have.
    """
    state = {name.removeprefix("module."): value for name, value in _load(path).items()}
    if strange := [name for name in state if not re.match(r"model\.(\d+|model)\.\w", name)]:
        _refuse(path, f"it has {_some(strange)}, and the reference's generators only 'model.(number). ...'")
    return _checked(path, _unet(path, state) if "model.model.0.weight" in state else _resnet(path, state))


def _refuse(path: Path, why: str) -> Never:
    raise DataError(f"{path}: not a generator of the reference: {why}")


def _some(names: list[str]) -> str:
    """The first names of a list, for a message of one line."""
    return ", ".join(repr(name[:80]) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with tempfile.TemporaryDirectory(prefix="transgan-") as folder:
        target = Path(folder) / "tensors.safetensors"
        # -P: the folder where we stand must not be able to stand in for a module.
        command = [sys.executable, "-P", "-c", UNPICKLE, str(path.absolute()), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{path}: reading it took more than {SECONDS} seconds; given up") from error
        if done.returncode:
            raise DataError(f"{path}: {_reason(done.returncode, done.stderr)}")
        # A copy, because the file is removed while its tensors live on.
        return {name: value.clone() for name, value in load_file(target).items()}


def _reason(code: int, stderr: str) -> str:
    """Why the file was not read, in one line."""
    if code < 0:
        return f"refused: reading it was stopped by signal {-code}: it asks for too much memory or time"
    # The file may have had a hand in these words: nothing in them may steer a terminal.
    why = " ".join("".join(c if c.isprintable() else " " for c in stderr).split()) or "no reason given"
    if asked := re.search(r"GLOBAL (\S+)", why):
        return f"refused: it asks for '{asked[1][:80]}' to be run or made, and a file of weights holds only tensors"
    if re.search("MemoryError|can't allocate memory", why):
        return "refused: it asks for far more memory than it is long"
    if why.startswith("ValueError: "):
        return why.removeprefix("ValueError: ")[:200]
    # What the unpickler itself says stands behind advice that nobody should follow here.
    why = why.rpartition("WeightsUnpickler error: ")[2].partition(" Check the documentation")[0]
    return f"refused: not a file of tensors as torch.save writes it ({why[:160]})"


def _kernel(path: Path, state: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """The first two sizes of a convolution's weights."""
    if name not in state:
        _refuse(path, f"it lacks '{name}'")
    if state[name].dim() != 4:
        _refuse(path, f"'{name}' is {tuple(state[name].shape)}, which is no convolution over pictures")
    return state[name].shape[0], state[name].shape[1]


def _norm(state: Mapping[str, Tensor], convolution: str, norm: str) -> str:
    """The kind of norm: that of batches has weights; before that of instances, convolutions have biases."""
    if f"{norm}.weight" in state:
        return "batch"
    return "instance" if f"{convolution}.bias" in state else "none"


def _number(name: str) -> int:
    """N of `model.N....`."""
    return int(name.split(".")[1])


def _resnet(path: Path, state: Mapping[str, Tensor]) -> ImportedGenerator:
    convolutions = sorted(
        _number(name) for name, value in state.items() if re.fullmatch(r"model\.\d+\.weight", name) and value.dim() == 4
    )
    blocks = sorted({_number(name) for name in state if re.match(r"model\.\d+\.conv_block\.", name)})
    if not convolutions or not blocks:
        _refuse(path, f"it has neither a U-Net's nor residual blocks' weights, but {_some(sorted(state))}")
    width, inputs = _kernel(path, state, "model.1.weight")
    channels, _ = _kernel(path, state, f"model.{convolutions[-1]}.weight")
    ups = [_kernel(path, state, f"model.{n}.weight") for n in convolutions[:-1] if n > blocks[-1]]
    options: dict[str, Any] = {"width": width, "blocks": len(blocks), "downs": len(ups)}
    options["norm"] = _norm(state, "model.1", "model.2")
    filters = [_number(name) for name in state if name.endswith(".filt")]
    if any(number < blocks[0] for number in filters):
        options["downsample"] = "antialiased"
    if any(number > blocks[-1] for number in filters):
        options["upsample"] = "bilinear"
    elif any(before != 2 * after for before, after in ups):
        _refuse(path, "its doublings are plain convolutions, whose weights do not tell what came before them")
    # Dropout has no weights, but behind it the second convolution of a block stands one place later.
    second = 5 if f"model.{blocks[0]}.conv_block.5.weight" in state else 6
    options["dropout"] = 0.5 if second == 6 else 0.0

    ours = {f"model.{number}": f"model.{number}" for number in convolutions}
    ours |= {f"model.{number + 1}": f"model.{number + 1}.norm" for number in convolutions[:-1]}
    parts = {1: "first", 2: "first_norm.norm", second: "second", second + 1: "second_norm.norm"}
    ours |= {f"model.{block}.conv_block.{i}": f"model.{block}.{part}" for block in blocks for i, part in parts.items()}
    kept = {name: value for name, value in state.items() if not name.endswith(".filt")}
    return ImportedGenerator("resnet", options, _renamed(kept, ours), inputs, channels)


def _unet(path: Path, state: Mapping[str, Tensor]) -> ImportedGenerator:
    width, inputs = _kernel(path, state, "model.model.0.weight")
    _, channels = _kernel(path, state, "model.model.3.weight")
    ours = {"model.model.0": "downs.0.conv", "model.model.3": "ups.0.conv"}
    # Levels are nested: the third module of each but the outermost and the innermost is the next one.
    level, here = 1, "model.model.1.model"
    while f"{here}.5.weight" in state:
        ours |= {f"{here}.1": f"downs.{level}.conv", f"{here}.2": f"downs.{level}.norm.norm"}
        ours |= {f"{here}.5": f"ups.{level}.conv", f"{here}.6": f"ups.{level}.norm.norm"}
        level, here = level + 1, f"{here}.3.model"
    ours |= {f"{here}.1": f"downs.{level}.conv"}
    ours |= {f"{here}.3": f"ups.{level}.conv", f"{here}.4": f"ups.{level}.norm.norm"}
    options = {"width": width, "downs": level + 1, "norm": _norm(state, "model.model.0", f"{here}.4")}
    return ImportedGenerator("unet", options, _renamed(state, ours), inputs, channels)


def _renamed(state: Mapping[str, Tensor], ours: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights under our layers' names; what is not known keeps its own, by which it is then refused."""
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        renamed[f"{ours[layer]}.{kind}" if layer in ours else name] = value
    return renamed


def _checked(path: Path, read: ImportedGenerator) -> ImportedGenerator:
    """The same with exactly the weights that our network has, in their order."""
    size = 2 ** min(read.options["downs"] + 1, 16)
    spec = Spec(read.channels, read.inputs, 0, (size, size), (), ())
    try:
        with torch.device("meta"):
            network = (
                ResnetGenerator(ResnetOptions(**read.options), spec)
                if read.name == "resnet"
                else UnetGenerator(UnetOptions(**read.options), spec)
            )
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(f"{path}: not a generator of the reference: {problem['loc'][0]}: {problem['msg']}") from error

    given, complete = dict(read.state), {}
    if read.options["norm"] != "batch":
        # Old versions saved the running statistics of instance norms, and did not use them.
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        given = {name: value for name, value in given.items() if not name.endswith(statistics)}
    for name, expected in network.state_dict().items():
        value = given.pop(name, None)
        if value is None and name.endswith("num_batches_tracked"):
            value = torch.zeros(())  # files older than this counter
        if value is None and name.endswith("bias") and read.options["norm"] == "none":
            value = torch.zeros(expected.shape)  # the reference has none there, which is the same
        if value is None:
            _refuse(path, f"it lacks what is '{name}' in our '{read.name}'")
        if value.shape != expected.shape:
            _refuse(path, f"'{name}' of our '{read.name}' is {tuple(expected.shape)}, and there {tuple(value.shape)}")
        complete[name] = value.to(expected.dtype)
    if given:
        _refuse(path, f"it has {_some(sorted(given))}, which such a generator has not")
    return replace(read, state=complete)
