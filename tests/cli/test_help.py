"""Help pages: `-h` everywhere, a sentence and an example for each command, aligned in the width of the terminal."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from transgan import cli

Command = Callable[..., Any]


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, and of every group."""
    cli._add_commands()

    def below(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
        yield words
        for name, each in getattr(command, "commands", {}).items():
            yield from below(each, *words, name)

    yield from below(typer.main.get_command(cli.app))
    yield ("faces", "extract")


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_page(transgan: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    pages = [transgan(*words, option) for option in ("-h", "--help")]
    assert pages[0] == pages[1] and (pages[0].code, pages[0].err) == (0, "")
    text = pages[0].out
    usage, _, *rest = text.splitlines()
    assert usage.startswith(f"Usage: {' '.join(('transgan', *words))} ")
    assert re.fullmatch(r"  [A-Z].*\.", rest[0]), rest[0]  # one sentence, on one line
    assert "\x1b" not in text and "\b" not in text
    body, _, examples = text.partition("\n  Example")
    assert max(map(len, body.splitlines())) <= 80
    if not words or words[-1] not in ("data", "bench"):
        lines = [line for line in examples.splitlines()[1:] if line.startswith("    ")]
        assert lines and all(" ".join(("transgan", *words)) in line for line in lines), examples
    assert not re.search(r"[<>{}]|\blist\[|\bPath\b|\bNone\b|\bstr\b", body), "a type of Python, or a formula"
    options = [line for line in body.splitlines() if re.match(r"  -", line)]
    assert any(line.startswith("  -h, --help ") for line in options)


@pytest.mark.parametrize(("group", "count"), [("", 15), ("data", 1), ("bench", 5)])
def test_no_sentence_in_the_list_of_commands_is_cut(transgan: Command, group: str, count: int) -> None:
    _, _, text = transgan(*group.split(), "--help").out.partition("Commands:\n")
    listed = [line for line in text.splitlines() if re.match(r"  [a-z]", line)]
    assert len(listed) >= count
    assert all(line.endswith(".") and not line.endswith("...") for line in listed), listed


def test_help_follows_the_width(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    body, _, _ = transgan("run", "--help").out.partition("\n  Example")
    assert max(map(len, body.splitlines())) <= 50


def test_ranges_are_in_words(transgan: Command) -> None:
    page = " ".join(transgan("watch", "--help").out.split())
    assert "[default: 0; 0 to 65535]" in page and "[at least 1]" in " ".join(transgan("resume", "-h").out.split())
    assert page.startswith("Usage: transgan watch [OPTIONS] FOLDER ")
    assert transgan("compare", "-h").out.startswith("Usage: transgan compare [OPTIONS] FOLDERS...\n")
    assert transgan("recipes", "-h").out.startswith("Usage: transgan recipes [OPTIONS] [NAME]\n")
