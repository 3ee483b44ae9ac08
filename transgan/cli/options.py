"""Options that many commands have, each defined once."""

from functools import cache
from typing import Any

import typer

from transgan.cli import completion
from transgan.cli.output import want_json
from transgan.text import set_quiet


def _quiet(value: bool) -> None:
    if value:
        set_quiet(True)


def _json(value: bool) -> bool:
    want_json(value)
    return value


#: Of every command: `add_quiet` adds it. Code asks `transgan.text.is_quiet`.
Quiet = typer.Option(
    False,
    "--quiet",
    "-q",
    help="Print only errors and the result that was asked for.",
    callback=_quiet,
    expose_value=False,
)
#: Of commands whose result is worth parsing.
Json = typer.Option(False, "--json", help="Print the result, or the error, as one JSON document.", callback=_json)

#: Of commands that run a model.
Device = typer.Option(
    None,
    "--device",
    metavar="DEVICE",
    help="cpu, cuda, cuda:1, mps; defaults to a GPU if there is one.",
    autocompletion=completion.one_of("cpu", "cuda", "mps"),
)


def add_quiet(command: Any) -> Any:
    """Give a command of typer, or every command of a group, the option `--quiet`; return it."""
    if hasattr(command, "commands"):
        for each in command.commands.values():
            add_quiet(each)
    elif not any("--quiet" in each.opts for each in command.params):
        command.params.append(_parameter())
    return command


@cache
def _parameter() -> Any:
    """Return `Quiet` as a parameter, as typer makes it."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def command(quiet: bool = Quiet) -> None: ...

    return next(each for each in typer.main.get_command(app).params if each.name == "quiet")


def examples(*lines: str) -> str:
    """Return the end of a help page: commands, each on its line."""
    return "\b\n" + "\n".join([f"Example{'s'[: len(lines) > 1]}:", *(f"  {line}" for line in lines)])
