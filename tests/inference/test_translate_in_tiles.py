"""`Translator` in tiles: the same translations as whole, for every kind of generator, and when tiles are chosen."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import DataWarning, Generator, NetworkSpec, Options, Register, hookimpl
from transgan.inference.model_folder import model_config
from transgan.inference.tiling import choice as module
from transgan.inference.translator import Translator
from transgan.networks import Networks, network_tensors
from transgan.plan import Plan

RESNET = 'use = "resnet", per = "direction", width = 8, blocks = 2'
AGE = "[attributes]\nage = { from = 20, to = 60 }\n"
EMBEDDING = '[conditionings]\ntask = { use = "embedding" }\n'
#: A generator's table, what the recipe has besides, and the size of training samples.
GENERATORS: dict[str, tuple[str, str, str]] = {
    "resnet": (RESNET, "", "32"),
    "resnet, styled": (RESNET, EMBEDDING, "32"),
    "resnet, planes": (
        RESNET + ", norm_first = false",
        '[conditionings]\ntask = { use = "channel" }\nage = { use = "channel", of = "age" }\n',
        "32",
    ),
    "resnet of CUT": (
        RESNET + ', downsample = "antialiased", upsample = "bilinear", init = "xavier", output = "edit"',
        "",
        "32",
    ),
    "resnet, group": (RESNET + ', norm = "group", padding = "zero", depthwise = true', "", "32"),
    "resnet, batch": (RESNET + ', norm = "batch", padding = "replicate", upsample = "nearest"', "", "32"),
    "resnet, not square": (RESNET, "", "[24, 40]"),
    "unet": ('use = "unet", per = "direction", width = 8, norm = "instance", affine = true', "", "32"),
    "unet, dropout": (
        'use = "unet", per = "direction", width = 4, norm = "instance", upsample = "bilinear", dropout_at_use = true',
        "",
        "64",
    ),
    "residual_unet": ('use = "residual_unet", per = "direction", width = 8, factors = [1, 2, 4]', EMBEDDING, "32"),
}
RECIPE = """
[data]
source = {{ use = "synthetic_faces", count = 16 }}
size = {size}
[tasks]
age = {{ between = ["young", "old"] }}
race = {{ between = ["white", "black"] }}
[train]
steps = 1
{train}
[discriminators]
patch = {{ width = 4, layers = 1 }}
[generators]
face = {{ {generator} }}
[losses]
lsgan = 1.0
{more}
"""
MUNIT = """
[data]
source = { use = "synthetic_shapes", count = 24 }
size = 16
[domains]
outline = { fill = "outline" }
filled = { fill = "filled", hue = [0.0, 1.0], free = true }
[tasks]
paint = { between = ["outline", "filled"] }
[train]
steps = 1
[nodes]
use = "munit_translation"
numbers = 3
[generators.munit]
per = "domain"
width = 8
downs = 1
blocks = 1
style_downs = 2
numbers = 3
hidden = 8
[discriminators.patch]
width = 4
layers = 1
[losses]
lsgan = 1.0
"""

Planned = Callable[..., Plan]


def recipe(generator: str, size: object, more: str = "", train: str = "") -> str:
    return RECIPE.format(generator=generator, size=size, more=more, train=train)


def translator_of(plan: Plan) -> Translator:
    """Return a translator with random weights that are large enough for every layer to matter."""
    networks = Networks(plan)
    generator = torch.manual_seed(0)
    for network in networks.values():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, generator=generator)
            else:
                nn.init.normal_(parameter, 1.0 if parameter.mean() > 0.5 else 0.0, 0.1, generator=generator)
    config = {**model_config(plan, 1), "attributes": {"age": dict.fromkeys(plan.domains, 40)}}
    return Translator(plan, network_tensors(networks), config)


def sample(*shape: int) -> Tensor:
    return torch.rand(3, *shape, generator=torch.manual_seed(1)) * 2 - 1


def both_ways(translator: Translator, x: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    """Return a sample translated whole, and in many tiles."""
    direction = translator.plan.directions[0]
    expected = translator.translate(x, direction, True, **how)
    translator.memory = 300_000
    shares: list[float] = []
    translator.on_progress = shares.append
    with pytest.warns(DataWarning) as found:
        y = translator.translate(x, direction, True, **how)
    messages = [str(each.message) for each in found]
    assert len(messages) == 1 and "translated in tiles, with the same result" in messages[0], messages
    assert len(shares) > 50 and shares == sorted(shares) and shares[-1] == pytest.approx(1, abs=1e-6)
    return y, expected


def assert_same(y: Tensor, expected: Tensor) -> None:
    assert y.shape == expected.shape and expected.std() > 0.05
    assert float((y - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("name", GENERATORS)
def test_a_translation_in_tiles_is_that_of_the_whole(planned: Planned, name: str) -> None:
    generator, more, size = GENERATORS[name]
    more += AGE if "age" in more else ""
    plan = planned(recipe(generator=generator, more=more, size=size))
    how = {"attributes": {"age": 31}} if "age" in more else {}
    assert_same(*both_ways(translator_of(plan), sample(131, 77), **how))


def test_networks_that_nodes_call_several_times_are_tiled_too(planned: Planned) -> None:
    """MUNIT: instance norm, layer norm over space, adaptive instance norm; a decoder takes what an encoder returns."""
    assert_same(*both_ways(translator_of(planned(MUNIT)), sample(131, 77)))


class Paints(Generator):
    """Changes a part of its output in place."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x)
        y[:, :1] += y[:, 1:2]
        return y.tanh()


class Attends(Paints):
    """Mixes channels by weights that depend on all places."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x).flatten(2)
        weights = (y @ y.transpose(1, 2) / y.shape[-1]).softmax(-1)
        return torch.tanh(y + weights @ y).view(x.shape)


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("paints", Paints)
        register("attends", Attends)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        (
            "paints",
            "the network changes a part of a tensor in place (add_), which cannot be done in tiles: translated as",
        ),
        ("attends", "not computed in tiles, and so limited by memory: "),
    ],
)
def test_what_cannot_be_tiled_is_right_and_said(planned: Planned, name: str, note: str) -> None:
    translator = translator_of(planned(recipe(generator=f'use = "{name}", per = "direction"', size=16), Plugin()))
    x, direction = sample(160, 208), translator.plan.directions[0]
    expected = translator.translate(x, direction, True)
    translator.memory = 10_000
    with pytest.warns(DataWarning) as found:
        y = translator.translate(x, direction, True)
    assert any(note in str(each.message) for each in found), [str(each.message) for each in found]
    assert_same(y, expected)


def test_tiles_are_chosen_where_the_whole_does_not_fit(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = translator_of(planned(recipe(generator=RESNET, size=16)))
    x, direction = sample(64, 48), translator.plan.directions[0]
    shares: list[float] = []
    translator.on_progress = shares.append
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = translator.translate(x, direction, True)  # there is enough
        translator.memory = 10**12
        translator.translate(x, direction, True)
    assert not shares
    translator.memory = None
    monkeypatch.setattr(module, "free_memory", lambda device: 500_000)
    with pytest.warns(
        DataWarning, match=r"3 x 64 x 48 numbers would take about .* kB of memory at once, and 500 kB are "
    ):
        y = translator.translate(x, direction, True)
    assert shares
    assert_same(y, expected)


def test_other_numbers_are_as_precise_as_they_are(planned: Planned) -> None:
    plan = planned(recipe(generator=RESNET, train='precision = "bf16"', size=16))
    y, expected = both_ways(translator_of(plan), sample(131, 77))
    assert float((y - expected).abs().mean()) < 0.02  # 8 bits of mantissa, through 8 layers


#: Prints the peak of resident memory that a translation adds, in bytes.
PEAK = """
import sys, warnings
from pathlib import Path
import torch
from transgan.inference.tiling import Tiling, whole
from transgan.registry import Registry
from transgan.api import NetworkSpec
warnings.simplefilter("ignore")
torch.set_num_threads(1)
cls = Registry.installed().get("generators", "resnet")
spec = NetworkSpec(3, 3, 0, (256, 256), ("a", "b"), ("t",))
network = cls(cls.Options(width=16, blocks=1), spec).eval().requires_grad_(False)
x = torch.rand(1, 3, 1536, 2048)
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
with torch.no_grad():
    network(x[..., :64, :64])
    before = peak()
    tiling = Tiling(torch.device("cpu"), int(sys.argv[1]))
    y = whole(network(tiling.wrap(x))) if int(sys.argv[1]) else network(x)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says the peak of a process's own memory")
def test_memory_is_limited_whatever_the_size() -> None:
    """A whole activation of the outermost layers is 201 MB. Beside the limit are the output, 38 MB, and what PyTorch's
    convolutions use within: 141 MB were measured."""
    added = [
        int(subprocess.run([sys.executable, "-c", PEAK, str(limit)], check=True, capture_output=True).stdout)
        for limit in (0, 100_000_000)
    ]
    assert added[0] > 600_000_000
    assert added[1] < 350_000_000
