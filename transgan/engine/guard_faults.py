"""Where the guardian looks: figures of a logged step, gradients, held-out samples. Decides nothing.

`transgan.runs.faults` says what the faults are, docs/explanation/guardian.md why.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from transgan.data.domains import Domains
from transgan.engine.evaluate import batches, make, possible
from transgan.engine.networks import Networks
from transgan.plan import Plan
from transgan.plan.directions import directions
from transgan.recipe.schema import Guard
from transgan.runs.faults import Finding, Names, found, found_in

#: Gradients are compared with the median of so many looks, and of no fewer than this.
LOOKS, FEWEST = 100, 20
#: Held-out samples of a translation that are looked at, and the fewest that have a spread.
ROWS, SOME = 8, 4
#: What 8 bits keep of the range of a sample, from -1 to 1.
LEVEL = 2 / 255


def of_state(figures: Mapping[str, float], rules: Guard, names: Names) -> Iterator[Finding]:
    """What a logged step says of each translation.

    Args:
        figures: losses and figures of the state, as metrics.jsonl names them.
    """
    for where in [key.removesuffix("/state/change") for key in figures if key.endswith("/state/change")]:
        begin = f"{where}/"
        now = {key.removeprefix(begin): value for key, value in figures.items() if key.startswith(begin)}
        yield from found_in(now, where, rules, names)


def of_gradients(norms: Mapping[str, float], before: Mapping[str, Sequence[float]], rules: Guard) -> Iterator[Finding]:
    """How large each network's gradient is beside the median of those before."""
    for name, norm in norms.items():
        known = before.get(name, ())
        usual = median(known) if len(known) >= FEWEST else 0.0
        if usual:
            yield found("exploding", name, norm / usual, rules)


@torch.no_grad()
def of_held_out(plan: Plan, domains: Domains, networks: Networks, step: int, device: Any) -> Iterator[Finding]:
    """What held-out samples say of each translation after a step: whether it hides its source, and, where a training
    batch is a single sample, whether outputs have collapsed."""
    rules = plan.recipe.guard
    alone = plan.stage_at(step - 1).batch == 1 and rules.action_on("collapse") != "off"
    hides = "reconstruction" in plan.graph.functions and rules.action_on("hiding") != "off"
    for direction in directions(plan) if alone or hides else ():
        _, leaves = next(batches(plan, domains, direction, ROWS, ROWS, device))
        made, where = direction.made, str(direction.shown)
        source, target = leaves[made, "source"], leaves[made, "target"]
        fake = make(plan, networks, made, leaves, ["fake"])["fake"]
        if alone and len(fake) >= SOME and (real := _spread(target)):
            yield found("collapse", where, _spread(fake) / real, rules)
        if hides and possible(plan, made, "reconstruction"):
            clean, rough = (
                float((make(plan, networks, made, {**leaves, (made, "fake"): x}, ["reconstruction"])["reconstruction"]
                       - source).abs().mean())
                for x in (fake, degraded(fake))
            )  # fmt: skip
            yield found("hiding", where, rough / max(clean, LEVEL), rules)


def degraded(x: Tensor) -> Tensor:
    """x rounded to 8 bits, with noise of up to two levels: the same, to whoever perceives it."""
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    return ((x + 1) / LEVEL).round() * LEVEL - 1 + 2 * LEVEL * (2 * noise - 1)


def _spread(x: Tensor) -> float:
    """How samples differ: the root of the mean variance of their numbers."""
    return float(x.var(0).mean().sqrt())
