"""The fallback objective: which parts of a recipe it replaces, and the recipes for which it is refused."""

from typing import Any

import pytest

from transgan.errors import RecipeError
from transgan.plan.fallback import with_fallback
from transgan.recipe import parse_recipe, write_recipe
from transgan.recipe.write import value_in_toml

RECIPE = """
data = { source = { use = "synthetic_faces", count = 24 }, size = 16 }
domains = { young = { age = [20, 30] }, old = { age = [50, 60] } }
tasks = { age = { between = ["young", "old"] } }
train = { steps = 4, batch = 2 }
generators = { g = { use = "resnet", per = "direction", width = 4, blocks = 1 } }
discriminators = { d = { use = "patch", width = 4, layers = 1, history = 5 } }
losses = { hinge = 2.0, r1 = 1.0, cycle = 10.0 }
guard = { action = "fallback" }
stages = [{ share = 0.5, losses = { hinge = 1.0, cycle = 5.0 } }, { share = 0.5 }]
[[phases]]
side = "generator"
losses = ["cycle", "hing*"]
[[phases]]
side = "discriminator"
every = 2
"""


def test_a_fallback_changes_the_objective_and_nothing_else(planned: Any) -> None:
    plan = planned(RECIPE)
    document = parse_recipe(RECIPE)
    new = with_fallback(document, plan).recipe
    assert list(new.losses) == ["wasserstein", "gradient_penalty", "cycle"]
    assert [new.losses[name].weight.start for name in new.losses] == [1.0, 10.0, 10.0]
    assert new.losses["gradient_penalty"].options == {"slope": 0.25}
    assert [(p.side, p.every, set(p.losses)) for p in new.phases] == [
        ("generator", 5, {"cycle", "wasserstein", "gradient_penalty"}),
        ("discriminator", 2, {"*"}),
    ]
    assert [set(stage.losses) for stage in new.stages] == [{"cycle"}, set()]
    assert new.discriminators["d"].history == 0
    assert new.optimizers.generator.lr.start == new.optimizers.discriminator.lr.start == 1e-4
    assert new.guard.action == "stop"
    kept = ("data", "domains", "tasks", "train", "generators", "metrics", "evaluate", "nodes")
    assert all(getattr(new, name) == getattr(document.recipe, name) for name in kept)


def test_a_fallback_applies_to_the_translations_and_discriminators_of_what_it_replaces(planned: Any) -> None:
    changed = ("losses.hinge={weight=2.0, translations=['* -> old'], discriminators=['d']}",)
    document = parse_recipe(RECIPE, "recipe", changed)
    new = with_fallback(document, planned(RECIPE, overrides=changed)).recipe
    for name in ("wasserstein", "gradient_penalty"):
        assert (new.losses[name].translations, new.losses[name].discriminators) == (["* -> old"], ["d"])


def test_a_stage_with_phases_of_its_own_has_the_new_objective_too(planned: Any) -> None:
    changed = ("stages.0.phases=[{side='discriminator', losses=['hinge', 'r1']}]",)
    document = parse_recipe(RECIPE, "recipe", changed)
    new = with_fallback(document, planned(RECIPE, overrides=changed)).recipe
    (phase,) = new.stages[0].phases or ()
    assert (phase.side, phase.losses) == ("discriminator", ["wasserstein", "gradient_penalty"])
    assert new.stages[1].phases is None


def test_a_phase_whose_losses_were_all_replaced_is_removed(planned: Any) -> None:
    text = RECIPE + '[[phases]]\nside = "discriminator"\nlosses = ["r1"]\nevery = 4\n'
    plan = planned(text, overrides=("phases.1.losses=['hinge']",))
    new = with_fallback(parse_recipe(text, "recipe", ("phases.1.losses=['hinge']",)), plan).recipe
    assert [(p.side, p.every, p.losses) for p in new.phases[1:]] == [
        ("discriminator", 2, ["wasserstein", "gradient_penalty"])
    ]


@pytest.mark.parametrize(
    ("change", "use", "options"),
    [
        ("guard.fallback.penalty.slope=1.0", "gradient_penalty", {"slope": 1.0}),
        ('guard.fallback.penalty={of="sum", slope=100.0}', "gradient_penalty", {"of": "sum", "slope": 100.0}),
        ('guard.fallback.penalty="r1"', "r1", {}),
        ('guard.fallback.penalty={use="r1", of="sum"}', "r1", {"of": "sum"}),
        ("guard.fallback.penalty=true", "gradient_penalty", {}),
    ],
)
def test_the_penalty_of_a_fallback_takes_options_in_every_form_of_a_slot(
    planned: Any, change: str, use: str, options: dict[str, Any]
) -> None:
    plan = planned(RECIPE, overrides=(change,))
    document = parse_recipe(RECIPE, "recipe", (change,))
    fallback = with_fallback(document, plan)
    assert fallback.recipe.losses[use].options == options
    assert parse_recipe(write_recipe(document)).recipe == document.recipe
    written = write_recipe(fallback)
    assert parse_recipe(written).recipe == fallback.recipe
    assert all(f"{name} = {value_in_toml(value)}  # fallback" in written for name, value in options.items())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("guard.fallback.penalty.slop=1.0", "'fallback' would not run: .*slop: unknown key. Did you mean 'slope'"),
        ('discriminators.d.norm="batch"', "would not run: .*gradient_penalty: .*the batch norm of 'd"),
        ("losses={wasserstein=1.0}", "the recipe has no loss to replace: an adversarial .* such as hinge, lsgan"),
        ("losses={hinge=1.0,cycle={quality=true}}", "'fallback' would not run: .*weights samples by how real"),
    ],
)  # fmt: skip
def test_a_fallback_that_cannot_run_is_refused_before_the_first_step(planned: Any, change: str, line: str) -> None:
    text = RECIPE.partition("stages")[0].replace("r1 = 1.0, ", "")
    planned(text, overrides=(change, 'guard.action="rollback"'))
    with pytest.raises(RecipeError, match=line):
        planned(text, overrides=(change,))


@pytest.mark.parametrize("action", ["fallback", "warn"])
@pytest.mark.parametrize(
    ("change", "line"),
    [
        ('adversarial="cycle"', "'cycle' is not an adversarial loss; expected one of hinge, lsgan, relativistic"),
        ('adversarial="lecam"', "'lecam' is not an adversarial loss"),
        ('adversarial="hing"', "'hing' is not an adversarial loss"),
        ('penalty="hinge"', "'hinge' is not a gradient penalty; expected one of gradient_penalty, r1, r2"),
        ("penalty={weight=1.0,use='cycle'}", "'cycle' is not a gradient penalty"),
    ],
)
def test_a_fallback_takes_losses_of_its_kind_alone(planned: Any, action: str, change: str, line: str) -> None:
    with pytest.raises(RecipeError, match=rf"guard\.fallback.*{line}") as error:
        planned(RECIPE, overrides=(f'guard.action="{action}"', f"guard.fallback.{change}"))
    assert len(error.value.problems) == 1
