"""`transgan run`, `check` and `resume`: results, and every error as one line on stderr with its exit code."""

import json
import os
import re
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from transgan.storage import RunFolder, load
from transgan.training.trainer import Trainer

WriteImage = Callable[..., Path]


@pytest.fixture
def folders(recipe: Path, tmp_path: Path, write_image: WriteImage) -> Path:
    """The recipe on two folders of four images each."""
    text = recipe.read_text().replace(
        'source = { use = "synthetic_faces", count = 16 }', f'source = "folders"\nroot = "{tmp_path}/data"'
    )
    text = text.replace("{ age = [20, 30] }", '"a"').replace("{ age = [50, 60] }", '"b"')
    path = tmp_path / "folders.toml"
    path.write_text(text)
    for i in range(4):
        write_image(tmp_path / f"data/a/{i}.png")
        write_image(tmp_path / f"data/b/{i}.png")
    return path


@contextmanager
def callbacks(**functions: Callable[[int], None]) -> Iterator[None]:
    """Call functions, with the step, where a run calls the hooks of these names."""

    def call(trainer: Trainer, moment: str, **arguments: Any) -> None:
        functions.get(moment, lambda step: None)(trainer.engine.completed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "call_hook", call)
        yield


@contextmanager
def limit_file_size(count: int) -> Iterator[None]:
    """Simulate a full disk: files can be read, and no large ones written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_run_writes_a_model_and_a_report(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    done = transgan("run", recipe)
    assert done.code == 0, done.err
    assert done.err.splitlines()[-3:] == [
        "translate files:                         transgan translate runs/small-1 FILES --to old",
        "measure it again, or with other metrics: transgan evaluate runs/small-1",
        "see how it went:                         open runs/small-1/report.html in a browser",
    ]
    run = tmp_path / "runs/small-1"
    assert {path.name for path in (run / "model").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert set(json.loads((run / "result.json").read_text())["translations"]) == {
        "age: young -> old",
        "age: old -> young",
    }
    page = (run / "report.html").read_text()
    assert "age: young -&gt; old" in page and 'data-chart="0"' in page and 'src="data:image/' in page
    assert "result" not in done.err and "cycle_error" in done.out


def test_quiet_prints_the_model_alone(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    model = f"{tmp_path / 'runs/small-1/model'}\n"
    assert transgan("run", recipe, "-q") == (0, model, "")
    assert transgan("resume", "runs/small-1", "-q") == (
        0,
        model,
        "",
    )  # nothing was left to do
    assert transgan("finish", "runs/small-1", "--quiet") == (0, model, "")


def test_same_recipe_resumes_and_another_is_refused(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert transgan("run", recipe, "--out", run, "-q").code == 0
    before = (run / "model/model.safetensors").read_bytes()
    again = transgan("run", recipe, "--out", run)
    assert again.code == 0
    assert f"{run} is finished: 2 steps" in again.err
    assert (run / "model/model.safetensors").read_bytes() == before
    other = transgan("run", recipe, "--out", run, "--set", "losses.cycle=6")
    assert other.error(2).startswith(f"{run} holds a run of another recipe; they differ in losses.cycle.weight")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("losses.identity=5", "losses.identity"),
        ('generators.face.norm="none"', "generators.face.norm"),
        ("metrics.counterpart_error={}", "metrics.counterpart_error"),
    ],
)
def test_a_run_that_has_more_than_the_recipe_is_another(transgan: Any, recipe: Path, more: str, key: str) -> None:
    """A loss, a figure, or an option of a plugin that the recipe leaves at its default."""
    assert transgan("run", recipe, "--out", "run", "-q", "--set", more).code == 0
    for finished in (True, False):
        if not finished:
            Path("run/result.json").unlink()
        assert f"they differ in {key}" in transgan("run", recipe, "--out", "run").error(2)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "train.stepps=3"), "--set train.stepps=3: unknown key. Did you mean 'steps'?"),
        (("--set", "generators.face.use='resnett'"), "no generator 'resnett'. Did you mean 'resnet'?"),
        (("--set", "generators.face.widht=3"), "unknown key. Did you mean 'width'?"),
        (("--set", "train.batch='many'"), 'found "many" (a string), expected a whole number of at least 1'),
    ],
)
def test_errors_in_a_recipe(transgan: Any, recipe: Path, command: str, words: tuple[str, ...], message: str) -> None:
    assert message in transgan(command, recipe, *words).error(2)


def test_misspelt_key_is_reported_with_its_line(transgan: Any, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("batch = 2", "bach = 2"))
    assert transgan("run", recipe).error(2) == f"{recipe}:12: [train] bach: unknown key. Did you mean 'batch'?"
    assert not Path("runs").exists()


def test_missing_recipe(transgan: Any, recipe: Path) -> None:
    assert transgan("run", "smal.toml").error(2) == "no recipe 'smal.toml'. Did you mean 'small.toml'?"


def test_missing_data_are_reported_before_a_folder_is_created(
    transgan: Any, folders: Path, tmp_path: Path, write_image: WriteImage
) -> None:
    missing = transgan("run", folders, "--set", "data.root=nothing").error(3)
    assert missing == f"data.root = 'nothing' does not exist; expected the folder with the data (seen from {tmp_path})"
    assert "is a file" in transgan("check", folders, "--set", "data.root=folders.toml").error(3)
    wrong = transgan("run", folders, "--set", "domains.old=c").error(3)
    assert wrong == f"--set domains.old=c: there is no folder '{tmp_path}/data/c'. '{tmp_path}/data' has a, b"
    (tmp_path / "data/c").mkdir()
    assert "nothing to read in" in (empty := transgan("run", folders, "--set", "domains.old=c").error(3))
    assert "found nothing" in empty
    (tmp_path / "data/c/notes.txt").write_text("not an image")
    assert "found 1 file, none of the kind" in transgan("run", folders, "--set", "domains.old=c").error(3)
    assert "no synthetic face" in transgan("run", tmp_path / "small.toml", "--set", "domains.old={age=[90,99]}").error(
        3
    )
    assert not Path("runs").exists()


def huge(good: bytes, side: int) -> bytes:
    """Return a small PNG whose header declares a large size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return good[:12] + head + struct.pack(">I", zlib.crc32(head)) + good[33:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda good: good[: len(good) // 2], "cannot be read: "),
        (lambda good: good[:20], "cannot be read: "),
        (lambda good: b"", "an empty file"),
        (lambda good: b"this is a text", "not an image that can be read"),
        (lambda good: huge(good, 100_000), "at most max_pixels = 64,000,000 are read"),
        (lambda good: huge(good, 9_000), "at most max_pixels = 64,000,000 are read"),
    ],
    ids=["cut", "cut-early", "empty", "text", "huge", "large"],
)
def test_unreadable_image_is_named(
    transgan: Any, folders: Path, tmp_path: Path, content: Callable[[bytes], bytes], message: str
) -> None:
    for path in (tmp_path / "data/b").iterdir():
        path.write_bytes(content(path.read_bytes()))
    error = transgan("run", folders, "-q").error(3)
    assert re.match(r"\[domains\] old: (\d+) of \1 samples cannot be read, at most 0 may: ", error)
    assert f": {tmp_path}/data/b/" in error and message in error


def test_folder_in_use_file_in_the_way_and_folder_without_a_run(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run"):
        assert "is in use by process" in transgan("run", recipe, "--out", tmp_path / "run").error(8)
    assert "a file is in the way" in transgan("run", recipe, "--out", recipe).error(2)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/kept.txt").write_text("...")
    assert "is neither a run nor empty" in transgan("run", recipe, "--out", tmp_path / "letters").error(2)
    assert "not the folder of a run" in transgan("resume", tmp_path / "letters").error(2)
    assert "not the folder of a run" in transgan("resume", tmp_path / "nothing").error(2)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a read-only file system")
def test_folder_without_write_permission(transgan: Any, recipe: Path) -> None:
    assert transgan("run", recipe, "--out", "/proc/run").error(7).startswith("cannot write /proc/run: ")


def test_full_disk_ends_a_run_and_keeps_its_checkpoints(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    run, steps = tmp_path / "run", ("--set", "train.steps=5", "--set", "train.sample_every=5")

    def fill(step: int) -> None:
        if step == 1:
            stack.enter_context(limit_file_size(10_000))

    with ExitStack() as stack, callbacks(checkpoint_saved=fill):
        full = transgan("run", recipe, "--out", run, "--quiet", *steps)
    assert "File too large" in full.error(7)
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["LATEST", "step-00000001"]
    assert load(run / "checkpoints/step-00000001").step == 1
    assert (run / "log.txt").read_text().count("no checkpoint") == 3
    assert not (run / "result.json").exists()
    resumed = transgan("resume", run)
    assert resumed.code == 0, resumed.err
    assert "at step 1 of 5" in resumed.err
    assert (run / "model/model.safetensors").exists()


def test_interrupted_run_saves_and_resumes_with_the_same_result(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    steps = ("--set", "train.steps=3", "--set", "train.checkpoint_every=3")
    assert transgan("run", recipe, "--out", tmp_path / "whole", "-q", *steps).code == 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        run = tmp_path / number.name

        def stop(step: int, number: int = number) -> None:
            if step == 2:
                os.kill(os.getpid(), number)

        with callbacks(step_finished=stop):
            done = transgan("run", recipe, "--out", run, *steps)
        assert done.code == code
        assert done.err.splitlines()[-3:] == [
            f"interrupted after a checkpoint; transgan resume {number.name} goes on",
            f"end it here: measure the newest checkpoint: transgan finish {number.name}",
            f"see how it went:                            open {number.name}/report.html in a browser",
        ]
        assert load(run / "checkpoints/step-00000002").step == 2
        assert transgan("resume", run, "-q").code == 0
        whole = tmp_path / "whole/model/model.safetensors"
        assert (run / "model/model.safetensors").read_bytes() == whole.read_bytes()


def test_unexpected_error_is_reported_as_a_bug(transgan: Any, recipe: Path, monkeypatch: Any) -> None:
    def fail(*inputs: object) -> None:
        raise ZeroDivisionError("of this test")

    monkeypatch.setenv("TMPDIR", str(Path.cwd()))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("transgan.training.engine.Engine.train_step", fail)
    done = transgan("run", recipe, "-q")
    first, second = done.err.splitlines()
    assert (done.code, first) == (1, "error: ZeroDivisionError: of this test")
    assert second.startswith("This is a bug in TransGAN; ")
    (log,) = Path.cwd().glob("transgan-*.log")
    assert "Traceback" in log.read_text()


def test_out_of_memory_has_its_exit_code(transgan: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*inputs: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr("transgan.training.engine.Engine.train_step", fail)
    assert "lower train.batch" in transgan("run", recipe, "-q").error(5)
