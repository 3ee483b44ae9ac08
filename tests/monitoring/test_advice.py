"""Advice: each fault is found in records that have it and no other; a healthy run gets none."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transgan.monitoring.advice import KEPT, RECORDS, RULES, Adviser, advise
from transgan.monitoring.faults import LossRoles
from transgan.recipe.schema import Guard

WHERE = "age: young -> old"
ROLES = LossRoles(cycle=["back"], identity=["stay"], adversarial=["gan"])
#: Diagnostics from the middle of a healthy run.
GOOD = {
    "change": 0.06,
    "distance": 0.2,
    "reconstruction": 0.03,
    "spread": 0.11,
    "spread_of_target": 0.12,
    "spread_of_level": 0.07,
    "drift.0": 0.0,
    "drift.1": 0.02,
    "between.0": 0.08,
    "between.1": -0.01,
    "recognised": 0.75,
    "gap": 0.3,
    "cycle_share": 0.5,
}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "collapse": ({"spread": 0.02, "reconstruction": 0.09, "recognised": 0.99}, "16.7%"),
    "copying": ({"change": 0.001, "recognised": 0.98, "reconstruction": 0.001}, "0.50%"),
    "discriminator_wins": ({"recognised": 0.995, "loss_D": 0.01, "loss_G": 0.95}, "99.5%"),
    "timid": ({"change": 0.006, "recognised": 0.9, "cycle_share": 0.8}, "3.0%"),
    "cycle_dominates": ({"cycle_share": 0.95, "recognised": 0.95}, "95%"),
    "reconstruction": ({"reconstruction": 0.1}, "50%"),
    "drift": ({"drift.1": -0.12}, "-0.110"),
}


def records(
    count: int = 40, every: int = 10, noise: float = 0.05, where: str = WHERE, **changed: Any
) -> list[dict[str, float]]:
    """Return records of a run: each figure is constant up to noise, or a function of the completed share of the run."""
    rng = random.Random(0)
    chosen = {**GOOD, "loss_D": 0.2, "loss_G": 0.5, **changed}

    def at(name: str, i: int) -> float:
        value = chosen[name](i / (count - 1)) if callable(chosen[name]) else chosen[name]
        return float(value) * (1 + noise * rng.uniform(-1, 1)) + ("." in name and 0.4 * noise * rng.uniform(-1, 1))

    def record(i: int) -> dict[str, float]:
        figures = {name: at(name, i) for name in chosen}
        share = min(1.0, figures.pop("cycle_share"))
        losses = {f"{where}/{side}/gan": figures.pop(side) for side in ("loss_D", "loss_G")}
        figures |= {"cycle": 2 * share, "adversarial": 2 * share - 2}  # an adversarial loss may be negative
        return {"step": (i + 1) * every, **{f"{where}/diagnostics/{name}": x for name, x in figures.items()}, **losses}

    return [record(i) for i in range(count)]


def test_every_rule_is_tested() -> None:
    assert list(FAULTS) == [rule for rule, _, _ in RULES]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_reported_alone_with_its_figure(fault: str) -> None:
    changed, figure = FAULTS[fault]
    [advice] = advise(records(noise=0.0, **changed), ROLES)
    assert (advice.rule, advice.where) == (fault, WHERE)
    assert figure in advice.text
    assert {each.rule for each in advise(records(**changed), ROLES)} == {fault}


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("timid", ("'back'", "'gan'")),
        ("reconstruction", ("'back'",)),
        ("drift", ("'stay'",)),
        ("collapse", ("'back'",)),
        ("copying", ("'back' and 'stay'",)),
        ("discriminator_wins", ("'gan'",)),
    ],
)
def test_losses_have_their_names_from_the_recipe(fault: str, names: tuple[str, ...]) -> None:
    [advice] = advise(records(**FAULTS[fault][0]), ROLES)
    assert all(name in advice.text for name in names)
    assert all(name not in str(advise(records(**FAULTS["timid"][0]))) for name in names)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_needs_enough_records_and_steps(fault: str) -> None:
    changed = FAULTS[fault][0]
    assert advise(records(count=RECORDS - 1, every=100, **changed), ROLES) == []
    assert advise(records(count=40, every=1, **changed), ROLES) == []  # many records of few steps
    [advice] = advise(records(count=200, every=1, **changed), ROLES)
    assert advice.rule == fault


def test_a_healthy_run_gets_no_advice() -> None:
    assert advise(records(), ROLES) == []
    assert advise(records(noise=0.3), ROLES) == []
    assert advise([], ROLES) == advise([{"step": 1}], ROLES) == []


def test_a_run_of_the_face_recipe_gets_no_advice_at_any_step() -> None:
    columns = json.loads((Path(__file__).parent / "healthy_run.json").read_text())
    run = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert max(record["step"] for record in run) == 300
    roles = LossRoles(cycle=["cycle"], adversarial=["lsgan"])
    assert [advise(run[:count], roles) for count in range(1, len(run) + 1)] == [[]] * len(run)


@pytest.mark.parametrize(
    "improving",
    [
        {"change": lambda t: 0.0002 + 0.002 * t, "recognised": 0.98},
        {"change": lambda t: 0.002 + 0.006 * t, "recognised": 0.98},
        {"reconstruction": lambda t: 0.15 - 0.06 * t},
        {"cycle_share": lambda t: 0.99 - 0.08 * t, "recognised": 0.98},
        {"recognised": 0.99, "loss_D": 0.01, "change": lambda t: 0.03 + 0.03 * t},
    ],
)
def test_figures_that_are_improving_get_no_advice(improving: dict[str, Callable[[float], float]]) -> None:
    assert advise(records(noise=0.0, **improving), ROLES) == []


def test_a_level_between_those_of_sources_and_targets_is_not_drift() -> None:
    assert advise(records(**{"drift.0": 0.3, "between.0": 0.4}), ROLES) == []
    [advice] = advise(records(noise=0.0, **{"drift.0": 0.5, "between.0": 0.4}), ROLES)
    assert advice.rule == "drift"


def test_a_critic_with_a_negative_loss_is_not_reported_as_winning() -> None:
    assert advise(records(recognised=0.995, loss_D=-4.0, loss_G=2.0), ROLES) == []


def test_missing_and_nan_figures_give_no_advice() -> None:
    for missing in ("cycle", "adversarial", *GOOD):
        if missing != "change":
            cut = [
                {key: value for key, value in record.items() if key != f"{WHERE}/diagnostics/{missing}"}
                for record in records(reconstruction=0.1, recognised=0.99, spread=0.01)
            ]
            advise(cut, ROLES)
    nan = [{**record, f"{WHERE}/diagnostics/spread": float("nan")} for record in records(spread=0.01)]
    assert advise(nan, ROLES) == []


def test_each_translation_gets_advice_from_its_own_records() -> None:
    race = records(where="race: white -> black", change=0.001)
    mixed = [each for pair in zip(records(), race, strict=True) for each in pair]  # as where each step trains one task
    assert [(each.rule, each.where) for each in advise(mixed, ROLES)] == [("copying", "race: white -> black")]


@pytest.mark.parametrize("fault", ["collapse", "copying", "discriminator_wins"])
def test_faults_that_the_guardian_watches_are_left_to_it_during_the_run(fault: str) -> None:
    run = records(**FAULTS[fault][0])

    def reported(rules: Guard) -> list[str]:
        adviser = Adviser(ROLES, rules)
        return [each.rule for record in run for each in adviser.update(record)]

    assert reported(Guard()) == []  # neither this fault nor its consequences
    assert reported(Guard(action="off")) == reported(Guard(actions={fault: "off"})) == [fault]
    assert [each.rule for each in advise(run, ROLES, Guard())] == [fault]  # at the end, from the whole log


def test_limits_come_from_the_recipe() -> None:
    run = records(noise=0.0, spread=0.05)
    assert advise(run, ROLES) == []
    [advice] = advise(run, ROLES, Guard(collapse=0.5))
    assert advice.rule == "collapse" and "expected above 50%" in advice.text


def test_each_piece_of_advice_is_given_once_and_the_number_of_records_is_bounded() -> None:
    adviser = Adviser(ROLES, Guard(action="off"))
    found = [each for record in records(count=3 * KEPT, change=0.001) for each in adviser.update(record)]
    assert [each.rule for each in found] == ["copying"]
    assert len(adviser.records) <= KEPT + 10


def test_a_resumed_run_gets_advice_from_the_records_before_it() -> None:
    before, after = (run := records(count=50, change=0.001))[:40], run[40:]
    adviser = Adviser(ROLES, Guard(action="off"))
    adviser.rewind(before)
    assert [each.rule for record in after for each in adviser.update(record)] == ["copying"]


def test_a_resumed_run_gets_no_advice_twice() -> None:
    run = records(count=80, change=0.001)
    first = Adviser(ROLES, Guard(action="off"))
    assert [each.rule for record in run[:45] for each in first.update(record)] == ["copying"]
    second = Adviser(ROLES, Guard(action="off"))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.rewind(run[:45])
    assert second.state_dict() == first.state_dict() and second.seen == 45
    assert [each for record in run[45:] for each in second.update(record)] == []
