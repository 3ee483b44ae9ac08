"""The shape pass: a step on the meta device, which has shapes and no numbers. Lazy modules get their shapes from it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from transgan.api.protocols import Translation
from transgan.data.inputs import Side, assemble_inputs
from transgan.errors import UsageError
from transgan.graph import Key
from transgan.networks import Networks
from transgan.plan import Plan, Stage
from transgan.plan.kept import KEPT, kept_values
from transgan.plan.plan import MediaPlan
from transgan.rng import stable_hash
from transgan.schedule import Clock
from transgan.training.objective import Objective


class MetaRng:
    """Random numbers on the meta device."""

    def __init__(self, count: int):
        self.count = count

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return torch.empty(self.count, *shape, device="meta")

    normal = uniform


def meta_inputs(plan: Plan, stage: Stage, batch: int, clock: Clock) -> dict[Key, Any]:
    """Return the inputs of a batch on the meta device."""

    def samples(planned: MediaPlan) -> Tensor:
        media = planned.at(stage.size)
        return torch.empty(batch, media.channels, *media.space, device="meta")

    def side(translation: Translation, name: str) -> Side:
        domain = plan.recipe.tasks[translation.task].domains[0] if name == "*" else name
        labels = {n: torch.empty(batch, each.numbers, device="meta") for n, each in plan.recipe.attributes.items()}
        if kept := kept_values(plan.recipe):
            labels[KEPT] = torch.empty(batch, sum(map(len, kept.values())), device="meta")
        index = torch.zeros(batch, dtype=torch.long, device="meta")
        further = {n: samples(media) for n in plan.recipe.inputs if (media := plan.input_media.get(f"{domain}.{n}"))}
        x = samples(plan.media[domain])
        return Side(x, index, labels, further, Side(torch.empty_like(x), index, labels, further))

    inputs: dict[Key, Any] = {}
    for each in plan.translations:
        sides = side(each, each.source), side(each, each.target)
        pairs = side(each, each.source), side(each, each.target)
        inputs |= assemble_inputs(plan, each, *sides, MetaRng(batch), clock, training=True, pairs=pairs)
    return inputs


def build_lazy_modules(plan: Plan, networks: Mapping[str, nn.Module]) -> None:
    """Give lazy modules (`nn.LazyLinear`) shapes, by a pass of every phase, and weights that follow from the seed.

    Args:
        networks: those of the plan, by name; changed in place.

    Raises:
        UsageError: a lazy module takes part in no phase.
    """
    if not any(is_lazy(p) for network in networks.values() for p in network.parameters()):
        return
    shapes: dict[tuple[str, str], torch.Size] = {}
    tracing = Networks(plan, "meta", merge="always")
    for name, network in tracing.items():
        for path, module in network.named_modules():
            if _lazy(module):

                def note(_: nn.Module, inputs: tuple[Tensor, ...], key: tuple[str, str] = (name, path)) -> None:
                    shapes.setdefault(key, inputs[0].shape)

                module.register_forward_pre_hook(note, prepend=True)
    objective = Objective(plan, tracing, traces_all=True)
    for stage in plan.stages:
        clock = Clock(step=stage.first, run=stage.first / plan.recipe.train.steps)
        inputs = meta_inputs(plan, stage, max(1, stage.batch // plan.recipe.train.accumulate), clock)
        for phase in stage.phases:
            objective(phase, objective.compute_nodes(inputs, [phase], clock), clock)
    for name, network in networks.items():
        for path, module in network.named_modules():
            if _lazy(module):
                if (name, path) not in shapes:
                    what = f"its {type(module).__name__} '{path}'" if path else f"its {type(module).__name__}"
                    who = f"network '{name}' of '{plan.networks[name].use}'"
                    raise UsageError(f"{who}: {what} is a lazy module that no phase uses; give it a shape")
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(stable_hash(plan.recipe.train.seed, "lazy", name, path) >> 1)
                    infer: Any = module._infer_parameters
                    infer(module, (torch.empty(shapes[name, path], device="meta"),))


def _lazy(module: nn.Module) -> bool:
    return isinstance(module, LazyModuleMixin) and any(is_lazy(p) for p in module.parameters(recurse=False))
