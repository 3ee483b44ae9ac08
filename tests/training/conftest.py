"""Runs of tiny recipes: within this process, in others, and step by step on batches made by hand."""

import copy
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from transgan.api import Clock
from transgan.data.inputs import complete_inputs
from transgan.graph import Key
from transgan.plan import Plan
from transgan.rng import CounterRng
from transgan.training.engine import Engine

Drawn = dict[Any, Tensor]
SIZE, BATCH = 16, 4


@pytest.fixture(autouse=True, scope="module")
def one_thread_on_the_cpu() -> Iterator[None]:
    """Sums are taken in the same order here and in processes that a test starts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def drawn() -> Callable[[Plan, int], Drawn]:
    """`drawn(plan, step)`: samples in float64 by task and domain, or by task and leaf where chance draws targets."""

    def draw(plan: Plan, step: int) -> Drawn:
        generator = torch.Generator().manual_seed(step)
        found: Drawn = {}
        for name, task in plan.recipe.tasks.items():
            for domain in ("source", "target") if task.targets == "random" else task.domains:
                found[name, domain] = torch.rand(BATCH, 3, SIZE, SIZE, generator=generator, dtype=torch.float64) * 2 - 1
            if task.targets == "random":
                count = len(plan.domains)
                found[name, "source_domain"] = torch.randint(count, (BATCH,), generator=generator)
                move = torch.randint(1, count, (BATCH,), generator=generator)
                found[name, "target_domain"] = (found[name, "source_domain"] + move) % count
        return found

    return draw


@pytest.fixture
def in_parts() -> Callable[[Plan, Drawn, int, Clock], list[dict[Key, Any]]]:
    """`in_parts(plan, drawn, parts, clock)`: what the engine takes for a step."""

    def batch_inputs(plan: Plan, samples: Drawn, parts: int, clock: Clock) -> list[dict[Key, Any]]:
        made: list[dict[Key, Any]] = []
        for rows in torch.arange(BATCH).chunk(parts):
            part: dict[Key, Any] = {}
            for translation in plan.translations:
                task = translation.task
                rng = CounterRng(7, np.full(len(rows), clock.step), rows.numpy(), dtype=torch.float64)
                values: dict[str, Any] = {"clock": clock, "training": True, "rng": rng}
                if translation.target == "*":
                    names = ("source", "target", "source_domain", "target_domain")
                    values |= {name: samples[task, name][rows] for name in names}
                else:
                    values["source"] = samples[task, translation.source][rows]
                    values["target"] = samples[task, translation.target][rows]
                part.update(complete_inputs(plan, translation, values))
            made.append(part)
        return made

    return batch_inputs


@pytest.fixture
def in_double() -> Callable[[Plan], tuple[Engine, dict[str, nn.Module]]]:
    """`in_double(plan)`: an engine in float64, and its networks once more, to be moved by hand."""

    def build(plan: Plan) -> tuple[Engine, dict[str, nn.Module]]:
        engine = Engine(plan)
        for network in engine.networks.networks.values():
            network.double()
        return engine, copy.deepcopy(engine.networks.networks)

    return build


@pytest.fixture
def as_by_hand() -> Callable[[Engine, dict[str, nn.Module]], None]:
    """`as_by_hand(engine, twins)`: whether both have the same weights and buffers."""

    def compare(engine: Engine, twins: dict[str, nn.Module]) -> None:
        for name, network in engine.networks.networks.items():
            ours, theirs = network.state_dict(), twins[name].state_dict()
            assert ours.keys() == theirs.keys()
            for key, tensor in ours.items():
                gap = float((tensor.double() - theirs[key].double()).abs().max())
                assert gap < 1e-9, f"{name}.{key} differs by {gap:.1e}"

    return compare


@pytest.fixture
def matched(planned: Any, in_double: Any, drawn: Any, in_parts: Any, as_by_hand: Any) -> Callable[..., Plan]:
    """`matched(recipe, by_hand, overrides)`: trains both for three steps, or as many as said, and compares them."""

    def match(recipe: str, by_hand: Callable[..., None], overrides: tuple[str, ...] = (), steps: int = 3) -> Plan:
        plan: Plan = planned(recipe, overrides=overrides)
        engine, twins = in_double(plan)
        start = {name: [p.detach().clone() for p in twin.parameters()] for name, twin in twins.items()}
        samples = [drawn(plan, step) for step in range(steps)]
        for step, each in enumerate(samples):
            clock = Clock(step=step, run=step / plan.recipe.train.steps)
            engine.play(in_parts(plan, each, plan.recipe.train.accumulate, clock), clock)
        by_hand(twins, samples)
        for name, network in engine.networks.networks.items():
            moved = [(p - q).abs().max() for p, q in zip(network.parameters(), start[name], strict=True)]
            assert max(moved) > 1e-4, f"{name} was not trained"
        as_by_hand(engine, twins)
        return plan

    return match


@pytest.fixture
def agree() -> Callable[..., None]:
    """`agree(one, two, networks=1e-6)`: whether checkpoints hold the same tensors in these groups, but for so much."""

    def compare(one: runs.Checkpoint, two: runs.Checkpoint, **tolerances: float) -> None:
        for group, tolerance in tolerances.items():
            assert one.groups[group].keys() == two.groups[group].keys()
            for name, tensor in one.groups[group].items():
                torch.testing.assert_close(two.groups[group][name], tensor, rtol=0, atol=tolerance, msg=name)

    return compare


@pytest.fixture
def started() -> Iterator[Callable[..., list[tuple[int, str]]]]:
    """`started(count, *arguments, **environment)`: Python in so many processes; the exit code and stderr of each."""
    running: list[subprocess.Popen[str]] = []

    def start(count: int, *arguments: object, **environment: str) -> list[tuple[int, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        for rank in range(count):  # what a launcher says to each
            who = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            told = {**address, **{name: str(number) for name, number in who.items()}} if count > 1 else {}
            running.append(
                subprocess.Popen(
                    [sys.executable, *map(str, arguments)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, **told, **environment},
                )
            )
        said = [process.communicate(timeout=300)[1] for process in running]
        return [(process.returncode, text) for process, text in zip(running, said, strict=True)]

    yield start
    for process in running:
        process.kill()
