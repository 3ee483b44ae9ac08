"""What losses demand of weights and discriminators, and learned augmentation of losses: asked of a whole plan."""

from collections.abc import Iterator

import torch

from transgan.api.protocols import Loss
from transgan.plan.build import build_network, mixes_batch
from transgan.plan.plan import Plan, Term
from transgan.recipe import Problems
from transgan.recipe.schema import Schedule

Place = tuple[str | int, ...]


def check_plan(plan: Plan, problems: Problems) -> None:
    """Adds what is wrong to the problems."""
    for name, loss in plan.losses.items():
        for place, weight in _weights(plan, name):
            _check_weight(name, loss, weight, place, problems)
    for term in plan.terms:
        _check_asked(plan, term, problems)
    _check_slopes(plan, problems)
    _check_adapt(plan, problems)


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
        with torch.device("meta"):
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
