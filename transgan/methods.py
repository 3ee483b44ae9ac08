"""Whether a plugin's methods can be called as its base class's are: what would fail in a run is refused before it."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from transgan.api.names import BATCH_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
from transgan.api.protocols import Loss

#: Methods without a base, whose arguments name what they need: they take `self` at least.
_SIDES = ("for_generator", "for_discriminator")
_NAMING = ("update", *_SIDES)
#: What has the name of a node is given in its place: the node would never be computed.
_TAKEN = (
    ("a batch input", BATCH_INPUTS),
    ("an argument of losses", LOSS_ARGUMENTS),
    ("an argument of metrics", METRIC_ARGUMENTS),
)
_MISSING = object()


def wrong_methods(cls: type[Any], base: type[Any], needs: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield what is wrong about a class's methods, and what is expected, a line each.

    Args:
        base: the base class of its kind.
        needs: the methods that every class of this kind defines itself, and the arguments that they get by position.
    """
    for name, arguments in needs.items():
        own = inspect.getattr_static(cls, name, _MISSING)
        if own is _MISSING or own is inspect.getattr_static(base, name, _MISSING):
            yield f"it has no method {name}; define {name}({', '.join(['self', *arguments])})"
        elif problem := _wrong(own, name, arguments, partly=True):
            yield problem
    for name, of_base in _methods_of(base).items():
        own = inspect.getattr_static(cls, name)
        if own is not of_base and not isinstance(own, property):
            parameters = list(inspect.signature(_function(of_base)).parameters.values())[1:]
            if type(own) is not type(of_base) and isinstance(of_base, classmethod):
                yield f"{name} is no class method; write @classmethod above it"
            elif problem := _wrong(own, name, tuple(each.name for each in parameters)):
                yield problem
    for name in dir(cls):
        own = inspect.getattr_static(cls, name)
        naming = name in _NAMING or getattr(own, "is_node", False)
        if naming and name not in needs and (problem := _wrong(own, name, (), partly=True)):
            yield problem
        if getattr(own, "is_node", False):
            yield from (f"node '{name}' has the name of {what}; rename it" for what, taken in _TAKEN if name in taken)
        if base is Loss and name.startswith("for_") and name not in _SIDES:  # beside a right one, too
            yield f"nothing calls '{name}'; expected {' or '.join(_SIDES)}"


def _wrong(own: Any, name: str, arguments: tuple[str, ...], partly: bool = False) -> str | None:
    """Return why a method can be called with these arguments neither by position nor by name.

    Args:
        partly: it may have further ones, which it gets by name.
    """
    function = _function(own)
    if isinstance(own, property):
        return None
    if not callable(function):
        return f"{name} is {own!r}; expected a method"
    try:
        signature = inspect.signature(function)
    except ValueError:  # it is no Python
        return None
    itself = [] if isinstance(own, staticmethod) else [None]
    first = next(iter(signature.parameters.values()), None)
    if inspect.isfunction(own) and first and first.kind is first.POSITIONAL_OR_KEYWORD and not _is_self(first.name):
        return f"{name}{_shown(signature)}: '{first.name}' would be the plugin itself; write self before it"
    bind = signature.bind_partial if partly else signature.bind
    by_name = dict.fromkeys(arguments)
    if not _binds(bind, [*itself, *arguments], {}) and not _binds(bind, itself, by_name):
        names = ["self", *arguments, *(["..."] if partly else [])]
        return f"{name}{_shown(signature)} cannot be called as runs do; expected {name}({', '.join(names)})"
    return None


def _is_self(name: str) -> bool:
    return name == "self" or name.startswith("_")


def _binds(bind: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any]) -> bool:
    try:
        bind(*given, **named)
    except TypeError:
        return False
    return True


def _function(attribute: Any) -> Any:
    return attribute.__func__ if isinstance(attribute, (classmethod, staticmethod)) else attribute


def _shown(signature: inspect.Signature) -> str:
    """Return the names of a function's parameters, as they are written, without types and defaults."""
    return f"({', '.join(str(each.replace(annotation=each.empty)) for each in signature.parameters.values())})"


def _methods_of(base: type[Any]) -> dict[str, Any]:
    """Return the methods that a base class has from `transgan.api` and that runs call."""
    found: dict[str, Any] = {}
    for each in reversed(base.__mro__):
        if each.__module__.startswith("transgan.api."):
            found |= {
                name: value
                for name, value in vars(each).items()
                if inspect.isfunction(_function(value)) and (name in ("__init__", "__call__") or name[0] != "_")
            }
    return found
