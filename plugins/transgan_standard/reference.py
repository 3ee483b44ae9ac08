"""Import of generators saved by the authors' PyTorch implementation of CycleGAN and pix2pix, or of CUT.

That implementation is called the reference here.
"""

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

from transgan.api import DataError, ImportedGenerator, NetworkSpec, Tensor
from transgan_standard.generators import ResnetGenerator, ResnetOptions, UnetGenerator, UnetOptions

#: Time limit, in seconds.
TIMEOUT = 300

#: Keys under which training programs save a network's tensors.
WRAPPERS = ("state_dict", "model_state_dict", "model", "generator", "netG", "params_ema", "params")

# Runs in a process of its own, with resource limits: a pickle can demand any amount of memory and time, and the
# `weights_only` unpickler may have vulnerabilities that are not known yet. The result comes back as safetensors, which
# cannot contain code.
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
    limits = {}  # not a Unix system
else:
    limits = {"RLIMIT_FSIZE": 2 * size + 2**20, "RLIMIT_CPU": 120, "RLIMIT_CORE": 0}
    if os.path.exists("/proc/self/statm"):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = used + 4 * size + 2**28
for kind, limit in limits.items():
    try:
        resource.setrlimit(getattr(resource, kind), (limit, limit))
    except (OSError, ValueError):
        pass  # a stricter limit is in force
try:
    state = torch.load(source, map_location="cpu", weights_only=True)
    for _ in range(4):  # training programs put the tensors into tables of their own
        inner = [state[key] for key in WRAPPERS if isinstance(state, dict) and isinstance(state.get(key), dict)]
        state = inner[0] if inner else state
    if not isinstance(state, dict) or not state:
        raise ValueError(f"found {type(state).__name__}, expected named tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError(f"{ascii(name)[:80]} is {type(value).__name__}, expected a tensor")
    save_file({name: value.detach().clone().contiguous() for name, value in state.items()}, target)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
""".replace("WRAPPERS", repr(WRAPPERS))


def read_reference_generator(path: Path) -> ImportedGenerator:
    """Read a file such as `latest_net_G_A.pth`, without running code from it.

    Architecture and options are inferred from the names and shapes of the weights. The imported generator computes what
    the original does in the reference's default test, which leaves networks in training mode and has a batch of 1: so
    batch norm becomes an instance norm with scale and shift, and its running statistics are not used. Dropout, which
    is random there, is off.

    Raises:
        DataError: the file cannot be read, or does not contain a generator of the reference.
    """
    state = {name.removeprefix("module."): value for name, value in _load(path).items()}
    if unknown := [name for name in state if not re.match(r"model\.(\d{1,4}|model)\.\w", name)]:
        _refuse(path, f"it has {_abbreviated(unknown)}, expected names such as 'model.1.weight'")
    return _complete(path, _unet(path, state) if "model.model.0.weight" in state else _resnet(path, state))


def _refuse(path: Path, why: str, cause: Exception | None = None) -> Never:
    raise DataError(f"{path}: not a generator of the reference implementation: {why}") from cause


def _abbreviated(names: list[str]) -> str:
    """Return the first three names of a list, for a message of one line."""
    return ", ".join(repr(name[:80]) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _load(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file, by name, unpickled by a process of its own.

    Raises:
        DataError: the file is missing, refused, or not read within `TIMEOUT`.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if what := _other_kind(path):
        raise DataError(f"{path}: {what}; expected a generator's .pth, written by torch.save")
    with tempfile.TemporaryDirectory(prefix="transgan-") as folder:
        target = Path(folder) / "tensors.safetensors"
        # -P: modules must not be imported from the working directory.
        command = [sys.executable, "-P", "-c", UNPICKLE, str(path.absolute()), str(target)]
        try:
            result = subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", timeout=TIMEOUT, cwd=folder
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{path}: not read within {TIMEOUT} seconds") from error
        if result.returncode:
            raise DataError(f"{path}: {_explain(result.returncode, result.stderr)}")
        # A copy: the loaded tensors are mapped to a file that is removed here.
        return {name: value.clone() for name, value in load_file(target).items()}


def _other_kind(path: Path) -> str:
    """Return what a file is that is often found in place of weights; an empty text where it may be weights.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(512).lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    lower = begin.lower()
    if not begin:
        return "it is empty, and not a file of tensors"
    if lower.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<!--")):
        return "it is a web page, such as a server sends where a download needs a confirmation; download it again"
    if begin.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"
    if lower.startswith((b"{", b"[")):
        return "it is JSON"
    if begin.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        return "it is a packed archive; unpack it first"
    if begin[8:].startswith((b'{"', b"{ ")):
        return "it is a safetensors file"
    return ""


def _explain(code: int, stderr: str) -> str:
    """Return in one line why the file was not read.

    Args:
        code: the exit status of the process that read it.
    """
    if code < 0:
        return f"refused: the process that read it was killed by signal {-code}, as it needed too much memory or time"
    # Parts of this text may come from the file: remove control characters, which could manipulate a terminal.
    why = " ".join("".join(c if c.isprintable() else " " for c in stderr).split()) or "no reason given"
    if reference := re.search(r"GLOBAL (\S+)", why):
        return f"refused: it references '{reference[1][:80]}', and a weight file may contain tensors only"
    if re.search("MemoryError|can't allocate memory", why):
        return "refused: it needs far more memory than its size"
    if why.startswith("ValueError: "):
        return why.removeprefix("ValueError: ")[:200]
    # torch puts advice to turn `weights_only` off before the unpickler's own message: drop it.
    why = why.rpartition("WeightsUnpickler error: ")[2].partition(" Check the documentation")[0]
    return f"refused: not a file of tensors written by torch.save ({why[:160]})"


def _kernel(path: Path, state: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Return the first two dimensions of the weight of a 2D convolution."""
    if name not in state:
        _refuse(path, f"it lacks '{name}'")
    if state[name].dim() != 4:
        _refuse(path, f"'{name}' has shape {tuple(state[name].shape)}, expected the 4 axes of a 2D convolution")
    return state[name].shape[0], state[name].shape[1]


def _norm(state: Mapping[str, Tensor], convolution: str, norm: str) -> dict[str, Any]:
    """Return the options of the norm: batch norm has weights; convolutions before instance norm have biases."""
    if f"{norm}.weight" in state:
        return {"norm": "instance", "affine": True}
    return {"norm": "instance" if f"{convolution}.bias" in state else "none"}


def _index(name: str) -> int:
    """Return N of a name that begins with `model.N.`."""
    return int(name.split(".")[1])


def _resnet(path: Path, state: Mapping[str, Tensor]) -> ImportedGenerator:
    """Infer the options of a ResNet generator and rename its weights."""
    convolutions = sorted(
        _index(name)
        for name, value in state.items()
        if re.fullmatch(r"model\.\d{1,4}\.weight", name) and value.dim() == 4
    )
    blocks = sorted({_index(name) for name in state if re.match(r"model\.\d{1,4}\.conv_block\.", name)})
    if not convolutions or not blocks:
        _refuse(path, f"found {_abbreviated(sorted(state))}, expected the weights of a U-Net or of residual blocks")
    width, inputs = _kernel(path, state, "model.1.weight")
    channels, _ = _kernel(path, state, f"model.{convolutions[-1]}.weight")
    ups = [_kernel(path, state, f"model.{n}.weight") for n in convolutions[:-1] if n > blocks[-1]]
    options: dict[str, Any] = {"width": width, "blocks": len(blocks), "downs": len(ups)}
    options |= _norm(state, "model.1", "model.2")
    filters = [_index(name) for name in state if name.endswith(".filt")]
    if any(index < blocks[0] for index in filters):
        options["downsample"] = "antialiased"
    if any(index > blocks[-1] for index in filters):
        options["upsample"] = "bilinear"
    elif any(before != 2 * after for before, after in ups):
        _refuse(path, "its upsampling uses plain convolutions, whose weights do not show the kind of interpolation")
    # Dropout has no weights, but it shifts the index of a block's second convolution by one.
    second = 5 if f"model.{blocks[0]}.conv_block.5.weight" in state else 6
    options["dropout"] = 0.5 if second == 6 else 0.0

    names = {f"model.{index}": f"model.{index}" for index in convolutions}
    names |= {f"model.{index + 1}": f"model.{index + 1}.norm" for index in convolutions[:-1]}
    layers = {1: "first", 2: "first_norm.norm", second: "second", second + 1: "second_norm.norm"}
    for block in blocks:
        names |= {f"model.{block}.conv_block.{i}": f"model.{block}.{layer}" for i, layer in layers.items()}
    learned = {name: value for name, value in state.items() if not name.endswith(".filt")}
    return ImportedGenerator("resnet", options, _renamed(learned, names), inputs, channels)


def _unet(path: Path, state: Mapping[str, Tensor]) -> ImportedGenerator:
    """Infer the options of a U-Net generator and rename its weights."""
    width, inputs = _kernel(path, state, "model.model.0.weight")
    _, channels = _kernel(path, state, "model.model.3.weight")
    names = {"model.model.0": "downs.0.conv", "model.model.3": "ups.0.conv"}
    # Levels are nested: the third module of each but the outermost and the innermost is the next one.
    level, prefix = 1, "model.model.1.model"
    while f"{prefix}.5.weight" in state:
        names |= {f"{prefix}.1": f"downs.{level}.conv", f"{prefix}.2": f"downs.{level}.norm.norm"}
        names |= {f"{prefix}.5": f"ups.{level}.conv", f"{prefix}.6": f"ups.{level}.norm.norm"}
        level, prefix = level + 1, f"{prefix}.3.model"
    names |= {f"{prefix}.1": f"downs.{level}.conv"}
    names |= {f"{prefix}.3": f"ups.{level}.conv", f"{prefix}.4": f"ups.{level}.norm.norm"}
    options = {"width": width, "downs": level + 1, **_norm(state, "model.model.0", f"{prefix}.4")}
    return ImportedGenerator("unet", options, _renamed(state, names), inputs, channels)


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the weights under the names of our layers.

    Args:
        names: our name of each of the reference's layers. Weights of other layers keep their names, by which
            `_complete` refuses them.
    """
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        renamed[f"{names[layer]}.{kind}" if layer in names else name] = value
    return renamed


def _complete(path: Path, imported: ImportedGenerator) -> ImportedGenerator:
    """Return the generator with exactly the state dict of our network, in its order.

    Raises:
        DataError: options are out of range; weights are missing, unknown, or of another shape.
    """
    size = 2 ** min(imported.options["downs"] + 1, 16)
    spec = NetworkSpec(imported.channels, imported.inputs, 0, (size, size), (), ())
    try:
        with torch.device("meta"):
            network = (
                ResnetGenerator(ResnetOptions(**imported.options), spec)
                if imported.name == "resnet"
                else UnetGenerator(UnetOptions(**imported.options), spec)
            )
    except ValidationError as error:
        problem = error.errors()[0]
        _refuse(path, f"{problem['loc'][0]}: {problem['msg']}", error)

    # The reference's default test does not use running statistics; old versions saved them of instance norms too.
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    remaining = {name: value for name, value in imported.state.items() if not name.endswith(statistics)}
    complete = {}
    for name, expected in network.state_dict().items():
        value = remaining.pop(name, None)
        if value is None and name.endswith("bias") and imported.options["norm"] == "none":
            value = torch.zeros(expected.shape)  # the reference has no bias there, which is the same
        if value is None:
            _refuse(path, f"it lacks the weights called '{name}' in our '{imported.name}'")
        if value.shape != expected.shape:
            _refuse(
                path,
                f"the weights called '{name}' in our '{imported.name}' have shape {tuple(value.shape)}, "
                f"expected {tuple(expected.shape)}",
            )
        complete[name] = value.to(expected.dtype)
    if remaining:
        _refuse(path, f"it has {_abbreviated(sorted(remaining))}, which such a generator does not have")
    return replace(imported, state=complete)
