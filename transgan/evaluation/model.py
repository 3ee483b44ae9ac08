"""Measuring a finished model: on the data and by the metrics that its config names, or on others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from transgan.data.domains import Domains
from transgan.data.unreadable import count_files, exclude_unreadable
from transgan.errors import DataError, MissingDataError, TransganError, UsageError, as_user_error
from transgan.evaluation.conditions import effects_table, measure_effects
from transgan.evaluation.evaluate import Evaluation
from transgan.evaluation.unmeasured import check_metrics
from transgan.inference.model_folder import NO_SOURCE, TABLES, fingerprints
from transgan.inference.places import ModelPlace, find_model
from transgan.inference.translator import Translator
from transgan.networks import Networks, load_network_tensors
from transgan.plan import Plan, make_plan
from transgan.plugin_errors import as_plugin_error
from transgan.progress import progress_bar
from transgan.recipe import Document, Problems, read_recipe
from transgan.recipe.diagnostics import Origin, OverrideByFlag
from transgan.recipe.of_run import read_run
from transgan.recipe.overrides import apply_overrides
from transgan.recipe.toml_lines import split_key
from transgan.recipe.upgrade import upgrade
from transgan.recipe.validate import validate
from transgan.registry import Registry
from transgan.storage import RunFolder, load, newest
from transgan.text import Blank, expand_home, listed, option

#: Tables of a recipe that say what a model is measured on.
MEASURED = ("data", "domains", "inputs", "metrics", "evaluate")


@dataclass(frozen=True)
class Measured:
    """A model's figures, and on what they were measured."""

    result: dict[str, Any]
    title: str
    """On which samples, in a few words."""
    origin: str
    """Whether the model was trained on them, as far as can be known, in a sentence."""
    omitted: Mapping[str, TransganError]
    """Metrics that have failed, and why; the warnings of the result name them."""


def measure_model(
    path: Path, root: Path | None, overrides: Sequence[str], device: str | None, step: int | None = None
) -> Measured:
    """Measure a model on held-out samples.

    Args:
        path: a model folder, the folder of a checkpoint, or a run folder, whose recipe says where its data are.
        root: the folder with the data; defaults to that of the run's recipe; a model folder records none.
        overrides: changes such as `evaluate.samples=64`, for the tables of `MEASURED`, `train.seed`,
            and options of nodes that leave the networks as they are, such as a number of passes.
        step: of a run folder, the checkpoint of this step instead of its model.

    Raises:
        DataError: there is no model, or no data.
        RecipeError: an override is invalid.
        UsageError: there is no metric, or one cannot measure these data, or it is not known where these are.
    """
    translator = Translator.from_pretrained(path, device, step)
    place = find_model(path, step)
    in_run = place.run if place.run and (place.is_checkpoint or place.run == expand_home(path)) else None
    plan = evaluation_plan(translator.config, in_run or path, root, overrides)
    if not plan.metrics:
        raise UsageError(f"{path}: no metric is left to measure it by; add one with {option('metric', Blank('NAME'))}")
    try:
        domains = Domains(plan)
    except DataError as error:
        if root:
            raise
        where = f"if the data are elsewhere now, give their folder: {option('data', Blank('FOLDER'))}"
        text = "; ".join(error.problems) if isinstance(error, MissingDataError) else str(error)
        raise DataError(f"{text.rstrip('.')}; {where}") from None
    problems = plan.problems
    asked = {name for name in plan.metrics if problems.origin(problems.overridden(("metrics", name))).override}
    check_metrics(plan, domains, asked)  # of those of the run, what cannot be measured any more is omitted
    with progress_bar("reading the data", count_files(domains)) as seen:
        exclude_unreadable(domains, seen)
    domains.statistics.update(translator.statistics)
    networks = Networks(plan, translator.device, translator.networks)
    known = translator.config.get("evaluation", {}).get("trained_on", {})
    title, origin = _origin(domains, known)
    effects = measure_effects(plan, domains, networks, 16, translator.device, translator.clock)
    registry, omitted = Registry.installed(), dict[str, TransganError]()

    def failed(name: str, error: Exception) -> None:
        known = as_user_error(error) or as_plugin_error(error, registry)
        if known is None or (isinstance(error, UsageError) and name in asked):  # of ours, or of what was asked for
            raise error
        omitted[name] = known

    evaluation = Evaluation(plan, domains, translator.device, failed)
    if in_run:
        evaluation.discriminators = cache(partial(_networks_of_training, in_run, place, translator.device))
    with progress_bar("measuring", evaluation.count) as evaluation.seen:
        figures = evaluation(networks, translator.clock)
    result = {
        "model": plan.recipe.name,
        "steps": translator.config.get("steps"),
        "seed": plan.recipe.train.seed,
        "data": str(root) if root else plan.recipe.data.root,
        "held_out": all(domain.held_out for domain in domains.values()),
        "origin": origin,
        "samples": {name: min(len(domain.evaluated), plan.recipe.evaluate.samples) for name, domain in domains.items()},
        "translations": figures,
        "conditions": effects_table(effects),
        "warnings": [
            *domains.warnings,
            *(f"metric '{name}' is omitted: {why}" for name, why in omitted.items()),
            *evaluation.warnings,
            *(str(each) for each in effects if each.invisible),
        ],
    }
    return Measured(result, title, origin, omitted)


def _networks_of_training(run: Path, place: ModelPlace, device: torch.device) -> Networks | None:
    """Return the networks with which a model was trained, from its checkpoint, or the newest one of its run.

    None where there is no checkpoint, or an earlier version has written it: figures that need them are then omitted.
    """
    checkpoint = load(place.folder) if place.is_checkpoint else newest(RunFolder.at(run).checkpoints)[0]
    plan = make_plan(read_run(run), Registry.installed())
    tensors = {} if checkpoint is None else checkpoint.groups.get("networks", {})
    if {key.partition("|")[0] for key in tensors} != set(plan.networks):
        return None
    networks = Networks(plan, device)
    load_network_tensors(networks, tensors)
    return networks


def evaluation_plan(config: Mapping[str, Any], path: Path, root: Path | None, overrides: Sequence[str]) -> Plan:
    """Return a plan of the model's networks, with the domains and metrics of its training, or those of overrides."""
    path = expand_home(path)
    run = path / "recipe.toml"
    if run.is_file():
        name, evaluation = str(run), _measured_tables(read_recipe(run))
    else:
        name, evaluation = str(path / "config.json"), dict(config.get("evaluation", {}))
    table = {key: config["recipe"][key] for key in TABLES if key in config["recipe"]}
    table |= {key: evaluation[key] for key in MEASURED if key in evaluation and key != "data"}
    table["data"] = {**evaluation.get("data", {"source": NO_SOURCE}), **table["data"]}
    table = _short({**upgrade(table), "losses": {}, "phases": []})
    problems = Problems(name)
    apply_overrides(table, overrides, problems)
    if root is not None and isinstance(table["data"], dict):  # after overrides, of which one may set all of the data
        table["data"]["root"] = str(root)
        given = OverrideByFlag(f"data.root={root}", option("data", root))
        problems.origins["data", "root"] = Origin(override=given, sets=("data", "root"))
    if isinstance(table["data"], dict) and table["data"].get("source") in (NO_SOURCE, {"use": NO_SOURCE}):
        wanted = option("overrides", {"data.source": "folders", "domains.X": Blank("...")})
        raise UsageError(f"{name}: does not say what data the model is for; give {wanted}")
    recipe = validate(table, problems)
    problems.stop()
    keys_of = {override: (split_key(override) or ([""], ""))[0] for override in overrides}
    for override, keys in keys_of.items():
        if keys[0] not in (*MEASURED, "nodes") and keys != ["train", "seed"]:
            known = listed([*MEASURED, "nodes", "and train.seed"])
            problems.add_override(override, f"changes nothing that is measured; expected keys of {known}")
    problems.stop()
    assert recipe is not None
    plan = make_plan(Document(recipe, name, problems), Registry.installed())
    own = not any(keys[0] == "domains" or keys in (["data"], ["data", "source"]) for keys in keys_of.values())
    if own and recipe.data.root is None and plan.sources[0].reads_root and not run.is_file():
        # Folders of the same names may be where the command runs, and have nothing to do with the model.
        of_run = "; or give the folder of its run, whose recipe names it" if (path.parent / run.name).is_file() else ""
        raise UsageError(
            f"{name}: a model does not record where its data are; give their folder: "
            f"{option('data', Blank('FOLDER'))}{of_run}"
        )
    return plan


def _measured_tables(document: Document) -> dict[str, Any]:
    recipe = document.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: recipe[key] for key in MEASURED}


def _short(table: Any) -> Any:
    """Return slots in the short form of recipes: options beside the name of the plugin."""
    if not isinstance(table, dict):
        return table
    short = {key: _short(value) for key, value in table.items()}
    if isinstance(short.get("use"), str) and isinstance(short.get("options"), dict):
        return {**{key: value for key, value in short.items() if key != "options"}, **short["options"]}
    return short


def _origin(domains: Domains, known: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the samples are, and whether the model was trained on them."""
    absent = [name for name, domain in domains.items() if not domain.held_out]
    if absent:
        return (
            "samples that were not held out",
            f"nothing is held out of {', '.join(absent)}: the model may have been trained on what is measured here",
        )
    same = [name for name in domains if known.get(name) == fingerprints(domains)[name]]
    if len(same) == len(domains):
        return (
            "held-out samples",
            "held out: of the data that the model was trained on, samples that it was not trained on",
        )
    if not known:
        return (
            "held-out samples",
            "the model does not record what it was trained on; it may have seen some of these samples",
        )
    return (
        "held-out samples of other data",
        "other data than the model was trained on (names differ), of which the usual share is measured; a name that "
        "is held out here was held out in training too, if the same share was",
    )
