"""Known pairs beside unpaired samples: the engine trains the same weights as a hand-written loop of both."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transgan import storage
from transgan.api import Clock
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.plan import Plan
from transgan.rng import CounterRng
from transgan.training import Engine

RECIPE = """
train = { steps = 6, batch = 4, checkpoint_every = 3 }
[tasks]
age = { between = ["young", "old"], paired = "some" }
[generators]
g = { use = "resnet", per = "translation", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
paired = 100.0
"""
BATCH = 4


def samples_of(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    names = ("young", "old", "pair young", "pair old")
    return {name: torch.rand(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64) * 2 - 1 for name in names}


def micro_batches(plan: Plan, samples: Mapping[str, Tensor], clock: Clock) -> list[dict[Any, Any]]:
    found: list[dict[Any, Any]] = []
    for rows in torch.arange(BATCH).chunk(plan.recipe.train.accumulate):
        found.append({})
        for translation in plan.translations:
            rng = CounterRng(7, np.full(len(rows), clock.step), rows.numpy(), dtype=torch.float64)
            sides = [
                Side(samples[f"{kind}{name}"][rows], domain_index(plan, name, len(rows), "cpu"))
                for kind in ("", "pair ")
                for name in (translation.source, translation.target)
            ]
            pairs = (sides[2], sides[3])
            found[-1] |= assemble_inputs(plan, translation, *sides[:2], rng, clock, training=True, pairs=pairs)
    return found


@pytest.mark.parametrize("merge", ["always", "never"])
@pytest.mark.parametrize("count", [1, 2])
def test_pairs_beside_unpaired_samples_match_a_loop(
    planned: Any,
    double_engine: Callable[[Plan], tuple[Engine, dict[str, nn.Module]]],
    assert_same_weights: Any,
    merge: str,
    count: int,
) -> None:
    plan = planned(RECIPE, overrides=(f'train.merge="{merge}"', f"train.accumulate={count}"))
    engine, copies = double_engine(plan)
    for step in range(3):
        clock = Clock(step=step, run=step / 6)
        engine.train_step(micro_batches(plan, samples_of(step), clock), clock)

    g: dict[str, Any] = {name: copies[f"g.{name}"].network for name in ("young-old", "old-young")}
    d: dict[str, Any] = {name: copies[f"d.{name}"].network for name in ("young", "old")}
    options = {"lr": 2e-4, "betas": (0.5, 0.999)}
    generators, discriminators = (
        torch.optim.Adam(chain(*(each.parameters() for each in networks.values())), **options)  # type: ignore[arg-type]
        for networks in (g, d)
    )
    for step in range(3):
        samples, of_g, of_d = samples_of(step), torch.zeros(()), torch.zeros(())
        for a, b in (("young", "old"), ("old", "young")):
            fake = g[f"{a}-{b}"](samples[a])
            of_g = of_g + (d[b](fake).logits[0] - 1).square().mean()
            of_g = of_g + 10 * F.l1_loss(g[f"{b}-{a}"](fake), samples[a])
            of_g = of_g + 100 * F.l1_loss(g[f"{a}-{b}"](samples[f"pair {a}"]), samples[f"pair {b}"])
            of_d = of_d + 0.5 * (d[b](samples[b]).logits[0] - 1).square().mean()
            of_d = of_d + 0.5 * d[b](fake.detach()).logits[0].square().mean()
        for optimizer, loss in ((generators, of_g), (discriminators, of_d)):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_same_weights(engine, copies)


def test_a_run_with_some_pairs_goes_on_as_if_it_had_not_stopped(
    recipe_file: Any, trained: Any, tmp_path: Any, assert_same_state: Any
) -> None:
    recipe = recipe_file(RECIPE.replace("[tasks]", "domains = { young = {}, old = {} }\n[tasks]"))
    selections = ("domains.young={age=[20, 40]}", "domains.old={age=[20, 60]}", "data.held_out=0.2")
    whole: storage.Checkpoint = trained(recipe, tmp_path / "whole", *selections)
    stopped = tmp_path / "stopped"
    trained(recipe, stopped, *selections)
    for newer in sorted((stopped / "checkpoints").glob("step-*"))[1:]:
        for file in newer.rglob("*"):
            file.unlink()
        newer.rmdir()
    assert storage.newest(stopped / "checkpoints")[0].step == 3  # type: ignore[union-attr]
    again: storage.Checkpoint = trained(recipe, stopped, *selections)
    assert again.step == whole.step == 6
    assert_same_state(whole, again, networks=0.0, optimizers=0.0)
    lines = (tmp_path / "whole" / "log.txt").read_text().splitlines()
    [line] = [each for each in lines if "[tasks.age] young and old: " in each]
    assert "pairs for training beside unpaired samples" in line


def test_a_discriminator_may_compare_pairs_as_in_pix2pix(planned: Any) -> None:
    """What the how-to page says: real, fake and given of known pairs, beside a discriminator of unpaired samples."""
    pairs = 'pairs={use="patch", width=4, layers=1, real="pair_target", fake="pair_fake", given="pair_source"}'
    plan: Plan = planned(RECIPE, overrides=(f"discriminators.{pairs}", "losses.paired=false"))
    assert plan.networks["pairs.old"].spec.inputs == 6 and plan.paired_domains("age") == [("young", "old")]
    engine = Engine(plan)
    for network in engine.networks.values():
        network.double()
    before = [p.detach().clone() for p in engine.networks["pairs.old"].parameters()]
    clock = Clock(step=0, run=0.0)
    [inputs] = micro_batches(plan, samples_of(0), clock)
    translation = plan.translations[0]
    fake, pair_fake = (engine.networks["g.young-old"](inputs[translation, name]) for name in ("source", "pair_source"))
    pair = torch.cat([inputs[translation, "pair_source"], pair_fake], 1)
    logits = [engine.networks["d.old"](fake).logits[0], engine.networks["pairs.old"](pair).logits[0]]
    expected = sum(float((each.detach() - 1).square().mean()) for each in logits)
    losses = engine.train_step([inputs], clock)
    assert float(losses[f"{translation}/loss_G/lsgan"]) == pytest.approx(expected, rel=1e-9)
    after = list(engine.networks["pairs.old"].parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_two_processes_train_on_the_pairs_that_one_trains_on(
    recipe_file: Any, start_processes: Any, trained: Any, tmp_path: Any, assert_same_state: Any
) -> None:
    """With group norm, since a bias before instance norm has no gradient but rounding, which Adam makes large."""
    norm = ', norm = "group" }'
    text = RECIPE.replace("blocks = 1 }", f"blocks = 1{norm}").replace("layers = 1 }", f"layers = 1{norm}")
    data = 'data = { source = { use = "synthetic_faces", count = 24 }, size = 16 }\n'
    domains = "domains = { young = { age = [20, 40] }, old = { age = [20, 60] } }\n"
    recipe = recipe_file(f"{data}{domains}{text}")
    one: storage.Checkpoint = trained(recipe, tmp_path / "one")
    codes = start_processes(2, "-m", "transgan", "run", recipe, "-q", "--out", tmp_path / "two")
    assert [code for code, _ in codes] == [0, 0], codes
    two, _ = storage.newest(tmp_path / "two" / "checkpoints")
    assert two is not None and two.step == one.step
    assert_same_state(one, two, networks=1e-6)
