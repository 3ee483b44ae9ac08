"""Translates the digits of MNIST to USPS and back by every method, and says how many can still be read.

    python -m benchmarks.digits DIGITS --out FOLDER

DIGITS has `mnist_train.npz`, `mnist_test.npz`, `usps_train.npz` and `usps_test.npz`, each with `images` (N, 32, 32)
uint8 and `labels` (N,), as docs/howto/data_sets.md writes them. A method is a recipe in `methods/`, or `plain`, which
is CycleGAN written by hand. No method sees a label. The figure is the share of translated test digits that a classifier
of the target domain reads right; it is trained on real digits with their labels, once. Beside it stand the untranslated
digits and the target's own.

FOLDER gets a run folder and the translated digits of each method and seed, `table.md` and `table.json`. Started again,
the command goes on where it was: what is finished is read, an unfinished run is resumed (core-minutes are then those
since).
"""

import argparse
import json
import resource
import statistics
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import transgan
from benchmarks.digits import plain
from benchmarks.digits.classifier import read_or_train

METHODS = Path(__file__).with_name("methods")
DOMAINS = {"mnist": "usps", "usps": "mnist"}


def read(path: Path) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, 32, 32) in [-1, 1] and labels (N,)."""
    try:
        with np.load(path) as file:
            images, labels = file["images"], file["labels"]
    except (OSError, KeyError, ValueError) as error:
        raise SystemExit(f"error: {path}: expected a file with images and labels: {error}") from None
    if images.shape[1:] != (32, 32) or images.dtype != np.uint8 or len(images) != len(labels):
        raise SystemExit(f"error: {path}: images {images.shape} {images.dtype}; expected (N, 32, 32) uint8, N labels")
    return torch.from_numpy(images).float()[:, None] / 127.5 - 1, torch.from_numpy(labels).long()


def core_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


@torch.no_grad()
def translate_plain(network: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([network(each) for each in x.split(250)])


def run(method: str, seed: int, folder: Path, data: Path, scale: float, images: dict[str, Tensor]) -> dict[str, Tensor]:
    """Train one method; return the translations of each domain's test digits."""
    if method == "plain":
        train = {name: images[f"{name}_train"] for name in DOMAINS}
        networks = plain.train(train, seed, max(1, round(plain.STEPS * scale)))
        return {name: translate_plain(networks[to], images[f"{name}_test"]) for name, to in DOMAINS.items()}
    if folder.exists():
        trained = transgan.Run(folder).resume(quiet=True)
    else:
        recipe = METHODS / f"{method}.toml"
        overrides = {"data.root": str(data), "train.seed": seed, "metrics": {}}
        if scale != 1:
            overrides["train.steps"] = max(1, round(steps_of(recipe) * scale))
        trained = transgan.train(recipe, overrides, out=folder, quiet=True)
    translator = trained.translator()
    return {name: translator(images[f"{name}_test"], source=name, to=to) for name, to in DOMAINS.items()}


def steps_of(recipe: Path) -> int:
    from transgan.recipe import read_recipe

    return read_recipe(recipe).recipe.train.steps


def table(rows: dict[str, list[dict[str, float]]], references: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table: a row a method, in each column mean, least and greatest of its seeds."""
    columns = {"mnist": "MNIST -> USPS", "usps": "USPS -> MNIST", "minutes": "core-minutes"}
    lines = [f"| method | {' | '.join(columns.values())} | seeds |", "|---|---|---|---|---|"]
    for name, found in references.items():
        lines.append(f"| {name} | {found['mnist']:.3f} | {found['usps']:.3f} |  |  |")
    for name, seeds in rows.items():
        cells = []
        for column in columns:
            values = [row[column] for row in seeds]
            digits = 1 if column == "minutes" else 3
            spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} | {len(seeds)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    known = ["plain", *sorted(path.stem for path in METHODS.glob("*.toml"))]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.digits", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the four files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of the table")
    parser.add_argument("--methods", nargs="+", default=known, choices=known, help="defaults to all of them")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scale", type=float, default=1.0, help="factor of every method's steps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    if chosen.threads < 1 or chosen.scale <= 0:
        parser.error("expected --threads from 1 on, and --scale above 0")
    torch.set_num_threads(chosen.threads)

    files = {
        f"{name}_{part}": read(chosen.data / f"{name}_{part}.npz") for name in DOMAINS for part in ("train", "test")
    }
    images, labels = {name: x for name, (x, _) in files.items()}, {name: y for name, (_, y) in files.items()}
    judges = {}
    for name in DOMAINS:
        print(f"classifier of {name}", flush=True)
        path = chosen.out / f"classifier_{name}.safetensors"
        judges[name] = read_or_train(path, images[f"{name}_train"], labels[f"{name}_train"])

    def accuracy(translated: dict[str, Tensor]) -> dict[str, float]:
        return {name: judges[to].accuracy(translated[name], labels[f"{name}_test"]) for name, to in DOMAINS.items()}

    references = {
        "real digits of the target": {
            name: judges[to].accuracy(images[f"{to}_test"], labels[f"{to}_test"]) for name, to in DOMAINS.items()
        },
        "untranslated": accuracy({name: images[f"{name}_test"] for name in DOMAINS}),
    }
    rows: dict[str, list[dict[str, float]]] = {}
    todo = [(method, seed) for method in chosen.methods for seed in chosen.seeds]
    for number, (method, seed) in enumerate(todo, 1):
        name = f"{method}-{seed}" if chosen.scale == 1 else f"{method}-{seed}-x{chosen.scale:g}"
        file = chosen.out / f"{name}.safetensors"
        if not file.exists():
            print(f"{number} of {len(todo)}: {method}, seed {seed}", flush=True)
            begin = core_seconds()
            translated = run(method, seed, chosen.out / name, chosen.data, chosen.scale, images)
            minutes = torch.tensor((core_seconds() - begin) / 60)
            save_file({**{key: x.contiguous() for key, x in translated.items()}, "minutes": minutes}, file)
        found = load_file(file)
        rows.setdefault(method, []).append({**accuracy(found), "minutes": float(found["minutes"])})
        text = table(rows, references)
        (chosen.out / "table.md").write_text(text)
        (chosen.out / "table.json").write_text(json.dumps({"references": references, "methods": rows}, indent=1))
    print("\n" + text)


if __name__ == "__main__":
    main()
