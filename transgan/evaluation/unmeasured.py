"""What metrics need and some data or models do not have, such as labels or true translations."""

from collections.abc import Iterable

from transgan.api.protocols import Translation
from transgan.api.samples import Sample
from transgan.data.domains import Domains, counterpart_of
from transgan.data.real_samples import real_domains
from transgan.errors import DataError, MissingDataError, PluginError, UsageError
from transgan.graph import error_context, used_arguments
from transgan.plan import Plan

#: Why an argument of a metric is not there.
UNKNOWN = {
    "counterpart": "the true translations are not known",
    "reference": "this model takes no style from a reference",
    "reference_fake": "this model takes no style from a reference",
    "at_strength": "this model cannot scale its change",
}


def check_metrics(plan: Plan, domains: Domains, names: Iterable[str]) -> None:
    """Let metrics see the samples that they will measure, before anything is trained or measured.

    Raises:
        RecipeError, MissingDataError: metrics cannot measure them; each with its place in the recipe.
    """
    problems, missing = plan.problems, plan.problems.others()
    for name in names:
        place = problems.overridden(("metrics", name))
        try:
            check_metric(plan, domains, name)
        except PluginError:
            raise
        except UsageError as error:
            problems.add(place, str(error))
        except DataError as error:
            missing.add(place, str(error))
    problems.stop()
    missing.stop(MissingDataError)


def check_metric(plan: Plan, domains: Domains, name: str) -> None:
    """Let a metric see the samples that it will measure.

    Raises:
        UsageError, DataError: it cannot measure them.
    """
    metric = plan.metrics[name]
    found = real_domains(domains, plan.stages[-1].size, "cpu", read=False)
    with error_context(f"checking the data for metric '{name}'", metric):
        metric.check_domains(found, {task: each.domains for task, each in plan.recipe.tasks.items()})


def unmeasured(plan: Plan, domains: Domains) -> list[str]:
    """Return a warning for each metric that has no figure for any translation: they lack what it needs."""
    varies = {"reference": "reference", "reference_fake": "reference", "at_strength": "strength"}
    absent = {name for name, by in varies.items() if not plan.varies_by(by)}
    directions = [direction.translation for direction in plan.directions]

    def known(each: Translation) -> bool:
        samples = domains[each.source].evaluated
        return any(true is not None for true in true_translations(domains, each, samples))

    warnings = []
    for name, metric in plan.metrics.items():
        names = used_arguments(metric, metric.update)
        lacks = [each for each in names if each in absent]
        if "counterpart" in names and not any(map(known, directions)):
            lacks.append("counterpart")
        warnings += [f"metric '{name}': no figures: it needs '{each}', and {UNKNOWN[each]}" for each in lacks[:1]]
    return warnings


def true_translations(domains: Domains, translation: Translation, samples: list[Sample]) -> list[Sample | None]:
    """Return the true translation of each sample: its pair, or its counterpart where the source knows one, or None."""
    if domains.plan.recipe.tasks[translation.task].paired:
        targets = domains[translation.target].evaluated
        pairs = {targets[i].key: targets[i] for _, i in domains.pairs.held_out(translation.source, translation.target)}
        return [pairs.get(sample.key) for sample in samples]
    ends = domains.selections[translation.source], domains.selections[translation.target]
    return [counterpart_of(domains.source, sample, ends) for sample in samples]
