"""Operations on windows: padding, pooling, convolutions, and other sizes."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transgan.inference.tiling.arguments import bound, lengths, meta, one_of
from transgan.inference.tiling.operations import aten, handles
from transgan.inference.tiling.tensors import Lazy, Node, TiledTensor


@handles(*(f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)), "constant_pad_nd")
def _pad(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x, padding = given["self"], list(one_of(given, "pad", "padding"))
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
    sides = {name: lengths(given.get(name) or [], space, 1) for name in ("kernel_size", "stride", "dilation")}
    kernel, stride, dilation = (sides[name][place] for name in ("kernel_size", "stride", "dilation"))
    stride = stride if given.get("stride") else kernel
    padding = lengths(given["padding"], space, 0)
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
            *(lengths(given[name], x.dim() - 2, 0) for name in ("padding", "dilation")),
            weight.shape[2:],
            lengths(given["stride"], x.dim() - 2, 1),
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
    lists = {name: lengths(given[name], x.dim() - 2, 0) for name in ("stride", "padding", "dilation", "output_padding")}
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
    x = one_of(given, "self", "input")
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
