"""Advice on records that have each fault and no other; silence on those of a healthy run."""

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
NAMES = LossRoles(cycle=["back"], identity=["stay"], adversarial=["judge"])
#: A run that goes well, in its middle.
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
    "discriminator_wins": ({"recognised": 0.995, "discriminator": 0.01, "generator": 0.95}, "99.5%"),
    "timid": ({"change": 0.006, "recognised": 0.9, "cycle_share": 0.8}, "3.0%"),
    "cycle_dominates": ({"cycle_share": 0.95, "recognised": 0.95}, "95%"),
    "reconstruction": ({"reconstruction": 0.1}, "50%"),
    "drift": ({"drift.1": -0.12}, "-0.110"),
}


def records(
    count: int = 40, every: int = 10, noise: float = 0.05, where: str = WHERE, **changed: Any
) -> list[dict[str, float]]:
    """Records of a run, each figure constant but for noise, or a function of the share of the run that has passed."""
    chance = random.Random(0)
    given = {**GOOD, "discriminator": 0.2, "generator": 0.5, **changed}

    def at(name: str, i: int) -> float:
        value = given[name](i / (count - 1)) if callable(given[name]) else given[name]
        return float(value) * (1 + noise * chance.uniform(-1, 1)) + (
            "." in name and 0.4 * noise * chance.uniform(-1, 1)
        )

    def record(i: int) -> dict[str, float]:
        figures = {name: at(name, i) for name in given}
        share = min(1.0, figures.pop("cycle_share"))
        losses = {f"{where}/{side}/judge": figures.pop(side) for side in ("discriminator", "generator")}
        figures |= {"cycle": 2 * share, "adversarial": 2 * share - 2}  # which may be negative
        return {"step": (i + 1) * every, **{f"{where}/state/{name}": x for name, x in figures.items()}, **losses}

    return [record(i) for i in range(count)]


def test_every_rule_has_its_fault_here() -> None:
    assert list(FAULTS) == [rule for rule, _, _ in RULES]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_alone_with_its_figure(fault: str) -> None:
    changed, figure = FAULTS[fault]
    [advice] = advise(records(noise=0.0, **changed), NAMES)
    assert (advice.rule, advice.where) == (fault, WHERE)
    assert figure in advice.text
    assert {each.rule for each in advise(records(**changed), NAMES)} == {fault}


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("timid", ("'back'", "'judge'")),
        ("reconstruction", ("'back'",)),
        ("drift", ("'stay'",)),
        ("collapse", ("'back'",)),
        ("copying", ("'back' and 'stay'",)),
        ("discriminator_wins", ("'judge'",)),
    ],
)
def test_the_losses_are_called_as_the_recipe_calls_them(fault: str, names: tuple[str, ...]) -> None:
    [advice] = advise(records(**FAULTS[fault][0]), NAMES)
    assert all(name in advice.text for name in names)
    assert all(name not in str(advise(records(**FAULTS["timid"][0]))) for name in names)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_needs_evidence(fault: str) -> None:
    changed = FAULTS[fault][0]
    assert advise(records(count=RECORDS - 1, every=100, **changed), NAMES) == []
    assert advise(records(count=40, every=1, **changed), NAMES) == []  # many records of few steps
    [advice] = advise(records(count=200, every=1, **changed), NAMES)
    assert advice.rule == fault


def test_a_healthy_run_hears_nothing() -> None:
    assert advise(records(), NAMES) == []
    assert advise(records(noise=0.3), NAMES) == []
    assert advise([], NAMES) == advise([{"step": 1}], NAMES) == []


def test_a_run_of_the_face_recipe_hears_nothing_at_any_of_its_steps() -> None:
    columns = json.loads((Path(__file__).parent / "healthy_run.json").read_text())
    run = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert max(record["step"] for record in run) == 300
    names = LossRoles(cycle=["cycle"], adversarial=["lsgan"])
    assert [advise(run[:count], names) for count in range(1, len(run) + 1)] == [[]] * len(run)


@pytest.mark.parametrize(
    "mending",
    [
        {"change": lambda t: 0.0002 + 0.002 * t, "recognised": 0.98},
        {"change": lambda t: 0.002 + 0.006 * t, "recognised": 0.98},
        {"reconstruction": lambda t: 0.15 - 0.06 * t},
        {"cycle_share": lambda t: 0.99 - 0.08 * t, "recognised": 0.98},
        {"recognised": 0.99, "discriminator": 0.01, "change": lambda t: 0.03 + 0.03 * t},
    ],
)
def test_what_is_about_to_mend_is_left_alone(mending: dict[str, Callable[[float], float]]) -> None:
    assert advise(records(noise=0.0, **mending), NAMES) == []


def test_a_level_between_those_of_sources_and_targets_is_no_drift() -> None:
    assert advise(records(**{"drift.0": 0.3, "between.0": 0.4}), NAMES) == []
    [advice] = advise(records(noise=0.0, **{"drift.0": 0.5, "between.0": 0.4}), NAMES)
    assert advice.rule == "drift"


def test_a_critic_whose_loss_has_no_floor_cannot_win() -> None:
    assert advise(records(recognised=0.995, discriminator=-4.0, generator=2.0), NAMES) == []


def test_figures_that_were_not_measured_say_nothing() -> None:
    for missing in ("cycle", "adversarial", *GOOD):
        if missing != "change":
            cut = [
                {key: value for key, value in record.items() if key != f"{WHERE}/state/{missing}"}
                for record in records(reconstruction=0.1, recognised=0.99, spread=0.01)
            ]
            advise(cut, NAMES)
    nan = [{**record, f"{WHERE}/state/spread": float("nan")} for record in records(spread=0.01)]
    assert advise(nan, NAMES) == []


def test_each_translation_is_judged_by_its_own_records() -> None:
    race = records(where="race: white -> black", change=0.001)
    mixed = [each for pair in zip(records(), race, strict=True) for each in pair]  # as where a step plays one task
    assert [(each.rule, each.where) for each in advise(mixed, NAMES)] == [("copying", "race: white -> black")]


@pytest.mark.parametrize("fault", ["collapse", "copying", "discriminator_wins"])
def test_what_the_guardian_judges_is_left_to_it_while_the_run_goes_on(fault: str) -> None:
    run = records(**FAULTS[fault][0])

    def heard(rules: Guard) -> list[str]:
        adviser = Adviser(NAMES, rules)
        return [each.rule for record in run for each in adviser.hear(record)]

    assert heard(Guard()) == []  # neither this nor what follows from it
    assert heard(Guard(action="off")) == heard(Guard(actions={fault: "off"})) == [fault]
    assert [each.rule for each in advise(run, NAMES, Guard())] == [fault]  # of the whole log


def test_limits_are_those_of_the_recipe() -> None:
    run = records(noise=0.0, spread=0.05)
    assert advise(run, NAMES) == []
    [advice] = advise(run, NAMES, Guard(collapse=0.5))
    assert advice.rule == "collapse" and "expected above 50%" in advice.text


def test_each_thing_is_said_once_and_memory_is_bounded() -> None:
    adviser = Adviser(NAMES, Guard(action="off"))
    said = [each for record in records(count=3 * KEPT, change=0.001) for each in adviser.hear(record)]
    assert [each.rule for each in said] == ["copying"]
    assert len(adviser.records) <= KEPT + 10
    begun, rest = (run := records(count=50, change=0.001))[:40], run[40:]
    again = Adviser(NAMES, Guard(action="off"), begun)  # a run that goes on remembers its curves
    assert [each.rule for record in rest for each in again.hear(record)] == ["copying"]
