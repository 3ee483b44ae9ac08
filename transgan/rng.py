"""Randomness as a pure function of seed and position: the same for any number of processes, and after a resume."""

from hashlib import blake2b

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


class CounterRng:
    """Counter-based random numbers for a batch: sample by sample a function of (seed, purpose, epoch, index) alone.

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

    def other(self, number: int) -> "CounterRng":
        """Return other random numbers for the same samples; those of number 0 are the same."""
        return CounterRng(self.seed, self.epoch + np.uint64(number), self.index, self.device, self.dtype)

    def _uniform(self, purpose: str, count: int) -> np.ndarray:
        key = np.uint64(stable_hash(self.seed, purpose))
        with np.errstate(over="ignore"):
            sample = _mix(_mix(self.index + key) ^ (self.epoch * _GOLDEN))
            numbers = _mix(sample[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
        uniform: np.ndarray = (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return uniform

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), uniform in [0, 1)."""
        step = torch.finfo(self.dtype).eps / 2  # rounding to a coarser dtype could return 1
        numbers = np.floor(self._uniform(purpose, int(np.prod(shape, dtype=int))) / step) * step
        return torch.from_numpy(numbers.reshape(len(self.index), *shape)).to(self.dtype).to(self.device)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), standard normal (Box and Muller, 1958)."""
        count = int(np.prod(shape, dtype=int))
        numbers = self._uniform(purpose, 2 * count)
        radius = np.sqrt(-2.0 * np.log1p(-numbers[:, :count]))
        values = radius * np.cos(2.0 * np.pi * numbers[:, count:])
        return torch.from_numpy(values.reshape(len(self.index), *shape)).to(self.dtype).to(self.device)


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
