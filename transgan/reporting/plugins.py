"""What plugins ask for and provide, read from their classes: for `transgan plugins` and the reference page."""

import inspect
import re
from collections.abc import Callable, Generator
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from transgan.api.protocols import Call, Conditioning, Conditions, Loss, NetworkSpec
from transgan.plan.build import on_meta_device

#: The type of a node that runs a network.
OUTPUT = "output of a network"
#: A shape in a docstring, with what separates it from the words before it.
_SHAPE = re.compile(r",? (\(N,[^()]*\))")
#: Samples for which the networks of a loss are listed.
_SPEC = NetworkSpec(3, 3, 0, (64, 64), ("source", "target"), ("task",))


class Inputs(NamedTuple):
    """The names that a function asks for."""

    always: list[str]
    sometimes: list[str]
    """Those with a default, which the function needs with some of the plugin's options only."""


class Node(NamedTuple):
    """A node, as its method describes it."""

    name: str
    type: str
    shape: str
    """The first shape `(N, ...)` in the first paragraph of the docstring, or empty."""
    meaning: str
    """The first paragraph of the docstring, without that shape."""
    inputs: list[str]


def nodes_of(cls: type[Any]) -> list[Node]:
    """Return the nodes of a set of nodes or of a loss, in the order of their definition."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    functions = {name: getattr(cls, name, None) for name in names}
    found = []
    for name, function in functions.items():
        if inspect.isfunction(function) and getattr(function, "is_node", False):
            meaning = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
            shape = match[1] if (match := _SHAPE.search(meaning)) else ""
            returned = _returned(_signature(function).return_annotation)
            found.append(Node(name, returned, shape, _SHAPE.sub("", meaning, 1), [*_parameters(function)]))
    return found


def inputs_of(method: Callable[..., Any]) -> Inputs:
    """Return what a method of a plugin class asks for: `for_generator`, `for_discriminator`, `update`."""
    found = Inputs([], [])
    for name, each in _parameters(method).items():
        (found.always if each.default is each.empty else found.sometimes).append(name)
    return found


def conditions_of(cls: type[Any]) -> dict[str, str]:
    """Return the conditions that the `forward` of a network or a conditioning names, with their types.

    `**conditions` stands for all others, where `forward` takes any.
    """
    behind = 2 if issubclass(cls, Conditioning) else 1  # x, and what earlier conditionings made of the style
    parameters = list(_signature(cls.forward).parameters.values())[1 + behind :]
    return {
        f"**{each.name}" if each.kind is each.VAR_KEYWORD else each.name: type_name(each.annotation)
        for each in parameters
    }


def networks_of(cls: type[Any]) -> list[str] | None:
    """Return the names of a loss's own networks, by default and for a usual sample; None where that fails."""
    if cls.networks is Loss.networks:
        return []
    try:
        with on_meta_device():
            return list(cls(cls.Options()).networks(_SPEC))
    except Exception:  # a required option, missing weights, samples of another kind
        return None


def type_name(annotation: Any) -> str:
    """Return a type as authors of plugins write it: without modules; empty where there is none."""
    if annotation is inspect.Signature.empty:
        return ""
    if annotation == Conditions:
        return "Conditions"
    if annotation in (None, NoneType):
        return "None"
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(type_name, get_args(annotation)))
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])|~", "", text)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # an annotation names what is imported for type checking only
        return inspect.signature(function)


def _parameters(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a method, without `self`."""
    return dict([*_signature(method).parameters.items()][1:])


def _returned(annotation: Any) -> str:
    """Return the type of a node's value, where the method may return or yield calls; empty where it says nothing."""
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(dict.fromkeys(filter(None, map(_returned, get_args(annotation)))))
    if get_origin(annotation) is Generator:
        annotation = get_args(annotation)[2]
        return OUTPUT if annotation is Any else _returned(annotation)
    if annotation in (Call, "Call"):
        return OUTPUT
    return "" if annotation is Any else type_name(annotation)
