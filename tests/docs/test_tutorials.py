"""Tutorials work as they are written: their files are written and their commands typed, in an empty folder."""

import ast
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Those that begin in an empty folder, with a package of the extra that they need.
TUTORIALS = {
    "first_run": "cv2",
    "two_folders": None,
    "conditional_faces": "kornia",
    "voice": "soundfile",
    "own_loss": None,
    "own_generator": None,
    "own_media": None,
    "port_a_method": None,
}
#: Those that take more than 20 seconds.
SLOW = ("first_run", "voice")


@pytest.fixture
def run_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import run_page

    yield run_page
    sys.modules.pop("run_page", None)


@pytest.fixture
def page_run(
    run_page: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """A run of a page in an empty folder, whose transgan commands run within this process."""
    folder, site = tmp_path / "page", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    monkeypatch.setenv("COLUMNS", "80")

    def transgan(words: Sequence[str], where: Path) -> tuple[int, str]:
        before = set(sys.modules)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(where)
            patch.setattr(sys, "stderr", sys.stdout)  # in the order of a terminal
            for path in (site, *run.paths):
                patch.syspath_prepend(path)
            importlib.invalidate_caches()
            code = run_cli(*words)
        printed = capsys.readouterr().out
        for name in set(sys.modules) - before:  # packages of the page, which may change
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(tmp_path):
                del sys.modules[name]
        return code, printed

    run = run_page.PageRun(folder, site, transgan, quick=True)
    return run


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TUTORIALS]
)
def test_the_tutorial_works_as_it_is_written(page_run: Any, name: str) -> None:
    if TUTORIALS[name]:
        pytest.importorskip(TUTORIALS[name])
    if name == "first_run":  # from a clone
        (page_run.folder / "recipes").symlink_to(ROOT / "recipes")
    page_run.run((ROOT / f"docs/tutorial/{name}.md").read_text(encoding="utf-8"))
    assert page_run.commands >= 3
    assert page_run.texts >= 1


# The runner


PAGE = """
A file and its use:

```python
# numbers.py
print("1 and 2")
```

<!-- test: omit nobody has it -->
```shell
cat of_my_own.txt
```

```shell
cat numbers.py
```

```text
print("7 and 8")
```
"""


def test_files_are_written_and_numbers_may_differ(page_run: Any) -> None:
    page_run.run(PAGE)
    assert (page_run.commands, page_run.texts) == (1, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7 and 8", "7 or 8", "quoted, and not printed"),
        ("cat numbers.py", "cat letters.py", "ended with 1"),
        ("omit nobody has it", "ommit it", "a comment for tests is"),
        ("omit nobody has it -->", "omit nobody has it -->\n\nText.", "not directly before a block"),
        ("omit nobody has it", "quick --set a=1", "ended with 1"),
        ("omit nobody has it", "fails", None),
    ],
)
def test_what_is_not_so_is_found(page_run: Any, run_page: Any, old: str, new: str, message: str | None) -> None:
    page = PAGE.replace(old, new)
    assert page != PAGE
    if message is None:
        page_run.run(page)
        return
    with pytest.raises(run_page.PageError, match=message):
        page_run.run(page)


def test_packages_of_a_page_are_found_by_its_commands(page_run: Any) -> None:
    page_run.run(
        """
```toml
# mine/pyproject.toml
[project]
name = "of-a-page"
version = "0.1.0"
[project.entry-points.transgan]
mine = "of_a_page"
```

```python
# mine/of_a_page.py
from transgan.api import Loss, hookimpl

class Mine(Loss):
    def for_generator(self, fake):
        return fake.mean()

@hookimpl
def register_losses(register):
    register("mine_of_a_page", Mine)
```

```shell
pip install -e mine
transgan plugins mine_of_a_page
```

```text
mine_of_a_page: a loss of of-a-page 0.1.0
...
for_generator: fake
```
"""
    )


# The notebook


NOTEBOOK = ROOT / "docs/tutorial/first_run.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_one_without_outputs() -> None:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert document.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    every = [*cells("markdown"), *cells("code")]
    assert len(every) == len(document["cells"]) == len({cell["id"] for cell in every})
    assert all(cell.keys() == {"cell_type", "id", "metadata", "source"} for cell in cells("markdown"))
    for cell in cells("code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert all(line.endswith("\n") for line in cell["source"][:-1])


def test_the_page_about_the_notebook_has_its_code(run_page: Any) -> None:
    page = (ROOT / "docs/tutorial/notebook.md").read_text(encoding="utf-8")
    shown = [block.text.rstrip("\n") for block in run_page.blocks_of(page) if block.language == "python"]
    assert shown == ["".join(cell["source"]) for cell in cells("code")]


def test_the_notebook_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kornia")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = []
    for cell in cells("code"):
        *before, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(before, []), NOTEBOOK.name, "exec"), names)  # noqa: S102 - of this repository
        if isinstance(last, ast.Expr):  # what a notebook shows
            shown.append(eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names))  # noqa: S307 - likewise
        else:
            exec(compile(ast.Module([last], []), NOTEBOOK.name, "exec"), names)  # noqa: S102 - likewise
        if "parameters" in cell["metadata"].get("tags", []):
            names |= {"STEPS": 3, "FACES": 24}
    run, sheet = names["run"], names["sheet"]
    assert "finished" in repr(run) and "step 4 of 4" in repr(run)
    assert "<table>" in shown[0]._repr_html_()
    assert len(run.figures) == 4
    assert sheet.size == (256, 128)
    assert sheet in shown and run in shown


# What pages quote beside commands


def test_the_words_of_the_guardian_are_its_words() -> None:
    page = (ROOT / "docs/tutorial/two_folders.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    code = "".join(
        (ROOT / f"transgan/monitoring/{name}.py").read_text(encoding="utf-8") for name in ("faults", "advice")
    )
    assert len(quoted) == 8
    for words in quoted:
        assert words in code, words
