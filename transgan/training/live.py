"""How much memory tensors hold, counted as operations make them and as they are freed: on any device, also on meta."""

import weakref
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, counts the bytes of tensors that operations return, each storage once, until it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        """Bytes that are held."""
        self.peak = 0
        """The most since it was last set."""
        self._held: dict[int, weakref.ref[Any]] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._held:
                self._held[key] = weakref.ref(storage, partial(self._free, key, size))
                self.now += size
        self.peak = max(self.peak, self.now)

    def _free(self, key: int, size: int, _: object) -> None:
        del self._held[key]
        self.now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.hold(each for each in tree_leaves(result) if isinstance(each, Tensor))
        return result
