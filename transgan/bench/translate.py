"""`transgan bench translate`: how long a folder takes, one file after the other and several at a time."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from transgan.api import Media, Options
from transgan.bench.cases import Case, Noise, in_turns
from transgan.bench.figures import Measured
from transgan.data.domains import Domains, statistics_tensors
from transgan.errors import DataError, DiskError, UsageError
from transgan.inference.containers import Containers
from transgan.inference.devices import best_device
from transgan.inference.file_translator import FileTranslator
from transgan.inference.model_folder import model_config, plan_of
from transgan.inference.places import STATISTICS
from transgan.inference.translator import Translator
from transgan.inference.variation import PLAIN
from transgan.networks import Networks, network_tensors
from transgan.text import option


def measure(cases: Sequence[Case], files: int, rounds: int) -> tuple[str, list[Measured]]:
    """Return a title, and what was measured: the seconds of a file.

    Of one case these are two ways: one file after the other, each read, translated and written, and a folder as
    `transgan translate` does it. Of two cases it is the folder of each. The networks have random weights.

    Args:
        files: how many there are, made of samples of the source domain.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways: list[tuple[str, Callable[[], None]]] = []
        for number, case in enumerate(cases):
            plan = case.plan()
            domains = Domains(plan)
            domains.fit_statistics()
            networks = Networks(plan)
            own = network_tensors({each: networks[each] for each in plan.generator_side})
            tensors = {**own, **statistics_tensors(domains.statistics, STATISTICS)}
            config = model_config(plan, 0, domains)
            translator = Translator(plan_of(config, "the model"), tensors, config, best_device())
            given = _files(translator, domains, files, folder / f"in-{number}")
            if len(cases) == 1:
                ways.append(("one by one", partial(_one_by_one, translator, given, folder / "single")))
            label = "a folder" if len(cases) == 1 else case.label
            ways.append((label, partial(_folder, translator, given, folder / f"out-{number}")))
        found = [Measured(label) for label, _ in ways]
        for _, way in ways:  # not counted: it loads what all need
            way()
        for _, number in in_turns(len(ways), rounds):
            begin = time.perf_counter()
            ways[number][1]()
            found[number].seconds.append((time.perf_counter() - begin) / files)
    for each in found:
        each.figures["files a second"] = 1 / sorted(each.seconds)[len(each.seconds) // 2]
    size, threads = plan.stages[-1].size, torch.get_num_threads()
    return f"{plan.recipe.name}: {files} files, size {size}, {threads} threads on {translator.device}", found


@dataclass(frozen=True)
class _Given:
    """Files to translate."""

    paths: list[Path]
    inputs: dict[str, Path]
    """Folders of their further inputs, by name."""


def _files(translator: Translator, domains: Domains, count: int, folder: Path) -> _Given:
    """Write files of a source domain's samples, and of their further inputs."""
    direction, plan = translator.plan.directions[0], translator.plan
    source, used = direction.translation.source, plan.graph.closure(["fake"])
    folder.mkdir()
    inputs = {name: folder / name for name in plan.recipe.inputs if f"source_{name}" in used}
    for name, own in inputs.items():
        key = f"{source}.{name}"
        _write(translator.input_media[key], domains, key, count, own)
    return _Given(_write(translator.sides(direction)[0], domains, source, count, folder / "files"), inputs)


def _write(media: Media[Options], domains: Domains, name: str, count: int, folder: Path) -> list[Path]:
    """Write files of the samples of a domain, or of a further input, and return their paths.

    Raises:
        UsageError: its samples are noise, which its files cannot hold.
    """
    samples, training = domains[name].samples, domains.media_at(name, media.size)
    folder.mkdir()
    found = []
    for number in range(count):
        location = samples[number % len(samples)].location
        found.append(folder / f"{number:05}{media.suffixes[0]}")
        try:
            if isinstance(location, Noise) and type(media).as_tensor is Media.as_tensor:
                raise DataError("its items have no numbers of that form")
            media.write(_item(media, training, location), found[-1])
        except (DataError, DiskError) as error:
            if not isinstance(location, Noise):
                raise
            raise UsageError(
                f"{option('noise')}: noise has the form of a batch, {(media.channels, *media.space)}, and a "
                f"{media.suffixes[0]} file of '{name}' cannot hold that; measure data of your own"
            ) from error
    return found


def _item(media: Media[Options], training: Media[Options], location: Any) -> Any:
    """Return what a file of a sample would hold; of several items, such as the frames of a clip, the first.

    Args:
        training: the media that decodes samples, also those of noise.
    """
    try:
        x = media.read(location)
    except DataError:  # `read` need not know functions, nor noise: `decode` does
        decoded = training.decode(location)
        x = media.read(torch.from_numpy(decoded) if isinstance(location, Noise) else decoded)
    return x[0] if isinstance(x, list) else x


def _one_by_one(translator: Translator, given: _Given, out: Path) -> None:
    direction = translator.plan.directions[0]
    reader, writer = translator.sides(direction)
    for path in given.paths:
        own = {name: next(folder.glob(f"{path.stem}.*")) for name, folder in given.inputs.items()}
        inputs = {name: translator.read_input(name, each, direction) for name, each in own.items()}
        y = translator.translate(reader.read(path), direction, variation=replace(PLAIN, inputs=inputs))
        writer.write(y, out / path.name)


def _folder(translator: Translator, given: _Given, out: Path) -> None:
    direction = translator.plan.directions[0]
    translate = FileTranslator(
        translator=translator,
        direction=direction,
        out=out,
        overwrite=True,
        native=False,
        attributes={},
        regions=None,
        show_boxes=False,
        containers=Containers({}),
        folders=given.inputs,
        samples=None,
        seed=0,
        style=None,
        strength=None,
        passes=None,
    )
    for _, outcome in translate([(path, Path(path.name)) for path in given.paths]):
        outcome()
