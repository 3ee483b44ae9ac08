"""The networks of a plan, and what runs them."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from transgan.api.protocols import Network, Translation
from transgan.errors import PluginFault, UsageError, did_you_mean
from transgan.graph import Key, Step, accepts_any_keyword, argument_names, error_context
from transgan.networks import memory_format
from transgan.networks.checkpointing import checkpoint, checkpointed
from transgan.networks.compilation import Compiled
from transgan.networks.outputs import wrong_output
from transgan.networks.precision import DTYPES, can_compute_in, fp32_precisions, set_fp32_precisions, to_fp32
from transgan.networks.spectral_norm import spectral_norms
from transgan.networks.tensors import load_network_tensors, network_tensors
from transgan.plan import Conditioned, Plan, Stage, build_networks, mixes_batch
from transgan.plan.kept import KEPT
from transgan.plan.plan import is_frozen
from transgan.tree import changed_in_place, versions

#: On a CPU, calls with fewer numbers than this share a pass: below it a pass costs more to start than to compute.
SMALL = 100_000


class Networks(Mapping[str, nn.Module]):
    """The networks by name, and what runs them.

    Args:
        device: `"meta"` for shapes without numbers.
        networks: by name; defaults to new ones, built from the plan.
        merge: `"auto"`, `"always"` or `"never"`; defaults to `train.merge`.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device | str = "cpu",
        networks: Mapping[str, nn.Module] | None = None,
        merge: str | None = None,
    ):
        self.plan = plan
        self.device = torch.device(device)
        trained = networks is None
        if networks is None:
            networks = build_networks(plan, "meta" if self.device.type == "meta" else "cpu")
        self._networks = {name: network.to(self.device) for name, network in networks.items()}
        #: Parameters that some stage trains, of those that their author has not frozen.
        self._trainable = {
            name: [
                parameter
                for key, parameter in each.named_parameters()
                if parameter.requires_grad and not all(is_frozen(name, key, stage.freeze) for stage in plan.stages)
            ]
            for name, each in self.items()
        }
        self._given: dict[str, set[str]] = {}  # the names of the conditions that each network was given
        self._parameters = {name: dict(each.named_parameters()) for name, each in self.items()}
        self._requires_grad = dict.fromkeys(self, True)
        self._spectral_norms = {name: spectral_norms(network) for name, network in self.items()}
        self._stage: Stage | None = None
        self._frozen: set[Tensor] = set()
        self._frozen_norms: list[nn.Module] = []
        self.freeze(plan.stages[0])
        self.merge = merge or plan.recipe.train.merge
        train = plan.recipe.train
        self.dtype = DTYPES[train.precision] if can_compute_in(DTYPES[train.precision], self.device) else None
        """What networks compute in; None for the dtype of their weights, also where a device has no other."""
        self.scales = self.dtype == torch.float16
        """Whether losses are scaled, since small gradients would vanish."""
        self.channels_last = {
            name for name, network in self.items() if memory_format.pays(network, self.device, self.dtype)
        }
        """The names of the networks that compute with channels last."""
        for name in self.channels_last:
            self[name].to(memory_format=torch.channels_last)
        if self.device.type == "cuda" and not train.tf32:
            set_fp32_precisions("ieee", "ieee")  # also outside of phases, where models translate and are measured
        self.checkpointed = checkpointed(self, train.checkpointing, known={*plan.networks, *self})
        self.compiled = Compiled(self) if train.compile and trained and self.device.type != "meta" else None
        self._mixing = {name for name, network in self.items() if mixes_batch(network)}
        self._with_after_step = {
            name: [
                m for m in network.modules() if isinstance(m, Network) and type(m).after_step is not Network.after_step
            ]
            for name, network in self.items()
        }

    def __getitem__(self, name: str) -> nn.Module:
        return self._networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def check_parameters(self, cause: str) -> None:
        """Check that every network has the parameters that it was built with: optimizers and checkpoints have these.

        Raises:
            PluginFault: a plugin has put others in their place, or added some.
        """
        for name, network in self.items():
            before, now = self._parameters[name], dict(network.named_parameters())
            if other := [key for key in now if now[key] is not before.get(key)]:
                what = "new" if other[0] not in before else "another object than before"
                raise PluginFault(
                    self._plugin(name, other[0]),
                    f"network '{name}': after {cause} its parameter '{other[0]}' is {what}, which no optimizer trains; "
                    "build layers in __init__, and change parameters in place: with torch.no_grad(): p.copy_(value)",
                )

    def unread_conditions(self) -> list[str]:
        """Return a line for each condition of the nodes' own that networks are given and that nothing in them takes."""
        lines: dict[str, None] = {}  # a slot has one line, however many networks
        for name, given in self._given.items():
            planned = self.plan.networks[name]
            module = self[name]
            if planned.conditionings is None or not isinstance(module, Conditioned):
                continue  # of a loss, which calls it itself
            forward = type(module.network).forward
            if accepts_any_keyword(forward):
                continue
            taken = set(argument_names(forward))
            for cls, options in planned.conditionings:
                of = getattr(options, "of", None)
                taken |= {of} if of else set(argument_names(cls.forward))
            for condition in sorted(given - taken - {"task", "domain", KEPT, *self.plan.recipe.attributes}):
                what = f"gives [{planned.kind}.{name.partition('.')[0]}] the condition '{condition}'"
                hint = did_you_mean(condition, taken - {"self", "x", "style"})
                remedy = f"Choose other nodes, another network there, or give it a conditioning of '{condition}'"
                own = {name.rpartition("/")[0] for name in self.plan.graph.functions if "/" in name}
                givers = [f"'{self.plan.recipe.nodes.use}'", *(f"loss '{each}'" for each in sorted(own))]
                line = f"nodes: {' or '.join(givers)} {what}, which nothing in it takes. {hint} {remedy}"
                lines[line] = None
        return list(lines)

    def trainable(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of a network that some stage trains: neither its author nor the recipe freezes them."""
        if self._requires_grad[name]:  # one may have been frozen since
            self._trainable[name] = [p for p in self._trainable[name] if p.requires_grad or p in self._frozen]
        return self._trainable[name]

    def set_trainable(self, names: Iterable[str]) -> None:
        """Require gradients for the parameters of these networks, and of no others. What is frozen stays frozen."""
        names = set(names)
        for name in self:
            for parameter in self.trainable(name):
                parameter.requires_grad = name in names and parameter not in self._frozen  # also of lazy ones
            self._requires_grad[name] = name in names

    def freeze(self, stage: Stage) -> None:
        """Freeze what the recipe freezes in a stage, and nothing else that it freezes in others.

        Frozen are parameters, the running statistics of norms and the power iterations of spectral norms.
        """
        if stage is self._stage:
            return
        if self._stage:
            self.set_trainable(())
        for module in self._frozen_norms:
            module.train()
        self._stage, self._frozen, self._frozen_norms = stage, set(), []
        for name, network in self.items() if stage.freeze else ():
            for key, parameter in network.named_parameters():
                if is_frozen(name, key, stage.freeze):
                    self._frozen.add(parameter.requires_grad_(False))
            for key, module in network.named_modules():
                frozen = is_frozen(name, f"{key}.running_mean", stage.freeze)
                if frozen and module.training and getattr(module, "running_mean", None) is not None:
                    self._frozen_norms.append(module.eval())

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch all networks to evaluation mode, and every module back to the mode that it was in."""
        modes = [(module, module.training) for network in self.values() for module in network.modules()]
        for network in self.values():
            network.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    @torch.no_grad()
    def begin_step(self) -> None:
        """Iterate spectral norms once, so that the result does not depend on the number of passes in a step."""
        for norms in self._spectral_norms.values():
            for norm in norms:
                if norm.weight not in self._frozen:
                    norm.iterate()

    def after_step(self, name: str) -> None:
        """Call the `after_step` of a network that an optimizer has updated. What is frozen stays as it is."""
        if modules := self._with_after_step[name]:
            kept = [(p, p.detach().clone()) for p in self[name].parameters() if p in self._frozen]
            for module in modules:
                with error_context(f"calling after_step of network '{name}'", module):
                    module.after_step()
            with torch.no_grad():
                for parameter, value in kept:
                    parameter.copy_(value)

    def resolve(self, translation: Translation, role: str, owner: str = "") -> str:
        """Return the name of the network that has a role in a translation; a network's own name is a role too.

        Args:
            owner: the loss whose node names the role; its own networks come first, under their short names.

        Raises:
            UsageError: there is none.
        """
        if owner and (own := f"{owner}/{role}") in self:
            return own
        roles = self.plan.roles[translation]
        name = roles.get(role, role)
        if name not in self:
            short = [each.removeprefix(f"{owner}/") for each in self if owner and each.startswith(f"{owner}/")]
            one_way = self.plan.one_way(translation) if role == "back" else ""
            hint = f"; {one_way}" if one_way else f". {did_you_mean(role, [*roles, *short])}"
            raise UsageError(f"no network has the role '{role}' for {translation}{hint}")
        return name

    def mixes_batch(self, name: str) -> bool:
        """Return whether a network's samples affect each other."""
        return name in self._mixing

    def takes(self, name: str, condition: str) -> bool:
        """Return whether a network, or a conditioning before it, takes a condition."""
        return self.plan.networks[name].takes(condition)

    def should_merge(self, x: Tensor) -> bool:
        """Return whether calls with this input should share a pass."""
        if self.merge != "auto":
            return self.merge == "always"
        return self.device.type != "cpu" or x.numel() < SMALL

    def __call__(
        self, name: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, full_precision: bool = False
    ) -> Any:
        """Run a network.

        Args:
            frozen: let gradients pass through, but not reach the parameters.
            full_precision: run in fp32 whatever the recipe says.
        """
        network = self[name]
        self._given.setdefault(name, set()).update(conditions)
        self._check_call(name, x, conditions)
        if name in self.channels_last:
            x = memory_format.channels_last(x)
        if self.compiled:
            self.compiled.prepare(name, x, (frozen, full_precision))
        weights: dict[str, Tensor] = {}
        # In the shape pass, lazy parameters get their shapes from the first call, whatever it is.
        if frozen and not any(is_lazy(p) for p in network.parameters()):
            weights = {n: p.detach() for n, p in network.named_parameters()}

        def run(x: Any) -> Any:
            return functional_call(network, weights, (x,), dict(conditions)) if weights else network(x, **conditions)

        autocast = self._autocast() if self.dtype and not full_precision else nullcontext()
        given = {"x": x, **conditions}
        before = versions(given)
        with error_context(plugin=self._plugin(name)), autocast:
            computes_again = name in self.checkpointed and torch.is_grad_enabled()
            output = checkpoint(network, run, x) if computes_again else run(x)
        if changed := changed_in_place(given, before):
            raise PluginFault(self._plugin(name), changed)
        planned = self.plan.networks[name]
        if wrong := wrong_output(planned.kind, planned.spec, self._is_whole(name, conditions), x, output):
            raise PluginFault(self._plugin(name), wrong)
        if name in self.channels_last:
            output = memory_format.rows_last(output)
        return to_fp32(output) if self.dtype else output

    def _plugin(self, name: str, key: str = "") -> type[Any]:
        """Return the class of a network, or of the loss whose own it is; of a conditioning where the key is one's."""
        module = self[name]
        if isinstance(module, Conditioned) and key.startswith("conditionings."):
            return type(module.conditionings[int(key.split(".")[1])])
        return type(module.network if isinstance(module, Conditioned) else self.plan.losses[name.partition("/")[0]])

    def _is_whole(self, name: str, conditions: Mapping[str, Any]) -> bool:
        """Return whether a call asks a generator for a sample.

        A condition that is no tensor asks for a part of it, such as its activations after some layers.
        """
        of_stage = self._stage.conditions if self._stage else {}
        tensors = all(isinstance(value, Tensor) for each, value in conditions.items() if each not in of_stage)
        return self.plan.networks[name].kind == "generators" and tensors

    def _check_call(self, name: str, x: Any, conditions: Mapping[str, Any]) -> None:
        """Raise ValueError where nodes give a network another input than it is built for, or too few conditions."""
        channels = self.plan.networks[name].spec.source_channels
        if self._is_whole(name, conditions) and x.shape[1] != channels:
            raise ValueError(f"its input has {x.shape[1]} channels, expected {channels}")
        module = self[name]
        if isinstance(module, Conditioned):  # a loss calls its own itself
            for each in _needed(type(module.network).forward):
                if each not in conditions and each != "style":
                    raise ValueError(f"it needs the condition '{each}', which its nodes do not give it here")

    def _autocast(self) -> torch.autocast:
        # A weight that was cast without gradients must not be taken from the cache where they are wanted.
        return torch.autocast(self.device.type, self.dtype, cache_enabled=torch.is_grad_enabled())

    @contextmanager
    def phase(self, tf32: bool = False) -> Iterator[None]:
        """Run a phase: between two optimizer steps. Weights are cast once in it, and not at each pass.

        Args:
            tf32: whether fp32 products may be rounded to TF32, where there is a GPU that can.
        """
        before = fp32_precisions()
        set_fp32_precisions(*["tf32" if tf32 else "ieee"] * 2)
        try:
            # The cache of autocast is emptied at the end of the outermost context, which would be every pass.
            with torch.autocast(self.device.type, self.dtype, enabled=False) if self.dtype else nullcontext():
                yield
        finally:
            set_fp32_precisions(*before)

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by `network|name`."""
        return network_tensors(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned; ValueError where it does not fit."""
        load_network_tensors(self, state)

    @torch.no_grad()
    def compute(self, inputs: Mapping[Key, Any], translation: Translation, names: Iterable[str]) -> dict[str, Any]:
        """Compute nodes of one translation without gradients; return them by name."""
        names = list(names)
        step = Step(self.plan.graph, self, inputs)
        step.compute([(translation, name) for name in names])
        return {name: step.values[translation, name] for name in names}

    def can_compute(self, translation: Translation, node: str) -> bool:
        """Return whether a node exists for a translation: a one-way task has no `reconstruction`, nor what needs it.

        Nor has any what needs a further input that its domains do not have.
        """
        if self.plan.lacking(translation, [node]):
            return False
        if "back" in self.plan.roles[translation] or translation.target == "*":
            return True
        return "reconstruction" not in self.plan.graph.closure([node])


@cache
def _needed(forward: Callable[..., Any]) -> tuple[str, ...]:
    """Return the arguments of a network's `forward` behind `x` that have no default."""
    parameters = list(inspect.signature(forward).parameters.values())[2:]  # but self and x
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(each.name for each in parameters if each.default is each.empty and each.kind in kinds)
