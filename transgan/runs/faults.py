"""What the faults of a run are: the figure that each is known by, its limit, and the words for it.

Who watches a run decides for how long a fault must last, and what is done about it: the guardian while it goes on
(`transgan.engine.guard`), advice by its log (`transgan.runs.advice`). docs/explanation/guardian.md has the reasons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from transgan.recipe.schema import Fault, Guard

#: A discriminator has next to nothing to learn when its loss is below this share of the generator's.
IDLE = 0.05
#: Steps among which those that were skipped are counted.
WITHIN = 1000
#: Faults whose figure is too small; that of the others is too large.
TOO_SMALL = {"collapse", "copying"}

#: What each fault means, and what helps. `cycle`, `held` and `adversarial` are losses, as the recipe calls them.
WORDS: Mapping[Fault, str] = {
    "collapse": (
        "outputs have collapsed: they differ among each other by {figure:.1%} of what real samples of the target do "
        "(expected above {limit:.0%}). Go back to a checkpoint from before; raise the weight of {cycle}, lower the "
        "learning rates, or show the discriminators older fakes (history = 50)"
    ),
    "copying": (
        "the generator copies its input: it changes it by {figure:.2%} of how samples of the two domains differ "
        "(expected above {limit:.0%}). Lower the weight of {held}, let it rise in the course of the run, or choose an "
        "output that cannot close (no mask)"
    ),
    "discriminator_wins": (
        "the discriminator has won: it puts {figure:.1%} of real samples above fakes (expected below {limit:.0%}), and "
        "its part of {adversarial} is below {idle:.0%} of the generator's, which learns little from it. Lower its "
        "learning rate ([optimizers] discriminator.lr), train it less often ([[phases]] every), or make it smaller"
    ),
    "hiding": (
        "the translation hides its source in noise: rounded to 8 bits with a little noise, it is translated back with "
        "{figure:.1f} times the error (expected below {limit:.0f}). Lower the weight of {cycle}, or let it fall in the "
        "course of the run"
    ),
    "exploding": (
        "the gradient explodes: its norm is {figure:.0f} times its median (expected below {limit:.0f}). Set "
        "train.clip, or lower the learning rates"
    ),
    "not_finite": (
        "{figure:.0f} of the newest {within} steps were skipped, since a loss or a gradient was not finite (expected "
        "{limit:.0f} at most). Lower the learning rates ([optimizers]), or set train.clip"
    ),
}


@dataclass(frozen=True)
class Names:
    """What the recipe calls the losses that do these jobs."""

    cycle: Sequence[str] = ()
    identity: Sequence[str] = ()
    adversarial: Sequence[str] = ()

    def called(self, *jobs: str, otherwise: str) -> str:
        """The losses of these jobs, for a text: `'cycle' and 'identity'`; `otherwise` where there are none."""
        return " and ".join(f"'{name}'" for job in jobs for name in getattr(self, job)) or otherwise


@dataclass(frozen=True)
class Finding:
    """A figure that a fault is known by, of one translation or network (`where`; empty for the whole run)."""

    fault: Fault
    where: str
    figure: float
    bad: bool

    @property
    def key(self) -> str:
        return f"{self.fault}/{self.where}"


def found(fault: Fault, where: str, figure: float, rules: Guard) -> Finding:
    """A figure, held against its limit."""
    limit = _limit(fault, rules)
    return Finding(fault, where, figure, figure < limit if fault in TOO_SMALL else figure > limit)


def found_in(figures: Mapping[str, float], where: str, rules: Guard, names: Names) -> Iterator[Finding]:
    """What the figures of one translation say, in the order in which faults are cured; others follow from the first.

    Args:
        figures: losses and figures of the state, by their names in metrics.jsonl less the translation: `state/change`,
            `generator/lsgan`. What is not there says nothing.
    """
    for fault, part, whole in (("collapse", "spread", "spread_of_target"), ("copying", "change", "distance")):
        a, b = figures.get(f"state/{part}"), figures.get(f"state/{whole}")
        if a is not None and b:
            yield found(fault, where, a / b, rules)  # type: ignore[arg-type]
    recognised = figures.get("state/recognised")
    judge, generator = (
        [value for name in names.adversarial if (value := figures.get(f"{side}/{name}")) is not None]
        for side in ("discriminator", "generator")
    )
    if recognised is not None and judge and generator:
        won = found("discriminator_wins", where, recognised, rules)
        yield replace(won, bad=won.bad and 0 <= sum(judge) < IDLE * sum(generator))  # that of a critic has no floor


def told(finding: Finding, rules: Guard, names: Names) -> str:
    """What is wrong and what helps, in words."""
    return WORDS[finding.fault].format(
        figure=finding.figure,
        limit=_limit(finding.fault, rules),
        idle=IDLE,
        within=WITHIN,
        cycle=names.called("cycle", otherwise="a cycle loss"),
        held=names.called("cycle", "identity", otherwise="what holds it back"),
        adversarial=names.called("adversarial", otherwise="the adversarial loss"),
    )


def _limit(fault: Fault, rules: Guard) -> float:
    return float(rules.skip if fault == "not_finite" else getattr(rules, fault))
