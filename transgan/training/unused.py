"""What a run never trains or evaluates, and which key of the recipe is why."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from transgan.errors import RecipeError
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.plan.plan import Term
from transgan.recipe.schema import Optimizers, Phase, StageOptimizers
from transgan.schedule import Clock
from transgan.text import listed
from transgan.training.trace import PhaseTrace

#: Arguments that change during a run: they may give a loss a gradient that the first step does not show.
_CHANGING = {"buffers", "clock"}
_WHY_NOTHING = "its value depends on nothing that its phases train"


def check_used(plan: Plan, traces: Sequence[Sequence[PhaseTrace]]) -> list[str]:
    """Return a warning for each reason for which stages, phases, tasks, losses or networks take no part in the run.

    Args:
        traces: those of `trace_run`.

    Raises:
        RecipeError: the run would train nothing, or a phase names networks that its losses cannot train.
    """
    if not plan.losses:
        return []  # a model, which is not trained
    uses = list(_uses(plan, traces))
    if mistakes := list(_unreachable(uses)):
        raise RecipeError(mistakes, plan.recipe.name)
    found: dict[tuple[str, str], list[str]] = {}
    run = {each.network for traced in traces for trace in traced for each in trace.passes}
    for thing, what, why in _unused(plan, uses, run):
        found.setdefault((what, why), []).append(thing)
    lines = [f"{listed(things)}: {what}: {why}" for (what, why), things in found.items()]
    if not any(use.reached for use in uses):
        raise RecipeError(["nothing is trained", *lines], plan.recipe.name)
    return [*lines, *_unused_checks(plan)]


def phases_training(plan: Plan, traces: Sequence[Sequence[PhaseTrace]]) -> dict[str, list[str]]:
    """Return, for each network that is trained, in which: `the generator phase`; of several of a side by their keys."""
    default = "phases" not in plan.recipe.model_fields_set
    uses = list(_uses(plan, traces))
    keys = {side: {use.key for use in uses if use.phase.side == side} for side in ("generator", "discriminator")}
    found: dict[str, dict[str, None]] = {}
    for use in uses:
        name = f"the {use.phase.side} phase"
        if len(keys[use.phase.side]) > 1:
            name = f"the default {use.phase.side} phase" if default and use.key.startswith("phases.") else use.key
        for network in use.trained:
            found.setdefault(network, {})[name] = None
    return {network: list(names) for network, names in found.items()}


def without_gradient(
    plan: Plan, evaluated: Iterable[str], differentiable: set[str], unreached: Mapping[str, str], reached: set[str]
) -> Iterator[str]:
    """Yield a line for what the first step has not trained, where no trace could say so before.

    Args:
        evaluated: the losses of the step.
        differentiable: those whose value depends on something that is trained.
        unreached: the networks that a phase trains and its gradient has not reached, with the phase's side.
        reached: those that a gradient has reached, of whichever phase.
    """
    for name in dict.fromkeys(evaluated):
        if name not in differentiable and not _asked(plan, name) & _CHANGING:
            yield f"loss '{name}': trains nothing: {_WHY_NOTHING}"
    whole = plan.recipe.train.balance == "all" or len(plan.recipe.tasks) == 1
    for side in dict.fromkeys(unreached.values()):
        names = [name for name, each in unreached.items() if each == side and name not in reached]
        # A step of one task leaves out the networks of others.
        if names and (whole or not any(plan.networks[name].side == side for name in reached)):
            things = listed(f"network '{name}'" for name in names)
            yield f"{things}: not trained: no gradient of the {side} phase has reached it"


@dataclass(frozen=True)
class _Use:
    """A phase in one stage."""

    key: str
    """The phase in the recipe: `phases.0`, or `stages.1.phases.0` in a stage with phases of its own."""
    name: str
    """What it is called: its key, or where a recipe has no phases, `the generator phase`."""
    phase: Phase
    trace: PhaseTrace
    never_due: str
    """Why the stage has no step in which the phase is due; empty where it has one."""
    idle: dict[Term, str]
    """For each term of the phase why it is evaluated in no step of the stage; empty where it is in some."""
    still: dict[str, str]
    """For each network that its gradient reaches why its weights stay as they are; empty where they do not."""

    @property
    def acts(self) -> bool:
        """Whether any of its terms is ever evaluated."""
        return not all(self.idle.values())

    @property
    def reached(self) -> tuple[str, ...]:
        """The networks that its gradient reaches."""
        return self.trace.trained if self.acts else ()

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that it trains."""
        return tuple(name for name in self.reached if not self.still[name])


def _uses(plan: Plan, traces: Sequence[Sequence[PhaseTrace]]) -> Iterator[_Use]:
    for i, (stage, (_, *traced)) in enumerate(zip(plan.stages, traces, strict=True)):
        own = bool(plan.recipe.stages) and plan.recipe.stages[i].phases is not None
        for j, (phase, trace) in enumerate(zip(stage.phases, traced, strict=True)):
            key = f"stages.{i}.phases.{j}" if own else f"phases.{j}"
            due = _never_due(plan, i, phase, key)
            idle = {t: due or _idle(plan, i, phase, t) for t in plan.terms_in(phase)}
            name = key if own or "phases" in plan.recipe.model_fields_set else f"the {phase.side} phase"
            still = {network: _still(plan, i, phase, network) for network in trace.trained}
            yield _Use(key, name, phase, trace, due, idle, still)


def _never_due(plan: Plan, index: int, phase: Phase, key: str) -> str:
    """Return why a phase is due at no step of a stage; empty where it is due at some."""
    stage = plan.stages[index]
    if stage.first == stage.last:
        return _without_steps(plan, index)
    if stage.last // phase.every > stage.first // phase.every:
        return ""
    return f"{key}.every = {phase.every}, and {_steps_of(plan, index)}"


def _without_steps(plan: Plan, index: int) -> str:
    return f"stages.{index}.share leaves it none of the run's {plan.recipe.train.steps} steps"


def _steps_of(plan: Plan, index: int) -> str:
    stage = plan.stages[index]
    if len(plan.stages) == 1:
        return f"the run has {stage.last} step{'s'[: stage.last != 1]}"
    return f"stages.{index} has steps {stage.first + 1} to {stage.last}"


def _idle(plan: Plan, index: int, phase: Phase, term: Term) -> str:
    """Return why a term of a phase that is due is evaluated at no step of a stage; empty where it is at some."""
    recipe, stage, task = plan.recipe, plan.stages[index], term.translation.task
    begin, end = _ends(plan, index, phase, interval := plan.losses[term.loss].interval)
    if begin.step >= stage.last:
        return f"it is evaluated at every {phase.every * interval}th step alone, and {_steps_of(plan, index)}"
    replaced = bool(recipe.stages) and term.loss in recipe.stages[index].losses
    weights = {f"stages.{index}.losses.{term.loss}" if replaced else f"losses.{term.loss}": stage.weights[term.loss]}
    weights[f"tasks.{task}.weight"] = recipe.tasks[task].weight
    if isinstance(recipe.train.balance, dict):
        weights[f"train.balance.{task}"] = recipe.train.balance[task]
    zero = (name for name, weight in weights.items() if not weight.nonzero_between(begin, end))
    return next((f"{name} is 0{'' if weights[name].constant else ' at each of its steps'}" for name in zero), "")


def _ends(plan: Plan, index: int, phase: Phase, interval: int = 1) -> tuple[Clock, Clock]:
    """Return the first and the last moment of a stage at which a phase, or a loss of it with an interval, is due."""
    stage, period, start = plan.stages[index], phase.every * interval, phase.every - 1  # steps are counted from 0
    first = start + max(0, -(-(stage.first - start) // period)) * period
    last = start + (stage.last - 1 - start) // period * period
    begin, end = (Clock(step=step, run=step / plan.recipe.train.steps) for step in (first, last))
    return begin, end


def _still(plan: Plan, index: int, phase: Phase, network: str) -> str:
    """Return why a phase does not change a network in a stage whose gradient reaches it; empty where it does."""
    side = plan.networks[network].side
    name, optimizer = plan.stages[index].optimizers.of(network, side)
    if optimizer.lr.nonzero_between(*_ends(plan, index, phase)):
        return ""
    places: dict[str, Optimizers | StageOptimizers] = {"optimizers": plan.recipe.optimizers}
    if plan.recipe.stages:
        places = {f"stages.{index}.optimizers": plan.recipe.stages[index].optimizers, **places}
    keys = [f"{place}.{of}.lr" for of in (name, side) for place, each in places.items() if _sets_rate(each, of)]
    key = next(iter(keys), f"optimizers.{side}.lr")
    return f"{key} is 0{'' if optimizer.lr.constant else ' at each of its steps'}"


def _sets_rate(optimizers: Optimizers | StageOptimizers, name: str) -> bool:
    return "lr" in getattr(getattr(optimizers, name, None), "model_fields_set", ())


def _unreachable(uses: Sequence[_Use]) -> Iterator[str]:
    """Yield a line for each phase that names networks none of which its losses train."""
    for key, own in _grouped(uses, lambda use: use.key).items():
        acting = [use for use in own if use.acts and use.trace.trains]
        if acting and acting[0].phase.trains is not None and not any(use.reached for use in acting):
            use = acting[0]
            losses = listed(dict.fromkeys(term.loss for term, why in use.idle.items() if not why))
            side = f'in a phase of side = "{use.phase.side}" no gradient of {losses} reaches {listed(use.trace.trains)}'
            yield f"{key}.trains: {side}"


def _grouped(uses: Sequence[_Use], by: Callable[[_Use], str]) -> dict[str, list[_Use]]:
    found: dict[str, list[_Use]] = {}
    for use in uses:
        found.setdefault(by(use), []).append(use)
    return found


def _unused(plan: Plan, uses: Sequence[_Use], run: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what takes no part in the run: its name, what that means for it, and why.

    Args:
        run: the networks that any pass runs.
    """
    for i, stage in enumerate(plan.stages):
        if stage.first == stage.last:
            yield f"stage {i + 1}", "never run", _without_steps(plan, i)
    for key, own in _grouped(uses, lambda use: use.key).items():
        if all(use.never_due for use in own):
            yield key, "never run", own[0].never_due
    idle_tasks = _idle_terms(plan, uses, lambda term: term.translation.task)
    idle_losses = _idle_terms(plan, uses, lambda term: term.loss)
    yield from ((f"task '{name}'", "not trained", why) for name, why in idle_tasks.items())
    yield from ((f"loss '{name}'", "never evaluated", why) for name, why in idle_losses.items())
    differentiable = {name for use in uses for name in use.trace.differentiable}
    for name in dict.fromkeys(term.loss for use in uses for term, why in use.idle.items() if not why):
        if name not in differentiable and not _asked(plan, name) & _CHANGING:
            yield f"loss '{name}'", "trains nothing", _WHY_NOTHING
    trained = {name for use in uses for name in use.trained}
    untrained = [name for name in plan.networks if name not in trained and not _is_spare(plan, name, trained, run)]
    if untrained:
        networks = Networks(plan, "meta")
        for name in untrained:
            if networks.trainable(name):  # else it is frozen, by the recipe or by its author
                why = idle_losses.get(name.partition("/")[0]) if plan.networks[name].kind == "losses" else None
                tasks = _tasks_of(plan, name)
                if why is None and tasks and tasks <= idle_tasks.keys():
                    why = idle_tasks[min(tasks, key=list(idle_tasks).index)]
                yield f"network '{name}'", "not trained", why or _why_untrained(plan, uses, name)
    conditioning = {name for network in plan.networks.values() for name in network.conditioning_names}
    for name in plan.recipe.conditionings:
        if name not in conditioning:
            yield f"conditioning '{name}'", "never used", "no network has it in its 'conditionings'"
    augmenting = {name for uses in plan.discriminators.values() for use in uses for name, _ in use.augment}
    for name in plan.recipe.augmentations:
        if name not in augmenting:
            yield f"augmentation '{name}'", "never used", "no discriminator has it in its 'augment'"


def _asked(plan: Plan, loss: str) -> set[str]:
    """Return the arguments of a loss."""
    return {argument for term in plan.terms if term.loss == loss for argument in term.arguments}


def _idle_terms(plan: Plan, uses: Sequence[_Use], of: Callable[[Term], str]) -> dict[str, str]:
    """Return why what terms belong to, losses or tasks, has none that is ever evaluated, by name."""
    reasons: dict[str, list[str]] = {of(term): [] for term in plan.terms}
    for use in uses:
        for term, why in use.idle.items():
            reasons[of(term)].append(why)
    return {
        name: each[0] if each else "no phase has it in its 'losses' and 'translations'"
        for name, each in reasons.items()
        if all(each)
    }


def _is_spare(plan: Plan, network: str, trained: set[str], run: set[str]) -> bool:
    """Return whether a network is a copy of an encoder for a domain that nothing encodes, beside others in use."""
    others = network.partition(".")[0] in {name.partition(".")[0] for name in trained}
    return plan.networks[network].kind == "encoders" and others and network not in run


def _tasks_of(plan: Plan, network: str) -> set[str]:
    """Return the tasks whose translations use a network."""
    tasks = {each.task for each, roles in plan.roles.items() if network in roles.values()}
    return tasks | {each.task for each, uses in plan.discriminators.items() if network in {u.network for u in uses}}


def _why_untrained(plan: Plan, uses: Sequence[_Use], network: str) -> str:
    own = [use for use in uses if network in plan.trained(use.phase)]
    for use in own:
        if network in use.reached:
            return use.still[network]
    for use in own:
        if use.acts:
            return f"no loss of {use.name} depends on it"
    for use in own:
        return use.never_due or next(iter(use.idle.values()), f"{use.name} has no loss of the {use.phase.side}'s side")
    return "no phase trains it"


def _unused_checks(plan: Plan) -> Iterator[str]:
    """Yield a line for what a recipe asks for in the course of a run that is too short for it."""
    steps, every = plan.recipe.train.steps, plan.recipe.evaluate.every
    if plan.recipe.evaluate.keep_best and every >= steps:
        yield f"keep_best has the last model alone to keep: evaluate.every = {every}, and the run has {steps} steps"
    if (every := plan.recipe.guard.check_every) > steps:
        yield f"held-out samples are never checked: guard.check_every = {every}, and the run has {steps} steps"
