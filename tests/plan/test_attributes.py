"""Attributes in a recipe: what they may say, who is told them, and what is warned of."""

from typing import Any

import pytest

from transgan.dry_run import play
from transgan.errors import RecipeError
from transgan.plan.conditioning import check_conditioning

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


def test_networks_have_room_for_the_numbers_of_an_attribute(planned: Any) -> None:
    plan = planned(RECIPE)
    assert plan.networks["g"].spec.inputs == 3 + 1 + 2
    assert plan.networks["d"].spec.inputs == 3 + 1
    assert play(plan, plan.stages[0])
    assert check_conditioning(plan) == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("{ age = { from = 15 } }", "age: expected either from = 150 and to = 200, or values"),
        ("{ age = { from = 15, to = 65, values = ['a', 'b'] } }", "age: expected either from = 150"),
        ("{ age = { from = 65, to = 15 } }", "age: from = 65 must be below to = 15"),
        ("{ race = { values = ['White', 'White'] } }", "race: the values White, White must differ"),
        ("{ age = { form = 15, to = 65 } }", "unknown key. Did you mean 'from'?"),
        ("{ domain = { from = 15, to = 65 } }", "networks are told something else by the name 'domain'"),
        ("{ age = 3 }", "age: found 3 (a whole number), expected a table with from and to, or with values"),
    ],
)
def test_an_attribute_that_says_nothing_useful(planned: Any, attributes: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        planned(RECIPE, overrides=(f"attributes={attributes}",))
    assert message in str(error.value)


def test_a_condition_that_is_no_attribute_is_named_with_those_that_are(planned: Any) -> None:
    plan = planned(RECIPE, overrides=('conditionings.age.of="aeg"',))
    with pytest.raises(
        RecipeError, match=r"is of 'aeg', which this network is not told; it is told age, domain, race, task"
    ):
        play(plan, plan.stages[0])


def test_an_attribute_that_nobody_is_told_is_warned_of(planned: Any) -> None:
    [line] = check_conditioning(planned(RECIPE, overrides=("attributes.load={ from = 0, to = 1 }",)))
    assert line == '[attributes] load: no network is told it; set of = "load" in [conditionings]'


def test_an_attribute_that_a_norm_removes_is_warned_of(planned: Any) -> None:
    lines = check_conditioning(planned(RECIPE, overrides=("generators.g.norm_first=true",)))
    assert [line.partition(" cannot")[0] for line in lines] == [
        "[generators.g] the condition 'age'",
        "[generators.g] the condition 'race'",
    ]
