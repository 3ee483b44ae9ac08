"""WGAN-GP in the proportions of its sources: critics reach the slope of their penalty, and the cycle is not drowned.

`recipes/wgan_gp.toml` and the fallback of `recipes/cyclegan.toml`, small, on synthetic faces. docs/results.md has the
figures; they are printed with `-s`.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transgan_standard.losses import Wasserstein
from transgan_standard.penalties import GradientPenalty, squared_gradient_norms

from transgan import storage
from transgan.data.real_samples import real_domains
from transgan.plan import make_plan
from transgan.plan.fallback import with_fallback
from transgan.recipe import Document, read_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.training.distributed import Processes
from transgan.training.trainer import Trainer

RECIPES = Path(__file__).parents[2] / "recipes"
LR = "{from=5e-4, to=0.0, between=[0.5, 1.0]}"
SMALL = (
    'data.source={use="synthetic_faces", count=1600}',
    "domains={horse={age=[20, 30]}, zebra={age=[50, 60]}}",
    "data.size=64",
    "train.batch=4",
    "train.steps=450",
    'generators.resnet={use="unet", per="translation", width=12, downs=4, norm="instance", dropout=0.0, output="edit"}',
    "discriminators.patch.width=24",
    "discriminators.patch.layers=2",
    f"optimizers.generator.lr={LR}",
    f"optimizers.discriminator.lr={LR}",
    f"guard.fallback.lr={LR}",
    "metrics={cycle_error=true}",
)
#: What keeps the proportion of recipes/wgan_gp.toml, whose slope is that of 256 pixels, at 64.
AT_64 = "losses.gradient_penalty.slope=0.44"


def document(name: str, *overrides: str) -> Document:
    registry = Registry.installed()
    if name == "wgan_gp":
        return read_recipe(RECIPES / "wgan_gp.toml", [*SMALL, AT_64, *overrides])
    original = read_recipe(RECIPES / "cyclegan.toml", [*SMALL, 'guard.action="fallback"', *overrides])
    return with_fallback(original, make_plan(original, registry))


def train(document: Document, out: Path) -> Trainer:
    registry = Registry.installed()
    folder = storage.RunFolder.open(out)
    trainer = Trainer(document, make_plan(document, registry), registry, Processes(), folder)
    assert trainer.fit(Progress(trainer.plan.recipe.train.steps, quiet=True)) == 0
    folder.close()
    return trainer


def balance(trainer: Trainer) -> Mapping[str, float]:
    """Return figures of a trained model, as means over both directions.

    Returns:
        `norm`: the gradient's norm at interpolates, as a multiple of the slope. `pull`: the norm of the adversarial
        loss's gradient with respect to a fake, as a multiple of that of the cycle loss with respect to a
        reconstruction. `cycle`: the mean absolute error of the reconstruction, as a share of the range of values.
    """
    plan, networks = trainer.plan, trainer.engine.networks
    penalty = next(each for each in plan.losses.values() if isinstance(each, GradientPenalty))
    weights = {name: slot.weight.start for name, slot in plan.recipe.losses.items()}
    adversary = next(name for name, each in plan.losses.items() if isinstance(each, Wasserstein))
    domains = real_domains(trainer.domains, 64, torch.device("cpu"))
    batches = {name: next(iter(each.batches(True, 16)))[1] for name, each in domains.items()}
    found: dict[str, list[float]] = {"norm": [], "pull": [], "cycle": []}
    networks.set_trainable([])
    for translation in plan.translations:
        source, target = batches[translation.source], batches[translation.target]
        there, back = (networks[plan.roles[translation][role]] for role in ("generator", "back"))
        critic = networks[f"patch.{translation.target}"]
        fake: Tensor = there(source)
        count = min(len(fake), len(target))
        share = torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(0))
        x = share * target[:count] + (1 - share) * fake[:count]
        norm = squared_gradient_norms(critic, x, penalty.options.of).sqrt().mean()
        pull = squared_gradient_norms(critic, fake).sqrt().mean() * weights[adversary]
        cycle_pull = weights["cycle"] / fake[0].numel() ** 0.5
        found["norm"].append(float(norm.detach()) / penalty.options.slope)
        found["pull"].append(float(pull.detach()) / cycle_pull)
        found["cycle"].append(float((back(fake) - source).abs().mean()) / 2)
    return {name: sum(values) / len(values) for name, values in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wgan_gp", "fallback"])
def test_critics_reach_their_slope_and_the_cycle_is_not_drowned(tmp_path: Path, name: str) -> None:
    """The kind: terms of one objective whose scales depend on the number of patches or pixels."""
    figures = balance(train(document(name), tmp_path / "run"))
    print(f"\n{name}: {figures}")
    assert 0.7 < figures["norm"] < 1.4
    assert 2 < figures["pull"] < 8  # StarGAN: 5.5, UVCGAN: 4.9; with a slope of 1: 11
    assert figures["cycle"] < 0.06  # of a generator that starts from its input
