"""Detecting faults: in the figures of a logged step, in gradients, in held-out samples. Decides nothing.

`transgan.monitoring.faults` defines the faults, docs/explanation/guardian.md gives the reasons.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from transgan.api.scores import area_under_curve
from transgan.data.batches import clock_at
from transgan.data.domains import Domains
from transgan.evaluation.adversarial import discriminator_scores
from transgan.evaluation.evaluate import held_out_batches
from transgan.monitoring.faults import Finding, LossRoles, compare_with_limit, findings_of
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.plan.plan import is_adversarial
from transgan.recipe.schema import Guard

#: A gradient is compared with the median of the newest N, if there are at least that many.
WINDOW, FEWEST = 100, 20
#: Held-out samples of a translation that are translated, and the fewest with a meaningful standard deviation.
ROWS, SOME = 8, 4
#: Held-out samples whose scores are compared, the fewest that say something, and how many standard deviations above
#: chance they are separated.
SCORED, ENOUGH, CLEARLY = 32, 8, 2.5
#: The step of 8-bit values in the range of a sample, from -1 to 1.
LEVEL = 2 / 255


def in_diagnostics(figures: Mapping[str, float], rules: Guard, roles: LossRoles) -> Iterator[Finding]:
    """Yield what a logged step shows of each translation.

    Args:
        figures: losses and diagnostics, as metrics.jsonl names them.
    """
    suffix = "/diagnostics/change"
    for where in [key.removesuffix(suffix) for key in figures if key.endswith(suffix)]:
        begin = f"{where}/"
        mine = {key.removeprefix(begin): value for key, value in figures.items() if key.startswith(begin)}
        yield from findings_of(mine, where, rules, roles)


def in_gradients(norms: Mapping[str, float], before: Mapping[str, Sequence[float]], rules: Guard) -> Iterator[Finding]:
    """Yield how large each network's gradient is beside the median of those before."""
    for name, norm in norms.items():
        known = before.get(name, ())
        usual = median(known) if len(known) >= FEWEST else 0.0
        if usual:
            yield compare_with_limit("exploding", name, norm / usual, rules)


@torch.no_grad()
def in_held_out(
    plan: Plan,
    domains: Domains,
    networks: Networks,
    step: int,
    device: Any,
    discriminators: Networks | None = None,
    separated: Collection[str] = (),
) -> Iterator[Finding]:
    """Yield what held-out samples show of each translation after a step: whether it hides its source in noise; where a
    training batch is a single sample, whether its outputs have collapsed; and whether discriminators have learnt
    anything.

    Args:
        networks: those that translate.
        discriminators: those of the training; defaults to `networks`.
        separated: translations whose discriminators have already distinguished real from fake, and are not asked again.
    """
    rules = plan.recipe.guard
    if rules.action_on("discriminator_blind") != "off":
        yield from _separation(plan, domains, networks, step, device, discriminators or networks, separated)
    single = plan.stage_at(step - 1).batch == 1 and rules.action_on("collapse") != "off"
    hiding = "reconstruction" in plan.graph.functions and rules.action_on("hiding") != "off"
    for direction in plan.directions if single or hiding else ():
        _, inputs = next(held_out_batches(plan, domains, direction, ROWS, ROWS, device, clock_at(plan, domains, step)))
        planned, where = direction.planned, str(direction.translation)
        source, target = inputs[planned, "source"], inputs[planned, "target"]
        fake = networks.compute(inputs, planned, ["fake"])["fake"]
        if single and len(fake) >= SOME and (real := _spread(target)):
            yield compare_with_limit("collapse", where, _spread(fake) / real, rules)
        if hiding and networks.can_compute(planned, "reconstruction"):
            clean, rough = (
                float((_reconstruction(networks, inputs, planned, x) - source).abs().mean())
                for x in (fake, degrade(fake))
            )
            yield compare_with_limit("hiding", where, rough / max(clean, LEVEL), rules)


def _separation(
    plan: Plan,
    domains: Domains,
    networks: Networks,
    step: int,
    device: Any,
    discriminators: Networks,
    separated: Collection[str],
) -> Iterator[Finding]:
    """Yield how well each translation's discriminators rank held-out real samples above translations: the best of them.

    A finding is `clear` where that is far above what chance gives for so few samples.
    """
    trained = {
        (term.translation, term.discriminator)
        for term in plan.terms
        if term.side == "discriminator" and is_adversarial(plan.losses[term.loss])
    }
    learning = {name for phase in plan.stage_at(step - 1).phases for name in plan.trained(phase)}
    for direction in plan.directions:
        planned, where = direction.planned, str(direction.translation)
        uses = [each for each in plan.discriminators.get(planned, []) if (planned, each) in trained]
        uses = [each for each in uses if each.fake == "fake" and each.network in discriminators]
        uses = [each for each in uses if each.network in learning]  # some stages train no discriminator
        if where in separated or not uses:
            continue
        scores: dict[str, tuple[list[Tensor], list[Tensor]]] = {use.name: ([], []) for use in uses}
        clock = clock_at(plan, domains, step)
        for _, inputs in held_out_batches(plan, domains, direction, ROWS, SCORED, device, clock):
            fake = networks.compute(inputs, planned, ["fake"])["fake"]
            with discriminators.evaluating():
                for use in uses:
                    real = networks.compute(inputs, planned, [use.real])[use.real]
                    for found, x in zip(scores[use.name], (real, fake), strict=True):
                        found.append(discriminator_scores(discriminators, inputs, planned, use, x))
        counts = {len(torch.cat(found)) for pair in scores.values() for found in pair}
        if min(counts) >= ENOUGH:
            best = max(area_under_curve(torch.cat(real), torch.cat(fake)) for real, fake in scores.values())
            chance = ((2 * min(counts) + 1) / 12) ** 0.5 / min(counts)
            finding = compare_with_limit("discriminator_blind", where, best, plan.recipe.guard)
            yield replace(finding, clear=best > min(0.5 + CLEARLY * chance, 0.95))


def _reconstruction(networks: Networks, inputs: Mapping[Any, Any], planned: Any, fake: Tensor) -> Tensor:
    reconstruction: Tensor = networks.compute({**inputs, (planned, "fake"): fake}, planned, ["reconstruction"])[
        "reconstruction"
    ]
    return reconstruction


def degrade(x: Tensor) -> Tensor:
    """Return x rounded to 8 bits, with noise of up to two levels: a difference that nobody perceives."""
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    return ((x + 1) / LEVEL).round() * LEVEL - 1 + 2 * LEVEL * (2 * noise - 1)


def _spread(x: Tensor) -> float:
    """Return how samples differ: the root of the mean variance of their numbers."""
    return float(x.var(0).mean().sqrt())
