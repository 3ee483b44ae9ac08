"""The commands that go on with a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from transgan.plugin_files import files_in_use
from transgan.storage import RunFolder
from transgan.text import shell_word

State = Literal["running", "finished", "stopped", "interrupted", "failed", "gone", "empty"]


def next_commands(folder: RunFolder, state: State, steps: int, recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what to do next with a run, and the commands for it.

    Args:
        steps: of the whole run.
        recipe: as TOML is read.
    """
    run = shell_word(from_here(folder.path))
    use = "".join(f" --plugin {shell_word(each)}" for each in _plugin_files(folder))
    inputs = "".join(f" --input {shell_word(each)}=FOLDER" for each in recipe.get("inputs", {}))
    tasks = [each for each in recipe.get("tasks", {}).values() if isinstance(each, dict)]
    targets = [each for task in tasks for each in (*task.get("between", [])[1:], task.get("to")) if each]
    target = shell_word(targets[0]) if targets else ""
    to = f" --to {target}" if target else ""
    translate = ("translate files", f"transgan translate {run} FILES{to}{inputs}{use}")
    if any(recipe.get("metrics", {}).values()):
        measure = ("measure it again, or with other metrics", f"transgan evaluate {run}{use}")
    else:
        measure = ("measure it", f"transgan evaluate {run} --metric METRIC{use}")
    watch = ("watch it live", f"transgan watch {run}{use}")
    compare = ("compare it with another run", f"transgan compare {run} OTHER-RUN{use}")
    if state == "running":
        return [watch, ("translate files with the newest checkpoint", translate[1]), compare]
    if state in ("finished", "stopped"):
        more = steps * 2 if state == "finished" else steps
        return [
            translate,
            measure,
            ("train on", f"transgan resume {run}{f' --steps {more}' if state == 'finished' else ''}{use}"),
            compare,
        ]
    resume = ("go on from the newest checkpoint", f"transgan resume {run}{use}")
    return [resume, ("end it here: measure the newest checkpoint", f"transgan finish {run}{use}"), translate, compare]


def _plugin_files(folder: RunFolder) -> list[str]:
    try:
        plugins = json.loads(folder.environment.read_text(encoding="utf-8"))["plugins"]
        given = {path.name: str(from_here(path)) for path in files_in_use()}  # a run knows their names alone
        return [given.get(each, each) for each in plugins if each.endswith(".py")]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # none yet, or a damaged file
        return []


def from_here(path: Path) -> Path:
    """Return a path relative to the working folder, where it is below that."""
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return path
