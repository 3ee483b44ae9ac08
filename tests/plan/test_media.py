"""Domains with media of their own: other channels, checked where networks, cycles and identity need equal ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transgan import Translator, storage
from transgan.api import Call, Conditions, Nodes, Register, Tensor, hookimpl, node
from transgan.errors import RecipeError, UsageError
from transgan.inference.regions import RegionSelection
from transgan.plan import Plan, build_networks
from transgan.plan.conditioning import check_conditioning
from transgan.registry import Registry
from transgan.training.trace import trace_phases

RECIPE = """
[data]
source = "folders"
root = "ROOT"
size = 16
held_out = 0.25
[domains]
label = { path = "label", media = { channels = 1 } }
photo = "photo"
[tasks.paint]
between = ["label", "photo"]
[train]
steps = 2
batch = 2
ema = 0.9
[generators.g]
use = "resnet"
width = 4
blocks = 1
per = "translation"
[discriminators.d]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
cycle = 5.0
[metrics]
cycle_error = true
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, shape in (("label", (16, 16)), ("photo", (16, 16, 3))):
        (root / name).mkdir()
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def plan_of(planned: Any, folders: Path) -> Callable[..., Plan]:
    return lambda *overrides, plugin=None, text=RECIPE: planned(text.replace("ROOT", str(folders)), plugin, overrides)


def test_networks_get_the_channels_of_their_domains(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    specs = {name: network.spec for name, network in plan.networks.items()}
    assert (specs["g.label-photo"].inputs, specs["g.label-photo"].channels) == (1, 3)
    assert (specs["g.photo-label"].inputs, specs["g.photo-label"].channels) == (3, 1)
    assert (specs["d.label"].inputs, specs["d.photo"].inputs) == (1, 3)
    output = build_networks(plan)["g.label-photo"](torch.zeros(1, 1, 16, 16))
    assert output.shape == (1, 3, 16, 16)
    trace_phases(plan, plan.stages[0])


def test_a_discriminator_sees_the_source_beside_the_target(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of('discriminators.d.given="source"')
    assert {name: each.spec.inputs for name, each in plan.networks.items() if each.kind == "discriminators"} == {
        "d.label": 4,
        "d.photo": 4,
    }
    trace_phases(plan, plan.stages[0])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("losses.identity=1.0", r"needs equal channels: \[paint: label -> photo\] turns 1 into 3"),
        ('generators.g.per="run"', r"'g' would turn 1 channels into 3, and 3 into 1.*set per = \"translation\""),
        ('generators.g.output="edit"', r"changes the input, which has 1 channels, and the output has 3"),
        ("domains.label.media.channel=1", r"domains.label.media.channel\": 1}: unknown key. Did you mean 'channels'"),
        ("domains.label.media=3", "expected the name of a media, or a table of its options"),
    ],
)
def test_what_needs_equal_channels_says_so(plan_of: Callable[..., Plan], override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(override)


def test_random_targets_need_the_same_media(plan_of: Callable[..., Plan]) -> None:
    overrides = ('tasks.paint.targets="random"', 'generators.g.per="run"', 'discriminators.d.per="run"')
    with pytest.raises(RecipeError, match="random targets mix domains in a batch"):
        plan_of(*overrides)


def test_a_model_of_two_media_reads_one_and_writes_the_other(trained: Any, folders: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "paint.toml"
    recipe.write_text(RECIPE.replace("ROOT", str(folders)))
    checkpoint: storage.Checkpoint = trained(recipe, tmp_path / "run")
    assert checkpoint.step == 2
    translator = Translator.from_pretrained(tmp_path / "run")
    assert {name: media.channels for name, media in translator.media.items()} == {"label": 1, "photo": 3}
    assert translator(folders / "label" / "0.png", to="photo").mode == "RGB"
    assert translator(folders / "photo" / "0.png", to="label").mode == "L"
    x = translator.media["label"].read(folders / "label" / "0.png")
    with pytest.raises(UsageError, match="cannot be pasted back"):
        selection = RegionSelection("faces", None)  # type: ignore[arg-type]
        translator.translate_regions(x, selection, [], translator.choose("photo"))


class OwnCondition(Nodes):
    """Nodes that condition the generator on a code, under a name that may be misspelt."""

    @node
    def to_target(self, task: Tensor, target_domain: Tensor) -> Conditions:
        return {"task": task, "domain": target_domain, "cod": target_domain[:, None].float()}

    @node
    def fake(self, source: Tensor, to_target: Conditions) -> Call:
        return Call("generator", source, to_target)


class Plugin:
    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("own_condition", OwnCondition)


def test_a_condition_that_nothing_takes_is_an_error(plan_of: Callable[..., Plan]) -> None:
    """Kind: conditions of nodes' own that reach no network, by a misspelt name or because nothing reads them."""
    overrides = ('nodes="own_condition"', "losses.cycle=false", "metrics.cycle_error=false")
    plan = plan_of(*overrides, plugin=Plugin())
    said = r"nodes: 'own_condition' gives \[generators.g\] the condition 'cod'"
    with pytest.raises(RecipeError, match=said) as caught:
        trace_phases(plan, plan.stages[0])
    assert len([name for name in plan.networks if name.startswith("g.")]) == 2 and len(caught.value.problems) == 1
    misspelt = '[conditionings.code]\nuse = "embedding"\nof = "code"\n'
    plan = plan_of(*overrides, plugin=Plugin(), text=RECIPE + misspelt)
    with pytest.raises(RecipeError, match="'code'"):
        trace_phases(plan, plan.stages[0])


def test_a_condition_reaches_a_generator_that_changes_channels(plan_of: Callable[..., Plan]) -> None:
    """The kind: whatever is tried on a network beside training gives it the channels of its source."""
    text = RECIPE + '[conditionings.task]\nuse = "channel"\n'
    plan = plan_of("generators.g.norm_first=false", text=text)
    assert plan.networks["g.label-photo"].conditioning_names == ("task",)
    assert check_conditioning(plan) == []


#: What each first-party metric takes that is not for samples of any kind, by what it does with them: networks, flow and
#: synthesis, of samples with that number of axes.
AXES = {
    **dict.fromkeys(["frechet", "kernel", "diversity", "content", "inception_score", "coverage"], 2),
    **dict.fromkeys(["factor_error", "factor_coverage", "content_kept", "reference_style", "target_share"], 2),
    **dict.fromkeys(["apparent_label", "landmarks_moved", "synthetic_age", "expression_kept", "hair_edge"], 2),
    **dict.fromkeys(["label_kept", "attention_in_change"], 2),
    **dict.fromkeys(["flicker", "temporal_cycle"], 3),
    "conversion": 1,
}


def test_metrics_say_what_kind_of_samples_they_are_for() -> None:
    registry = Registry.installed()
    found = {name: registry.get("metrics", name).measures for name in AXES}
    assert {name: each and each[1] for name, each in found.items()} == AXES


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("flicker", "is for clips, which have 3 axes; samples of 'label', whose media is 'image', have 2 axes"),
        ("conversion", "is for recordings, which have 1 axis; samples of 'label', whose media is 'image', have 2 axes"),
    ],
)
def test_a_metric_of_another_kind_of_data_is_refused_before_training(
    plan_of: Callable[..., Plan], metric: str, message: str
) -> None:
    pytest.importorskip({"flicker": "cv2", "conversion": "scipy"}[metric])
    with pytest.raises(RecipeError) as caught:
        plan_of(f"metrics.{metric}=true")
    assert message in str(caught.value) and f"metrics.{metric}" in str(caught.value)
    assert plan_of("metrics.frechet=true").metrics.keys() == {"cycle_error", "frechet"}


#: What each first-party loss takes that is not for samples of any kind, by the axes that its formula has: pixels of a
#: picture, frames of speech, frames of a clip and their pixels.
LOSS_AXES = {"cycle_ssim": 2, "face_cycle": 2, "modulation": 1, "anchor": 1, "recurrent": 3, "recycle": 3}


def test_losses_say_what_kind_of_samples_they_are_for() -> None:
    registry = Registry.installed()
    found = {name: registry.get("losses", name).measures for name in registry.names("losses")}
    assert {name: each[1] for name, each in found.items() if each} == LOSS_AXES


@pytest.mark.parametrize("loss", ["modulation", "anchor", "recycle"])
def test_a_loss_of_another_kind_of_data_is_refused(plan_of: Callable[..., Plan], loss: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(f"losses.{loss}=1.0")
    kind = "clips, which have 3 axes" if loss == "recycle" else "recordings, which have 1 axis"
    assert f"losses.{loss}" in str(caught.value) and f"is for {kind}" in str(caught.value)
    assert plan_of(f"losses.{loss}=false").losses.keys() == {"lsgan", "cycle"}
