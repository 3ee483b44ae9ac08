"""Networks in 16 bits on the meta device, which has no autocast: for the memory that a run will need."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from transgan.networks.precision import to_fp32
from transgan.tree import map_tensors

#: What autocast computes in 16 bits, of what networks compute most of their time: products.
_PRODUCTS = {
    *(getattr(torch, f"conv{kind}{axes}d") for kind in ("", "_transpose") for axes in (1, 2, 3)),
    *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.functional.einsum),
    *(Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__),
    *(F.linear, F.scaled_dot_product_attention, F.multi_head_attention_forward),
}


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Let networks on the meta device compute in 16 bits, and give losses their outputs in fp32, as on other devices.

    Those have `torch.autocast` and `Networks` for that.

    Args:
        dtype: of products; everything else is computed in that of its arguments.
    """
    casts, depth = _Casts(dtype), 0

    def begin(*_: Any) -> None:
        nonlocal depth
        if not depth:
            casts.__enter__()  # type: ignore[no-untyped-call]
        depth += 1  # one module is within the other

    def end(network: nn.Module, given: Any, output: Any) -> Any:
        nonlocal depth
        depth -= 1
        if depth:
            return output
        casts.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return to_fp32(output)

    begins = hooks.register_module_forward_pre_hook(begin)
    ends = hooks.register_module_forward_hook(end, always_call=True)
    try:
        yield
    finally:
        begins.remove()
        ends.remove()


class _Casts(TorchFunctionMode):
    """While it is entered, products are of tensors in 16 bits."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        # A GPU computes the statistics of norms in fp32.
        self.cast = _PRODUCTS if torch.cuda.is_available() else {*_PRODUCTS, F.instance_norm}
        self.copies: dict[Tensor, Tensor] = {}
        """Those of weights, one for all passes of a phase."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in self.cast:
            args, kwargs = map_tensors(self._cast, args), map_tensors(self._cast, dict(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _cast(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            return x
        if not (x.is_leaf and x.requires_grad):
            return x.to(self.dtype)
        if self.copies and next(iter(self.copies)).grad is not None:
            self.copies.clear()  # the phase that needed them is over
        if x not in self.copies:
            self.copies[x] = x.to(self.dtype)
        return self.copies[x]
