"""`transgan translate` and `transgan info`: names and sizes are kept, and every error takes one line."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from transgan.errors import DataError, DiskError

WriteImage = Callable[..., Path]


@pytest.fixture
def broken(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to damage."""
    return Path(shutil.copytree(model, tmp_path / "broken"))


def picture(path: str) -> tuple[tuple[int, int], bytes]:
    """Return the size and the pixels of a picture."""
    with Image.open(path) as image:
        return image.size, image.tobytes()


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
    assert (done.code, done.err) == (0, "note: skipped files: .txt: 1 (notes.txt)\n")
    assert done.out == "3 of 3 translated (age: young -> old) into out\n"
    assert tree(tmp_path / "out") == ["a.png", "c.bmp", "deep/er/b.JPG"]
    assert picture("out/a.png")[0] == (50, 40)
    assert picture("out/deep/er/b.JPG")[0] == (33, 64)
    assert picture("out/a.png")[1] != picture("in/a.png")[1]


def test_what_is_hidden_is_skipped_and_links_to_folders_are_followed(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage
) -> None:
    write_image(tmp_path / "in/a.png")
    for hidden in ("in/.thumbs/a.png", "in/deep/.cache/er/b.png", "in/.c.png"):
        write_image(tmp_path / hidden)
    write_image(tmp_path / "elsewhere/d.png")
    (tmp_path / "in/linked").symlink_to("../elsewhere")
    (tmp_path / "in/linked/round").symlink_to("../in")
    done = transgan("translate", model, "in", "--to", "old", "-o", "out")
    assert done.out == "2 of 2 translated (age: young -> old) into out\n"
    assert tree(tmp_path / "out") == ["a.png", "linked/d.png"]


def test_earlier_results_are_not_translated_again(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage
) -> None:
    write_image(tmp_path / "in/a.png")
    for words in ((), ("--overwrite",)):
        done = transgan("translate", model.parent, "in", "--from", "young", "-o", "in/out", *words)
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


def test_unreadable_folder_is_named_and_the_others_are_translated(
    transgan: Any, model: Path, tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "closed/b", "open/c"):
        write_image(tmp_path / f"in/{name}.png")
    scan = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    done = transgan("translate", model, "in", "--to", "young", "-o", "out")
    assert (done.code, done.out) == (3, "2 of 2 translated (age: old -> young) into out\n")
    assert done.err.splitlines() == [
        "error: in/closed: cannot be read: Permission denied",
        "error: 1 of 3 files and folders could not be translated; see above",
    ]
    done = transgan("data", "check", "in")
    assert "skipped files: cannot be read: Permission denied: 1 (closed)" in done.out + done.err
    assert "no files that the media image reads" not in done.out + done.err
    monkeypatch.setattr(os, "scandir", scan)
    assert tree(tmp_path / "out") == ["a.png", "open/c.png"]


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
        (("a.png", "--to", "old", "--device", "abacus"), 2, "--device abacus: expected cpu, cuda, cuda:1 or mps"),
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


@pytest.fixture
def originals(tmp_path: Path, write_image: WriteImage) -> Path:
    """A folder with three pictures."""
    for name in ("a.png", "b.png", "deep/c.png"):
        write_image(tmp_path / "in" / name)
    return tmp_path / "in"


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in tree(folder)}


def link_to_an_input(out: Path) -> None:
    (out / "a.png").symlink_to(out.parent / "in/b.png")


def hard_link_to_an_input(out: Path) -> None:
    os.link(out.parent / "in/b.png", out / "a.png")


def link_to_a_folder_of_inputs(out: Path) -> None:
    (out / "deep").symlink_to(out.parent / "in/deep")


def link_to_a_folder_of_others(out: Path) -> None:
    (out.parent / "others").mkdir()
    (out.parent / "others/c.png").write_text("kept")
    (out / "deep").symlink_to(out.parent / "others")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (link_to_an_input, "in/b.png would be overwritten by the result of in/a.png; choose another --out"),
        (hard_link_to_an_input, "in/b.png would be overwritten by the result of in/a.png; choose another --out"),
        (link_to_a_folder_of_inputs, "out/deep is a link; results are not written through it; choose another --out"),
        (link_to_a_folder_of_others, "out/deep is a link; results are not written through it; choose another --out"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--overwrite",)])
def test_links_lead_to_no_original(
    transgan: Any, model: Path, originals: Path, prepare: Any, message: str, words: tuple[str, ...]
) -> None:
    """Of the kind: whatever a result's path is another name of, no input and nothing behind a link is replaced."""
    Path("out").mkdir()
    prepare(originals.parent / "out")
    before = content(originals.parent)
    assert transgan("translate", model, "in", "--to", "old", "-o", "out", *words).error(2) == message
    assert content(originals.parent) == before


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
def test_result_of_one_input_replaces_no_other(
    transgan: Any, model: Path, originals: Path, write_image: WriteImage, words: tuple[str, ...]
) -> None:
    """Of the kind: every result is compared with every input and every other result before anything is written."""
    write_image(Path("deep/c.png"))
    write_image(Path("in/b.bmp"))
    Path("again").symlink_to("in")
    before = content(originals.parent)

    def error(*inputs: str) -> str:
        return str(transgan("translate", model, *inputs, "--to", "old", *words).error(2))

    assert error("in", "deep/c.png", "--out", ".") == (
        "deep/c.png would be overwritten by the result of in/deep/c.png; choose another --out"
    )
    assert error("in/a.png", "--out", "again") == "in/a.png would be overwritten; choose another --out"
    assert error("deep/c.png", "in/deep/c.png", "--out", "new") == (
        "in/deep/c.png and deep/c.png would both be written to new/c.png; translate them separately"
    )
    assert error("in", "--ending", ".png", "--out", "new") == (
        "in/b.png and in/b.bmp would both be written to new/b.png; translate them separately"
    )
    assert content(originals.parent) == before


def test_existing_files_are_replaced_on_demand_only(transgan: Any, model: Path, originals: Path) -> None:
    Path("out/deep").mkdir(parents=True)
    Path("out/a.png").write_text("mine")
    Path("out/deep/c.png").symlink_to("nowhere")
    Path("elsewhere").write_text("kept")
    words = ("translate", model, "in", "--to", "old", "-o", "out")
    assert transgan(*words).error(2) == (
        "2 of 3 results exist, the first is out/a.png; choose another --out, or replace them with --overwrite"
    )
    assert Path("out/a.png").read_text() == "mine" and not Path("out/b.png").exists()
    Path("out/b.png").symlink_to("../elsewhere")
    assert transgan(*words, "--overwrite").code == 0
    assert Path("elsewhere").read_text() == "kept"
    for name in ("a.png", "b.png", "deep/c.png"):
        assert picture(f"out/{name}")[0] == (40, 32) and not Path(f"out/{name}").is_symlink()


def test_same_file_given_twice_is_translated_once(transgan: Any, model: Path, originals: Path) -> None:
    done = transgan("translate", model, "in", originals / "a.png", "in/../in/b.png", "--to", "old", "-o", "out")
    assert done.out == "3 of 3 translated (age: young -> old) into out\n"


@pytest.mark.parametrize("ignores_case", [True, False])
def test_names_that_differ_by_case_or_form_alone(
    transgan: Any, model: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch, ignores_case: bool
) -> None:
    """Where a file system takes them for one, neither is lost; elsewhere they are two files."""
    from transgan.storage import atomic

    assert not atomic.ignores_case(Path("new/folder"))
    monkeypatch.setattr(atomic, "ignores_case", lambda folder: ignores_case)
    for names in (("a.png", "A.PNG"), ("\u00e9.png", "e\u0301.png")):
        for name in names:
            write_image(Path(names[0][0]) / name)
        done = transgan("translate", model, names[0][0], "--to", "old", "-o", f"out-{names[0][0]}")
        if ignores_case:
            assert "would both be written to" in done.error(2)
        else:
            assert done.code == 0 and len(list(Path(f"out-{names[0][0]}").iterdir())) == 2


def raising(error: BaseException, where: str) -> Any:
    """Return a method that raises for one file, `b.png`."""
    from transgan_images.media import ImageMedia

    real = getattr(ImageMedia, where)

    def method(self: Any, *arguments: Any) -> Any:
        if any(str(each).endswith("b.png") for each in arguments):
            raise error
        return real(self, *arguments)

    return method


@pytest.mark.parametrize("where", ["read", "write"])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("in/b.png: bad"), 3, "in/b.png: bad"),
        (DiskError("out/b.png: bad"), 7, "out/b.png: bad"),
        (OSError(5, "Input/output error", "in/b.png"), 7, "in/b.png: Input/output error"),
        (MemoryError(), 5, "in/b.png: out of memory"),
        (RuntimeError("can't allocate memory: you tried to allocate 9 bytes"), 5, "in/b.png: out of memory"),
        (ZeroDivisionError("of a plugin"), None, "in/b.png: ZeroDivisionError: of a plugin"),
    ],
)
def test_no_error_of_one_file_stops_the_others(
    transgan: Any,
    model: Path,
    originals: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    error: Exception,
    code: int | None,
    message: str,
) -> None:
    """Of the kind: whatever is wrong with one file, the others are translated, and the exit code says so."""
    from transgan_images.media import ImageMedia

    monkeypatch.setattr(ImageMedia, where, raising(error, where))
    done = transgan("translate", model, "in", "--to", "old", "-o", "out")
    assert tree(Path("out")) == ["a.png", "deep/c.png"]
    assert done.out == "2 of 3 translated (age: young -> old) into out\n"
    first, last = done.err.splitlines()[:2]
    assert first.startswith(f"error: {message}")
    if code is not None:
        assert done.code == code and last == "error: 1 of 3 files could not be translated; see above"
    assert done.code > 0


def test_failed_write_leaves_what_stood_there(
    transgan: Any, model: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").mkdir()
    Path("out/a.png").write_text("mine")
    real = os.fsync

    def fail(handle: int) -> None:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(28, os.strerror(28))
        real(handle)

    monkeypatch.setattr(os, "fsync", fail)
    done = transgan("translate", model, "in/a.png", "--to", "old", "-o", "out", "--overwrite")
    assert done.code == 7
    assert done.err.splitlines()[0] == "error: out/a.png: cannot be written: No space left on device"
    assert content(Path("out")) == {"a.png": b"mine"}


@pytest.mark.parametrize("command", [("info",), ("translate", "a.png", "--to", "old")])
def test_missing_or_damaged_models(
    transgan: Any, broken: Path, tmp_path: Path, write_image: WriteImage, command: tuple[str, ...]
) -> None:
    write_image(tmp_path / "a.png")

    def error(code: int = 3, model: Path = broken) -> str:
        return str(transgan(command[0], model, *command[1:]).error(code))

    weights, config = broken / "model.safetensors", broken / "config.json"
    intact, settings = weights.read_bytes(), json.loads(config.read_text())
    assert error(model=Path("nothing")) == (
        "model nothing does not exist; expected the folder of a model, a run or a checkpoint"
    )
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
    assert f"config.json: format 2 is unknown to TransGAN {settings['transgan']}, which reads format 1" in error()
    config.write_text('{"architectures": ["Bert"]}')
    assert "config.json: not the config of a model, since it has no key 'format'; expected" in error()
    write_config(recipe={})
    assert error() == f"model {broken}: config.json: not the config of a model: it lacks 'data'"
    write_config(recipe={**settings["recipe"], "tasks": {}})
    assert "config.json: not the config of a model: tasks: " in error()
    write_config(recipe=with_generator(use="resnett"), plugins={"transgan": "0.1.0", "strangenets": "2.0"})
    assert error(2) == (
        f"{config}: [generators.face] use: no generator 'resnett'. Did you mean 'resnet'? Or its package is not "
        "installed (transgan plugins lists what is, pip install adds others); "
        "it was made with strangenets, not installed here"
    )
    write_config(recipe=with_generator(options={**generator["options"], "width": 8}))
    assert error().startswith(f"model {broken}: the weights do not fit the config: 'network.model.1.weight' of ")
    write_config(recipe=with_generator(options={**generator["options"], "width": 10**6}))  # exceeds any memory
    assert "the weights do not fit the config" in error()
    write_config(recipe=with_generator(options={**generator["options"], "width": 10**9}))
    assert "config.json: its networks cannot be built: " in error()
    write_config(recipe=with_generator(options={**generator["options"], "blocks": 2}))
    assert "'face.forward' lacks 'network.model." in error()


def test_run_without_a_model_is_reported(transgan: Any, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    message = "is a run that has no model yet; it has no checkpoint yet that one could be made of"
    assert transgan("info", tmp_path).error(3).endswith(message)


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
