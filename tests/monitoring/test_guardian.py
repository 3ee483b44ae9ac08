"""The guardian finds each fault in a run that has it, and calls for an action after enough checks in a row."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Generator, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.monitoring.detect import in_diagnostics, in_held_out
from transgan.monitoring.diagnostics import loss_roles
from transgan.monitoring.faults import Finding, LossRoles
from transgan.monitoring.guardian import HELD_OUT_PATIENCE, Guardian, Verdict
from transgan.recipe.schema import Guard
from transgan.training.engine import Engine

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 32 }
size = 16
[train]
steps = 120
batch = 4
log_every = 2
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
[guard]
warmup = 20
patience = 10
check_every = 20
"""


class Copier(Generator):
    """Returns its input: its mask is almost 0."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.mask = nn.Parameter(torch.tensor(-9.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sigmoid(self.mask) * (1 - x)


class Constant(Generator):
    """Returns the same sample for every input."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.picture = nn.Parameter(torch.zeros(1, spec.channels, *spec.space))

    def forward(self, x: Tensor) -> Tensor:
        return self.picture.tanh() + 0 * x


class Hider(Generator):
    """Returns one sample for every input, plus the input 200 times fainter, from which it reconstructs the input."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.picture = nn.Parameter(torch.zeros(1, spec.channels, *spec.space), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        faint = x.abs().mean() < 0.02
        return self.picture + self.scale * (200 * x if faint else x / 200)


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        for cls in (Copier, Constant, Hider):
            register(cls.__name__.lower(), cls)


def train_with_guardian(planned: Any, *overrides: str) -> tuple[list[Verdict], dict[str, float]]:
    """Train; return the guardian's verdicts and its last figures."""
    plan = planned(RECIPE, Plugin(), overrides)
    engine, domains = Engine(plan), Domains(plan)
    guardian = Guardian(plan.recipe.guard, LossRoles(**loss_roles(plan)))
    verdicts: list[Verdict] = []
    figures: dict[str, float] = {}
    for step, losses in engine.train(Batches(plan, domains)):
        if plan.recipe.train.logs(step):
            read = {name: float(x) for name, x in {**losses, **engine.objective.diagnostics.figures()}.items()}
            norms = {name: float(x) for name, x in engine.optimizers.norms.items()}
            figures, new = guardian.check_step(step, read, norms)
            verdicts += new
        if step % plan.recipe.guard.check_every == 0:
            findings = in_held_out(plan, domains, engine.networks, step, "cpu", separated=guardian.separated)
            held_out, new = guardian.check_held_out(step, findings)
            figures, verdicts = figures | held_out, verdicts + new
    return verdicts, figures


#: With generators as bad as these, the discriminator wins too.
IGNORE_WIN = 'guard.actions.discriminator_wins="off"'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "overrides"),
    [
        ("copying", ('generators.g={use="copier",per="direction"}',)),
        ("collapse", ('generators.g={use="constant",per="direction"}', IGNORE_WIN)),
        ("collapse", ('generators.g={use="constant",per="direction"}', IGNORE_WIN, "train.batch=1",
                      "data.held_out=0.4")),
        ("hiding", ('generators.g={use="hider",per="run"}', IGNORE_WIN, 'guard.actions.collapse="off"')),
        ("exploding", ('losses.cycle={from=0.1,curve="steps",at=[80],values=[1000.0]}', "train.steps=90")),
        (
            "discriminator_wins",
            ("optimizers.discriminator.lr=1e-2", "optimizers.generator.lr=2e-6", 'generators.g.output="image"',
             "train.steps=250", 'guard.actions.collapse="off"'),
        ),
        ("discriminator_blind", ("optimizers.discriminator.lr=1e-7", "data.held_out=0.4")),
    ],
)  # fmt: skip
def test_a_deliberate_fault_is_found(planned: Any, fault: str, overrides: tuple[str, ...]) -> None:
    verdicts, figures = train_with_guardian(planned, *overrides)
    assert {each.fault for each in verdicts} == {fault}, [str(each) for each in verdicts]
    wheres = {"g.forward", "g.backward"} if fault == "exploding" else {"age: young -> old", "age: old -> young"}
    assert {each.where for each in verdicts} <= wheres
    assert len(verdicts) == len({each.where for each in verdicts})  # each is reported once
    assert f"guard/{fault}/{verdicts[0].where}" in figures


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_run_has_no_faults(planned: Any, seed: int) -> None:
    verdicts, figures = train_with_guardian(planned, f"train.seed={seed}", "train.steps=300")
    assert not verdicts, [str(each) for each in verdicts]
    kinds = {name.split("/")[1] for name in figures}
    assert kinds - {"discriminator_blind"} == {
        "not_finite",
        "collapse",
        "copying",
        "discriminator_wins",
        "hiding",
        "exploding",
    }


WHERE = "t: a -> b"
HEALTHY = {
    f"{WHERE}/diagnostics/change": 0.1, f"{WHERE}/diagnostics/distance": 0.2,
    f"{WHERE}/diagnostics/spread": 0.15, f"{WHERE}/diagnostics/spread_of_target": 0.2,
    f"{WHERE}/diagnostics/recognised": 0.8, f"{WHERE}/loss_D/gan": 0.2, f"{WHERE}/loss_G/gan": 0.5,
}  # fmt: skip
COLLAPSED = HEALTHY | {f"{WHERE}/diagnostics/spread": 0.01}
ROLES = LossRoles(adversarial=["gan"])


def check_steps(guardian: Guardian, figures: Mapping[str, float], steps: Iterable[int]) -> list[tuple[int, str]]:
    """Return the step and the fault of each verdict."""
    return [(step, v.fault) for step in steps for v in guardian.check_step(step, figures, {})[1]]


def test_a_fault_counts_after_the_warm_up_and_enough_checks_in_a_row() -> None:
    guardian = Guardian(Guard(warmup=10, patience=5), ROLES)
    assert check_steps(guardian, COLLAPSED, range(1, 11)) == []
    assert not guardian.healthy  # a checkpoint saved now would not be good
    assert check_steps(guardian, COLLAPSED, range(11, 15)) == []
    assert check_steps(guardian, HEALTHY, range(15, 16)) == []
    assert guardian.healthy
    assert check_steps(guardian, COLLAPSED, range(16, 40)) == [(20, "collapse")]  # reported once


def test_discriminators_that_have_once_separated_are_not_blind_and_blind_ones_spoil_no_checkpoint() -> None:
    def blind(clear: bool = False) -> Finding:
        return Finding("discriminator_blind", WHERE, 0.95 if clear else 0.5, not clear, clear)

    guardian = Guardian(Guard(action="rollback", warmup=0), ROLES)
    verdicts = [guardian.check_held_out(step, [blind()])[1] for step in range(1, 8)]
    assert [len(each) for each in verdicts] == [0, 0, 1, 0, 0, 0, 0]  # reported once: to go back would not help
    assert verdicts[2][0].action == "warn" and "learnt nothing" in str(verdicts[2][0])
    assert guardian.healthy and not guardian.separated
    guardian.check_held_out(8, [blind(clear=True)])
    assert guardian.separated == {WHERE}
    state = guardian.state_dict()
    again = Guardian(Guard(), ROLES)
    again.load_state_dict(state)
    assert again.separated == {WHERE}
    again.load_state_dict({name: value for name, value in state.items() if name != "separated"})  # an older checkpoint


def test_a_translation_stays_faulty_until_it_is_checked_again() -> None:
    """A step may have figures of one task only."""
    guardian = Guardian(Guard(), ROLES)
    other = {name.replace(WHERE, "u: c -> d"): value for name, value in HEALTHY.items()}
    check_steps(guardian, COLLAPSED, range(1, 2))
    check_steps(guardian, other, range(2, 4))
    assert not guardian.healthy
    check_steps(guardian, HEALTHY, range(4, 5))
    assert guardian.healthy


def test_a_guardian_is_restored_from_a_checkpoint() -> None:
    first = Guardian(Guard(warmup=0, patience=6, action="stop"), ROLES)
    check_steps(first, COLLAPSED, range(1, 4))
    first.step_skipped(3)
    second = Guardian(first.rules, ROLES)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    found = check_steps(first, COLLAPSED, range(4, 9))
    assert found == check_steps(second, COLLAPSED, range(4, 9)) == [(step, "collapse") for step in (6, 7, 8)]


def test_steps_that_were_skipped_long_ago_do_not_count() -> None:
    guardian = Guardian(Guard(skip=2), ROLES)
    assert [guardian.step_skipped(step) for step in (5, 6, 1006, 1007)] == [None] * 4
    verdict = guardian.step_skipped(1008)
    assert verdict and (verdict.fault, verdict.action) == ("not_finite", "stop")  # also where the action is "warn"
    assert guardian.check_step(1008, HEALTHY, {})[0]["guard/not_finite"] == 3


def test_held_out_samples_must_be_faulty_three_times() -> None:
    guardian = Guardian(Guard(warmup=0, actions={"hiding": "rollback"}), ROLES)
    findings = list(in_diagnostics(COLLAPSED, Guard(), ROLES))
    verdicts = [guardian.check_held_out(step, findings)[1] for step in (1, 2, 3)]
    assert HELD_OUT_PATIENCE == 3
    assert [len(each) for each in verdicts] == [0] * (HELD_OUT_PATIENCE - 1) + [1]


def test_a_fault_whose_action_is_off_is_neither_logged_nor_reported() -> None:
    guardian = Guardian(Guard(warmup=0, patience=1, actions={"collapse": "off"}), ROLES)
    record, verdicts = guardian.check_step(1, COLLAPSED, {})
    assert not verdicts and guardian.healthy
    assert f"guard/copying/{WHERE}" in record and f"guard/collapse/{WHERE}" not in record
