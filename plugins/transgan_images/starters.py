"""Recipes to begin with for pictures: pairs, two folders, many folders, and a table with labels."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image

from transgan.api import (
    DataError,
    DomainFolder,
    Finding,
    Sample,
    Setup,
    Starter,
    Unusable,
    as_name,
    domain_folders,
    find_files,
    listed,
    select,
)
from transgan_images.media import ImageMedia
from transgan_images.tables import LabelledTable, LabelledTableOptions

#: The fewest pictures of a domain: some are held out, and a few are not enough to learn from.
FEWEST = 4
#: Width by height of two pictures side by side, each about a square, and how many files are looked at for it.
_SIDE_BY_SIDE, _LOOKED_AT = (1.6, 2.6), 16
#: Share of the names that two folders of pairs have in common, at least.
_IN_COMMON = 0.8
#: Values of a label that are domains, at most, and the share of the lines that each has, at least.
_MOST_VALUES, _SMALLEST_SHARE = 8, 0.02
_TABLES = (".csv", ".tsv", ".txt")

_SIZE = "pixels; twice as many show more and take four times as long"
_STEPS = "more are better until the previews in samples/ no longer change"
COMMENTS = {
    "data.media": "a picture a little larger than size, of which a step sees a random part",
    "data.size": _SIZE,
    "train.steps": _STEPS,
    "domains": "the samples of each domain",
    "tasks": "the domains that are translated into each other",
}


def between(folders: Iterable[DomainFolder], task: str, **more: Any) -> dict[str, Any]:
    """Return the domains of a recipe, and a task between all of them."""
    domains = {each.name: each.selection for each in folders}
    return {"domains": domains, "tasks": {task: {"between": [*domains], **more}}}


def _unpaired(root: Path) -> Finding:
    folders = domain_folders(root, ImageMedia.suffixes, "pictures", FEWEST, "two")
    return Finding(f"pictures in two folders: {listed(folders)}", between(folders, "look"))


def _many(root: Path) -> Finding:
    folders = domain_folders(root, ImageMedia.suffixes, "pictures", FEWEST, "three or more")
    found = f"pictures in {len(folders)} folders: {listed(folders, 8)}"
    return Finding(found, {"data.source": "folders", **between(folders, "look", targets="random")})


def _pairs(root: Path) -> Finding:
    folders = domain_folders(root, ImageMedia.suffixes)
    if len(folders) == 2:
        keys = [{_key(root / each.path, path) for path in each.files} for each in folders]
        common = len(keys[0] & keys[1])
        if common < max(FEWEST, _IN_COMMON * min(map(len, keys))):
            raise DataError(f"the pictures in {folders[0].path} and {folders[1].path} are not named alike")
        found = f"{common:,} pairs of pictures with the same names: {listed(folders)}"
        return _paired(found, {each.name: each.selection for each in folders})
    files, held_out = _flat(root)
    if len(files) < FEWEST or not all(map(_is_wide, files[:: max(1, len(files) // _LOOKED_AT)])):
        raise DataError(
            f"{root} has neither two folders of pictures with the same names, nor pictures that show two side by side"
        )
    place = "." if files[0].parent == root else files[0].parent.relative_to(root).as_posix()
    sides: dict[str, Any] = {side: {"path": place, "half": side} for side in ("left", "right")}
    if held_out:
        other = held_out[0].parent.relative_to(root).as_posix()
        for side, selection in sides.items():
            selection["held_out"] = {"path": other, "half": side}
    kept = f", {len(held_out):,} of them held out" if held_out else ""
    return _paired(f"{len(files) + len(held_out):,} pairs, two pictures side by side in each file{kept}", sides)


def _paired(what: str, domains: dict[str, Any]) -> Finding:
    source, target = domains
    task = {"from": source, "to": target, "paired": True}
    return Finding(what, {"data.source": "folders", "domains": domains, "tasks": {"paint": task}})


def _flat(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures directly in a folder, or in its folder `train` and in `test` or `val`."""

    def directly_in(folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        return [path for path in find_files(folder, "*").files if path.suffix.lower() in ImageMedia.suffixes]

    if train := directly_in(root / "train"):
        return train, directly_in(root / "test") or directly_in(root / "val")
    return directly_in(root), []


def _is_wide(path: Path) -> bool:
    with suppress(OSError, ValueError, Image.DecompressionBombError), Image.open(path) as image:
        return _SIDE_BY_SIDE[0] <= image.width / image.height <= _SIDE_BY_SIDE[1]
    return False


def _key(folder: Path, path: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _table(path: Path) -> Finding:
    """Look at a table, or for one in a folder."""
    if path.is_file():
        try:
            return _of_table(path)
        except DataError as error:  # a file that is named like a table can be nothing else
            raise Unusable(str(error)) if path.suffix.lower() in _TABLES else error from None
    faults: list[DataError] = []
    for each in find_files(path, "*").files if path.is_dir() else ():
        if each.suffix.lower() in _TABLES:
            try:
                return _of_table(each)
            except DataError as error:
                faults.append(error)
    faults.sort(key=lambda each: not isinstance(each, Unusable))
    raise faults[0] if faults else DataError(f"{path} has no table, a file ending in {', '.join(_TABLES)}")


def _of_table(path: Path) -> Finding:
    """Return what was found in a table.

    Raises:
        Unusable: it lists pictures, and they are missing, or it does not divide them.
        DataError: it cannot be read, or lists something else.
    """
    root = path.parent
    options = LabelledTableOptions(table=path.name)
    samples = LabelledTable(options, root).images
    if not any(each.location.suffix.lower() in ImageMedia.suffixes for each in samples):
        raise DataError(f"{path}: its first column lists no pictures, files ending in {', '.join(ImageMedia.suffixes)}")
    files = [each.location.relative_to(root) for each in samples[:: max(1, len(samples) // _LOOKED_AT)]]
    folders = [".", *sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))]
    folder = max(folders, key=lambda each: sum((root / each / file).is_file() for file in files))  # the first of equals
    table = LabelledTable(options.model_copy(update={"folder": folder}), root)
    if missing := table.missing(table.images):
        raise Unusable(missing)
    labels = list(dict.fromkeys(name for sample in samples for name in sample.attributes))
    # A label with a few values comes before a number, which is only divided into low and high.
    for divide, label in product((_by_value, _by_thirds), labels):
        if domains := divide(label, [each.attributes[label] for each in samples if label in each.attributes]):
            others = f"; other labels: {listed((each for each in labels if each != label), 6)}" if labels[1:] else ""
            in_none = _in_none(label, samples, domains.values())
            found = f"{len(samples):,} pictures with labels in {path.name}; domains by {label}{in_none}{others}"
            source = {"use": "labelled_table", "table": path.name, "folder": folder}
            task = {"between": [*domains], "targets": "random"}
            changes = {"data.source": source, "domains": domains, "tasks": {as_name(label): task}}
            return Finding(found, {"data.root": str(root), **changes})
    raise Unusable(f"{path}: no column divides the pictures into groups of {FEWEST} or more")


def _in_none(label: str, samples: list[Sample], selections: Iterable[dict[str, Any]]) -> str:
    """Return how many samples are in no domain, and what their labels are; an empty text where all are in one."""
    chosen = {id(sample) for selection in selections for sample in select(samples, selection)}
    values = [each.attributes.get(label) for each in samples if id(each) not in chosen]
    if not values:
        return ""
    known = [each for each in values if each is not None]
    if known and all(isinstance(each, (int, float)) for each in known):
        parts = [f"{len(known):,} with {label} from {min(known)} to {max(known)}"]
    else:
        parts = [f"{count:,} with {label} {value}" for value, count in Counter(known).most_common()]
    if len(known) < len(values):
        parts.append(f"{len(values) - len(known):,} without {label}")
    return f"; {len(values):,} in no domain ({listed(parts, 5)})"


def _by_value(label: str, values: list[Any]) -> dict[str, Any]:
    """Return a domain for each of the few values of a label; none where it has many, or most have one."""
    counts = Counter(each for each in values if isinstance(each, (str, int, float)))
    fewest = max(FEWEST, _SMALLEST_SHARE * len(values))
    frequent = sorted((value for value, count in counts.items() if count >= fewest), key=str)
    if len(frequent) < 2 or len(counts) > _MOST_VALUES:
        return {}
    names = [as_name(each if isinstance(each, str) else f"{label}_{each}") for each in frequent]
    return {name: {label: value} for name, value in zip(names, frequent, strict=True)}


def _by_thirds(label: str, values: list[Any]) -> dict[str, Any]:
    """Return the lowest and the highest third of a label that is a number as domains; none for other labels."""
    if len(values) < 3 * FEWEST or not all(
        isinstance(each, (int, float)) and not isinstance(each, bool) for each in values
    ):
        return {}
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 3], ordered[-(len(ordered) // 3)]
    ranges = {as_name(f"low_{label}"): [ordered[0], low], as_name(f"high_{label}"): [high, ordered[-1]]}
    return {name: {label: each} for name, each in ranges.items()} if low < high else {}


_SHAPES = {"data.source": {"use": "synthetic_shapes", "count": 1000}}


def _shapes(**fills: dict[str, Any]) -> dict[str, Any]:
    return {name: {"hue": [0.0, 1.0], **selection} for name, selection in fills.items()}


_CYCLE_ADVICE = (
    "losses.cycle        lower it if a translation looks like its source, raise it if it loses its shape",
    "losses.identity     false, if colours have to change much",
)

UNPAIRED = Starter(
    "unpaired",
    "two folders of pictures, of which no two belong together",
    "CycleGAN (Zhu et al., 2017) learns both directions from pictures that are no pairs: what is translated there and "
    "back must be what it was.",
    _unpaired,
    Finding(
        "synthetic shapes, filled and striped",
        {
            **_SHAPES,
            "domains": _shapes(filled={"fill": "filled"}, striped={"fill": "striped"}),
            "tasks": {"look": {"between": ["filled", "striped"]}},
        },
    ),
    {
        "cpu": Setup(
            "cyclegan",
            {
                "data.media.enlarge": 1.1,
                "data.size": 64,
                "train.steps": 2000,
                "train.ema": 0.99,
                "generators.resnet.width": 24,
                "generators.resnet.blocks": 4,
                "discriminators.patch.width": 24,
                "discriminators.patch.layers": 2,
            },
            "half an hour to an hour",
        ),
        "apple": Setup(
            "cyclegan",
            {
                "data.size": 128,
                "train.steps": 30_000,
                "train.ema": 0.999,
                "generators.resnet.width": 32,
                "generators.resnet.blocks": 6,
                "discriminators.patch.width": 32,
            },
            "a night",
        ),
        "gpu": Setup("cyclegan", {"train.steps": 100_000, "train.ema": 0.999, "train.precision": "bf16"}, "a night"),
    },
    COMMENTS | {"losses.cycle": "there and back again", "losses.identity": "keeps colours"},
    _CYCLE_ADVICE,
)

PAIRS = Starter(
    "pairs",
    "pairs of pictures: side by side in one file, or of the same name in two folders",
    "pix2pix (Isola et al., 2017) learns from the pairs themselves, one direction: so what a translation should be is "
    "known.",
    _pairs,
    Finding(
        "synthetic shapes, filled and in outline",
        {
            **_SHAPES,
            "data.media.flip": False,
            "domains": _shapes(print={"fill": "filled"}, sketch={"fill": "outline"}),
            "tasks": {"paint": {"from": "print", "to": "sketch", "paired": True}},
        },
    ),
    {
        "cpu": Setup(
            "pix2pix",
            {
                "data.media.enlarge": 1.1,
                "data.size": 64,
                "train.steps": 3000,
                "train.batch": 4,
                "train.ema": 0.99,
                "generators.unet.width": 24,
                "generators.unet.downs": 5,
                "discriminators.patch.width": 24,
                "discriminators.patch.layers": 2,
            },
            "half an hour to an hour",
        ),
        "apple": Setup(
            "pix2pix",
            {
                "data.size": 128,
                "train.steps": 40_000,
                "generators.unet.width": 48,
                "generators.unet.downs": 7,
                "discriminators.patch.width": 48,
            },
            "a night",
        ),
        "gpu": Setup("pix2pix", {"train.precision": "bf16"}, "some hours"),
    },
    COMMENTS | {"tasks": "to learn the other direction, exchange from and to", "losses.paired": "L1 to the truth"},
    ("losses.paired       lower it for sharper, freer translations",),
    rank=2,
)

_STARGAN = {
    "data.media.fit": "crop",
    "train.balance": None,
}
_STARGAN_SETUPS = {
    "cpu": Setup(
        "stargan",
        {
            **_STARGAN,
            "data.size": 64,
            "train.steps": 4000,
            "train.batch": 8,
            "train.ema": 0.99,
            "optimizers.generator.lr": {"from": 5e-4, "to": 0.0, "between": [0.5, 1.0]},
            "optimizers.discriminator.lr": {"from": 5e-4, "to": 0.0, "between": [0.5, 1.0]},
            "generators.resnet.width": 16,
            "generators.resnet.blocks": 3,
            "discriminators.stargan.width": 16,
            "discriminators.stargan.layers": 5,
        },
        "an hour",
    ),
    "apple": Setup(
        "stargan",
        {**_STARGAN, "train.steps": 60_000, "generators.resnet.width": 32, "discriminators.stargan.width": 32},
        "a night",
    ),
    "gpu": Setup("stargan", {**_STARGAN, "train.precision": "bf16"}, "a night"),
}
_HUES = {
    **_SHAPES,
    "domains": {"red": {"hue": 0.0}, "green": {"hue": 0.33}, "blue": {"hue": 0.67}},
    "tasks": {"look": {"between": ["red", "green", "blue"], "targets": "random"}},
}
_STARGAN_COMMENTS = COMMENTS | {"data.media": "the middle of each picture", "losses.cycle": "there and back again"}
_STARGAN_ADVICE = (
    "losses.cycle        lower it if too little changes",
    "losses.domain_classification   raise it if the wrong thing changes",
)

MANY = Starter(
    "many",
    "three or more folders of pictures, a domain each",
    "StarGAN (Choi et al., 2018) translates every domain into every other with a single generator: with one for each "
    "direction there would be too many.",
    _many,
    Finding("synthetic shapes in three colours", _HUES),
    _STARGAN_SETUPS,
    _STARGAN_COMMENTS,
    _STARGAN_ADVICE,
    rank=1,
)

TABLE = Starter(
    "table",
    "pictures with labels in a table (CSV or TSV)",
    "StarGAN (Choi et al., 2018) has a single generator, conditioned on the label to translate to; the values of a "
    "label are its domains.",
    _table,
    Finding("synthetic shapes in three colours", _HUES),
    _STARGAN_SETUPS,
    _STARGAN_COMMENTS | {"domains": "each a selection by labels; another label, or several, will do as well"},
    _STARGAN_ADVICE,
    rank=3,
)

STARTERS = (UNPAIRED, PAIRS, MANY, TABLE)
