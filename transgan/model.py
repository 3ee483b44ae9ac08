"""What a model folder says beside its weights: config.json, from which its networks are built again, and the card."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import transgan
from transgan.api.protocols import ImportedGenerator, Source
from transgan.data.domains import Domains
from transgan.errors import DataError, PluginError, RecipeError, UsageError
from transgan.plan import Plan, make_plan
from transgan.plan.directions import directions
from transgan.recipe import Document, Recipe
from transgan.recipe.problems import Problems
from transgan.registry import Registered, Registry
from transgan.runs import write_model

#: Tables of a recipe that a model needs, and what it needs of [train] and [data].
KEPT = ("version", "name", "data", "domains", "tasks", "train", "nodes", "conditionings", "generators", "encoders")
TRAIN, DATA = ("steps", "seed", "precision"), ("media", "size")
#: The source of a model's domains, which need not be found to translate.
NOWHERE = "nowhere"

LIMITS = """\
## Limits

Labels are categories of the data set that the model was trained on, not facts about people or things. What the model
shows is what its training data have in common, and no prediction about anyone. It must not be used to identify, judge
or deceive people, or to make pictures of real persons without their consent.
"""


def model_config(plan: Plan, steps: int) -> dict[str, Any]:
    """What config.json says: the recipe without what only training needs, and by whom its plugins came.

    It holds no path: of a domain it keeps the name alone.
    """
    recipe = plan.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    recipe = {key: recipe[key] for key in KEPT}
    recipe["train"] = {key: recipe["train"][key] for key in TRAIN}
    recipe["data"] = {key: recipe["data"][key] for key in DATA}
    recipe["domains"] = dict.fromkeys(recipe["domains"], True)
    for place, options in plan.filled.items():
        if place[0] in recipe and (place[0] != "data" or place[1] in DATA):
            slot = recipe
            for key in place:
                slot = slot[key]
            slot["options"] = options
    return {
        "format": 1,
        "transgan": transgan.__version__,
        "recipe": recipe,
        "plugins": plan.plugins,
        "steps": steps,
    }


def plan_of(config: Mapping[str, Any], where: str) -> Plan:
    """The plan of a model's config. Names in it are looked up among the installed plugins, and nowhere else.

    Raises:
        DataError: it is no such config.
        PluginError: a plugin that it names is not installed, or does not take its options.
    """
    if config.get("format") != 1:
        found = f"{config.get('format')!r:.40}"
        raise DataError(f"{where}: format {found} is not known; this is TransGAN {transgan.__version__}")
    registry = Registry.installed()
    registry.entries["sources", NOWHERE] = Registered("sources", NOWHERE, Source, "transgan", transgan.__version__)
    try:
        data = {**config["recipe"]["data"], "source": {"use": NOWHERE}}
        recipe = Recipe.model_validate({**config["recipe"], "data": data, "losses": {}, "phases": []})
        return make_plan(Document(recipe, where, Problems(where)), registry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{where}: not the config of a model: {place}: {first['msg']}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: not the config of a model: it lacks {error}") from None
    except RecipeError as error:
        here = {entry.package for entry in registry.entries.values()}
        absent = [package for package in config.get("plugins", {}) if package not in here]
        hint = f"; it was made with {', '.join(absent)}, not installed here" if absent else ""
        raise PluginError("; ".join(error.problems) + hint) from None


def model_card(plan: Plan, domains: Domains, result: Mapping[str, Any]) -> str:
    """What model/README.md says: what it is, from what, how good, and what it is not for."""
    source = type(domains.source)
    lines = [*_head(plan), "## Training data", "", (source.__doc__ or source.__name__).strip().splitlines()[0], ""]
    for name, domain in domains.items():
        selection = _shown(plan.recipe.domains[name])
        lines.append(f"- `{name}` = `{selection}`: {len(domain.samples)} samples, {len(domain.held_out)} held out")
    lines += ["", "## Figures", "", f"After {result['steps']} steps, seed {result['seed']}:", ""]
    for translation, figures in result["translations"].items():
        lines.append(f"- {translation}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    return "\n".join([*lines, "", LIMITS])


def import_reference(weights: Path, out: Path, source: str, target: str, size: int) -> str:
    """Makes a model folder of a generator that another program has saved; returns a line that says what it is.

    Args:
        weights: a file that the `read_weights` hook of some plugin knows.
        out: the model folder.
        source, target: what to call the domain that is translated, and the one that it becomes.
        size: the side in pixels that the generator was trained at.

    Raises:
        DataError: the file is missing, or nobody knows it.
        UsageError: `out` holds something else.
    """
    if source == target:
        raise UsageError(f"--from and --to are both '{source}'; a translation is between two domains")
    if not weights.is_file():
        raise DataError(f"{weights}: {'a folder, not a file' if weights.is_dir() else 'there is no such file'}")
    read: ImportedGenerator | None = Registry.installed().hook.read_weights(path=weights)
    if read is None:
        raise DataError(f"{weights}: no plugin knows this kind of file; expected a generator's .pth")
    if read.inputs != read.channels:
        raise DataError(
            f"{weights}: it makes {read.channels} channels of {read.inputs}; only as many as come in are known"
        )
    recipe = {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", weights.stem).lstrip("._-")[:64] or "imported",
        "data": {"size": size, "media": {"use": "image", "options": {"channels": read.channels}}},
        "domains": {source: True, target: True},
        "tasks": {"translation": {"from": source, "to": target}},
        "train": {"steps": 1},
        "generators": {"generator": {"use": read.name, "options": dict(read.options)}},
    }
    plan = plan_of({"format": 1, "recipe": recipe}, str(weights))
    (name,) = plan.networks
    tensors = {f"{name}|network.{key}": value for key, value in read.state.items()}
    card = [
        *_head(plan),
        "## Origin",
        "",
        f"Imported from `{weights.name}`, which another program has saved.",
        "",
        LIMITS,
    ]
    write_model(out, tensors, model_config(plan, 0), "\n".join(card))
    return f"{read.name}, {source} -> {target}, {sum(value.numel() for value in tensors.values()):,} numbers, in {out}"


def _head(plan: Plan) -> list[str]:
    known = directions(plan)
    return [
        f"# {plan.recipe.name}",
        "",
        f"A TransGAN model: {', '.join(str(direction.shown) for direction in known)}.",
        "",
        f"    transgan translate . PICTURE --to {known[0].shown.target} -o OUT",
        "",
    ]


def _shown(selection: Any) -> Any:
    """A domain's selection, without the folders of the machine where it was made."""
    if isinstance(selection, Mapping):
        return {key: _shown(value) for key, value in selection.items()}
    return (
        Path(selection).name if isinstance(selection, str) and Path(selection).expanduser().is_absolute() else selection
    )
