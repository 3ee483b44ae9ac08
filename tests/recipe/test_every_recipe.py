"""Every recipe of this repository runs: two steps of smaller networks, on data of the form that the recipe expects."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan import storage
from transgan.errors import RecipeError, TransganError
from transgan.plan import Plan, make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.text import quietly
from transgan.training.start import train

ROOT = Path(__file__).parents[2]
RECIPES = sorted([*ROOT.glob("recipes/*.toml"), ROOT / "plugins/example/recipe.toml"])
#: Options of any plugin that are lowered to these values where they are higher.
LARGEST = {"width": 4, "widest": 8, "blocks": 1, "layers": 2, "downs": 2, "scales": 2, "iterations": 1, "count": 8}
LARGEST |= {"pretrain": 2}
STEPS, BATCH = 2, 2
#: Sizes of training samples, of which the smallest is chosen that the networks of a recipe accept.
SIZES = (32, 64, 128)
#: Options of any plugin that are set to these values: an initialization from data takes longer than two steps.
REPLACED = {"start": "none"}
#: Samples that are generated for each domain, as many that are held out, and the side of a picture.
SAMPLES, SIDE = 4, 48


@pytest.fixture
def registry_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Registry]:
    """`registry_of(recipe)`: the installed plugins, and that of the recipe's folder."""

    def find(recipe: Path) -> Registry:
        found = Registry.installed()
        if recipe.parent.name == "example":
            monkeypatch.syspath_prepend(recipe.parent)
            found.add(import_module("transgan_example"), "example", "transgan-example", "0.1.0")
        return found

    return find


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.relative_to(ROOT).with_suffix("").as_posix())
def test_it_trains(path: Path, registry_of: Callable[[Path], Registry], tmp_path: Path) -> None:
    registry = registry_of(path)
    try:
        plan = make_plan(read_recipe(path), registry)
    except TransganError as error:
        if 'pip install "transgan[' in str(error):
            pytest.skip(str(error))
        raise
    overrides = reduced(path, plan, registry)
    if plan.recipe.data.default is None and plan.sources[0].reads_root:
        write_data(plan, tmp_path / "data")
        overrides.append(f"data.root={tmp_path / 'data'}")
    with quietly(True):
        assert train(read_recipe(path, overrides), registry, tmp_path / "run").code == 0
    checkpoint, rejected = storage.newest(tmp_path / "run/checkpoints")
    assert checkpoint is not None and not rejected and checkpoint.step >= STEPS
    logged = [each for each in storage.read_metrics(tmp_path / "run/metrics.jsonl") if "step" in each]
    losses = {key: each[key] for each in logged for key in each if "/loss_G/" in key or "/loss_D/" in key}
    assert all(math.isfinite(value) for value in losses.values()), losses
    sides = {key.split("/")[1] for key in losses}
    assert sides == {"loss_G", *(["loss_D"] if plan.recipe.discriminators else [])}


def reduced(path: Path, plan: Plan, registry: Registry) -> list[str]:
    """Return changes that make a run of a recipe small: its networks, samples, steps and phases, not its kind."""
    whole = plan.recipe.data.size
    changes = list(reductions(plan))
    for size in SIZES:
        least = [min(each, size) for each in whole] if isinstance(whole, list) else min(whole, size)
        sizes = [f"data.size={least}", *stage_sizes(plan, least)]
        with suppress(RecipeError):
            make_plan(read_recipe(path, [*sizes, *changes]), registry)
            return [*sizes, *changes]
    return changes


def stage_sizes(plan: Plan, size: int | list[int]) -> Iterator[str]:
    """Yield the sizes of stages, reduced in proportion where samples have two axes."""
    whole = plan.recipe.data.size
    for i, stage in enumerate(plan.recipe.stages):
        if isinstance(stage.size, list) and isinstance(whole, list) and isinstance(size, list):
            reduced = [own * new // old for own, new, old in zip(stage.size, size, whole, strict=True)]
            yield f"stages.{i}.size={reduced}"


def reductions(plan: Plan) -> Iterator[str]:
    """Yield these changes, but for the size of the samples."""
    recipe = plan.recipe
    yield f"train.steps={max(STEPS, len(recipe.stages))}"
    yield f"train.batch={BATCH}"
    yield f"train.sample_every={STEPS}"
    yield from ("train.accumulate=1", "train.log_every=1", "evaluate.every=0", "evaluate.keep_best=''", "metrics={}")
    for i, phase in enumerate(recipe.phases):
        if phase.every > STEPS:
            yield f"phases.{i}.every={STEPS}"
    for place, options in plan.filled.items():
        for name, value in options.items():
            if name in LARGEST and isinstance(value, int) and value > LARGEST[name] and place[0] != "metrics":
                yield ".".join((*place, f"{name}={LARGEST[name]}"))
            if name in REPLACED and value != REPLACED[name]:
                yield ".".join((*place, f"{name}={REPLACED[name]}"))
    if recipe.data.source.use == "synthetic_colours":
        yield "data.source.count=25"  # at least one of each Gaussian


def write_data(plan: Plan, root: Path) -> None:
    """Write samples for every domain, in the form that the recipe's source reads."""
    root.mkdir()
    write = {
        "folders": write_folders,
        "labelled_faces": write_labelled_faces,
        "labelled_table": write_labelled_table,
        "arrays": write_arrays,
        "clips": write_clips,
    }.get(plan.recipe.data.source.use)
    if write:  # otherwise the samples are synthetic
        write(plan, root)


def selections(domains: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each domain with its selection, and with that of its held-out samples."""
    for name, selection in domains.items():
        if isinstance(selection, Mapping):
            own = {key: value for key, value in selection.items() if key not in ("held_out", "media")}
            yield name, own.get("path") if set(own) == {"path"} else own
            if "held_out" in selection:
                yield name, selection["held_out"]
        else:
            yield name, selection


def write_folders(plan: Plan, root: Path) -> None:
    """Write pictures or sounds; those of the same place in two folders have the same name, as pairs need it."""
    inputs = [
        (f"{domain}.{name}", each)
        for name, tables in plan.recipe.inputs.items()
        for domain, each in selections(tables.domains)
    ]
    for number, (domain, selection) in enumerate([*selections(plan.recipe.domains), *inputs]):
        media = (plan.input_media if "." in domain else plan.media)[domain]
        without = selection.get("without", "") if isinstance(selection, Mapping) else ""
        path, half = (selection["path"], selection.get("half")) if isinstance(selection, Mapping) else (selection, None)
        folder = root / re.sub(r"[*?\[\]]", "1", path).removesuffix(".jpg").removesuffix(".png")
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(SAMPLES):
            if getattr(media.options, "labels", False) is True:
                write_numbers(folder / f"{i}{without}.png", SIDE, seed=100 * number + i)
            elif ".png" in media.cls.suffixes:
                write_picture(folder / f"{i}{without}.png", (2 if half else 1) * SIDE, SIDE, seed=100 * number + i)
            else:
                write_sound(folder / f"{i}.wav", seed=100 * number + i)


def write_labelled_faces(plan: Plan, root: Path) -> None:
    genders, races = ("male", "female"), ("White", "Black", "Asian", "Indian", "Others")
    for number, (_, selection) in enumerate(selections(plan.recipe.domains)):
        labels = {"age": 25, "gender": "male", "race": "White"} | {key: first(each) for key, each in selection.items()}
        for i in range(2 * SAMPLES):
            name = (
                f"{labels['age']}_{genders.index(labels['gender'])}_{races.index(labels['race'])}_{number}{i:03d}.png"
            )
            write_picture(root / name, SIDE, SIDE, seed=100 * number + i)


def write_labelled_table(plan: Plan, root: Path) -> None:
    """Write a table with a column for each label; a label that an image's domain does not name is -1 or "other"."""
    options = plan.recipe.data.source.options
    wanted = [selection for _, selection in selections(plan.recipe.domains)]
    wanted += [{name: each.values or [each.low, each.high]} for name, each in plan.recipe.attributes.items()]
    numeric = {name: not isinstance(first(value), str) for each in wanted for name, value in each.items()}
    lines = [",".join(["file", *numeric])]
    folder = root / options.get("folder", ".")
    folder.mkdir(parents=True, exist_ok=True)
    for number, (_, selection) in enumerate(selections(plan.recipe.domains)):
        for i in range(2 * SAMPLES):
            labels = {name: -1 if is_number else "other" for name, is_number in numeric.items()}
            labels |= {name: first(each.values or [each.low]) for name, each in plan.recipe.attributes.items()}
            labels |= {name: first(value) for name, value in selection.items()}
            lines.append(",".join(map(str, [f"{number}_{i}.png", *labels.values()])))
            write_picture(folder / f"{number}_{i}.png", SIDE, SIDE, seed=100 * number + i)
    (root / options["table"]).write_text("\n".join(lines) + "\n")


def write_arrays(plan: Plan, root: Path) -> None:
    for number, (_, selection) in enumerate(selections(plan.recipe.domains)):
        path = root / (selection["path"] if isinstance(selection, Mapping) else selection)
        path.parent.mkdir(parents=True, exist_ok=True)
        images = np.random.default_rng(number).integers(0, 256, (20, 16, 16), dtype=np.uint8)
        np.savez(path, images=images, labels=np.arange(20) % 10)


def write_clips(plan: Plan, root: Path) -> None:
    """Write clips as folders of frames, which need no package to be read."""
    for number, (_, selection) in enumerate(selections(plan.recipe.domains)):
        for i in range(SAMPLES):
            folder = root / selection / f"{i}"
            folder.mkdir(parents=True)
            for frame in range(4):
                write_picture(folder / f"{frame}.png", SIDE, SIDE, seed=1000 * number + 10 * i + frame)


def first(wanted: Any) -> Any:
    return wanted[0] if isinstance(wanted, list) else wanted


def write_picture(path: Path, width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_numbers(path: Path, side: int, seed: int) -> None:
    """Write a map of two classes or instances."""
    Image.fromarray(np.random.default_rng(seed).integers(0, 2, (side, side), dtype=np.uint8)).save(path)


def write_sound(path: Path, seed: int, rate: int = 16_000) -> None:
    soundfile = pytest.importorskip("soundfile")
    time = np.arange(rate) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (150 + seed) * time) * np.sin(9 * time), rate)
