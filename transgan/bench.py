"""Measures the framework's own share of a CycleGAN step: what is not forward, backward or optimizer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from transgan import __version__
from transgan.api.samples import Sample, Source
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.networks import Networks
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registered, Registry
from transgan.rng import stable_hash
from transgan.training.distributed import Processes
from transgan.training.engine import Engine

RECIPE = """
data = {{ source = "noise", size = {size}, held_out = 0.0 }}
domains = {{ this = "this", that = "that" }}
tasks = {{ there = {{ between = ["this", "that"] }} }}
train = {{ steps = {steps}, batch = {batch}, merge = "{merge}", ema = 0.999 }}
generators = {{ g = {{ use = "resnet", per = "translation", width = {width}, blocks = {blocks} }} }}
discriminators = {{ d = {{ use = "patch", width = {width}, history = 50 }} }}
losses = {{ lsgan = 1.0, cycle = 10.0, identity = 5.0 }}
"""
WARM = 2
COUNT = 32


@dataclass(frozen=True)
class Noise:
    """One sample; call it with its side in pixels."""

    domain: str
    index: int

    def __call__(self, size: int) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=stable_hash(self.domain, self.index)))
        return rng.integers(0, 256, (size, size, 3), dtype=np.uint8)


class NoiseSource(Source):
    """A few samples of noise."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample(f"{domain}-{index:02}", Noise(domain, index)) for index in range(COUNT)]


def registry_with_noise() -> Registry:
    """Return the installed plugins, and the source `noise`."""
    registry = Registry.installed()
    registry.entries["sources", "noise"] = Registered("sources", "noise", NoiseSource, "transgan", __version__)
    return registry


def measure(steps: int, size: int, batch: int, width: int, blocks: int, merge: str) -> Iterator[str]:
    """Yield the lines of `transgan bench engine`."""
    text = RECIPE.format(steps=steps + WARM, size=size, batch=batch, width=width, blocks=blocks, merge=merge)
    plan = make_plan(parse_recipe(text, "bench"), registry_with_noise())
    processes = Processes()
    domains = Domains(plan)
    engine = Engine(plan, processes)
    batches = Batches(plan, domains, device=processes.device)
    for name, domain in domains.items():
        list(domains.batches(name, False, size, len(domain.samples)))  # so that synthesizing samples is not measured
    spent: dict[str, float] = {}
    with _timed(spent, processes.device):
        for step, _ in engine.train(batches):
            if step == WARM:
                spent.clear()
                _wait(processes.device)
                begin = time.perf_counter()
        _wait(processes.device)
        whole = time.perf_counter() - begin
    threads = torch.get_num_threads()
    networks = f"width {width}, {blocks} blocks"
    yield f"CycleGAN, {size}x{size}, batch {batch}, {networks}, {threads} threads on {processes.device}"
    yield f"{'step':<12} {1000 * whole / steps:9.1f} ms"
    for name, seconds in spent.items():
        yield f"{name:<12} {1000 * seconds / steps:9.1f} ms  {seconds / whole:7.2%}"
    own = whole - sum(spent.values())
    yield f"{'engine':<12} {1000 * own / steps:9.1f} ms  {own / whole:7.2%}"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _timed(spent: dict[str, float], device: torch.device) -> Iterator[None]:
    """Add up the time spent in networks, backward passes and optimizers."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            _wait(device)
            begin = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                _wait(device)
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - begin

        return call

    places: list[tuple[Any, str, str]] = [
        (Networks, "__call__", "forward"),
        (torch.Tensor, "backward", "backward"),
        (torch.optim.Adam, "step", "optimizer"),
    ]
    originals = [getattr(owner, attribute) for owner, attribute, _ in places]
    for (owner, attribute, name), function in zip(places, originals, strict=True):
        setattr(owner, attribute, timed(name, function))
    try:
        yield
    finally:
        for (owner, attribute, _), function in zip(places, originals, strict=True):
            setattr(owner, attribute, function)
