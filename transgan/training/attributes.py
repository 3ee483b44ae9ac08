"""Attributes of losses, nodes and augmentations that their own code changes: a run keeps none of them."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from transgan.plan import Plan

_CONTAINERS = (list, dict, set, deque)


class Attributes:
    """What the losses, nodes and augmentations of a plan have in attributes at this moment, and in lists in them."""

    def __init__(self, plan: Plan):
        owners: list[tuple[str, object]] = [(f"loss '{name}'", loss) for name, loss in plan.losses.items()]
        owners += [("the set of nodes", plan.nodes)]
        owners += [
            (f"augmentation '{name}'", each)
            for uses in plan.discriminators.values()
            for use in uses
            for name, each in use.augment
        ]
        self._before = [
            (name, vars(owner), {key: (value, _state(value)) for key, value in vars(owner).items()})
            for name, owner in dict(owners).items()
            if isinstance(getattr(owner, "__dict__", None), dict)
        ]

    def changed(self) -> Iterator[tuple[str, str]]:
        """Yield an owner, `loss 'x'`, and the name of an attribute of it that is new or another one, for each."""
        for owner, attributes, before in self._before:
            for key, value in attributes.items():
                old, state = before.get(key, (attributes, None))
                if value is not old or _state(value) != state:
                    yield owner, key

    def restore(self) -> None:
        """Put attributes back to what they were, and lists in them; what a tensor holds stays."""
        for _, attributes, before in self._before:
            attributes.clear()
            for key, (value, state) in before.items():
                if isinstance(state, _Content):
                    state.restore(value)
                attributes[key] = value


class _Content:
    """What a list, a table, a set or a queue holds: the same objects, not equal ones, which tensors could not be."""

    def __init__(self, value: Any):
        self.held = value.copy()
        pairs = self.held.items() if isinstance(value, dict) else ((None, each) for each in self.held)
        self.marks = [(id(key), id(each), _version(each)) for key, each in pairs]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self.marks == other.marks

    __hash__ = None  # type: ignore[assignment]

    def restore(self, value: Any) -> None:
        value.clear()
        value.update(self.held) if isinstance(value, (dict, set)) else value.extend(self.held)


def _state(value: Any) -> _Content | int | None:
    """Return what is equal for an object that has not been changed in place, as far as that can be seen."""
    return _Content(value) if isinstance(value, _CONTAINERS) else _version(value)


def _version(value: Any) -> int | None:
    return value._version if isinstance(value, Tensor) and not value.is_inference() else None
