"""The fallback objective of a run: WGAN-GP in place of the adversarial losses."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from transgan.api.names import DISCRIMINATOR_ARGUMENTS
from transgan.api.protocols import Loss
from transgan.errors import UsageError
from transgan.graph import argument_names
from transgan.plan.plan import Plan, is_adversarial, matches_any
from transgan.recipe import Document, Origin, Problems, Section
from transgan.recipe.schema import Guard, Phase, Recipe, StageOptimizers
from transgan.recipe.slots import LossSlot

#: The origin, in the resolved recipe, of values that a fallback has changed.
BY = "fallback"


def with_fallback(document: Document, plan: Plan) -> Document:
    """Return the recipe with the objective of `[guard.fallback]`, and otherwise as it is.

    Adversarial losses with a decision logit, and gradient penalties, are replaced by the two losses of that table.
    Generator phases are due `critic_steps` times less often; phases without any loss left are removed. Image pools are
    switched off: the penalty is taken between real samples and the current fakes. A fault whose action was `fallback`
    stops the run from then on.

    Args:
        plan: that of the recipe.

    Raises:
        UsageError: no loss of the recipe would be replaced.
    """
    recipe, to, losses = document.recipe, document.recipe.guard.fallback, plan.losses
    adversarial = [name for name, loss in losses.items() if loss.decision_logit is not None]
    gone = [name for name, loss in losses.items() if loss.decision_logit is not None or loss.penalizes_gradient]
    if not adversarial:
        raise UsageError(f"the recipe has no loss to replace: {plan.adversarial_losses}")
    kept = {name: slot for name, slot in recipe.losses.items() if name not in gone}
    where = list(dict.fromkeys(pattern for name in adversarial for pattern in recipe.losses[name].translations))
    on = list(dict.fromkeys(pattern for name in adversarial for pattern in recipe.losses[name].discriminators))
    penalty = LossSlot(**to.penalty.model_dump(), weight=to.penalty_weight, translations=where, discriminators=on)
    adversary = LossSlot(use=to.adversarial, weight=to.weight, translations=where, discriminators=on)
    new = {_free(slot.use.rpartition(":")[2], kept): slot for slot in (adversary, penalty)}
    sides = {side: getattr(recipe.optimizers, side).model_copy(update={"lr": to.lr}) for side in _SIDES}

    def replaced(phases: list[Phase]) -> list[Phase]:
        found = [_phase(each, adversarial, list(new), list(kept), to.critic_steps) for each in phases]
        return [phase for phase in found if phase.losses]

    changed = recipe.model_copy(
        update={
            "losses": {**new, **kept},
            "phases": replaced(recipe.phases),
            "stages": [
                stage.model_copy(
                    update={
                        "losses": {name: weight for name, weight in stage.losses.items() if name in kept},
                        "phases": stage.phases and replaced(stage.phases),
                        "optimizers": StageOptimizers(),
                    }
                )
                for stage in recipe.stages
            ],
            "discriminators": {
                name: slot.model_copy(update={"history": 0}) for name, slot in recipe.discriminators.items()
            },
            "optimizers": recipe.optimizers.model_copy(update=sides),
            "guard": _after(recipe.guard),
        }
    )
    origins = dict(document.problems.origins) | dict.fromkeys(_differing(recipe, changed, ()), Origin(by=BY))
    return Document(Recipe.model_validate(changed), document.name, Problems(document.name, origins))


def is_candidate(cls: type[Loss[Any]], key: str) -> bool:
    """Return whether a loss can be `adversarial`, or `penalty`, of `[guard.fallback]`."""
    if key == "penalty":
        return cls.penalizes_gradient
    needed = {name for side in _SIDES if (own := getattr(cls, f"for_{side}", None)) for name in argument_names(own)}
    return is_adversarial(cls) and needed <= {"self", *DISCRIMINATOR_ARGUMENTS}  # it needs no node


_SIDES = ("generator", "discriminator")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    return name if name not in taken else _free(f"{name}_{BY}", taken)


def _phase(phase: Phase, adversarial: list[str], new: list[str], kept: list[str], critic_steps: int) -> Phase:
    """Return the phase with patterns for the losses that are left, and the new ones in place of adversarial ones."""
    patterns = phase.losses
    if any(matches_any(name, patterns) for name in adversarial):
        patterns = [*patterns, *(name for name in new if not matches_any(name, patterns))]
    patterns = [pattern for pattern in patterns if any(fnmatch(name, pattern) for name in (*new, *kept))]
    every = phase.every * (critic_steps if phase.side == "generator" else 1)
    return phase.model_copy(update={"losses": patterns, "every": every})


def _after(guard: Guard) -> Guard:
    """Return the guard from then on."""

    def ends(action: str) -> str:
        return "stop" if action == "fallback" else action

    actions = {fault: ends(action) for fault, action in guard.actions.items()}
    return guard.model_copy(update={"action": ends(guard.action), "actions": actions})


def _differing(old: Any, new: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yield the places at which two recipes differ."""
    if old == new:
        return
    if isinstance(new, Section):
        for name, field in type(new).model_fields.items():
            if name == "options":  # a slot's options stand beside its own keys
                yield from ((*path, option) for option in getattr(new, name))
            else:
                yield from _differing(getattr(old, name, None), getattr(new, name), (*path, field.alias or name))
    elif isinstance(new, dict) and all(isinstance(each, Section) for each in new.values()):
        for name, each in new.items():
            yield from _differing((old or {}).get(name), each, (*path, name))
    elif isinstance(new, list) and all(isinstance(each, Section) for each in new):
        for i, each in enumerate(new):
            yield from _differing(old[i] if i < len(old or ()) else None, each, (*path, i))
    else:
        yield path
