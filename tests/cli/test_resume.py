"""`transgan resume` and `finish`, and every command on a checkpoint of a run.

Of the kind: a run may be extended, shortened, ended early or left as it is, from whatever state it is in; each
checkpoint is a model; what cannot be done is said in one line, and changes nothing.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch
from PIL import Image

from transgan.inference.translator import Translator
from transgan.recipe import read_recipe
from transgan.storage import load, newest, read_metrics, read_model, saved_steps
from transgan.training.trainer import Trainer

STEPS = ("--set", "train.steps=4", "--set", "train.log_every=1", "--set", "evaluate.samples=4")


OF_FOLDERS = """
data = { source = "folders", root = "data", size = 16 }
domains = { x = "a", y = "b" }
tasks = { t = { between = ["x", "y"] } }
train = { steps = 2 }
generators = { g = { use = "resnet", width = 4, blocks = 1 } }
losses = { cycle = 1.0 }
"""


@pytest.fixture
def killed(transgan: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`killed(step, *words)`: the folder of a run that was ended at once after a step, with a checkpoint each step."""

    def run(step: int, *words: str) -> Path:
        def interrupt(trainer: Trainer, moment: str, **arguments: Any) -> None:
            if (moment, trainer.engine.completed) == ("step_finished", step):
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "call_hook", interrupt)
            assert transgan("run", recipe, "--out", tmp_path / "run", "-q", *STEPS, *words).code == 130
        return tmp_path / "run"

    return run


@pytest.fixture(scope="module")
def whole(faces: str, run_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of four steps."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.toml").write_text(faces)
    assert run_cli("run", folder / "small.toml", "--out", folder / "run", "-q", "--set", "train.keep=9", *STEPS) == 0
    return folder / "run"


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


# Extend.


def test_an_extended_run_is_the_run_that_had_more_steps_from_the_start(
    transgan: Any, recipe: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    done = transgan("resume", tmp_path / "run", "--steps", 6)
    assert done.code == 0, done.err
    assert "step 4: the run has 6 steps from now on; it had 4" in done.err
    assert "no schedule and no stage changes" in done.err
    longer = ("--set", "train.keep=9", *STEPS[2:], "--set", "train.steps=6")
    assert transgan("run", recipe, "--out", tmp_path / "longer", "-q", *longer).code == 0
    for name in ("model/model.safetensors", "model/config.json", "result.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "longer" / name).read_bytes(), name
    ours, theirs = (newest(tmp_path / name / "checkpoints")[0] for name in ("run", "longer"))
    assert ours and theirs and ours.state["steps"] == theirs.state["steps"] == 6
    assert load(tmp_path / "run/checkpoints/step-00000004").state["steps"] == 4
    assert "from now on" in (tmp_path / "run/log.txt").read_text()
    lines = [(path / "recipe.toml").read_text().splitlines() for path in (whole, tmp_path / "run")]
    assert [new for old, new in zip(*lines, strict=True) if old != new] == ["steps = 6  # --steps"]
    assert "is finished: 6 steps" in transgan("resume", tmp_path / "run").err  # the recipe says so now


def test_what_an_extension_changes_is_reported(transgan: Any, recipe: Path, tmp_path: Path, killed: Any) -> None:
    """Schedules in `run`, of recipe, stages and plugins' options alike; those in steps stay."""
    schedules = (
        "optimizers.generator.lr={from=1e-3, to=0.0, between=[0.5, 1.0]}",
        "optimizers.discriminator.lr={from=1e-3, to=0.0, between=[2, 4]}",
        "losses.cycle={from=4.0, curve='steps', at=[0.25], values=[2.0]}",
        "stages=[{share=0.5, size=16}, {share=0.5, losses={lsgan={from=1.0, to=2.0}}}]",
    )
    folder = killed(4, *(word for each in schedules for word in ("--set", each)))
    assert saved_steps(folder / "checkpoints") == [1, 2, 3]
    done = transgan("resume", folder, "--steps", 8)
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if line.startswith(("schedule", "stage", "step 3: the run"))]
    assert lines == [
        "step 3: the run has 8 steps from now on; it had 4",
        "schedule optimizers.generator.lr: changes at steps 4, 8 instead of 2, 4; "
        "at step 3 it is 0.001 instead of 0.0005",
        "schedule losses.cycle.weight: changes at steps 2 instead of 1; at step 3 it is 2 instead of 2",
        "schedule stages.1.losses.lsgan: changes at steps 0, 8 instead of 0, 4; at step 3 it is 1.375 instead of 1.75",
        "stage 1: steps 0 to 4 instead of 0 to 2; the run goes on in it",
        "stage 2: steps 4 to 8 instead of 2 to 4",
    ]
    logged = {each["step"]: each for each in read_metrics(folder / "metrics.jsonl") if "lr/generator" in each}
    assert logged[6]["lr/generator"] == pytest.approx(7.5e-4)  # of the sixth step, which began at 5/8 of the run


@pytest.mark.parametrize(("steps", "code"), [(2, 2), (3, 2), (4, 0)])
def test_fewer_steps_than_done_are_refused(transgan: Any, whole: Path, tmp_path: Path, steps: int, code: int) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = files(tmp_path / "run")
    done = transgan("resume", tmp_path / "run", "--steps", steps)
    assert done.code == code
    assert code == 0 or done.error(2) == f"--steps {steps}: the run has done 4 steps; expected at least 4"
    assert files(tmp_path / "run") == before


def test_a_run_may_be_shortened_to_what_is_done(transgan: Any, killed: Any) -> None:
    folder = killed(3)
    assert transgan("resume", folder, "--steps", 2, "-q").code == 0
    assert json.loads((folder / "result.json").read_text())["steps"] == 2
    assert read_recipe(folder / "recipe.toml").recipe.train.steps == 2


def test_a_recipe_that_was_written_by_hand_is_not_rewritten(transgan: Any, killed: Any) -> None:
    folder = killed(3)
    text = (folder / "recipe.toml").read_text()
    moved = "\n".join(line for line in text.splitlines() if not line.startswith("steps = "))
    (folder / "recipe.toml").write_text("train.steps = 4\n" + moved.replace("[train]\n", ""))
    before = (folder / "recipe.toml").read_bytes()
    assert transgan("resume", folder, "--steps", 6).code == 2
    assert (folder / "recipe.toml").read_bytes() == before


def test_steps_below_those_that_are_done_are_refused_in_a_recipe_too(
    transgan: Any, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    path = folder / "recipe.toml"
    path.write_text(path.read_text().replace("steps = 4", "steps = 3", 1))
    before = files(folder)
    message = f"{path}: [train] steps = 3: the run has done 4 steps; expected at least 4"
    assert transgan("resume", folder).error(2) == message
    assert files(folder) == before


def test_a_run_without_an_intact_checkpoint_stays_what_it_was(transgan: Any, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    for path in (folder / "checkpoints").glob("*/networks.safetensors"):
        path.write_bytes(path.read_bytes() + b"x")
    before = files(folder)
    assert "all of its checkpoints are damaged" in transgan("resume", folder, "--steps", 6).error(7)
    assert files(folder) == before
    assert "is finished: 4 steps" in transgan("resume", folder).err


def test_a_recipe_that_only_extends_another_is_not_extended(transgan: Any, killed: Any, recipe: Path) -> None:
    folder = killed(3)
    (folder / "recipe.toml").rename(folder.parent / "base.toml")
    (folder / "recipe.toml").write_text(f'extends = "{folder.parent / "base.toml"}"\n')
    assert "train.steps is not written in it" in transgan("resume", folder, "--steps", 6).error(2)


# Go back.


@pytest.mark.parametrize("steps", [[], ["--steps", 6]])
def test_a_run_that_goes_back_ends_as_it_did(transgan: Any, whole: Path, tmp_path: Path, steps: list[Any]) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    done = transgan("resume", folder, "--from", 2, *steps)
    assert done.code == 0, done.err
    assert f"resuming {folder} at step 2" in done.err
    last = "checkpoints/step-00000004/networks.safetensors"
    assert (folder / last).read_bytes() == (whole / last).read_bytes()
    assert [each["step"] for each in read_metrics(folder / "metrics.jsonl") if "lr/generator" in each] == list(
        range(1, 7 if steps else 5)
    )
    if not steps:
        assert (folder / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def test_a_run_goes_back_to_an_intact_checkpoint_alone(transgan: Any, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    damaged = folder / "checkpoints/step-00000003/networks.safetensors"
    damaged.write_bytes(damaged.read_bytes() + b"x")
    before = files(folder)
    missing = transgan("resume", folder, "--from", 7).error(2)
    assert missing == f"--from 7: no such checkpoint in {folder}; there are 1, 2, 3, 4"
    assert "step-00000003" in transgan("resume", folder, "--from", 3).error(7)
    few = transgan("resume", folder, "--from", 2, "--steps", 1).error(2)
    assert few == "--steps 1: the run has done 2 steps; expected at least 2"
    assert files(folder) == before


# What a run goes on with.


def edit(folder: Path, key: str, value: str) -> None:
    """Change a value of the recipe of a run, as by hand."""
    table = tomlkit.parse((folder / "recipe.toml").read_text())
    *around, name = key.split(".")
    inner: Any = table
    for each in around:
        inner = inner[each]
    inner[name] = tomlkit.parse(f"x = {value}")["x"]
    (folder / "recipe.toml").write_text(tomlkit.dumps(table))


@pytest.mark.parametrize(
    ("key", "value", "change"),
    [
        ("generators.face.width", "8", "generators.face.width = 8 instead of 4"),
        ("discriminators.face.layers", "2", "discriminators.face.layers = 2 instead of 1"),
        ("generators.face.per", '"run"', 'generators.face.per = "run" instead of "direction"'),
        ("domains.old.age", "[40, 60]", "domains.old.age = [40, 60] instead of [50, 60]"),
        ("tasks.age.between", '["old", "young"]', 'tasks.age.between = ["old", "young"] instead of ["young", "old"]'),
    ],
)
@pytest.mark.parametrize("command", ["resume", "finish"])
def test_a_recipe_that_has_become_another_is_refused(
    transgan: Any, killed: Any, command: str, key: str, value: str, change: str
) -> None:
    """Kind: whatever makes the weights of the checkpoint those of another run. Nothing of the run is changed."""
    folder = killed(3)
    edit(folder, key, value)
    before = files(folder)
    line = transgan(command, folder, *(["--steps", 6] if command == "resume" else [])).error(2)
    assert change in line and f"change it back in {folder}/recipe.toml" in line and "train.init_from=" in line
    assert files(folder) == before


def test_a_recipe_that_has_changed_otherwise_is_said(transgan: Any, killed: Any) -> None:
    folder = killed(3)
    edit(folder, "losses.cycle.weight", "2.0")
    edit(folder, "train.batch", "4")
    done = transgan("resume", folder)
    assert done.code == 0, done.err
    [line] = [line for line in done.err.splitlines() if line.startswith("warning: its recipe")]
    changes = "train.batch = 4 instead of 2, losses.cycle.weight = 2 instead of 5"
    assert line == f"warning: its recipe has changed since step 2: {changes}"
    assert "its recipe" not in transgan("resume", folder, "--steps", 6).err  # the newest checkpoint has it so


@pytest.mark.parametrize("lost", [[], ["result.json"], ["model"]])
def test_a_run_without_its_checkpoints_does_not_begin_again(
    transgan: Any, whole: Path, tmp_path: Path, lost: list[str]
) -> None:
    folder = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(folder / "checkpoints")
    for name in lost:
        path = folder / name
        (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    before = files(folder)
    line = transgan("resume", folder, "--steps", 6).error(2)
    assert f"{folder}: the checkpoints of this run are gone" in line
    assert ("train.init_from=" in line) == ("model" not in lost)
    assert files(folder) == before


def swap(data: Path) -> None:
    (data / "a").rename(data / "c")
    (data / "b").rename(data / "a")
    (data / "c").rename(data / "b")


def add(data: Path) -> None:
    shutil.copy(data / "a" / "0.png", data / "a" / "90.png")
    Image.effect_noise((20, 20), 9.0).convert("RGB").save(data / "a" / "90.png")


def replace(data: Path) -> None:
    """Write another image of the same size in pixels and in bytes."""
    path = data / "a" / "0.png"
    size = path.stat().st_size
    Image.new("RGB", (20, 20)).save(path)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))


@pytest.mark.parametrize(
    ("change", "domains"),
    [
        (lambda data: None, []),
        (lambda data: (data / "a" / "0.png").unlink(), ["x"]),
        (add, ["x"]),
        (swap, ["x", "y"]),
        (replace, ["x"]),
        (lambda data: data.rename(data.parent / "moved"), []),
    ],
)
def test_samples_that_have_changed_are_said(
    transgan: Any, tmp_path: Path, change: Callable[[Path], object], domains: list[str]
) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            noise = Image.effect_noise((20 + number, 20 + i), 30.0 * (number + 1)).convert("RGB")
            noise.save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "r.toml").write_text(OF_FOLDERS)
    assert transgan("run", "r.toml", "--out", "run", "-q").code == 0
    change(tmp_path / "data")
    if not (tmp_path / "data").exists():
        edit(tmp_path / "run", "data.root", '"moved"')
    done = transgan("resume", "run", "--steps", 4)
    assert done.code == 0, done.err
    said = [line for line in done.err.splitlines() if "have changed since step 2" in line]
    assert [line.split("'")[1] for line in said] == domains
    assert "its recipe" not in done.err


def test_data_that_are_elsewhere_now_are_said_with_the_line_that_names_them(
    transgan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            Image.effect_noise((20, 20), 30.0 * (i + 1)).convert("RGB").save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "r.toml").write_text(OF_FOLDERS)
    assert transgan("run", "r.toml", "--out", "run", "-q").code == 0
    run = tmp_path / "run"
    lines = (run / "recipe.toml").read_text().splitlines()
    (number,) = (i for i, line in enumerate(lines, 1) if line.startswith("root = "))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = transgan("resume", run, "--steps", 3).error(3)
    assert said.startswith(f"{run / 'recipe.toml'}:{number}: data.root = 'data' does not exist; expected the folder")
    assert "; change root there, or go to the folder from which that path leads to them" in said
    edit(run, "data.root", f'"{tmp_path / "moved"}"')
    said = transgan("resume", run, "--steps", 3).error(3)
    assert said.endswith("; change root there")


# Finish.


def test_a_run_is_finished_early_into_a_model(transgan: Any, killed: Any, whole: Path) -> None:
    folder = killed(4)
    done = transgan("finish", folder)
    assert done.code == 0, done.err
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 3 and result["translations"]
    assert "cycle_error" in done.out
    assert read_model(folder / "model")[1]["steps"] == 3
    assert "After 3 steps" in (folder / "model/README.md").read_text()
    assert saved_steps(folder / "checkpoints") == [1, 2, 3]
    assert transgan("resume", folder, "-q").code == 0  # it is still a run that can go on, to the same end
    assert (folder / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    assert (folder / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def test_there_is_nothing_to_finish(transgan: Any, recipe: Path, whole: Path, killed: Any, tmp_path: Path) -> None:
    before = files(whole)
    done = transgan("finish", whole)
    assert done.code == 0 and "is finished: 4 steps" in done.err
    assert files(whole) == before
    folder = killed(1)
    assert transgan("finish", folder).error(2) == f"{folder} has no checkpoint yet: there is nothing to make a model of"
    assert "not the folder of a run" in transgan("finish", tmp_path / "nothing").error(2)
    assert transgan("resume", folder, "-q").code == 0


#: Ways to damage a model.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty config": lambda model: (model / "config.json").write_text(""),
    "config without content": lambda model: (model / "config.json").write_text("{}"),
    "no config": lambda model: (model / "config.json").unlink(),
    "no weights": lambda model: (model / "model.safetensors").unlink(),
    "truncated weights": lambda model: os.truncate(model / "model.safetensors", 100),
    "garbage": lambda model: (model / "model.safetensors").write_text("garbage"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_of_a_finished_run_is_written_anew(
    transgan: Any, whole: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    DAMAGES[damage](folder / "model")
    Image.new("RGB", (16, 16)).save("a.png")
    if damage != "config without content":  # whose meaning is read elsewhere
        for words in (("info", "run"), ("translate", "run", "a.png", "--to", "old")):
            line = transgan(*words).error(3)
            assert line.startswith("model run/model: ") and line.endswith("; transgan finish run writes it anew")
    done = transgan("finish", "run", "-q")
    assert done.code == 0, done.err
    for name in ("model/config.json", "model/model.safetensors", "result.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert "is finished: 4 steps" in transgan("finish", "run").err


def test_a_run_with_a_damaged_model_is_extended(transgan: Any, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/model/config.json").write_text("")
    done = transgan("resume", "run", "--steps", 5, "-q")
    assert done.code == 0, done.err
    assert read_model(tmp_path / "run/model")[1]["steps"] == 5


@pytest.mark.parametrize("file", ["model/config.json", "result.json"])
@pytest.mark.parametrize("command", ["finish", "resume"])
def test_what_no_checkpoint_can_mend_is_said_and_nothing_is_trained_anew(
    transgan: Any, whole: Path, tmp_path: Path, file: str, command: str
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / file).write_text("")
    shutil.rmtree(tmp_path / "run/checkpoints")
    before = files(tmp_path / "run")
    line = transgan(command, "run").error(3)
    assert file.rpartition("/")[2] in line and "there is no checkpoint to write it anew: restore it from a copy" in line
    assert files(tmp_path / "run") == before


def test_a_model_of_a_stranger_in_a_run_stays(transgan: Any, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/model/config.json").write_text('{"model_type": "bert"}')
    before = files(tmp_path / "run")
    assert "model holds something other than a model of TransGAN" in transgan("finish", "run").error(2)
    assert files(tmp_path / "run") == before


def test_a_run_that_failed_before_its_first_step_can_be_resumed(
    transgan: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the kind: whatever fails once the folder is there."""
    for name in ("transgan.training.trainer.Engine", "transgan.training.trainer.init_from_data"):

        def fail(*arguments: Any) -> None:
            raise ValueError("of this test")

        run = tmp_path / name
        with monkeypatch.context() as patch:
            patch.setattr(name, fail)
            assert transgan("run", recipe, "--out", run, "-q").code == 1
        assert transgan("resume", run, "-q").code == 0
        assert (run / "result.json").is_file()


# Any checkpoint.


def test_each_checkpoint_is_a_model(whole: Path, tmp_path: Path) -> None:
    """Each has the averaged weights of its step; a copy elsewhere needs nothing beside it."""
    for step in range(1, 5):
        place = whole / "checkpoints" / f"step-{step:08d}"
        shutil.copytree(place, tmp_path / str(step))
        for translator in (
            Translator.from_pretrained(whole, "cpu", step),
            Translator.from_pretrained(place, "cpu"),
            Translator.from_pretrained(tmp_path / str(step), "cpu"),
        ):
            weights = load(place).groups["ema"]
            assert translator.config["steps"] == step and translator.clock.run == step / 4
            for name, network in translator.networks.items():
                for key, value in network.state_dict().items():
                    assert torch.equal(value, weights[f"{name}|{key}"])
    last, model = (Translator.from_pretrained(whole, "cpu", step) for step in (4, None))
    assert last.config == model.config


@pytest.mark.parametrize("by_step", [True, False])
def test_commands_take_a_checkpoint(
    transgan: Any, whole: Path, tmp_path: Path, write_image: Callable[..., Path], by_step: bool
) -> None:
    which = (whole, "--step", 2) if by_step else (whole / "checkpoints/step-00000002",)
    assert "after 2 steps" in transgan("info", *which).out
    write_image(tmp_path / "a.png")
    done = transgan("translate", which[0], tmp_path / "a.png", "--to", "old", "--out", "out", *which[1:])
    assert done.code == 0, done.err
    assert (tmp_path / "out/a.png").is_file()
    done = transgan("evaluate", *which)
    assert done.code == 0, done.err
    measured = json.loads((tmp_path / "evaluation.json").read_text())
    assert measured["steps"] == 2 and measured["held_out"] is True
    assert "held out: of the data that the model was trained on" in measured["origin"]


def test_evaluating_a_checkpoint_repeats_the_evaluation_of_its_step(
    transgan: Any, recipe: Path, tmp_path: Path
) -> None:
    assert transgan("run", recipe, "--out", "run", "-q", *STEPS, "--set", "evaluate.every=2").code == 0
    records = [each for each in read_metrics(tmp_path / "run/metrics.jsonl") if each["step"] == 2]
    figures = {key: value for each in records for key, value in each.items() if key.endswith("/cycle_error")}
    assert transgan("evaluate", "run", "--step", 2).code == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())["translations"]
    assert {f"{name}/cycle_error": each["cycle_error"] for name, each in found.items()} == figures


@pytest.mark.parametrize(
    ("place", "step", "code", "message"),
    [
        ("run", 7, 3, "has no checkpoint of this step; it has 1, 2, 3, 4"),
        ("run/model", 2, 2, "is not the folder of a run"),
        ("run/checkpoints/step-00000002", 2, 2, "is not the folder of a run"),
        ("run/checkpoints/step-00000003", None, 7, "networks.safetensors"),
        ("run/checkpoints", None, 3, "holds no model"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    transgan: Any, whole: Path, tmp_path: Path, place: str, step: int | None, code: int, message: str
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/checkpoints/step-00000003/networks.safetensors").write_bytes(b"damaged")
    words = () if step is None else ("--step", step)
    assert message in transgan("info", place, *words).error(code)


def test_a_checkpoint_of_an_earlier_version_says_what_to_do(transgan: Any) -> None:
    run = Path(__file__).parents[1] / "fixtures" / "run_of_version_1"
    checkpoint = next(run.glob("checkpoints/step-*"))
    assert "transgan finish" in transgan("info", checkpoint).error(3)
