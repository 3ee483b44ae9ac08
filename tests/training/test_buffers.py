"""Image pools: their size and odds, and that neither several processes nor a resume change what they return."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import (
    Clock,
    Discriminator,
    DiscriminatorOutput,
    Generator,
    NetworkSpec,
    Options,
    Register,
    hookimpl,
)
from transgan.training.buffers import HistoryPool


def fakes(first: int, count: int) -> Tensor:
    """Return fakes that can be distinguished: each is filled with its number."""
    return torch.arange(first, first + count, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2)


def numbers(x: Tensor) -> list[int]:
    return [int(number) for number in x[:, 0, 0, 0]]


def exchanged(history: HistoryPool, rounds: int, batch: int, size: int, name: str = "d") -> list[list[int]]:
    """Return, for each of N batches, the numbers of the fakes that the pool returns."""
    found = []
    for turn in range(rounds):
        x = fakes(turn * batch, batch)
        found.append(numbers(history.exchange(name, x, size, x, 0)))
    return found


def test_until_the_pool_is_full_new_fakes_are_returned() -> None:
    history = HistoryPool(0)
    assert exchanged(history, 4, 2, 8) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert numbers(history.pools["d"]) == list(range(8))


def test_the_pool_never_grows_beyond_its_size() -> None:
    history = HistoryPool(0)
    exchanged(history, 20, 3, 7)
    assert history.pools["d"].shape == (7, 3, 2, 2)


def test_once_the_pool_is_full_every_fake_is_returned_once_or_still_stored() -> None:
    history = HistoryPool(1)
    found = exchanged(history, 100, 5, 10)
    later = [number for each in found[2:] for number in each]
    assert sorted(later + numbers(history.pools["d"])) == list(range(500))
    assert all(number < 5 * (turn + 1) for turn, each in enumerate(found) for number in each)


def test_half_of_the_returned_fakes_are_earlier_ones() -> None:
    batch, rounds = 4, 1000
    found = exchanged(HistoryPool(3), rounds, batch, 50)
    full = [(turn, each) for turn, each in enumerate(found) if turn * batch >= 50]
    new = sum(number == turn * batch + i for turn, each in full for i, number in enumerate(each))
    count = batch * len(full)
    assert abs(new / count - 0.5) < 4 * 0.5 / count**0.5


def test_every_place_of_a_full_pool_is_equally_likely() -> None:
    history, places = HistoryPool(5), torch.zeros(10)
    exchanged(history, 1, 10, 10)
    for turn in range(1, 2001):
        before = numbers(history.pools["d"])
        x = fakes(10 * turn, 1)
        history.exchange("d", x, 10, x, 0)
        for at, (old, now) in enumerate(zip(before, numbers(history.pools["d"]), strict=True)):
            places[at] += old != now
    assert float((places - places.mean()).abs().max()) < 4 * float(places.mean()) ** 0.5


def test_a_pool_of_one_fake_may_swap_within_a_batch() -> None:
    x = fakes(0, 64)
    found = numbers(HistoryPool(0).exchange("d", x, 1, x, 0))
    swapped = [i for i, number in enumerate(found) if number != i]
    assert len(swapped) > 10
    assert all(number < i for i, number in enumerate(found) if i in swapped)


@pytest.mark.parametrize("world", [2, 4])
def test_every_process_keeps_the_same_pool_and_gets_its_share_of_what_one_process_would_get(world: int) -> None:
    single, ranks = HistoryPool(7), [HistoryPool(7) for _ in range(world)]
    share = 8 // world
    for turn in range(12):
        x = fakes(8 * turn, 8)
        whole = single.exchange("d", x, 10, x, 0)
        shares = [rank.exchange("d", x[i * share : (i + 1) * share], 10, x, i * share) for i, rank in enumerate(ranks)]
        assert torch.equal(torch.cat(shares), whole)
        assert all(torch.equal(rank.pools["d"], single.pools["d"]) for rank in ranks)


def test_micro_batches_give_the_same_as_the_whole_batch() -> None:
    whole, micro_batches = HistoryPool(7), HistoryPool(7)
    for turn in range(12):
        x = fakes(6 * turn, 6)
        parts = [micro_batches.exchange("d", part, 10, part, 0) for part in x.split(2)]
        assert torch.equal(whole.exchange("d", x, 10, x, 0), torch.cat(parts))


def test_discriminators_have_separate_pools() -> None:
    history = HistoryPool(0)
    assert exchanged(history, 3, 4, 4, "one") != exchanged(history, 3, 4, 4, "two")
    assert exchanged(HistoryPool(0), 3, 4, 4, "two") == exchanged(HistoryPool(0), 3, 4, 4, "two")


def test_results_follow_from_the_seed_of_the_pool_and_not_from_the_global_generator() -> None:
    torch.manual_seed(1)
    found = exchanged(HistoryPool(0), 20, 4, 8)
    torch.manual_seed(2)
    assert exchanged(HistoryPool(0), 20, 4, 8) == found
    assert exchanged(HistoryPool(1), 20, 4, 8) != found


def test_samples_of_another_size_start_a_new_pool() -> None:
    history = HistoryPool(0)
    exchanged(history, 3, 4, 8)
    large = torch.zeros(2, 3, 4, 4)
    assert torch.equal(history.exchange("d", large, 8, large, 0), large)
    assert history.pools["d"].shape == (2, 3, 4, 4)


def test_a_pool_that_was_saved_and_loaded_continues_as_if_uninterrupted() -> None:
    whole, saved, resumed = HistoryPool(0), HistoryPool(0), HistoryPool(0)
    exchanged(whole, 10, 4, 8)
    exchanged(saved, 10, 4, 8)
    resumed.load_state_dict(copy.deepcopy(saved.state_dict()))
    for turn in range(10, 20):
        x = fakes(4 * turn, 4)
        assert torch.equal(whole.exchange("d", x, 8, x, 0), resumed.exchange("d", x, 8, x, 0))


class Paints(Generator):
    """Paints a sample with the number of its target domain."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        return domain.to(x)[:, None, None, None].expand_as(x) + 0 * self.bias


class Remembers(Discriminator):
    """Remembers the domains that it was given, beside what the painted samples say."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.bias = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[float, int]] = []

    def forward(self, x: Tensor, domain: Tensor) -> DiscriminatorOutput:
        painted = x.flatten(1).std(1) == 0
        self.seen += list(zip(x[painted].flatten(1)[:, 0].tolist(), domain[painted].tolist(), strict=True))
        return DiscriminatorOutput([x.flatten(1).mean(1, keepdim=True) + self.bias])


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("paints", Paints)

    @hookimpl
    def register_discriminators(self, register: Register) -> None:
        register("remembers", Remembers)


def test_an_earlier_fake_comes_with_the_domain_that_it_was_made_for(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    """The kind: conditions that reach a discriminator by a conditioning, or, as here, by an argument of its own."""
    recipe = """
    train = { steps = 20, batch = 4 }
    tasks.hair = { between = ["white", "black", "old"], targets = "random" }
    generators.paints = true
    discriminators.remembers = { per = "run", history = 6 }
    losses.lsgan = 1.0
    phases = [{ side = "discriminator" }]
    """
    plan = planned(recipe, Plugin())
    engine, _ = double_engine(plan)
    for step in range(12):
        clock = Clock(step=step, run=step / 20)
        engine.train_step(micro_batches(plan, random_samples(plan, step), 1, clock), clock)
    seen = engine.networks["remembers"].network.seen
    assert len(seen) == 12 * 4 and len(set(seen)) == 3
    assert all(painted == domain for painted, domain in seen)
