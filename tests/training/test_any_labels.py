"""Arbitrary labels: several tasks, tasks with several targets, numeric attributes; no code depends on their meaning."""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import transgan
from transgan import Translator
from transgan.api import Clock, Translation
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.plan import Plan
from transgan.rng import CounterRng, stable_hash
from transgan.training.objective import DiscriminatorPasses

INVENTED = """
[data]
source = { use = "labelled_table", table = "labels.tsv" }
root = "ROOT"
size = 16
[domains]
wood = { material = "wood" }
steel = { material = "steel" }
glass = { material = "glass" }
calm = { mood = "calm" }
heavy = { load = [50, 100] }
[tasks]
surface = { between = ["wood", "steel", "glass"], targets = "TARGETS" }
lift = { from = "calm", to = "heavy" }
mood = { between = ["calm", "heavy"] }
[attributes]
load = { from = 0, to = 100 }
[train]
steps = 2
batch = 2
[conditionings]
domain = { use = "embedding", width = 4 }
load = { use = "embedding", of = "load", width = 4 }
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["domain", "load"], width = 4, layers = 1, history = 4 }
[losses]
lsgan = 1.0
cycle = { weight = 5.0, translations = ["surface", "mood"] }
preserve = 0.5
[metrics]
cycle_error = true
"""
YEARS = """
[tasks]
years = { between = ["young", "old"] }
[attributes]
age = { from = 15, to = 65 }
[train]
steps = 4
batch = 4
[conditionings]
age = { use = "channel", of = "age" }
[generators]
g = { use = "resnet", width = 4, blocks = 1, norm_first = false }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["age"], width = 4, layers = 1, history = 5 }
[losses]
lsgan = 1.0
cycle = 10.0
identity = 5.0
"""


@pytest.mark.parametrize("targets", ["all", "random"])
def test_three_tasks_on_five_domains_with_invented_labels(
    tmp_path: Path, trained: Callable[..., Any], recipe_file: Callable[[str], Path], targets: str
) -> None:
    materials, moods = ["wood", "steel", "glass"], ["calm", "glad"]
    generator = np.random.default_rng(0)
    lines = ["picture\tmaterial\tmood\tload"]
    for i in range(36):
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png\t{materials[i % 3]}\t{moods[i % 2]}\t{i * 100 / 35:.1f}")
    (tmp_path / "labels.tsv").write_text("\n".join(lines))
    trained(recipe_file(INVENTED.replace("ROOT", str(tmp_path)).replace("TARGETS", targets)), tmp_path / "run")
    translator = Translator.from_pretrained(tmp_path / "run", "cpu")
    surface = {f"surface: {a} -> {b}" for a in materials for b in materials if a != b}
    assert {str(each) for each in translator.translations} == {
        *surface,
        "lift: calm -> heavy",
        "mood: calm -> heavy",
        "mood: heavy -> calm",
    }
    picture = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    translated = {to: np.asarray(translator(picture, to=to, task="surface")).tobytes() for to in materials}
    assert len(set(translated.values())) == 3
    assert translator(picture, to="heavy", task="lift", attributes={"load": 99}).size == (16, 16)


def assembled(
    plan: Plan, translation: Translation, samples: Mapping[str, Tensor], ages: Mapping[str, Tensor], clock: Clock
) -> dict[Any, Any]:
    """Return the batch inputs of a translation, with the samples and ages of its domains."""
    count = len(samples[translation.source])
    sides = [
        Side(samples[name], domain_index(plan, name, count, "cpu"), {"age": ages[name]})
        for name in (translation.source, translation.target)
    ]
    rng = CounterRng(0, np.full(count, clock.step), np.arange(count), dtype=torch.float64)
    return assemble_inputs(plan, translation, *sides, rng, clock, training=True)


def test_numeric_attributes_match_a_loop(planned: Any, double_engine: Any, assert_same_weights: Any) -> None:
    """Networks are conditioned on the target's number for fakes and real samples, on the source's for reconstructions,
    and on the number that it was generated for with a fake from the image pool."""
    plan: Plan = planned(YEARS)
    engine, copies = double_engine(plan)
    there, back = plan.translations
    steps = []
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        x = {
            end: torch.rand(4, 3, 16, 16, generator=generator, dtype=torch.float64) * 2 - 1 for end in ("young", "old")
        }
        steps.append((x, {end: torch.rand(4, 1, generator=generator, dtype=torch.float64) for end in x}))
    for step, (x, ages) in enumerate(steps):
        clock = Clock(step=step, run=step / 4)
        inputs = assembled(plan, there, x, ages, clock) | assembled(plan, back, x, ages, clock)
        engine.train_step([inputs], clock)

    g, d = copies["g"].network, copies["d"].network

    def conditioned(network: torch.nn.Module, x: Tensor, age: Tensor) -> Any:
        return network(torch.cat([x, age[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1))

    def square(output: Any, target: float) -> Tensor:
        return (output.logits[0] - target).square().mean()

    pools: dict[str, list[tuple[Tensor, Tensor]]] = {str(there): [], str(back): []}
    seen = dict.fromkeys(pools, 0)

    def pooled(name: str, fakes: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        returned = []
        for new in zip(fakes.detach(), ages, strict=True):
            bits, pool = stable_hash(0, "history", f"{name}|d", seen[name]), pools[name]
            seen[name] += 1
            if len(pool) < 5:
                pool.append(new)
            elif bits % 2:
                at = bits // 2 % 5
                new, pool[at] = pool[at], new
            returned.append(new)
        return torch.stack([x for x, _ in returned]), torch.stack([age for _, age in returned])

    optimizers = [torch.optim.Adam(each.parameters(), 2e-4, betas=(0.5, 0.999)) for each in (g, d)]
    for x, ages in steps:
        losses = [torch.zeros(()), torch.zeros(())]
        for each in (there, back):
            source, target = x[each.source], x[each.target]
            fake = conditioned(g, source, ages[each.target])
            losses[0] = losses[0] + square(conditioned(d, fake, ages[each.target]), 1)
            losses[0] = losses[0] + 10 * F.l1_loss(conditioned(g, fake, ages[each.source]), source)
            losses[0] = losses[0] + 5 * F.l1_loss(conditioned(g, target, ages[each.target]), target)
            real = square(conditioned(d, target, ages[each.target]), 1)
            losses[1] = losses[1] + 0.5 * (
                real + square(conditioned(d, *pooled(str(each), fake, ages[each.target])), 0)
            )
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]])
            optimizer.step()
    assert_same_weights(engine, copies)


def test_discriminators_of_other_tasks_are_conditioned_on_the_attributes_of_the_source(
    planned: Any, double_engine: Any
) -> None:
    text = YEARS.replace(
        'years = { between = ["young", "old"] }',
        'years = { between = ["young", "old"] }\nother = { from = "young", to = "old" }',
    ).replace("cycle = 10.0\nidentity = 5.0", "preserve = 1.0")
    plan: Plan = planned(text)
    engine, _ = double_engine(plan)
    received: list[Mapping[str, Any]] = []
    forward = engine.networks["d"].forward
    engine.networks["d"].forward = lambda x, **conditions: received.append(conditions) or forward(x, **conditions)
    there = plan.translations[0]
    x, age = torch.zeros(2, 3, 16, 16, dtype=torch.float64), torch.tensor([[0.25], [0.5]], dtype=torch.float64)
    inputs = assembled(plan, there, {"young": x, "old": x}, {"young": age, "old": -age}, Clock())
    step = engine.objective.compute_nodes(inputs, [], Clock())
    for discriminator in DiscriminatorPasses(engine.objective, plan.recipe.phases[0], step)._other_tasks(there):
        discriminator(x)
    assert received and all(torch.equal(conditions["age"], age) for conditions in received)


def test_no_module_of_transgan_names_a_label() -> None:
    """No identifier and no string of the package has a label in it; comments and docstrings may give examples.

    And so may the recipe that is written for a new plugin.
    """
    folder = Path(transgan.__file__).parent
    found = []
    for path in sorted({*folder.rglob("*.py")} - {folder / "cli/new_plugin.py"}):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        comments = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        for each in ast.walk(tree):
            words = [getattr(each, name, None) for name in ("id", "arg", "attr", "name")]
            words += [each.value] if isinstance(each, ast.Constant) and id(each) not in comments else []
            for word in words:
                parts = re.findall("[a-z]+", word.lower()) if isinstance(word, str) else []
                if {"age", "race", "gender", "face"} & set(parts):
                    found.append(f"{path.relative_to(folder)}:{getattr(each, 'lineno', 0)}: {word}")
    assert not found
