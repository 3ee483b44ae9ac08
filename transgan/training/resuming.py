"""Whether a run that goes on is the run that its newest checkpoint belongs to: its recipe, its networks, its data."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from transgan.data.domains import Domains
from transgan.errors import UsageError
from transgan.networks import Networks
from transgan.networks.tensors import network_tensors
from transgan.plan import Plan
from transgan.plugin_files import contents
from transgan.storage import RunFolder, describe_newest
from transgan.text import listed, option
from transgan.training.checkpoint import FORMAT
from transgan.training.extension import filled_table
from transgan.training.shapes import build_lazy_modules

#: What the weights have been trained for: with other values of these keys they are those of another run.
_ANOTHER_RUN = ("domains.*", "tasks.*.between", "tasks.*.from", "tasks.*.to", "attributes.*", "inputs.*", "nodes*",
                "conditionings*", "data.source.use", "data.media.use", "generators.*.use", "encoders.*.use",
                "discriminators.*.use")  # fmt: skip
#: What may differ in silence: the length of a run, which `--steps` changes, where its data lie, and what watches it.
_FREE = ("train.steps", "data.root", "hooks*", "name")
#: The tables of which networks are made.
_NETWORKS = ("generators", "encoders", "discriminators", "conditionings", "data", "losses")


def recipe_table(plan: Plan) -> dict[str, Any]:
    """Return the recipe as a checkpoint has it: with the options of plugins, and without the places of files."""
    table: dict[str, Any] = to_jsonable_python(filled_table(plan))
    del table["data"]["root"]
    return table


def check_resumed(plan: Plan, domains: Domains, folder: Path, step: int | None = None) -> list[str]:
    """Return a warning for what differs from what the newest checkpoint of a run was written with.

    Args:
        folder: the run's.
        step: that of the checkpoint that it goes on from, if it is not the newest.

    Raises:
        UsageError: it belongs to another run: its networks do not fit, or it was trained for something else.
    """
    run = RunFolder.at(folder)
    described = describe_newest(run.checkpoints, step)
    if described is None or described[0].get("format") != FORMAT:
        return []  # a new run, one that reports its damage when it is loaded, or one of an earlier version
    state, shapes = described
    changes = dict(_differing(state.get("recipe", {}), recipe_table(plan)))
    start = option("overrides", f"train.init_from={folder}")
    remedy = f"change it back in {run.recipe}, or start a new run from its weights with {start}"
    other = {key: text for key, text in changes.items() if any(fnmatch(key, each) for each in _ANOTHER_RUN)}
    fell_back = state["guardian"]["fallback_step"] >= 0 and plan.fallback
    if not other and (wrong := _unfit(fell_back or plan, shapes)):
        other = {key: text for key, text in changes.items() if key.startswith(_NETWORKS)}
        other = other or {"": f"the network '{wrong}' has other weights in its newest checkpoint"}
    files = state.get("plugin_files", {})  # an earlier version does not say
    since = f"since step {state['step']}"
    changed = [name for name, content in contents(plan.plugins).items() if files.get(name, content) != content]
    if other and changed and not changes:  # what the recipe does not say, the file does
        what = f"the plugin file {listed(changed)} has changed {since}, and {listed(other.values())}"
        raise UsageError(f"{folder}: {what}; change the file back, or start a new run from its weights with {start}")
    if other:
        also = f", and the plugin file {listed(changed)} has changed {since}" if changed else ""
        raise UsageError(
            f"{folder}: its recipe has become that of another run: {listed(other.values())}{also}; {remedy}"
        )
    warnings = []
    if changes:
        warnings.append(f"its recipe has changed since step {state['step']}: {listed(changes.values())}")
    warnings += [f"the plugin file {name} has changed {since}" for name in changed]
    for name, now in domains.fingerprints.items():
        before = now | state.get("data", {}).get(name, {})  # an earlier version says less
        if before != now:
            counts = [f"{each['training']} for training, {each['held out']} held out" for each in (before, now)]
            what = f"{counts[1]} instead of {counts[0]}" if counts[0] != counts[1] else "as many, other files"
            warnings.append(f"the samples of domain '{name}' have changed since step {state['step']}: {what}")
    return warnings


def _unfit(plan: Plan, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return a network of the plan whose tensors have other names or shapes than a checkpoint's."""
    networks = Networks(plan, "meta")
    build_lazy_modules(plan, networks)
    ours = {key: tuple(tensor.shape) for key, tensor in network_tensors(networks).items()}
    return next((key.partition("|")[0] for key in ours | dict(shapes) if ours.get(key) != shapes.get(key)), None)


def _differing(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys in which two recipes differ, each with a text that says how.

    A key that one of them lacks is not one, unless it names a slot, a domain or a task: another version of TransGAN, or
    of a plugin, has more or fewer settings.
    """
    if path and any(fnmatch(path, each) for each in _FREE):
        return
    if isinstance(before, dict) and isinstance(now, dict) and before.keys() != _KEYS:
        for key in dict.fromkeys((*before, *now)):
            inner = f"{path}.{key}".lstrip(".").replace(".options", "")
            if key in before and key in now:
                yield from _differing(before[key], now[key], inner)
            elif path in _NAMED:
                yield inner, f"{inner} is {'new' if key in now else 'gone'}"
    elif before != now:
        yield path, f"{path} = {_shown(now)} instead of {_shown(before)}"


#: The keys of a schedule, and the tables whose keys are names.
_KEYS = {"from", "to", "between", "unit", "curve", "at", "values"}
_NAMED = ("domains", "tasks", "attributes", "inputs", "generators", "encoders", "discriminators", "losses", "metrics",
          "conditionings", "augmentations")  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value.get("curve") == "constant":
        value = value["from"]
    if isinstance(value, float):
        return f"{value:g}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:40] + "..."
