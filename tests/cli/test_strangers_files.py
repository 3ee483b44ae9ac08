"""Files from strangers: whatever is in them, one line says what is wrong, without control characters, at once."""

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from transgan.errors import DiskError
from transgan.storage import read_metrics, serialization

HOSTILE: dict[str, tuple[tuple[str, ...], Any]] = {
    "version with escapes": (("transgan",), "1\x1b[2J\x1b]0;owned\x07"),
    "version no text": (("transgan",), ["1"]),
    "steps text": (("steps",), "\x1b[31m9\n"),
    "steps huge": (("steps",), 10**300),
    "steps negative": (("steps",), -1),
    "steps nan": (("steps",), float("nan")),
    "plugins list": (("plugins",), ["a"]),
    "plugins null": (("plugins",), None),
    "plugins number": (("plugins",), 7),
    "plugins escapes": (("plugins",), {"\x1b[31mx": "\x1b[0m\n1"}),
    "plugins nested": (("plugins",), {"a": {"b": 1}}),
    "recipe list": (("recipe",), [{}]),
    "recipe null": (("recipe",), None),
    "data null": (("recipe", "data"), None),
    "size huge": (("recipe", "data", "size"), 10**12),
    "size zero": (("recipe", "data", "size"), 0),
    "width huge": (("recipe", "generators", "face", "options", "width"), 10**12),
    "width of 400 digits": (("recipe", "generators", "face", "options", "width"), 10**400),
    "width large": (("recipe", "generators", "face", "options", "width"), 100_000),
    "blocks huge": (("recipe", "generators", "face", "options", "blocks"), 10**9),
    "domains many": (("recipe", "tasks", "age", "between"), [f"d{i}" for i in range(2000)]),
    "domains unhashable": (("recipe", "tasks", "age", "between"), [["a"], {}]),
    "domain with escapes": (("recipe", "domains"), {"\x1b[2J": True, "old": True}),
    "plugin name": (("recipe", "generators", "face", "use"), "os.system\x1b[2J\n"),
    "media name": (("recipe", "data", "media", "use"), "\x1b]0;x\x07"),
    "media number": (("recipe", "data", "media"), 7),
    "name": (("recipe", "name"), "\x1b[31m"),
    "per": (("recipe", "generators", "face", "per"), "\x1b[31m"),
    "version of the recipe": (("recipe", "version"), "2\x1b"),
    "evaluation list": (("evaluation",), [1]),
    "evaluation data": (("evaluation", "data"), 7),
    "evaluation metrics": (("evaluation", "metrics"), [["cycle_error"]]),
    "trained on": (("evaluation", "trained_on"), [1]),
    "format": (("format",), "\x1b[2J" * 100),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", ["info", "translate", "evaluate"])
def test_config_of_a_model(
    transgan: Any, model: Path, tmp_path: Path, write_image: Any, kind: str, command: str
) -> None:
    """Of the kind: every value of config.json of another type, of any size, with control characters."""
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    path, value = HOSTILE[kind]
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))
    words: tuple[Any, ...] = (folder,)
    if command == "translate":
        words = (folder, write_image(tmp_path / "x.png"), "--to", "old")
    done = transgan(command, *words)
    assert done.code in (0, 2, 3), done
    assert "bug" not in done.err and "Traceback" not in done.err
    assert all(line.isprintable() for line in (done.out + done.err).splitlines()), done
    if done.code:
        assert len(done.err.splitlines()) == 1 and len(done.err) < 2000, done.err


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"[{}]", b"null", b"7", b"{", b"\xff", b'{"a": ' * 5000, b"[" * 100_000, b'{"format": 1}',
     b'{"format": 1, "recipe": {}}', b'{"format": 1, "recipe": ' + b'{"a": ' * 900 + b"1" + b"}" * 901,
     b'{"format": 1' + b"0" * 5000 + b"}"],
    ids=lambda content: ascii(content[:20]),
)  # fmt: skip
def test_config_that_is_something_else(transgan: Any, model: Path, tmp_path: Path, content: bytes) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "config.json").write_bytes(content)
    assert transgan("info", folder).error(3).isprintable()


@pytest.fixture
def run(transgan: Any, recipe: Path, tmp_path: Path) -> Path:
    """A run with a checkpoint."""
    assert transgan("run", recipe, "--out", tmp_path / "run", "-q").code == 0
    return tmp_path / "run"


FORGED: list[tuple[tuple[str, ...], Any]] = [
    ((), {}),
    (("format",), "\x1b[2J"),
    (("format",), True),
    (("guardian",), None),
    (("guardian",), [1]),
    (("guardian", "fallback_step"), "x"),
    (("guardian", "fallback_step"), None),
    (("guardian", "lr_factor"), {}),
    (("guardian", "norms"), 7),
    (("guardian", "faulty"), 3),
    (("adviser", "reported"), 7),
    (("adviser", "seen"), [1]),
    (("ema", "updates"), [1]),
    (("ema",), 7),
    (("history", "counts"), [1]),
    (("best", "step"), "\x1b"),
]


@pytest.mark.parametrize(("path", "value"), FORGED, ids=str)
def test_forged_state_of_a_checkpoint(transgan: Any, run: Path, path: tuple[str, ...], value: Any) -> None:
    """Of the kind: a state whose hash fits and whose content no run has written."""
    for folder in (run / "checkpoints").glob("step-*"):
        state = json.loads((folder / "state.json").read_text())
        inner: Any = {"": state}
        for key in ("", *path)[:-1]:
            inner = inner[key]
        inner[("", *path)[-1]] = copy.deepcopy(value)
        data = serialization.to_json(inner[""] if not path else state)
        (folder / "state.json").write_bytes(data)
        manifest = json.loads((folder / "MANIFEST.json").read_text())
        manifest["files"]["state.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (folder / "MANIFEST.json").write_bytes(serialization.to_json(manifest))
    done = transgan("resume", run)
    assert done.code in (0, 7), done
    assert "bug" not in done.err and "\x1b" not in done.err
    if done.code:
        assert done.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "line",
    ['{"cycle": 1}', '{"step": "1"}', '{"step": null}', '{"step": [1]}', '{"step": NaN}', '{"step": true}',
     '{"step": 1e999}', '{"step": 1, "a": {}}', '{"step": 1, "a": [1]}', "[1]", '{"step": 1' + "0" * 400 + "}"],
)  # fmt: skip
def test_metrics_that_no_run_has_written(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(DiskError, match="line 2 is damaged; delete that line"):
        read_metrics(path)


@pytest.mark.parametrize("setting", ["losses.cycle=5", "data.size=1024"])
def test_memory_that_no_machine_has_is_said_before_work_begins(transgan: Any, recipe: Path, setting: str) -> None:
    settings = ("--set", setting, "--set", "generators.face.width=4096", "--set", "train.batch=65536")
    done = transgan("check", recipe, *settings)
    assert done.code == 0 and "warning: the device has " in done.out
