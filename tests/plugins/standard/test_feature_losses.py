"""Losses on features against their formulas, by themselves and as the engine evaluates them; and runs with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transgan_standard.feature_losses import (
    FeatureMatching,
    FeatureMatchingOptions,
    Perceptual,
    PerceptualOptions,
)

from transgan import storage
from transgan.api import Clock, DiscriminatorOutput, Encoder, NetworkSpec, Options, hookimpl
from transgan.errors import RecipeError
from transgan.inference.translator import Translator
from transgan.plan import Plan

Arrays = list[np.ndarray]


def features(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def arrays(tensors: list[Tensor]) -> Arrays:
    return [each.detach().double().numpy() for each in tensors]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


SHAPES = ((2, 3, 6, 5), (2, 7, 2, 2), (2, 3, 3, 2), (2, 7, 1, 1))  # of two layers at two scales


@pytest.mark.parametrize("compare", ["samples", "means"])
def test_feature_matching_is_the_mean_distance_of_all_layers_and_scales(compare: Any) -> None:
    real, fake = features(*SHAPES), features(*SHAPES)
    loss = FeatureMatching(FeatureMatchingOptions(compare=compare))
    value = loss.for_generator(DiscriminatorOutput([], None, real), DiscriminatorOutput([], None, fake))
    expected = 0.0
    for r, f in zip(arrays(real), arrays(fake), strict=True):
        difference = r - f if compare == "samples" else (r - f).mean((0, 2, 3))
        expected += np.abs(difference).mean() / 4
    assert value.item() == pytest.approx(expected, rel=1e-12)
    value.backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is None for each in real)
    assert all(each.grad is not None for each in fake)
    assert not hasattr(loss, "for_discriminator")


def test_feature_matching_is_computed_in_single_precision() -> None:
    real, fake = features(*SHAPES, dtype=torch.bfloat16), features(*SHAPES, dtype=torch.bfloat16)
    loss = FeatureMatching(FeatureMatchingOptions())
    value = loss.for_generator(DiscriminatorOutput([], None, real), DiscriminatorOutput([], None, fake))
    expected = np.mean([np.abs(r - f).mean() for r, f in zip(arrays(real), arrays(fake), strict=True)])
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_a_discriminator_without_features_is_reported() -> None:
    loss = FeatureMatching(FeatureMatchingOptions())
    with pytest.raises(ValueError, match="returns no features"):
        loss.for_generator(DiscriminatorOutput([]), DiscriminatorOutput([]))


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.0, 2.0]])
def test_perceptual_is_the_weighted_distance_of_feature_maps(distance: Any, weights: list[float] | None) -> None:
    source, fake = features(*SHAPES), features(*SHAPES)
    loss = Perceptual(PerceptualOptions(encoder="e", distance=distance, layer_weights=weights))
    value = loss.for_generator(source_features=source, fake_features=fake)
    differences = [f - s for s, f in zip(arrays(source), arrays(fake), strict=True)]
    means = [(np.abs(each) if distance == "l1" else each**2).mean() for each in differences]
    assert value.item() == pytest.approx(np.dot(weights or [0.25] * 4, means), rel=1e-12)
    one = loss if weights is None else Perceptual(PerceptualOptions(encoder="e", layer_weights=[2.0]))
    assert one.for_generator(source_features=source[0], fake_features=source[0]).item() == 0  # an encoder of one map
    with pytest.raises(ValueError, match="3 layer_weights for 4 feature maps"):
        Perceptual(PerceptualOptions(encoder="e", layer_weights=[1.0] * 3)).for_generator(source, fake)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either encoder"),
        ({"encoder": "e", "model": "resnet18"}, "either encoder"),
        ({"encoder": "e", "weights": "w.pth"}, "weights and size are those of model"),
        ({"model": "resnet18", "of": "reconstruction", "to": "reconstruction"}, "expected two different samples"),
        ({"encoder": "e", "layers": [1, 2], "layer_weights": [1.0]}, "1 layer_weights for 2 layers"),
        ({"encoder": "e", "layers": []}, "at least 1 item"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PerceptualOptions(**options)


RECIPE = """
train = { steps = 2, batch = 4, log_every = 1 }
[generators]
g = { use = "resnet", per = "translation", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, scales = 2 }
[losses]
lsgan = 1.0
feature_matching = 2.0
"""
ENCODERS = """
perceptual = { weight = 0.5, encoder = "levels", of = "OF", to = "TO", distance = "l2", layers = [1, 0] }
[encoders.levels]
"""
Engines = Callable[[Plan], tuple[Any, dict[str, nn.Module]]]


class Levels(Encoder):
    """Two feature maps of a small network with batch norm, which `layers` selects."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.first, self.second = nn.Conv2d(spec.inputs, 4, 3), nn.Conv2d(4, 5, 3, stride=2)

    def forward(self, x: Tensor, layers: list[int]) -> list[Tensor]:
        maps = [self.first(x).tanh()]
        maps.append(self.second(maps[0]))
        return [maps[index] for index in layers]


class Plugin:
    @hookimpl
    def register_encoders(self, register: Any) -> None:
        register("levels", Levels)


@pytest.mark.parametrize(("of", "to"), [("fake", "source"), ("fake", "target"), ("reconstruction", "source")])
@pytest.mark.parametrize("merge", ["always", "never"])
def test_the_engine_evaluates_both_as_a_hand_written_step(
    planned: Any, double_engine: Engines, random_samples: Any, micro_batches: Any, of: str, to: str, merge: str
) -> None:
    text = RECIPE + ENCODERS.replace("OF", of).replace("TO", to)
    plan = planned(text, Plugin(), (f'train.merge="{merge}"',))
    engine, copies = double_engine(plan)
    samples, clock = random_samples(plan, 0), Clock(step=0, run=0.0)
    found = engine.train_step(micro_batches(plan, samples, 1, clock), clock)
    young, old = (samples["age", name] for name in ("young", "old"))
    for network in copies.values():
        network.requires_grad_(False)
    for source, target, names in ((young, old, ("young", "old")), (old, young, ("old", "young"))):
        there, back = copies[f"g.{names[0]}-{names[1]}"], copies[f"g.{names[1]}-{names[0]}"]
        fake = there(source)
        sides = {"source": source, "target": target, "fake": fake, "reconstruction": back(fake)}
        ours, theirs = (copies["levels"](sides[each], layers=[1, 0]) for each in (of, to))
        expected = sum(((a - b) ** 2).mean() / 2 for a, b in zip(ours, theirs, strict=True))
        where = f"age: {names[0]} -> {names[1]}/loss_G"
        assert float(found[f"{where}/perceptual"]) == pytest.approx(float(expected), rel=1e-9)
        real, made = copies[f"d.{names[1]}"](target).features, copies[f"d.{names[1]}"](fake).features
        assert len(real) == 4
        expected = sum((a - b).abs().mean() / 4 for a, b in zip(real, made, strict=True))
        assert float(found[f"{where}/feature_matching"]) == pytest.approx(float(expected), rel=1e-9)


def test_perceptual_trains_the_generator_and_not_the_encoder(
    planned: Any, double_engine: Engines, random_samples: Any, micro_batches: Any
) -> None:
    text = RECIPE.replace("lsgan = 1.0\nfeature_matching = 2.0\n", "") + ENCODERS
    plan = planned(text.replace("OF", "fake").replace("TO", "source"), Plugin())
    engine, copies = double_engine(plan)
    clock = Clock(step=0, run=0.0)
    engine.train_step(micro_batches(plan, random_samples(plan, 0), 1, clock), clock)
    for name, network in engine.networks.items():
        same = all(torch.equal(p, q) for p, q in zip(network.parameters(), copies[name].parameters(), strict=True))
        assert same == (not name.startswith("g."))  # the encoder's parameters are not frozen, and yet not trained


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(1)
    path: Path = tmp_path_factory.mktemp("weights") / "resnet.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False, num_classes=5).state_dict(), path)
    return path


TIMM = """
perceptual = { weight = 0.5, encoder = "pretrained" }
content = { use = "perceptual", model = "test_resnet", of = "reconstruction", layers = [0, 2], layer_weights = [1, 2] }
[encoders.pretrained]
use = "timm"
model = "test_resnet"
layers = [0, 1]
"""


def test_a_run_with_encoders_of_timm(
    trained: Any, recipe_file: Any, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "weights.pth"
    kept.write_bytes(weights.read_bytes())
    recipe = recipe_file(RECIPE + TIMM + f'weights = "{kept}"\n')
    checkpoint = trained(recipe, tmp_path / "run")
    records = storage.read_metrics(tmp_path / "run" / "metrics.jsonl")
    for loss in ("feature_matching", "perceptual", "content"):
        values = [each[key] for each in records for key in each if key.endswith(f"/loss_G/{loss}")]
        assert len(values) == 4 and all(0 < value < 10 for value in values)
    state = torch.load(kept, weights_only=True)
    own = {key.partition("|network.network.")[2]: v for key, v in checkpoint.groups["networks"].items() if "pre" in key}
    assert own and all(torch.equal(value, state[key]) for key, value in own.items())  # unchanged by training
    assert str(kept) in (tmp_path / "run" / "recipe.toml").read_text()
    # A model contains the encoder's weights, and needs neither their file nor the loss's network.
    kept.unlink()
    assert str(tmp_path) not in (tmp_path / "run" / "model" / "config.json").read_text()
    tensors, config = storage.read_model(tmp_path / "run" / "model")
    assert {key.partition("|")[0] for key in tensors} == {"g.young-old", "g.old-young", "pretrained"}
    assert config["recipe"]["encoders"]["pretrained"]["options"]["model"] == "test_resnet"
    network = Translator.from_pretrained(tmp_path / "run", "cpu").networks["pretrained"]
    assert torch.equal(network.state_dict()["network.network.conv1.0.weight"], state["conv1.0.weight"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('losses.content.model="resnet81"', "[losses] content: timm has no model 'resnet81'"),
        ('losses.content.weights="absent.pth"', "[losses] content: weights absent.pth: no such file"),
        ("losses.content.layers=[0, 9]", "[losses] content: layers = [0, 9]: 'test_resnet' has 5 feature maps"),
        ('encoders.pretrained.model="resnet81"', "[encoders] pretrained: timm has no model 'resnet81'"),
        ('encoders.pretrained.weights="absent.pth"', "[encoders] pretrained: weights absent.pth: no such file"),
    ],
)
def test_mistakes_are_reported_at_their_place(planned: Any, override: str, message: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    with pytest.raises(RecipeError) as raised:
        planned(RECIPE + TIMM, overrides=(override,))
    (problem,) = raised.value.problems
    assert message in problem
