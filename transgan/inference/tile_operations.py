"""What each operation does with tiled tensors. The names are those of ATen, PyTorch's library of operations."""

import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transgan.inference.tiles import MOST_OPERATIONS, Held, Lazy, Node, NotTileable, TiledTensor, whole

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
    tiled = list(_tiled([*args, *kwargs.values()]))
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
        views = [*tiled, *_tiled([result])]
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
        return func(*_mapped(whole, args), **_mapped(whole, kwargs))
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
    result = func(*_mapped(whole, args), **_mapped(whole, kwargs))

    def wrapped(y: Tensor) -> Tensor:
        return TiledTensor(Held(y, node.axis, node.tiling)) if y.dim() == len(node.shape) else y

    return _mapped(wrapped, result)


# Which numbers of the inputs each number of the output depends on


def pointwise(func: Any, args: Any, kwargs: Any) -> Any:
    """Operations whose output at an index depends on inputs at the same index."""
    y = local(func, args, kwargs)
    return y if y is NotImplemented else kept_small(y, list(_tiled([*args, *kwargs.values()])))


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
    nodes = [each.node for each in _tiled([*args, *kwargs.values()])]
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

        y: Tensor = func(*_mapped(part, frozen), **_mapped(part, frozen_kwargs))
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
    dims = _dims(given["dim"], node)
    if node.axis in dims or not (given.get("keepdim", True) or max(dims) < node.axis):
        return NotImplemented
    return local(func, args, kwargs)


@handles("cat")
def _cat(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    node = next(iter(_tiled(given["tensors"]))).node
    return NotImplemented if node.axis in _dims(given["dim"], node) else local(func, args, kwargs)


@handles("slice")
def _slice(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    node = given["self"].node
    if node.axis not in _dims(given["dim"], node):
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


# Windows: padding, pooling, convolutions


@handles(*(f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)), "constant_pad_nd")
def _pad(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x, padding = given["self"], list(_named(given, "pad", "padding"))
    node, place = x.node, 2 * (-x.node.axis - 1)  # padding begins with the last axis
    before, after = padding[place : place + 2] if len(padding) > place else (0, 0)
    padding[place : place + 2] = [0, 0] if len(padding) > place else []
    reflects = "reflection" in func.overloadpacket.__name__
    value = given.get("value")
    if min(before, after) < 0:
        return NotImplemented
    like = meta(func, args, kwargs)

    def compute(first: int, last: int) -> Tensor:
        first, last = first - before, last - before
        if value is not None:
            part = window(node, first, last, value)
        else:
            index = torch.arange(first, last)
            if reflects:
                index = (node.length - 1) - ((node.length - 1) - index.abs()).abs()
            index = index.clamp(0, node.length - 1)
            low, high = int(index.min()), int(index.max()) + 1
            part = node.rows(low, high)
            if (low, high) != (first, last):
                part = part.index_select(node.axis, (index - low).to(part.device))
        return func(part, padding, *((value,) if value is not None else ())) if any(padding) else part

    return TiledTensor(Lazy(like, node.axis, compute, [node]))


def window(node: Node, first: int, last: int, value: float) -> Tensor:
    """Return the rows of a node from `first` to before `last`, with a constant where it has none."""
    low, high = (min(max(each, 0), node.length) for each in (first, last))
    if low >= high:
        y = node.rows(0, 1)
        return y.new_full([last - first if i == y.dim() + node.axis else side for i, side in enumerate(y.shape)], value)
    missing = [low - first, last - high]
    y = node.rows(low, high)
    return F.pad(y, [0, 0] * (-node.axis - 1) + missing, value=value) if any(missing) else y


@handles(*(f"{kind}_pool{n}d{end}" for n in (1, 2, 3) for kind, end in (("avg", ""), ("max", "_with_indices"))))
def _pool(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x = given["self"]
    space = x.dim() - 2
    place = space + x.node.axis  # of the tiled axis among those of space
    if place < 0 or given["ceil_mode"]:
        return NotImplemented
    sides = {name: _lengths(given.get(name) or [], space, 1) for name in ("kernel_size", "stride", "dilation")}
    kernel, stride, dilation = (sides[name][place] for name in ("kernel_size", "stride", "dilation"))
    stride = stride if given.get("stride") else kernel
    padding = _lengths(given["padding"], space, 0)
    outer, padding[place] = padding[place], 0
    is_mean = "dilation" not in given
    if is_mean and outer and not given["count_include_pad"]:
        return NotImplemented
    inner = {key: each for key, each in given.items() if key != "self"} | {"padding": padding}
    result = meta(func, args, kwargs)
    node = x.node

    def compute(first: int, last: int) -> Tensor:
        begin, end = first * stride - outer, (last - 1) * stride - outer + dilation * (kernel - 1) + 1
        y = func(window(node, begin, end, 0.0 if is_mean else -math.inf), **inner)
        return y if is_mean else y[0]  # type: ignore[no-any-return]

    y = TiledTensor(Lazy(result if is_mean else result[0], node.axis, compute, [node]))
    return y if is_mean else (y, result[1])  # the indices have no numbers: nothing but unpooling reads them


def multiplications(given: dict[str, Any]) -> float:
    """Return how many multiplications a convolution takes, but for its borders."""
    x, weight = given["input"], given["weight"]
    if given["transposed"]:
        return float(x.numel() * weight[0].numel())
    sides = [
        (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for side, pad, dilation, kernel, stride in zip(
            x.shape[2:],
            *(_lengths(given[name], x.dim() - 2, 0) for name in ("padding", "dilation")),
            weight.shape[2:],
            _lengths(given["stride"], x.dim() - 2, 1),
            strict=True,
        )
    ]
    return float(len(x) * math.prod(sides) * weight.numel())


@handles("convolution")
def _convolution(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x, weight = given["input"], given["weight"]
    if not isinstance(x, TiledTensor) or isinstance(weight, TiledTensor) or x.node.axis != 2 - x.dim():
        return NotImplemented
    lists = {
        name: _lengths(given[name], x.dim() - 2, 0) for name in ("stride", "padding", "dilation", "output_padding")
    }
    stride, padding, dilation = (lists[name][0] for name in ("stride", "padding", "dilation"))
    reach = dilation * (weight.shape[2] - 1)
    node = x.node
    rest = {**given, **lists, "padding": [0, *lists["padding"][1:]]}
    del rest["input"]

    def compute(first: int, last: int) -> Tensor:
        begin = first * stride - padding
        y: Tensor = func(window(node, begin, begin + (last - first - 1) * stride + reach + 1, 0.0), **rest)
        return y

    def compute_transposed(first: int, last: int) -> Tensor:
        # input i reaches the outputs from i * stride - padding on, reach + 1 of them
        low = max(0, -((reach - first - padding) // stride)) if first + padding > reach else 0
        high = max(low + 1, min(node.length, (last - 1 + padding) // stride + 1))
        low = min(low, node.length - 1)
        y = func(node.rows(low, max(high, low + 1)), **rest)
        return y.narrow(node.axis, first - (low * stride - padding), last - first)  # type: ignore[no-any-return]

    if given["transposed"] and reach + 1 < stride:
        return NotImplemented  # numbers that no input reaches
    like = meta(func, args, kwargs)
    lazy = Lazy(like, node.axis, compute_transposed if given["transposed"] else compute, [node])
    share = multiplications(given) / max(1, lazy.length)
    return TiledTensor(node.tiling.store(lazy, lambda length: node.tiling.advance(share * length)))


# Other sizes


_RESIZES = {
    "nearest": ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    "nearest-exact": ("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    "linear": ("upsample_linear1d",),
    "bilinear": ("upsample_bilinear2d",),
    "trilinear": ("upsample_trilinear3d",),
    "bicubic": ("upsample_bicubic2d",),
}
_MODES = {name: mode for mode, names in _RESIZES.items() for name in names}


@handles(*_MODES)
def _resize(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x = _named(given, "self", "input")
    node, like = x.node, meta(func, args, kwargs)
    sides, old = list(like.shape[2:]), list(x.shape[2:])
    mode = _MODES[func.overloadpacket.__name__]
    grows = all(new % side == 0 for new, side in zip(sides, old, strict=True))
    shrinks = all(side % new == 0 for new, side in zip(sides, old, strict=True)) and mode != "bicubic"
    if node.axis != 2 - x.dim() or given.get("align_corners") or not (grows or shrinks):
        return NotImplemented
    halo = {"nearest": 0, "nearest-exact": 0, "bicubic": 2}.get(mode, 1) if grows else 0

    def compute(first: int, last: int) -> Tensor:
        if grows:
            factor = sides[0] // old[0]
            low, high = max(0, first // factor - halo), min(node.length, -(-last // factor) + halo)
            y = F.interpolate(node.rows(low, high), [(high - low) * factor, *sides[1:]], mode=mode)
            return y.narrow(node.axis, first - low * factor, last - first)
        factor = old[0] // sides[0]
        return F.interpolate(node.rows(first * factor, last * factor), [last - first, *sides[1:]], mode=mode)

    return TiledTensor(Lazy(like, node.axis, compute, [node]))


@handles("pixel_shuffle", "pixel_unshuffle")
def _shuffle(func: Any, args: Any, kwargs: Any) -> Any:
    x, factor = args
    node = x.node
    if node.axis != -2:
        return NotImplemented
    grows = func.overloadpacket is aten.pixel_shuffle

    def compute(first: int, last: int) -> Tensor:
        if not grows:
            return func(node.rows(first * factor, last * factor), factor)  # type: ignore[no-any-return]
        low, high = first // factor, -(-last // factor)
        y: Tensor = func(node.rows(low, high), factor)
        return y.narrow(-2, first - low * factor, last - first)

    return TiledTensor(Lazy(meta(func, args, kwargs), -2, compute, [node]))


# Statistics over all tiles


def moments(node: Node, groups: int | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and variance, (N, groups) each, in float64, over all tiles (Chan et al., 1983).

    Args:
        groups: of the channels; defaults to a group for each channel.
    """
    count, n, g = 0, node.shape[0], node.shape[1] if groups is None else groups
    mean = torch.zeros(n, g, dtype=torch.float64, device=node.device)
    squares = torch.zeros_like(mean)  # sums of squared differences from the mean
    for first, last in node.tiles():
        part = node.rows(first, last).reshape(n, g, -1)
        variance, own = torch.var_mean(part if part.element_size() > 2 else part.float(), -1, correction=0)
        added = part.shape[-1]
        change = own.double() - mean
        mean += change * added / (count + added)
        squares += variance.double() * added + change.square() * (count * added / (count + added))
        count += added
    return mean, squares / count


def scaled(x: Tensor, mean: Tensor, variance: Tensor, eps: float, weight: Any, bias: Any) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps), times a weight and with a bias, in the dtype of x.

    Args:
        mean, variance: (N or 1, C).
        weight, bias: (C,), or None.
    """
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight.double()
    shift = -mean * scale if bias is None else bias.double() - mean * scale
    ends = [1] * (x.dim() - 2)
    dtype = torch.promote_types(x.dtype, torch.float32)
    scale, shift = (each.reshape(*each.shape, *ends).to(dtype) for each in (scale, shift))
    return torch.addcmul(shift, x.to(dtype), scale).to(x.dtype)


@handles("native_group_norm")
def _group_norm(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x, groups = given["input"], given["group"]
    if x.node.axis > 1 - x.dim():
        return _three(_group_norm_of(x, groups, given), x)
    return NotImplemented


def _group_norm_of(x: TiledTensor, groups: int, given: dict[str, Any]) -> Tensor:
    mean, variance = (each.repeat_interleave(x.shape[1] // groups, 1) for each in moments(x.node, groups))
    return scaled(x, mean, variance, given["eps"], given["weight"], given["bias"])


def _three(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a norm's output and what only its gradient needs, left empty."""
    return y, torch.empty(0, device=x.device), torch.empty(0, device=x.device)


@handles("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
def _batch_norm(func: Any, args: Any, kwargs: Any) -> Any:
    """Batch norm with its running statistics; or with those of the batch, as instance norm calls it."""
    given = bound(func, args, kwargs)
    x, eps = _named(given, "input", "self"), _named(given, "eps", "epsilon")
    running: Any = given.get("running_mean"), given.get("running_var")
    if x.node.axis <= 1 - x.dim():
        return NotImplemented
    if given.get("training", False):
        if running[0] is not None:
            raise NotTileable("updates the running statistics of a batch norm")
        means, variances = moments(x.node)
        mean = means.mean(0, keepdim=True)
        variance = variances.mean(0, keepdim=True) + (means - mean).square().mean(0, keepdim=True)
    else:
        mean, variance = (each.double()[None] for each in running)
    y = _three(scaled(x, mean, variance, eps, given["weight"], given["bias"]), x)
    return (
        (*y, torch.empty(0, device=x.device, dtype=torch.uint8)) if func.overloadpacket is aten.cudnn_batch_norm else y
    )


@handles("native_layer_norm")
def _layer_norm(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x, axes = given["input"], len(given["normalized_shape"])
    if axes < -x.node.axis:  # each index by itself
        node = x.node
        rest = {key: value for key, value in given.items() if key != "input"}
        lazy = Lazy(
            torch.empty(x.shape, dtype=x.dtype, device="meta"),
            node.axis,
            lambda first, last: func(node.rows(first, last), **rest)[0],
            [node],
        )
        return _three(TiledTensor(lazy), x)
    if axes != x.dim() - 1:
        return NotImplemented
    mean, variance = moments(x.node, 1)
    y = scaled(x, mean, variance, given["eps"], None, None)
    y = y if given["weight"] is None else y * given["weight"]
    return _three(y if given["bias"] is None else y + given["bias"], x)


@handles("mean", "sum", "amax", "amin", "var", "std", "var_mean")
def _reduction(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x = given["self"]
    node, name = x.node, func.overloadpacket.__name__
    dims = _dims(given.get("dim"), node)
    keepdim = given.get("keepdim", False)
    if node.axis not in dims:
        if name == "var_mean" or not (keepdim or max(dims) < node.axis):
            return NotImplemented
        return local(func, args, kwargs)
    if not node.dtype.is_floating_point:
        return NotImplemented
    if name in ("amax", "amin"):
        parts = [getattr(node.rows(*tile), name)(dims, keepdim=True) for tile in node.tiles()]
        y = getattr(torch.stack(parts), name)(0)
        return y if keepdim else _squeezed(y, dims)
    total = math.prod(node.shape[each] for each in dims)
    sums = [node.rows(*tile).double().sum(dims, keepdim=True) for tile in node.tiles()]
    total_sum = torch.stack(sums).sum(0)
    mean = total_sum / total
    if name in ("mean", "sum"):
        y = (mean if name == "mean" else total_sum).to(given.get("dtype") or node.dtype)
        return y if keepdim else _squeezed(y, dims)
    correction = given.get("correction", 1)
    correction = 1 if correction is None else correction
    squares = [(node.rows(*tile).double() - mean).square().sum(dims, keepdim=True) for tile in node.tiles()]
    variance = torch.stack(squares).sum(0) / max(0, total - correction)
    found = [each.to(node.dtype) for each in (variance.sqrt() if name == "std" else variance, mean)]
    found = found if keepdim else [_squeezed(each, dims) for each in found]
    return tuple(found) if name == "var_mean" else found[0]


def _squeezed(y: Tensor, dims: list[int]) -> Tensor:
    return y.squeeze(dims)


# Arguments


def bound(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments of an operation by name, with defaults."""
    given = {each.name: each.default_value for each in func._schema.arguments if each.has_default_value()}
    names = [each.name for each in func._schema.arguments]
    return {**given, **dict(zip(names, args, strict=False)), **kwargs}


def _named(given: dict[str, Any], *names: str) -> Any:
    """Return the argument that has one of these names."""
    return next(given[name] for name in names if name in given)


def meta(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operation returns, without numbers."""

    def empty(x: Tensor) -> Tensor:
        return torch.empty(x.shape, dtype=x.dtype, device="meta")

    named = {name: "meta" if name == "device" else each for name, each in _mapped(empty, kwargs).items()}
    return func(*_mapped(empty, args), **named)


def _mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Return arguments or results with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(change, each) for key, each in value.items()}
    return type(value)(_mapped(change, each) for each in value) if isinstance(value, (list, tuple)) else value


def _frozen(value: Any) -> Any:
    """Return arguments whose tiled tensors nothing changes in place any more."""
    return _mapped(lambda x: TiledTensor(x.node) if isinstance(x, TiledTensor) else x, value)


def _tiled(values: Any) -> Iterable[TiledTensor]:
    for each in values:
        if isinstance(each, TiledTensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from _tiled(each)


def _dims(dims: Any, node: Node) -> list[int]:
    """Return axes, counted from the last one, -1; all of them for None and for an empty list."""
    count = len(node.shape)
    dims = [dims] if isinstance(dims, int) else list(dims or range(count))
    return [each if each < 0 else each - count for each in dims]


def _lengths(values: Any, count: int, default: int) -> list[int]:
    """Return a list with a number for each axis of space."""
    values = [values] if isinstance(values, int) else list(values)
    return values * count if len(values) == 1 else values or [default] * count
