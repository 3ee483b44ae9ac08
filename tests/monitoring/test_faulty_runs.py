"""Advice on real runs: those with a deliberate fault get advice on it, a healthy run gets none."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan.api import Generator, Loss, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.monitoring.advice import Advice, advise
from transgan.monitoring.diagnostics import loss_roles
from transgan.monitoring.faults import LossRoles
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.training.engine import Engine
from transgan.training.start import train

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 32 }
size = 16
[train]
steps = 230
batch = 4
[optimizers]
generator.lr = 1e-3
discriminator.lr = 1e-3
[generators]
g = { use = "resnet", per = "direction", width = 6, blocks = 1, output = "residual" }
[discriminators]
d = { use = "patch", width = 6, layers = 1 }
[losses]
lsgan = 1.0
cycle = 5.0
"""


#: A discriminator that learns 500 times as fast as the generator, whose output starts as noise.
FAST = ("optimizers.discriminator.lr=1e-2", "optimizers.generator.lr=2e-5", 'generators.g.output="image"')


class Copier(Generator):
    """Returns its input: its mask is almost 0."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.mask = torch.nn.Parameter(torch.tensor(-9.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sigmoid(self.mask) * (1 - x)


class Constant(Generator):
    """Returns almost the same picture for every input."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.picture = torch.nn.Parameter(torch.zeros(1, spec.channels, *spec.space))

    def forward(self, x: Tensor) -> Tensor:
        return self.picture.tanh() + 0.01 * x


class Bright(Loss):
    """Trains every fake to be brighter than its source."""

    def for_generator(self, fake: Tensor, source: Tensor) -> Tensor:
        return (fake.flatten(1).mean(1) - source.flatten(1).mean(1) - 0.4).abs().mean()


class Faults:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("copier", Copier)
        register("constant", Constant)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("bright", Bright)


def advice_on_run(planned: Any, *overrides: str) -> list[Advice]:
    """Train; return the advice at the end of the run."""
    plan = planned(RECIPE, Faults(), overrides)
    engine, domains = Engine(plan), Domains(plan)
    records = []
    for step, losses in engine.train(Batches(plan, domains)):
        if plan.recipe.train.logs(step):
            figures = {**losses, **engine.objective.diagnostics.figures()}
            records.append({"step": step, **{name: float(value) for name, value in figures.items()}})
    return advise(records, LossRoles(**loss_roles(plan)))


def test_advice_is_in_the_progress_the_log_the_result_and_the_report(
    recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("RECORDS", 4), ("STEPS", 4), ("EVERY", 1)):
        monkeypatch.setattr(f"transgan.monitoring.advice.{name}", number)
    folder = tmp_path / "timid"
    overrides = ("train.steps=6", "train.log_every=1")
    monkeypatch.setattr("transgan.monitoring.advice.RULES", [("timid", "hint", lambda window: "say <so>")])
    assert train(read_recipe(recipe_file(RECIPE), overrides), Registry.installed(), folder).code == 0
    line = "hint: age: young -> old: say <so>"
    printed = [each for each in capsys.readouterr().err.splitlines() if "say <so>" in each]
    first, last = [each for each in printed if "young -> old" in each]
    assert (first, last) == (f"step 4: {line}", line)  # when the rule first applies, and at the end
    assert (folder / "log.txt").read_text().count(line) == 1
    assert json.loads((folder / "result.json").read_text())["advice"][0] == line
    assert "hint: age: young -&gt; old: say &lt;so&gt;" in (folder / "report.html").read_text()


@pytest.mark.parametrize("action", ["warn", "off"])
def test_a_fault_is_reported_once_by_the_guardian_or_by_advice_and_is_in_the_report(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    for name, number in (("RECORDS", 4), ("STEPS", 4), ("EVERY", 1)):
        monkeypatch.setattr(f"transgan.monitoring.advice.{name}", number)
    folder = tmp_path / "collapsed"
    overrides = (
        "train.steps=8", "train.log_every=1", "guard.warmup=0", "guard.patience=4", f"guard.action={action!r}",
        'generators.g={use="constant",per="direction"}',
    )  # fmt: skip
    trained(recipe_file(RECIPE), folder, *overrides, plugin=Faults())
    message = "age: young -> old: outputs have collapsed"
    result = json.loads((folder / "result.json").read_text())
    assert (folder / "log.txt").read_text().count(message) == 1
    assert [message in each for each in result["guard"]].count(True) == (action == "warn")
    assert [message in each for each in result["advice"]].count(True) == 1
    page = (folder / "report.html").read_text()
    assert "old: outputs have collapsed" in page and ("<h2>Guardian</h2>" in page) == (action == "warn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "overrides"),
    [
        ("copying", ('generators.g={use="copier",per="direction"}',)),
        ("collapse", ('generators.g={use="constant",per="direction"}',)),
        ("discriminator_wins", FAST),
        ("timid", ("losses.cycle=50.0", "optimizers.generator.lr=2e-5")),
        ("reconstruction", ("losses.cycle=0.001",)),
        ("drift", ("losses.bright=10.0",)),
    ],
)
def test_a_deliberate_fault_gets_advice(planned: Any, fault: str, overrides: tuple[str, ...]) -> None:
    found = advice_on_run(planned, *overrides)
    assert {each.rule for each in found} == {fault}, [str(each) for each in found]


@pytest.mark.slow
def test_a_healthy_run_gets_no_advice(planned: Any) -> None:
    assert advice_on_run(planned) == []
