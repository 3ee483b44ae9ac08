"""Counter-based random numbers: their distributions, and what they depend on."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from transgan.rng import CounterRng, permutation, stable_hash

MANY = 200_000


def rng(count: int = MANY, seed: object = 0, epoch: int = 0, dtype: torch.dtype = torch.float64) -> CounterRng:
    return CounterRng(seed, np.full(count, epoch), np.arange(count), dtype=dtype)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_uniform_numbers_fill_the_range_evenly() -> None:
    x = rng().uniform("crop")
    assert float(x.min()) >= 0
    assert float(x.max()) < 1
    assert abs(float(x.mean()) - 0.5) < 4 * (1 / 12 / MANY) ** 0.5
    assert abs(float(x.var()) - 1 / 12) < 4 * (1 / 180 / MANY) ** 0.5
    counts = torch.histc(x, 100, 0, 1)
    expected = MANY / 100
    square = float(((counts - expected) ** 2 / expected).sum())  # chi square of 99 degrees: mean 99, deviation 14
    assert 99 - 5 * 14 < square < 99 + 5 * 14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_uniform_numbers_are_never_rounded_up_to_one(dtype: torch.dtype) -> None:
    x = rng(dtype=dtype).uniform("crop").double()
    steps = x * 2 / torch.finfo(dtype).eps
    assert torch.equal(steps, steps.floor())  # all are multiples of the distance from 1 to the number below it
    assert float(x.max()) < 1
    near = CounterRng(("seed", 0), np.zeros(1), np.array([5021887]), dtype=dtype)  # 0.99999999 in float64
    assert float(near.uniform("crop", 1)) < 1


def test_normal_numbers_have_the_moments_of_the_standard_normal() -> None:
    x = rng().normal("latent")
    moments = [(1, 0, 1), (2, 1, 3 - 1), (3, 0, 15), (4, 3, 105 - 9)]  # of x^k: mean, and variance
    for power, mean, variance in moments:
        assert abs(float((x**power).mean()) - mean) < 4 * (variance / MANY) ** 0.5
    inside = float((x.abs() < 1).double().mean())
    assert abs(inside - 0.6826895) < 4 * (0.2166 / MANY) ** 0.5


def test_numbers_of_neighbours_are_uncorrelated() -> None:
    x = rng().uniform("crop", 3)
    limit = 4 / MANY**0.5
    assert abs(correlation(x[:-1], x[1:])) < limit
    for a, b in itertools.combinations(range(3), 2):
        assert abs(correlation(x[:, a], x[:, b])) < limit
    for other in (
        rng(epoch=1).uniform("crop", 3),
        rng(seed=1).uniform("crop", 3),
        rng().uniform("flip", 3),
        rng(seed="0 ").uniform("crop", 3),
    ):
        assert abs(correlation(x, other)) < limit / 3**0.5 * 1.5
    z = rng().normal("latent", 2)
    assert abs(correlation(z[:, 0], z[:, 1])) < limit
    assert abs(correlation(z[:, 0] ** 2, z[:, 1] ** 2)) < limit


def test_successive_epochs_of_one_sample_are_uniform_too() -> None:
    x = CounterRng(0, np.arange(MANY), np.full(MANY, 17), dtype=torch.float64).uniform("flip")
    assert abs(float(x.mean()) - 0.5) < 4 * (1 / 12 / MANY) ** 0.5
    assert abs(correlation(x[:-1], x[1:])) < 4 / MANY**0.5


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_a_samples_numbers_do_not_depend_on_the_others_in_the_batch(kind: str) -> None:
    epochs, indices = np.array([0, 0, 1, 3, 2]), np.array([4, 9, 4, 0, 7])
    batch = getattr(CounterRng(5, epochs, indices), kind)("crop", 2, 3)
    for i in range(5):
        alone = getattr(CounterRng(5, epochs[i : i + 1], indices[i : i + 1]), kind)("crop", 2, 3)
        assert torch.equal(alone[0], batch[i])
    order = [3, 1, 4, 0, 2]
    mixed = getattr(CounterRng(5, epochs[order], indices[order]), kind)("crop", 2, 3)
    assert torch.equal(mixed, batch[order])


def test_numbers_do_not_depend_on_other_draws() -> None:
    torch.manual_seed(1)
    source = rng(10)
    first = source.uniform("crop", 2)
    source.normal("latent", 8)
    torch.manual_seed(2)
    assert torch.equal(source.uniform("crop", 2), first)
    assert torch.equal(rng(10).uniform("crop", 2), first)


def test_fewer_numbers_are_the_first_of_more() -> None:
    assert torch.equal(rng(10).uniform("crop", 2), rng(10).uniform("crop", 5)[:, :2])


def test_shapes_and_dtypes() -> None:
    assert rng(4).uniform("flip").shape == (4,)
    assert rng(4).normal("latent", 2, 3).shape == (4, 2, 3)
    assert rng(4, dtype=torch.float32).normal("latent").dtype == torch.float32
    assert rng(0).uniform("flip").shape == (0,)


def splitmix(x: int) -> int:
    """Return the finaliser of splitmix64, in Python integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_numbers_are_those_of_splitmix64_from_release_to_release() -> None:
    golden = 0x9E3779B97F4A7C15
    assert splitmix(golden) == 0xE220A8397B1DCDAF  # the first number for the seed 0, as published by its authors
    key = stable_hash(7, "crop")
    for epoch, index in ((0, 0), (3, 5), (1000, 2**40)):
        sample = splitmix(splitmix((index + key) % 2**64) ^ (epoch * golden % 2**64))
        expected = [(splitmix((sample + i * golden) % 2**64) >> 11) * 2.0**-53 for i in (1, 2, 3)]
        found = CounterRng(7, np.array([epoch]), np.array([index]), dtype=torch.float64).uniform("crop", 3)
        assert found[0].tolist() == expected


@pytest.mark.parametrize("count", [1, 7, 3000])
def test_a_device_computes_the_same_bits_as_the_host(count: int) -> None:
    """Its operations on signed integers are run here on the CPU, which draws by unsigned ones."""
    for seed, purpose in ((0, "crop"), (2**63, "flip"), ("x", "")):
        source = CounterRng(
            seed, np.array([0, 3, 2**40, 2**64 - 1], np.uint64), np.array([5, 2**40, 0, 2**64 - 1], np.uint64)
        )
        assert torch.equal(source._words_on_device(purpose, count), source._words(purpose, count))


def test_normal_numbers_are_two_of_each_64_bits() -> None:
    """Those of Box and Muller, in Python's own arithmetic."""
    word = int(rng(1).uniform("latent").item() * 2**53)  # its upper 53 bits
    high, low = word >> 21, (word & (2**21 - 1)) << 11
    radius, angle = math.sqrt(-2 * math.log((high + 0.5) / 2**32)), 2 * math.pi * low / 2**32
    found = rng(1).normal("latent", 2)[0].tolist()
    assert found == pytest.approx([radius * math.cos(angle), radius * math.sin(angle)], abs=5e-5)
    assert rng(1, dtype=torch.float32).normal("latent", 2)[0].tolist() == pytest.approx(found, abs=1e-5)
    assert torch.equal(rng(3).normal("latent", 3), rng(3).normal("latent", 8)[:, :3])


def test_a_permutation_has_every_number_once_and_follows_from_its_key() -> None:
    first = permutation(1000, 0, "order", 1)
    assert sorted(first.tolist()) == list(range(1000))
    assert np.array_equal(first, permutation(1000, 0, "order", 1))
    assert not np.array_equal(first, permutation(1000, 0, "order", 2))
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 4 / 1000**0.5


def test_permutations_are_uniform() -> None:
    counts = np.zeros((4, 4))
    for key in range(4000):
        counts[np.arange(4), permutation(4, key)] += 1
    assert np.abs(counts - 1000).max() < 5 * (4000 * 0.25 * 0.75) ** 0.5


def test_a_hash_distinguishes_its_parts() -> None:
    seen = {
        stable_hash(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), (1, 2), (12,), ("1", "23"))
    }
    assert len(seen) == 7
    assert all(0 <= each < 2**64 for each in seen)
