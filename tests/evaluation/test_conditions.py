"""A generator that ignores what it is told is found, and one that heeds it is not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan.data.domains import Domains
from transgan.evaluation.conditions import Condition, ConditionEffect, effects_table, measure_effects
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.storage import read_metrics

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 16
held_out = 0.5
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 10
batch = 2
[conditionings]
which = { use = "channel", of = "OF" }
[generators]
face = { use = "unet", per = "PER", width = 4, downs = 2, norm = "none" }
[discriminators]
d = { use = "patch", width = 2, layers = 1 }
[losses]
lsgan = 1.0
"""


def telling(of: str, per: str, more: str = "") -> str:
    return RECIPE.replace("OF", of).replace("PER", per) + more


def networks_of(plan: Plan) -> Networks:
    networks = Networks(plan)
    for network in networks.networks.values():
        network.eval()
    return networks


def hear(networks: Networks, volume: float) -> None:
    """Multiplies what the first convolution makes of the planes behind the three channels of a picture."""
    for network in networks.networks.values():
        inputs = 3 + sum(each.channels for each in network.conditionings)  # type: ignore[union-attr]
        for parameter in network.parameters():
            if parameter.dim() == 4 and parameter.shape[1] == inputs:
                with torch.no_grad():
                    parameter[:, 3:] *= volume


def test_two_tasks_of_one_direction_are_a_pair_and_a_deaf_generator_is_found(planned: Any) -> None:
    plan = planned(telling("task", "direction"))
    domains, networks = Domains(plan), networks_of(plan)
    heeding = measure_effects(plan, domains, networks, 3, "cpu")
    assert [each.name for each in heeding] == ["age -> old | race -> black", "age -> young | race -> white"]
    assert not any(each.none for each in heeding)
    hear(networks, 0.0)
    deaf = measure_effects(plan, domains, networks, 3, "cpu")
    assert all(each.none and each.difference == 0 and each.change > 0.01 for each in deaf)
    assert "has no visible effect: told 'age -> old' or 'race -> black', its outputs differ by 0.00%" in str(deaf[0])


def test_a_pair_is_measured_on_the_inputs_of_both_with_only_the_condition_changed(planned: Any) -> None:
    plan = planned(telling("domain", "run"))
    domains, networks = Domains(plan), networks_of(plan)
    found = {each.name: each for each in measure_effects(plan, domains, networks, 2, "cpu")}
    assert len(found) == 6  # of four domains to make
    ((network),) = [each for name, each in networks.networks.items() if name == "face"]
    inputs = [next(iter(domains.batches(name, True, 16, 2, "cpu", 2)))[1] for name in ("young", "white")]
    x = torch.cat(inputs)
    with torch.no_grad():
        old, black = (network(x, domain=torch.full((4,), plan.domains.index(name))) for name in ("old", "black"))
    pair = found["age -> old | race -> black"]
    assert pair.difference == pytest.approx(float((old - black).abs().mean()) / 2, rel=1e-5)
    change = ((old - x).abs().mean() + (black - x).abs().mean()) / 2
    assert pair.change == pytest.approx(float(change) / 2, rel=1e-5)
    assert effects_table([pair])[pair.name]["of_change"] == pytest.approx(pair.difference / pair.change, rel=1e-5)


def test_generators_that_can_be_told_one_thing_only_have_no_pairs(planned: Any) -> None:
    plan = planned(telling("task", "translation"))
    assert measure_effects(plan, Domains(plan), networks_of(plan), 2, "cpu") == []


def test_a_number_is_told_as_the_least_and_the_most(planned: Any) -> None:
    plan = planned(telling("age", "translation", "[attributes]\nage = { from = 20, to = 60 }\n"))
    domains, networks = Domains(plan), networks_of(plan)
    hear(networks, 100.0)
    found = measure_effects(plan, domains, networks, 2, "cpu")
    assert "age -> old, age -1 | age -> old, age +1" in [each.name for each in found]
    assert len(found) == 4 and not any(each.none for each in found)
    hear(networks, 0.0)
    assert all(each.none for each in measure_effects(plan, domains, networks, 2, "cpu"))


@pytest.mark.parametrize(
    ("difference", "change", "none"),
    [(0.1, 0.1, False), (0.0009, 0.001, True), (0.002, 0.3, True), (0.004, 0.3, False)],
)
def test_no_effect_is_a_thousandth_of_the_range_or_a_hundredth_of_the_change(
    difference: float, change: float, none: bool
) -> None:
    told: Any = Condition(None)  # type: ignore[arg-type]
    assert ConditionEffect(told, told, difference, change).none is none


def test_a_run_logs_what_conditions_do_and_warns_once_of_those_that_do_nothing(
    trained: Any, written: Any, tmp_path: Path
) -> None:
    trained(written(telling("task", "run")), tmp_path / "run")  # not told which way: both are the same to it
    deaf = {"age -> old | age -> young", "race -> black | race -> white"}
    heard = "age -> old | race -> black"
    logged = [each for each in read_metrics(tmp_path / "run/metrics.jsonl") if f"condition/{heard}" in each]
    assert [record["step"] for record in logged] == list(range(1, 11))
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["conditions"][heard]["of_change"] > 0
    for record in logged:
        assert {name for name in deaf if record[f"condition/{name}"] == 0} == deaf
    lines = (tmp_path / "run/log.txt").read_text().splitlines()
    report = (tmp_path / "run/report.html").read_text()
    assert "<h2>Conditions</h2>" in report
    for name in deaf:
        first, second = name.split(" | ")
        told = f"told '{first}' or '{second}', its outputs differ by 0.00%"
        (line,) = [line for line in lines if told in line]  # once
        assert "warning: step 2: " in line  # the first tenth is over
        assert sum(told in warning for warning in result["warnings"]) == 1
    assert report.count("no visible effect") == len(result["warnings"])
