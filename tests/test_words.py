"""Words that this project does not use, since PyTorch and the GAN literature have others for what they meant."""

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("transgan", "plugins", "recipes", "docs", "tests")
SUFFIXES = (".py", ".md", ".toml")
#: Not read: this file, files of earlier versions, and built pages.
SKIPPED = ("tests/test_words.py", "tests/fixtures/", "docs/_build/")

#: Each word with what to say instead. A space in a word stands for any white space, or an underscore in a name.
WORDS = {
    "told": "conditioned (a network), reported or logged (to a person), distinguished",
    "heed": "apply, follow; of a condition: affect the output",
    "heeds": "applies, follows; of a condition: affects the output",
    "heeded": "applied, followed",
    "on paper": "on the meta device",
    "by chance": "at random",
    "so many": "N, at most N",
    "so manieth": "every Nth",
    "left out": "omitted; 'where left out': defaults to",
    "trial": "non-finite guard",
    "judge": "discriminator (a network), evaluate (a model)",
    "judges": "discriminators; discriminates, evaluates",
    "judged": "evaluated",
    "judging": "evaluating",
    "opinion": "realness",
    "hearing": "adviser, apply; of audio: analysis, perception",
    "drawn faces": "synthetic faces",
    "drawn voices": "synthetic voices",
    "unneeded": "unused",
}
#: Words that are gone as names in code only: a verb of plain English is spelled alike.
NAMES = {"leaves": "batch_inputs"}

#: Where a word may stay, as (file, word): reason.
ALLOWED = {
    ("README.md", "judging"): "about people, whom a model is not for judging",
    ("docs/explanation/figures.md", "judge"): "about a person who looks at translations",
    ("transgan/inference/model_folder.py", "judge"): "about people, in the model card",
    ("recipes/conditional_face_embedding.toml", "judge"): "a network's name, of which its first weights are a function",
    ("docs/methods/constants.md", "judge"): "the same network's name",
    ("docs/reference/plugins.md", "judge"): "a model that evaluates translations and has no part in training them",
    ("docs/reference/plugins.md", "judges"): "such models",
    ("tests/cli/test_evaluate.py", "judges"): "an option of metrics: such models",
    ("docs/results.md", "judge"): "the same network's name",
    ("transgan/recipe/upgrade.py", "drawn faces"): "a plugin's name in recipes of version 1 of the format",
    ("transgan/recipe/upgrade.py", "drawn voices"): "another such name",
    ("tests/recipe/test_upgrade.py", "drawn faces"): "the same name",
    ("tests/recipe/test_upgrade.py", "drawn voices"): "the same name",
    ("transgan/training/checkpoint.py", "told"): "an entry's name in checkpoints of format 1",
    ("transgan/training/checkpoint.py", "judge"): "a module's name in checkpoints of format 1",
    ("transgan/training/checkpoint.py", "judges"): "another such name",
    ("tests/training/test_version_1.py", "told"): "the same entry",
    ("tests/training/test_version_1.py", "judge"): "the same module",
    ("tests/training/test_version_1.py", "judges"): "the other such name",
}
#: What a metric calls networks outside the training, which say what a translation shows: they are no discriminators.
JUDGES = (
    *("docs/howto/judge.md", "plugins/transgan_images/judges.py", "plugins/transgan_images/metrics.py"),
    *("plugins/transgan_images/metrics_judges.py", "plugins/transgan_images/metrics_labels.py"),
    *("docs/make_face_sheet.py", "tests/plugins/images/test_judges.py", "tests/cli/test_mistakes_in_metrics.py"),
    *("docs/results.md", "docs/tutorial/conditional_faces.md"),
)
ALLOWED |= {(file, word): "a metric's networks outside the training" for file in JUDGES for word in ("judge", "judges")}
ALLOWED |= {(file, "judge"): "the name of the page on those" for file in ("docs/index.md", "docs/howto/evaluate.md")}
ALLOWED |= {("plugins/transgan_images/__init__.py", "judges"): "the name of their module"}
ALLOWED |= {("tests/docs/test_make_face_sheet.py", "judge"): "one of those"}
ALLOWED |= {("recipes/conditional_face_photos_cpu.toml", "judge"): "one of those, whose figures the recipe states"}


@dataclass(frozen=True)
class Hit:
    file: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: '{self.word}'; say: {(WORDS | NAMES)[self.word]}"


def files() -> list[Path]:
    found = [ROOT / "README.md", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return sorted(
        path for path in found if path.suffix in SUFFIXES and not path.relative_to(ROOT).as_posix().startswith(SKIPPED)
    )


def pattern_of(word: str) -> re.Pattern[str]:
    """Return a pattern for a whole word, also as a part of a snake_case name, and across the lines of a comment."""
    space = r"(?:_|-|\s+(?:[#>]\S?\s+)?)"
    return re.compile(rf"(?<![A-Za-z]){space.join(word.split())}(?![A-Za-z])", re.IGNORECASE)


def hits_in(file: str, text: str) -> Iterator[Hit]:
    """Yield the uses in a text of words that are gone."""
    for word in WORDS:
        for match in pattern_of(word).finditer(text):
            yield Hit(file, text.count("\n", 0, match.start()) + 1, word)
    for line, name in _names(file, text):
        for word in NAMES:
            if re.fullmatch(rf"_*{word}(_of)?", name, re.IGNORECASE):
                yield Hit(file, line, word)


def _names(file: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield the names in code, with their lines: of a Python file, or in backticks on a page."""
    if file.endswith(".py"):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string
    for number, line in enumerate(text.splitlines(), 1):
        for span in re.findall(r"`([^`]+)`", line):
            yield from ((number, name) for name in re.findall(r"\w+", span))


def test_words_that_are_gone_are_not_used() -> None:
    found = [
        hit for path in files() for hit in hits_in(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    wrong = [str(hit) for hit in found if (hit.file, hit.word) not in ALLOWED]
    assert not wrong, "\n".join(["words that are gone:", *wrong])
    stale = ALLOWED.keys() - {(hit.file, hit.word) for hit in found}
    assert not stale, f"remove these entries of ALLOWED, which nothing needs: {sorted(stale)}"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("a.md", "A network is told the domain.", [(1, "told")]),
        ("a.md", "Retold; untold; toldo.", []),
        ("a.py", "def test_it_is_told_once(): ...", [(1, "told")]),
        ("a.toml", "# So many steps.\n# By\n# chance.", [(1, "so many"), (2, "by chance")]),
        ("a.py", "x = 'drawn_faces'", [(1, "drawn faces")]),
        ("a.py", "leaves = LEAVES\nleaves_of(max_leaves)", [(1, "leaves"), (1, "leaves"), (2, "leaves")]),
        ("a.py", "def test_it_leaves_the_rest(): ...  # leaves it", []),
        ("a.md", "A step leaves no trace; `leaves` has them.", [(1, "leaves")]),
    ],
)  # fmt: skip
def test_words_are_found(file: str, text: str, expected: list[tuple[int, str]]) -> None:
    assert sorted((hit.line, hit.word) for hit in hits_in(file, text)) == sorted(expected)
