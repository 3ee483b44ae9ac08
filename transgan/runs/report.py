"""The report of a run: one HTML file with curves, samples and figures that needs nothing but the samples folder."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from transgan.runs import _disk
from transgan.runs.folder import RunFolder
from transgan.runs.log import read_metrics

COLOURS = ("#3366cc", "#dc3912", "#ff9900", "#109618", "#990099", "#0099c6", "#dd4477", "#66aa00")
WIDTH, HEIGHT, LEFT, BELOW = 560, 220, 52, 22


def write_report(folder: RunFolder, name: str, result: Mapping[str, Any]) -> None:
    """Writes `report.html` from the run's log, samples and result. DiskError."""
    records = read_metrics(folder.metrics)
    curves: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for key, value in record.items():
            if key in ("step", "epoch", "time") or not isinstance(value, (int, float)):
                continue
            first, _, rest = key.partition("/")
            group, line = (rest, first) if rest and ": " in first else (first, rest or first)
            curves[group][line].append((float(record["step"]), float(value)))
    newest = sorted(folder.samples.glob("*"))[-1:] if folder.samples.is_dir() else []
    parts = [
        f"<h1>{escape(name)}</h1><p>{result['steps']} steps, seed {result['seed']}.</p>",
        _table(result["translations"]),
        *(f'<h2>Samples</h2><img src="samples/{escape(path.name)}" alt="held-out samples">' for path in newest),
        "<h2>Curves</h2><p>Losses are shown unweighted; their weights have curves of their own.</p>",
        '<div class="curves">',
        *(_chart(group, lines) for group, lines in sorted(curves.items())),
        "</div>",
    ]
    page = _PAGE.format(title=escape(name), body="\n".join(parts))
    _disk.replace(folder.report, page.encode())


def _table(translations: Mapping[str, Mapping[str, float]]) -> str:
    if not translations:
        return ""
    names = list(dict.fromkeys(name for figures in translations.values() for name in figures))
    head = "".join(f"<th>{escape(translation)}</th>" for translation in translations)
    rows = []
    for name in names:
        cells = "".join(
            f"<td>{figures[name]:.4g}</td>" if name in figures else "<td></td>" for figures in translations.values()
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f"<h2>Figures on held-out samples</h2><table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    points = [point for line in lines.values() for point in line]
    right = max(x for x, _ in points) or 1.0
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = min(low, 0.0), high if high > low else low + 1.0

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 8) * x / right
        return f"{across:.1f},{8 + (HEIGHT - BELOW - 8) * (1 - (y - low) / (high - low)):.1f}"

    drawn, legend = [], []
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(place(x, y) for x, y in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        legend.append(f'<span style="color:{colour}">{escape(name)}</span>')
    axis = (
        f'<line x1="{LEFT}" y1="{HEIGHT - BELOW}" x2="{WIDTH - 8}" y2="{HEIGHT - BELOW}" stroke="#999"/>'
        f'<text x="{LEFT - 4}" y="14" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{HEIGHT - BELOW}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">step {right:.0f}</text>'
    )
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{axis}{"".join(drawn)}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}<p>{' '.join(legend)}</p></figure>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse }} th, td {{ padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child {{ text-align: left }} img {{ max-width: 100%; image-rendering: pixelated }}
.curves {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1em }}
figure {{ margin: 0 }} figcaption {{ font-weight: 600 }} figure p {{ margin: 0; font-size: 12px }}
text {{ font-size: 11px }}
</style>
<body>
{body}
</body></html>
"""
