"""Conditions that cannot affect the output give a warning, and no others do."""

from typing import Any

import pytest

from transgan.plan.conditioning import Probe, check_conditioning

FACE = """
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 10
[conditionings]
which = { use = "channel" }
[generators]
face = { use = "resnet", per = "direction", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 2, layers = 1 }
[losses]
lsgan = 1.0
"""


def test_a_constant_channel_before_reflection_and_instance_norm_gives_a_warning(planned: Any) -> None:
    assert check_conditioning(planned(FACE)) == [
        "[generators.face] the condition 'task' cannot change the output: a norm removes what [conditionings.which] "
        'adds. Use an embedding, set norm_first = false, or padding = "zero"'
    ]


@pytest.mark.parametrize(
    "remedy",
    [
        "generators.face.norm_first=false",
        'generators.face.padding="zero"',
        'generators.face={use="resnet", width=16, blocks=0, norm="group"}',
        'generators.face.norm="none"',
        'generators.face={use="unet", width=2, norm="instance"}',
        'conditionings.which={use="embedding", of="task"}',
        'conditionings.which="embedding"',
        "conditionings={}",
    ],
)
def test_a_condition_that_affects_the_output_gives_no_warning(planned: Any, remedy: str) -> None:
    assert check_conditioning(planned(FACE, overrides=(remedy,))) == []


def test_a_domain_as_constant_channels_gives_a_warning_too(planned: Any) -> None:
    [line] = check_conditioning(planned(FACE, overrides=('conditionings.which.of="domain"',)))
    assert line.startswith("[generators.face] the condition 'domain' cannot change the output")


def test_a_group_norm_of_one_channel_a_group_is_an_instance_norm(planned: Any) -> None:
    assert len(check_conditioning(planned(FACE, overrides=('generators.face.norm="group"',)))) == 1


def test_conditions_of_discriminators_are_not_checked(planned: Any) -> None:
    plan = planned(FACE, overrides=("generators.face.norm_first=false", 'discriminators.d.conditionings=["which"]'))
    assert check_conditioning(plan) == []


def test_the_condition_of_a_single_task_gives_no_warning(planned: Any) -> None:
    one = ('tasks={age={between=["young", "old"]}}', 'discriminators.d.per="domain"')
    assert check_conditioning(planned(FACE, overrides=one)) == []


def test_a_vector_condition_of_a_node_is_held_constant(planned: Any) -> None:
    code = ('conditionings.code={use="embedding", of="code", numbers=3}',)
    [line] = check_conditioning(planned(FACE, overrides=code))
    assert "[conditionings.which]" in line
    assert check_conditioning(planned(FACE, overrides=(*code, "generators.face.norm_first=false"))) == []


def test_an_effect_is_far_below_or_far_above_the_limit(planned: Any) -> None:
    network = planned(FACE).networks["face.forward"]
    assert Probe(network).effect("task") < 1e-9
    reached = planned(FACE, overrides=("generators.face.norm_first=false",)).networks["face.forward"]
    assert Probe(reached).effect("task") > 1e-3


LABELLED = """
[attributes]
age = { from = 15, to = 65 }
race = { values = ["White", "Black"] }
[tasks]
years = { between = ["young", "old"] }
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
"""


def test_attributes_that_affect_the_output_give_no_warning(planned: Any) -> None:
    assert check_conditioning(planned(LABELLED)) == []


def test_an_attribute_without_a_conditioning_gives_a_warning(planned: Any) -> None:
    [line] = check_conditioning(planned(LABELLED, overrides=("attributes.load={ from = 0, to = 1 }",)))
    assert line == '[attributes] load: no network is conditioned on it; set of = "load" in [conditionings]'


def test_an_attribute_that_a_norm_removes_gives_a_warning(planned: Any) -> None:
    lines = check_conditioning(planned(LABELLED, overrides=("generators.g.norm_first=true",)))
    assert [line.partition(" cannot")[0] for line in lines] == [
        "[generators.g] the condition 'age'",
        "[generators.g] the condition 'race'",
    ]
