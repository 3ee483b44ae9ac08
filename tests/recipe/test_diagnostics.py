"""Problems of a recipe are reported together, each in one line that says where it is and what was expected."""

from collections.abc import Sequence

import pytest

from transgan.errors import RecipeError
from transgan.options import Options
from transgan.recipe import Problems, parse_recipe
from transgan.schedule import Schedule, constant

NAME = "recipes/face.toml"


def reported(text: str, overrides: Sequence[str] = ()) -> list[str]:
    with pytest.raises(RecipeError) as error:
        parse_recipe(text, NAME, overrides)
    return [line.removeprefix(NAME) for line in error.value.problems]


#: A part of the recipe, its replacement, and the line that reports the problem.
WRONG = {
    "unknown key of a table whose keys are known": (
        "[metrics]",
        '[guard]\nactions = { colapse = "off" }\n[metrics]',
        ":40: [guard] actions.colapse: unknown key. Did you mean 'collapse'?",
    ),
    "a list of schedules": (
        "[metrics]",
        "[optimizers.discriminator]\nbetas = [0.5]\n[metrics]",
        ":40: [optimizers.discriminator] betas: found a list of 1, expected a list of 2 numbers or schedules",
    ),
    "a mistake inside a member of a union": (
        'between = ["young", "old"]',
        'paired = { share = 2 }, between = ["young", "old"]',
        ":12: [tasks.age] paired.share: found 2, expected a number above 0 and at most 1",
    ),
    "an empty folder": (
        "batch = 8",
        'init_from = ""',
        ':16: [train] init_from: found "", expected a string that is not empty',
    ),
    "unknown key": ("batch = 8", "batch = 8\nstpes = 3", ":17: [train] stpes: unknown key. Did you mean 'steps'?"),
    "unknown section": ("[metrics]", "[metrcis]", ":39: [metrcis]: unknown section. Did you mean 'metrics'?"),
    "a string for a number": (
        "batch = 8",
        'batch = "8"',
        ':16: [train] batch: found "8" (a string), expected a whole number of at least 1',
    ),
    "1.0 is not whole": (
        "batch = 8",
        "batch = 1.0",
        ":16: [train] batch: found 1.0 (a number), expected a whole number of at least 1",
    ),
    "true is not a number": (
        "batch = 8",
        "batch = true",
        ":16: [train] batch: found true, expected a whole number of at least 1",
    ),
    "too small": ("batch = 8", "batch = 0", ":16: [train] batch: found 0, expected a whole number of at least 1"),
    "missing key": ("steps = 1000\n", "", ":14: [train] steps: missing; expected a whole number of at least 1"),
    "missing sections": (
        "[train]\nsteps = 1000\nbatch = 8",
        "",
        ": [train]: missing; expected a table",
    ),
    "one of": (
        'per = "domain"',
        'per = "dmain"',
        ":27: [discriminators.face] per: found \"dmain\", expected one of 'run', 'task', 'domain', 'direction', "
        "'translation'",
    ),
    "unknown domain": (
        '["young", "old"]',
        '["young", "odl"]',
        ":12: [tasks.age] between: no domain 'odl'. Did you mean 'old'?",
    ),
    "task in neither form": (
        '{ between = ["young", "old"] }',
        '{ from = "young" }',
        ':12: [tasks] age: expected either between = ["a", "b"], or from = "a" and to = "b"',
    ),
    "the same domain twice": (
        '["young", "old"]',
        '["old", "old"]',
        ":12: [tasks] age: the domains old, old must differ",
    ),
    "a name of the code, not of the recipe": (
        'between = ["young", "old"]',
        'between = ["young", "old"], target = "old"',
        ":12: [tasks.age] target: unknown key. Did you mean 'targets'?",
    ),
    "empty domain": (
        "{ age = [20, 30] }",
        "{}",
        ":7: [domains] young: found an empty table, expected a string (a folder, a glob) or a table (a selection), "
        "not empty",
    ),
    "unsafe name": (
        "[generators.face]",
        '[generators."../face"]',
        ":21: [generators] \"../face\": expected a name of letters, digits, '_' and '-', 64 at most",
    ),
    "a bad end of a schedule": (
        "between = [0.5, 1.0]",
        "between = [0.5]",
        ":18: [optimizers.generator] lr.between: found a list of 1, expected a list of 2 numbers",
    ),
    "a schedule without an end": (
        "cycle = 10.0",
        "cycle = { from = 10.0 }",
        ":31: [losses.cycle] weight: a linear schedule needs 'to'",
    ),
    "a schedule with a key of another curve": (
        "cycle = 10.0",
        "cycle = { from = 10.0, to = 1.0, at = [0.5], values = [3.0] }",
        ":31: [losses.cycle] weight: a linear schedule has no 'at'; leave it out, or choose another curve",
    ),
    "a schedule of steps with an end": (
        "cycle = 10.0",
        'cycle = { from = 10.0, to = 1.0, curve = "steps", at = [0.5], values = [3.0] }',
        ":31: [losses.cycle] weight: a steps schedule has no 'to'; leave it out, or choose another curve",
    ),
    "a schedule beyond the run": (
        "cycle = 10.0",
        'cycle = { from = 10.0, to = 1.0, between = [0, 5000], unit = "run" }',
        ":31: [losses.cycle] weight: found [0.0, 5000.0] with unit = 'run', which is a part of the run, 0 to 1; or "
        "choose 'steps'",
    ),
    "an unknown curve": (
        "cycle = 10.0",
        'cycle = { from = 10.0, to = 1.0, curve = "cosin" }',
        ":31: [losses.cycle] weight.curve: found \"cosin\", expected one of 'constant', 'linear', 'cosine', 'steps'",
    ),
    "a schedule over several lines": (
        "cycle = 10.0",
        "cycle.from = 10.0\ncycle.to = 'x'",
        ':32: [losses.cycle] weight.to: found "x" (a string), expected a number',
    ),
    "neither a number nor a schedule": (
        "generator.lr = {",
        'discriminator.lr = "fast"\ngenerator.lr = {',
        ':18: [optimizers.discriminator] lr: found "fast" (a string), expected a number, or a schedule such as '
        "{from = 1.0, to = 0.0}",
    ),
    "no loss": (
        "cycle = 10.0",
        "cycle = [10.0]",
        ":31: [losses] cycle: found a list of 1, expected a weight, a schedule or a table",
    ),
    "shares": ("share = 0.5\nsize", "share = 0.25\nsize", ":33: [stages]: the shares add up to 0.75, not to 1"),
    "unknown loss in a stage": (
        "batch = 16",
        "losses.cyle = 0",
        ":36: [stages.0] losses.cyle: no loss 'cyle'. Did you mean 'cycle'?",
    ),
    "a list with something else in it": (
        '{ weight = 5.0, translations = ["age"] }',
        "{ weight = 5.0, translations = [1] }",
        ":32: [losses.identity] translations.0: found 1 (a whole number), expected a string",
    ),
    "an infinite number": (
        "cycle = 10.0",
        "cycle = 1e400",
        ":31: [losses] cycle: found inf, expected a finite number",
    ),
    "an infinite number among options": (
        "width = 24",
        "width = [nan]",
        ":24: [generators.face] width.0: found nan, expected a finite number",
    ),
    "a number without end": (
        "steps = 1000",
        "steps = 1" + "0" * 400,
        ":15: [train] steps: found a number of more than 64 bits",
    ),
    "the name": (
        'name = "conditional_face"',
        'name = "../x"',
        ":1: name: found \"../x\", expected a string of letters, digits, '.', '_' and '-', 64 at most",
    ),
    "syntax": ("steps = 1000", "steps 1000", ":15: not valid TOML: Expected '=' after a key in a key/value pair"),
    "twice": ("batch = 8", "batch = 8\nbatch = 9", ":17: not valid TOML: the key is already defined"),
    "section twice": ("[train]", "[data]", ":14: not valid TOML: [data] is already defined"),
    "too deep": ("width = 24", "width = " + "[" * 2000, ":24: nested deeper than 16 levels"),
    "long number": ("width = 24", "width = " + "1" * 4200, ":24: the line is longer than 4096 characters"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_problem(name: str, face: str) -> None:
    old, new, line = WRONG[name]
    assert face.count(old) == 1 or name == "missing key"
    assert reported(face.replace(old, new)) == [line]


def test_all_problems_are_reported_together_in_the_order_of_lines(face: str) -> None:
    text = face
    names = ("unknown key", "unknown section", "one of", "unknown domain", "empty domain", "no loss", "shares")
    for name in names:
        old, new, _ = WRONG[name]
        text = text.replace(old, new)
    text = text.replace("steps = 1000\n", "").replace("size = 64", "sise = 64")
    found = reported(text, ["train.stpes=5", "train.x=1", "nonsense", "train.keep=0"])
    numbers = [int(line.split(":")[1]) for line in found if line.startswith(":")]
    assert numbers == sorted(numbers) and len(numbers) == len(names) + 1
    assert found[-4:] == [
        "--set nonsense: expected key=value, such as train.steps=500",
        "--set train.keep=0: found 0, expected a whole number of at least 1",
        "--set train.stpes=5: unknown key. Did you mean 'steps'?",
        "--set train.x=1: unknown key. Known: accumulate, balance, batch, checkpoint_every, checkpointing, "
        "clip, compile, ema, freeze, init_from, keep, log_every, merge, precision, sample_every, seed, steps, tf32.",
    ]


def test_an_empty_recipe() -> None:
    assert reported("") == [
        ": [data]: missing; expected a table",
        ": [domains]: missing; expected a table that is not empty",
        ": [tasks]: missing; expected a table that is not empty",
        ": [train]: missing; expected a table",
        ": [generators]: missing; expected a table",
        ": [losses]: missing; expected a table",
    ]


@pytest.mark.parametrize("value", ["3", '"x"', "[]", "true", "[[1]]", "{}", "1979-05-27", "{x = {}}"])
def test_any_wrong_value_of_a_section_is_reported_without_the_words_of_pydantic(value: str, face: str) -> None:
    for section in (
        "data",
        "domains",
        "tasks",
        "train",
        "losses",
        "stages",
        "phases",
        "generators",
        "metrics",
        "nodes",
    ):
        text = f"{section} = {value}\n" + "\n".join(
            part for part in ("\n" + face).split("\n[") if not part.strip("[").startswith(section)
        )
        with pytest.raises(RecipeError) as error:
            parse_recipe(text)
        assert not any(word in str(error.value) for word in ("pydantic", "http", "Input", "valid dict", "Section"))


def test_control_characters_are_escaped(face: str) -> None:
    text = face.replace("batch = 8", 'batch = "\\u001b[2J"\n"\\u001b[2J" = 1')
    assert all(line.isprintable() for line in reported(text))
    with pytest.raises(RecipeError) as error:
        parse_recipe("x", "a\x1b\nb.toml")
    assert str(error.value).startswith("a\\u001b\\u000ab.toml:1")


class Wide(Options):
    width: int = 3
    rate: Schedule = constant(1.0)
    sizes: tuple[int, int] | None = None
    mode: int | str = 1
    many: dict[str, list[float]] = {}


def test_problems_of_plugin_options_are_reported_in_the_same_form(face: str) -> None:
    problems = parse_recipe(face, NAME).problems
    assert problems.validate(Wide, {"width": 4}, ("generators", "face")) == Wide(width=4)
    problems.stop()
    wrong = {"width": "24", "translation": 1, "rate": "x", "sizes": 3, "mode": [1], "many": {"a": [1.0, "b"]}}
    assert problems.validate(Wide, wrong, ("generators", "face")) is None
    problems.add(("generators", "face", "use"), "no generator 'resnet'. Known: unet.")
    assert problems
    with pytest.raises(RecipeError) as error:
        problems.stop()
    place = f"{NAME}:21: [generators.face] "
    assert error.value.problems == [
        place + 'rate: found "x" (a string), expected a number, or a schedule such as {from = 1.0, to = 0.0}',
        place + "sizes: found 3 (a whole number), expected a list of 2 whole numbers",
        place + "mode: found a list of 1, expected a whole number or a string",
        place + 'many.a.1: found "b" (a string), expected a number',
        place + "translation: unknown key. Did you mean 'translations'?",
        f"{NAME}:22: [generators.face] use: no generator 'resnet'. Known: unet.",
        f'{NAME}:24: [generators.face] width: found "24" (a string), expected a whole number',
    ]


def test_a_problem_without_a_line() -> None:
    problems = Problems("x.toml")
    assert not problems
    problems.add((), "something is wrong")
    problems.add((), "something is wrong")
    with pytest.raises(RecipeError, match=r"^x\.toml: something is wrong$"):
        problems.stop()


@pytest.mark.parametrize("key", ["data.source", "data.default", "data.media", "nodes"])
def test_a_slot_that_has_no_name_of_its_own_is_not_true(face: str, key: str) -> None:
    [line] = reported(face, (f"{key}=true",))
    assert line.endswith("found true, expected the name of a plugin, or a table")
