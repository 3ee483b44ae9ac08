"""What is wrong with a recipe though every name in it is known: asked of the whole plan."""

from collections.abc import Iterator
from fnmatch import fnmatch

from transgan.api.protocols import Loss
from transgan.api.schedule import Schedule
from transgan.errors import did_you_mean
from transgan.graph import asks
from transgan.plan.build import build_network, mixes_batch
from transgan.plan.plan import Plan, Term, matches
from transgan.plan.shapes import shapes
from transgan.recipe import Problems, Recipe

Place = tuple[str | int, ...]


def check_plan(plan: Plan, problems: Problems) -> None:
    """Looks at a plan whose names have been looked up, with the mistakes that were found on the way.

    Raises:
        RecipeError: there are mistakes, those or others.
    """
    _check_phases(plan, problems)
    _check_balance(plan, problems)
    _check_best(plan, problems)
    problems.stop()  # what follows would only follow from those
    for name, loss in plan.losses.items():
        for place, weight in _weights(plan, name):
            _check_weight(name, loss, weight, place, problems)
    for term in plan.terms:
        _check_asked(plan, term, problems)
    _check_slopes(plan, problems)
    _check_adapt(plan, problems)
    problems.stop()


def _check_phases(plan: Plan, problems: Problems) -> None:
    usual = Recipe.model_fields["phases"].default
    for i, phase in enumerate(plan.recipe.phases):
        for key, known in (("losses", plan.losses), ("trains", plan.networks)):
            for pattern in getattr(phase, key) or ():
                if not any(fnmatch(name, pattern) for name in known):
                    problems.add(("phases", i, key), f"'{pattern}' matches none. {did_you_mean(pattern, known)}")
        if (
            not any(term.side == phase.side and matches(term.translation, phase.translations) for term in plan.terms)
            and not problems
            and plan.recipe.phases != usual  # one for each side, needed or not, whether or not that is written
        ):
            problems.add(("phases", i), f"no loss of this recipe has a term for the {phase.side} phase")


def _check_balance(plan: Plan, problems: Problems) -> None:
    place, balance, tasks = ("train", "balance"), plan.recipe.train.balance, plan.recipe.tasks
    if balance == "auto":
        asked = {"real_output", "fake_output"}
        judged = {t.translation.task for t in plan.terms if t.side == "discriminator" and asked <= {*asks(t.function)}}
        for task in [each for each in tasks if each not in judged]:
            what = "'auto' goes by how discriminators tell fakes from reals"
            problems.add(place, f"{what}; none is trained to on task '{task}'")
    elif balance != "all":
        for task in [each for each in balance if each not in tasks]:
            problems.add((*place, task), f"no task '{task}'. {did_you_mean(task, tasks)}")
        for task in [each for each in tasks if each not in balance]:
            problems.add(place, f"no share for task '{task}'; 0 leaves it out")
        for task, share in balance.items():
            if min(share.numbers) < 0:
                problems.add((*place, task), "expected a share of 0 or more")
        if not any(min(share.numbers) > 0 for share in balance.values()):
            problems.add(place, "expected a task whose share is above 0 at every moment")


def _check_best(plan: Plan, problems: Problems) -> None:
    place, evaluate = ("evaluate", "keep_best"), plan.recipe.evaluate
    known = [name for metric in plan.metrics.values() for name in metric.better]
    if evaluate.keep_best and evaluate.keep_best not in known:
        what = f"no metric of this recipe has the figure '{evaluate.keep_best}', or says whether more is better."
        problems.add(place, f"{what} {did_you_mean(evaluate.keep_best, known)}")
    elif evaluate.keep_best and not evaluate.every:
        problems.add(place, "only one model would be measured; set evaluate.every")


def _weights(plan: Plan, loss: str) -> Iterator[tuple[Place, Schedule]]:
    """A loss's weight, and those that stages give it, with their places."""
    yield ("losses", loss, "weight"), plan.recipe.losses[loss].weight
    for i, stage in enumerate(plan.recipe.stages):
        if loss in stage.losses:
            yield ("stages", i, "losses", loss), stage.losses[loss]


def _check_weight(name: str, loss: Loss, weight: Schedule, place: Place, problems: Problems) -> None:
    ends = weight.values if weight.curve == "steps" else [] if weight.to is None else [weight.to]
    if loss.lasting and any(end <= 0 for end in ends):
        problems.add(place, f"falls to {min(ends):g}; '{name}' may become small, but never vanish: end above 0")


def _check_asked(plan: Plan, term: Term, problems: Problems) -> None:
    place = ("losses", term.loss)
    asked = {"source_outputs", "reconstruction_outputs", "fake_opinion"} & set(term.asked)
    if asked and term.side == "discriminator":
        problems.add(place, f"{', '.join(sorted(asked))} can be asked for by generators' terms alone")
        return
    if asked - {"fake_opinion"} and not plan.judges_of_source(term.translation):
        why = f"no discriminator judges the way back of [{term.translation}]"
        problems.add(place, f"compares features of the source domain's discriminators, and {why}")
    if "fake_opinion" in asked and not plan.giving_opinions(term.translation):
        why = f"no discriminator of [{term.translation}] learns by vanilla, hinge or lsgan"
        problems.add(place, f"weighs samples by how real they are taken to be, and {why}")


def _check_slopes(plan: Plan, problems: Problems) -> None:
    bounded = {(t.loss, t.judge.network) for t in plan.terms if t.judge and plan.losses[t.loss].slopes}
    for name, network in sorted(bounded):
        with shapes():
            mixing = mixes_batch(build_network(plan.networks[network], 0))
        if mixing:
            message = (
                f"bounds the slope of '{network}' at each sample by itself, and its batch norm makes what it says of "
                'one sample depend on the others; choose norm = "none", "group" or "instance" there'
            )
            problems.add(("losses", name), message)


def _check_adapt(plan: Plan, problems: Problems) -> None:
    for name, slot in plan.recipe.discriminators.items():
        place = ("discriminators", name, "adapt")
        judges = [judge for each in plan.judges.values() for judge in each if judge.name == name]
        if slot.adapt and not slot.augment:
            problems.add(place, "needs augment: what is to be learned how often?")
        elif slot.adapt and not all(plan.adversary(judge.network) for judge in judges):
            problems.add(place, "no loss of its tells real from fake by a boundary; vanilla, hinge and lsgan do")
