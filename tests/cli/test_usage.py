"""Mistakes in a command line: one line that says what was meant, exit code 2, and nothing heavy imported for it."""

from collections.abc import Callable
from typing import Any

import pytest

from transgan.cli.usage import SYNONYMS

Command = Callable[..., Any]

#: What is typed, and how its line begins.
COMMANDS = {
    "trian": "transgan has no command 'trian'. Did you mean 'run'?",
    "train": "transgan has no command 'train'. Did you mean 'run'?",
    "rnu": "transgan has no command 'rnu'. Did you mean 'run'?",
    "translat": "transgan has no command 'translat'. Did you mean 'translate'?",
    "predict": "transgan has no command 'predict'. Did you mean 'translate'?",
    "ls": "transgan has no command 'ls'. Did you mean 'recipes' or 'plugins'?",
    "continue": "transgan has no command 'continue'. Did you mean 'resume'?",
    "eval": "transgan has no command 'eval'. Did you mean 'evaluate'?",
    "validate": "transgan has no command 'validate'. Did you mean 'check'?",
    "version": "transgan has no command 'version'. Did you mean '--version'?",
    "VALIDATE": "transgan has no command 'VALIDATE'. Did you mean 'check'?",
    "qqqqqq": "transgan has no command 'qqqqqq'. Known: bench, check, compare,",
    "data chek": "transgan data has no command 'chek'. Did you mean 'check'?",
    "faecs": "transgan has no command 'faecs'. Did you mean 'faces'?",
    "evaluate m --devcie cpu": "transgan evaluate has no option '--devcie'. Did you mean '--device'?",
    "translate m a --devcie cpu": "transgan translate has no option '--devcie'. Did you mean '--device'?",
    "translate m a --tree": "transgan translate has no option '--tree'. Known: ",
    "translate m a --fases": "transgan translate has no option '--fases'. Did you mean '--faces'?",
    "data check x --strct": "transgan data check has no option '--strct'. Did you mean '--strict'?",
    "run x --gpus 3": "transgan run has no option '--gpus'. Known: --help, --out, --plugin, --quiet, --set.",
    "run": "transgan run: missing argument 'RECIPE'. Usage: transgan run [OPTIONS] ",
    "run a b": "transgan run: got unexpected extra argument(s) (b). Usage: transgan run [OPTIONS] ",
    "run a --out": "transgan: option '--out' requires an argument",
    "evaluate m --samples x": "transgan evaluate: invalid value for '--samples': expected a whole number",
    "resume m --steps 0": "transgan resume: invalid value for '--steps': expected at least 1",
    "watch m --port 99999": "transgan watch: invalid value for '--port': expected at most 65535",
    "translate m a --strength x": "transgan translate: invalid value for '--strength': expected a number",
    "samples ''": "argument 2 of transgan (after samples) is empty; a variable of the shell may not be set",
    "translate m a --out=": "--out is empty; a variable of the shell may not be set",
    "--versoin": "transgan has no option '--versoin'. Did you mean '--version'?",
}


def test_every_mistake_is_one_line_without_heavy_imports(early_errors: Callable[..., Any]) -> None:
    codes, lines = early_errors(list(COMMANDS))
    assert codes == [2] * len(COMMANDS)
    for line, (words, expected) in zip(lines, COMMANDS.items(), strict=True):
        assert line.startswith(f"error: {expected}"), words


def test_every_synonym_is_of_a_command_that_exists(transgan: Command) -> None:
    for word, meant in SYNONYMS.items():
        line = transgan(word).error(2)
        assert all(f"'{each}'" in line for each in meant), line
        assert all(transgan(*each.split(), "--help").code == 0 for each in meant if not each.startswith("--"))


@pytest.mark.parametrize("word", ["a\x1b[31m", "x" * 5000, "ü" * 3, "--\x07"])
def test_what_is_typed_cannot_control_the_terminal(transgan: Command, word: str) -> None:
    done = transgan(word)
    assert done.code == 2 and "\x1b" not in done.err and "\x07" not in done.err
    assert len(done.err.splitlines()) == 1
