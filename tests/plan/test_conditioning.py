"""Conditions that cannot reach the output are warned of, and only those."""

from typing import Any

import pytest

from transgan.plan.conditioning import check_conditioning, effect

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


def test_a_constant_plane_before_reflection_and_instance_norm_is_warned_of(planned: Any) -> None:
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
def test_where_the_condition_reaches_the_output_nothing_is_said(planned: Any, remedy: str) -> None:
    assert check_conditioning(planned(FACE, overrides=(remedy,))) == []


def test_a_domain_told_by_planes_is_warned_of_too(planned: Any) -> None:
    [line] = check_conditioning(planned(FACE, overrides=('conditionings.which.of="domain"',)))
    assert line.startswith("[generators.face] the condition 'domain' cannot change the output")


def test_a_group_norm_of_one_channel_a_group_is_an_instance_norm(planned: Any) -> None:
    assert len(check_conditioning(planned(FACE, overrides=('generators.face.norm="group"',)))) == 1


def test_what_a_discriminator_is_told_is_of_no_concern(planned: Any) -> None:
    plan = planned(FACE, overrides=("generators.face.norm_first=false", 'discriminators.d.conditionings=["which"]'))
    assert check_conditioning(plan) == []


def test_of_a_single_task_there_is_nothing_to_tell_apart(planned: Any) -> None:
    one = ('tasks={age={between=["young", "old"]}}', 'discriminators.d.per="domain"')
    assert check_conditioning(planned(FACE, overrides=one)) == []


def test_conditions_of_numbers_are_no_hindrance(planned: Any) -> None:
    code = ('conditionings.code={use="embedding", of="code", numbers=3}',)
    [line] = check_conditioning(planned(FACE, overrides=code))
    assert "[conditionings.which]" in line
    assert check_conditioning(planned(FACE, overrides=(*code, "generators.face.norm_first=false"))) == []


def test_the_effect_is_nothing_or_well_above_it(planned: Any) -> None:
    network = planned(FACE).networks["face.forward"]
    assert effect(network, "task") < 1e-9
    reached = planned(FACE, overrides=("generators.face.norm_first=false",)).networks["face.forward"]
    assert effect(reached, "task") > 1e-3
