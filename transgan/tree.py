"""Nested values: applying a function to every tensor in tuples, lists, mappings and dataclasses; what a value is."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def map_tensors(function: Callable[[Tensor], Tensor], value: Any, keep: tuple[str, ...] = ()) -> Any:
    """Return a value with the function applied to every tensor in it; containers keep their types.

    Args:
        keep: fields of dataclasses that are left as they are.
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple takes its fields one by one
        return type(value)(*(map_tensors(function, item, keep) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(function, item, keep) for item in value)
    if isinstance(value, Mapping):
        items = {name: map_tensors(function, item, keep) for name, item in value.items()}
        return items if type(value) is dict else _like(value, items)
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if f.init and f.name not in keep]
        return replace(value, **{name: map_tensors(function, getattr(value, name), keep) for name in names})
    return value


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return a tensor's shape; None for anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) else None


def described(value: Any) -> str:
    """Return what a value is, for messages: a tensor with its shape, and its dtype if not of floats, or its type."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}{'' if value.is_floating_point() else f' of {value.dtype}'}"
    return "None" if value is None else type(value).__name__


def _like(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """Return a mapping of the type of `value`, such as an OrderedDict or a defaultdict."""
    if not hasattr(value, "copy"):
        return items
    copied = value.copy()
    copied.update(items)
    return copied


def versions(values: Mapping[str, Any]) -> dict[str, int]:
    """Return how often each tensor among these has been changed in place so far, by name."""
    return {name: x._version for name, x in values.items() if isinstance(x, Tensor) and not x.is_inference()}


def changed_in_place(values: Mapping[str, Any], before: Mapping[str, int]) -> str:
    """Return what is wrong where one of the tensors was changed in place since `versions`; else an empty text.

    Others read the same tensors, and would silently get other numbers.
    """
    changed = [name for name, version in versions(values).items() if before[name] != version]
    return f"it has changed '{changed[0]}' in place, which others read too; change a copy" if changed else ""
