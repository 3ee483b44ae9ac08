"""Statistics over all tiles: norms and reductions."""

import math
from typing import Any

import torch
from torch import Tensor

from transgan.inference.tiling.arguments import axes_of, bound, one_of
from transgan.inference.tiling.operations import aten, handles, local
from transgan.inference.tiling.tensors import Lazy, Node, NotTileable, TiledTensor

#: Values that differ by less than this share of the root mean square of all channels are one value, rounded otherwise
#: from tile to tile, as convolutions of a constant are: by up to 1e-6 of it (16 to 512 channels, float32).
ROUNDING = 1e-5


def exact(x: Tensor) -> Tensor:
    """Return numbers in the most exact type that their device has: float64, and on Apple's GPUs float32."""
    return x.float() if x.device.type == "mps" else x.double()


def moments(node: Node, groups: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and spread, (N, groups) each, as `exact` as the device allows, over all tiles.

    Mean and variance are those of Chan et al. (1983); the spread is the largest value less the least.

    Args:
        groups: of the channels; defaults to a group for each channel.
    """
    count, n, g = 0, node.shape[0], node.shape[1] if groups is None else groups
    mean = exact(torch.zeros(n, g, device=node.device))
    squares = torch.zeros_like(mean)  # sums of squared differences from the mean
    low, high = torch.full_like(mean, math.inf), torch.full_like(mean, -math.inf)
    for first, last in node.tiles():
        part = node.rows(first, last).reshape(n, g, -1)
        variance, own = torch.var_mean(part if part.element_size() > 2 else part.float(), -1, correction=0)
        added = part.shape[-1]
        change = exact(own) - mean
        mean += change * added / (count + added)
        squares += exact(variance) * added + change.square() * (count * added / (count + added))
        count += added
        low, high = torch.minimum(low, exact(part.amin(-1))), torch.maximum(high, exact(part.amax(-1)))
    return mean, squares / count, high - low


def scaled(
    x: Tensor, mean: Tensor, variance: Tensor, eps: float, weight: Any, bias: Any, spread: Tensor | None = None
) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps), times a weight and with a bias, in the dtype of x.

    Args:
        mean, variance: (N or 1, C).
        weight, bias: (C,), or None.
        spread: (N or 1, C), where mean and variance are those of x. A channel that is constant but for `ROUNDING`
            becomes its bias: as a whole it is exactly constant, and each norm would enlarge what tiles differ by, 300
            times for the usual `eps`.
    """
    scale = (variance + eps).rsqrt()
    if spread is not None:
        root_mean_square = (variance + mean.square()).mean(1, keepdim=True).sqrt()
        scale = scale.where(spread > ROUNDING * root_mean_square, 0)
    scale = scale if weight is None else scale * exact(weight)
    shift = -mean * scale if bias is None else exact(bias) - mean * scale
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
    mean, variance, spread = (each.repeat_interleave(x.shape[1] // groups, 1) for each in moments(x.node, groups))
    return scaled(x, mean, variance, given["eps"], given["weight"], given["bias"], spread)


def _three(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a norm's output and what only its gradient needs, left empty."""
    return y, torch.empty(0, device=x.device), torch.empty(0, device=x.device)


@handles("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
def _batch_norm(func: Any, args: Any, kwargs: Any) -> Any:
    """Batch norm with its running statistics; or with those of the batch, as instance norm calls it."""
    given = bound(func, args, kwargs)
    x, eps = one_of(given, "input", "self"), one_of(given, "eps", "epsilon")
    running: Any = given.get("running_mean"), given.get("running_var")
    if x.node.axis <= 1 - x.dim():
        return NotImplemented
    if given.get("training", False):
        if running[0] is not None:
            raise NotTileable("updates the running statistics of a batch norm")
        means, variances, spreads = moments(x.node)
        mean = means.mean(0, keepdim=True)
        spread = spreads.amax(0, keepdim=True) + means.amax(0, keepdim=True) - means.amin(0, keepdim=True)
        variance = variances.mean(0, keepdim=True) + (means - mean).square().mean(0, keepdim=True)
    else:
        mean, variance = (exact(each)[None] for each in running)
        spread = None
    y = _three(scaled(x, mean, variance, eps, given["weight"], given["bias"], spread), x)
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
    mean, variance, spread = moments(x.node, 1)
    y = scaled(x, mean, variance, given["eps"], None, None, spread)
    y = y if given["weight"] is None else y * given["weight"]
    return _three(y if given["bias"] is None else y + given["bias"], x)


@handles("mean", "sum", "amax", "amin", "var", "std", "var_mean")
def _reduction(func: Any, args: Any, kwargs: Any) -> Any:
    given = bound(func, args, kwargs)
    x = given["self"]
    node, name = x.node, func.overloadpacket.__name__
    dims = axes_of(given.get("dim"), node)
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
    sums = [exact(node.rows(*tile)).sum(dims, keepdim=True) for tile in node.tiles()]
    total_sum = torch.stack(sums).sum(0)
    mean = total_sum / total
    if name in ("mean", "sum"):
        y = (mean if name == "mean" else total_sum).to(given.get("dtype") or node.dtype)
        return y if keepdim else _squeezed(y, dims)
    correction = given.get("correction", 1)
    correction = 1 if correction is None else correction
    squares = [(exact(node.rows(*tile)) - mean).square().sum(dims, keepdim=True) for tile in node.tiles()]
    variance = torch.stack(squares).sum(0) / max(0, total - correction)
    found = [each.to(node.dtype) for each in (variance.sqrt() if name == "std" else variance, mean)]
    found = found if keepdim else [_squeezed(each, dims) for each in found]
    return tuple(found) if name == "var_mean" else found[0]


def _squeezed(y: Tensor, dims: list[int]) -> Tensor:
    return y.squeeze(dims)
