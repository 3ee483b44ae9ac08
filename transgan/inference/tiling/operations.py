"""What operations do with tiled tensors: those that keep their axis. Their names are those of ATen, PyTorch's library.

The neighbours `windows` and `statistics` have the others.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from transgan.inference.tiling.arguments import axes_of, bound, mapped, meta, tiled_in
from transgan.inference.tiling.tensors import MOST_OPERATIONS, Held, Lazy, NotTileable, TiledTensor, whole

aten = torch.ops.aten
Handler = Callable[..., Any]
HANDLERS: dict[Any, Handler] = {}
"""By operation: `handler(func, args, kwargs)`; it returns `NotImplemented` for what it cannot do in tiles."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler of the operations with these names, as far as this PyTorch has them."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update({getattr(aten, name): handler for name in names if hasattr(aten, name)})
        return handler

    return register


#: Views that have all numbers of what they are views of, in the same order.
_SAME_NUMBERS = (aten.view, aten._unsafe_view, aten.detach, aten.alias)


def apply(func: Any, args: Any, kwargs: Any) -> Any:
    """Return the result of an operation some of whose arguments are tiled."""
    tiled = list(tiled_in([*args, *kwargs.values()]))
    if func._schema.is_mutable:
        return _in_place(func, args, kwargs, tiled)
    default = pointwise if torch.Tag.pointwise in func.tags else None
    handler: Handler | None = HANDLERS.get(func.overloadpacket, default)
    result = handler(func, args, kwargs) if handler else NotImplemented
    if result is NotImplemented:
        result = func.decompose(*args, **kwargs)  # into other operations, where it consists of such
    if result is NotImplemented:
        return compute_whole(func, args, kwargs, tiled)
    if any(each.alias_info for each in func._schema.returns):
        views = [*tiled, *tiled_in([result])]
        together = {
            id(each): each
            for view in views
            for alias in (*view.aliases, weakref.ref(view))
            if (each := alias()) is not None
        }
        for each in together.values():
            each.aliases = [weakref.ref(other) for other in together.values()]
            each.partial |= len(together) > 1 and func.overloadpacket not in _SAME_NUMBERS
    return result


def _in_place(func: Any, args: Any, kwargs: Any, tiled: list[TiledTensor]) -> Any:
    """Compute an operation that changes its first argument: `relu_` as `relu`."""
    name = func.overloadpacket.__name__
    target = args[0] if args else None
    if not isinstance(target, TiledTensor):
        return func(*mapped(whole, args), **mapped(whole, kwargs))
    functional = getattr(aten, name.removesuffix("_"), None)
    others = [each for alias in target.aliases if (each := alias()) is not None and each is not target]
    if functional is None or not name.endswith("_") or (others and target.partial):
        raise NotTileable(f"changes a part of a tensor in place ({name})")
    result = getattr(functional, func._overloadname)(*args, **kwargs)
    target.node = result.node if isinstance(result, TiledTensor) else Held(result, target.node.axis, target.node.tiling)
    for each in others:  # of another shape, with the same numbers
        each.node = aten.view.default(TiledTensor(target.node), list(each.shape)).node
    return target


def compute_whole(func: Any, args: Any, kwargs: Any, tiled: list[TiledTensor]) -> Any:
    """Compute an operation on all numbers at once."""
    node = tiled[0].node
    if node.bytes > node.tiling.tile_bytes:
        node.tiling.computed_whole.add(func.overloadpacket.__name__)
    result = func(*mapped(whole, args), **mapped(whole, kwargs))

    def wrapped(y: Tensor) -> Tensor:
        return TiledTensor(Held(y, node.axis, node.tiling)) if y.dim() == len(node.shape) else y

    return mapped(wrapped, result)


# Which numbers of the inputs each number of the output depends on


def pointwise(func: Any, args: Any, kwargs: Any) -> Any:
    """Operations whose output at an index depends on inputs at the same index."""
    y = local(func, args, kwargs)
    return y if y is NotImplemented else kept_small(y, list(tiled_in([*args, *kwargs.values()])))


def kept_small(y: TiledTensor, inputs: Iterable[Tensor]) -> TiledTensor:
    """Store what would otherwise be computed from more and more stored tensors, such as a sum of residual blocks."""
    node = y.node
    most = max(len(each.node.sources) for each in inputs if isinstance(each, TiledTensor))
    if len(node.sources) > most or node.operations > MOST_OPERATIONS:
        return TiledTensor(node.tiling.store(node))
    return y


def local(func: Any, args: Any, kwargs: Any, axis: int | None = None) -> Any:
    """Operations whose output at an index of the axis depends on inputs at the same index of it.

    Args:
        axis: that of the output, where it is another one than that of the inputs.
    """
    nodes = [each.node for each in tiled_in([*args, *kwargs.values()])]
    own, length = nodes[0].axis, nodes[0].length
    like = meta(func, args, kwargs)
    axis = own if axis is None else axis
    if any((each.axis, each.length) != (own, length) for each in nodes):
        return NotImplemented
    if like.dim() < -axis or like.shape[axis] != length:
        return NotImplemented

    def compute(first: int, last: int) -> Tensor:
        def part(x: Tensor) -> Tensor:
            if isinstance(x, TiledTensor):
                return x.node.rows(first, last)
            along = x.dim() >= -own and x.shape[own] == length
            return x.narrow(own, first, last - first) if along and length > 1 else x

        y: Tensor = func(*mapped(part, frozen), **mapped(part, frozen_kwargs))
        return y

    frozen, frozen_kwargs = _frozen(args), _frozen(kwargs)
    return TiledTensor(Lazy(like, axis, compute, nodes))


@handles("_to_copy", "clone", "detach", "alias", "_prelu_kernel", "bernoulli", "native_dropout")
def _copy(func: Any, args: Any, kwargs: Any) -> Any:
    return local(func, args, kwargs)


@handles("_softmax", "_log_softmax", "linalg_vector_norm", "glu", "prod", "argmax", "logsumexp", "cumsum")
def _along(func: Any, args: Any, kwargs: Any) -> Any:
    """Operations along axes: `dim`."""
    given = bound(func, args, kwargs)
    node = given["self"].node
    dims = axes_of(given["dim"], node)
    if node.axis in dims or not (given.get("keepdim", True) or max(dims) < node.axis):
        return NotImplemented
    return local(func, args, kwargs)


@handles("cat")
def _cat(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    node = next(iter(tiled_in(given["tensors"]))).node
    return NotImplemented if node.axis in axes_of(given["dim"], node) else local(func, args, kwargs)


@handles("slice")
def _slice(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    node = given["self"].node
    if node.axis not in axes_of(given["dim"], node):
        return local(func, args, kwargs)
    start, stop, _ = slice(given["start"], given["end"]).indices(node.length)
    step = given["step"]
    if (start, stop, step) == (0, node.length, 1):
        return TiledTensor(node)

    def compute(first: int, last: int) -> Tensor:
        part = node.rows(start + first * step, start + (last - 1) * step + 1)
        return part if step == 1 else func(part, node.axis, 0, None, step)  # type: ignore[no-any-return]

    return TiledTensor(Lazy(meta(func, args, kwargs), node.axis, compute, [node]))


@handles("split", "split_with_sizes")
def _split(func: Any, args: Any, kwargs: Any) -> Any:
    x, sizes, *dim = args
    axis = dim[0] if dim else kwargs.get("dim", 0)
    total = x.shape[axis]
    sizes = sizes if isinstance(sizes, (list, tuple)) else [min(sizes, total - i) for i in range(0, total, sizes)]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [aten.slice.Tensor(x, axis, start, start + size) for start, size in zip(starts, sizes, strict=True)]


@handles("view", "_unsafe_view", "expand")
def _view(func: Any, args: Any, kwargs: Any) -> Any:
    """A new shape that leaves the axis and those behind it as they are."""
    x, shape = args[0], list(meta(func, args, kwargs).shape)
    axis = x.node.axis
    if len(shape) < -axis or shape[axis:] != list(x.shape[axis:]):
        return NotImplemented
    node = x.node

    def compute(first: int, last: int) -> Tensor:
        part = node.rows(first, last)
        size = [*shape[:axis], last - first, *shape[len(shape) + axis + 1 :]]
        y: Tensor = part.expand(size) if func.overloadpacket is aten.expand else part.reshape(size)
        return y

    return TiledTensor(Lazy(torch.empty(shape, dtype=x.dtype, device="meta"), axis, compute, [node]))


@handles("select", "unsqueeze", "squeeze")
def _before(func: Any, args: Any, kwargs: Any) -> Any:
    """Axes that come and go before the tiled one."""
    x = args[0]
    dims = args[1] if len(args) > 1 else None
    if not isinstance(dims, int):
        return NotImplemented
    front = dims if dims >= 0 else dims + x.dim() + (func.overloadpacket is aten.unsqueeze)
    own = x.dim() + x.node.axis
    before = front <= own if func.overloadpacket is aten.unsqueeze else front < own
    return local(func, (x, front, *args[2:]), kwargs) if before else NotImplemented


@handles("permute", "transpose", "t")
def _permute(func: Any, args: Any, kwargs: Any) -> Any:
    x = args[0]
    order = list(func(torch.empty(tuple(range(2, 2 + x.dim())), device="meta"), *args[1:], **kwargs).shape)
    return local(func, args, kwargs, axis=order.index(2 + x.dim() + x.node.axis) - x.dim())


def _frozen(value: Any) -> Any:
    """Return arguments whose tiled tensors nothing changes in place any more."""
    return mapped(lambda x: TiledTensor(x.node) if isinstance(x, TiledTensor) else x, value)
