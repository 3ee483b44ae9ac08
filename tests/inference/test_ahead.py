"""Three stages of work: order, errors of one item, out of memory, what is in memory at once, an early end."""

import threading
import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest
import torch

from transgan.inference import ahead
from transgan.inference.ahead import Stages, bytes_of


def test_results_come_in_order_and_an_error_is_that_of_one_item() -> None:
    """Of 50 items one fails in each stage; the one that fails in the middle takes no other with it."""
    sizes: list[int] = []
    main = threading.current_thread()

    def read(number: int) -> int:
        assert threading.current_thread() is not main
        if number == 3:
            raise ValueError("read")
        return number

    def work(numbers: Sequence[int]) -> list[int]:
        assert threading.current_thread() is main
        sizes.append(len(numbers))
        if 20 in numbers:
            raise ValueError("work")
        return [10 * number for number in numbers]

    def write(number: int) -> int:
        if number == 400:
            raise ValueError("write")
        return number + 1

    results: dict[int, int | str] = {}
    for number, outcome in Stages(read, work, write)(range(50)):
        try:
            results[number] = outcome()
        except ValueError as error:
            results[number] = str(error)
    expected: dict[int, int | str] = {number: 10 * number + 1 for number in range(50)}
    assert list(results) == list(range(50)) and results == expected | {3: "read", 20: "work", 40: "write"}
    assert max(sizes) == ahead.AT_ONCE and sizes.count(1) == ahead.AT_ONCE


def test_fewer_at_a_time_after_memory_ran_out() -> None:
    sizes: list[int] = []

    def work(numbers: Sequence[int]) -> Sequence[int]:
        sizes.append(len(numbers))
        if len(numbers) > 5:
            raise MemoryError
        return numbers

    stages = Stages(lambda x: x, work, lambda x: x)
    assert [outcome() for _, outcome in stages(range(60))] == list(range(60))
    assert [size for size in sizes if size > 1] == [16, 8, *[4] * 9]


def test_fewer_items_at_a_time_where_each_has_several_results() -> None:
    sizes: list[int] = []

    def work(numbers: Sequence[int]) -> list[list[int]]:
        sizes.append(len(numbers))
        return [4 * [number] for number in numbers]

    assert len(list(Stages(lambda x: x, work, lambda x: x, results=4)(range(40)))) == 40
    assert sizes == 10 * [4]


def test_large_items_wait_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many items there are, few of the large ones are in memory."""
    monkeypatch.setattr(ahead, "MOST_BYTES", 3000)
    alive, most, lock = 0, 0, threading.Lock()

    def read(number: int) -> np.ndarray:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return np.zeros(1000, np.uint8)

    def write(x: np.ndarray) -> None:
        nonlocal alive
        time.sleep(0.002)  # slower than reading, and nobody asks for the results
        with lock:
            alive -= 1

    assert len(list(Stages(read, lambda items: items, write)(range(100)))) == 100
    assert most <= 3 * 3 + ahead.THREADS  # before, in and behind the middle


def test_closed_early_what_is_begun_is_written_and_the_rest_is_left() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def write(number: int) -> None:
        begun.append(number)
        ended.append(number)

    with closing(Stages(lambda x: x, lambda x: x, write)(range(1000))) as outcomes:
        next(outcomes)
    assert begun == ended and 1 <= len(ended) < 1000
    assert not [each for each in threading.enumerate() if each.name.startswith(("read", "write"))]


def test_bytes_are_those_of_all_arrays_and_tensors() -> None:
    value = {"a": [np.zeros(10, np.uint8), (torch.zeros(5),)], "b": "text", "c": None}
    assert bytes_of(value) == 30
