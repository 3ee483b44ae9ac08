"""`transgan import`: convert a generator of the reference implementation; its outputs stay the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from transgan import Translator


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        convolutions = [
            [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)] for _ in range(2)
        ]
        self.conv_block = nn.Sequential(*convolutions[0], nn.ReLU(), *convolutions[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Reference(nn.Module):
    """The residual generator of the reference implementation, with its layout of layers."""

    def __init__(self, inputs: int = 3, outputs: int = 3, width: int = 4):
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7)]
        layers += [nn.InstanceNorm2d(width), nn.ReLU()]
        for c in (width, 2 * width):
            layers += [nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * c), nn.ReLU()]
        layers += [Block(4 * width), Block(4 * width)]
        for c in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(c // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y


def saved(path: Path, **options: int) -> nn.Module:
    torch.manual_seed(0)
    network = Reference(**options).eval()
    torch.save(network.state_dict(), path)
    return network


@pytest.fixture
def read_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files in this process, which is faster; tests of the reader cover its own process."""
    from transgan_standard import reference

    monkeypatch.setattr(reference, "_load", lambda path: dict(torch.load(path, weights_only=True)))


def test_imported_generator_computes_the_same(transgan: Any, tmp_path: Path) -> None:
    reference = saved(tmp_path / "latest_net_G_A.pth")
    done = transgan("import", "latest_net_G_A.pth", "-o", "model", "--from", "horse", "--to", "zebra", "--size", 48)
    assert (done.code, done.err) == (0, "")
    assert done.out == "resnet, horse -> zebra, 13,379 numbers, in model\n"
    assert {path.name for path in Path("model").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert "horse -> zebra" in (card := Path("model/README.md").read_text()) and "`latest_net_G_A.pth`" in card
    assert str(tmp_path) not in card + Path("model/config.json").read_text()

    translator = Translator.from_pretrained("model", "cpu")
    (translation,) = translator.translations
    assert (translation.source, translation.target) == ("horse", "zebra")
    x = torch.rand(3, 48, 60) * 2 - 1
    with torch.inference_mode():
        expected = reference(x[None])[0]
    assert expected.std() > 0.05
    assert torch.allclose(translator.translate(x, translator.choose()), expected, atol=1e-5, rtol=0)
    image = Image.fromarray(np.full((48, 48, 3), 90, np.uint8))
    assert translator(image).size == (48, 48)
    assert transgan("info", "model").out.startswith("latest_net_G_A, imported, by TransGAN ")


@pytest.mark.usefixtures("read_in_process")
def test_grayscale_generator(transgan: Any, tmp_path: Path) -> None:
    reference = saved(tmp_path / "G.pth", inputs=1, outputs=1)
    assert transgan("import", "G.pth", "-o", "model", "--size", 32).code == 0
    translator = Translator.from_pretrained("model", "cpu")
    x = torch.rand(1, 32, 32) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(translator.translate(x, translator.choose("b")), reference(x[None])[0], atol=1e-5, rtol=0)


@pytest.mark.usefixtures("read_in_process")
def test_files_that_cannot_be_imported(transgan: Any, tmp_path: Path) -> None:
    assert transgan("import", "G.pth", "-o", "m").error(3) == "G.pth: there is no such file"
    (tmp_path / "G.onnx").write_bytes(b"...")
    assert transgan("import", "G.onnx", "-o", "m").error(3).startswith("G.onnx: no plugin knows this kind of file")
    torch.save({"epoch": torch.zeros(1)}, "G.pth")
    assert "not a generator of the reference" in transgan("import", "G.pth", "-o", "m").error(3)
    saved(tmp_path / "G.pth", inputs=1, outputs=3)
    assert transgan("import", "G.pth", "-o", "m").error(3).startswith("G.pth: it turns 1 channels into 3; ")
    saved(tmp_path / "G.pth", inputs=4, outputs=4)
    assert "channels: found 4" in transgan("import", "G.pth", "-o", "m").error(2)
    saved(tmp_path / "G.pth")
    assert "--from and --to are both 'x'" in transgan("import", "G.pth", "-o", "m", "--from", "x", "--to", "x").error(2)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/kept.txt").write_text("...")
    assert "holds something other than a model" in transgan("import", "G.pth", "-o", "taken").error(2)
    assert not Path("m").exists()


@pytest.mark.usefixtures("read_in_process")
def test_the_config_of_an_imported_model_is_like_any_other(transgan: Any, tmp_path: Path, model: Path) -> None:
    from transgan.inference.model_folder import import_reference

    saved(tmp_path / "strange name (1).pth")
    import_reference(tmp_path / "strange name (1).pth", tmp_path / "out", "a", "b", 32)
    mine, other = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", model))
    assert mine["recipe"]["name"] == "strange-name-1-"
    assert mine.keys() == other.keys() and mine["recipe"].keys() == other["recipe"].keys()
    assert (
        mine["recipe"]["generators"]["generator"]["options"].keys()
        == other["recipe"]["generators"]["face"]["options"].keys()
    )
