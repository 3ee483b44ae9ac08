"""Figures as people read them: a row a figure, with its interval in the same cell."""

from collections.abc import Iterator, Mapping

Figures = Mapping[str, Mapping[str, float]]


def rows(translations: Figures) -> Iterator[tuple[str, list[str]]]:
    """Each figure's name, and what to show for each translation; `x_low` and `x_high` stand behind `x`."""
    names = dict.fromkeys(name for figures in translations.values() for name in figures)
    for name in names:
        if name.removesuffix("_low").removesuffix("_high") not in names.keys() - {name}:
            yield name, [_cell(figures, name) for figures in translations.values()]


def _cell(figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return ""
    value = figures[name]
    decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    between = f" ±{(high - low) / 2:.{decimals}f}" if low is not None and high is not None else ""
    return f"{value:.{decimals}f}{between}"
