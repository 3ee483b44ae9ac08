"""Fixtures of several folders: installed plugins, small recipes, plans and runs, the command line, hand-written loops.

A test's recipe says what the test is about. It may omit the tables `[data]`, `[tasks]` and `[domains]`: then these are
synthetic faces, young and old, as below.
"""

import copy
import multiprocessing
import os
import runpy
import socket
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from transgan import storage
from transgan.api import Clock
from transgan.cli import main
from transgan.cli.flags import as_flag
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.graph import Key
from transgan.plan import Plan, make_plan
from transgan.recipe import parse_recipe, read_recipe
from transgan.registry import Registry
from transgan.rng import CounterRng
from transgan.text import quietly, spelling_options
from transgan.training import Engine
from transgan.training.start import train

# One thread: sums are then in the same order here and in processes that a test starts, and several processes on a small
# machine do not slow each other down. Runs on the CPU, since tests compare with figures computed there.
torch.set_num_threads(1)
os.environ |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}

Samples = dict[Any, Tensor]
SIZE, BATCH = 16, 4
PYTHON = Path(__file__).parent / "fixtures" / "python.py"
PLUGINS = [f"transgan_{name}" for name in ("standard", "images", "faces", "methods", "voice", "video")]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep decoded samples and weights of tests apart from the user's."""
    os.environ["TRANSGAN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


DATA = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 16
"""
TASKS = """
[tasks.age]
between = ["young", "old"]
"""
DOMAINS = {
    "young": "{ age = [20, 30] }",
    "old": "{ age = [50, 60] }",
    "white": '{ race = "White" }',
    "black": '{ race = "Black" }',
}


def completed(text: str) -> str:
    """Return a recipe with the tables that it omits; of the domains, those that it names."""
    tables = tomllib.loads(text)
    if "data" not in tables:
        text += DATA
    if "tasks" not in tables:
        text += TASKS
    if "domains" not in tables:
        text += "\n[domains]\n"
        text += "".join(f"{name} = {selection}\n" for name, selection in DOMAINS.items() if f'"{name}"' in text)
    return text


def with_plugin(plugin: object) -> Registry:
    found = Registry.installed()
    if plugin is not None:
        found.add(plugin, "of_this_test")
    return found


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.installed()


@pytest.fixture
def planned(registry: Registry) -> Callable[..., Plan]:
    """`planned(text, plugin, overrides)`: the plan of a recipe, which may omit tables."""

    def plan(text: str, plugin: object = None, overrides: tuple[str, ...] = ()) -> Plan:
        known = registry if plugin is None else with_plugin(plugin)
        return make_plan(parse_recipe(completed(text), "recipe", overrides), known)

    return plan


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`recipe_file(text)`: the file of a recipe, which may omit tables."""

    def write(text: str) -> Path:
        path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
        path.write_text(completed(text))
        return path

    return write


@pytest.fixture(scope="session")
def trained() -> Callable[..., storage.Checkpoint]:
    """`trained(recipe, out, *overrides, plugin)`: the newest checkpoint, after training within this process."""

    def run(recipe: Path, out: Path, *overrides: str, plugin: object = None) -> storage.Checkpoint:
        with quietly(True):
            assert train(read_recipe(recipe, overrides), with_plugin(plugin), out).code == 0
        checkpoint, rejected = storage.newest(out / "checkpoints")
        assert checkpoint is not None and not rejected
        return checkpoint

    return run


@pytest.fixture(autouse=True)
def not_quiet() -> Iterator[None]:
    """A test that parses `-q` without running a command silences none of the next."""
    with quietly(False):
        yield


@pytest.fixture(scope="module")
def on_the_command_line() -> Iterator[None]:
    """Messages name options as flags, as a command prints them."""
    with spelling_options(as_flag):
        yield


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., int]:
    """`run_cli("run", recipe)`: the exit code of a command, within this process, which has imported torch already."""

    def run(*words: object) -> int:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
            patch.setattr(sys, "argv", ["transgan", *map(str, words)])
            main()
        return int(stop.value.code or 0)

    return run


@pytest.fixture
def random_samples() -> Callable[[Plan, int], Samples]:
    """`random_samples(plan, step)`: samples in float64 by task and domain, or by task and batch input."""

    def draw(plan: Plan, step: int) -> Samples:
        generator = torch.Generator().manual_seed(step)
        found: Samples = {}
        for name, task in plan.recipe.tasks.items():
            for domain in ("source", "target") if task.targets == "random" else task.domains:
                found[name, domain] = torch.rand(BATCH, 3, SIZE, SIZE, generator=generator, dtype=torch.float64) * 2 - 1
            if task.targets == "random":
                count = len(plan.domains)
                found[name, "source_domain"] = torch.randint(count, (BATCH,), generator=generator)
                offset = torch.randint(1, count, (BATCH,), generator=generator)
                found[name, "target_domain"] = (found[name, "source_domain"] + offset) % count
        return found

    return draw


@pytest.fixture
def micro_batches() -> Callable[[Plan, Samples, int, Clock], list[dict[Key, Any]]]:
    """`micro_batches(plan, samples, count, clock)`: the input of `Engine.train_step`."""

    def split(plan: Plan, samples: Samples, count: int, clock: Clock) -> list[dict[Key, Any]]:
        found: list[dict[Key, Any]] = []
        for rows in torch.arange(BATCH).chunk(count):
            inputs: dict[Key, Any] = {}
            for translation in plan.translations:
                rng = CounterRng(7, np.full(len(rows), clock.step), rows.numpy(), dtype=torch.float64)
                sides = []
                for end in ("source", "target"):
                    name = getattr(translation, end)
                    random = name == "*"
                    x = samples[translation.task, end if random else name][rows]
                    index = samples[translation.task, f"{end}_domain"][rows] if random else None
                    sides.append(Side(x, domain_index(plan, name, len(rows), "cpu") if index is None else index))
                inputs |= assemble_inputs(plan, translation, *sides, rng, clock, training=True)
            found.append(inputs)
        return found

    return split


@pytest.fixture
def double_engine() -> Callable[[Plan], tuple[Engine, dict[str, nn.Module]]]:
    """`double_engine(plan)`: an engine in float64, and copies of its networks, for a hand-written loop."""

    def build(plan: Plan) -> tuple[Engine, dict[str, nn.Module]]:
        engine = Engine(plan)
        for network in engine.networks.values():
            network.double()
        return engine, copy.deepcopy(dict(engine.networks))

    return build


@pytest.fixture
def assert_same_weights() -> Callable[[Engine, dict[str, nn.Module]], None]:
    """`assert_same_weights(engine, copies)`: both have the same weights and buffers."""

    def compare(engine: Engine, copies: dict[str, nn.Module]) -> None:
        for name, network in engine.networks.items():
            ours, theirs = network.state_dict(), copies[name].state_dict()
            assert ours.keys() == theirs.keys()
            for key, tensor in ours.items():
                gap = float((tensor.double() - theirs[key].double()).abs().max())
                assert gap < 1e-9, f"{name}.{key} differs by {gap:.1e}"

    return compare


@pytest.fixture
def assert_matches_loop(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any, assert_same_weights: Any
) -> Callable[..., Plan]:
    """`assert_matches_loop(recipe, loop, overrides)`: train both for three steps, or `steps`, and compare weights."""

    def match(recipe: str, loop: Callable[..., None], overrides: tuple[str, ...] = (), steps: int = 3) -> Plan:
        plan: Plan = planned(recipe, overrides=overrides)
        engine, copies = double_engine(plan)
        start = {name: [p.detach().clone() for p in each.parameters()] for name, each in copies.items()}
        samples = [random_samples(plan, step) for step in range(steps)]
        for step, each in enumerate(samples):
            clock = Clock(step=step, run=step / plan.recipe.train.steps)
            engine.train_step(micro_batches(plan, each, plan.recipe.train.accumulate, clock), clock)
        loop(copies, samples)
        for name, network in engine.networks.items():
            changes = [(p - q).abs().max() for p, q in zip(network.parameters(), start[name], strict=True)]
            assert max(changes) > 1e-4, f"{name} was not trained"
        assert_same_weights(engine, copies)
        return plan

    return match


@pytest.fixture
def assert_same_state() -> Callable[..., None]:
    """`assert_same_state(one, two, networks=1e-6)`: checkpoints hold the same tensors there, within a tolerance."""

    def compare(one: storage.Checkpoint, two: storage.Checkpoint, **tolerances: float) -> None:
        for group, tolerance in tolerances.items():
            assert one.groups[group].keys() == two.groups[group].keys()
            for name, tensor in one.groups[group].items():
                torch.testing.assert_close(two.groups[group][name], tensor, rtol=0, atol=tolerance, msg=name)

    return compare


@pytest.fixture(scope="session")
def _forking() -> ForkServerContext:
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(["pytest", "accelerate", "transgan.cli", "transgan.training.start", *PLUGINS])
    return context


@pytest.fixture
def forked(_forking: ForkServerContext) -> Iterator[Callable[..., ForkServerProcess]]:
    """`forked(arguments, streams, folder, environment)`: Python in a process of its own, which starts at once.

    It is a fork of a process that has imported the whole package, which takes seconds. `streams` are the paths of
    stdin, stdout and stderr; folder and environment default to those of this process.
    """
    running: list[ForkServerProcess] = []

    def start(
        arguments: Sequence[object],
        streams: Sequence[object] = (os.devnull,) * 3,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ForkServerProcess:
        given = {
            "arguments": [str(each) for each in arguments],
            "environment": dict(os.environ if environment is None else environment),
            "folder": str(folder or Path.cwd()),
            "streams": [str(each) for each in streams],
        }
        running.append(_forking.Process(target=runpy.run_path, args=(str(PYTHON), {"GIVEN": given})))
        running[-1].start()
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.join()


@pytest.fixture
def start_processes(
    forked: Callable[..., ForkServerProcess], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[tuple[int | None, str]]]:
    """`start_processes(count, *arguments, **environment)`: run Python in N processes; return exit codes and stderrs."""

    def start(count: int, *arguments: object, **environment: str) -> list[tuple[int | None, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        errors = [tmp_path_factory.mktemp("errors") / "stderr" for _ in range(count)]
        running = []
        for rank, path in enumerate(errors):  # as a launcher does
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            launcher = {**address, **{name: str(number) for name, number in numbers.items()}} if count > 1 else {}
            streams = os.devnull, os.devnull, path
            running.append(forked(arguments, streams, environment={**os.environ, **launcher, **environment}))
        for process in running:
            process.join(timeout=300)
        return [(process.exitcode, path.read_text()) for process, path in zip(running, errors, strict=True)]

    return start
