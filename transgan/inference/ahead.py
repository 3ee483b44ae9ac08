"""Work on many items in three stages: reading and writing in threads, between them one that takes several at a time.

So the disk, decoders and encoders work beside the network, and the network on many items at once.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, TypeVar

from transgan.errors import is_out_of_memory

#: Threads that read, and threads that write: most of their time is spent waiting for the disk.
THREADS = 4
#: Items that go through the middle stage, and samples that go through a network, together.
AT_ONCE = 16
#: Bytes of the items that wait before, in and behind the middle stage each; a single item may have more.
MOST_BYTES = 1 << 28

Given = TypeVar("Given")
Item = TypeVar("Item")
Done = TypeVar("Done")
Result = TypeVar("Result")
Outcome = Callable[[], Result]
"""Returns the result of an item, or raises what went wrong with it."""


@dataclass
class Stages(Generic[Given, Item, Done, Result]):
    """How items are worked on. An error of one item is that of no other."""

    read: Callable[[Given], Item]
    """Called in threads."""
    work: Callable[[Sequence[Item]], Sequence[Done]]
    """Called in the caller's thread; where it fails with several items, it is called with each of them."""
    write: Callable[[Done], Result]
    """Called in threads."""
    at_once: int = field(default_factory=lambda: AT_ONCE)
    """Items that `work` gets."""
    results: int = 1
    """Results of each item, each as large as the item: the more, the fewer items are in memory."""
    largest: int = 1
    """Bytes of the largest item so far."""

    @property
    def most(self) -> int:
        """How many items may be in memory at a stage."""
        return max(1, min(self.at_once, AT_ONCE // self.results, MOST_BYTES // (self.largest * self.results)))

    def __call__(self, given: Sequence[Given]) -> Generator[tuple[Given, Outcome[Result]], None, None]:
        """Yield what was given, in its order, with a function that returns its result, or raises its error.

        When the iterator is closed before its end, what is being written is written, and the rest is left.
        """
        rest = iter(given)
        reading: deque[tuple[Given, Future[Item]]] = deque()
        writing: deque[tuple[Given, Future[Result]]] = deque()
        readers, writers = ThreadPoolExecutor(THREADS, "read"), ThreadPoolExecutor(THREADS, "write")

        def read_ahead(most: int) -> None:
            while len(reading) < most and (one := next(rest, None)) is not None:
                reading.append((one, readers.submit(self.read, one)))

        try:
            read_ahead(THREADS)  # nothing is known of their size
            while reading:
                batch: list[tuple[Given, Future[Item]]] = []
                while reading and len(batch) < self.most:
                    batch.append(reading.popleft())
                    if not batch[-1][1].exception():
                        self.largest = max(self.largest, bytes_of(batch[-1][1].result()))
                    read_ahead(self.most)
                while len(writing) > self.most:
                    one, result = writing.popleft()
                    wait([result])  # also where the caller does not ask for it: else what is written piles up
                    yield one, result.result
                read = [item.result() for _, item in batch if not item.exception()]
                done = iter(self._worked(read, writers))
                for one, item in batch:
                    error = item.exception()
                    writing.append((one, _failed(error) if error else next(done)))
            for one, result in writing:
                yield one, result.result
        finally:
            readers.shutdown(cancel_futures=True)
            writers.shutdown(cancel_futures=True)

    def _worked(self, items: Sequence[Item], writers: ThreadPoolExecutor) -> list[Future[Result]]:
        """Return the results of items, which are being written."""
        try:
            done = self.work(items) if items else []
            return [writers.submit(self.write, each) for each in done]
        except Exception as error:
            if len(items) == 1:
                return [_failed(error)]
            if is_out_of_memory(error):
                self.at_once = max(1, len(items) // 2)
        return [result for each in items for result in self._worked([each], writers)]


def _failed(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def bytes_of(value: Any) -> int:
    """Return the bytes of the arrays and tensors in a value: in its fields, entries and elements."""
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if is_dataclass(value):
        return sum(bytes_of(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, Mapping):
        return sum(map(bytes_of, value.values()))
    return sum(map(bytes_of, value)) if isinstance(value, (list, tuple)) else 0
