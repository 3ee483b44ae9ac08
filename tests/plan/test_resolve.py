"""Resolving a recipe: which networks a plan has, their roles, and the messages for mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transgan_faces.sources import SyntheticFaces

from transgan.api import (
    Call,
    Clock,
    Generator,
    Loss,
    NetworkSpec,
    Nodes,
    Options,
    Register,
    Sample,
    Source,
    Translation,
    hookimpl,
    node,
)
from transgan.errors import RecipeError
from transgan.plan import build_networks
from transgan.recipe import Document, Problems, write_recipe
from transgan.registry import Registry

pytestmark = pytest.mark.usefixtures("on_the_command_line")

FACE = """
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 10
batch = 2
[generators.g]
use = "resnet"
width = 2
blocks = 0
[discriminators.d]
use = "patch"
width = 2
layers = 1
[losses]
lsgan = 1.0
"""
TRANSLATIONS = ["age: young -> old", "age: old -> young", "race: white -> black", "race: black -> white"]


class Unstyled(Generator):
    """A generator without a style vector."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.convolution = nn.Conv2d(spec.inputs, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x)
        return y


class Mistaken(Loss):
    def for_generator(self, fake: Tensor, reconstructon: Tensor) -> Tensor:
        return (fake - reconstructon).mean()


class Idle(Loss):
    pass


class MistakenNodes(Nodes):
    @node
    def fake(self, sorce: Tensor) -> Call:
        return Call("generator", sorce)


class WithHeads(Loss):
    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        return {"heads": nn.Linear(spec.channels, 4)}

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.mean()


class Toys:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("unstyled", Unstyled)

    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("mistaken_nodes", MistakenNodes)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("mistaken", Mistaken)
        register("idle", Idle)
        register("with_heads", WithHeads)


@pytest.fixture
def problems(planned: Any) -> Callable[..., list[str]]:
    """`problems(*overrides, recipe)`: the mistakes in a recipe, a line each."""

    def find(*overrides: str, recipe: str = FACE) -> list[str]:
        try:
            planned(recipe, Toys(), overrides)
        except RecipeError as error:
            return error.problems
        return []

    return find


PER = {
    "run": (["g"], ["g"] * 4, ["g"] * 4),
    "task": (["g.age", "g.race"], ["g.age"] * 2 + ["g.race"] * 2, ["g.age"] * 2 + ["g.race"] * 2),
    "domain": (
        ["g.old", "g.young", "g.black", "g.white"],
        ["g.old", "g.young", "g.black", "g.white"],
        ["g.young", "g.old", "g.white", "g.black"],
    ),
    "direction": (
        ["g.forward", "g.backward"],
        ["g.forward", "g.backward"] * 2,
        ["g.backward", "g.forward"] * 2,
    ),
    "translation": (
        ["g.young-old", "g.old-young", "g.white-black", "g.black-white"],
        ["g.young-old", "g.old-young", "g.white-black", "g.black-white"],
        ["g.old-young", "g.young-old", "g.black-white", "g.white-black"],
    ),
}


@pytest.mark.parametrize("per", PER)
def test_per_determines_the_copies_of_a_generator_and_their_roles(planned: Any, per: str) -> None:
    plan = planned(FACE, overrides=(f'generators.g.per="{per}"',))
    copies, there, back = PER[per]
    assert [str(translation) for translation in plan.translations] == TRANSLATIONS
    assert [name for name, network in plan.networks.items() if network.side == "generator"] == copies
    assert [plan.roles[translation]["generator"] for translation in plan.translations] == there
    assert [plan.roles[translation]["back"] for translation in plan.translations] == back


@pytest.mark.parametrize(
    ("per", "discriminators"),
    [
        ("run", ["d", "d", "d", "d"]),
        ("task", ["d.age", "d.age", "d.race", "d.race"]),
        ("domain", ["d.old", "d.young", "d.black", "d.white"]),
        ("direction", ["d.forward", "d.backward", "d.forward", "d.backward"]),
        ("translation", ["d.young-old", "d.old-young", "d.white-black", "d.black-white"]),
    ],
)
def test_per_determines_the_discriminator_of_each_translation(
    planned: Any, per: str, discriminators: list[str]
) -> None:
    plan = planned(FACE, overrides=(f'discriminators.d.per="{per}"',))
    assert [plan.discriminators[translation][0].network for translation in plan.translations] == discriminators


def test_a_discriminator_of_reconstructions_is_that_of_the_source_domain(planned: Any) -> None:
    plan = planned(FACE, overrides=('discriminators.d.real="source"', 'discriminators.d.fake="reconstruction"'))
    assert plan.discriminators[Translation("age", "young", "old")][0].network == "d.young"


def test_three_domains_are_six_translations_and_with_random_targets_one(planned: Any) -> None:
    between = 'tasks={hair={between=["young", "white", "black"]}}'
    plan = planned(FACE, overrides=(between, 'generators.g.per="translation"'))
    assert len(plan.translations) == len(plan.networks) - 3 == 6
    plan = planned(FACE, overrides=(RANDOM, 'discriminators.d.per="run"'))
    [translation] = plan.translations
    assert translation == Translation("hair", "*", "*")
    assert plan.roles[translation] == {"generator": "g", "back": "g"}


def test_a_one_way_task_has_no_network_for_the_way_back(planned: Any) -> None:
    plan = planned(FACE, overrides=('tasks={age={from="young", to="old"}}', 'generators.g.per="translation"'))
    assert plan.roles == {Translation("age", "young", "old"): {"generator": "g.young-old"}}


def test_generators_may_divide_the_translations(planned: Any) -> None:
    aging = 'generators.g.translations=["* -> old", "race"]'
    plan = planned(FACE, overrides=(aging, 'generators.h={use="unet", width=2, translations=["* -> young"]}'))
    assert [plan.roles[translation]["generator"] for translation in plan.translations] == ["g", "h", "g", "g"]
    assert plan.roles[plan.translations[0]]["back"] == "h"


def test_a_conditioning_adds_its_channels_and_style_to_the_networks_that_use_it(planned: Any) -> None:
    conditionings = ('conditionings.task="channel"', 'conditionings.domain={use="embedding", width=5}')
    plan = planned(FACE, overrides=(*conditionings, 'discriminators.d.conditionings=["domain"]'))
    assert (plan.networks["g"].spec.inputs, plan.networks["g"].spec.style) == (4, 5)
    assert (plan.networks["d.old"].spec.inputs, plan.networks["d.old"].spec.style) == (3, 5)
    plan = planned(FACE, overrides=(*conditionings, 'discriminators.d.given="source"', "generators.g.conditionings=[]"))
    assert (plan.networks["g"].spec.inputs, plan.networks["g"].spec.style) == (3, 0)
    assert (plan.networks["d.old"].spec.inputs, plan.networks["d.old"].spec.style) == (6, 0)


ATTRIBUTES = (
    "attributes={age={from=15, to=65}, race={values=['White', 'Black']}}",
    "conditionings={age={use='channel', of='age'}, race={use='channel', of='race'}}",
)


def test_a_conditioning_adds_as_many_channels_as_encode_an_attribute(planned: Any) -> None:
    plan = planned(FACE, overrides=(*ATTRIBUTES, 'discriminators.d.conditionings=["age"]'))
    assert plan.networks["g"].spec.inputs == 3 + 1 + 2
    assert plan.networks["d.old"].spec.inputs == 3 + 1


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("{ age = { from = 15 } }", "age: expected either from = 150 and to = 200, or values"),
        ("{ age = { from = 15, to = 65, values = ['a', 'b'] } }", "age: expected either from = 150"),
        ("{ age = { from = 65, to = 15 } }", "age: from = 65 must be below to = 15"),
        ("{ race = { values = ['White', 'White'] } }", "race: the values White, White must differ"),
        ("{ age = { form = 15, to = 65 } }", "unknown key. Did you mean 'from'?"),
        ("{ domain = { from = 15, to = 65 } }", "'domain' is the name of another argument of networks; rename the"),
        ("{ age = 3 }", "age: found 3 (a whole number), expected a table with from and to, or with values"),
    ],
)
def test_an_invalid_attribute_is_reported(planned: Any, attributes: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        planned(FACE, overrides=(*ATTRIBUTES, f"attributes={attributes}"))
    assert message in str(error.value)


def test_a_network_is_a_function_of_the_seed_and_its_own_name(planned: Any) -> None:
    def weights(*overrides: str) -> dict[str, Tensor]:
        networks = build_networks(planned(FACE, overrides=overrides))
        return {name: next(network.parameters()) for name, network in networks.items()}

    first, again = weights(), weights("losses.cycle=1.0", "train.batch=4")
    assert all(torch.equal(first[name], again[name]) for name in first)
    more = weights('discriminators.e={use="patch", width=2, layers=1}')
    assert all(torch.equal(first[name], more[name]) for name in first)
    assert not torch.equal(first["d.old"], first["d.young"])
    other = weights("train.seed=1")
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_the_networks_of_a_loss_are_trained_with_the_generators(planned: Any) -> None:
    plan = planned(FACE, Toys(), ("losses.with_heads=1.0",))
    assert plan.networks["with_heads/heads"].side == "generator"
    assert plan.trained(plan.recipe.phases[0]) == ["g", "with_heads/heads"]
    assert "with_heads/heads" in build_networks(plan)


def test_a_stage_ends_after_its_most_steps_and_the_next_has_the_rest(planned: Any) -> None:
    stages = "stages=[{share=0.5, most=3}, {share=0.2, most=1}, {share=0.3, most=1}]"
    for steps, expected in ((4, [(0, 2), (2, 3), (3, 4)]), (10, [(0, 3), (3, 4), (4, 10)])):
        plan = planned(FACE, overrides=(stages, f"train.steps={steps}"))
        assert [(stage.first, stage.last) for stage in plan.stages] == expected


def test_stages_follow_one_another_without_a_gap(planned: Any) -> None:
    stages = "stages=[{share=0.35, size=8, batch=4}, {share=0.25, losses={lsgan=0.0}}, {share=0.4, size=64}]"
    plan = planned(FACE, overrides=(stages,))
    assert [(stage.first, stage.last) for stage in plan.stages] == [(0, 4), (4, 6), (6, 10)]
    assert [(stage.size, stage.batch) for stage in plan.stages] == [(8, 4), (16, 2), (16, 2)]
    assert [plan.weight("lsgan", Clock(step=step)) for step in (0, 3, 4, 5, 6, 9)] == [1, 1, 0, 0, 1, 1]


def test_the_weight_of_a_task_multiplies_all_its_terms(planned: Any) -> None:
    plan = planned(FACE, overrides=("tasks.race.weight=0.5", "losses.cycle=10.0"))
    found = {
        (term.loss, term.translation.task): weight for term, weight in plan.terms_of(plan.recipe.phases[0], Clock())
    }
    assert found == {("lsgan", "age"): 1, ("lsgan", "race"): 0.5, ("cycle", "age"): 10, ("cycle", "race"): 5}


WITHOUT_D = FACE.replace(FACE[FACE.index("[discriminators.d]") : FACE.index("[losses]")], "")
RANDOM = 'tasks={hair={between=["young", "white", "black"], targets="random"}}'


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["losses.mistaken=1.0"],
            "--set losses.mistaken=1.0: loss 'mistaken' needs 'reconstructon'; there is no such node or batch input. "
            "Did you mean 'reconstruction'?",
        ),
        (
            ['nodes="mistaken_nodes"'],
            "recipe:12: [discriminators] d: node 'fake' (needed by discriminator 'd') needs 'sorce'; "
            "there is no such node or input. Did you mean 'source'?",
        ),
        (
            ['discriminators.d.fake="fakee"'],
            "recipe:12: [discriminators] d: discriminator 'd' needs 'fakee'; there is no such node or batch "
            "input. Did you mean 'fake'?",
        ),
        (
            ['discriminators.d.translations=["age"]', 'losses.lsgan={translations=["race"]}'],
            '--set losses.lsgan={translations=["race"]}: would never be evaluated: '
            "its translations have no discriminator",
        ),
        (
            ["losses.idle=1.0"],
            "--set losses.idle=1.0: would never be evaluated: it has neither for_generator nor for_discriminator",
        ),
        (
            ['losses.lsgan={translations=["aeg"]}'],
            "--set losses.lsgan={translations=[\"aeg\"]}: translations: 'aeg' matches no translation. "
            "Known: 'age: young -> old', 'age: old -> young', 'race: white -> black', 'race: black -> white'",
        ),
        (
            ['conditionings.domain="embedding"', 'generators.g.conditionings=["domian"]'],
            "--set generators.g.conditionings=[\"domian\"]: no conditioning 'domian'. Did you mean 'domain'?",
        ),
        (
            [
                'conditionings={task="channel", domain="embedding"}',
                'generators={g={use="unstyled", conditionings=["task", "domain"]}}',
            ],
            '--set generators={g={use="unstyled", conditionings=["task", "domain"]}}: g.conditionings: \'unstyled\' '
            "takes no style vector, which 'domain' returns; the condition could not reach it",
        ),
        (
            ['generators.g.translations=["race", "young -> old"]'],
            "recipe:8: [generators]: no generator for [age: old -> young]",
        ),
        (
            ['generators.g.translations=["yuong -> old"]'],
            "--set generators.g.translations=[\"yuong -> old\"]: 'yuong -> old' matches no translation. "
            "Known: 'age: young -> old', 'age: old -> young', 'race: white -> black', 'race: black -> white'",
        ),
        (
            ['generators.g.translations=["age", "race", "aeg"]'],
            '--set generators.g.translations=["age", "race", "aeg"]: \'aeg\' matches no translation. '
            "Known: 'age: young -> old', 'age: old -> young', 'race: white -> black', 'race: black -> white'",
        ),
        (
            ['losses.lsgan={translations=["age", "rcae"]}'],
            '--set losses.lsgan={translations=["age", "rcae"]}: translations: \'rcae\' matches no translation. '
            "Known: 'age: young -> old', 'age: old -> young', 'race: white -> black', 'race: black -> white'",
        ),
        (
            ["discriminators.d.translations=[]"],
            "--set discriminators.d.translations=[]: names no translation; leave it out for all. "
            "Known: 'age: young -> old', 'age: old -> young', 'race: white -> black', 'race: black -> white'",
        ),
        (
            ['phases=[{side="generator", translations=["age", "* -> odl"]}, {side="discriminator"}]'],
            '--set phases=[{side="generator", translations=["age", "* -> odl"]}, {side="discriminat...: '
            "0.translations: '* -> odl' matches no translation. "
            "Known: 'age: young -> old', 'age: old -> young', 'race: white -> black', 'race: black -> white'",
        ),
        (
            ['generators.h={use="resnet", translations=["young -> old"]}'],
            '--set generators.h={use="resnet", translations=["young -> old"]}: [age: young -> old] already has the '
            "generator 'g'; set 'translations'",
        ),
        (
            [RANDOM],
            "recipe:12: [discriminators.d] per: found 'domain', expected 'run' or 'task', since the targets of task "
            "'hair' are random",
        ),
        (
            [RANDOM, 'discriminators.d.per="task"', 'generators.g.per="direction"'],
            "--set generators.g.per=\"direction\": found 'direction', expected 'run' or 'task', since the targets of "
            "task 'hair' are random",
        ),
        (
            ['phases=[{side="generator", losses=["lsgna"]}]'],
            '--set phases=[{side="generator", losses=["lsgna"]}]: 0.losses: \'lsgna\' matches none. '
            "Did you mean 'lsgan'?",
        ),
        (
            ['phases=[{side="discriminator", trains=["d.odl"]}]'],
            '--set phases=[{side="discriminator", trains=["d.odl"]}]: 0.trains: \'d.odl\' matches none. '
            "Did you mean 'd.old'?",
        ),
        (
            ['losses.lsgan.discriminators=["d", "c"]'],
            '--set losses.lsgan.discriminators=["d", "c"]: \'c\' matches none. Known: d.',
        ),
        (
            ["stages=[{share=0.5, size=10}, {share=0.5}]"],
            "--set stages=[{share=0.5, size=10}, {share=0.5}]: 0.size: 'g' needs a multiple of 4, and samples are "
            "10x10; the next smaller one is 8",
        ),
        (
            ["losses={lsgan=false}"],
            "--set losses={lsgan=false}: names no loss, so nothing is trained; expected one or more",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(problems: Any, overrides: list[str], line: str) -> None:
    assert problems(*overrides) == [line]


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ('generators={portrait="resnet", portrayt={width=8}}', "; or is [generators.portrait] meant?"),
        ('discriminators.critic_of_old="patch"', ""),
        ("losses.critic=1.0", ""),
    ],
)
def test_settings_of_a_misspelt_slot_name_the_slot(problems: Any, override: str, hint: str) -> None:
    """Of the kind: a table of a slot without a plugin, in any table of slots; and slots that are not alike."""
    found = problems(override)
    assert [line for line in found if "no generator 'portrayt'" in line and line.endswith(hint)] or not hint
    assert bool(hint) == any("meant?" in line for line in found)


def test_a_loss_of_discriminators_in_a_recipe_without_any_is_reported(problems: Any) -> None:
    why = "would never be evaluated: its translations have no discriminator"
    assert problems(recipe=WITHOUT_D) == [f"recipe:13: [losses] lsgan: {why}"]


def test_a_phase_without_any_term_is_reported(problems: Any) -> None:
    recipe = WITHOUT_D.replace("lsgan = 1.0", "cycle = 1.0")
    assert problems(recipe=recipe) == []
    lines = recipe + '[[phases]]\nside = "generator"\n[[phases]]\nside = "discriminator"\n'
    (line,) = problems(recipe=lines + "every = 2")
    assert line.endswith("no loss of this recipe has a term for the discriminator phase")
    assert problems(recipe=lines) == []  # equal to the defaults


@pytest.mark.parametrize("recipe", [FACE, WITHOUT_D.replace("lsgan", "cycle"), FACE.replace("lsgan", "cycle")])
def test_a_resolved_recipe_has_the_same_plan_when_written_and_read_again(planned: Any, recipe: str) -> None:
    plan = planned(recipe)
    again = planned(write_recipe(Document(plan.recipe, "resolved", Problems("resolved")), plan.filled))
    assert [(term.loss, term.side) for term in again.terms] == [(term.loss, term.side) for term in plan.terms]
    assert again.recipe.phases == plan.recipe.phases


def test_all_mistakes_are_reported_at_once(problems: Any) -> None:
    found = problems("losses.mistaken=1.0", "losses.idle=1.0", 'discriminators.d.given="sorce"')
    assert len(found) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("phases=[]",), "no phase trains anything"),
        (("stages=[{share=1.0,phases=[]}]",), "no phase trains anything"),
        (("losses.lsgan=0", "losses.cycle=0"), "every weight is 0, so nothing is trained"),
    ],
)
def test_a_run_that_would_train_nothing_is_refused(planned: Any, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        planned(FACE, overrides=overrides)


def test_a_weight_that_is_above_0_in_one_stage_trains(planned: Any) -> None:
    off = ("losses.lsgan=0", "losses.cycle=0")
    assert planned(FACE, overrides=(*off, "stages=[{share=0.5},{share=0.5,losses={cycle=1}}]")).losses


@pytest.mark.parametrize(
    ("plugin", "reads"), [("synthetic_faces", False), ("synthetic_shapes", False), ("folders", True), ("own", True)]
)
def test_a_folder_for_a_source_that_reads_none_is_an_error(planned: Any, plugin: str, reads: bool) -> None:
    class Own(Source):
        """It says nothing of the folder, as sources of earlier versions."""

        def samples(self, domain: str, selection: Any) -> list[Sample]:
            return []

    class Plugin:
        @hookimpl
        def register_sources(self, register: Register) -> None:
            register("own", Own)

    overrides = (f"data.source={{use='{plugin}'}}", "data.root=pictures")
    if reads:
        assert planned(FACE, Plugin(), overrides).recipe.data.root == "pictures"
        # A default is used without a folder only, so it need not read one.
        assert planned(FACE, Plugin(), (*overrides, "data.default=synthetic_faces")).sources[0] is not SyntheticFaces
    else:
        with pytest.raises(RecipeError, match=f"data.root=pictures: the source '{plugin}' makes its samples"):
            planned(FACE, Plugin(), overrides)


def test_every_source_whose_samples_are_made_says_so(registry: Registry) -> None:
    made = {each.name for each in registry.candidates("sources") if not each.cls.reads_root}
    assert made == {each.name for each in registry.candidates("sources") if each.name.startswith("synthetic_")}


def test_a_default_that_is_a_path_is_one_in_a_recipe_too(planned: Any) -> None:
    class Paths(Options):
        one: Path = Path("a") / "b"
        several: tuple[Path, ...] = (Path("c"),)
        none: Path | None = None

    class Reads(Loss[Paths]):
        def for_generator(self, fake: Tensor) -> Tensor:
            return fake.mean()

    class Plugin:
        @hookimpl
        def register_losses(self, register: Register) -> None:
            register("reads", Reads)

    plan = planned(FACE, Plugin(), ("losses.reads.none=d",))
    assert plan.losses["reads"].options == Paths(one=Path("a/b"), several=(Path("c"),), none=Path("d"))
    written = write_recipe(Document(plan.recipe, "recipe", Problems("recipe")), plan.filled)
    assert planned(written, Plugin()).losses["reads"].options == plan.losses["reads"].options
