"""Flow matching between two domains: a velocity field carries samples from one to the other; there is no adversary.

Lipman et al. (2023); between any two distributions, with couplings by optimal transport: Tong et al. (2024), Pooladian
et al. (2023).
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from transgan_standard.nodes import Passes, TranslationNodes

from transgan.api import Call, Conditions, Loss, Nodes, Options, SampleRng, UsageError, node, require

Coupling = Literal["independent", "transport", "entropic"]
Solver = Literal["euler", "heun"]


class FlowOptions(Options):
    """Options of the nodes `flow_translation`."""

    coupling: Coupling = "independent"
    """Which target each source of a batch is carried to in training: `independent`, the one that was drawn beside it
    (in a task of pairs its partner); `transport`, that of the plan of least squared distance within the batch, exactly
    (needs SciPy); `entropic`, drawn from the plan of entropic optimal transport (needs POT)."""
    regularization: float = Field(0.05, gt=0)
    """With `entropic`, the weight of the entropy, as a share of the batch's mean squared distance (above 0)."""
    sigma: float = Field(0.0, ge=0)
    """Standard deviation of the noise around the line from source to target (0 or more)."""
    solver: Solver = "heun"
    """How the way is followed in translation: `euler`, a pass for each step, or `heun`, the trapezoidal rule, two."""
    passes: int = Field(8, ge=1, le=1000)
    """Passes of the network for a translation, unless the user asks for another number, `--passes` (1 or more). With
    `heun`, an odd number ends with a step of `euler`."""


class FlowNodes(TranslationNodes, Nodes[FlowOptions]):
    """The nodes of flow matching: a point of the line from a source to its target, and the velocity there.

    The role `generator` is the velocity, `generator(x, time)`, in units of samples per unit of time: give it
    `output = "linear"` and the conditioning `time`. A translation follows it from 0 to 1. In a task with both
    directions each has a network of its own, `per = "translation"`.

    Samples are (N, C, *space), times (N,).
    """

    options: FlowOptions

    @node
    def coupled_target(self, source: Tensor, target: Tensor, rng: SampleRng) -> Tensor:
        """The target that each source is carried to, (N, C, *space): targets of the batch, in the coupling's order."""
        options = self.options
        if options.coupling == "independent" or source.is_meta:
            return target
        if source.shape[1:] != target.shape[1:]:
            raise UsageError(
                f'nodes.coupling = "{options.coupling}" compares sources, {tuple(source.shape[1:])}, with targets, '
                f'{tuple(target.shape[1:])}; expected equal shapes, or "independent"'
            )
        if options.coupling == "transport":
            return target[transport(source, target)]
        return target[entropic(source, target, options.regularization, rng.uniform("coupling"))]

    @node
    def time(self, rng: SampleRng) -> Tensor:
        """The moment of each sample, (N,), uniform in [0, 1)."""
        return rng.uniform("time")

    @node
    def moved(self, source: Tensor, coupled_target: Tensor, time: Tensor, rng: SampleRng) -> Tensor:
        """The point at that moment, (N, C, *space): on the line from source to target, or near it by `sigma`."""
        share = time.to(source).view(-1, *[1] * (source.dim() - 1))
        x = source + share * (coupled_target - source)
        return x + self.options.sigma * rng.normal("flow", *x.shape[1:]).to(x) if self.options.sigma else x

    @node
    def velocity(self, moved: Tensor, to_target: Conditions, time: Tensor) -> Call:
        """What the network says of the velocity there, (N, C, *space)."""
        return Call("generator", moved, {**to_target, "time": time})

    @node
    def fake(self, source: Tensor, to_target: Conditions, passes: int | None, strength: float | None) -> Passes:
        """Follow the velocity from the source to the target domain, (N, C, *space); as far as `strength`, if given."""
        end = 1.0 if strength is None else strength
        return self._followed("generator", source, to_target, passes or self.options.passes, end)

    @node
    def reconstruction(self, fake: Tensor, to_source: Conditions, passes: int | None) -> Passes:
        """Follow the velocity of the way back from the fake, (N, C, *space)."""
        return self._followed("back", fake, to_source, passes or self.options.passes, 1.0)

    @node
    def identity(self, target: Tensor) -> Tensor:
        """The target itself, (N, C, *space): a flow leads from one domain to the other, and has no other way."""
        return target

    def _followed(self, role: str, x: Tensor, to: Conditions, passes: int, end: float) -> Passes:
        """Return x at the moment `end`, with that many passes."""

        def velocity(x: Tensor, time: float) -> Call:
            return Call(role, x, {**to, "time": torch.full((len(x),), time, device=x.device)})

        heun = self.options.solver == "heun"
        steps = -(-passes // 2) if heun else passes
        for i in range(steps):
            time, after = end * i / steps, end * (i + 1) / steps
            there = yield velocity(x, time)
            moved = x + (after - time) * there
            if heun and 2 * i + 1 < passes:
                then = yield velocity(moved, after)
                moved = x + 0.5 * (after - time) * (there + then)
            x = moved
        return x


class FlowMatching(Loss):
    """Mean squared difference of the network's velocity and that of the line from source to target.

    Tong et al. (2024), eq. 9 and 14, with the nodes `flow_translation`. It has no adversary, and needs none.
    """

    nonzero_at_end = True

    def for_generator(self, velocity: Tensor, source: Tensor, coupled_target: Tensor) -> Tensor:
        return (velocity - (coupled_target - source)).square().mean()


def squared_distances(source: Tensor, target: Tensor) -> Any:
    """Return the squared distances of samples, (N, M), as an array in float64."""
    x, y = (each.detach().flatten(1).double() for each in (source, target))
    return torch.cdist(x, y).square().cpu().numpy()


def transport(source: Tensor, target: Tensor) -> Tensor:
    """Return for each source the index of its target, (N,), in the assignment of the least sum of squared distances.

    Between two sets of equally many points with equal weights it is a plan of optimal transport (Peyre & Cuturi, 2019,
    proposition 2.1).

    Raises:
        PluginError: SciPy is not installed.
        UsageError: there are more or fewer targets than sources.
    """
    if len(source) != len(target):
        raise UsageError(f"transport couples equally many samples, and these are {len(source)} and {len(target)}")
    optimize: Any = require("scipy.optimize", "transport", 'nodes.coupling = "transport"')
    _, order = optimize.linear_sum_assignment(squared_distances(source, target))
    return torch.from_numpy(order).to(target.device)


def entropic(source: Tensor, target: Tensor, regularization: float, uniform: Tensor) -> Tensor:
    """Return for each source the index of a target, (N,), drawn from its row of the entropic plan (Cuturi, 2013).

    Args:
        regularization: the weight of the entropy, as a share of the mean squared distance.
        uniform: (N,) random numbers in [0, 1).

    Raises:
        PluginError: POT is not installed.
    """
    ot: Any = require("ot", "transport", 'nodes.coupling = "entropic"')
    costs = squared_distances(source, target)
    scale = regularization * max(float(costs.mean()), 1e-12)
    plan = torch.from_numpy(ot.sinkhorn([], [], costs, scale, method="sinkhorn_log", warn=False))
    rows = (plan / plan.sum(1, keepdim=True)).cumsum(1)
    chosen = torch.searchsorted(rows, uniform.cpu().to(rows)[:, None], right=True)[:, 0]
    return chosen.clamp(max=len(target) - 1).to(target.device)
