"""Randomness as a pure function of seed and position: the same for any number of processes, and after a resume."""

import math
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import SampleRng

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stable_hash(*parts: object) -> int:
    """Return 64 bits that follow from the texts of the parts, on every machine.

    A text may hold what is not valid Unicode, such as the name of a file in another encoding.
    """
    data = "\0".join(map(str, parts)).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def permutation(length: int, *key: object) -> np.ndarray:
    """Return the integers below `length` in an order that follows from the key."""
    order: np.ndarray = np.random.Generator(np.random.Philox(key=stable_hash(*key))).permutation(length)
    return order


def _mix(x: np.ndarray) -> np.ndarray:
    """Apply splitmix64's finaliser (Steele et al., 2014): every input bit affects every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def _signed(x: int) -> int:
    """Return 64 bits as the signed integer that torch holds them in."""
    return (x & 0xFFFFFFFFFFFFFFFF) - ((x & 0x8000000000000000) << 1)


def _mix_(x: Tensor) -> Tensor:
    """Apply the same in place, on any device.

    Args:
        x: int64; products wrap around, and shifts to the right are made logical by a mask.
    """
    shifted = torch.empty_like(x)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        torch.bitwise_right_shift(x, shift, out=shifted)
        x ^= shifted.bitwise_and_((1 << (64 - shift)) - 1)
        if factor != 1:
            x *= _signed(factor)
    return x


class CounterRng:
    """Counter-based random numbers for a batch: sample by sample a function of (seed, purpose, epoch, index) alone.

    They are computed on the device: integers, and so uniform numbers, are the same on all; normal ones up to rounding.

    Args:
        seed: of the run, or any other key that `stable_hash` takes.
        epoch: (N,) which pass over the domain each sample belongs to.
        index: (N,) each sample's position in its domain.
        device: where the tensors are placed.
    """

    def __init__(
        self,
        seed: object,
        epoch: np.ndarray,
        index: np.ndarray,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.seed = seed
        self.epoch = np.asarray(epoch, dtype=np.uint64)
        self.index = np.asarray(index, dtype=np.uint64)
        self.device = device
        self.dtype = dtype

    @cached_property
    def _position(self) -> tuple[Tensor, Tensor]:
        """Index, and epoch times a constant, (N,) each, on the device: copied once, whatever is drawn."""
        with np.errstate(over="ignore"):
            both = np.stack([self.index, self.epoch * _GOLDEN]).view(np.int64)
        index, epoch = to_device(torch.from_numpy(both), self.device)
        return index, epoch

    def other(self, number: int) -> "CounterRng":
        """Return other random numbers for the same samples; those of number 0 are the same."""
        return CounterRng(self.seed, self.epoch + np.uint64(number), self.index, self.device, self.dtype)

    def _words(self, purpose: str, count: int) -> Tensor:
        """Return (N, count) of 64 random bits."""
        if torch.device(self.device).type != "cpu":
            return self._words_on_device(purpose, count)
        key = np.uint64(stable_hash(self.seed, purpose))  # NumPy's operations on a few numbers begin sooner
        with np.errstate(over="ignore"):
            sample = _mix(_mix(self.index + key) ^ (self.epoch * _GOLDEN))
            words = _mix(sample[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
        return torch.from_numpy(words.view(np.int64))

    def _words_on_device(self, purpose: str, count: int) -> Tensor:
        index, epoch = self._position
        sample = _mix_(_mix_(index + _signed(stable_hash(self.seed, purpose))) ^ epoch)
        steps = torch.arange(1, count + 1, device=self.device) * _signed(int(_GOLDEN))
        return _mix_(sample[:, None] + steps)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), uniform in [0, 1)."""
        # As many bits as there are between 1/2 and 1: more could be rounded to 1.
        bits = 1 - int(math.log2(torch.finfo(self.dtype).eps))
        words = self._words(purpose, math.prod(shape))
        numbers = words.bitwise_right_shift_(64 - bits).bitwise_and_((1 << bits) - 1).to(self.dtype)
        return numbers.mul_(2.0**-bits).view(len(self.index), *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), standard normal (Box and Muller, 1958): two of each 64 bits."""
        count = math.prod(shape)
        words = self._words(purpose, (count + 1) // 2)
        precise = torch.float64 if self.dtype == torch.float64 else torch.float32
        radius = (words >> 32).bitwise_and_(0xFFFFFFFF).to(precise).add_(0.5).mul_(2.0**-32)
        radius = radius.log_().mul_(-2.0).clamp_(min=0).sqrt_()
        angle = words.bitwise_and_(0xFFFFFFFF).to(precise).mul_(2 * math.pi * 2.0**-32)
        values = torch.stack([angle.cos().mul_(radius), angle.sin_().mul_(radius)], 2)
        return values.flatten(1)[:, :count].to(self.dtype).reshape(len(self.index), *shape)


def to_device(x: Tensor, device: Any) -> Tensor:
    """Return a tensor on a device; without an index, any of its type.

    From the host to one of CUDA's it is copied from pinned memory, and the host does not wait. Elsewhere a copy that
    does not wait could read memory after it is free.
    """
    device = torch.device(device)
    same_index = None in (device.index, x.device.index) or device.index == x.device.index
    if device.type == x.device.type and same_index:
        return x
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device, non_blocking=device.type == "meta")


class ScopedRng:
    """The random numbers of one owner: those of `rng`, under purposes that no other owner can name."""

    def __init__(self, rng: SampleRng, owner: str):
        self.rng = rng
        self.owner = owner

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), uniform in [0, 1)."""
        return self.rng.uniform(f"{self.owner}|{purpose}", *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), standard normal."""
        return self.rng.normal(f"{self.owner}|{purpose}", *shape)
