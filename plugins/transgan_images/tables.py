"""Pictures whose labels stand in a table beside them: a CSV or TSV file, or columns set apart by blanks."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from transgan.api import Band, DataError, Options, Sample, Source, did_you_mean, select
from transgan_images.media import ImageMedia

Row = tuple[int, list[str]]
"""The number of a line, and what stands in it."""
#: How many of many are named in a message.
FEW = 5


class LabelledTableOptions(Options):
    """Options of the source `labelled_table`."""

    table: str = Field(min_length=1)
    """The file with the labels, relative to `data.root`."""
    file: str | None = None
    """The column that names the pictures; the first one where left out."""
    folder: str = "."
    """The folder that pictures are named from, relative to `data.root`."""


class LabelledTable(Source):
    """Pictures named in a table, a line each, whose other columns are their labels.

    The first line names the columns; commas, tabs, semicolons or blanks between them are told apart by themselves, and
    a count before that line, or a missing name for the first column, is no hindrance (as in CelebA's lists). A column
    of numbers is a label of numbers; so is one of bands such as `20-29` and `more than 70`, which count as the numbers
    in them. Any other is a label of texts. What is empty is not known of that picture.
    """

    Options = LabelledTableOptions

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        names, at, _ = self.contents
        found = select(self.pictures, selection, {name: () for i, name in enumerate(names) if i != at and name})
        if not found:
            named = ", ".join(f"{name} {self._known(name)}" for name in selection)
            raise DataError(f"[domains] {domain}: no line of {self.path} has {dict(selection)}; there is {named}")
        missing = [sample.location for sample in found if not sample.location.is_file()]
        if missing:
            some = ", ".join(str(path) for path in missing[:FEW])
            raise DataError(
                f"[domains] {domain}: {len(missing)} of {len(found)} pictures that {self.path} names are not there: "
                f"{some}{', ...' if len(missing) > FEW else ''}; pictures are looked for below {self.folder}"
            )
        return found

    @property
    def path(self) -> Path:
        return (self.root or Path()) / str(self.options.table)

    @property
    def folder(self) -> Path:
        return (self.root or Path()) / str(self.options.folder)

    @cached_property
    def pictures(self) -> list[Sample]:
        """Every line as a sample, sorted by key."""
        names, at, rows = self.contents
        lines: dict[str, list[int]] = defaultdict(list)
        for line, row in rows:
            lines[row[at]].append(line)
        self._check(lines)
        columns = {name: _values([row[i] for _, row in rows]) for i, name in enumerate(names) if i != at and name}
        found = []
        for i, (_, row) in enumerate(rows):
            labels = {name: column[i] for name, column in columns.items() if column[i] is not None}
            file = row[at].replace("\\", "/")
            found.append(Sample(PurePosixPath(file).with_suffix("").as_posix(), self.folder / file, labels))
        return sorted(found, key=lambda sample: sample.key)

    @cached_property
    def contents(self) -> tuple[list[str], int, list[Row]]:
        """The names of the columns, the place of the one that names the pictures, and the lines below them."""
        if not self.path.is_file():
            what = "is a folder" if self.path.is_dir() else "does not exist"
            raise DataError(f"[data.source] table: {self.path} {what}; expected a CSV or TSV file below data.root")
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            rows = list(_rows(text))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            why = "it is not a text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise DataError(f"{self.path} cannot be read: {why}") from None
        if len(rows) < 2:
            raise DataError(f"{self.path}: found {len(rows)} lines, expected the names of columns and lines below them")
        (line, names), rows = rows[0], rows[1:]
        if len(names) == len(rows[0][1]) - 1:
            names = ["file", *names]
        if picture := next((name for name in names if name.lower().endswith(ImageMedia.suffixes)), None):
            raise DataError(
                f"{self.path}:{line}: there is no header: found the picture {picture}; "
                "expected the names of the columns in this line, such as file,mood,size"
            )
        if twice := next((name for name in names if name and names.count(name) > 1), None):
            raise DataError(f"{self.path}:{line}: there are two columns '{twice}'; rename one")
        for number, row in rows:
            if len(row) != len(names):
                raise DataError(f"{self.path}:{number}: found {len(row)} columns, expected {len(names)}")
        return names, self._file_column(names), rows

    def _file_column(self, names: list[str]) -> int:
        wanted = self.options.file
        if wanted is None:
            return next((i for i, name in enumerate(names) if name), 0)
        if wanted not in names:
            raise DataError(
                f"[data.source] file: {self.path} has no column '{wanted}'. {did_you_mean(wanted, filter(None, names))}"
            )
        return names.index(wanted)

    def _check(self, lines: dict[str, list[int]]) -> None:
        """Every file is named once, and lies below the folder."""
        twice = [f"{name} in lines {', '.join(map(str, at))}" for name, at in lines.items() if len(at) > 1]
        if twice:
            some = "; ".join(twice[:FEW])
            raise DataError(
                f"{self.path}: {len(twice)} pictures are named more than once: {some}{'; ...' if twice[FEW:] else ''}"
            )
        for name, at in lines.items():
            path = PurePosixPath(name.replace("\\", "/"))
            if not name or path.is_absolute() or ".." in path.parts:
                raise DataError(f"{self.path}:{at[0]}: found {name!r}, expected a picture below {self.folder}")

    def _known(self, name: str) -> str:
        """What a label is, in short."""
        values = {each: None for sample in self.pictures if (each := sample.attributes.get(name)) is not None}
        if values and not any(isinstance(each, str) for each in values):
            return f"from {min(values)} to {max(values)}"
        some = sorted(map(str, values), key=lambda text: (float(Band(text)) if _is(Band, text) else 0.0, text))
        return f"{', '.join(some[: 4 * FEW])}{', ...' if some[4 * FEW :] else ''}" or "nowhere"


def _rows(text: str) -> Iterator[Row]:
    """Lines with something in them, from the one with the names on; each a list of texts without blanks around."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    if first < len(lines) and lines[first].strip().isdigit():  # how many lines there are
        first += 1
    head = lines[first] if first < len(lines) else ""
    between = max(",\t;", key=head.count)
    if between not in head:
        yield from ((i + 1, lines[i].split()) for i in range(first, len(lines)) if lines[i].strip())
        return
    reader = csv.reader(io.StringIO("\n".join(lines[first:])), delimiter=between, strict=True)
    for row in reader:
        if any(cell.strip() for cell in row):
            yield first + reader.line_num, [cell.strip() for cell in row]


def _values(column: list[str]) -> list[Any]:
    """Texts as what they stand for, all of a column alike: whole numbers, numbers, yes and no, bands, or texts."""
    texts = {text for text in column if text}
    kind = next((kind for kind in (int, _finite, _truth, Band) if all(_is(kind, text) for text in texts)), str)
    made = {text: kind(text) for text in texts}
    return [made.get(text) for text in column]


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text} is not finite")
    return number


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _is(kind: Any, text: str) -> bool:
    try:
        kind(text)
    except (ValueError, KeyError):
        return False
    return True
