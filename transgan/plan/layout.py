"""What the entries of a network's tensors stand for: which row is a domain's, which channel a conditioning's.

No network says so. It is built on the meta device again with one domain more (then one task, one input channel, ...):
an axis that has grown has entries for each domain, in the recipe's order, and a list or a dict of modules that has
grown has a module for each.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from transgan.api.protocols import NetworkSpec
from transgan.plan.build import build_network, on_meta_device
from transgan.plan.kept import KEPT, kept_values
from transgan.plan.plan import NetworkPlan, Plan
from transgan.plugin_objects import make

Label = tuple[Any, ...]
"""What an entry stands for: pairs of a kind and a name, such as `("domain", "young")`, and numbers."""


@dataclass(frozen=True)
class Names:
    """The names that a recipe's networks have entries for, in its order."""

    domains: tuple[str, ...]
    tasks: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    """The values of each attribute; a single, empty one of a numeric attribute."""
    conditionings: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> "Names":
        """Return those of a plan."""
        recipe = plan.recipe
        attributes = {name: tuple(each.values or ("",)) for name, each in recipe.attributes.items()}
        if kept := kept_values(recipe):
            attributes[KEPT] = tuple(f"{name} {value}" for name, values in kept.items() for value in values)
        return cls(tuple(recipe.domains), tuple(recipe.tasks), attributes, tuple(recipe.conditionings))


@dataclass(frozen=True)
class Entries:
    """A tensor of a network."""

    key: str
    """Its name in the network's `state_dict`."""
    shape: tuple[int, ...]
    axes: tuple[list[Label] | None, ...]
    """For each axis what its entries stand for; None where they stand for nothing that the recipe names."""


def with_names(network: NetworkPlan, names: Names) -> NetworkPlan:
    """Return a network as it would be in a recipe with other domains, tasks and attributes.

    It has the conditionings that are among the names, in their order.
    """
    own = network.spec.inputs - sum(_conditioning_sizes(network, network.spec, "channels"))
    spec = replace(
        network.spec,
        domains=names.domains,
        tasks=names.tasks,
        attributes={
            name: len(values)
            for name, values in names.attributes.items()
            if name != KEPT or network.kind == "discriminators"
        },
    )
    if network.conditionings is not None:
        chosen = dict(zip(network.conditioning_names, network.conditionings, strict=True))
        kept = tuple(name for name in names.conditionings if name in chosen)
        network = replace(network, conditionings=tuple(chosen[name] for name in kept), conditioning_names=kept)
    inputs = own + sum(_conditioning_sizes(network, spec, "channels"))
    return replace(network, spec=replace(spec, inputs=inputs, style=sum(_conditioning_sizes(network, spec, "style"))))


def _conditioning_sizes(network: NetworkPlan, spec: NetworkSpec, what: str) -> list[int]:
    """Return the `channels` or the `style` of each conditioning of a network."""
    with on_meta_device():
        return [getattr(make(cls, options, spec), what) for cls, options in network.conditionings or ()]


def unnamed_layout(module: nn.Module) -> dict[Label, Entries]:
    """Return a network's tensors, whatever their entries stand for."""
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    return {(key,): Entries(key, shape, (None,) * len(shape)) for key, shape in shapes.items()}


def layout_of(network: NetworkPlan, names: Names, module: nn.Module) -> dict[Label, Entries]:
    """Return a network's tensors with what their entries stand for.

    Args:
        network: with these names: see `with_names`.
        module: the network, for the shapes of its lazy modules.

    Returns:
        By what a tensor stands for: its name, in which a conditioning's number is its name, and the number or key of a
        module for a domain that domain.
    """
    known = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    shapes = {key: known[key] if shape is None else shape for key, shape in _shapes(network, network.spec).items()}
    axes: dict[str, list[list[Label] | None]] = {key: [None] * len(shape) for key, shape in shapes.items()}
    lists: dict[tuple[str, ...], Mapping[str, Label]] = {}
    for spec, labels in _grown(network.spec, names, {what: _labels_of(network, names, what) for what in _SIZES}):
        grown: Mapping[str, tuple[int, ...] | None]
        try:
            grown = _shapes(network, spec)
        except Exception:  # a network may take a fixed number of domains, or know something of each
            grown = shapes
        for key, shape in shapes.items():
            for axis, (before, after) in enumerate(zip(shape, grown.get(key) or (), strict=False)):
                if before != after:
                    axes[key][axis] = _spread(before, after, labels)
        if all(len(label) == 1 for label in labels):
            numbers = {str(i): label for i, label in enumerate(labels)}
            for key in grown.keys() - shapes.keys():
                lists |= _list_of(key, str(len(labels)), numbers, shapes)
    for kind, known_names in (("domain", names.domains), ("task", names.tasks)):
        for key in shapes:
            lists |= _list_of(key, "", {name: ((kind, name),) for name in known_names}, shapes)
    return {_name_of(key, network, lists): Entries(key, shape, tuple(axes[key])) for key, shape in shapes.items()}


_SIZES = {"inputs": "channels", "style": "style"}
"""The sizes of a spec that conditionings add to, and what of each conditioning is added."""


def _shapes(network: NetworkPlan, spec: NetworkSpec) -> dict[str, tuple[int, ...] | None]:
    with on_meta_device():
        state = build_network(replace(network, spec=spec), 0).state_dict()
    return {key: None if is_lazy(value) else tuple(value.shape) for key, value in state.items()}


def _grown(spec: NetworkSpec, names: Names, sizes: Mapping[str, list[Label]]) -> list[tuple[NetworkSpec, list[Label]]]:
    """Return the spec with one domain more, one task more, and so on, each with the labels of those that there are."""
    found = [
        (replace(spec, domains=(*spec.domains, "_")), [(("domain", name),) for name in names.domains]),
        (replace(spec, tasks=(*spec.tasks, "_")), [(("task", name),) for name in names.tasks]),
    ]
    for attribute, values in names.attributes.items():
        more = {**spec.attributes, attribute: len(values) + 1}
        kind = f"attribute {attribute}" if values != ("",) else "attribute"
        labels: list[Label] = [((kind, value or attribute),) for value in values]
        found.append((replace(spec, attributes=more), labels))
    found += [(replace(spec, **{what: getattr(spec, what) + 1}), labels) for what, labels in sizes.items() if labels]
    return found


def _labels_of(network: NetworkPlan, names: Names, what: str) -> list[Label]:
    """Return what the input channels, or the entries of the style vector, stand for."""
    size = _SIZES[what]
    sizes = _conditioning_sizes(network, network.spec, size)
    labels: list[Label] = [(i,) for i in range(getattr(network.spec, what) - sum(sizes))]
    variants = [(_conditioning_sizes(network, spec, size), own) for spec, own in _grown(network.spec, names, {})]
    for i, (name, before) in enumerate(zip(network.conditioning_names, sizes, strict=True)):
        of = (("conditioning", name),)
        own = next((_spread(before, each[i], own) for each, own in variants if each[i] != before), None)
        labels += [(*of, *label) for label in own or [(number,) for number in range(before)]]
    return labels


def _spread(before: int, after: int, labels: Sequence[Label]) -> list[Label] | None:
    """Return what the entries of an axis stand for that has as many for each label, or for each pair of labels.

    Args:
        before, after: length of the axis with these labels, and with one more.
    """
    count, growth = len(labels), after - before
    if growth * count == before:
        return [(*label, i) for label in labels for i in range(growth)]
    if growth * (count - 1) == before:  # such as the planes of all tasks but the first
        return [(*label, i) for label in labels[1:] for i in range(growth)]
    each, rest = divmod(before, count**2)
    if not rest and each * (count + 1) ** 2 == after:
        return [(*one, *two, i) for one in labels for two in labels for i in range(each)]
    return None


def _list_of(
    key: str, more: str, labels: Mapping[str, Label], known: Collection[str]
) -> dict[tuple[str, ...], Mapping[str, Label]]:
    """Return the place of a list or dict with a module for each label, to which a tensor belongs, and its labels.

    It is empty where the tensor belongs to none.

    Args:
        more: the number of the module that has come to a list.
        labels: by the number or the key of the module.
    """
    parts = key.split(".")
    for i, part in enumerate(parts):
        siblings = (".".join([*parts[:i], each, *parts[i + 1 :]]) for each in labels)
        if (part == more or part in labels) and all(each in known for each in siblings):
            return {tuple(parts[:i]): labels}
    return {}


def _name_of(key: str, network: NetworkPlan, lists: Mapping[tuple[str, ...], Mapping[str, Label]]) -> Label:
    parts = key.split(".")
    name: list[Any] = [lists.get(tuple(parts[:i]), {}).get(part, (part,))[0] for i, part in enumerate(parts)]
    if network.conditionings and parts[0] == "conditionings":
        name[1] = ("conditioning", network.conditioning_names[int(parts[1])])
    return tuple(name)
