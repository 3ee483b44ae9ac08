"""What a run writes for people and for use: the model folder, the report, and result.json."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor

from transgan import storage
from transgan.data.domains import Domains, statistics_tensors
from transgan.inference.model_folder import STATISTICS, model_card, model_config
from transgan.networks import Networks, network_tensors
from transgan.plan import Plan
from transgan.reporting.html import write_report
from transgan.training.model_weights import BestWeights


def model_tensors(plan: Plan, networks: Networks, best: BestWeights, domains: Domains) -> dict[str, Tensor]:
    """Return the tensors of a model: the best weights if there are any, else those of the networks that translate."""
    tensors = best.tensors or network_tensors({name: networks[name] for name in plan.generator_side})
    return {**tensors, **statistics_tensors(domains.statistics, STATISTICS)}


def write_outputs(
    folder: storage.RunFolder,
    plan: Plan,
    domains: Domains,
    tensors: Mapping[str, Tensor],
    result: Mapping[str, Any],
    final: bool,
) -> None:
    """Write or replace the model folder and the report; of a run that has ended, last of all result.json.

    Args:
        result: the content of result.json; without figures where they are not measured yet.

    Raises:
        DiskError: something cannot be written.
        UsageError: something else than a model is in the place of the model folder.
    """
    card = model_card(plan, domains, result)
    storage.write_model(folder.model, tensors, model_config(plan, result["steps"], domains), card)
    write_report(folder, plan.recipe.name, result, None if final else plan.recipe.train.steps)
    if final:
        storage.write_text(folder.result, json.dumps(result, indent=2) + "\n")


def is_finished(folder: storage.RunFolder, steps: int) -> bool:
    """Return whether the run in a folder has done all of its steps, and has written all of its files."""
    done = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        done = json.loads(folder.result.read_text())["steps"]
    saved = storage.saved_steps(folder.checkpoints)  # a user may have deleted them all, to save space
    return done == steps and folder.model.is_dir() and (not saved or saved[-1] == steps)
