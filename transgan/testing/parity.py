"""A recipe beside a training loop that was written by hand: both are trained in float64, and all weights compared."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.errors import UsageError
from transgan.graph import Key
from transgan.plan import Plan, make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.rng import CounterRng
from transgan.schedule import Clock
from transgan.training import Engine

Samples = Mapping[tuple[str, str], Tensor]
"""A batch by task and domain, (N, C, *space) each, in [-1, 1] and in float64."""
Loop = Callable[[Mapping[str, Any], Sequence[Samples]], None]
"""`loop(networks, batches)` trains copies of a recipe's networks, by the names that `transgan check` prints, on a batch
in each step. A network is a module that is called as plugins are, `networks[name](x)`, after its conditionings."""


def assert_matches_loop(
    recipe: Path | str, loop: Loop, *, overrides: Iterable[str] = (), plugins: Iterable[Any] = (), steps: int = 3
) -> None:
    """Train a recipe and a hand-written loop for some steps, from equal weights and on equal samples.

    The samples are random; those of a task with two domains. Nothing is read and nothing written. It is for small
    networks: with `overrides` a recipe of any size can be made small.

    Args:
        recipe: its file.
        loop: the other program.
        overrides: changes of the recipe, as after `--set`.
        plugins: modules with hooks, beside the installed ones.
        steps: number of steps.

    Raises:
        AssertionError: a weight or buffer differs by more than 1e-9, or some network was not trained at all.
        UsageError: the recipe has attributes, further inputs, or a task with `targets = "random"`.
        TransganError: the recipe is wrong.
    """
    registry = Registry.installed()
    for number, plugin in enumerate(plugins):
        registry.add(plugin, f"plugin {number} of a parity test")
    plan = make_plan(read_recipe(Path(recipe), list(overrides)), registry)
    if plan.recipe.attributes or plan.recipe.inputs or any("*" in (t.source, t.target) for t in plan.translations):
        raise UsageError("a loop is given samples by task and domain alone, and the recipe needs more; leave it out")
    engine = Engine(plan)
    engine.average = None  # it is in float32, and no part of the training
    for network in engine.networks.values():
        network.double()
    start = copy.deepcopy({name: network.state_dict() for name, network in engine.networks.items()})
    copies: dict[str, nn.Module] = copy.deepcopy(dict(engine.networks.items()))
    batches = [_samples(plan, step) for step in range(steps)]
    for step, samples in enumerate(batches):
        clock = Clock(step=step, run=step / plan.recipe.train.steps)
        engine.train_step([_inputs(plan, samples, clock)], clock)
    loop({name: getattr(network, "network", network) for name, network in copies.items()}, batches)
    problems = []
    for name, network in engine.networks.items():
        state, theirs = network.state_dict(), copies[name].state_dict()
        gaps = {key: float((value.double() - theirs[key].double()).abs().max()) for key, value in state.items()}
        worst = max(gaps, key=lambda key: gaps[key])
        if not gaps[worst] < 1e-9:
            problems.append(f"{name}: {worst} differs by {gaps[worst]:.1e} after {steps} steps")
        if all(torch.equal(value, start[name][key]) for key, value in state.items()):
            problems.append(f"{name}: was not trained")
    assert not problems, "\n".join(problems)


def _samples(plan: Plan, step: int) -> Samples:
    generator, stage = torch.Generator().manual_seed(step), plan.stages[0]
    found = {}
    for name, task in plan.recipe.tasks.items():
        for domain in task.domains:
            media = plan.media[domain].at(stage.size)
            shape = (stage.batch, media.channels, *media.space)
            found[name, domain] = torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1
    return found


def _inputs(plan: Plan, samples: Samples, clock: Clock) -> dict[Key, Any]:
    inputs: dict[Key, Any] = {}
    for each in plan.translations:
        source, target = (
            Side(x := samples[each.task, domain], domain_index(plan, domain, len(x), "cpu"))
            for domain in (each.source, each.target)
        )
        count = len(source.domain)
        rng = CounterRng(0, np.full(count, clock.step), np.arange(count), dtype=torch.float64)
        inputs |= assemble_inputs(plan, each, source, target, rng, clock, training=True)
    return inputs
