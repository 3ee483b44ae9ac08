"""`train.compile`: networks that torch.compile compiles."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from transgan.tree import map_tensors

#: The backend of torch.compile; tests choose one that needs no C compiler.
COMPILER = "inductor"
#: How often a network may be compiled: for each stage's size, with and without gradients, frozen or not.
COMPILATIONS = 64


class Compiled:
    """Compiles networks when they are first called with a shape of sample; the batch's length may vary."""

    def __init__(self, networks: Mapping[str, nn.Module]):
        self.seen: set[tuple[Any, ...]] = set()
        self.begins: Callable[[str], None] = lambda message: None
        """Called with a line before a compilation, which takes its time."""
        # Of the compiler's own reading of tensors.
        warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf")
        torch._dynamo.config.recompile_limit = max(COMPILATIONS, torch._dynamo.config.recompile_limit)
        for network in networks.values():
            network.compile(backend=COMPILER)

    def prepare(self, name: str, x: Any, how: tuple[bool, ...]) -> None:
        """Get ready for a call of a network."""
        shapes: list[Any] = []

        def visit(x: Tensor) -> Tensor:
            shapes.append((x.shape[1:], x.requires_grad))
            if len(x) > 1:
                torch._dynamo.maybe_mark_dynamic(x, 0)
            return x

        map_tensors(visit, x)
        key = (name, *how, torch.is_grad_enabled(), *shapes)
        if key not in self.seen:
            self.seen.add(key)
            self.begins(f"compiling network '{name}' for samples of {' '.join(str(tuple(s)) for s, _ in shapes)}")
