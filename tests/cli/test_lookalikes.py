"""Every command, in a folder full of files that look like those of TransGAN: none of them is changed or removed.

Of the kind: nothing in a user's folder that TransGAN did not make is ever removed, whatever its name.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan.api import WeightFile
from transgan.cli import _add_commands, app
from transgan.registry import Registry

#: Files with the names of ours, by path; other programs and people wrote them.
FILES = {
    **dict.fromkeys(
        [".tmp-secret/diary.txt", ".trash-mine", ".old-photos/a.txt", ".old-model/a.txt", ".hidden"], "mine"
    ),
    **dict.fromkeys([f".tmp-model-{'0' * 32}", ".transgan-tmp-mine/a.txt", ".transgan-old-model"], "mine"),
    **dict.fromkeys(["checkpoints/step-00000001/weights.pt", "checkpoints/best.ckpt", "checkpoints/LATEST"], "mine"),
    **dict.fromkeys(["samples/.tmp-1", "samples/step-00000001.png", "metrics.jsonl", "log.txt", "report.html"], "mine"),
    **dict.fromkeys([".lock", "README.md", "model/README.md", "model/model.safetensors", "model.safetensors"], "mine"),
    **dict.fromkeys(["env.json", "result.json", "evaluation.json", "config.json"], '{"model_type": "bert"}'),
    **dict.fromkeys(
        ["runs/small-1/notes.txt", "runs/.tmp-1", "decoded/a.npy", "digits.txt", "translated/a.png"], "mine"
    ),
    "model/config.json": '{"model_type": "bert"}',
    "recipe.toml": 'name = "soup"\nserves = 4\n',
}

#: The weights of a generator of the reference implementation: 4 channels, one residual block.
SAVED = {
    f"model.{name}.{kind}": torch.zeros(shape if kind == "weight" else outputs)
    for name, shape, outputs in [
        *(("1", (4, 3, 7, 7), 4), ("4", (8, 4, 3, 3), 8), ("7", (16, 8, 3, 3), 16)),
        *(("10.conv_block.1", (16, 16, 3, 3), 16), ("10.conv_block.5", (16, 16, 3, 3), 16)),
        *(("11", (16, 8, 3, 3), 8), ("14", (8, 4, 3, 3), 4), ("18", (3, 4, 7, 7), 3)),
    ]
    for kind in ("weight", "bias")
}

Snapshot = dict[str, tuple[str, object]]


def snapshot(folder: Path) -> Snapshot:
    """Return the kind and content of everything in a folder, by path."""
    found: Snapshot = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", path.readlink())
        else:
            found[name] = ("folder", None) if path.is_dir() else ("file", path.read_bytes())
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_image: Callable[..., Path]) -> Path:
    """A folder with originals and the current folder, full of lookalikes, which is also the cache."""
    home = tmp_path / "home"
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    for name in (
        "home/photos/a.png",
        "home/photos/deep/b.png",
        "originals/original.png",
        "home/photos/original.png",
        "originals/other.png",
    ):
        write_image(tmp_path / name)
    (home / "linked").symlink_to(tmp_path / "originals")
    (home / "link.json").symlink_to(home / "result.json")
    (home / "photos/link.png").symlink_to(tmp_path / "originals/other.png")
    monkeypatch.chdir(home)
    monkeypatch.setenv("TRANSGAN_CACHE", str(home))
    return tmp_path


@pytest.fixture
def unchanged(transgan: Any, place: Path) -> Callable[..., Any]:
    """`unchanged(code, *words)`: run a command, check its exit code, and that all files are as they were."""
    before = snapshot(place)

    def run(code: int, *words: object) -> Any:
        done = transgan(*words)
        assert done.code == code, done
        after = snapshot(place)
        changed = [name for name, content in before.items() if after.get(name) != content]
        assert not changed, (words, changed)
        return done

    return run


def try_run(unchanged: Any, model: Path, recipe: Path) -> None:
    for out in (
        ".",
        "checkpoints",
        "samples",
        "model",
        "photos",
        ".old-photos",
        ".tmp-secret",
        "linked",
        "runs/small-1",
    ):
        assert "neither a run nor empty; choose another folder" in unchanged(2, "run", recipe, "--out", out).err
    assert "a file is in the way" in unchanged(2, "run", recipe, "--out", "log.txt").err
    unchanged(0, "run", recipe, "-q")
    assert Path("runs/small-2/model/config.json").exists()


def try_resume(unchanged: Any, model: Path, recipe: Path) -> None:
    for folder in (".", "checkpoints", "linked", "runs/small-1"):
        unchanged(2, "resume", folder)
    unchanged(0, "run", recipe, "--out", "mine", "--set", "train.steps=1", "-q")
    kept = []
    for folder in ("mine", "mine/samples", "mine/checkpoints"):
        for name in (".tmp-secret", ".trash-mine", ".old-photos", ".transgan-tmp-mine", "notes"):
            (Path(folder) / name).mkdir()
            kept.append(Path(folder) / name / "kept.txt")
            kept[-1].write_text("mine")
    (Path("mine") / "linked").symlink_to("../../originals")
    unchanged(0, "resume", "mine", "-q")
    unchanged(0, "run", recipe, "--out", "mine", "--set", "train.steps=1", "-q")
    assert all(path.read_text() == "mine" for path in kept) and Path("mine/linked").is_symlink()


def try_finish(unchanged: Any, model: Path, recipe: Path) -> None:
    for folder in (".", "checkpoints", "linked", "runs/small-1"):
        unchanged(2, "finish", folder)
    unchanged(0, "run", recipe, "--out", "mine", "-q")
    for folder in ("mine", "mine/samples", "mine/checkpoints"):
        (Path(folder) / ".tmp-secret").write_text("mine")
    unchanged(0, "finish", "mine", "-q")
    assert Path("mine/.tmp-secret").read_text() == "mine" == Path("mine/samples/.tmp-secret").read_text()


def try_check(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "check", recipe)
    unchanged(2, "check", "recipe.toml")


def try_data(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "data", "check", recipe)
    unchanged(0, "data", "check", "photos")
    unchanged(0, "data", "check", ".", "--json")


def try_translate(unchanged: Any, model: Path, recipe: Path) -> None:
    words = ("translate", model, "photos", "--to", "old", "--out")
    assert "would be overwritten" in unchanged(2, *words, "photos").err
    assert "results exist, the first is translated/a.png; " in unchanged(2, *words, "translated").err
    assert "results exist, the first is linked/original.png; " in unchanged(2, *words, "linked").err
    Path("again").symlink_to("photos")
    assert "would be overwritten" in unchanged(2, *words, "again", "--overwrite").err
    for out in ("new", ".", "checkpoints", "model"):
        unchanged(0, *words, out)
    unchanged(0, *words, "new", "--overwrite")


def try_evaluate(unchanged: Any, model: Path, recipe: Path) -> None:
    for words in ((), ("--out", "config.json"), ("--out", "link.json")):
        assert (
            "exists; choose another file, or replace it with --overwrite" in unchanged(2, "evaluate", model, *words).err
        )
    unchanged(2, "evaluate", model, "--out", "model")
    assert "is no .json file" in unchanged(2, "evaluate", model, "--out", "photos/a.png", "--overwrite").err
    unchanged(0, "evaluate", model, "--out", "new.json")
    unchanged(0, "evaluate", model, "--out", "new.json", "--overwrite")
    before = snapshot(model.parent)
    for name in ("model/config.json", "recipe.toml", "result.json"):
        done = unchanged(2, "evaluate", model.parent, "--out", model.parent / name, "--overwrite")
        assert "is a file of the model or of its run" in done.err
    assert snapshot(model.parent) == before


def try_info(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "info", model)
    for folder in (".", "model", "linked"):
        unchanged(3, "info", folder)


def try_plugins(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "plugins")
    unchanged(0, "plugins", "resnet")


def try_import(unchanged: Any, model: Path, recipe: Path) -> None:
    weights = recipe.with_name("G.pth")
    for out in (".", "model", "checkpoints", "samples", "linked", ".old-model", "photos"):
        assert "holds something other than a model of TransGAN" in unchanged(2, "import", weights, "-o", out).err
    unchanged(2, "import", weights, "-o", "log.txt")
    for _ in range(2):  # the second replaces the first
        unchanged(0, "import", weights, "-o", "new")
    assert sorted(path.name for path in Path("new").iterdir()) == ["README.md", "config.json", "model.safetensors"]


def try_download(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "download")
    unchanged(0, "download", "digits")
    assert Path("digits.bin").read_bytes() == b"0123456789"


def try_recipes(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "recipes")
    unchanged(0, "recipes", "cut")


def try_init(unchanged: Any, model: Path, recipe: Path) -> None:
    words = ("init", "--synthetic", "--kind", "unpaired", "--machine", "cpu")
    for file in ("recipe.toml", "log.txt", "link.json", "samples"):
        unchanged(2, *words, file)
    unchanged(0, *words, "new.toml")


def try_schema(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "schema")
    unchanged(0, "schema", "--out", "new.json")


def try_samples(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "samples", "new")
    unchanged(2, "samples", "log.txt")
    unchanged(0, "samples", "photos")
    assert "exist" in unchanged(2, "samples", "photos").err


def try_watch(unchanged: Any, model: Path, recipe: Path) -> None:
    for folder in (".", "checkpoints", "samples", "linked", "runs/small-1", "log.txt"):
        unchanged(2, "watch", folder)


def try_compare(unchanged: Any, model: Path, recipe: Path) -> None:
    for name in ("one", "two"):
        unchanged(0, "run", recipe, "--out", name, "--set", "train.steps=1", "-q")
    for folder in (".", "linked", "runs/small-1"):
        unchanged(2, "compare", "one", folder)
    for out in ("report.html", "log.txt", "link.json", "samples"):
        unchanged(2, "compare", "one", "two", "--out", out)
    unchanged(0, "compare", "one", "two")
    assert Path("comparison.html").is_file()


def try_bench(unchanged: Any, model: Path, recipe: Path) -> None:
    unchanged(0, "bench", "data", recipe, "--steps", 1, "--rounds", 1)
    unchanged(0, "bench", "checkpoint", recipe, "--rounds", 1)


TRIES = {name.removeprefix("try_"): each for name, each in list(globals().items()) if name.startswith("try_")}


def test_every_command_is_tried() -> None:
    _add_commands()
    commands = {each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands}
    assert commands | {str(each.name) for each in app.registered_groups} == TRIES.keys()


@pytest.mark.parametrize("name", TRIES)
def test_no_command_touches_lookalikes(
    unchanged: Any, model: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recipe.with_name("server.bin").write_bytes(b"0123456789")
    installed = Registry.installed()
    installed.weight_files["digits"] = WeightFile(
        "digits",
        "digits.bin",
        recipe.with_name("server.bin").as_uri(),
        "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
        10,
        "public domain",
    )
    monkeypatch.setattr(Registry, "installed", staticmethod(lambda: installed))
    if name == "import":
        from transgan_standard import reference

        monkeypatch.setattr(reference, "_load", lambda path: dict(torch.load(path, weights_only=True)))
        torch.save(SAVED, recipe.with_name("G.pth"))
    TRIES[name](unchanged, model, recipe)
