"""pix2pixHD: parameter counts by hand, features that join, stages that freeze, and resuming between them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transgan_methods.pix2pixhd import Pix2pixHdGenerator, Pix2pixHdOptions
from transgan_standard.conditionings import PlanesConditioning, PlanesOptions
from transgan_standard.discriminators import PatchDiscriminator, PatchOptions
from transgan_standard.nodes import TranslationNodes

from transgan import Translator, storage
from transgan.api import Conditions, NetworkSpec, Register, UsageError, hookimpl, node
from transgan.cli.resume import resume
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.dry_run import describe
from transgan.errors import RecipeError
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.training import Engine
from transgan.training.trace import trace_phases

RECIPE = """
[data]
source = { use = "synthetic_streets", count = 12 }
media = { use = "image", flip = false }
size = [16, 32]
[domains]
label = { path = "labels", media = { use = "label_map", classes = 8, flip = false } }
photo = "picture"
[inputs.boundaries]
domains = { label = "instances" }
media = { use = "instance_boundaries", flip = false }
[tasks]
street = { from = "label", to = "photo", paired = true }
[train]
steps = 6
batch = 2
log_every = 1
ema = 0.5
[optimizers]
generator.lr = 1e-3
[nodes]
use = "pix2pixhd_translation"
[conditionings.planes]
of = "boundaries"
[generators.g]
use = "pix2pixhd"
width = 4
downs = 1
blocks = 1
enhancer_blocks = 1
[discriminators.d]
use = "patch"
given = ["source", "source_boundaries"]
width = 4
layers = 1
scales = 2
[losses]
lsgan = 1.0
feature_matching = 10.0
[[stages]]
share = 0.34
size = [8, 16]
conditions = { enhancers = 0, first_scale = 1 }
[[stages]]
share = 0.33
freeze = ["g|global_generator*"]
[[stages]]
share = 0.33
"""


def spec(inputs: int, space: tuple[int, int]) -> NetworkSpec:
    return NetworkSpec(3, inputs, 0, space, ("label", "photo"), ("street",), {}, inputs)


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


def count(modules: Any) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_networks_have_the_published_layers_and_parameters() -> None:
    """The layers of the authors' networks for Cityscapes, 35 classes and a map of boundaries, counted by hand."""
    down = [(64, 128), (128, 256), (256, 512), (512, 1024)]
    features = convolution(36, 64, 7) + 9 * 2 * convolution(1024, 1024, 3)
    features += sum(convolution(a, b, 3) + convolution(b, a, 3) for a, b in down)
    enhancer = convolution(36, 32, 7) + convolution(32, 64, 3) + 3 * 2 * convolution(64, 64, 3) + convolution(64, 32, 3)
    with torch.device("meta"):
        network = Pix2pixHdGenerator(Pix2pixHdOptions(), spec(36, (1024, 2048)))
        patch = PatchDiscriminator(PatchOptions(scales=3, padding=2), spec(39, (1024, 2048)))
    assert count([network.global_generator]) == features
    assert count([network.global_generator, network.outputs[0]]) == features + convolution(64, 3, 7) == 182_546_755
    assert count([network.enhancers]) == enhancer
    assert count([network.global_generator, network.enhancers, network.outputs[1]]) == (
        features + enhancer + convolution(32, 3, 7)
    )
    assert network.stride == 32
    one = sum(convolution(a, b, 4) for a, b in [(39, 64), (64, 128), (128, 256), (256, 512), (512, 1)])
    assert count([patch]) == 3 * one
    output = patch(torch.empty(1, 39, 1024, 2048, device="meta"))
    # Each convolution with a padding of 2 of a kernel of 4: n -> n // 2 + 1 with stride 2, n + 1 with stride 1.
    sizes = []
    for height, width in ((1024, 2048), (512, 1024), (256, 512)):
        for _ in range(3):
            height, width = height // 2 + 1, width // 2 + 1
        sizes.append((height + 2, width + 2))
    assert [tuple(each.shape[2:]) for each in output.logits] == sizes


def test_an_enhancer_adds_its_features_to_the_last_ones_of_the_coarser_network() -> None:
    """The forward pass, written out with torch's functions alone."""
    torch.manual_seed(0)
    options = Pix2pixHdOptions(width=4, downs=1, blocks=0, enhancer_blocks=0, norm="none")
    network = Pix2pixHdGenerator(options, spec(2, (16, 32))).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    x = torch.randn(2, 2, 16, 32, dtype=torch.float64)

    def layer(x: Tensor, conv: Any, **how: Any) -> Tensor:
        return F.relu(F.conv2d(x, conv.weight, conv.bias, **how))

    def up(x: Tensor, conv: Any) -> Tensor:
        return F.relu(F.conv_transpose2d(x, conv.weight, conv.bias, stride=2, padding=1, output_padding=1))

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, (3, 3, 3, 3), mode="reflect")

    convs = [each for each in network.global_generator if hasattr(each, "weight")]
    half = torch.zeros(2, 2, 8, 16, dtype=torch.float64)
    for i in range(8):
        for j in range(16):
            half[:, :, i, j] = x[:, :, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2].mean((2, 3))
    coarse = up(layer(layer(padded(half), convs[0]), convs[1], stride=2, padding=1), convs[2])
    (enhancer,) = network.enhancers
    first, second = (each for each in enhancer.front if hasattr(each, "weight"))
    fine = layer(layer(padded(x), first), second, stride=2, padding=1)
    fine = up(fine + coarse, next(each for each in enhancer.back if hasattr(each, "weight")))
    expected = F.conv2d(padded(fine), network.outputs[1].weight, network.outputs[1].bias).tanh()
    torch.testing.assert_close(network(x), expected)
    coarse_image = F.conv2d(padded(coarse), network.outputs[0].weight, network.outputs[0].bias).tanh()
    torch.testing.assert_close(network(half, enhancers=0), coarse_image)
    enlarged = F.interpolate(coarse_image, (16, 32), mode="bilinear")
    torch.testing.assert_close(network.eval()(x, enhancers=0), enlarged)


def test_two_enhancers_have_a_half_and_a_quarter_of_the_channels() -> None:
    network = Pix2pixHdGenerator(Pix2pixHdOptions(width=8, downs=1, blocks=1, enhancers=2), spec(3, (32, 64)))
    assert [each.front[1].out_channels for each in network.enhancers] == [4, 2]
    for enhancers, size in ((0, (8, 16)), (1, (16, 32)), (2, (32, 64))):
        assert network(torch.zeros(1, 3, *size), enhancers=enhancers).shape == (1, 3, *size)
    with pytest.raises(UsageError, match="16x32 pixels, and samples have 32x64; set size = "):
        network(torch.zeros(1, 3, 32, 64), enhancers=1)
    with pytest.raises(UsageError, match="enhancers = 3: expected 0 to 2"):
        network(torch.zeros(1, 3, 32, 64), enhancers=3)


def test_planes_are_appended_to_the_input() -> None:
    planes = PlanesConditioning(PlanesOptions(of="boundaries"), spec(2, (4, 8)))
    x, edges = torch.randn(2, 2, 4, 8), torch.randn(2, 1, 4, 8)
    y, style = planes(x, None, boundaries=edges)
    assert torch.equal(y[:, :2], x) and torch.equal(y[:, 2:], edges) and style is None
    with pytest.raises(UsageError, match="'boundaries' is"):
        planes(x, None, boundaries=edges[..., :4])


def test_coarser_discriminators_stay_at_their_resolution() -> None:
    torch.manual_seed(0)
    patch = PatchDiscriminator(PatchOptions(width=4, layers=1, scales=3), spec(3, (32, 64)))
    x = torch.randn(1, 3, 32, 64)
    whole = patch(x)
    half = patch(F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False), first_scale=1)
    assert len(half.logits) == 2 and len(half.features) == 4
    for a, b in zip(whole.logits[1:], half.logits, strict=True):
        assert torch.equal(a, b)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_stages_train_the_global_generator_then_the_enhancer_then_both(planned: Any) -> None:
    plan = planned(RECIPE)
    engine = Engine(plan)
    states, moments = [], []

    def note() -> None:
        states.append({key: value.clone() for key, value in engine.networks.state_dict().items()})
        moments.append({key: value.clone() for key, value in engine.optimizers.state_dict().items()})

    note()
    for _ in engine.train(Batches(plan, Domains(plan))):
        note()
    parts = {name: {k for k in states[0] if k.startswith(name)} for name in ("g|", "d.photo|network.scales.0")}
    own = {
        name: {key for key in parts["g|"] if key.startswith(f"g|network.{name}")}
        for name in ("global_generator", "enhancers", "outputs.0", "outputs.1")
    }
    assert set().union(*own.values()) == parts["g|"]
    weights = {key for key in own["global_generator"] if key.endswith("weight")}
    first, second, third = (changed(states[i], states[i + 2]) for i in (0, 2, 4))
    assert weights <= first and own["outputs.0"] <= first
    assert not first & (own["enhancers"] | own["outputs.1"] | parts["d.photo|network.scales.0"])
    assert not second & (own["global_generator"] | own["outputs.0"])
    assert own["outputs.1"] <= second and parts["d.photo|network.scales.0"] & second
    assert weights <= third and own["outputs.1"] <= third and not third & own["outputs.0"]
    for key, value in moments[2].items():  # frozen: moments of the first stage wait for the third
        if key.startswith("g|network.global_generator"):
            assert torch.equal(moments[4][key], value)
    step = next(key for key in moments[2] if "global_generator" in key and key.endswith("|step"))
    assert [int(each[step]) for each in moments[1:]] == [1, 2, 2, 2, 3, 4]


def test_resuming_in_each_stage_gives_the_same_bits(trained: Any, recipe_file: Any, tmp_path: Path) -> None:
    recipe = recipe_file(RECIPE)
    whole = trained(recipe, tmp_path / "whole", "train.checkpoint_every=1", "train.keep=9")
    for step in (1, 2, 3, 5):
        folder = tmp_path / f"{step}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "result.json").unlink()
        for later in range(step + 1, 7):
            shutil.rmtree(folder / f"checkpoints/step-{later:08d}")
        with pytest.raises(typer.Exit) as end:
            resume(folder, steps=None, from_=None, plugin=[])
        assert end.value.exit_code == 0 and storage.saved_steps(folder / "checkpoints") == [*range(1, 7)]
        again, _ = storage.newest(folder / "checkpoints")
        assert again is not None
        for group in ("networks", "optimizers", "ema"):
            assert not changed(whole.groups[group], again.groups[group]), (step, group)


def test_a_model_of_the_first_stage_translates_by_the_global_generator_alone(
    trained: Any, recipe_file: Any, tmp_path: Path
) -> None:
    trained(recipe_file(RECIPE), tmp_path / "run", "train.checkpoint_every=1", "train.keep=9")
    one_hot = torch.zeros(1, 8, 16, 32)
    one_hot[:, 3] = 1
    for step, own in ((2, {"enhancers": 0}), (3, {}), (6, {})):
        translator = Translator.from_pretrained(tmp_path / "run", "cpu", step)
        assert translator.plan.stage_conditions(translator.clock, training=False) == own
        network = translator.networks["g"]
        direction = translator.plan.directions[0]
        inputs = {"boundaries": tmp_path / "instances.png"}
        _write_numbers(inputs["boundaries"])
        y = translator(_labels(tmp_path), inputs=inputs)
        assert y.size == (32, 16) and direction.translation.target == "photo"
        expected = network(one_hot, boundaries=torch.zeros(1, 1, 16, 32), **own)
        found = torch.from_numpy(np.array(y)).permute(2, 0, 1)[None] / 127.5 - 1
        torch.testing.assert_close(found, expected, rtol=0, atol=1 / 127)


def test_the_best_weights_are_those_of_the_networks_that_the_last_stage_has(
    trained: Any, recipe_file: Any, tmp_path: Path
) -> None:
    """Of the kind: a figure of the first stage, which uses other networks, must not decide."""
    best = ("evaluate.every=1", "evaluate.keep_best='counterpart_error'", "metrics={counterpart_error=true}")
    ended = trained(recipe_file(RECIPE), tmp_path / "run", "optimizers.generator.lr=1.0", *best)
    figures = {
        each["step"]: each["street: label -> photo/counterpart_error"]
        for each in storage.read_metrics(tmp_path / "run/metrics.jsonl")
        if "street: label -> photo/counterpart_error" in each
    }
    known = {step: figure for step, figure in figures.items() if step > 2}
    assert ended.state["best"]["step"] == min(known, key=lambda step: known[step])


def _labels(folder: Path) -> Path:
    Image.new("L", (32, 16), 3).save(folder / "labels.png")
    return folder / "labels.png"


def _write_numbers(path: Path) -> None:
    Image.fromarray(np.full((16, 32), 3001, np.uint16)).save(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.0.conditions={enhancer=0}", "enhancer: no network of this recipe has such an argument"),
        ("stages.0.conditions={task=0}", "is a condition of samples, which a stage cannot set"),
        ("stages.0.freeze=['g|global*', 'g|globe*']", "'g|globe*' matches none"),
        ("generators.g.width=3", "width = 3 cannot be halved 1 times; choose a multiple of 2"),
    ],
)
def test_a_mistake_is_one_line_of_the_plan(planned: Any, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(RECIPE, overrides=(override,))
    assert message in caught.value.problems[0]


def test_a_stage_of_the_wrong_size_is_found_before_training(planned: Any) -> None:
    plan = planned(RECIPE, overrides=("stages.0.size=[16, 32]",))
    with pytest.raises(RecipeError, match="set size = \\[8, 16\\] in this stage"):
        trace_phases(plan, plan.stages[0])


class Silent(TranslationNodes):
    """Nodes that know nothing of stages."""

    @node
    def to_target(self, task: Tensor, source_boundaries: Tensor) -> Conditions:  # type: ignore[override]
        return {"task": task, "boundaries": source_boundaries}


class Plugin:
    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("silent", Silent)


def test_networks_get_a_stages_conditions_whatever_nodes_call_them(planned: Any) -> None:
    def activations(plan: Any) -> list[int]:
        return [sum(each.peak for each in trace_phases(plan, stage)) for stage in plan.stages]

    own = activations(planned(RECIPE, Plugin(), ('nodes.use="silent"',)))
    assert own == activations(planned(RECIPE)) and own[0] < own[1] < own[2]


def test_every_stage_is_traced_with_its_networks(planned: Any) -> None:
    plan = planned(RECIPE)
    assert plan.networks["d.photo"].spec.inputs == 8 + 1 + 3
    assert plan.networks["g"].spec.inputs == 8 + 1
    sizes = [sum(each.peak for each in trace_phases(plan, stage)) for stage in plan.stages]
    assert sizes[0] < sizes[1] < sizes[2]
    lines = [line for line in describe(plan) if line.startswith("stage ")]
    assert lines[0].endswith("size (8, 16), batch 2, enhancers = 0, first_scale = 1")
    assert lines[1].endswith("size (16, 32), batch 2, g|global_generator* frozen")


def test_a_perceptual_loss_compares_photographs_where_sources_are_maps(planned: Any) -> None:
    sizes = ("data.size=[32, 64]", "stages.0.size=[16, 32]", "stages.0.losses.perceptual=0.0")
    perceptual = 'losses.perceptual={model="squeezenet", to="target", layers=[0, 1]}'
    plan = planned(RECIPE, overrides=(*sizes, perceptual))
    assert "perceptual" in trace_phases(plan, plan.stages[2])[1].losses
    with pytest.raises(RecipeError, match="images of 1 or 3 channels, and these have 8"):
        plan = planned(RECIPE, overrides=(*sizes, perceptual.replace("target", "source")))
        trace_phases(plan, plan.stages[2])


@pytest.mark.parametrize(("size", "half"), [([512, 1024], [256, 512]), ([1024, 2048], [512, 1024])])
def test_the_published_recipe_plans_at_other_sizes(size: list[int], half: list[int], registry: Any) -> None:
    path = Path(__file__).parents[3] / "recipes/pix2pixhd.toml"
    plan = make_plan(read_recipe(path, [f"data.size={size}", f"stages.0.size={half}"]), registry)
    assert [stage.last for stage in plan.stages] == [595_000, 624_750, 892_500]


def test_written_recipes_keep_what_stages_say(trained: Any, recipe_file: Any, tmp_path: Path) -> None:
    trained(recipe_file(RECIPE), tmp_path / "run", "train.steps=3")
    written = read_recipe(tmp_path / "run/recipe.toml").recipe
    assert written.stages[0].conditions == {"enhancers": 0, "first_scale": 1}
    assert storage.newest(tmp_path / "run/checkpoints")[0].step == 3  # type: ignore[union-attr]
