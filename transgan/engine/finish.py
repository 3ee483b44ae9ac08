"""The end of a run: the model, its figures, the report."""

import json
from typing import TYPE_CHECKING

from transgan import runs
from transgan.engine.audit import audit, told_of
from transgan.engine.progress import Progress
from transgan.engine.saving import tensors_of
from transgan.model import MEDIA, learnt_tensors, model_card, model_config
from transgan.runs.advice import advise
from transgan.runs.report import write_report

if TYPE_CHECKING:
    from transgan.engine.run import Run


def finish(run: "Run", progress: Progress) -> None:
    """The model, its figures, the report."""
    if not run.folder:
        return
    if run.plan.metrics:
        progress.say("measuring on held-out samples")
    with run.translating() as networks:
        if run.best.figure:
            last = run.evaluation(networks, run.best.metrics)
            run.best.see(run.engine.step, last, networks.networks)
            if run.best.tensors:
                run.best.restore(networks.networks)
                progress.say(f"keeping the model of step {run.best.step}, the best by {run.best.figure}")
        figures = run.evaluation(networks) if run.plan.metrics else {}
        heeded = audit(run.plan, run.domains, networks, 16, run.processes.device)
    records, rules = runs.read_metrics(run.folder.metrics), run.plan.recipe.guard
    advice = [str(each) for each in advise(records, run.guardian.names, rules)]
    result = {
        "recipe": run.plan.recipe.name,
        "steps": run.engine.step,
        **({"kept": run.best.step} if run.best.figure else {}),
        "seed": run.plan.recipe.train.seed,
        "held_out": all(domain.held_out for domain in run.domains.values()),
        "translations": figures,
        "protocols": {k: v for metric in run.plan.metrics.values() for k, v in metric.protocol().items()},
        "conditions": told_of(heeded),
        "warnings": [str(each) for each in heeded if each.none],
        "advice": advice,
        "guard": run.guardian.events,
    }
    translating = {
        name: networks.networks[name] for name, each in run.plan.networks.items() if each.side == "generator"
    }
    config = model_config(run.plan, run.engine.step, run.domains)
    tensors = tensors_of(translating) | learnt_tensors(run.domains.learnt, MEDIA)
    runs.write_model(run.folder.model, tensors, config, model_card(run.plan, run.domains, result))
    runs.write_text(run.folder.result, json.dumps(result, indent=2) + "\n")
    write_report(run.folder, run.plan.recipe.name, result)
    for line in advice:
        progress.say(line)
    progress.result(result, run.folder)
