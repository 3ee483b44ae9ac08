"""Named tensors: which function needs which, and computing them in as few network passes as possible."""

import inspect
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property
from traceback import walk_tb
from typing import Any, Protocol, get_args

import torch
from torch import Tensor

from transgan.api.names import BATCH_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
from transgan.api.protocols import Call, Loss, Metric, Translation
from transgan.errors import PluginFault, closest
from transgan.text import MAX_LISTED, listed
from transgan.tree import changed_in_place, described, map_tensors, versions

Key = tuple[Translation, str]
#: Nodes whose values are samples, which networks and media take.
_SAMPLES = ("fake", "reconstruction")


class error_context(AbstractContextManager[None]):
    """Add a note, `while ...`, to any error that passes, and the class of the plugin whose code runs.

    A plugin that would end the program by `sys.exit` fails instead: else a run would end without a word, or as if it
    had succeeded. So does one that raises StopIteration, which loops around it would take for their own end. What it
    has set for all code by `torch.set_grad_enabled`, `torch.set_default_dtype` or `os.chdir` ends with it: else it
    would silently end all training, let others fail, or send the run elsewhere.

    Args:
        what: what the plugin's code computes, and for which translation; empty for no note.
        plugin: the object whose code it is, or its class.
    """

    def __init__(self, what: str = "", plugin: object = None):
        self.what = what
        self.plugin = plugin if plugin is None or isinstance(plugin, type) else type(plugin)

    def __enter__(self) -> None:
        self.grad = torch.is_grad_enabled()
        # The rest is of the whole process. What another thread puts back may have been changed by this one meanwhile.
        self.is_main = threading.current_thread() is threading.main_thread()
        if self.is_main:
            self.dtype, self.folder = torch.get_default_dtype(), _working_folder()
            _set_default_dtype(torch.float32)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        torch.set_grad_enabled(self.grad)
        if self.is_main:
            _set_default_dtype(self.dtype)
            if self.folder and self.folder != _working_folder():
                os.chdir(self.folder)
        if error is None:
            return
        passes: Exception
        if type(error) is SystemExit and self.plugin is not None:  # a signal's is of another class
            passes = PluginFault(self.plugin, f"it has called sys.exit({error.code!r}); raise an error instead")
        elif isinstance(error, StopIteration):
            passes = RuntimeError("StopIteration was raised: next() has found no more, and was given no default")
        elif isinstance(error, Exception):
            passes = error
        else:
            return
        if self.what:
            passes.add_note(f"while {self.what}")
        if self.plugin is not None and not hasattr(passes, "plugin"):
            passes.plugin = self.plugin  # type: ignore[attr-defined]
            passes.frames_of_plugin = sum(1 for _ in walk_tb(error.__traceback__))  # type: ignore[attr-defined]
        if passes is not error:
            raise passes.with_traceback(error.__traceback__) from error


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a path takes longer to make, at each pass
    except FileNotFoundError:  # it was deleted
        return ""


def _set_default_dtype(dtype: torch.dtype) -> None:
    if torch.get_default_dtype() is not dtype:
        torch.set_default_dtype(dtype)


@cache
def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's arguments, which are the names of its dependencies."""
    return tuple(inspect.signature(function).parameters)


def used_arguments(part: Loss[Any] | Metric[Any], function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments of a loss's or a metric's function that its options need."""
    return tuple(name for name in argument_names(function) if name not in part.unused_inputs)


@cache
def accepts_any_keyword(function: Callable[..., Any]) -> bool:
    """Return whether a function has a `**keywords` parameter."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


class Graph:
    """Every node by name. A loss's own nodes are called `loss/node`; only that loss sees them under the short name.

    Args:
        providers: objects with methods marked `@node`, by the prefix of their nodes.
    """

    def __init__(self, providers: Mapping[str, object]):
        self.functions: dict[str, Callable[..., Any]] = {}
        for owner, provider in providers.items():
            for name, function in inspect.getmembers(provider, inspect.ismethod):
                if getattr(function, "is_node", False):
                    self.functions[f"{owner}/{name}" if owner else name] = function

    def resolve(self, name: str, owner: str = "") -> str:
        """Return the full name of what `owner` calls `name`."""
        return own if (own := f"{owner}/{name}") in self.functions else name

    def dependencies(self, name: str) -> list[str]:
        """Return the nodes and batch inputs that a node is computed from."""
        owner = name.rpartition("/")[0]
        return [self.resolve(n, owner) for n in argument_names(self.functions[name])] if name in self.functions else []

    def closure(self, names: Iterable[str]) -> list[str]:
        """Return `names` and all their dependencies, dependencies first.

        Raises:
            ValueError: a node depends on itself.
        """
        order: dict[str, None] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise ValueError(f"{' -> '.join([*path, name])}: a node must not depend on itself")
            if name not in order:
                for dependency in self.dependencies(name):
                    visit(dependency, (*path, name))
                order[name] = None

        for name in names:
            visit(name, ())
        return list(order)

    def missing(
        self,
        names: Iterable[str],
        who: str,
        inputs: Iterable[str] = BATCH_INPUTS,
        owner: str | None = None,
        more: Iterable[str] = (),
    ) -> list[str]:
        """Return one line for each name that is neither a node nor one of the inputs, of `names` and what they need.

        Args:
            owner: the loss whose arguments the names are, empty for other code; None for names that a recipe writes,
                which are full names.
            more: what `who` can ask for besides, and nodes cannot.
        """
        known = {*self.functions, *inputs}
        wanted = {name if owner is None else self.resolve(name, owner): name for name in names if name not in more}
        problems: dict[str, None] = {}
        for name in self.closure(wanted):
            if name in self.functions:
                own = name.rpartition("/")[0]
                for dependency in self.dependencies(name):
                    if dependency not in known:
                        what = f"node '{name}' (needed by {who}) needs '{dependency}'; there is no such node or input."
                        problems[f"{what} {self._hint(dependency, self.visible(own, inputs))}"] = None
            elif name in wanted and name not in known:
                could = known if owner is None else {*self.visible(owner, inputs), *more}
                problems[f"{who} needs '{name}'; there is no such node or batch input. {self._hint(name, could)}"] = (
                    None
                )
        return list(problems)

    def visible(self, owner: str, inputs: Iterable[str] = BATCH_INPUTS) -> set[str]:
        """Return what arguments of a loss's code can be named, its own nodes short; of other code with no `owner`."""
        shared = {name for name in self.functions if "/" not in name}
        own = {name.removeprefix(f"{owner}/") for name in self.functions if owner and name.startswith(f"{owner}/")}
        return {*shared, *own, *inputs}

    def _hint(self, name: str, could: Collection[str]) -> str:
        """Return what an unknown name may have been meant to be.

        Args:
            could: what the one who has written it can write.
        """
        owners = [full.rpartition("/")[0] for full in self.functions if full.endswith(f"/{name}")]
        if owners and f"{owners[0]}/{name}" in could:
            return f"Did you mean '{owners[0]}/{name}'?"
        if owners:
            return f"A node of loss '{owners[0]}' is called so, which that loss alone can ask for."
        for who, arguments in (("the methods of losses", LOSS_ARGUMENTS), ("metrics", METRIC_ARGUMENTS)):
            if name in arguments and name not in could:
                return f"Only {who} can ask for it."
        if close := closest(name, could):
            return f"Did you mean '{close}'?"
        # Nodes, which the writer may have meant to be there, come before what every batch has.
        names = sorted(could, key=lambda each: (each not in self.functions and each in BATCH_INPUTS, each))
        more = " transgan plugins --names lists all of them." if len(names) > MAX_LISTED else ""
        return f"Known: {listed(names)}.{more}"


class NetworkRunner(Protocol):
    """What runs the networks of a step; `transgan.networks.Networks` is the one."""

    def resolve(self, translation: Translation, role: str, owner: str = "", /) -> str:
        """Return the name of the network that has a role in a translation, for a node of `owner`."""

    def mixes_batch(self, network: str, /) -> bool:
        """Return whether a network's samples affect each other."""

    def should_merge(self, x: Tensor, /) -> bool:
        """Return whether a call with this input gains from sharing a pass."""

    def takes(self, network: str, condition: str, /) -> bool:
        """Return whether a network takes a condition."""

    def __call__(self, network: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, /) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """One forward pass of one network, and the nodes that it computed."""

    network: str
    nodes: tuple[str, ...]
    samples: int


class Step:
    """The tensors of one step: batch inputs, and nodes computed on demand, each once."""

    def __init__(self, graph: Graph, run: NetworkRunner, batch_inputs: Mapping[Key, Any]):
        self.graph = graph
        self.run = run
        self.values: dict[Key, Any] = dict(batch_inputs)
        self.passes: list[Pass] = []

    @cached_property
    def _stage_conditions(self) -> Mapping[str, Any]:
        """The conditions of the recipe's stage, the same for all translations; none where the batch has none."""
        found = (value for (_, name), value in self.values.items() if name == "stage_conditions")
        return next(found, {})

    def with_stage(self, network: str, conditions: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a network's conditions, and those of the recipe's stage that it takes."""
        of_stage = {name: each for name, each in self._stage_conditions.items() if self.run.takes(network, name)}
        return {**of_stage, **conditions} if of_stage else conditions

    def arguments(
        self, translation: Translation, names: Iterable[str], owner: str, more: Mapping[str, Any], detach: bool = False
    ) -> dict[str, Any]:
        """Return the values of a function's arguments; those in `more` come first, others may be detached."""
        found = {n: more[n] if n in more else self.values[translation, self.graph.resolve(n, owner)] for n in names}
        return {n: map_tensors(Tensor.detach, v) if detach and n not in more else v for n, v in found.items()}

    def compute(self, wanted: Iterable[Key]) -> None:
        """Compute nodes: all that need no network, then one round of passes, and again."""
        todo: dict[Key, list[Key]] = {}  # a node, and its dependencies
        for translation, name in wanted:
            if (translation, name) not in self.values:
                for each in self.graph.closure([name]):
                    if (translation, each) not in self.values:
                        todo[translation, each] = [(translation, other) for other in self.graph.dependencies(each)]
        calls: dict[Key, Call] = {}
        running: dict[Key, Generator[Call, Any, Any]] = {}  # nodes that take several passes in a row
        while todo or calls:
            ready = [key for key, others in todo.items() if all(other in self.values for other in others)]
            for key in ready:
                self._evaluate(key, calls, running)
                del todo[key]
            if ready and todo:
                continue  # more may have become ready without a pass
            if not ready and not calls:
                raise KeyError(f"cannot compute {', '.join(name for _, name in todo)}")
            results, calls = self.run_all(calls), {}
            for key, result in results.items():
                if key in running:
                    self._resume(key, result, calls, running)
                else:
                    self.values[key] = result

    def detach(self) -> None:
        """Free the autograd graph and keep the tensors."""
        self.values = {key: map_tensors(Tensor.detach, value) for key, value in self.values.items()}

    def _evaluate(self, key: Key, calls: dict[Key, Call], running: dict[Key, Generator[Call, Any, Any]]) -> None:
        """Evaluate a node whose dependencies are there; a `Call` that it returns or yields is added to the calls."""
        translation, name = key
        function = self.graph.functions.get(name)
        if function is None:
            raise KeyError(f"the batch has no '{name}' for {translation}")
        with error_context(f"computing '{name}' for {translation}", getattr(function, "__self__", None)):
            arguments = self.arguments(translation, argument_names(function), name.rpartition("/")[0], {})
            before = versions(arguments)
            value = function(**arguments)
            if wrong := changed_in_place(arguments, before):
                raise PluginFault(getattr(function, "__self__", None), f"node '{name}': {wrong}")
            if not isinstance(value, Generator):
                self._take(key, value, calls)
        if isinstance(value, Generator):
            running[key] = value
            self._resume(key, None, calls, running)

    def _take(self, key: Key, value: Any, calls: dict[Key, Call]) -> None:
        """Add the `Call` that a node has returned to the calls, or what else it has returned to the values.

        Raises:
            PluginFault: it can be neither.
        """
        name = key[1]
        owner = getattr(self.graph.functions[name], "__self__", None)
        if value is None and not _may_be_none(self.graph.functions[name]):
            what = f"node '{name}' returned None; return its value or a Call"
            raise PluginFault(owner, f"{what}, or declare that it may return None: -> Tensor | None")
        if not isinstance(value, Call):
            if name in _SAMPLES and not isinstance(value, Tensor):
                raise PluginFault(owner, f"node '{name}' returned {described(value)}, expected a tensor (N, C, *space)")
            self._check_size(key, value, owner)
            self.values[key] = value
            return
        for part, fits, expected in (
            ("role", isinstance(value.role, str), "the role of a network"),
            ("x", hasattr(value.x, "__len__") and not isinstance(value.x, str), "samples, (N, ...)"),
            ("conditions", isinstance(value.conditions, Mapping), "a table by name"),
        ):
            if not fits:
                what = f"the Call of node '{name}' has {part} = {type(getattr(value, part)).__name__}"
                raise PluginFault(owner, f"{what}; expected {expected}")
        calls[key] = value

    def _check_size(self, key: Key, value: Any, owner: object) -> None:
        """Raise PluginFault where in training a translation is not of the size of the samples that it is to be like."""
        like = self.values.get((key[0], "target" if key[1] == "fake" else "source"))
        trains = key[1] in _SAMPLES and self.values.get((key[0], "training"))
        if trains and isinstance(like, Tensor) and value.shape != like.shape:
            what = f"node '{key[1]}' returned {described(value)}, expected {tuple(like.shape)}"
            raise PluginFault(owner, f"{what}, the size of the samples")

    def _resume(
        self, key: Key, result: Any, calls: dict[Key, Call], running: dict[Key, Generator[Call, Any, Any]]
    ) -> None:
        """Give a node of several passes the result of its last one; it yields the next, or returns its value."""
        translation, name = key
        owner = getattr(self.graph.functions[name], "__self__", None)
        grad = torch.is_grad_enabled()
        with error_context(f"computing '{name}' for {translation}", owner):
            try:
                call = running[key].send(result)
            except StopIteration as stop:
                del running[key]
                self._take(key, stop.value, calls)  # a node may end with a pass: `return Call(...)`
                return
            if torch.is_grad_enabled() is not grad:  # it would be that of all passes that are due now
                what = f"node '{name}' yielded within torch.no_grad() or the like, which the pass does not see"
                raise PluginFault(owner, f"{what}; yield outside of it, and detach() the result")
            if not isinstance(call, Call):
                raise PluginFault(owner, f"node '{name}' yielded {type(call).__name__}, expected a Call")
            self._take(key, call, calls)

    def run_all(self, calls: Mapping[Key, Call]) -> dict[Key, Any]:
        """Run every call, merging those that can share a pass."""
        groups: dict[Any, list[Key]] = defaultdict(list)
        sizes: dict[Key, int] = {}
        for key, call in calls.items():
            owner = getattr(self.graph.functions.get(key[1]), "__self__", None)
            with error_context(f"computing '{key[1]}' for {key[0]}", owner):
                network = self.run.resolve(key[0], call.role, key[1].rpartition("/")[0])
                sizes[key] = len(call.x)
                groups[network, call.frozen, *self._merge_key(key, call, network)].append(key)
        results: dict[Key, Any] = {}
        for (network, frozen, *_), keys in groups.items():
            names = tuple(f"{translation}: {name}" for translation, name in keys)
            inputs = [calls[key].x for key in keys]
            with error_context(f"running network '{network}' for {', '.join(names)}"):
                if len(keys) == 1:
                    conditions = self.with_stage(network, calls[keys[0]].conditions)
                    results[keys[0]] = self.run(network, inputs[0], conditions, frozen)
                else:
                    conditions = self.with_stage(network, _stack([calls[key].conditions for key in keys]))
                    output = self.run(network, torch.cat(inputs), conditions, frozen)
                    results.update(zip(keys, _split(output, [sizes[key] for key in keys]), strict=True))
            self.passes.append(Pass(network, names, sum(sizes[key] for key in keys)))
        return results

    def _merge_key(self, key: Key, call: Call, network: str) -> tuple[Any, ...]:
        """Return what is equal for calls that may share a pass."""
        alone = (
            not isinstance(call.x, Tensor)
            or not self.run.should_merge(call.x)
            or self.run.mixes_batch(network)
            or not all(
                v.shape[:1] == call.x.shape[:1] if isinstance(v, Tensor) else _is_plain(v)
                for v in call.conditions.values()
            )
        )
        if alone:
            return (key,)
        conditions = tuple(
            (n, v.shape[1:] if isinstance(v, Tensor) else repr(v)) for n, v in sorted(call.conditions.items())
        )
        return (call.x.shape[1:], call.x.dtype, conditions)


@cache
def _may_be_none(function: Callable[..., Any]) -> bool:
    """Return whether a node says by its return type that its value may be None."""
    annotation = inspect.signature(function).return_annotation
    if isinstance(annotation, str):
        return "None" in annotation or annotation == "Any"
    return annotation is Any or type(None) in get_args(annotation)


def _is_plain(value: Any) -> bool:
    """Return whether a condition is the same for every sample: text, numbers, and lists of them."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float))


def _stack(conditions: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        n: torch.cat([each[n] for each in conditions]) if isinstance(v, Tensor) else v for n, v in conditions[0].items()
    }


def _split(output: Any, sizes: list[int]) -> list[Any]:
    """Split any nesting of tensors (N, ...) into batches of these sizes: the opposite of `_stack`."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        map_tensors(lambda x, start=start, size=size: x[start : start + size], output)  # type: ignore[misc]
        for start, size in zip(starts, sizes, strict=True)
    ]
