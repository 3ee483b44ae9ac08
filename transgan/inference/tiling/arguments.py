"""The arguments of operations: by name, on the meta device, tiled or not."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from transgan.inference.tiling.tensors import Node, TiledTensor


def bound(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments of an operation by name, with defaults."""
    given = {each.name: each.default_value for each in func._schema.arguments if each.has_default_value()}
    names = [each.name for each in func._schema.arguments]
    return {**given, **dict(zip(names, args, strict=False)), **kwargs}


def one_of(given: dict[str, Any], *names: str) -> Any:
    """Return the argument that has one of these names."""
    return next(given[name] for name in names if name in given)


def meta(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operation returns, without numbers."""

    def empty(x: Tensor) -> Tensor:
        return torch.empty(x.shape, dtype=x.dtype, device="meta")

    named = {name: "meta" if name == "device" else each for name, each in mapped(empty, kwargs).items()}
    return func(*mapped(empty, args), **named)


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Return arguments or results with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(change, each) for key, each in value.items()}
    return type(value)(mapped(change, each) for each in value) if isinstance(value, (list, tuple)) else value


def tiled_in(values: Any) -> Iterable[TiledTensor]:
    for each in values:
        if isinstance(each, TiledTensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from tiled_in(each)


def axes_of(dims: Any, node: Node) -> list[int]:
    """Return axes, counted from the last one, -1; all of them for None and for an empty list."""
    count = len(node.shape)
    dims = [dims] if isinstance(dims, int) else list(dims or range(count))
    return [each if each < 0 else each - count for each in dims]


def lengths(values: Any, count: int, default: int) -> list[int]:
    """Return a list with a number for each axis of space."""
    values = [values] if isinstance(values, int) else list(values)
    return values * count if len(values) == 1 else values or [default] * count
