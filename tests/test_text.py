"""The door for text: whatever comes from outside, what leaves is printable, on one line, and never raises."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from transgan import text as texts
from transgan.errors import RecipeError, did_you_mean
from transgan.reporting.html import escape
from transgan.rng import stable_hash
from transgan.text import expand_home, is_quiet, listed, printable, printable_lines, quietly, shell_word, show

#: Of the kind: sequences for terminals, line breaks of all sorts, marks that reverse text, invalid bytes, null.
HOSTILE = (
    "\x1b[2J", "\x1b]0;title\x07", "\r", "\n", "\x85", "\u2028", "\u202e", "\u200b", "\x00", "\x7f", "\x9b", "\udcff",
    "\ufeff", "\U000e0001",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_control_characters_are_escaped_once(text: str) -> None:
    found = printable(f"a{text}z")
    assert found.isprintable() and found[0] == "a" and found[-1] == "z" and text not in found
    assert printable(found) == found
    lines = printable_lines(f"one\ntwo{text}")
    assert all(line.isprintable() for line in lines.split("\n")) and lines.startswith("one\ntwo")


def test_letters_of_all_scripts_stay() -> None:
    for text in ("größer", "дом", "家", "עברית", "🙂", "a b", "[red]x[/red]", "<b>&amp;", "C:\\new"):
        assert printable(text) == text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_gets_every_text(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    show("größer 家 \udcff \x1b[31m")
    written = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert written.endswith("\\udcff \\u001b[31m\n") and "\x1b" not in written


class Failing(io.StringIO):
    """A stream whose reader is gone, whose disk is full, or which is closed."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "full"), ValueError("closed")])
def test_an_error_that_cannot_be_printed_raises_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(error))
    monkeypatch.setattr(sys, "stdout", Failing(error))
    show("text", error=True)
    with pytest.raises(OSError, match="stdout"):
        show("text")
    monkeypatch.setattr(sys, "stderr", None)
    show("text", error=True)


def test_lists_and_suggestions_are_bounded() -> None:
    names = [f"domain-{i}" for i in range(6000)]
    assert listed(names).endswith("domain-19 and 5,980 more") and listed([]) == "none"
    assert len(did_you_mean("something else", names)) < 500
    assert len(did_you_mean("x" * 100_000, names)) < 500
    assert did_you_mean("domain-777_", names) == "Did you mean 'domain-777'?"


def test_problems_of_a_recipe_are_printable_and_can_be_sent_to_other_processes() -> None:
    error = RecipeError(["a\x1b[2J", "b\nc"], "r\x1b.toml")
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert str(each) == "r\\u001b.toml: 2 problems\n  a\\u001b[2J\n  b\\u000ac"
        assert each.problems == ["a\\u001b[2J", "b\\u000ac"]


def test_hashes_take_names_that_are_no_text_and_are_unchanged_for_all_others() -> None:
    assert stable_hash("a", 1, "größer 家") == 0xFE915C455305DAC4
    assert stable_hash("held out", "drawn-000001") == 0xC9AC5D6ED499E819
    names = ["a\udcff", "a\udcfe", "a\ud800", "a", "a?"]
    assert len({stable_hash(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["~photo.png", "~nosuchuser/x", "~~", "a~b", "~"])
def test_a_leading_tilde_without_such_a_user_is_part_of_the_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of-this-test")
    assert expand_home(name) == (Path("/home/of-this-test") if name == "~" else Path(name))
    assert expand_home("~/x") == Path("/home/of-this-test/x")


COMMAND = "import sys; from transgan.cli import main; sys.argv = ['transgan', 'plugins', *sys.argv[1:]]; main()"


@pytest.mark.skipif(os.name != "posix", reason="needs file descriptors that can be closed")
@pytest.mark.parametrize(
    ("redirect", "code"), [(">&-", 0), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 0), ("| true", 0), (">/dev/full", 7)]
)
def test_a_standard_stream_that_is_closed_full_or_without_a_reader(redirect: str, code: int) -> None:
    """Of the kind: each stream, in each state in which a shell can leave it."""
    line = f'{sys.executable} -c "$COMMAND" {redirect}'
    environment = {**os.environ, "COMMAND": COMMAND, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr == "error: stdout: No space left on device\n"


def test_pages_show_markup_and_control_characters_as_text() -> None:
    assert escape("<b onclick='x'>\x1b\n") == "&lt;b onclick=&#39;x&#39;&gt;\\u001b\\u000a"


@pytest.mark.parametrize(
    ("path", "word"), [(r"C:\a\b", r"C:\a\b"), (r"C:\my files\b", r'"C:\my files\b"'), ("it's", "it's")]
)
def test_on_windows_words_are_quoted_as_its_shells_do(path: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "os", SimpleNamespace(name="nt"))
    assert shell_word(path) == word


@pytest.mark.skipif(os.name == "nt", reason="asks sh")
@pytest.mark.parametrize("word", ["plain", "my files/a", "it's", "$HOME; echo", "ü"])
def test_a_word_is_one_to_the_shell(word: str) -> None:
    said = subprocess.run(["sh", "-c", f"printf %s {shell_word(word)}"], capture_output=True, text=True, check=True)
    assert said.stdout == word


def test_within_a_quiet_command_nothing_is_noisy() -> None:
    with quietly(True):
        with quietly(False):
            assert is_quiet()
        assert is_quiet()
    assert not is_quiet()
