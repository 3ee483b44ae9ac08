"""The dry run: traces of phases on the meta device, and errors that it finds before the first step."""

from typing import Any

import pytest

from transgan.dry_run import trace_phases
from transgan.errors import RecipeError

RECIPE = """
[tasks]
years = { between = ["young", "old"] }
[attributes]
age = { from = 15, to = 65 }
race = { values = ["White", "Black"] }
[train]
steps = 10
[conditionings]
age = { use = "channel", of = "age" }
race = { use = "channel", of = "race" }
[generators]
g = { use = "resnet", width = 4, blocks = 1, norm_first = false }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["age"], width = 2, layers = 1 }
[losses]
lsgan = 1.0
cycle = 1.0
"""


def test_phases_are_traced_with_their_passes_and_losses(planned: Any) -> None:
    plan = planned(RECIPE)
    shared, generator, discriminator = trace_phases(plan, plan.stages[0])
    assert (shared.side, generator.side, discriminator.side) == ("nodes", "generator", "discriminator")
    assert (shared.losses, generator.losses, discriminator.losses) == ([], ["lsgan", "cycle"], ["lsgan"])
    there, back = "years: young -> old", "years: old -> young"
    assert [(each.network, each.nodes, each.samples) for each in shared.passes] == [
        ("g", (f"{there}: fake", f"{back}: fake"), 2),
        ("g", (f"{there}: reconstruction", f"{back}: reconstruction"), 2),
    ]
    assert [each.network for each in (*generator.passes, *discriminator.passes)] == ["d", "d"]
    assert min(shared.activations, generator.activations, discriminator.activations) > 0


def test_a_condition_that_a_network_does_not_get_is_an_error(planned: Any) -> None:
    plan = planned(RECIPE, overrides=('conditionings.age.of="aeg"',))
    message = r"of = 'aeg', but this network gets no such condition; it gets age, domain, race, task \(while running"
    with pytest.raises(RecipeError, match=message):
        trace_phases(plan, plan.stages[0])
