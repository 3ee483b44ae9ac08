"""Columns of previews: each holds what its name says, also where several sources have one target."""

from typing import Any

import torch

from transgan.api import Clock
from transgan.data.domains import Domains
from transgan.evaluation.evaluate import preview_columns
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry
from transgan.reporting.previews import pairs_of

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 60 }
size = 16
[domains]
young = { age = [20, 25] }
middle = { age = [25, 30] }
old = { age = [50, 60] }
[tasks.age]
between = ["young", "middle", "old"]
[train]
steps = 1
[conditionings]
domain = { use = "embedding", of = "domain", width = 4 }
[generators]
g = { use = "resnet", width = 4, blocks = 0, per = "run" }
[losses]
cycle = 1.0
"""


class Copies:
    """Stands for networks: translates a source to itself."""

    def compute(self, inputs: Any, planned: Any, names: list[str]) -> dict[str, torch.Tensor]:
        return {"fake": inputs[planned, "source"]}


class Shown(Copies):
    """The same, with a node of one channel that a set of nodes wants to be shown, a quarter as large."""

    def can_compute(self, planned: Any, name: str) -> bool:
        return name == "some_map"

    def compute(self, inputs: Any, planned: Any, names: list[str]) -> dict[str, torch.Tensor]:
        source = inputs[planned, "source"]
        x = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4).expand(len(source), 1, 4, 4)
        return {"fake": source, **({"some_map": x} if "some_map" in names else {})}


def test_nodes_that_are_to_be_shown_are_columns_of_the_samples_form() -> None:
    plan = make_plan(parse_recipe(RECIPE), Registry.installed())
    plan.nodes.shown = ("some_map", "not_there")  # type: ignore[misc]
    columns = preview_columns(plan, Domains(plan), Shown(), 2, "cpu", Clock())  # type: ignore[arg-type]
    shown = {name: column for name, column in columns.items() if name.endswith("\n(some map)")}
    assert len(shown) == 6 and not any("not there" in name for name in columns)
    column = shown["young -> old\n(some map)"]
    assert column.domain == "old" and [tuple(x.shape) for x in column.items] == [(3, 16, 16)] * 2
    small = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    for x in column.items[0]:  # every channel
        torch.testing.assert_close(x, torch.nn.functional.interpolate(small, (16, 16), mode="bilinear")[0, 0])


def test_columns_of_translations_to_one_target_do_not_replace_each_other() -> None:
    plan = make_plan(parse_recipe(RECIPE), Registry.installed())
    domains = Domains(plan)
    columns = preview_columns(plan, domains, Copies(), 2, "cpu", Clock())  # type: ignore[arg-type]
    names = ("young", "middle", "old")
    for source in names:
        expected = columns[f"age: {source}\n(source)"].items
        for target in names:
            if target != source:
                translated = columns[f"{source} -> {target}\n(translated)"]
                assert translated.domain == target
                assert all(torch.equal(x, y) for x, y in zip(translated.items, expected, strict=True))
    assert len([name for name in columns if not name.endswith("(ground truth)")]) == 3 + 6
    cells = {name: [(float(i), 0.0, 0.1, 0.1)] for i, name in enumerate(columns)}
    pairs = pairs_of(cells)
    place = {name: cells[name][0] for name in columns}
    assert pairs == {
        f"{source} -> {target}": [(place[f"age: {source}\n(source)"], place[f"{source} -> {target}\n(translated)"])]
        for source in names
        for target in names
        if source != target
    }
