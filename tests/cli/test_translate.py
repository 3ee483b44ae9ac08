"""`transgan translate` and `transgan info`: names and sizes are kept, and every error takes one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def broken(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to damage."""
    return Path(shutil.copytree(model, tmp_path / "broken"))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_and_folders_keep_names_and_sizes(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage
) -> None:
    write_image(tmp_path / "in/a.png", (50, 40))
    write_image(tmp_path / "in/deep/er/b.JPG", (33, 64))
    (tmp_path / "in/notes.txt").write_text("not an image")
    (tmp_path / "in/._a.png").write_bytes(b"metadata of another system")
    single = write_image(tmp_path / "c.bmp")
    done = transgan("translate", model, "in", single, "--to", "old", "-o", "out")
    assert (done.code, done.err) == (0, "")
    assert done.out == "3 of 3 translated (age: young -> old) into out\n"
    assert tree(tmp_path / "out") == ["a.png", "c.bmp", "deep/er/b.JPG"]
    assert Image.open("out/a.png").size == (50, 40)
    assert Image.open("out/deep/er/b.JPG").size == (33, 64)
    assert Image.open("out/a.png").tobytes() != Image.open("in/a.png").tobytes()


def test_earlier_results_are_not_translated_again(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage
) -> None:
    write_image(tmp_path / "in/a.png")
    for _ in range(2):
        done = transgan("translate", model.parent, "in", "--from", "young", "-o", "in/out")
        assert done.out == "1 of 1 translated (age: young -> old) into in/out\n"
    assert tree(tmp_path / "in") == ["a.png", "out/a.png"]


def test_unreadable_file_is_named_and_the_others_are_translated(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage
) -> None:
    for name in "abc":
        write_image(tmp_path / f"in/{name}.png")
    (tmp_path / "in/b.png").write_bytes(b"no image")
    done = transgan("translate", model, "in", "--to", "young", "-o", "out")
    assert done.code == 3
    assert done.out == "2 of 3 translated (age: old -> young) into out\n"
    assert done.err.splitlines() == [
        "error: in/b.png: not an image that can be read",
        "error: 1 of 3 files could not be translated; see above",
    ]
    assert tree(tmp_path / "out") == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("a.png", "--to", "ald"), 2, "--to ald: this model has no such domain. Did you mean 'old'?"),
        (("a.png", "--task", "race"), 2, "--task race: this model has no such task. Known: age."),
        (
            ("a.png",),
            2,
            "more than one translation matches: [age: young -> old], [age: old -> young]; "
            "choose with --to, --task and --from",
        ),
        (
            ("a.png", "--from", "old", "--to", "old"),
            2,
            "no translation matches; this model has [age: young -> old], [age: old -> young]",
        ),
        (("b.png", "--to", "old"), 3, "b.png: no such file or folder"),
        (("notes.txt", "--to", "old"), 3, "notes.txt: expected a file that ends in .png, .jpg, "),
        (("empty", "--to", "old"), 3, "empty: no files in it that end in .png, .jpg, "),
        (("a.png", "--to", "old", "-o", "."), 2, "a.png would be overwritten; choose another --out"),
        (("deep", "--to", "old", "-o", "deep"), 2, "deep/a.png would be overwritten; choose another --out"),
        (("a.png", "deep", "--to", "old"), 2, "deep/a.png and a.png would both be written to translated/a.png; "),
        (("a.png", "--to", "old", "-o", "notes.txt"), 2, "--out notes.txt is a file; expected a folder"),
        (("a.png", "--to", "old", "--device", "abacus"), 2, "--device abacus: cannot be used: "),
    ],
)
def test_errors(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage, words: tuple[str, ...], code: int, message: str
) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "deep/a.png")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    assert transgan("translate", model, *words).error(code).startswith(message)
    assert tree(tmp_path) == before


def test_failed_write_leaves_no_files(transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").symlink_to("/dev/full")
    assert transgan("translate", model, "a.png", "--to", "old", "-o", "out").error(7) == (
        "out/a.png: cannot be written: No space left on device"
    )
    assert tree(tmp_path / "out") == []


@pytest.mark.parametrize("command", [("info",), ("translate", "a.png", "--to", "old")])
def test_missing_or_damaged_models(
    transgan: Any, broken: Path, tmp_path: Path, write_image: WriteImage, command: tuple[str, ...]
) -> None:
    write_image(tmp_path / "a.png")

    def error(code: int = 3, model: Path = broken) -> str:
        return str(transgan(command[0], model, *command[1:]).error(code))

    weights, config = broken / "model.safetensors", broken / "config.json"
    intact, settings = weights.read_bytes(), json.loads(config.read_text())
    assert error(model=Path("nothing")) == ("model nothing does not exist; expected the folder of a model or of a run")
    assert error(model=Path("a.png")).startswith("model a.png is a file; expected the folder")
    for damaged in (intact[: len(intact) // 2], b"", b"not weights"):
        weights.write_bytes(damaged)
        assert error().startswith(f"model {broken}: model.safetensors: ")
    weights.unlink()
    assert error() == f"model {broken}: model.safetensors: missing"
    weights.write_bytes(intact)

    def write_config(**changes: Any) -> None:
        config.write_text(json.dumps({**settings, **changes}))

    generator = settings["recipe"]["generators"]["face"]

    def with_generator(**changes: Any) -> dict[str, Any]:
        return {**settings["recipe"], "generators": {"face": {**generator, **changes}}}

    config.write_text("{")
    assert error().startswith(f"model {broken}: config.json: not JSON: ")
    write_config(format=2)
    assert error() == f"model {broken}: config.json: format 2 is unknown to TransGAN {settings['transgan']}"
    write_config(recipe={})
    assert error() == f"model {broken}: config.json: not the config of a model: it lacks 'data'"
    write_config(recipe={**settings["recipe"], "tasks": {}})
    assert "config.json: not the config of a model: tasks: " in error()
    write_config(recipe=with_generator(use="resnett"), plugins={"transgan": "0.1.0", "strangenets": "2.0"})
    assert error(2) == (
        f"{config}: [generators.face] use: no generator 'resnett'. Did you mean 'resnet'?; "
        "it was made with strangenets, not installed here"
    )
    write_config(recipe=with_generator(options={**generator["options"], "width": 8}))
    assert error().startswith(f"model {broken}: the weights do not fit the config: 'network.model.1.weight' of ")
    write_config(recipe=with_generator(options={**generator["options"], "width": 10**6}))  # exceeds any memory
    assert "the weights do not fit the config" in error()
    write_config(recipe=with_generator(options={**generator["options"], "width": 10**9}))
    assert "the weights do not fit the config: its networks cannot be built: " in error()
    write_config(recipe=with_generator(options={**generator["options"], "blocks": 2}))
    assert "'face.forward' lacks 'network.model." in error()


def test_run_without_a_model_is_reported(transgan: Any, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    assert (
        transgan("info", tmp_path)
        .error(3)
        .endswith(f"is a run that has no model yet; transgan resume {tmp_path} finishes it")
    )


def test_info_describes_a_model(transgan: Any, model: Path) -> None:
    assert transgan("info", model) == (
        0,
        """\
small, after 2 steps, by TransGAN 0.1.0
translations
  age: young -> old
  age: old -> young
networks
  face.forward: resnet, 8,739 parameters
  face.backward: resnet, 8,739 parameters
media
  image, 32x32, 3 channels
plugins
  transgan 0.1.0
""",
        "",
    )
