"""Convolutions of 3x3 with fewer multiplications, for CPUs: F(2x2, 3x3) of Lavin and Gray (2016).

A tile of 2x2 outputs takes 16 multiplications a channel in place of 36. Sums are in another order than in the direct
convolution, and no less exact: the transforms only add and halve. GPUs' libraries choose such algorithms themselves.
"""

import math
import threading
from typing import Any

import torch
from torch import Tensor, nn

#: With fewer input or output channels, or fewer tiles in a batch, the transforms take longer than they save.
CHANNELS, TILES = 128, 512


def use_winograd(network: nn.Module) -> None:
    """Let the 3x3 convolutions of a network with stride 1 and many channels run as `WinogradConv2d`, in place.

    Parameters and their names stay as they are.
    """
    for module in network.modules():
        if (
            type(module) is nn.Conv2d
            and (module.kernel_size, module.stride, module.dilation, module.groups) == ((3, 3), (1, 1), (1, 1), 1)
            and min(module.in_channels, module.out_channels) >= CHANNELS
            and module.padding in ((0, 0), (1, 1))
        ):
            module.__class__ = WinogradConv2d


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution with stride 1: direct where the input is not fp32 on a CPU, or a side of the output is odd."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        height, width = (length + 2 * int(self.padding[0]) - 2 for length in x.shape[-2:])
        plain = (
            x.dtype == weight.dtype == torch.float32
            and x.device.type == "cpu"
            and x.ndim == 4
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )
        if not plain or height % 2 or width % 2 or len(x) * height * width < 4 * TILES:
            direct: Tensor = super()._conv_forward(x, weight, bias)
            return direct
        if self.padding[0]:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = nn.functional.pad(x, (1, 1, 1, 1), mode=mode)
        y: Tensor = _Convolution.apply(x, weight)
        return y if bias is None else y + bias[:, None, None]


class _Convolution(torch.autograd.Function):
    """The convolution without padding of x (N, C, H, W) with weights (K, C, 3, 3); H and W are even."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        n, _, height, width = x.shape
        tiles, filters = _tiles(x), _filters(weight)
        products = torch.bmm(tiles, filters, out=_scratch("products", x, 16, tiles.shape[1], filters.shape[2]))
        return _outputs(products.view(4, 4, n, height // 2 - 1, width // 2 - 1, -1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        wanted: list[bool] = [*ctx.needs_input_grad, False]
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted
            )
            return found[:2]
        products = _outputs_backward(gradient)
        of_x, of_weight = None, None
        if wanted[0]:
            n, channels, height, width = x.shape
            out = _scratch("tiles", x, 16, products.shape[1], channels)
            of_tiles = torch.bmm(products, _filters(weight).transpose(1, 2), out=out)
            of_x = _tiles_backward(of_tiles.view(4, 4, n, height // 2 - 1, width // 2 - 1, channels))
        if wanted[1]:
            out = _scratch("filters", x, 16, x.shape[1], products.shape[2])
            of_weight = _filters_backward(torch.bmm(_tiles(x).transpose(1, 2), products, out=out))
        return of_x, of_weight


_kept = threading.local()


def _scratch(name: str, like: Tensor, *shape: int) -> Tensor:
    """Return memory for numbers that the next call may overwrite: new memory would take as long as the arithmetic."""
    length = math.prod(shape)
    buffers: dict[str, Tensor] = _kept.__dict__
    if name not in buffers or buffers[name].numel() < length:
        buffers[name] = torch.empty(length, dtype=like.dtype)
    return buffers[name][:length].view(shape)


# Channels are the last axis within, so that every slice is contiguous.


def _tiles(x: Tensor) -> Tensor:
    """Return B'dB of the overlapping 4x4 tiles of x (N, C, H, W): (16, N * H/2-1 * W/2-1, C)."""
    x = x.permute(0, 2, 3, 1).contiguous()
    n, height, width, channels = x.shape
    down, across = height // 2 - 1, width // 2 - 1
    rows = _scratch("rows", x, 4, n, down, width, channels)
    _combine([x[:, i : i + 2 * down - 1 : 2] for i in range(4)], list(rows))
    tiles = _scratch("tiles", x, 4, 4, n, down, across, channels)
    _combine([rows[:, :, :, i : i + 2 * across - 1 : 2] for i in range(4)], list(tiles.unbind(1)))
    return tiles.view(16, -1, channels)


def _combine(d: list[Tensor], out: list[Tensor]) -> None:
    """Write B'd."""
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[1], d[3], out=out[3])


def _tiles_backward(tiles: Tensor) -> Tensor:
    """Return (N, C, H, W), the sums B t B' of overlapping tiles (4, 4, N, H/2-1, W/2-1, C)."""
    _, _, n, down, across, channels = tiles.shape
    rows = _scratch("rows", tiles, 4, n, down, 2 * across + 2, channels).zero_()
    _spread(list(tiles.unbind(1)), [rows[:, :, :, i : i + 2 * across - 1 : 2] for i in range(4)])
    x = tiles.new_zeros(n, 2 * down + 2, 2 * across + 2, channels)
    _spread(list(rows), [x[:, i : i + 2 * down - 1 : 2] for i in range(4)])
    return x.permute(0, 3, 1, 2).contiguous()


def _spread(t: list[Tensor], d: list[Tensor]) -> None:
    """Add Bt; slices of d overlap."""
    d[0].add_(t[0])
    d[1].add_(t[1]).sub_(t[2]).add_(t[3])
    d[2].sub_(t[0]).add_(t[1]).add_(t[2])
    d[3].sub_(t[3])


def _outputs(products: Tensor) -> Tensor:
    """Return A'mA of products (4, 4, N, H/2, W/2, K): (N, K, H, W)."""
    _, _, n, down, across, channels = products.shape
    m = products
    y = m.new_empty(n, down, 2, across, 2, channels)
    for i, row in enumerate((m[0] + m[1] + m[2], m[1] - m[2] - m[3])):
        torch.add(row[0] + row[1], row[2], out=y[:, :, i, :, 0])
        torch.sub(row[1] - row[2], row[3], out=y[:, :, i, :, 1])
    return y.view(n, 2 * down, 2 * across, channels).permute(0, 3, 1, 2).contiguous()


def _outputs_backward(y: Tensor) -> Tensor:
    """Return A y A' of tiles of 2x2 of y (N, K, H, W): (16, N * H/2 * W/2, K)."""
    n, channels, height, width = y.shape
    y = y.permute(0, 2, 3, 1).contiguous().view(n, height // 2, 2, width // 2, 2, channels)
    rows = y[:, :, 0], y[:, :, 0] + y[:, :, 1], y[:, :, 0] - y[:, :, 1], -y[:, :, 1]
    m = _scratch("products", y, 4, 4, n, height // 2, width // 2, channels)
    for row, out in zip(rows, m, strict=True):
        left, right = row[:, :, :, 0], row[:, :, :, 1]
        out[0].copy_(left)
        torch.add(left, right, out=out[1])
        torch.sub(left, right, out=out[2])
        torch.neg(right, out=out[3])
    return m.view(16, -1, channels)


def _filters(weight: Tensor) -> Tensor:
    """Return GgG' of weights (K, C, 3, 3): (16, C, K)."""
    outputs, inputs = weight.shape[:2]
    out = _scratch("filters", weight, 16, inputs * outputs)
    return torch.mm(_twice_g(weight), weight.permute(2, 3, 1, 0).reshape(9, -1), out=out).view(16, inputs, outputs)


def _filters_backward(filters: Tensor) -> Tensor:
    """Return G'uG of filters (16, C, K): (K, C, 3, 3)."""
    weight = _twice_g(filters).T @ filters.flatten(1)
    return weight.view(3, 3, *filters.shape[1:]).permute(3, 2, 0, 1).contiguous()


def _twice_g(like: Tensor) -> Tensor:
    """Return the Kronecker product of G with itself, (16, 9)."""
    g = like.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    return torch.kron(g, g)
