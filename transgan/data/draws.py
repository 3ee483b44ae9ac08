"""Randomness as a pure function: the same for any number of workers and processes, and after any resume."""

from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Draws

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashed(*parts: object) -> int:
    """64 bits out of anything that can be written down."""
    return int.from_bytes(blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


def permutation(length: int, *key: object) -> np.ndarray:
    """The numbers below `length` in an order that follows from the key."""
    order: np.ndarray = np.random.Generator(np.random.Philox(key=hashed(*key))).permutation(length)
    return order


def _mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele et al., 2014): every bit of the input moves every bit of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


class SampleDraws:
    """Random numbers for the samples of a batch, each a function of (seed, purpose, epoch, index) alone.

    Args:
        seed: of the run, or anything else that `hashed` takes.
        epoch: (N,) passes over the domain before each sample's turn.
        index: (N,) each sample's number in its domain.
        device: where tensors go.
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

    def _uniform(self, purpose: str, count: int) -> np.ndarray:
        key = np.uint64(hashed(self.seed, purpose))
        with np.errstate(over="ignore"):
            sample = _mix(_mix(self.index + key) ^ (self.epoch * _GOLDEN))
            numbers = _mix(sample[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
        uniform: np.ndarray = (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return uniform

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape) in [0, 1)."""
        step = torch.finfo(self.dtype).eps / 2
        numbers = (
            np.floor(self._uniform(purpose, int(np.prod(shape, dtype=int))) / step) * step
        )  # rounding could make it 1
        return torch.from_numpy(numbers.reshape(len(self.index), *shape)).to(self.device, self.dtype)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape), standard normal (Box and Muller, 1958)."""
        count = int(np.prod(shape, dtype=int))
        numbers = self._uniform(purpose, 2 * count)
        radius = np.sqrt(-2.0 * np.log1p(-numbers[:, :count]))
        values = radius * np.cos(2.0 * np.pi * numbers[:, count:])
        return torch.from_numpy(values.reshape(len(self.index), *shape)).to(self.device, self.dtype)


class OwnDraws:
    """Somebody's own random numbers: those of `draws`, for purposes that nobody else can name."""

    def __init__(self, draws: Draws, owner: str):
        self.draws = draws
        self.owner = owner

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape) in [0, 1)."""
        return self.draws.uniform(f"{self.owner}|{purpose}", *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape), standard normal."""
        return self.draws.normal(f"{self.owner}|{purpose}", *shape)
