"""Checks of sets of nodes."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from transgan.graph import Graph, Step
from transgan.testing.checker import Fault, N, in_a_line
from transgan.testing.naming import NamingChecker, Runner
from transgan.testing.values import (
    Batch,
    differ,
    on_meta,
    rows,
    tensors_of,
    translation_of,
)


class NodesChecker(NamingChecker):
    first_use = "nodes"

    def works(self, options: Any) -> None:
        plugin = self.build(options)
        self.values(plugin, self.batch(plugin))

    def graph_of(self, plugin: Any) -> Graph:
        return Graph({"": plugin})

    @property
    def functions(self) -> list[Callable[..., Any]]:
        return list(self.graph_of(self.plugin).functions.values())

    def arguments(self, plugin: Any) -> list[str]:
        return list(self.graph_of(plugin).functions)

    def values(self, plugin: Any, batch: Batch) -> dict[str, Any]:
        one, graph = translation_of(self.spec), self.graph_of(plugin)
        step = Step(
            graph, Runner(self.given.networks, self.spec), {(one, name): value for name, value in batch.items()}
        )
        step.compute([(one, name) for name in graph.functions])
        return {name: step.values[one, name] for name in graph.functions}

    def check_nodes(self) -> Iterator[str]:
        """Nodes are described, finite, and `fake` has the form of a sample."""
        functions = self.graph_of(self.plugin).functions
        if "fake" not in functions:
            yield "it has no node 'fake', the translation, which metrics, previews and models need; define one"
        for name, function in functions.items():
            if not (function.__doc__ or "").strip():
                yield f"node '{name}' has no docstring; say what it is and its shape, such as (N, C, *space)"
        values = self.values(self.plugin, self.batch())
        if isinstance(fake := values.get("fake"), Tensor):
            expected = (N, self.spec.channels, *self.spec.space)
            if tuple(fake.shape) != expected:
                yield f"node 'fake' is {tuple(fake.shape)}, expected (N, C, *space) = {expected}"
        for name, value in values.items():
            if any(x.is_floating_point() and not torch.isfinite(x).all() for x in tensors_of(value)):
                yield f"node '{name}' is NaN or infinite for random samples"
            if any(x.dtype == torch.float64 for x in tensors_of(value)):
                yield f"node '{name}' is float64 for float32 samples, which not every device has; use x.dtype"

    def check_gradients(self) -> Iterator[str]:
        """A gradient reaches what it trains, and is finite."""
        batch = self.batch()
        runner = Runner(self.given.networks, self.spec)
        one, graph = translation_of(self.spec), self.graph_of(self.plugin)
        step = Step(graph, runner, {(one, name): value for name, value in batch.items()})
        if "fake" in graph.functions:
            step.compute([(one, "fake")])
            if not step.values[one, "fake"].requires_grad:
                yield "no gradient goes through node 'fake', so that no generator can be trained; do not detach it"

    def check_independence(self) -> Iterator[str]:
        """A sample's nodes do not depend on the other samples of the batch."""
        batch = self.batch()
        whole = rows(self.values(self.plugin, batch), [2, 3])
        part = self.values(self.plugin, rows(batch, [2, 3]))
        for name, value in part.items():
            if differ(value, whole[name]):
                yield f"node '{name}' of a sample depends on other samples of its batch; compute it sample by sample"

    def check_determinism(self) -> Iterator[str]:
        """Equal inputs give equal results."""
        torch.manual_seed(9)
        one = self.values(self.plugin, self.batch())
        torch.manual_seed(10)
        batch = self.batch()
        torch.manual_seed(11)
        two = self.values(self.plugin, batch)
        for name, value in one.items():
            if differ(value, two[name], 1e-6):
                yield f"node '{name}' differs for equal inputs; take random numbers from 'rng' or 'latents'"

    def check_device(self) -> Iterator[str]:
        """It runs on any device, and can be traced on the meta device."""
        try:
            self.values(self.plugin, on_meta(self.batch()))
        except Fault:
            raise
        except Exception as error:
            raise Fault(
                f"its nodes cannot be traced on another device (meta), as `transgan check` does: {in_a_line(error)}; "
                "make tensors like those given, and read no values (item(), if) from them"
            ) from None
        yield from ()
