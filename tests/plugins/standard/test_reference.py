"""Imported weights of the reference implementation compute the same as in the reference implementation's default test.

The networks below reimplement its published layout in plain PyTorch, and share nothing with the plugin. Its default
test leaves them in training mode, and translates one image at a time.
"""

import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transgan_standard import reference
from transgan_standard.generators import ResnetGenerator, UnetGenerator
from transgan_standard.reference import read_reference_generator

from transgan.api import DataError, NetworkSpec
from transgan.inference.model_folder import import_reference
from transgan.inference.translator import Translator


def norm(kind: str, channels: int, tracked: bool = False) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, track_running_stats=tracked) if kind == "instance" else nn.Identity()


class Block(nn.Module):
    def __init__(self, channels: int, kind: str, dropout: bool, tracked: bool):
        super().__init__()
        bias = kind == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(kind, channels, tracked),
            nn.ReLU(True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(kind, channels, tracked),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Blur(nn.Module):
    """The antialiased downsampling of CUT, whose filter is saved with the weights."""

    def __init__(self, channels: int):
        super().__init__()
        a = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filt", (a[:, None] * a / 16).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class Unblur(nn.Module):
    """The antialiased upsampling of CUT."""

    def __init__(self, channels: int):
        super().__init__()
        a = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("filt", (a[:, None] * a / 16).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.filt, stride=2, groups=x.shape[1])
        return y[:, :, 3:-3, 3:-3]


class Resnet(nn.Module):
    def __init__(
        self,
        inputs: int = 3,
        outputs: int = 3,
        ngf: int = 4,
        blocks: int = 9,
        kind: str = "instance",
        dropout: bool = False,
        tracked: bool = False,
        cut: bool = False,
    ):
        super().__init__()
        bias = kind == "instance"

        def after(channels: int) -> list[nn.Module]:
            return [norm(kind, channels, tracked), nn.ReLU(True)]

        layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, ngf, 7, bias=bias), *after(ngf)]
        for c in (ngf, 2 * ngf):
            layers += [nn.Conv2d(c, 2 * c, 3, stride=1 if cut else 2, padding=1, bias=bias), *after(2 * c)]
            layers += [Blur(2 * c)] if cut else []
        layers += [Block(4 * ngf, kind, dropout, tracked) for _ in range(blocks)]
        for c in (4 * ngf, 2 * ngf):
            if cut:
                layers += [Unblur(c), nn.Conv2d(c, c // 2, 3, padding=1, bias=bias)]
            else:
                layers += [nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)]
            layers += after(c // 2)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Skip(nn.Module):
    """A level of the U-Net, with the levels inside it."""

    def __init__(self, outer: int, inner: int, inputs: int | None, within: nn.Module | None, kind: str, place: str):
        super().__init__()
        self.outermost = place == "outermost"
        bias = kind == "instance"
        down = nn.Conv2d(inputs or outer, inner, 4, stride=2, padding=1, bias=bias)
        if place == "outermost":
            up = nn.ConvTranspose2d(2 * inner, outer, 4, stride=2, padding=1)
            layers = [down, within, nn.ReLU(True), up, nn.Tanh()]
        elif place == "innermost":
            up = nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1, bias=bias)
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, norm(kind, outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, stride=2, padding=1, bias=bias)
            layers = [nn.LeakyReLU(0.2, True), down, norm(kind, inner), within, nn.ReLU(True), up, norm(kind, outer)]
            layers += [nn.Dropout(0.5)] if place == "dropout" else []
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Unet(nn.Module):
    def __init__(self, inputs: int = 3, outputs: int = 3, downs: int = 7, ngf: int = 4, kind: str = "batch"):
        super().__init__()
        level = Skip(ngf * 8, ngf * 8, None, None, kind, "innermost")
        for _ in range(downs - 5):
            level = Skip(ngf * 8, ngf * 8, None, level, kind, "dropout")
        for times in (4, 2, 1):
            level = Skip(ngf * times, ngf * times * 2, None, level, kind, "between")
        self.model = Skip(outputs, ngf, inputs, level, kind, "outermost")

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def randomise(network: nn.Module) -> nn.Module:
    """Return the network with random weights, biases and statistics: their initial values would hide mistakes."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or (name.endswith("weight") and value.dim() == 1):
                value.uniform_(0.5, 1.5)
            elif value.dim() == 4 and not name.endswith("filt"):
                value.normal_(0, (2 / value[0].numel()) ** 0.5)
            elif value.is_floating_point() and value.dim() == 1:
                value.normal_(0, 0.1)
    return network


def default_test(network: nn.Module, x: Tensor) -> Tensor:
    """Return what the reference's default test computes, with dropout, which is random there, switched off."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    with torch.no_grad():
        return torch.cat([network(image) for image in x.split(1)])


def save(network: nn.Module, path: Path, parallel: bool = False, **how: bool) -> Path:
    state = network.state_dict()
    torch.save(OrderedDict((f"module.{n}", v) for n, v in state.items()) if parallel else state, path, **how)
    return path


def check(original: nn.Module, path: Path, size: int, inputs: int = 3, outputs: int = 3, **options: object) -> None:
    """Check the options of the imported generator, and that it computes the same as the original."""
    imported = read_reference_generator(path)
    assert (imported.inputs, imported.channels) == (inputs, outputs)
    assert {name: imported.options[name] for name in options} == options
    cls = {"resnet": ResnetGenerator, "unet": UnetGenerator}[imported.name]
    network = cls(cls.Options(**imported.options), NetworkSpec(outputs, inputs, 0, (size, size), (), ()))
    network.load_state_dict(imported.state)
    x = torch.rand(2, inputs, size, size, dtype=torch.float64) * 2 - 1
    expected = default_test(original.double(), x)
    assert expected.std() > 0.1
    with torch.inference_mode():
        assert torch.allclose(network.double().eval()(x), expected, atol=1e-9, rtol=0)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# Runs the reading program for one file after the other. Resource limits could not be raised again for the next file.
READER = """
import json, resource, sys
import torch

resource.setrlimit = lambda kind, limits: None
for line in sys.stdin:
    program, *arguments = json.loads(line)
    sys.argv = ["-c", *arguments]
    error = None
    try:
        exec(program, {})
    except SystemExit as stop:
        error = str(stop.code)
    print(json.dumps(error), flush=True)
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.fixture
def shared_reader(reader: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Read all files in one process instead of one for each, which would import torch for two seconds each time."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert reader.stdin is not None and reader.stdout is not None
        reader.stdin.write(json.dumps(command[command.index("-c") + 1 :]) + "\n")
        reader.stdin.flush()
        error = json.loads(reader.stdout.readline())
        return subprocess.CompletedProcess(command, int(error is not None), "", error or "")

    monkeypatch.setattr(reference.subprocess, "run", run)


def test_resnet_9blocks(tmp_path):
    original = randomise(Resnet())
    path = save(original, tmp_path / "latest_net_G_A.pth")
    check(original, path, 32, width=4, blocks=9, downs=2, norm="instance", dropout=0.0)


@pytest.mark.usefixtures("shared_reader")
def test_resnet_6blocks_with_other_channels_saved_by_an_old_version_on_several_gpus(tmp_path):
    original = randomise(Resnet(inputs=4, outputs=1, blocks=6, dropout=True, tracked=True))
    path = save(original, tmp_path / "G.pth", parallel=True, _use_new_zipfile_serialization=False)
    check(original, path, 32, inputs=4, outputs=1, blocks=6, dropout=0.5)


@pytest.mark.usefixtures("shared_reader")
@pytest.mark.parametrize("kind", ["batch", "none"])
def test_resnet_with_other_norms(tmp_path, kind):
    original = randomise(Resnet(blocks=2, kind=kind))
    expected = {"norm": "instance", "affine": True} if kind == "batch" else {"norm": kind}
    check(original, save(original, tmp_path / "G.pth"), 32, blocks=2, **expected)


@pytest.mark.usefixtures("shared_reader")
def test_resnet_of_cut(tmp_path):
    original = randomise(Resnet(blocks=3, cut=True))
    path = save(original, tmp_path / "G.pth")
    check(original, path, 32, blocks=3, downsample="antialiased", upsample="bilinear")


@pytest.mark.usefixtures("shared_reader")
@pytest.mark.parametrize(("kind", "downs"), [("batch", 7), ("instance", 5), ("none", 6)])
def test_unet(tmp_path, kind, downs):
    original = randomise(Unet(inputs=1, downs=downs, kind=kind))
    path = save(original, tmp_path / "G.pth", parallel=downs == 6)
    expected = {"norm": "instance", "affine": True} if kind == "batch" else {"norm": kind}
    check(original, path, 2**downs, inputs=1, downs=downs, width=4, **expected)


@pytest.mark.usefixtures("shared_reader")
@pytest.mark.parametrize("network", [lambda: Unet(downs=5), lambda: Resnet(blocks=2, kind="batch", dropout=True)])
def test_a_picture_is_within_half_a_grey_level_of_the_default_test(tmp_path, network):
    """The kind: batch norm, whose statistics are each picture's own there; running ones give other pictures."""
    original = randomise(network())
    weights = save(original, tmp_path / "latest_net_G.pth")
    import_reference(weights, tmp_path / "model", "label", "photo", 32)
    translator = Translator.from_pretrained(tmp_path / "model", "cpu")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(low, high, (32, 32, 3), dtype=np.uint8) for low, high in ((0, 256), (200, 240))]
    levels = []
    for picture in pictures:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
        expected = (default_test(original, x)[0].permute(1, 2, 0).numpy() + 1) * 127.5
        found = np.asarray(translator(Image.fromarray(picture), to="photo")).astype(float)
        assert np.abs(found - expected).max() < 0.51
        again = np.asarray(translator(Image.fromarray(picture), to="photo"))
        assert np.array_equal(found, again)  # dropout is off
        with torch.no_grad():
            running = (original.eval()(x)[0].permute(1, 2, 0).numpy() + 1) * 127.5
        levels.append(np.abs(running - expected).mean())
    assert max(levels) > 5  # the difference that this is about


class Hostile:
    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, zipped):
    evidence, path = tmp_path / "was-run", tmp_path / "G.pth"
    state = {"model.1.weight": Hostile(f"touch {evidence}")}
    if zipped:
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(DataError, match=r"G\.pth: refused: it references 'posix\.system'"):
        read_reference_generator(path)
    assert not evidence.exists()


def test_file_that_needs_far_more_memory_than_its_size_is_refused(tmp_path):
    path = tmp_path / "G.pth"
    torch.save({"model.1.weight": torch.zeros(1).expand(2**20, 2**20)}, path)
    with pytest.raises(DataError, match="refused: it needs far more memory"):
        read_reference_generator(path)


def test_reading_has_a_time_limit(tmp_path, monkeypatch):
    path = save(Resnet(blocks=1), tmp_path / "G.pth")
    monkeypatch.setattr(reference, "TIMEOUT", 0.01)
    with pytest.raises(DataError, match=r"not read within 0\.01 seconds"):
        read_reference_generator(path)


@pytest.mark.usefixtures("shared_reader")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of tensors"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a file of tensors"),
        ([1, 2], "found list, expected named tensors"),
        ({"epoch": 3}, "'epoch' is int, expected a tensor"),
        ({"generator.weight": torch.zeros(1)}, "it has 'generator.weight'"),
        ({"model.": torch.zeros(1)}, r"it has 'model\.'"),
        ({"model.1.weight": torch.zeros(4, 3, 7, 7)}, "expected the weights of a U-Net or of residual blocks"),
        ({"model.model.0.weight": torch.zeros(4, 3, 4, 4)}, r"it lacks 'model\.model\.3\.weight'"),
        (
            {"model.model.0.weight": torch.zeros(()), "model.model.3.weight": torch.zeros(())},
            "expected the 4 axes of a",
        ),
        ({"model.x.conv_block": torch.zeros(())}, r"it has 'model\.x\.conv_block'"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "G.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(DataError, match=message) as raised:
        read_reference_generator(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_reference_generator(tmp_path / "nothing.pth")


@pytest.mark.parametrize("network", [lambda: Resnet(blocks=2), lambda: Unet(downs=5)], ids=["resnet", "unet"])
def test_unknown_missing_and_misshapen_weights_are_reported(monkeypatch, network):
    state_dict = network().state_dict()
    path = Path("G.pth")

    def read(state: dict[str, Tensor]) -> None:
        monkeypatch.setattr(reference, "_load", lambda path: dict(state))
        read_reference_generator(path)

    read(state_dict)
    for name in state_dict:
        if name.endswith("weight"):
            with pytest.raises(DataError, match=r"^G\.pth: not a generator of the reference"):
                read({key: value for key, value in state_dict.items() if key != name})
            with pytest.raises(DataError, match=r"^G\.pth: not a generator of the reference"):
                read({**state_dict, name: torch.cat([state_dict[name], state_dict[name][:1]])})
    for unknown in ("model.99.weight", "model.model.9.weight", "model.11.conv_block.9.weight"):
        with pytest.raises(DataError, match=unknown.replace(".", r"\.")):
            read({**state_dict, unknown: torch.zeros(1)})


@pytest.mark.usefixtures("shared_reader")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n <!DOCTYPE html>\n<html><title>Virus scan warning</title></html>", "it is a web page"),
        (b"<html></html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b'{"error": "not found"}', "it is JSON"),
        (b"\x1f\x8b\x08\x00" + bytes(50), "packed archive"),
        ([{}], "found list, expected named tensors"),
        ({}, "found dict, expected named tensors"),
        ({"state_dict": {}}, "found dict, expected named tensors"),
        ({"state_dict": {"state_dict": [1]}}, "is list, expected a tensor"),
        ({"model." + "1" * 5000 + ".weight": torch.zeros(1)}, "expected names such as 'model.1.weight'"),
        ({"model.9999.weight": torch.zeros(1, 1, 1, 1)}, "expected the weights of a U-Net or of residual blocks"),
        ({"model.1.conv_block.1.weight": torch.zeros(1), "model.٣.weight": torch.zeros(1, 1, 1, 1)}, "it lacks"),
        ({"\x1b[2J": torch.zeros(1)}, "expected names such as 'model.1.weight'"),
        ({"a\udcff": torch.zeros(1)}, ""),
        ({7: torch.zeros(1)}, "7 is Tensor, expected a tensor"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_weights_of_another_kind(tmp_path, content, message):
    """The kind: what a browser saves in place of a file, tables around the tensors, and names of any form."""
    path = tmp_path / "G.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(DataError) as raised:
        read_reference_generator(path)
    assert message in str(raised.value) and str(raised.value).isprintable() and len(str(raised.value)) < 1000


@pytest.mark.usefixtures("shared_reader")
@pytest.mark.parametrize("keys", [("state_dict",), ("model",), ("netG",), ("state_dict", "params")])
def test_tensors_in_a_table_of_a_training_program_are_found(tmp_path, keys):
    original = randomise(Resnet(blocks=2))
    state = original.state_dict()
    for key in reversed(keys):
        state = {key: state, "epoch": 3, "optimizer": {"lr": 0.1}}
    torch.save(state, tmp_path / "G.pth")
    check(original, tmp_path / "G.pth", 32, blocks=2)
