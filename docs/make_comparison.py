"""Writes the table of docs/methods/compared.md: parameters, memory and time of a step of every system, in one run.

    python docs/make_comparison.py

Takes ten minutes of one quiet core. Each published recipe at 128x128 and batch 1 on noise, one after the other, by
`transgan bench step`; the table between the two marks of the page is
replaced.
"""

import json
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "methods/compared.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
RECIPES = (
    *("cyclegan", "pix2pix", "cut", "fastcut", "unit", "munit", "stargan", "stargan_v2", "augmented_cyclegan"),
    *("bicyclegan", "ugatit", "uvcgan2", "unsb", "flow", "cyclegan_relativistic"),
)


def row(recipe: str) -> str:
    """Return a line of the table; none for a recipe that does not run at this size."""
    settings = (
        "--noise",
        "--rounds",
        "2",
        "--steps",
        "1",
        "--set",
        "data.size=128",
        "--set",
        "train.batch=1",
        "--json",
    )
    done = subprocess.run([sys.executable, "-m", "transgan", "bench", "step", recipe, *settings], capture_output=True)
    if done.returncode:
        print(f"{recipe}: {done.stderr.decode().strip()}", file=sys.stderr)
        return ""
    (found,) = json.loads(done.stdout)["cases"]
    print(f"{recipe}: {found['seconds']}", file=sys.stderr)
    columns = found["parameters"] / 1e6, found["memory bytes"] / 1e6, found["seconds"]["median"]
    return "| `{}` | {:.1f} | {:.0f} | {:.1f} |\n".format(recipe, *columns)


if __name__ == "__main__":
    head = "| recipe | parameters, million | memory of a step, MB | seconds a step |\n|---|---|---|---|\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + head + "".join(map(row, RECIPES)) + END + after, encoding="utf-8")
