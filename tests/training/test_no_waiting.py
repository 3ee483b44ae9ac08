"""A training step never waits for the device. On a device without numbers, `meta`, whatever reads one raises.

So do, by the mode below, copies to it that would wait, and indices that are not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.training.buffers import HistoryPool
from transgan.training.engine import Engine

RECIPES = Path(__file__).parents[2] / "recipes"


class Waited(Exception):
    """The host would have waited for the device."""


class NoWaiting(TorchDispatchMode):
    """Raises where the host would wait for a device, which `meta` stands for."""

    READS = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal)
    COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)
    INDICES = (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten._index_put_impl_)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = func.overloadpacket
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on_device = [x for x in tensors if x.is_meta]
        if operation in self.READS and on_device:
            raise Waited(f"{func} reads numbers")
        if (
            operation in self.INDICES
            and on_device
            and (len(on_device) < len(tensors) or any(x.dtype == torch.bool for x in tensors[1:]))
        ):
            raise Waited(f"{func} with indices that are not on the device, or that it has to count")
        if operation in self.COPIES:
            to = torch.device(kwargs.get("device") or args[0].device)
            source = args[1] if operation is torch.ops.aten.copy_ else args[0]
            waits = not (
                kwargs.get("non_blocking") or (operation is torch.ops.aten.copy_ and len(args) > 2 and args[2])
            )
            if source.is_meta != (to.type == "meta") and waits:
                raise Waited(f"{func} from {source.device} to {to}")
        return func(*args, **kwargs)


class NoLists(TorchFunctionMode):
    """Raises where a list becomes a tensor on the device, by a copy that waits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.__getitem__, Tensor.__setitem__) and args[0].is_meta:
            indices = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(each, (list, np.ndarray)) for each in indices):
                raise Waited("indexed by a list")
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == "meta":
            raise Waited("made of numbers of the host")
        return func(*args, **kwargs)


class Steps:
    """In place of Adam, whose fused kernel `meta` does not have: the same calls, and no arithmetic of its own."""

    def __init__(self, parameters: list[Tensor], **settings: Any):
        self.param_groups: list[dict[str, Any]] = [{"params": parameters, **settings}]
        self.steps = 0

    def zero_grad(self, set_to_none: bool) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.sub_(parameter.grad * (1 - self.found_inf))  # type: ignore[attr-defined]


class Everything:
    """A set of all there is: what is checked once, when numbers may be read, counts as done."""

    def __contains__(self, item: object) -> bool:
        return True

    def add(self, item: object) -> None: ...


@contextmanager
def on_meta(recipe: str, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Iterator[tuple[Engine, Batches]]:
    monkeypatch.setattr(torch.optim, "Adam", Steps)
    monkeypatch.setattr(torch.optim, "AdamW", Steps)
    plan = make_plan(read_recipe(RECIPES / recipe, overrides), Registry.installed())
    domains = Domains(plan)
    domains.checked = Everything()  # type: ignore[assignment]
    domains.fit_statistics()
    engine = Engine(plan, device="meta")
    yield engine, Batches(plan, domains, device=engine.networks.device)


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("conditional_face.toml", ("data.default.count=40", "train.batch=4", "discriminators.face.history=4")),
        ("augmented_shapes.toml", ("train.batch=4",)),
        ("stargan_shapes.toml", ("train.batch=4", "train.accumulate=2")),
        ("cut_shapes.toml", ("train.batch=4",)),
        ("munit_shapes.toml", ("train.batch=2",)),
    ],
)
def test_a_step_never_waits_for_the_device(
    recipe: str, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_meta(recipe, monkeypatch, *overrides, "train.log_every=1000") as (engine, batches):
        with NoLists(), NoWaiting():
            for step in range(1, 4):  # the first is logged; the pool is full after the first
                clock = batches.clock(step)
                losses = engine.train_step(batches.at(step), clock)
                assert losses and all(value.is_meta for value in losses.values())
        assert not engine.waits
        assert sum(each.steps for each in engine.optimizers.by_name.values()) > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wait",
    [
        lambda x, i: x.sum().item(),
        lambda x, i: bool(x.isfinite().all()),
        lambda x, i: x.tolist(),
        lambda x, i: x.cpu(),
        lambda x, i: x[[1, 0]],
        lambda x, i: x[x > 0],
        lambda x, i: torch.tensor([1.0], device=x.device),
        lambda x, i: i.to(x.device),
        lambda x, i: torch.tensor([1.0, 2.0]).to(x),
    ],
)
def test_what_waits_is_found(wait: Any) -> None:
    x, i = torch.zeros(3, 2, device="meta"), torch.tensor([1, 0])
    with NoLists(), NoWaiting(), pytest.raises((Waited, NotImplementedError, RuntimeError)):
        wait(x, i)


def test_a_pool_copies_only_the_rows_that_it_exchanges() -> None:
    history = HistoryPool(0)
    history.exchange("d", torch.zeros(8, 3, 4, 4), 8, torch.zeros(8, 3, 4, 4), 0)
    place = history.pools["d"].data_ptr()
    for turn in range(5):
        x = torch.full((2, 3, 4, 4), float(turn))
        history.exchange("d", x, 8, x, 0)
    assert history.pools["d"].data_ptr() == place
