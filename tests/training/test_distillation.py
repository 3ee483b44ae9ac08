"""Distillation: a student learns what a trained model does."""

from pathlib import Path
from typing import Any

import pytest
import torch

from transgan import Translator
from transgan.api import Clock, DataError
from transgan.errors import RecipeError

RECIPE = """
data = { source = { use = "synthetic_faces", count = 24 }, size = 16 }
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
[tasks]
age = { between = ["young", "old"]TARGETS }
[train]
steps = STEPS
batch = 4
checkpoint_every = STEPS
[optimizers]
generator.lr = 2e-3
[conditionings.domain]
use = "embedding"
width = 4
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[losses]
"""


def recipe(losses: str, steps: int = 1, targets: str = "") -> str:
    return RECIPE.replace("STEPS", str(steps)).replace("TARGETS", targets) + losses


@pytest.fixture(scope="module")
def teacher(trained: Any, recipe_file: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose generator has not learned much."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    trained(recipe_file(recipe("identity = 1.0")), out)
    return Path(out / "model")


@pytest.mark.parametrize("targets", ["", ', targets = "random"'])
def test_the_loss_is_the_distance_from_what_the_teacher_makes_of_the_same_source(
    planned: Any, double_engine: Any, teacher: Path, targets: str
) -> None:
    from transgan.data.batches import Batches
    from transgan.data.domains import Domains

    plan = planned(recipe(f'distillation = {{ model = "{teacher}" }}', targets=targets))
    engine, copies = double_engine(plan)
    batches = Batches(plan, Domains(plan), dtype=torch.float64)
    (inputs,) = batches.at(0)
    translator = Translator.from_pretrained(teacher, "cpu")
    expected = []
    for translation in plan.translations:
        source, target = inputs[translation, "source"], inputs[translation, "target_domain"]
        origin = inputs[translation, "source_domain"]
        fake = copies["g"](source, domain=target)
        taught = torch.cat(
            [
                translator.translate_batch(
                    x[None].float(), translator.choose(to=plan.domains[b], source=plan.domains[a])
                )
                for x, a, b in zip(source, origin.tolist(), target.tolist(), strict=True)
            ]
        )
        expected.append((fake - taught).abs().mean())
    found = engine.train_step([inputs], Clock())
    values = [float(value) for name, value in found.items() if name.endswith("loss_G/distillation")]
    assert values == pytest.approx([float(x.detach()) for x in expected], rel=1e-4)


def test_a_student_approaches_its_teacher(trained: Any, recipe_file: Any, teacher: Path, tmp_path: Path) -> None:
    text = recipe(f'distillation = {{ model = "{teacher}" }}', steps=60)
    trained(recipe_file(text), tmp_path / "student")
    x = 2 * torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 1
    ends, begin = [], None
    for path in (teacher, tmp_path / "student" / "model"):
        translator = Translator.from_pretrained(path, "cpu")
        ends.append(translator.translate_batch(x, translator.choose(to="old")))
    begin = (ends[0] - x).abs().mean()
    assert float((ends[0] - ends[1]).abs().mean()) < 0.5 * float(begin)


def test_a_missing_teacher_is_reported_before_the_run(planned: Any, teacher: Path) -> None:
    with pytest.raises((RecipeError, DataError), match="nowhere"):
        planned(recipe('distillation = { model = "nowhere" }'))


def test_a_teacher_of_other_domains_is_named(planned: Any, double_engine: Any, teacher: Path) -> None:
    from transgan.errors import UsageError

    text = recipe(f'distillation = {{ model = "{teacher}" }}').replace("old", "aged")
    plan = planned(text)
    engine, _ = double_engine(plan)
    from transgan.data.batches import Batches
    from transgan.data.domains import Domains

    with pytest.raises(UsageError, match=r"teacher .*no such domain"):
        engine.train_step(Batches(plan, Domains(plan), dtype=torch.float64).at(0), Clock())
