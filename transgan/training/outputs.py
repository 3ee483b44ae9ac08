"""What a run writes for people and for use: the model folder and result.json."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor

from transgan import storage
from transgan.data.domains import Domains, statistics_tensors
from transgan.errors import DataError
from transgan.evaluation.conditions import ConditionEffect, effects_table
from transgan.evaluation.figures import protocol_of
from transgan.inference.model_folder import model_card, model_config
from transgan.inference.places import STATISTICS
from transgan.monitoring.advice import advise
from transgan.monitoring.guardian import Guardian
from transgan.networks import Networks, network_tensors
from transgan.plan import Plan
from transgan.reporting.result import read_result
from transgan.training.model_weights import BestWeights


def model_tensors(plan: Plan, networks: Networks, best: BestWeights, domains: Domains) -> dict[str, Tensor]:
    """Return the tensors of a model: the best weights if there are any, else those of the networks that translate."""
    tensors = best.tensors or network_tensors({name: networks[name] for name in plan.generator_side})
    return {**tensors, **statistics_tensors(domains.statistics, STATISTICS)}


def result_of(
    plan: Plan,
    domains: Domains,
    best: BestWeights,
    guardian: Guardian,
    records: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    figures: Mapping[str, Mapping[str, float]],
    effects: list[ConditionEffect],
    warnings: Iterable[str],
) -> dict[str, Any]:
    """Return the content of result.json.

    Args:
        records: those of metrics.jsonl, or the newest of them, thinned: for advice.
        steps: number of completed steps.
        figures: of each translation; empty until they are measured.
        effects: of each condition; empty until they are measured.
        warnings: of the evaluation and of what failed, beside those of the data and of conditions without effect.
    """
    return {
        "recipe": plan.recipe.name,
        "steps": steps,
        **({"kept": best.step} if best.figure else {}),
        "seed": plan.recipe.train.seed,
        "held_out": all(domain.held_out for domain in domains.values()),
        "translations": figures,
        "protocols": _protocols(plan),
        "conditions": effects_table(effects),
        "warnings": [
            *domains.warnings,
            *warnings,
            *(str(each) for each in effects if each.invisible),
        ],
        "advice": [str(each) for each in advise(records, guardian.roles, plan.recipe.guard)],
        "guard": guardian.events,
    }


def _protocols(plan: Plan) -> dict[str, str]:
    """Return the definitions of figures, without those of metrics that fail to state theirs.

    The evaluation reports these and omits their figures; the model must not be lost for them.
    """
    found: dict[str, str] = {}
    for metric in plan.metrics.values():
        with suppress(Exception):
            found |= protocol_of(metric)
    return found


def write_outputs(
    folder: storage.RunFolder,
    plan: Plan,
    domains: Domains,
    tensors: Mapping[str, Tensor],
    result: Mapping[str, Any],
    ended: bool,
) -> None:
    """Write or replace the model folder, and of a run that has ended result.json.

    Args:
        result: the content of result.json; without figures where they are not measured yet.

    Raises:
        DiskError: something cannot be written.
        UsageError: something else than a model is in the place of the model folder.
    """
    card = model_card(plan, domains, result)
    storage.write_model(folder.model, tensors, model_config(plan, result["steps"], domains), card, of_run=True)
    if ended:
        storage.write_text(folder.result, json.dumps(result, indent=2) + "\n")


def is_finished(folder: storage.RunFolder, steps: int) -> bool:
    """Return whether the run in a folder has done all of its steps, and has written its figures and an intact model.

    Raises:
        DataError: these are damaged, and there is no checkpoint of which they could be written anew.
    """
    saved = storage.saved_steps(folder.checkpoints)  # a user may have deleted them all, to save space
    try:
        result = read_result(folder.result) or {}
        if result.get("steps") != steps or not folder.model.is_dir() or (saved and saved[-1] != steps):
            return False
        return bool(storage.read_model(folder.model)[1].get("steps") == steps)
    except DataError as damage:
        if saved:
            return False
        raise DataError(
            f"{damage}; there is no checkpoint to write it anew: restore it from a copy, or train in another folder"
        ) from None
