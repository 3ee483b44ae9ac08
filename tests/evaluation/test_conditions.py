"""A generator that ignores a condition is found, and one that uses it is not reported."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan.api import Clock
from transgan.data.domains import Domains
from transgan.evaluation.conditions import Condition, ConditionEffect, effects_table, measure_effects
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.reporting.html import escape
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


def conditioned_on(of: str, per: str, more: str = "") -> str:
    """Return a recipe whose generators are conditioned on `of`."""
    return RECIPE.replace("OF", of).replace("PER", per) + more


def networks_of(plan: Plan) -> Networks:
    networks = Networks(plan)
    for network in networks.values():
        network.eval()
    return networks


def scale_conditions(networks: Networks, factor: float) -> None:
    """Scale the weights of the first convolution for the channels that conditionings add."""
    for network in networks.values():
        inputs = 3 + sum(each.channels for each in network.conditionings)
        for parameter in network.parameters():
            if parameter.dim() == 4 and parameter.shape[1] == inputs:
                with torch.no_grad():
                    parameter[:, 3:] *= factor


def test_two_tasks_of_one_direction_are_a_pair_and_a_generator_that_ignores_the_task_is_found(planned: Any) -> None:
    plan = planned(conditioned_on("task", "direction"))
    domains, networks = Domains(plan), networks_of(plan)
    effects = measure_effects(plan, domains, networks, 3, "cpu", Clock())
    assert [each.name for each in effects] == ["age -> old | race -> black", "age -> young | race -> white"]
    assert not any(each.invisible for each in effects)
    scale_conditions(networks, 0.0)
    ignored = measure_effects(plan, domains, networks, 3, "cpu", Clock())
    assert all(each.invisible and each.difference == 0 and each.change > 0.01 for each in ignored)
    expected = (
        "no visible effect: under 'age -> old' and 'race -> black' the generator's outputs differ by 0.00% of the"
    )
    assert expected in str(ignored[0])


def test_a_pair_is_measured_on_the_inputs_of_both_with_only_the_condition_changed(planned: Any) -> None:
    plan = planned(conditioned_on("domain", "run"))
    domains, networks = Domains(plan), networks_of(plan)
    found = {each.name: each for each in measure_effects(plan, domains, networks, 2, "cpu", Clock())}
    assert len(found) == 6  # of four target domains
    ((network),) = [each for name, each in networks.items() if name == "face"]
    inputs = [next(iter(domains.batches(name, True, 16, 2, "cpu", 2)))[1] for name in ("young", "white")]
    x = torch.cat(inputs)
    with torch.no_grad():
        old, black = (network(x, domain=torch.full((4,), plan.domains.index(name))) for name in ("old", "black"))
    pair = found["age -> old | race -> black"]
    assert pair.difference == pytest.approx(float((old - black).abs().mean()) / 2, rel=1e-5)
    change = ((old - x).abs().mean() + (black - x).abs().mean()) / 2
    assert pair.change == pytest.approx(float(change) / 2, rel=1e-5)
    assert effects_table([pair])[pair.name]["of_change"] == pytest.approx(pair.difference / pair.change, rel=1e-5)


def test_generators_with_a_single_condition_have_no_pairs(planned: Any) -> None:
    plan = planned(conditioned_on("task", "translation"))
    assert measure_effects(plan, Domains(plan), networks_of(plan), 2, "cpu", Clock()) == []


def test_a_numeric_attribute_is_compared_at_the_ends_of_its_range(planned: Any) -> None:
    plan = planned(conditioned_on("age", "translation", "[attributes]\nage = { from = 20, to = 60 }\n"))
    domains, networks = Domains(plan), networks_of(plan)
    scale_conditions(networks, 100.0)
    found = measure_effects(plan, domains, networks, 2, "cpu", Clock())
    assert "age -> old, age -1 | age -> old, age +1" in [each.name for each in found]
    assert len(found) == 4 and not any(each.invisible for each in found)
    scale_conditions(networks, 0.0)
    assert all(each.invisible for each in measure_effects(plan, domains, networks, 2, "cpu", Clock()))


@pytest.mark.parametrize(
    ("difference", "change", "invisible"),
    [(0.1, 0.1, False), (0.0009, 0.001, True), (0.002, 0.3, True), (0.004, 0.3, False)],
)
def test_an_effect_below_0_1_percent_of_the_range_or_1_percent_of_the_change_is_invisible(
    difference: float, change: float, invisible: bool
) -> None:
    condition = Condition(direction=None)
    assert ConditionEffect(condition, condition, difference, change).invisible is invisible


def test_a_run_logs_the_effects_of_conditions_and_warns_once_of_each_invisible_one(
    trained: Any, recipe_file: Any, tmp_path: Path
) -> None:
    trained(recipe_file(conditioned_on("task", "run")), tmp_path / "run")  # not conditioned on the direction
    ignored = {"age -> old | age -> young", "race -> black | race -> white"}
    visible = "age -> old | race -> black"
    logged = [each for each in read_metrics(tmp_path / "run/metrics.jsonl") if f"condition/{visible}" in each]
    assert [record["step"] for record in logged] == list(range(1, 11))
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["conditions"][visible]["of_change"] > 0
    for record in logged:
        assert {name for name in ignored if record[f"condition/{name}"] == 0} == ignored
    lines = (tmp_path / "run/log.txt").read_text().splitlines()
    report = (tmp_path / "run/report.html").read_text()
    assert "<h2>Conditions</h2>" in report
    for name in ignored:
        first, second = name.split(" | ")
        warning = f"under '{first}' and '{second}' the generator's outputs differ by 0.00% of the range"
        (line,) = [line for line in lines if warning in line]  # once
        assert "warning: step 2: " in line  # the first tenth of the run is over
        assert sum(warning in each for each in result["warnings"]) == 1
    assert all(f"<li>{escape(warning)}.</li>" in report for warning in result["warnings"])
