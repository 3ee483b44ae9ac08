"""How messages that name arguments name them on the command line: as its flags. See `transgan.text.option`."""

from collections.abc import Mapping
from typing import Any

from transgan.text import Blank

#: Flags with another name than the argument.
_NAMES = {
    "attributes": "with",
    "from_step": "from",
    "inputs": "input",
    "media_options": "set",
    "options": "set",
    "overrides": "set",
    "plugins": "plugin",
    "source": "from",
    "target": "to",
}
#: What stands before the keys of a table of options.
_PREFIXES = {"media_options": "media."}


def as_flag(name: str, *value: Any) -> str:
    """Return an option as a flag, with its value: `--native`, `--device cpu`, `--with age=50`."""
    flag = f"--{_NAMES.get(name, name).replace('_', '-')}"
    if not value or value[0] is True:
        return flag
    (given,) = value
    if name == "regions":
        return f"--{given}"
    if isinstance(given, (list, tuple)):
        return " ".join(f"{flag} {each}" for each in given)
    if name == "inputs" and isinstance(given, Mapping):
        given = {key: "FOLDER" if isinstance(each, Blank) else each for key, each in given.items()}  # of all files
    if isinstance(given, Mapping):
        return " ".join(f"{flag} {_PREFIXES.get(name, '')}{key}={each}" for key, each in given.items())
    return f"{flag} {given:g}" if isinstance(given, float) else f"{flag} {given}"
