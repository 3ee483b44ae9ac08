"""`python -m benchmarks.digits`: a row for every method, read again where it is there already."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, with classifiers of small batches."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.digits import __main__ as command
    from benchmarks.digits import classifier

    monkeypatch.setattr(classifier, "BATCH", 8)
    monkeypatch.setattr(classifier, "EPOCHS", 40)  # of two batches each

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["digits", *map(str, words)])
        command.main()
        return Path(words[words.index("--out") + 1], "table.md").read_text(encoding="utf-8")  # type: ignore[arg-type]

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Bright and dark squares as the digits 1 and 0: either domain's classifier reads the other's."""
    for name in ("mnist_train", "mnist_test", "usps_train", "usps_test"):
        labels = np.arange(16) % 2
        noise = np.random.default_rng(len(name)).integers(0, 40, (16, 32, 32))
        images = (noise + 200 * labels[:, None, None]).astype(np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    return tmp_path


def test_methods_are_compared_and_what_is_finished_is_kept(digits: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = (data, "--out", out, "--methods", "plain", "warp", "--seeds", 0, "--scale", 0.002, "--threads", 1)
    table = digits(*words).splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "real digits of the target",
        "untranslated",
        "plain",
        "warp",
    ]
    assert table[2].split("|")[2:4] == [" 1.000 ", " 1.000 "] == table[3].split("|")[2:4]
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert digits(*words).splitlines() == table
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    found = json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert found["methods"].keys() == {"plain", "warp"} and found["references"]["untranslated"]["mnist"] == 1.0


def test_a_missing_file_is_one_line(digits: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*mnist_train\.npz: expected a file with images and labels"):
        digits(tmp_path, "--out", tmp_path / "out")
