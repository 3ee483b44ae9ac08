"""What networks must return: a wrong output is said of the network, before a loss or another network takes it."""

from typing import Any

from torch import Tensor

from transgan.api.protocols import DiscriminatorOutput, NetworkSpec
from transgan.text import listed
from transgan.tree import described, shape_of


def wrong_output(kind: str, spec: NetworkSpec, whole: bool, x: Any, y: Any) -> str | None:
    """Return what is wrong about a network's output y for the input x; None where it is what its kind promises.

    Args:
        kind: of plugins, in the plural.
        whole: whether a generator is asked for a sample.
    """
    if y is None:
        return "forward returned None; return its output"
    if kind == "generators" and whole:
        expected = (len(x), spec.channels, *x.shape[2:])
        fits = shape_of(y) == expected and y.is_floating_point()
        return None if fits else f"forward returned {described(y)}, expected a tensor {expected}"
    return _wrong_discrimination(spec, len(x), y) if kind == "discriminators" else None


def _wrong_discrimination(spec: NetworkSpec, count: int, y: Any) -> str | None:
    if not isinstance(y, DiscriminatorOutput):
        return f"forward returned {described(y)}, expected a DiscriminatorOutput"
    logits: Any = y.logits
    if not isinstance(logits, list) or not logits:
        found = "an empty list" if isinstance(logits, list) else described(logits)
        return f"forward returned {found} as logits, expected a list with a tensor for each scale"
    if wrong := [each for each in logits if not _is_logit(each, count)]:
        found = listed(dict.fromkeys(described(each) for each in wrong))
        return f"forward returned logits {found}, expected ({count}, 1) or ({count}, 1, *space)"
    expected = (count, len(spec.domains))
    if y.class_logits is not None and not (shape_of(y.class_logits) == expected and y.class_logits.is_floating_point()):
        return (
            f"forward returned class_logits {described(y.class_logits)}, expected {expected}, a number for each domain"
        )
    return None


def _is_logit(x: Any, count: int) -> bool:
    return isinstance(x, Tensor) and tuple(x.shape[:2]) == (count, 1) and x.is_floating_point()
