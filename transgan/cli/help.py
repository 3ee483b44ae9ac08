"""Help pages in words: no types of Python, no formulas, as every version of typer shows them."""

import re
from functools import partial
from typing import Any

#: What typer says of the range of an option's numbers, within the brackets behind its help.
_RANGE = re.compile(r"(?:(?P<least>-?[\d.]+)<=)?x(?:<=(?P<most>[\d.]+)|>=(?P<only>-?[\d.]+))?(?=\]$|; required\]$)")


def in_words(command: Any) -> Any:
    """Let the help of a command of typer, or of every command of a group, name arguments by words alone; return it."""
    for each in getattr(command, "commands", {}).values():
        in_words(each)
    for parameter in command.params:
        if not getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = str(parameter.name).upper()
        if parameter.param_type_name == "argument":
            parameter.get_usage_pieces = partial(_usage, parameter)
            parameter.get_help_record = partial(_argument, parameter)
        else:
            parameter.get_help_record = partial(_option, type(parameter), parameter)
    return command


def _usage(argument: Any, context: Any) -> list[str]:
    several = "..." if argument.nargs != 1 else ""
    return [f"{argument.metavar}{several}" if argument.required else f"[{argument.metavar}]{several}"]


def _argument(argument: Any, context: Any) -> tuple[str, str]:
    return argument.metavar + ("..." if argument.nargs != 1 else ""), argument.help or ""


def _option(cls: Any, option: Any, context: Any) -> tuple[str, str] | None:
    record = cls.get_help_record(option, context)
    return None if record is None else (record[0], _RANGE.sub(_range, record[1]))


def _range(match: re.Match[str]) -> str:
    if match["only"]:
        return f"at least {match['only']}"
    return f"{match['least']} to {match['most']}" if match["least"] else f"at most {match['most']}"
