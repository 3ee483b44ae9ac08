"""Transfer: which weights of another run the networks of a plan begin with, and a report of it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from transgan.errors import TransganError, UsageError
from transgan.options import Options
from transgan.plan import NetworkPlan, Plan, build_networks
from transgan.plan.layout import Entries, Label, Names, layout_of, unnamed_layout, with_names
from transgan.recipe.upgrade import upgrade
from transgan.recipe.write import value_in_toml
from transgan.text import listed
from transgan.training.shapes import build_lazy_modules

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Part:
    """What of a tensor is taken: everything, or some entries of some axes."""

    tensor: Tensor
    rows: tuple[tuple[list[int], list[int]] | None, ...] = ()
    """For each axis the entries here, and those there that they are taken from; None for all."""

    @property
    def whole(self) -> bool:
        """Whether everything is taken."""
        return not any(self.rows)

    @property
    def count(self) -> int:
        """The number of entries that are taken."""
        sizes = zip(self.tensor.shape, self.rows or (None,) * self.tensor.dim(), strict=True)
        return prod(len(rows[0]) if rows else size for size, rows in sizes)

    def put_into(self, tensor: Tensor) -> Tensor:
        """Return a tensor with what is taken; the rest stays."""
        if self.whole:
            return self.tensor
        taken, places = self.tensor, []
        for axis, rows in enumerate(self.rows):
            here, there = rows or (range(tensor.shape[axis]),) * 2
            taken = taken.index_select(axis, torch.tensor(list(there), dtype=torch.long))
            places.append(torch.tensor(list(here), dtype=torch.long))
        tensor = tensor.clone()
        tensor[torch.meshgrid(places, indexing="ij")] = taken.to(tensor)
        return tensor


@dataclass(frozen=True)
class NetworkStart:
    """How a network begins."""

    name: str
    parameters: int
    """How many it has."""
    origin: str = ""
    """The network that its weights are from; empty where it begins anew."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """What is taken, by the tensor's name."""
    taken: int = 0
    """How many parameters are taken."""
    whole: bool = False
    """Whether all of its tensors are taken."""
    new: tuple[str, ...] = ()
    """What begins anew in it: `domain blue`."""
    unused: tuple[str, ...] = ()
    """What it had there and has not here."""
    why: str = ""
    """Why it begins anew."""

    def __str__(self) -> str:
        if not self.origin:
            return f"{self.name}: begins anew, {self.parameters:,} parameters; {self.why}"
        share = "all" if self.taken == self.parameters else f"{self.taken:,} of"
        text = f"{self.name}: {share} {self.parameters:,} parameters"
        text += f" of '{self.origin}'" if self.origin != self.name else ""
        text += f"; new: {listed(self.new)}" if self.new else ""
        return text + (f"; unused: {listed(self.unused)}" if self.unused else "")


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a run begins with, of another one."""

    path: str
    networks: list[NetworkStart]
    unused: list[str]
    """Networks there that no network begins with."""

    @property
    def whole(self) -> list[str]:
        """The networks that begin with all of their weights."""
        return [each.name for each in self.networks if each.whole]

    def report(self) -> Iterator[str]:
        """Yield the lines that say what is taken."""
        taken, parameters = (sum(getattr(each, what) for each in self.networks) for what in ("taken", "parameters"))
        yield f"weights from {self.path}: {taken:,} of {parameters:,} parameters"
        yield from (f"  {each}" for each in self.networks)
        if self.unused:
            yield f"  unused of it: {listed(self.unused)}"

    def load_into(self, networks: Mapping[str, nn.Module], skip: Collection[str] = ()) -> None:
        """Give networks their weights; new rows keep those that they have.

        Args:
            skip: tensors that stay as they are, by `network|name`.
        """
        for each in self.networks:
            if each.origin:
                state = networks[each.name].state_dict()
                for key, part in each.parts.items():
                    if f"{each.name}|{key}" not in skip:
                        state[key] = part.put_into(state[key])
                networks[each.name].load_state_dict(state)


class _Origin:
    """What the config of a model says of its recipe; it may come from a stranger, or be missing."""

    def __init__(self, config: Any):
        table = config.get("recipe") if isinstance(config, Mapping) else None
        self.recipe = upgrade(table) if isinstance(table, Mapping) else {}
        if self.recipe and isinstance(config, Mapping):  # a model is rebuilt without them, so they stand apart
            self.recipe.setdefault("discriminators", config.get("discriminators"))

    def table(self, *keys: str) -> Mapping[str, Any]:
        """Return a table of the recipe; an empty one where there is none."""
        table: Any = self.recipe
        for key in keys:
            table = table.get(key) if isinstance(table, Mapping) else None
        return table if isinstance(table, Mapping) else {}

    def names(self, here: Names) -> Names:
        """Return the recipe's names, as far as they are known, else those here."""
        if not self.recipe:
            return here
        attributes = {}
        for name, each in self.table("attributes").items():
            values = each.get("values") if isinstance(each, Mapping) else None
            attributes[name] = tuple(map(str, values)) if isinstance(values, list) else ("",)
        domains, tasks = (tuple(self.table(what)) or getattr(here, what) for what in ("domains", "tasks"))
        return Names(domains, tasks, attributes, tuple(self.table("conditionings")))

    def kind(self, network: str) -> str:
        """Return the kind of a network there."""
        slot = network.partition(".")[0]
        known = [kind for kind in ("generators", "encoders") if slot in self.table(kind)]
        return "losses" if "/" in network else known[0] if known else "discriminators"

    def conditionings(self, kind: str, slot: str) -> list[str]:
        """Return the conditionings that a network had there; none where its slot is not known."""
        known, table = list(self.table("conditionings")), self.table(kind, slot)
        said = table.get("conditionings", known if table and kind == "generators" else [])
        return [each for each in known if isinstance(said, list) and each in said]

    def order(self, networks: Iterable[str]) -> list[str]:
        """Return networks in the order of their slots, and of each the copies in that of tasks, domains and pairs."""
        domains = list(self.table("domains"))
        copies = [*self.table("tasks"), *domains, *(f"{a}-{b}" for a, b in permutations(domains, 2))]
        slots = [*self.table("generators"), *self.table("encoders")]

        def position(name: str) -> list[int]:
            pairs = zip(name.partition(".")[::2], (slots, copies), strict=True)
            return [known.index(part) if part in known else len(known) for part, known in pairs]

        return sorted(networks, key=position)


def match_weights(plan: Plan, path: str, weights: Mapping[str, Tensors], config: Any) -> InitialWeights:
    """Return which weights the networks of a plan begin with.

    Networks are matched by name, then by role: see `match_networks`. Tensors are matched by name and shape, their
    entries for domains, tasks, values of attributes and conditionings by the names of these.

    Args:
        path: where the weights are from, for messages.
        weights: by network and name.
        config: of the model that they are from; what is not known of it is taken to be as in the plan.

    Raises:
        UsageError: no network matches, or one has the name of one there and other shapes.
    """
    return _Matcher(plan, path, weights, _Origin(config)).match()


class _Matcher:
    """Matches the networks of a plan with those of a model.

    Args:
        weights: the model's tensors, by network and name.
    """

    def __init__(self, plan: Plan, path: str, weights: Mapping[str, Tensors], origin: _Origin):
        self.plan = plan
        self.path = path
        self.weights = weights
        self.origin = origin
        self.here = Names.of(plan)
        self.there = origin.names(self.here)
        self.modules = build_networks(plan, "meta")
        build_lazy_modules(plan, self.modules)

    def match(self) -> InitialWeights:
        """Return what each network begins with.

        Raises:
            UsageError: none is matched, or one has the name of one there and other shapes.
        """
        origins = match_networks(
            {name: network.kind for name, network in self.plan.networks.items()},
            {name: self.origin.kind(name) for name in self.origin.order(self.weights)},
        )
        found = []
        for name, planned in self.plan.networks.items():
            origin = origins.get(name)
            try:
                found.append(self._start(planned, origin))
            except _Misfit as misfit:
                if name == origin:
                    why = self._dropped(planned) or f"{misfit}; {self._remedy(planned)}"
                    raise UsageError(
                        f"train.init_from = {self.path!r}: the weights of '{name}' do not fit: {why}"
                    ) from None
                found.append(self._anew(name, f"'{origin}' does not fit: {misfit}"))
        used = {each.origin for each in found}
        if not used - {""}:
            raise UsageError(
                f"train.init_from = {self.path!r}: it has networks {listed(sorted(self.weights))}; "
                f"expected one of this recipe's, {listed(sorted(self.plan.networks))}, or one of its kind and shape"
            )
        return InitialWeights(self.path, found, sorted(self.weights.keys() - used))

    def _anew(self, name: str, why: str) -> NetworkStart:
        return NetworkStart(name, _count(self.modules[name]), why=why)

    def _start(self, planned: NetworkPlan, origin: str | None) -> NetworkStart:
        """Return how a network begins.

        Raises:
            _Misfit: the weights do not fit.
        """
        name = planned.name
        if origin is None:
            return self._anew(name, "no network there has its name or its role")
        tensors, module = self.weights[origin], self.modules[name]
        there = self._as_there(planned)
        try:
            if there:
                before, after = layout_of(there, self.there, module), layout_of(planned, self.here, module)
            else:
                before = after = unnamed_layout(module)
        except TransganError as error:
            raise _Misfit(f"it cannot be built for the domains there: {error}") from None
        shapes = {each.key: each.shape for each in before.values()}
        where = "in this recipe with the domains there" if there else "in this recipe"
        for key in sorted(tensors.keys() | shapes.keys()):
            found = tuple(tensors[key].shape) if key in tensors else None
            if found != shapes.get(key):
                one, two = ("missing" if shape is None else f"of shape {shape}" for shape in (found, shapes.get(key)))
                raise _Misfit(f"'{key}' is {one} there, and {two} {where}")
        parts = {
            each.key: _part(each, before[label], tensors[before[label].key])
            for label, each in after.items()
            if label in before
        }
        parameters = {key for key, _ in module.named_parameters()}
        taken = sum(part.count for key, part in parts.items() if key in parameters)
        whole = all(each.key in parts and parts[each.key].count == prod(each.shape) for each in after.values())
        ours, theirs = _named(after), _named(before)
        new = tuple(each for each in ours if each not in theirs)
        unused = tuple(each for each in theirs if each not in ours)
        return NetworkStart(name, _count(module), origin, parts, taken, whole, new, unused)

    def _as_there(self, planned: NetworkPlan) -> NetworkPlan | None:
        """Return a network as it would be with the names there; None where that is the same."""
        known = self.there.conditionings
        common = [each for each in planned.conditioning_names if each in known and self._same_condition(planned, each)]
        if common == [each for each in self.here.conditionings if each in common]:  # in the order of the table
            common.sort(key=known.index)
        there = replace(self.there, conditionings=tuple(common))
        if there == replace(self.here, conditionings=planned.conditioning_names):
            return None
        return with_names(planned, there)

    def _same_condition(self, planned: NetworkPlan, conditioning: str) -> bool:
        """Return whether a conditioning there is of the same condition."""
        options = dict(zip(planned.conditioning_names, planned.conditionings or (), strict=True))[conditioning][1]
        of = self.origin.table("conditionings", conditioning, "options").get("of")
        return of in (None, getattr(options, "of", of))

    def _dropped(self, planned: NetworkPlan) -> str:
        """Return which conditioning a network had there and has not here, and how it gets it back; empty for none."""
        slot = planned.name.partition(".")[0]
        place = f"[{planned.kind}.{slot}]"
        if self._other_use(planned):
            return ""
        for name in self.origin.conditionings(planned.kind, slot):
            options = self.origin.table("conditionings", name, "options")
            of = options.get("of", name)
            if name in planned.conditioning_names and self._same_condition(planned, name):
                continue
            if name in planned.conditioning_names:
                remedy = f'set of = "{of}" in [conditionings.{name}]'
            elif name in self.here.conditionings:
                remedy = f"add '{name}' to conditionings in {place}"
            else:
                table = {"use": self.origin.table("conditionings", name).get("use", name), **options}
                remedy = f"add [conditionings] {name} = {value_in_toml(table)}"
                remedy += "" if planned.kind == "generators" else f" and '{name}' to conditionings in {place}"
            if of in self.there.attributes and of not in self.here.attributes:
                remedy += f" and [attributes] {of}"
            what = f"there [conditionings.{name}] conditions it on '{of}', and here nothing does"
            return f"{what}; {remedy}, as there, or rename {place} to begin anew"
        return ""

    def _other_use(self, planned: NetworkPlan) -> str:
        """Return the plugin that a network's slot names there, where it is another; else an empty text."""
        use = self.origin.table(planned.kind, planned.name.partition(".")[0]).get("use", planned.use)
        return "" if use == planned.use else str(use)

    def _remedy(self, planned: NetworkPlan) -> str:
        """Return how a network can be made to fit."""
        slot = planned.name.partition(".")[0]
        if use := self._other_use(planned):
            return f"there [{planned.kind}.{slot}] is '{use}'; use that, or rename the slot to begin anew"
        places = [(planned.kind, slot, planned.options)]
        chosen = zip(planned.conditioning_names, planned.conditionings or (), strict=True)
        places += [("conditionings", name, options) for name, (_, options) in chosen]
        for kind, name, options in places:
            here = options.model_dump(mode="json", by_alias=True) if isinstance(options, Options) else {}
            there = self.origin.table(kind, name, "options").items()
            if differing := [f"{key} = {value}" for key, value in there if key in here and here[key] != value]:
                return f"give [{kind}.{name}] {listed(differing, 3)}, as there, or rename the slot to begin anew"
        return f"give [{planned.kind}.{slot}] the options that it had there, or rename it to begin anew"


def match_networks(here: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """Return for networks here those there that they correspond to: by name, else by role.

    The role of a network is its kind and its slot, among several copies its place. Where slots have other names, those
    of a kind that are left correspond in their order, if there are equally many; so do copies. A slot with a single
    network there corresponds to all of its copies here. Nothing else is guessed.

    Args:
        here, there: kinds by the names of networks, `slot` or `slot.copy`, in order.
    """
    matched = {name: name for name in here if name in there}
    slots = {
        kind: tuple(
            list(dict.fromkeys(_slot(name) for name, own in side.items() if own == kind)) for side in (here, there)
        )
        for kind in dict.fromkeys(here.values())
    }
    for kind, (ours, theirs) in slots.items():
        pairs = [(slot, slot) for slot in ours if slot in theirs]
        rest = [[slot for slot in side if slot not in dict(pairs)] for side in (ours, theirs)]
        if len(rest[0]) == len(rest[1]):
            pairs += zip(*rest, strict=True)
        for mine, other in pairs:
            copies = [name for name in here if here[name] == kind and _slot(name) == mine and name not in matched]
            every = [name for name in there if there[name] == kind and _slot(name) == other]
            origins = [name for name in every if name not in matched]
            if len(every) == 1:
                matched |= dict.fromkeys(copies, every[0])
            elif len(origins) == len(copies):
                matched |= dict(zip(copies, origins, strict=True))
    return matched


def _slot(network: str) -> str:
    return network.partition(".")[0]


class _Misfit(Exception):
    """The weights of a network do not fit another."""


def _part(here: Entries, there: Entries, tensor: Tensor) -> Part:
    """Return what is taken of a tensor.

    Raises:
        _Misfit: an axis has another length, and what its entries stand for is not known.
    """
    rows: list[tuple[list[int], list[int]] | None] = []
    for one, other in zip(here.axes, there.axes, strict=True):
        if one is None or other is None:
            rows.append(None)
        else:
            places = {label: i for i, label in enumerate(other)}
            pairs = [(i, places[label]) for i, label in enumerate(one) if label in places]
            rows.append(None if one == other else ([a for a, _ in pairs], [b for _, b in pairs]))
    for axis, each in enumerate(rows):
        if each is None and here.shape[axis] != tensor.shape[axis]:
            raise _Misfit(
                f"'{here.key}' is of shape {tuple(tensor.shape)} there, and {here.shape} in this recipe, and which of "
                "its rows belong to which domain or task is not known"
            )
    return Part(tensor, tuple(rows))


def _named(layout: Mapping[Label, Entries]) -> list[str]:
    """Return the domains, tasks and so on that a network has entries for: `domain blue`."""
    labels = [label for each in layout.values() for axis in each.axes for label in axis or ()]
    parts = [part for label in [*layout, *labels] for part in label if isinstance(part, tuple)]
    return list(dict.fromkeys(" ".join(part) for part in parts))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
