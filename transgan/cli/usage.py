"""Mistakes in a command line, each in one line, with what was probably meant."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transgan.errors import UsageError, closest, did_you_mean
from transgan.text import listed, printable

#: What commands of other programs are called, with TransGAN's commands for it.
SYNONYMS = {
    **dict.fromkeys(("train", "fit", "start"), ("run",)),
    **dict.fromkeys(("test", "infer", "inference", "predict", "convert", "generate", "apply"), ("translate",)),
    **dict.fromkeys(("new", "create", "quickstart"), ("init",)),
    **dict.fromkeys(("demo", "examples"), ("samples",)),
    **dict.fromkeys(("list", "ls"), ("recipes", "plugins")),
    **dict.fromkeys(("continue", "restart"), ("resume",)),
    **dict.fromkeys(("eval", "measure", "metrics"), ("evaluate",)),
    **dict.fromkeys(("validate", "verify", "lint", "dry-run"), ("check",)),
    **dict.fromkeys(("show", "describe", "inspect", "model"), ("info",)),
    **dict.fromkeys(("tensorboard", "monitor", "dashboard"), ("watch",)),
    **dict.fromkeys(("diff",), ("compare",)),
    **dict.fromkeys(("stop", "end"), ("finish",)),
    **dict.fromkeys(("fetch", "weights"), ("download",)),
    **dict.fromkeys(("benchmark", "profile"), ("bench",)),
    **dict.fromkeys(("datasets", "dataset"), ("data check",)),
    "version": ("--version",),
    "help": ("--help",),
}


#: What is said of values, in words: by patterns in the messages of the libraries below.
_VALUES = {
    r"Input should be greater than or equal to (\S+)": r"expected at least \1",
    r"Input should be less than or equal to (\S+)": r"expected at most \1",
    r"Input should be a valid integer\b.*": "expected a whole number",
    r"Input should be a valid number\b.*": "expected a number",
    r"Input should be a finite number\b.*": "expected a finite number",
}


def explain(error: Any, commands: Iterable[str]) -> str:
    """Return what is wrong with a command line, in one line, as an error.

    Args:
        error: of typer, or of click, which typer is made of.
        commands: the names of all commands.
    """
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else "transgan"
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    message = " ".join(str(error.format_message()).split())
    if match := re.match(r"No such command '(.*?)'\.", message):
        own = commands if path == "transgan" else context.command.commands
        synonyms = SYNONYMS if path == "transgan" else {}
        return f"error: {path} has no command '{printable(match[1])}'. {suggest_command(match[1], own, synonyms)}"
    if type(error).__name__ == "NoSuchOption":
        options = [each for parameter in context.command.get_params(context) for each in parameter.opts]
        known = [each for each in options if each.startswith("--")]
        known += getattr(context.command, "further_options", [])
        name = printable(error.option_name)
        if files := [each for each in sys.argv[1:] if each.startswith(error.option_name) and os.path.lexists(each)]:
            return f"error: {path} has no option '{name}'. The file of that name is ./{printable(files[0])}"
        bare = {each.removeprefix("--"): each for each in known}  # all options are alike in their dashes
        close = closest(name.removeprefix("--"), bare)
        hint = f"Did you mean '{bare[close]}'?" if close else f"Known: {listed(sorted(known))}."
        behind = " Options of a command stand behind its name." if path == "transgan" and "Known" in hint else ""
        return f"error: {path} has no option '{name}'. {hint}{behind}"
    for pattern, words in _VALUES.items():
        message = re.sub(pattern, words, message)
    message = message[:1].lower() + message[1:].rstrip(".")
    usage = " ".join(context.get_usage().split()) if context else ""
    shown = ". " + usage if message.startswith(("missing", "got unexpected")) and usage else ""
    return f"error: {path}: {printable(message)}{shown}"


def check_words(words: Sequence[str]) -> None:
    """Check that no argument is empty: as a path, it would mean the working folder.

    Raises:
        UsageError: one is, such as a variable of the shell that is not set.
    """
    for number, word in enumerate(words, start=1):
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            where = f"argument {number} of transgan" if not word else word.rstrip("=")
            before = f" (after {printable(words[number - 2])})" if not word and number > 1 else ""
            raise UsageError(f"{where}{before} is empty; a variable of the shell may not be set")


def suggest_command(word: str, commands: Iterable[str], synonyms: Mapping[str, Sequence[str]] = SYNONYMS) -> str:
    """Return which command was probably meant; where none is near, which there are."""
    names = set(commands)
    near = closest(word.lower(), {*names, *synonyms})
    if near and near not in names:
        return f"Did you mean {' or '.join(map(repr, synonyms[near]))}?"
    return did_you_mean(near or word, names)
