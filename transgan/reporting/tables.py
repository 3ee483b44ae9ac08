"""Figures as people read them: a row for each figure, with its interval in the same cell."""

from collections.abc import Iterator, Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from transgan.text import printable

Figures = Mapping[str, Mapping[str, float]]
"""Figures by translation and name."""


def rows(translations: Figures) -> Iterator[tuple[str, list[str]]]:
    """Yield each figure's name and its cell for each translation; `x_low` and `x_high` are shown beside `x`."""
    names = dict.fromkeys(name for figures in translations.values() for name in figures)
    for name in names:
        if name.removesuffix("_low").removesuffix("_high") not in names.keys() - {name}:
            yield name, [figure_text(figures, name) for figures in translations.values()]


def figure_text(figures: Mapping[str, float], name: str) -> str:
    """Return a figure as text, with its interval; empty where it is missing."""
    if name not in figures:
        return ""
    value = figures[name]
    decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    interval = f" ±{(high - low) / 2:.{decimals}f}" if low is not None and high is not None else ""
    return f"{value:.{decimals}f}{interval}"


def figures_table(translations: Figures, title: str, width: int) -> Group:
    """Return a table with a column for each translation, or several tables where the columns would be too narrow.

    Args:
        width: available width in characters.
    """
    cells = list(rows(translations))
    first = max((len(printable(name)) for name, _ in cells), default=0)
    widest = max((len(cell) for _, row in cells for cell in row), default=0)
    column = max(widest, *map(len, translations))
    fit = max(1, (width - first - 4) // (column + 3))
    tables = []
    for begin in range(0, len(translations), fit):
        table = Table(title=Text(printable(title)) if not begin else None)
        shown = list(translations)[begin : begin + fit]
        # In a narrow terminal names are wrapped, so that figures are whole.
        table.add_column("", width=max(1, min(first, width - widest - 7)), overflow="fold")
        for translation in shown:
            table.add_column(Text(printable(translation)), justify="right", min_width=widest, overflow="fold")
        for name, row in cells:
            if any(row[begin : begin + fit]):
                table.add_row(Text(printable(name)), *row[begin : begin + fit])
        tables.append(table)
    return Group(*tables)
