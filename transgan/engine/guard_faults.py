"""How faults of a run are known: each a figure of one translation or network, and whether it is bad. Decides nothing.

docs/explanation/guardian.md has the definitions with their reasons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from transgan.data.domains import Domains
from transgan.engine.evaluate import batches, make, possible
from transgan.engine.networks import Networks
from transgan.plan import Plan
from transgan.plan.directions import directions
from transgan.recipe.schema import Fault, Guard
from transgan.runs.advice import Names

#: A discriminator has next to nothing to learn when its loss is below this share of the generator's.
FLOOR = 0.05
#: Gradients are compared with the median of so many looks, and of no fewer than this.
LOOKS, FEWEST = 100, 20
#: Held-out samples of a translation that are looked at, and the fewest that have a spread.
ROWS, SOME = 8, 4
#: What a picture of 8 bits keeps of the range of a sample, from -1 to 1.
LEVEL = 2 / 255

#: What each fault means, with the figure and the limit, and what helps.
WORDS: Mapping[Fault, str] = {
    "collapse": (
        "outputs have collapsed: among each other they differ by {figure:.1%} of what real samples of the target do "
        "(expected above {limit:.0%}). Lower the learning rates, raise the weight of a cycle loss, or show the "
        "discriminators older fakes (history = 50)"
    ),
    "copying": (
        "the generator copies its input: it changes it by {figure:.2%} of how samples of the two domains differ "
        "(expected above {limit:.0%}). Lower the weights of the cycle and identity losses, or choose an output that "
        "cannot close"
    ),
    "discriminator_wins": (
        "the discriminator has won: it puts {figure:.1%} of real samples above fakes (expected below {limit:.0%}) and "
        "has next to nothing to learn. Lower its learning rate, train it less often, or make it smaller"
    ),
    "hiding": (
        "the translation hides its source in noise: rounded to 8 bits with a little noise, it is translated back with "
        "{figure:.1f} times the error (expected below {limit:.0f}). Lower the weight of the cycle loss, or let it fall "
        "in the course of the run"
    ),
    "exploding": (
        "the gradient explodes: its norm is {figure:.0f} times its median (expected below {limit:.0f}). Set "
        "train.clip, or lower the learning rates"
    ),
    "not_finite": (
        "{figure:.0f} of the newest 1000 steps were skipped, since a loss or a gradient was not finite (expected "
        "{limit:.0f} at most). Lower the learning rates ([optimizers]), or set train.clip"
    ),
}


@dataclass(frozen=True)
class Finding:
    """A figure that a fault is known by, of one translation or network."""

    fault: Fault
    where: str
    figure: float
    bad: bool

    @property
    def key(self) -> str:
        return f"{self.fault}/{self.where}"


def of_state(figures: Mapping[str, float], rules: Guard, names: Names) -> Iterator[Finding]:
    """What a logged step says of each translation.

    Args:
        figures: losses and figures of the state, as metrics.jsonl names them.
    """
    for where in [key.removesuffix("/state/change") for key in figures if key.endswith("/state/change")]:
        now = {key.removeprefix(f"{where}/"): value for key, value in figures.items() if key.startswith(f"{where}/")}
        real, distance = now.get("state/spread_of_target"), now.get("state/distance")
        if real:
            yield _below("collapse", where, now["state/spread"] / real, rules.collapse)
        if distance:
            yield _below("copying", where, now["state/change"] / distance, rules.copying)
        judge, generator = (
            sum(now.get(f"{side}/{name}", float("nan")) for name in names.adversarial)
            for side in ("discriminator", "generator")
        )
        if names.adversarial and "state/recognised" in now:
            figure = now["state/recognised"]
            idle = 0 <= judge < FLOOR * generator
            yield Finding("discriminator_wins", where, figure, idle and figure > rules.discriminator_wins)


def of_gradients(norms: Mapping[str, float], before: Mapping[str, Sequence[float]], rules: Guard) -> Iterator[Finding]:
    """How large each network's gradient is beside the median of those before."""
    for name, norm in norms.items():
        known = before.get(name, ())
        usual = median(known) if len(known) >= FEWEST else 0.0
        if usual:
            figure = norm / usual
            yield Finding("exploding", name, figure, figure > rules.exploding)


@torch.no_grad()
def of_held_out(plan: Plan, domains: Domains, networks: Networks, device: Any) -> Iterator[Finding]:
    """What held-out samples say of each translation: whether it hides its source, and, where a training batch is a
    single sample, whether outputs have collapsed."""
    rules = plan.recipe.guard
    for direction in directions(plan):
        _, leaves = next(batches(plan, domains, direction, ROWS, ROWS, device))
        made, where = direction.made, str(direction.shown)
        source, target = leaves[made, "source"], leaves[made, "target"]
        fake = make(plan, networks, made, leaves, ["fake"])["fake"]
        if plan.stages[-1].batch == 1 and len(fake) >= SOME and (real := _spread(target)):
            yield _below("collapse", where, _spread(fake) / real, rules.collapse)
        if possible(plan, made, "reconstruction") and "reconstruction" in plan.graph.functions:
            clean, rough = (
                float((make(plan, networks, made, {**leaves, (made, "fake"): x}, ["reconstruction"])["reconstruction"]
                       - source).abs().mean())
                for x in (fake, degraded(fake))
            )  # fmt: skip
            figure = rough / max(clean, LEVEL)
            yield Finding("hiding", where, figure, figure > rules.hiding)


def degraded(x: Tensor) -> Tensor:
    """x as it would come out of a picture of 8 bits with noise of up to two levels: the same to the eye."""
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    return ((x + 1) / LEVEL).round() * LEVEL - 1 + 2 * LEVEL * (2 * noise - 1)


def _below(fault: Fault, where: str, figure: float, limit: float) -> Finding:
    return Finding(fault, where, figure, figure < limit)


def _spread(x: Tensor) -> float:
    """How samples differ: the root of the mean variance of their numbers."""
    return float(x.var(0).mean().sqrt())
