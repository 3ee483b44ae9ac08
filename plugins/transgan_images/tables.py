"""The source `labelled_table`: images with labels in a CSV or TSV file, or one with columns separated by blanks."""

import csv
import io
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from transgan.api import DataError, NumericRange, Options, Sample, Source, did_you_mean, select
from transgan_images.media import ImageMedia

Row = tuple[int, list[str]]
"""The number of a line in the file, and its cells."""
#: Largest number of files that a message lists.
MAX_LISTED = 5
#: How programs write a number that is not known, in lower case; a label of strings has no such value beside numbers.
UNKNOWN = frozenset(("nan", "n/a", "#n/a", "<na>", "null", "inf", "-inf", "+inf", "infinity", "-infinity"))


class LabelledTableOptions(Options):
    """Options of the source `labelled_table`."""

    table: str = Field(min_length=1)
    """The table, relative to `data.root`."""
    file: str | None = None
    """The column with the images' file names; defaults to the first one."""
    folder: str = "."
    """The folder that file names are relative to, relative to `data.root`."""


class LabelledTable(Source[LabelledTableOptions]):
    """Images listed in a table, one per line, whose other columns are their labels.

    The first line has the names of the columns. Columns are separated by commas, tabs, semicolons or blanks, which is
    detected. A line with the number of images may come first, and the first column may lack a name (as in CelebA's
    lists). A column of numbers becomes a numeric label, and so does one of ranges such as `20-29` and `more than 70`
    (see `NumericRange`); any other becomes a label of strings. An empty cell means that the image lacks this label.
    """

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the images whose labels match a selection, such as `{ age = [20, 29], gender = "Female" }`.

        Args:
            domain: the domain's name, for messages.
            selection: see `transgan.api.select`.

        Raises:
            DataError: the table cannot be read or is malformed, no image matches, or a matching image is missing.
            UsageError: the selection has an unknown label or value.
        """
        names, file_column, _ = self.contents
        labels = {name: () for i, name in enumerate(names) if i != file_column and name}
        for name, wanted in selection.items() if isinstance(selection, dict) else ():
            numbers = [wanted] if isinstance(wanted, (int, float)) else wanted if isinstance(wanted, list) else [""]
            if name in labels and all(isinstance(each, (int, float)) for each in numbers):
                self._check_numbers(name)
        found = select(self.images, selection, labels)
        if not found:
            known = ", ".join(f"{name} {self._known_values(name)}" for name in selection)
            raise DataError(f"[domains] {domain}: no line of {self.path} has {dict(selection)}; there is {known}")
        if missing := self.missing(found):
            raise DataError(f"[domains] {domain}: {missing}")
        return found

    def missing(self, samples: Sequence[Sample]) -> str:
        """Return which images of samples are missing, in words, or an empty text where none is."""
        missing = [sample.location for sample in samples if not sample.location.is_file()]
        if not missing:
            return ""
        listed = ", ".join(str(path) for path in missing[:MAX_LISTED])
        more = ", ..." if len(missing) > MAX_LISTED else ""
        return (
            f"{len(missing)} of {len(samples)} images that {self.path} lists are missing: {listed}{more}; "
            f"they are expected below {self.folder}{_other_forms(missing)}"
        )

    @property
    def path(self) -> Path:
        """The table."""
        return (self.root or Path()) / self.options.table

    @property
    def folder(self) -> Path:
        """The folder that file names are relative to."""
        return (self.root or Path()) / self.options.folder

    @cached_property
    def images(self) -> list[Sample]:
        """A sample for every line, sorted by key."""
        names, file_column, rows = self.contents
        lines: dict[str, list[int]] = defaultdict(list)
        for line, row in rows:
            lines[row[file_column]].append(line)
        self._check_files(lines)
        for i, name in enumerate(names):
            if i != file_column and name:
                self._check_numbers(name, UNKNOWN)
        columns = {
            name: _parse_column([row[i] for _, row in rows])
            for i, name in enumerate(names)
            if i != file_column and name
        }
        samples = []
        for i, (_, row) in enumerate(rows):
            labels = {name: column[i] for name, column in columns.items() if column[i] is not None}
            file = row[file_column].replace("\\", "/")
            samples.append(Sample(PurePosixPath(file).with_suffix("").as_posix(), self.folder / file, labels))
        return sorted(samples, key=lambda sample: sample.key)

    @cached_property
    def contents(self) -> tuple[list[str], int, list[Row]]:
        """The names of the columns, the index of the one with file names, and the rows below the header.

        Raises:
            DataError: the table cannot be read or is malformed.
        """
        if not self.path.is_file():
            what = "is a folder" if self.path.is_dir() else "does not exist"
            raise DataError(f"[data.source] table: {self.path} {what}; expected a CSV or TSV file below data.root")
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            if _is_json(text):
                raise DataError(f"{self.path}: expected a CSV or TSV file; this is JSON: write a line for each image")
            rows = list(_split_rows(text))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            why = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise DataError(f"{self.path} cannot be read: {why}") from None
        if len(rows) < 2:
            raise DataError(f"{self.path}: found {len(rows)} lines, expected a header and at least one line below it")
        (line, names), rows = rows[0], rows[1:]
        if len(names) == len(rows[0][1]) - 1:
            names = ["file", *names]
        if image := next((name for name in names if name.lower().endswith(ImageMedia.suffixes)), None):
            raise DataError(
                f"{self.path}:{line}: there is no header: found the image {image}; "
                "expected the names of the columns in this line, such as file,mood,size"
            )
        if duplicate := next((name for name in names if name and names.count(name) > 1), None):
            raise DataError(f"{self.path}:{line}: there are two columns '{duplicate}'; rename one")
        for number, row in rows:
            if len(row) != len(names):
                raise DataError(f"{self.path}:{number}: found {len(row)} columns, expected {len(names)}")
        return names, self._file_column(names), rows

    def _file_column(self, names: list[str]) -> int:
        """Return the index of the column with file names."""
        name = self.options.file
        if name is None:
            return next((i for i, each in enumerate(names) if each), 0)
        if name not in names:
            raise DataError(
                f"[data.source] file: {self.path} has no column '{name}'. {did_you_mean(name, filter(None, names))}"
            )
        return names.index(name)

    def _check_files(self, lines: dict[str, list[int]]) -> None:
        """Check that every file is listed once and lies below the folder.

        Args:
            lines: the numbers of the lines that list each file.
        """
        duplicates = [f"{name} in lines {', '.join(map(str, at))}" for name, at in lines.items() if len(at) > 1]
        if duplicates:
            listed = "; ".join(duplicates[:MAX_LISTED])
            raise DataError(
                f"{self.path}: {len(duplicates)} images are listed more than once: "
                f"{listed}{'; ...' if len(duplicates) > MAX_LISTED else ''}; remove the duplicates"
            )
        for name, at in lines.items():
            path = PurePosixPath(name.replace("\\", "/"))
            if not name or path.is_absolute() or ".." in path.parts:
                raise DataError(f"{self.path}:{at[0]}: found {name!r}, expected an image below {self.folder}")

    def _check_numbers(self, name: str, odd: frozenset[str] | None = None) -> None:
        """Check that a column in which there are numbers has nothing else in it.

        Args:
            odd: in lower case, what to report; defaults to everything that is no number.

        Raises:
            DataError: it has; names the first line.
        """
        names, _, rows = self.contents
        cells = [(line, row[names.index(name)]) for line, row in rows]
        others = [(line, cell) for line, cell in cells if cell and not _is_number(cell)]
        reported = [(line, cell) for line, cell in others if odd is None or cell.lower() in odd]
        if reported and any(_is_number(cell) for _, cell in cells):
            line, cell = reported[0]
            more = f" (and {len(reported) - 1} more lines)" if len(reported) > 1 else ""
            raise DataError(
                f"{self.path}:{line}: {name}: found {cell!r}{more}, expected a number as in the other lines; "
                "leave the cell empty where the label is not known"
            )

    def _known_values(self, name: str) -> str:
        """Return a summary of a label's values, for a message."""
        values = {each: None for sample in self.images if (each := sample.attributes.get(name)) is not None}
        if values and not any(isinstance(each, str) for each in values):
            return f"from {min(values)} to {max(values)}"
        texts = sorted(map(str, values), key=_sort_key)
        limit = 4 * MAX_LISTED
        return f"{', '.join(texts[:limit])}{', ...' if len(texts) > limit else ''}" or "nowhere"


def _other_forms(missing: list[Path]) -> str:
    """Return what to say of missing files that are there under a name in another Unicode form."""
    forms = [[Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")] for path in missing]
    there = [path for path, others in zip(missing, forms, strict=True) if any(each.is_file() for each in others)]
    if not there:
        return ""
    return (
        f". {len(there)} of them are there under a name that differs by Unicode form (NFC, NFD) alone: write the table "
        "in the form of the file names"
    )


def _sort_key(text: str) -> tuple[float, str]:
    """Return a key that sorts ranges of numbers by their middle."""
    return (float(NumericRange(text)) if _parses_as(NumericRange, text) else 0.0, text)


def _split_rows(text: str) -> Iterator[Row]:
    """Yield the lines that are not empty, from the header on, with cells stripped of blanks."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    if first < len(lines) and lines[first].strip().isdigit():  # the number of images
        first += 1
    header = lines[first] if first < len(lines) else ""
    delimiter = max(",\t;", key=header.count)
    if delimiter not in header:
        yield from ((i + 1, lines[i].split()) for i in range(first, len(lines)) if lines[i].strip())
        return
    reader = csv.reader(io.StringIO("\n".join(lines[first:])), delimiter=delimiter, strict=True)
    for row in reader:
        if any(cell.strip() for cell in row):
            yield first + reader.line_num, [cell.strip() for cell in row]


def _is_json(text: str) -> bool:
    """Return whether a file is JSON, or has an object of JSON in each line."""
    for part in (text, text.partition("\n")[0]):
        with suppress(ValueError, RecursionError):
            return isinstance(json.loads(part), (dict, list))
    return False


def _parse_column(column: list[str]) -> list[Any]:
    """Return the values of a column, None for empty cells.

    All have the first of these types that every cell can be parsed as: int, float, bool, `NumericRange`, str.
    """
    texts = {text for text in column if text}
    parsers = (int, _finite_float, _bool, NumericRange)
    parser = next((parser for parser in parsers if all(_parses_as(parser, text) for text in texts)), str)
    values = {text: parser(text) for text in texts}
    return [values.get(text) for text in column]


def _is_number(text: str) -> bool:
    return any(_parses_as(parser, text) for parser in (int, _finite_float, NumericRange))


def _finite_float(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text} is not finite")
    return number


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _parses_as(parser: Any, text: str) -> bool:
    try:
        parser(text)
    except (ValueError, KeyError):
        return False
    return True
