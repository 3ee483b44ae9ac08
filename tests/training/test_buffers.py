"""The pool of older fakes: its size, its odds, and that neither processes nor a restart change what is shown."""

import pytest
import torch
from torch import Tensor

from transgan.training.buffers import HistoryPool


def fakes(first: int, count: int) -> Tensor:
    """Fakes that can be told apart: each is filled with its number."""
    return torch.arange(first, first + count, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2)


def numbers(x: Tensor) -> list[int]:
    return [int(number) for number in x[:, 0, 0, 0]]


def shown(history: HistoryPool, rounds: int, batch: int, size: int, name: str = "judge") -> list[list[int]]:
    found = []
    for turn in range(rounds):
        x = fakes(turn * batch, batch)
        found.append(numbers(history.show(name, x, size, x, 0)))
    return found


def test_until_the_pool_is_full_new_fakes_are_shown() -> None:
    history = HistoryPool(0)
    assert shown(history, 4, 2, 8) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert numbers(history.pools["judge"]) == list(range(8))


def test_the_pool_never_grows_beyond_its_size() -> None:
    history = HistoryPool(0)
    shown(history, 20, 3, 7)
    assert history.pools["judge"].shape == (7, 3, 2, 2)


def test_once_the_pool_is_full_every_fake_is_shown_once_or_waits_in_it() -> None:
    history = HistoryPool(1)
    found = shown(history, 100, 5, 10)
    later = [number for each in found[2:] for number in each]
    assert sorted(later + numbers(history.pools["judge"])) == list(range(500))
    assert all(number < 5 * (turn + 1) for turn, each in enumerate(found) for number in each)


def test_half_of_what_is_shown_is_old() -> None:
    batch, rounds = 4, 1000
    found = shown(HistoryPool(3), rounds, batch, 50)
    full = [(turn, each) for turn, each in enumerate(found) if turn * batch >= 50]
    new = sum(number == turn * batch + i for turn, each in full for i, number in enumerate(each))
    count = batch * len(full)
    assert abs(new / count - 0.5) < 4 * 0.5 / count**0.5


def test_every_place_of_a_full_pool_is_drawn_alike() -> None:
    history, places = HistoryPool(5), torch.zeros(10)
    shown(history, 1, 10, 10)
    for turn in range(1, 2001):
        before = numbers(history.pools["judge"])
        x = fakes(10 * turn, 1)
        history.show("judge", x, 10, x, 0)
        for at, (old, now) in enumerate(zip(before, numbers(history.pools["judge"]), strict=True)):
            places[at] += old != now
    assert float((places - places.mean()).abs().max()) < 4 * float(places.mean()) ** 0.5


def test_a_pool_of_one_may_swap_within_a_batch() -> None:
    x = fakes(0, 64)
    found = numbers(HistoryPool(0).show("judge", x, 1, x, 0))
    swapped = [i for i, number in enumerate(found) if number != i]
    assert len(swapped) > 10
    assert all(number < i for i, number in enumerate(found) if i in swapped)


@pytest.mark.parametrize("world", [2, 4])
def test_every_process_keeps_the_same_pool_and_sees_its_share_of_what_one_would_see(world: int) -> None:
    alone, ranks = HistoryPool(7), [HistoryPool(7) for _ in range(world)]
    share = 8 // world
    for turn in range(12):
        x = fakes(8 * turn, 8)
        whole = alone.show("judge", x, 10, x, 0)
        parts = [r.show("judge", x[i * share : (i + 1) * share], 10, x, i * share) for i, r in enumerate(ranks)]
        assert torch.equal(torch.cat(parts), whole)
        assert all(torch.equal(rank.pools["judge"], alone.pools["judge"]) for rank in ranks)


def test_a_batch_in_parts_is_the_same_as_at_once() -> None:
    whole, parts = HistoryPool(7), HistoryPool(7)
    for turn in range(12):
        x = fakes(6 * turn, 6)
        pieces = [parts.show("judge", piece, 10, piece, 0) for piece in x.split(2)]
        assert torch.equal(whole.show("judge", x, 10, x, 0), torch.cat(pieces))


def test_judges_have_pools_of_their_own() -> None:
    history = HistoryPool(0)
    assert shown(history, 3, 4, 4, "one") != shown(history, 3, 4, 4, "two")
    assert shown(HistoryPool(0), 3, 4, 4, "two") == shown(HistoryPool(0), 3, 4, 4, "two")


def test_another_seed_shows_others_and_other_random_numbers_change_nothing() -> None:
    torch.manual_seed(1)
    first = shown(HistoryPool(0), 20, 4, 8)
    torch.manual_seed(2)
    assert shown(HistoryPool(0), 20, 4, 8) == first
    assert shown(HistoryPool(1), 20, 4, 8) != first


def test_samples_of_another_size_begin_a_new_pool() -> None:
    history = HistoryPool(0)
    shown(history, 3, 4, 8)
    large = torch.zeros(2, 3, 4, 4)
    assert torch.equal(history.show("judge", large, 8, large, 0), large)
    assert history.pools["judge"].shape == (2, 3, 4, 4)


def test_a_pool_that_is_saved_and_loaded_goes_on_as_if_nothing_had_been() -> None:
    whole, first = HistoryPool(0), HistoryPool(0)
    shown(whole, 10, 4, 8)
    shown(first, 10, 4, 8)
    second = HistoryPool(0)
    pools, counts = first.state()
    second.load({name: pool.clone() for name, pool in pools.items()}, dict(counts), torch.device("cpu"))
    for turn in range(10, 20):
        x = fakes(4 * turn, 4)
        assert torch.equal(whole.show("judge", x, 8, x, 0), second.show("judge", x, 8, x, 0))
