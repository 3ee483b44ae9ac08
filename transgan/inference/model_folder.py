"""Model folders, beside their weights: config.json, from which the networks are rebuilt, and the model card."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

import transgan
from transgan.api.labels import is_range
from transgan.api.protocols import ImportedGenerator
from transgan.api.samples import Sample, Source
from transgan.data.attributes import describe_attribute, typical_label
from transgan.data.batches import clock_at
from transgan.data.domains import Domains
from transgan.errors import DataError, PluginError, RecipeError, TransganError, UsageError
from transgan.inference.places import check_import
from transgan.plan import Plan, make_plan
from transgan.plugin_errors import in_one_line
from transgan.plugin_files import contents
from transgan.recipe import Document, Recipe
from transgan.recipe.diagnostics import Problems
from transgan.recipe.schema import MAX_STEPS
from transgan.recipe.upgrade import upgrade
from transgan.recipe.write import value_in_toml
from transgan.registry import Registered, Registry
from transgan.rng import stable_hash
from transgan.schedule import Clock
from transgan.storage import write_model
from transgan.text import expand_home, listed, option, printable

#: Tables of a recipe that a model needs, and the keys of [train] and [data] that it needs.
TABLES = ("version", "name", "data", "domains", "tasks", "inputs", "attributes", "train", "nodes", "conditionings",
          "generators", "encoders")  # fmt: skip
TRAIN, DATA = ("steps", "seed", "precision"), ("media", "size")
#: The source of a model's domains: translating needs none.
NO_SOURCE = "nowhere"

LIMITS = """\
## Limits

Labels are categories of the data set that the model was trained on, not facts about people or things. What the model
shows is what its training data have in common, and no prediction about anyone. It must not be used to identify, judge
or deceive people, or to imitate real persons without their consent.
"""


class _NoSource(Source):
    """The source of a model's domains, which has no samples."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        raise UsageError("a model has no samples")


#: Largest number of problems of a config that a message names.
MAX_PROBLEMS = 5


class _Evaluation(BaseModel):
    """What `transgan evaluate` reads of a config."""

    model_config = ConfigDict(strict=True)

    data: dict[str, Any] = {}
    domains: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    trained_on: dict[str, Any] = {}


class _Config(BaseModel):
    """The form of config.json, which may come from a stranger: checked before anything in it is used."""

    model_config = ConfigDict(strict=True)

    transgan: str = Field("", max_length=100)
    recipe: dict[str, Any]
    plugins: dict[str, str] = Field({}, max_length=100)
    plugin_files: dict[str, str] = Field({}, max_length=100)
    steps: int = Field(0, ge=0, le=MAX_STEPS)
    evaluation: _Evaluation = _Evaluation()


def model_config(plan: Plan, steps: int, domains: Domains | None = None) -> dict[str, Any]:
    """Return config.json: the recipe without what only training needs, and the packages of its plugins.

    It holds no path of the machine where the model was trained. Of a domain a model needs the name and the typical
    values of attributes; `evaluation` is what measuring the model needs besides, `discriminators` says what the
    weights of those in a checkpoint are for, and `regions` how region detectors are to cut out what it translates.
    """
    recipe = plan.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    recipe = {key: recipe[key] for key in TABLES}
    recipe["train"] = {key: recipe["train"][key] for key in TRAIN}
    recipe["data"] = {key: recipe["data"][key] for key in DATA}
    conditions = plan.stage_conditions(Clock(step=steps), training=False)
    own = [plan.networks[name] for name in plan.generator_side]
    if taken := {name: value for name, value in conditions.items() if any(each.takes(name) for each in own)}:
        recipe["stages"] = [{"share": 1.0, "conditions": taken}]
    own_media = {place[1] for place in plan.filled if place[0] == "domains"}
    recipe["domains"] = {
        name: {"media": {"use": plan.media[name].use, "options": {}}} if name in own_media else True
        for name in recipe["domains"]
    }
    for name, each in plan.recipe.inputs.items():
        media = {domain: plan.input_media[f"{domain}.{name}"].use for domain in each.domains}
        filled = {domain: {"media": {"use": use, "options": {}}} for domain, use in media.items()}
        recipe["inputs"][name] = {"domains": filled}
    _fill(recipe, plan)
    return {
        "format": 1,
        "transgan": transgan.__version__,
        "recipe": recipe,
        "plugins": plan.plugins,
        **({"plugin_files": files} if (files := contents(plan.plugins)) else {}),
        "steps": steps,
        "discriminators": _slots(plan, "discriminators"),
        "epoch": round(clock_at(plan, domains, steps).epoch, 4) if domains is not None else 0.0,
        "attributes": {
            name: {domain: typical_label(attribute, name, each.samples) for domain, each in (domains or {}).items()}
            for name, attribute in plan.recipe.attributes.items()
        },
        "evaluation": _evaluation(plan, domains) if domains is not None else {},
        "regions": domains.source.regions if domains is not None else {},
    }


def _evaluation(plan: Plan, domains: Domains) -> dict[str, Any]:
    """Return what `transgan evaluate` needs: source and domains, metrics, and which samples were trained on."""
    recipe = plan.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    data = {key: recipe["data"][key] for key in ("source", "default", "held_out") if key in recipe["data"]}
    tables = {"data": data, **{key: recipe[key] for key in ("domains", "inputs", "metrics", "evaluate")}}
    _fill(tables, plan)
    return {**_without_paths(tables), "trained_on": fingerprints(domains)}


def _fill(tables: dict[str, Any], plan: Plan) -> None:
    """Give the slots of these tables their plugins' options with all defaults, as a resumed run finds them too."""
    for place, options in plan.filled.items():
        slot: Any = tables
        for key in place:
            slot = slot.get(key) if isinstance(slot, dict) else None
        if isinstance(slot, dict) and "options" in slot:
            slot["options"] = to_jsonable_python(options)


def fingerprints(domains: Domains) -> dict[str, dict[str, Any]]:
    """Return, to recognise training samples later, how many each domain has, and a hash of their keys."""
    return {
        name: {
            "samples": len(each.samples),
            "names": f"{stable_hash(*sorted(sample.key for sample in each.samples)):016x}",
        }
        for name, each in domains.items()
    }


def plan_of(config: Mapping[str, Any], where: str) -> Plan:
    """Return the plan of a model's config. Its names are looked up among the installed plugins, and nowhere else.

    Args:
        where: the file, for messages.

    Raises:
        DataError: it is not the config of a model.
        PluginError: a plugin that it names is not installed, or does not take its options.
    """
    if "format" not in config:
        raise DataError(
            f"{where}: not the config of a model, since it has no key 'format'; expected that of a folder `model` as a "
            "run writes it"
        )
    if config["format"] != 1:
        raise DataError(
            f"{where}: format {config['format']!r:.40} is unknown to TransGAN {transgan.__version__}, which reads "
            "format 1; a newer version may"
        )
    registry = Registry.installed()
    registry.entries["sources", NO_SOURCE] = Registered(
        "sources", NO_SOURCE, _NoSource, "transgan", transgan.__version__
    )
    try:
        _Config.model_validate(config)
        table = upgrade(config["recipe"])
        data = {**table["data"], "source": {"use": NO_SOURCE}}
        recipe = Recipe.model_validate({**table, "data": data, "losses": {}, "phases": []})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{where}: not the config of a model: {place}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: not the config of a model: it lacks {error}") from None
    try:
        return make_plan(Document(recipe, where, Problems(where)), registry)
    except RecipeError as error:
        here = {entry.package for entry in registry.candidates()}
        absent = [package for package in config.get("plugins", {}) if package not in here]
        hint = f"; it was made with {listed(absent)}, not installed here" if absent else ""
        if files := registry.absent_files(config.get("plugins", {})):
            hint += f"; give it the file again: {option('plugins', files)}"
        rest = len(error.problems) - MAX_PROBLEMS
        problems: list[str] = [*error.problems[:MAX_PROBLEMS]]
        problems += [f"and {rest} more problems"] if rest > 0 else []
        raise PluginError("; ".join(problems) + hint) from None
    except TransganError:
        raise
    except Exception as error:  # a plugin may raise anything where a stranger's options reach it
        raise DataError(f"{where}: its networks cannot be built: {in_one_line(error)}") from error


def model_card(plan: Plan, domains: Domains, result: Mapping[str, Any]) -> str:
    """Return the model card, README.md: what the model is, its data and figures, and what it is not for."""
    source = type(domains.source)
    lines = [*_head(plan), "## Training data", "", (source.__doc__ or source.__name__).strip().splitlines()[0], ""]
    lines += ["| domain | its samples | trained on | held out |", "| --- | --- | --- | --- |"]
    for name, domain in domains.items():
        selection = _cell(_in_words(_without_paths(plan.recipe.domains[name])))
        lines.append(f"| {_cell(name)} | {selection} | {len(domain.samples):,} | {len(domain.held_out):,} |")
    lines += [""] if plan.recipe.attributes else []
    lines += [f"- conditioned on `{name}`: {describe_attribute(each)}" for name, each in plan.recipe.attributes.items()]
    lines += ["", source.card] if source.card else []
    lines += ["", "## Training", "", "Its constants, as a recipe has them:", "", "```toml", *_training(plan), "```"]
    measured = "held-out samples" if result.get("held_out", True) else "training samples (none were held out)"
    lines += ["", "## Figures", "", f"After {result['steps']} steps, seed {result['seed']}, on {measured}:", ""]
    lines += _table(result["translations"])
    lines += [f"- `{name}`: {protocol}" for name, protocol in result.get("protocols", {}).items()]
    for warning in (*result.get("warnings", ()), *result.get("advice", ())):
        lines.append(f"- **Note**: {warning}")
    return "\n".join([*lines, "", LIMITS])


def _in_words(selection: Any) -> str:
    """Return which samples a domain has: `age 20 to 30; race White` of `{ age = [20, 30], race = "White" }`."""
    if selection is True:
        return "all"
    if not isinstance(selection, Mapping):
        return str(selection)
    return "; ".join(f"{name} {_value_in_words(value)}" for name, value in selection.items())


def _value_in_words(value: Any) -> str:
    if is_range(value):
        return f"{value[0]:g} to {value[1]:g}"
    if isinstance(value, list):
        return " or ".join(map(_value_in_words, value))
    if isinstance(value, Mapping):
        return f"({_in_words(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    """Return a text as the cell of a Markdown table."""
    return printable(text).replace("|", "\\|")


def _slots(plan: Plan, kind: str) -> dict[str, Any]:
    """Return a table of slots without paths, with all options of plugins."""
    tables = {kind: plan.recipe.model_dump(mode="json", by_alias=True, include={kind})[kind]}
    _fill(tables, plan)
    slots: dict[str, Any] = _without_paths(tables[kind])
    return slots


def _training(plan: Plan) -> Iterator[str]:
    """Yield what trained the model and is not in its config: optimizers, discriminators and losses, as TOML."""
    train = plan.recipe.train.model_dump(mode="json", include={"steps", "batch", "seed", "precision"})
    yield f"train = {value_in_toml(train)}"
    for kind in ("optimizers", "discriminators", "losses"):
        for name, each in _slots(plan, kind).items():
            options = each.pop("options", {})
            yield f"{kind}.{name} = {value_in_toml({**each, **options})}"


def import_reference(weights: Path, out: Path, source: str, target: str, size: int) -> str:
    """Write a model folder from a generator that another program has saved; return a line that says what it is.

    Args:
        weights: a file that the `import_generator` hook of some plugin knows.
        out: the model folder.
        source, target: names of the domain that is translated, and of the one that it becomes.
        size: the size that the generator was trained at.

    Raises:
        DataError: the file is missing, or no plugin knows it.
        UsageError: `out` holds something else.
    """
    check_import(weights, out, source, target)
    registry = Registry.installed()
    read: ImportedGenerator | None = registry.import_generator(weights)
    if read is None:
        why = f"no plugin knows this kind of file; expected a generator's .pth.{registry.not_loaded}"
        raise DataError(f"{weights}: {why.removesuffix('.')}")
    if read.inputs != read.channels:
        raise DataError(f"{weights}: it turns {read.inputs} channels into {read.channels}; expected the same number")
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
    file = printable(weights.name).replace("`", "'")
    card = [
        *_head(plan),
        "## Origin",
        "",
        f"Imported from `{file}`, which another program has saved.",
        "",
        LIMITS,
    ]
    write_model(out, tensors, model_config(plan, 0), "\n".join(card))
    return f"{read.name}, {source} -> {target}, {sum(value.numel() for value in tensors.values()):,} numbers, in {out}"


def _head(plan: Plan) -> list[str]:
    known = plan.directions
    return [
        f"# {plan.recipe.name}",
        "",
        f"A TransGAN model: {', '.join(str(direction.translation) for direction in known)}.",
        "",
        f"    transgan translate . FILE --to {known[0].translation.target} -o OUT",
        "",
    ]


def _table(translations: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return figures as a Markdown table: a row for each figure, a column for each translation."""
    names = list(dict.fromkeys(name for figures in translations.values() for name in figures))
    rows = [["", *translations], ["---"] * (len(translations) + 1)]
    for name in names:
        values = (figures.get(name) for figures in translations.values())
        rows.append([name, *("" if value is None else f"{value:.4g}" for value in values)])
    return [*("| " + " | ".join(row) + " |" for row in rows), ""] if names else ["None were measured.", ""]


def _without_paths(selection: Any) -> Any:
    """Return any part of a recipe without paths of the machine where it was written: their last part is left."""
    if isinstance(selection, Mapping):
        return {key: _without_paths(value) for key, value in selection.items()}
    if isinstance(selection, list):
        return [_without_paths(each) for each in selection]
    return Path(selection).name if isinstance(selection, str) and expand_home(selection).is_absolute() else selection
