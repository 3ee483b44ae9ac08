"""Any labels: many tasks and domains, one-to-many, numbers; and nothing that knows what a label means."""

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
from transgan.api import Clock
from transgan.data.inputs import complete_inputs
from transgan.plan import Plan
from transgan.rng import stable_hash
from transgan.training.objective import Objective

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
def test_three_tasks_on_five_domains_of_invented_labels(
    tmp_path: Path, trained: Callable[..., Any], written: Callable[[str], Path], targets: str
) -> None:
    materials, moods = ["wood", "steel", "glass"], ["calm", "glad"]
    chance = np.random.default_rng(0)
    lines = ["picture\tmaterial\tmood\tload"]
    for i in range(36):
        Image.fromarray(chance.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png\t{materials[i % 3]}\t{moods[i % 2]}\t{i * 100 / 35:.1f}")
    (tmp_path / "labels.tsv").write_text("\n".join(lines))
    trained(written(INVENTED.replace("ROOT", str(tmp_path)).replace("TARGETS", targets)), tmp_path / "run")
    translator = Translator.from_pretrained(tmp_path / "run", "cpu")
    surface = {f"surface: {a} -> {b}" for a in materials for b in materials if a != b}
    assert {str(each) for each in translator.translations} == {
        *surface,
        "lift: calm -> heavy",
        "mood: calm -> heavy",
        "mood: heavy -> calm",
    }
    picture = Image.fromarray(chance.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    made = {to: np.asarray(translator(picture, to=to, task="surface")).tobytes() for to in materials}
    assert len(set(made.values())) == 3
    assert translator(picture, to="heavy", task="lift", attributes={"load": 99}).size == (16, 16)


def test_a_continuous_condition_is_as_by_hand(planned: Any, in_double: Any, as_by_hand: Any) -> None:
    """Fakes and reals are told the target's number, the way back the source's, older fakes what they were made for."""
    plan: Plan = planned(YEARS)
    engine, twins = in_double(plan)
    there, back = plan.translations
    steps = []
    for step in range(4):
        chance = torch.Generator().manual_seed(step)
        x = {end: torch.rand(4, 3, 16, 16, generator=chance, dtype=torch.float64) * 2 - 1 for end in ("young", "old")}
        steps.append((x, {end: torch.rand(4, 1, generator=chance, dtype=torch.float64) for end in x}))
    for step, (x, ages) in enumerate(steps):
        batch_inputs: dict[Any, Any] = {}
        for each in (there, back):
            values: dict[str, Any] = {"clock": Clock(step=step), "training": True}
            for end, domain in (("source", each.source), ("target", each.target)):
                values |= {end: x[domain], f"{end}_attributes": {"age": ages[domain]}}
            batch_inputs.update(complete_inputs(plan, each, values))
        engine.play([batch_inputs], Clock(step=step, run=step / 4))

    g, d = twins["g"].network, twins["d"].network

    def told(network: torch.nn.Module, x: Tensor, age: Tensor) -> Any:
        return network(torch.cat([x, age[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1))

    def square(output: Any, target: float) -> Tensor:
        return (output.logits[0] - target).square().mean()

    pools: dict[str, list[tuple[Tensor, Tensor]]] = {str(there): [], str(back): []}
    seen = dict.fromkeys(pools, 0)

    def older(name: str, fakes: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        shown = []
        for new in zip(fakes.detach(), ages, strict=True):
            draw, pool = stable_hash(0, "history", f"{name}|d", seen[name]), pools[name]
            seen[name] += 1
            if len(pool) < 5:
                pool.append(new)
            elif draw % 2:
                at = draw // 2 % 5
                new, pool[at] = pool[at], new
            shown.append(new)
        return torch.stack([x for x, _ in shown]), torch.stack([age for _, age in shown])

    moves = [torch.optim.Adam(each.parameters(), 2e-4, betas=(0.5, 0.999)) for each in (g, d)]
    for x, ages in steps:
        losses = [torch.zeros(()), torch.zeros(())]
        for each in (there, back):
            source, target = x[each.source], x[each.target]
            fake = told(g, source, ages[each.target])
            losses[0] = losses[0] + square(told(d, fake, ages[each.target]), 1)
            losses[0] = losses[0] + 10 * F.l1_loss(told(g, fake, ages[each.source]), source)
            losses[0] = losses[0] + 5 * F.l1_loss(told(g, target, ages[each.target]), target)
            real = square(told(d, target, ages[each.target]), 1)
            losses[1] = losses[1] + 0.5 * (real + square(told(d, *older(str(each), fake, ages[each.target])), 0))
        for optimizer, loss in zip(moves, losses, strict=True):
            optimizer.zero_grad()
            loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]])
            optimizer.step()
    as_by_hand(engine, twins)


def test_discriminators_of_other_tasks_are_told_the_attributes_of_the_source(planned: Any, in_double: Any) -> None:
    text = YEARS.replace(
        'years = { between = ["young", "old"] }',
        'years = { between = ["young", "old"] }\nother = { from = "young", to = "old" }',
    ).replace("cycle = 10.0\nidentity = 5.0", "preserve = 1.0")
    plan: Plan = planned(text)
    engine, _ = in_double(plan)
    heard: list[Mapping[str, Any]] = []
    engine.networks.networks["d"].forward = lambda x, **told: heard.append(told)  # type: ignore[method-assign]
    objective: Objective = engine.objective
    there = plan.translations[0]
    x, age = torch.zeros(2, 3, 16, 16, dtype=torch.float64), torch.tensor([[0.25], [0.5]], dtype=torch.float64)
    batch_inputs = complete_inputs(plan, there, {"source": x, "target": x, "source_attributes": {"age": age}})
    step = objective.step(batch_inputs, [], Clock())
    for ask in objective._others(step, there):
        ask(x)
    assert heard and all(torch.equal(told["age"], age) for told in heard)


def test_the_engine_knows_no_label_by_its_name() -> None:
    """No identifier and no text of the engine's code has a label in it; comments and docstrings may give examples."""
    folder = Path(transgan.__file__).parent
    found = []
    for path in sorted(folder.rglob("*.py")):
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
