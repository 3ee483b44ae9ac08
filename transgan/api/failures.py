"""Commands on many files, of which one that fails stops no other."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from transgan.errors import DataError, TransganError, as_user_error
from transgan.text import printable, show


class Failures:
    """The failures of a command on many files: each is reported at once, and the command fails at its end.

    failures = Failures()
    for path in paths:
        with failures.of(path):
            work_on(path)
    failures.stop(len(paths), "translated")

    Args:
        understand: returns an error of a file as one that its user can mend, or None for a bug.
    """

    def __init__(self, understand: Callable[[Path, Exception], TransganError | None] | None = None):
        self.understand = understand or (lambda path, error: as_user_error(error))
        self.reported: list[TransganError] = []
        self.bugs: list[Exception] = []
        self.what = "files"

    def __len__(self) -> int:
        return len(self.reported)

    @contextmanager
    def of(self, path: Path) -> Iterator[None]:
        """Report an error of the body, and go on behind it."""
        try:
            yield
        except Exception as error:
            known = self.understand(path, error)
            self.bugs += [] if known else [error]
            self.reported.append(known or TransganError(f"{path}: {type(error).__name__}: {error}"))
            show(f"error: {printable(self.reported[-1])}", error=True)

    def of_folders(self, unreadable: Mapping[Path, str]) -> None:
        """Report folders that cannot be read, each with the reason: there may be files in them."""
        for path, why in unreadable.items():
            self.what = "files and folders"
            with self.of(path):
                raise DataError(f"{path}: {why}")

    def stop(self, count: int, done: str) -> None:
        """Raise an error if there was any: the first bug, or one that sums up the others.

        Args:
            count: of all files.
            done: what could not be done with some, such as `translated`.
        """
        if self.bugs:
            raise self.bugs[0]
        if self.reported:
            summary = TransganError(f"{len(self)} of {count} {self.what} could not be {done}; see above")
            codes = {failure.exit_code for failure in self.reported}
            summary.exit_code = codes.pop() if len(codes) == 1 else DataError.exit_code
            raise summary
