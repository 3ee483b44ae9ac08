"""`transgan bench translate`: how long a folder takes, one file after the other and several at a time."""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from transgan.api import Media
from transgan.bench.cases import Case, Noise, in_turns
from transgan.bench.figures import Measured
from transgan.data.domains import Domains, statistics_tensors
from transgan.errors import UsageError
from transgan.inference.containers import Containers
from transgan.inference.devices import best_device
from transgan.inference.file_translator import FileTranslator
from transgan.inference.model_folder import model_config, plan_of
from transgan.inference.places import STATISTICS
from transgan.inference.translator import Translator
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


def _files(translator: Translator, domains: Domains, count: int, folder: Path) -> list[Path]:
    """Write files of a source domain's samples."""
    direction = translator.plan.directions[0]
    media, _ = translator.sides(direction)
    source = direction.translation.source
    samples = domains[source].samples
    if isinstance(samples[0].location, Noise) and type(media).as_levels is Media.as_levels:
        raise UsageError(f"{option('noise')}: noise cannot be a {media.suffixes[0]} file; measure data of your own")
    folder.mkdir()
    found = []
    for number in range(count):
        location = samples[number % len(samples)].location
        if isinstance(location, Noise):
            x = torch.from_numpy(domains.media_at(source, media.size).decode(location))
        else:
            x = media.read(location(media.size) if callable(location) else location)
        found.append(folder / f"{number:05}{media.suffixes[0]}")
        media.write(x, found[-1])
    return found


def _one_by_one(translator: Translator, files: Sequence[Path], out: Path) -> None:
    direction = translator.plan.directions[0]
    reader, writer = translator.sides(direction)
    for path in files:
        writer.write(translator.translate(reader.read(path), direction), out / path.name)


def _folder(translator: Translator, files: Sequence[Path], out: Path) -> None:
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
        folders={},
        samples=None,
        seed=0,
        style=None,
        strength=None,
        passes=None,
    )
    for _, outcome in translate([(path, Path(path.name)) for path in files]):
        outcome()
