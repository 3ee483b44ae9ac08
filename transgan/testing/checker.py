"""What every check of a plugin has in common: its settings, how failures become lines, and the checks of options."""

import inspect
import json
import tomllib
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from transgan.api.protocols import NetworkSpec, Nodes
from transgan.errors import TransganError
from transgan.methods import wrong_methods
from transgan.options import Options, Size
from transgan.plugin_objects import wrong_declarations
from transgan.recipe.slots import SLOTS, Slot
from transgan.recipe.write import value_in_toml
from transgan.registry import PluginKind

#: Samples of a batch.
N = 4


@dataclass(frozen=True)
class Given:
    """What the author of a plugin gives for its check, beside its options; all of it has defaults where it can."""

    spec: NetworkSpec = field(
        default_factory=lambda: NetworkSpec(
            channels=3, inputs=3, style=0, space=(32, 32), domains=("a", "b", "c"), tasks=("first", "second")
        )
    )
    """Channels, size, domains, tasks and attributes of the place where it stands."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Values of arguments by name; tensors have 4 samples, (4, ...)."""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Of networks and conditionings: values of conditions by name; tensors have 4 samples."""
    networks: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Of nodes and losses: networks by the role in which nodes call them; `generator` and `back` have defaults."""
    nodes: type[Nodes[Any]] | None = None
    """Of losses and metrics: a set of nodes that is not installed, whose nodes they may ask for."""
    root: Path | None = None
    """Of sources: `data.root`."""
    selections: Mapping[str, Any] = field(default_factory=dict)
    """Of sources: the selection of each domain, as `[domains]` of a recipe has them."""
    suffixes: Sequence[str] = ()
    """Of sources: the suffixes of the files that the recipe's media reads."""
    files: Sequence[Any] = ()
    """Of media: locations of samples, at least two: paths, or functions as synthetic sources have them. Of containers:
    files, at least one."""
    size: Size = 32
    """Of media: `data.size`."""
    item: Tensor | None = None
    """Of region detectors: an item with a region to find, (C, *space) in [-1, 1]."""


class Fault(Exception):
    """What is wrong, and how to mend it, in one line."""


class Checker:
    """The checks of a kind: the methods called `check_NAME`. Each yields a line for everything that is wrong.

    Args:
        options: those to check the plugin with, as a recipe has them.
    """

    def __init__(self, kind: PluginKind, cls: type[Any], options: Mapping[str, Any], given: Given):
        self.kind = kind
        self.cls = cls
        self.given = given
        self.table = dict(options)
        self.spec = given.spec
        self.options: Any = None

    #: The check that uses the plugin for the first time: where it raises an error, the others would raise the same.
    first_use = ""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the name of a check and a line for everything that is wrong."""
        first = ("documentation", "options", "methods", "construction", self.first_use)
        names = [name.removeprefix("check_") for name in dir(self) if name.startswith("check_")]
        for name in sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name)):
            found, ended = self._lines_of(getattr(self, f"check_{name}"))
            yield from ((name, line) for line in found)
            if ended and name in first[1:]:
                return  # everything below would fail likewise

    def _lines_of(self, function: Callable[[], Iterator[str]]) -> tuple[list[str], bool]:
        """Return the lines of a check, and whether an error has ended it."""
        found: list[str] = []
        torch.manual_seed(0)
        try:
            for line in function():
                found.append(line)
        except Fault as fault:
            return [*found, str(fault)], True
        except Exception as error:
            return [*found, f"raises {in_a_line(error)}"], True
        return found, False

    def build(self, options: Any = None) -> Any:
        """Return the plugin, built."""
        return self.cls(self.options if options is None else options)

    def works(self, options: Any) -> None:
        """Use the plugin once with these options; raise any error where it does not work."""
        self.build(options)

    def check_documentation(self) -> Iterator[str]:
        """It and its options have texts, which `transgan plugins` shows."""
        if not (doc := (self.cls.__dict__.get("__doc__") or "").strip()):
            yield "it has no docstring; its first line is what `transgan plugins` says of it"
        elif len(doc.splitlines()[0]) > 120:
            yield "the first line of its docstring is longer than 120 characters; shorten it"
        for name, each in self.cls.Options.model_fields.items():
            if not each.description:
                yield f"option '{name}' has no help text; write a docstring below the field"

    def check_options(self) -> Iterator[str]:
        """Options are typed, refuse what is unknown, and can be written to recipes and models and read back."""
        cls: type[BaseModel] = self.cls.Options
        if not issubclass(cls, Options):
            raise Fault(f"{cls.__name__} is not a subclass of transgan.api.Options; make it one")
        keys = SLOTS.get(self.kind.name, Slot).model_fields.keys() - {"options"}
        for name in sorted(keys & cls.model_fields.keys()):
            yield f"option '{name}' has the name of a key that its slot in recipes has anyway; rename it"
        try:
            self.options = cls.model_validate(self.table)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            own = place.partition(".")[0]
            by_default = own not in self.table and own in cls.model_fields and not cls.model_fields[own].is_required()
            remedy = "a default must be valid" if by_default else "give valid options"
            raise Fault(f"'{place}': {first['msg']}; {remedy}: check({self.cls.__name__}, {{...}})") from None
        for key in ("no_such_option", *(["__class__"] if "__class__" in cls.model_fields else [])):
            if _accepts(cls, {**self.table, key: 1}):
                yield f'it accepts an unknown option, "{key}"; leave `extra = "forbid"` of Options as it is'
        for name in cls.model_fields:
            if _accepts(cls, {**self.table, name: object()}):
                yield f"option '{name}' accepts anything; give it a type"
        yield from self._round_trip(cls)

    def _round_trip(self, cls: type[BaseModel]) -> Iterator[str]:
        """Take the options the way of those in a run's recipe and in a model: TOML and JSON, and back."""
        for form, read in (("TOML", _through_toml), ("JSON", _through_json)):
            try:
                again = cls.model_validate(read(self.options))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = ".".join(map(str, first["loc"]))
                yield f"its options cannot be read back from {form}: '{place}': {first['msg']}"
                continue
            if again != self.options:
                yield f"its options differ when they are read back from {form}; use numbers, texts, lists and tables"

    def check_methods(self) -> Iterator[str]:
        """Its methods can be called as runs call them."""
        for wrong in wrong_methods(self.cls, self.kind.base, self.kind.needs):
            raise Fault(wrong)
        yield from ()

    def check_construction(self) -> Iterator[str]:
        """It can be built with these options, and what it declares is what its kind allows."""
        for wrong in wrong_declarations(self.build()):
            raise Fault(wrong)
        yield from ()

    def check_bounds(self) -> Iterator[str]:
        """Every number that the options accept must work, or be refused with an error of TransGAN."""
        for name, each in self.cls.Options.model_fields.items():
            if each.annotation not in (int, float):
                continue
            for number in (0, -1):
                value = float(number) if each.annotation is float else number
                try:
                    options = self.cls.Options.model_validate({**self.table, name: value})
                except ValidationError:
                    continue
                try:
                    torch.manual_seed(0)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        self.works(options)
                except TransganError:
                    continue
                except Exception as error:
                    bound = "gt=0" if each.annotation is float else "ge=1"
                    yield f"{name} = {value} is accepted and raises {in_a_line(error)}; bound it: Field(..., {bound})"
                    break


def _accepts(cls: type[BaseModel], table: Mapping[str, Any]) -> bool:
    try:
        cls.model_validate(dict(table))
    except ValidationError:
        return False
    return True


def _through_toml(options: BaseModel) -> dict[str, Any]:
    table = options.model_dump(mode="json", by_alias=True, exclude_none=True)
    return tomllib.loads("\n".join(f"{name} = {value_in_toml(value)}" for name, value in table.items()))


def _through_json(options: BaseModel) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(json.dumps(options.model_dump(mode="json", by_alias=True)))
    return table


def in_a_line(error: BaseException) -> str:
    """Return an error's type, message and place, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/transgan/" not in frame.filename and "/torch/" not in frame.filename]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{where}"


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or bound method."""
    return list(inspect.signature(function).parameters.values())


def same_state(one: nn.Module, two: nn.Module) -> bool:
    """Return whether two networks have equal parameters and buffers."""
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())
