"""Making plugins, and checking what they declare: what their base class annotates is checked by that annotation."""

import inspect
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from transgan.errors import PluginFault
from transgan.graph import error_context
from transgan.recipe.describe import expected

T = TypeVar("T")


def make(cls: Callable[..., T], *arguments: Any) -> T:
    """Return a new plugin.

    Raises:
        PluginFault: it declares something that its kind does not allow, such as a stride of 0.
    """
    with error_context(plugin=cls):
        plugin = cls(*arguments)
        wrong = next(wrong_declarations(plugin), None)
    if wrong:
        raise PluginFault(cls, wrong)
    return plugin


def wrong_declarations(plugin: object) -> Iterator[str]:
    """Yield what is wrong about the attributes of a plugin, each with what is expected."""
    cls: Any = type(plugin)
    for name, annotation in _annotations(cls).items():
        value = getattr(plugin, name)
        adapter, is_list = _adapter(annotation)
        try:
            adapter.validate_python(list(value) if is_list and not isinstance(value, str) else value)
        except (ValidationError, TypeError):
            schema = adapter.json_schema()
            yield f"{name} is {value!r}, expected {expected(schema, schema)}"


@cache
def _annotations(cls: Any) -> dict[str, Any]:
    """Return the types of the attributes that a plugin has from base classes of `transgan.api`."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("transgan.api."):
            found |= {name: each for name, each in inspect.get_annotations(base).items() if name in vars(base)}
            properties = {name: each.fget for name, each in vars(base).items() if isinstance(each, property)}
            found |= {name: inspect.get_annotations(get)["return"] for name, get in properties.items() if get}
    return found


@cache
def _adapter(annotation: Any) -> tuple[TypeAdapter[Any], bool]:
    """Return what checks values of a type, and whether it takes them as a list."""
    inner = get_args(annotation)[0] if get_origin(annotation) is ClassVar else annotation
    is_list = get_origin(inner) in (Collection, tuple)
    if is_list:  # pydantic knows no collections
        inner = list[get_args(inner)[0]]  # type: ignore[misc]
    return TypeAdapter(inner, config=ConfigDict(strict=True)), is_list
