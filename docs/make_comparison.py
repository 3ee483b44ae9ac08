"""Fills the measured columns of docs/methods/compared.md: parameters, memory and time of a step of every system, in one
run.

    python docs/make_comparison.py

Takes a quarter of an hour of one quiet core. Each published recipe at 128x128 and batch 1 on noise, one after the
other, by `transgan bench step`.
"""

import json
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "methods/compared.md"
SMALLER = ("--set", "discriminators.patch.scales=2")  # the third scale needs larger pictures
#: By the name in the first column: the recipe, and what it needs at this size.
SYSTEMS: dict[str, tuple[str, ...]] = {
    "CycleGAN": ("cyclegan",),
    "pix2pix": ("pix2pix",),
    "CUT": ("cut",),
    "FastCUT": ("fastcut",),
    "StarGAN": ("stargan",),
    "StarGAN v2": ("stargan_v2",),
    "Augmented CycleGAN": ("augmented_cyclegan",),
    "BicycleGAN": ("bicyclegan",),
    "UNIT": ("unit", *SMALLER),
    "MUNIT": ("munit", *SMALLER),
    "pix2pixHD": ("pix2pixhd",),
    "Recycle-GAN": ("recycle_gan",),
    "Face-off": ("face_off",),
    "U-GAT-IT": ("ugatit",),
    "UVCGAN v2": ("uvcgan2",),
    "UNSB": ("unsb",),
    "Flow matching": ("flow",),
    "R3GAN's objective": ("cyclegan_relativistic",),
    "Frozen features": ("projected",),
}
#: The columns: parameters in millions, memory in MB, seconds a step.
MEASURED = slice(3, 6)


def measure(recipe: str, *settings: str) -> list[str]:
    """Return the cells of the measured columns."""
    size = ("--set", "data.size=128", "--set", "train.batch=1", "--noise", "--rounds", "2", "--steps", "1")
    command = [sys.executable, "-m", "transgan", "bench", "step", recipe, *size, *settings, "--json"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{recipe}: {done.stderr.decode().strip() or done.stdout.decode().strip()}")
    (found,) = json.loads(done.stdout)["cases"]
    print(f"{recipe}: {found['seconds']}", file=sys.stderr)
    seconds = found["seconds"]["median"]
    return [f"{found['parameters'] / 1e6:.1f}", f"{found['memory bytes'] / 1e6:.0f}", f"{seconds:.1f}"]


def filled(line: str) -> str:
    """Return a line of the page; one of the table with its cells measured."""
    cells = [cell.strip() for cell in line.strip("|\n ").split("|")]
    name = cells[0].strip("[").partition("]")[0]
    if not line.startswith("|") or name not in SYSTEMS:
        return line
    cells[MEASURED] = measure(*SYSTEMS[name])
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    lines = PAGE.read_text(encoding="utf-8").splitlines(keepends=True)
    PAGE.write_text("".join(map(filled, lines)), encoding="utf-8")
