"""Another number of steps for a run that has begun: what that changes, and where it is written down."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transgan import storage
from transgan.errors import UsageError
from transgan.plan import Plan
from transgan.recipe import Document, Origin, Problems
from transgan.recipe.toml_lines import key_lines
from transgan.schedule import Clock, Schedule
from transgan.text import option

_KEYS = {field.alias or name for name, field in Schedule.model_fields.items()}


def with_steps(document: Document, steps: int) -> Document:
    """Return the recipe with another number of steps, and otherwise as it is."""
    recipe = document.recipe
    changed = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
    origins = {**document.problems.origins, ("train", "steps"): Origin(by=option("steps"))}
    return Document(changed, document.name, Problems(document.name, origins))


def describe_extension(old: Plan, new: Plan, step: int) -> list[str]:
    """Return what changes, a line each, where a run of the one plan goes on at `step` by the other.

    The plans differ in the number of steps alone. Schedules in `run`, and stages, are relative to the whole run: they
    are stretched, also over the steps that are done. Schedules in steps or epochs stay as they are.
    """
    before, after = old.recipe.train.steps, new.recipe.train.steps
    lines = [f"step {step}: the run has {after} steps from now on; it had {before}"]
    for name, schedule in _schedules(filled_table(new)):
        if schedule.unit == "run" and not schedule.constant:
            was, now = (schedule.at_clock(Clock(step=step, run=step / steps)) for steps in (before, after))
            where = schedule.at if schedule.curve == "steps" else schedule.between
            places = [", ".join(f"{share * steps:.6g}" for share in where) for steps in (before, after)]
            lines.append(
                f"schedule {name}: changes at steps {places[1]} instead of {places[0]}; at step {step} it is {now:g} "
                f"instead of {was:g}"
            )
    if len(old.stages) > 1:
        for i, (one, other) in enumerate(zip(old.stages, new.stages, strict=True)):
            lines.append(
                f"stage {i + 1}: steps {other.first} to {other.last} instead of {one.first} to {one.last}"
                + ("; the run goes on in it" if new.stage_at(step) is other else "")
            )
    if len(lines) == 1:
        lines.append("no schedule and no stage changes")
    return lines


def write_steps(folder: storage.RunFolder, steps: int) -> None:
    """Change the number of steps in the recipes of a run folder; everything else in them stays as it is.

    Raises:
        UsageError: the number is not on a line of its own.
        DiskError: a recipe cannot be written.
    """
    paths = [path for path in (folder.fallback, folder.recipe) if path.exists()]
    for path, text in [(path, _with_steps(path, steps)) for path in paths]:
        storage.write_text(path, text)


def _with_steps(path: Path, steps: int) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    number = key_lines("\n".join(lines)).get(("train", "steps"))
    if number is None:
        raise UsageError(f"{path}: train.steps is not written in it; add a line steps = N below [train]")
    line = number - 1
    if not re.fullmatch(r"\s*steps\s*=\s*[\d_]+\s*(#.*)?", lines[line]):
        raise UsageError(f"{path}:{line + 1}: train.steps is not on a line of its own; change it there")
    lines[line] = f"steps = {steps}  # {option('steps')}"
    return "\n".join(lines)


def filled_table(plan: Plan) -> dict[str, Any]:
    """Return the recipe as a table, with the options of plugins as they are filled in."""
    table = plan.recipe.model_dump(by_alias=True)
    for place, options in plan.filled.items():
        slot: Any = table
        for key in place:
            slot = slot.get(key) if isinstance(slot, dict) else None
        if isinstance(slot, dict) and "options" in slot:
            slot["options"] = options
    return table


def _schedules(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Schedule]]:
    """Yield the schedules in a table, with their places."""
    if isinstance(value, dict) and value.keys() == _KEYS:
        yield ".".join(path), Schedule.model_validate(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _schedules(each, path if key == "options" else (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for i, each in enumerate(value):
            yield from _schedules(each, (*path, str(i)))
