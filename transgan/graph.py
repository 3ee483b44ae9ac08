"""Named tensors: who asks for what, and making it in as few network passes as possible."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from transgan.api.protocols import Call, Translation
from transgan.errors import did_you_mean

#: What the data give to every translation.
LEAVES = (
    "translation",
    "training",
    "task",
    "source",
    "target",
    "source_domain",
    "target_domain",
    "task_domains",
    "source_attributes",
    "target_attributes",
    "draws",
    "clock",
)

Key = tuple[Translation, str]


@contextmanager
def blame(what: str) -> Iterator[None]:
    """Adds what was being done to any error that passes."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while {what}")
        raise


@cache
def asks(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's arguments, which are the names of what it needs."""
    return tuple(inspect.signature(function).parameters)


@cache
def accepts_all(function: Callable[..., Any]) -> bool:
    """Whether it takes any keyword."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


class Graph:
    """Every node by name. A loss's own nodes are called `loss/node`, and only that loss sees them by the short name."""

    def __init__(self, providers: Mapping[str, object]):
        self.functions: dict[str, Callable[..., Any]] = {}
        for owner, provider in providers.items():
            for name, function in inspect.getmembers(provider, inspect.ismethod):
                if getattr(function, "is_node", False):
                    self.functions[f"{owner}/{name}" if owner else name] = function

    def resolve(self, name: str, owner: str = "") -> str:
        """What `owner` means by `name`."""
        return own if (own := f"{owner}/{name}") in self.functions else name

    def needs(self, name: str) -> list[str]:
        """The nodes and leaves that a node asks for."""
        owner = name.rpartition("/")[0]
        return [self.resolve(n, owner) for n in asks(self.functions[name])] if name in self.functions else []

    def closure(self, names: Iterable[str]) -> list[str]:
        """`names` and all that they need, needs first."""
        order: dict[str, None] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise ValueError(f"{' -> '.join([*path, name])}: a node may not need itself")
            if name not in order:
                for need in self.needs(name):
                    visit(need, (*path, name))
                order[name] = None

        for name in names:
            visit(name, ())
        return list(order)

    def missing(self, names: Iterable[str], who: str, leaves: Iterable[str] = LEAVES) -> list[str]:
        """One line for each name that nothing makes."""
        known = {*self.functions, *leaves}
        problems: dict[str, None] = {}
        for name in self.closure(names):
            if name in self.functions:
                for need in self.needs(name):
                    if need not in known:
                        what = f"node '{name}' (needed by {who}) asks for '{need}', which nothing makes."
                        problems[f"{what} {did_you_mean(need, known)}"] = None
            elif name in names and name not in known:
                problems[f"{who} asks for '{name}', which nothing makes. {did_you_mean(name, known)}"] = None
        return list(problems)


class Runner(Protocol):
    """What runs the networks of a step."""

    def resolve(self, translation: Translation, role: str, /) -> str:
        """The network that plays a role."""

    def mixes_batch(self, network: str, /) -> bool:
        """Whether its samples see each other."""

    def pays(self, x: Tensor, /) -> bool:
        """Whether a call this large gains from sharing a pass."""

    def __call__(self, network: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, /) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """One run of one network, and what it made."""

    network: str
    made: tuple[str, ...]
    samples: int


class Step:
    """The tensors of one step: leaves from the batch, nodes made on demand, nothing made twice."""

    def __init__(self, graph: Graph, run: Runner, leaves: Mapping[Key, Any]):
        self.graph = graph
        self.run = run
        self.values: dict[Key, Any] = dict(leaves)
        self.passes: list[Pass] = []

    def arguments(
        self, translation: Translation, names: Iterable[str], owner: str, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a function asks for by these names."""
        return {n: more[n] if n in more else self.values[translation, self.graph.resolve(n, owner)] for n in names}

    def make(self, wanted: Iterable[Key]) -> None:
        """Makes what is wanted: all that needs no network, then one round of passes, and again."""
        todo: dict[Key, list[Key]] = {}  # a node, and what it needs
        for translation, name in wanted:
            if (translation, name) not in self.values:
                for each in self.graph.closure([name]):
                    if (translation, each) not in self.values:
                        todo[translation, each] = [(translation, need) for need in self.graph.needs(each)]
        calls: dict[Key, Call] = {}
        while todo or calls:
            ready = [key for key, needs in todo.items() if all(need in self.values for need in needs)]
            for key in ready:
                self._start(key, calls)
                del todo[key]
            if ready and todo:
                continue  # more may have become ready without a pass
            if not ready and not calls:
                raise KeyError(f"cannot make {', '.join(name for _, name in todo)}")
            self.values.update(self.run_all(calls))
            calls = {}

    def detach(self) -> None:
        """Lets go of how the tensors were made, and keeps them."""
        self.values = {key: _detached(value) for key, value in self.values.items()}

    def _start(self, key: Key, calls: dict[Key, Call]) -> None:
        translation, name = key
        function = self.graph.functions.get(name)
        if function is None:
            raise KeyError(f"the batch has no '{name}' for {translation}")
        with blame(f"making '{name}' for {translation}"):
            made = function(**self.arguments(translation, asks(function), name.rpartition("/")[0], {}))
        if isinstance(made, Call):
            calls[key] = made
        else:
            self.values[key] = made

    def run_all(self, calls: Mapping[Key, Call]) -> dict[Key, Any]:
        """Runs every call, those that can share a pass together."""
        groups: dict[Any, list[Key]] = defaultdict(list)
        for key, call in calls.items():
            with blame(f"making '{key[1]}' for {key[0]}"):
                network = self.run.resolve(key[0], call.role)
            groups[network, call.frozen, *self._company(key, call, network)].append(key)
        made: dict[Key, Any] = {}
        for (network, frozen, *_), keys in groups.items():
            names = tuple(f"{translation}: {name}" for translation, name in keys)
            inputs = [calls[key].x for key in keys]
            sizes = [len(x) for x in inputs]
            with blame(f"running network '{network}' for {', '.join(names)}"):
                if len(keys) == 1:
                    made[keys[0]] = self.run(network, inputs[0], calls[keys[0]].conditions, frozen)
                else:
                    conditions = _stack([calls[key].conditions for key in keys])
                    output = self.run(network, torch.cat(inputs), conditions, frozen)
                    made.update(zip(keys, _split(output, sizes), strict=True))
            self.passes.append(Pass(network, names, sum(sizes)))
        return made

    def _company(self, key: Key, call: Call, network: str) -> tuple[Any, ...]:
        """Equal for the calls that may share a pass."""
        alone = (
            not isinstance(call.x, Tensor)
            or not self.run.pays(call.x)
            or self.run.mixes_batch(network)
            or not all(
                v.shape[:1] == call.x.shape[:1] if isinstance(v, Tensor) else _plain(v)
                for v in call.conditions.values()
            )
        )
        if alone:
            return (key,)
        told = tuple((n, v.shape[1:] if isinstance(v, Tensor) else repr(v)) for n, v in sorted(call.conditions.items()))
        return (call.x.shape[1:], call.x.dtype, told)


def _plain(value: Any) -> bool:
    """Whether a condition holds for any sample: text, numbers, and lists of them."""
    if isinstance(value, (list, tuple)):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float))


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, (list, tuple)):
        return type(value)(_detached(item) for item in value)
    if isinstance(value, dict):
        return {name: _detached(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _detached(getattr(value, f.name)) for f in fields(value)})
    return value


def _stack(conditions: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        n: torch.cat([each[n] for each in conditions]) if isinstance(v, Tensor) else v for n, v in conditions[0].items()
    }


def _split(output: Any, sizes: list[int]) -> list[Any]:
    """Undoes a stack of any nesting of tensors that have the batch first."""
    if isinstance(output, Tensor):
        return list(torch.split(output, sizes))
    if isinstance(output, (list, tuple)):
        parts = [_split(item, sizes) for item in output]
        return [type(output)(part[i] for part in parts) for i in range(len(sizes))]
    if isinstance(output, dict):
        named = {n: _split(item, sizes) for n, item in output.items()}
        return [{n: piece[i] for n, piece in named.items()} for i in range(len(sizes))]
    if is_dataclass(output) and not isinstance(output, type):
        pieces = {f.name: _split(getattr(output, f.name), sizes) for f in fields(output)}
        return [replace(output, **{n: piece[i] for n, piece in pieces.items()}) for i in range(len(sizes))]
    return [output] * len(sizes)
