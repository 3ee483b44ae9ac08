"""Overrides of `--set` win over the file, whatever form the file uses; their problems are reported like the file's."""

from typing import Any

import pytest

from transgan.errors import RecipeError
from transgan.recipe import Recipe, parse_recipe
from transgan.schedule import Schedule, constant


def read(text: str, *overrides: str) -> Recipe:
    return parse_recipe(text, "face.toml", overrides).recipe


def test_keys_of_every_recipe(face: str) -> None:
    recipe = read(
        face,
        "data.root=/some/where",
        "data.size=32",
        "train.steps=7",
        "train.batch=2",
        "train.seed=3",
        "train.precision=bf16",
    )
    assert (recipe.data.root, recipe.data.size) == ("/some/where", 32)
    train = recipe.train
    assert (train.steps, train.batch, train.seed, train.precision) == (7, 2, 3, "bf16")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        (" 5 # five", 5),
        ("x", "x"),
        ('"x"', "x"),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ("", ""),
        ("1\ny = 2", "1\ny = 2"),
        ("a = b", "a = b"),
        ("true", True),
    ],
)
def test_values_are_toml_or_else_strings(text: str, value: Any, face: str) -> None:
    assert read(face, f"generators.face.width={text}").generators["face"].options == {"width": value}


@pytest.mark.parametrize(
    ("override", "weight", "translations"),
    [
        ("losses.cycle=5", constant(5.0), ["*"]),
        ("losses.cycle.weight=5", constant(5.0), ["*"]),
        ("losses.identity=2", constant(2.0), ["age"]),
        ("losses.identity.weight=2", constant(2.0), ["age"]),
        ("losses.cycle.to=1", Schedule.model_validate({"from": 10.0, "to": 1}), ["*"]),
        ("losses.cycle={from=3, to=1}", Schedule.model_validate({"from": 3.0, "to": 1}), ["*"]),
        ("losses.identity={from=3, to=1}", Schedule.model_validate({"from": 3.0, "to": 1}), ["age"]),
        ("losses.cycle.translations=['age']", constant(10.0), ["age"]),
        ("losses.brand_new=0.5", constant(0.5), ["*"]),
        ("losses.brand_new.option=1", constant(1.0), ["*"]),
    ],
)
def test_losses_in_all_forms(override: str, weight: Schedule, translations: list[str], face: str) -> None:
    loss = read(face, override).losses[override.split(".")[1].split("=")[0]]
    assert (loss.weight, loss.translations) == (weight, translations)


def test_a_loss_written_as_a_schedule_can_be_given_other_keys(face: str) -> None:
    text = face.replace("cycle = 10.0", "cycle = { from = 10.0, to = 1.0 }")
    cycle = read(text, "losses.cycle.translations=['age']", "losses.cycle.weight.to=2").losses["cycle"]
    assert (cycle.weight.start, cycle.weight.to, cycle.translations) == (10.0, 2.0, ["age"])
    assert read(text, "losses.cycle=3").losses["cycle"].weight == constant(3.0)


def test_short_forms_of_slots_are_expanded(face: str) -> None:
    recipe = read(face, "data.source.labels=x", "metrics.cycle_error.samples=5", "nodes=mine", "nodes.depth=2")
    assert (recipe.data.source.use, recipe.data.source.options) == ("labelled_faces", {"labels": "x"})
    assert recipe.metrics["cycle_error"].options == {"samples": 5}
    assert (recipe.nodes.use, recipe.nodes.options) == ("mine", {"depth": 2})


def test_entries_of_lists_are_set_by_index_also_those_of_default_phases(face: str) -> None:
    recipe = read(face, "phases.1.every=2", "stages.0.share=0.25", "stages.1.share=0.75")
    assert [phase.every for phase in recipe.phases] == [1, 2]
    assert [phase.side for phase in recipe.phases] == ["generator", "discriminator"]
    assert [stage.share for stage in recipe.stages] == [0.25, 0.75]


def test_the_last_override_wins(face: str) -> None:
    assert read(face, "train.steps=5", "train.steps=6").train.steps == 6


def test_batch_and_size_apply_to_all_stages(face: str) -> None:
    assert [stage.batch for stage in read(face).stages] == [16, None]
    assert [stage.batch for stage in read(face, "train.batch=4").stages] == [None, None]
    assert [stage.batch for stage in read(face, "stages.0.batch=2", "train.batch=4").stages] == [2, None]
    assert [stage.size for stage in read(face, "data.size=16").stages] == [16, None]
    assert [stage.size for stage in read(face, "data.size=48").stages] == [32, None]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.steps", "--set train.steps: expected key=value, such as train.steps=500"),
        ("=5", "--set =5: expected key=value, such as train.steps=500"),
        ("train.steps=x", '--set train.steps=x: found "x" (a string), expected a whole number of at least 1'),
        ("train.steps.x=1", "--set train.steps.x=1: train.steps is 1000 (a whole number), not a table"),
        ("train={}", "--set train={}: steps: missing; expected a whole number of at least 1"),
        (
            "phases.2.every=1",
            "--set phases.2.every=1: phases is a list of 2; expected the number of an entry, counted from 0",
        ),
        ("train.clip=nan", "--set train.clip=nan: found nan, expected a finite number"),
        (
            "losses.cycle={weigth=1, from=2, to=1}",
            "--set losses.cycle={weigth=1, from=2, to=1}: weight.weigth: unknown key.",
        ),
        ("trian.steps=5", "--set trian.steps=5: unknown section. Did you mean 'train'?"),
        (
            "tasks.age.between=['young', 'odl']",
            "--set tasks.age.between=['young', 'odl']: no domain 'odl'. Did you mean 'old'?",
        ),
        ("a." * 20 + "b=1", "--set " + "a." * 20 + "b=1: nested deeper than 16 keys"),
        (
            "x=" + "[" * 3000,
            "--set x=" + "[" * 78 + "...: the value is nested too deep, or is a number that is too large",
        ),
        ("x=" + "1" * 4099, "--set x=" + "1" * 78 + "...: longer than 4096 characters"),
        ("data.root=\udcff", r"--set data.root=\udcff: not valid UTF-8"),
        ("data.root=", None),
    ],
)
def test_problems(override: str, line: str | None, face: str) -> None:
    if line is None:
        assert read(face, override).data.root == ""
        return
    with pytest.raises(RecipeError) as error:
        read(face, override)
    (found,) = error.value.problems
    assert found.startswith(line)


def test_a_key_below_a_number_that_is_too_large(face: str) -> None:
    with pytest.raises(RecipeError, match=r"train\.steps is a very large number"):
        read(face.replace("steps = 1000", "steps = 1" + "0" * 400), "train.steps.x=1")


def test_false_removes_a_slot(face: str) -> None:
    whole = read(face)
    loss = next(iter(whole.losses))
    assert read(face, f"losses.{loss}=false").losses == {name: x for name, x in whole.losses.items() if name != loss}
    again = read(face, f"losses.{loss}=false", f"losses.{loss}=2.0")
    assert again.losses[loss].weight == constant(2.0)


@pytest.mark.parametrize(
    "key", ["data.source.path.x", "data.media.fit.x", "nodes.use.x", "guard.fallback.penalty.use.x"]
)
def test_an_option_that_is_a_text_is_not_taken_for_a_slot(face: str, key: str) -> None:
    """The kind: keys below a slot, which no short form has."""
    text = face.replace('source = "labelled_faces"', 'source = { use = "labelled_faces", path = "a" }')
    texts = ['nodes.use="translation"', 'data.media={use="image", fit="crop"}', 'guard.fallback.penalty={use="r1"}']
    with pytest.raises(RecipeError, match=r"is a string|is \"|not a table"):
        read(text, *texts, f"{key}=1")


@pytest.mark.parametrize("slot", ["data.media", "nodes"])
def test_options_of_a_slot_that_the_recipe_does_not_name_are_those_of_its_default(slot: str, face: str) -> None:
    text = "\n".join(line for line in face.split("\n") if not line.startswith(("media", "nodes")))
    place, _, key = slot.rpartition(".")

    def found(recipe: Recipe) -> Any:
        return getattr(recipe.data if place else recipe, key)

    assert found(read(text, f"{slot}.x=1")) == found(read(text)).model_copy(update={"options": {"x": 1}})


@pytest.mark.parametrize(
    ("override", "alike"),
    [
        ("train={steps=7}", ["train.steps=7"]),
        ("train={steps=7, batch=2}", ["train.steps=7", "train.batch=2"]),
        ("data={size=16, source={use='folders'}}", ["data.size=16", "data.source={use='folders'}"]),
        ("optimizers={generator={lr={from=0.1, to=0.0}}}", ["optimizers.generator.lr={from=0.1, to=0.0}"]),
        ("evaluate={samples=3}", ["evaluate.samples=3"]),
    ],
)
def test_a_table_of_settings_keeps_the_keys_that_it_does_not_name(override: str, alike: list[str], face: str) -> None:
    text = face.replace("[train]\n", "[train]\naccumulate = 3\n")
    expected = read(text, *alike)
    assert read(text, override) == expected and expected.train.accumulate == 3


def test_tables_of_names_and_slots_are_replaced(face: str) -> None:
    assert list(read(face, "losses={lsgan=1.0}").losses) == ["lsgan"]
    assert read(face, "metrics={}").metrics == {}
    assert read(face, "generators.face={use='resnet', width=3}").generators["face"].options == {"width": 3}
    both = ("domains={young={a=1}, old={a=2}}", "tasks={age={between=['young', 'old']}}")
    assert read(face, *both).domains == {"young": {"a": 1}, "old": {"a": 2}}


def test_a_problem_inside_a_table_that_is_set_names_its_key(face: str) -> None:
    with pytest.raises(RecipeError, match=r"train=\{steps=0\}: steps: found 0, expected a whole number of at least 1"):
        read(face, "train={steps=0}")
    with pytest.raises(RecipeError, match=r"guard=\{fallback=\{penalti='x'\}\}: fallback.penalti: unknown key"):
        read(face, "guard={fallback={penalti='x'}}")
