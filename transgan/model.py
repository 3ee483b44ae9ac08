"""What a model folder says beside its weights: config.json, from which its networks are built again, and the card."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

import transgan
from transgan.api.protocols import ImportedGenerator
from transgan.api.samples import Source
from transgan.data.attributes import described, middle
from transgan.data.domains import Domains
from transgan.data.draws import hashed
from transgan.errors import DataError, PluginError, RecipeError, UsageError
from transgan.plan import Plan, make_plan
from transgan.plan.directions import directions
from transgan.recipe import Document, Recipe
from transgan.recipe.problems import Problems
from transgan.registry import Registered, Registry
from transgan.runs import write_model

#: Tables of a recipe that a model needs, and what it needs of [train] and [data].
KEPT = ("version", "name", "data", "domains", "tasks", "attributes", "train", "nodes", "conditionings", "generators",
        "encoders")  # fmt: skip
TRAIN, DATA = ("steps", "seed", "precision"), ("media", "size")
#: The source of a model's domains, which need not be found to translate.
NOWHERE = "nowhere"

#: What the media has learnt stands in a model's tensors below this; no network can have the name.
MEDIA = "data.media|"

LIMITS = """\
## Limits

Labels are categories of the data set that the model was trained on, not facts about people or things. What the model
shows is what its training data have in common, and no prediction about anyone. It must not be used to identify, judge
or deceive people, or to imitate real persons without their consent.
"""


def model_config(plan: Plan, steps: int, domains: Domains | None = None) -> dict[str, Any]:
    """What config.json says: the recipe without what only training needs, and by whom its plugins came.

    It holds no folder of the machine where it was trained. Of a domain a model needs the name alone, and what
    attributes are in its middle; `evaluation` is what measuring it needs besides.
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
        "attributes": {
            name: {domain: middle(name, each.samples) for domain, each in (domains or {}).items()}
            for name in plan.recipe.attributes
        },
        "evaluation": _evaluation(plan, domains) if domains is not None else {},
    }


def _evaluation(plan: Plan, domains: Domains) -> dict[str, Any]:
    """What `transgan evaluate` goes by: the source and domains, the metrics, and which samples were trained on."""
    recipe = plan.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    data = {key: recipe["data"][key] for key in ("source", "default", "held_out") if key in recipe["data"]}
    said = {"data": data, **{key: recipe[key] for key in ("domains", "metrics", "evaluate")}}
    return {**_shown(said), "trained_on": fingerprints(domains)}


def fingerprints(domains: Domains) -> dict[str, dict[str, Any]]:
    """By which training samples are known again: how many each domain has, and a hash of their names."""
    return {
        name: {
            "samples": len(each.samples),
            "names": f"{hashed(*sorted(sample.key for sample in each.samples)):016x}",
        }
        for name, each in domains.items()
    }


def learnt_tensors(learnt: Mapping[str, Mapping[str, Tensor]], begin: str = "") -> dict[str, Tensor]:
    """What the media has learnt, by `domain|name`."""
    return {f"{begin}{domain}|{name}": value for domain, known in learnt.items() for name, value in known.items()}


def learnt_of(tensors: Mapping[str, Tensor], begin: str = "") -> dict[str, dict[str, Tensor]]:
    """The opposite of `learnt_tensors`, out of whatever else there is."""
    learnt: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(begin):
            domain, _, name = key.removeprefix(begin).partition("|")
            learnt.setdefault(domain, {})[name] = value
    return learnt


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
    lines += [f"- told `{name}`: {described(each)}" for name, each in plan.recipe.attributes.items()]
    lines += ["", source.card] if source.card else []
    measured = "held-out samples" if result.get("held_out", True) else "training samples (none were held out)"
    lines += ["", "## Figures", "", f"After {result['steps']} steps, seed {result['seed']}, on {measured}:", ""]
    lines += _table(result["translations"])
    lines += [f"- `{name}`: {protocol}" for name, protocol in result.get("protocols", {}).items()]
    for warning in (*result.get("warnings", ()), *result.get("advice", ())):
        lines.append(f"- **Note**: {warning}")
    return "\n".join([*lines, "", LIMITS])


def import_reference(weights: Path, out: Path, source: str, target: str, size: int) -> str:
    """Makes a model folder of a generator that another program has saved; returns a line that says what it is.

    Args:
        weights: a file that the `read_weights` hook of some plugin knows.
        out: the model folder.
        source, target: what to call the domain that is translated, and the one that it becomes.
        size: what the generator was trained at.

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
        f"    transgan translate . FILE --to {known[0].shown.target} -o OUT",
        "",
    ]


def _table(translations: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Figures as a Markdown table: a row a figure, a column a translation."""
    names = list(dict.fromkeys(name for figures in translations.values() for name in figures))
    rows = [["", *translations], ["---"] * (len(translations) + 1)]
    for name in names:
        shown = (figures.get(name) for figures in translations.values())
        rows.append([name, *("" if value is None else f"{value:.4g}" for value in shown)])
    return [*("| " + " | ".join(row) + " |" for row in rows), ""] if names else ["None were measured.", ""]


def _shown(selection: Any) -> Any:
    """A domain's selection, or any part of a recipe, without the folders of the machine where it was made."""
    if isinstance(selection, Mapping):
        return {key: _shown(value) for key, value in selection.items()}
    if isinstance(selection, list):
        return [_shown(each) for each in selection]
    return (
        Path(selection).name if isinstance(selection, str) and Path(selection).expanduser().is_absolute() else selection
    )
