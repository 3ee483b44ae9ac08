"""The faults of a run: the figure by which each is detected, its limit, and its message.

How long a fault must last, and what is done about it, is decided elsewhere: by the guardian while the run goes on
(`transgan.monitoring.guardian`), by advice from its log (`transgan.monitoring.advice`). docs/explanation/guardian.md
gives the reasons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Formatter

from transgan.recipe.schema import Fault, Guard

#: A discriminator has next to nothing to learn when its loss is below this share of the generator's.
IDLE = 0.05
#: Skipped steps are counted among the newest N steps.
WITHIN = 1000
#: Faults whose figure is too small; for the others it is too large.
TOO_SMALL = {"collapse", "copying", "discriminator_blind"}

WEIGHTS_NOT_FINITE = "weights are not finite"
#: What each fault means, and what helps. `cycle`, `held` and `adversarial` are losses, as the recipe calls them.
MESSAGES: Mapping[Fault, str] = {
    "collapse": (
        "outputs have collapsed: they differ among each other by {figure:.1%} of what real samples of the target do "
        "(expected above {limit:.0%}). Go back to a checkpoint from before (transgan resume RUN --from STEP); raise "
        "the weight of {cycle}, lower the learning rates, or give the discriminators an image pool (history = 50)"
    ),
    "copying": (
        "the generator copies its input: it changes it by {figure:.2%} of how samples of the two domains differ "
        "(expected above {limit:.0%}). Lower the weight of {held}, give it a schedule that rises, or let the generator "
        "predict a sample and not a change of one"
    ),
    "discriminator_wins": (
        "the discriminator has won: it ranks {figure:.1%} of real samples above fakes (expected below {limit:.0%}), "
        "and its part of {adversarial} is below {idle:.0%} of the generator's, which learns little from it. Lower its "
        "learning rate ([optimizers] discriminator.lr), train it less often ([[phases]] every), or make it smaller"
    ),
    "discriminator_blind": (
        "the adversary has learnt nothing so far: of held-out samples it ranks {figure:.0%} of the real ones above "
        "translations (chance is 50%, expected above {limit:.0%} before the generator catches up), and {adversarial} "
        "gives the generator no direction. Train discriminators alone first (a first [[stages]] with no phase but "
        "that of the side 'discriminator'), raise their learning rate and let it fall later ([optimizers] "
        "discriminator.lr), or make them larger"
    ),
    "hiding": (
        "the translation hides its source in noise: rounded to 8 bits with a little noise, it is translated back with "
        "{figure:.1f} times the error (expected below {limit:.0f}). Lower the weight of {cycle}, or give it a schedule "
        "that falls"
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
#: By which text each message is known in a log: what it says up to its first figure, or after that.
FAULTS_SAY = (
    *(next(text for text, *_ in Formatter().parse(each) if text) for each in MESSAGES.values()),
    WEIGHTS_NOT_FINITE,
)


@dataclass(frozen=True)
class LossRoles:
    """The recipe's losses by role, under their names there."""

    cycle: Sequence[str] = ()
    identity: Sequence[str] = ()
    adversarial: Sequence[str] = ()

    def names(self, *roles: str, default: str) -> str:
        """Return the losses of these roles for a message, `'cycle' and 'identity'`; `default` where there are none."""
        return " and ".join(f"'{name}'" for role in roles for name in getattr(self, role)) or default


@dataclass(frozen=True)
class Finding:
    """The figure of a fault, of one translation or network (`where`; empty for the whole run)."""

    fault: Fault
    where: str
    figure: float
    bad: bool
    clear: bool = False
    """Whether the figure rules the fault out for good."""

    @property
    def key(self) -> str:
        return f"{self.fault}/{self.where}"


def compare_with_limit(fault: Fault, where: str, figure: float, rules: Guard) -> Finding:
    """Return a figure's finding: whether it is beyond the fault's limit."""
    limit = _limit(fault, rules)
    return Finding(fault, where, figure, figure < limit if fault in TOO_SMALL else figure > limit)


def findings_of(figures: Mapping[str, float], where: str, rules: Guard, roles: LossRoles) -> Iterator[Finding]:
    """Yield the findings of one translation, in the order in which faults are mended; others follow from the first.

    Args:
        figures: losses and diagnostics, by their names in metrics.jsonl less the translation: `diagnostics/change`,
            `loss_G/lsgan`. A figure that is missing gives no finding.
    """
    ratios: tuple[tuple[Fault, str, str], ...] = (
        ("collapse", "spread", "spread_of_target"),
        ("copying", "change", "distance"),
    )
    for fault, part, whole in ratios:
        a, b = figures.get(f"diagnostics/{part}"), figures.get(f"diagnostics/{whole}")
        if a is not None and b:
            yield compare_with_limit(fault, where, a / b, rules)
    recognised = figures.get("diagnostics/recognised")
    discriminator, generator = (
        [value for name in roles.adversarial if (value := figures.get(f"{side}/{name}")) is not None]
        for side in ("loss_D", "loss_G")
    )
    if recognised is not None and discriminator and generator:
        won = compare_with_limit("discriminator_wins", where, recognised, rules)
        idle = 0 <= sum(discriminator) < IDLE * sum(generator)  # the loss of a critic may be negative
        yield replace(won, bad=won.bad and idle)


def message_of(finding: Finding, rules: Guard, roles: LossRoles) -> str:
    """Return what is wrong and what helps."""
    return MESSAGES[finding.fault].format(
        figure=finding.figure,
        limit=_limit(finding.fault, rules),
        idle=IDLE,
        within=WITHIN,
        cycle=roles.names("cycle", default="a cycle loss"),
        held=roles.names("cycle", "identity", default="the losses that hold it back"),
        adversarial=roles.names("adversarial", default="the adversarial loss"),
    )


def _limit(fault: Fault, rules: Guard) -> float:
    return float(rules.skip if fault == "not_finite" else getattr(rules, fault))
