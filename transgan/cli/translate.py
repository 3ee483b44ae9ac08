"""`transgan translate`: translate files and folders with a trained model."""

import os
import re
import unicodedata
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.detectors import DetectorOptions, check_detector
from transgan.cli.options import Device, examples
from transgan.cli.run import PluginFiles
from transgan.errors import (
    DataError,
    OutOfMemory,
    PluginFault,
    PluginRuntimeError,
    TransganError,
    UsageError,
    as_user_error,
    similar_path,
)
from transgan.text import expand_home, is_quiet, note, printable, show

if TYPE_CHECKING:
    from transgan.inference.containers import Containers
    from transgan.inference.translator import Translator


def add(app: typer.Typer) -> None:
    app.command(
        cls=DetectorOptions,
        epilog=examples(
            "transgan translate runs/zebra-1 FOLDER --to zebra",
            "transgan translate runs/zebra-1 FILE --to zebra --with NAME=VALUE --out results",
            "transgan translate runs/zebra-1 FOLDER --to zebra --regions DETECTOR",
        ),
    )(translate)


def translate(
    context: typer.Context,
    model: Path = typer.Argument(
        metavar="MODEL",
        help="A model folder, or the folder of a run or a checkpoint.",
        autocompletion=completion.models,
    ),
    inputs: list[Path] = typer.Argument(metavar="INPUTS", help="Files and folders; folders are searched recursively."),
    to: str = typer.Option(
        None, "--to", metavar="DOMAIN", help="The target domain.", autocompletion=completion.domains
    ),
    task: str = typer.Option(
        None,
        "--task",
        metavar="TASK",
        help="The task, where several tasks have this target domain.",
        autocompletion=completion.tasks,
    ),
    source: str = typer.Option(
        None,
        "--from",
        metavar="DOMAIN",
        help="The source domain, where the task allows several.",
        autocompletion=completion.domains,
    ),
    out: Path = typer.Option(
        "translated", "--out", "-o", metavar="FOLDER", help="The folder for the results; file names are kept."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace results that exist; inputs are never replaced."),
    native: bool = typer.Option(False, "--native", help="Translate at the files' own size, not at the training size."),
    attributes: list[str] = typer.Option(
        None,
        "--with",
        metavar="NAME=VALUE",
        help="Condition on an attribute value; defaults to the target domain's mean or most common one. Repeatable.",
        autocompletion=completion.attributes,
    ),
    samples: int = typer.Option(
        None, "--samples", metavar="N", help="Write N translations of each file, each with other latent codes."
    ),
    seed: int = typer.Option(None, "--seed", metavar="N", help="Seed of the latent codes; 0 by default."),
    reference: Path = typer.Option(
        None, "--reference", metavar="FILE", help="A sample of the target domain, whose style the results take."
    ),
    strength: float = typer.Option(
        None,
        "--strength",
        metavar="X",
        help="How much of the change is made: 0 for none (no copy: see --native), 1 for all, above 1 for more.",
    ),
    passes: int = typer.Option(
        None, "--passes", metavar="N", help="Translate in N passes, with a model whose translation takes several."
    ),
    further: list[str] = typer.Option(
        None,
        "--input",
        metavar="NAME=FOLDER",
        help="The folder with a further input of the files, such as their masks, under the same names. Repeatable.",
    ),
    step: int = typer.Option(None, "--step", min=0, metavar="N", help="Of a run, use the checkpoint of step N."),
    plugin: list[Path] = PluginFiles,
    device: str = Device,
    memory: str = typer.Option(
        None,
        "--memory",
        metavar="SIZE",
        help="Translate in tiles what would take more memory, such as 2GB; defaults to most of what is free.",
    ),
    ending: str = typer.Option(
        None, "--ending", metavar=".ENDING", help="The file type of the results; defaults to that of each file."
    ),
    detector: str = typer.Option(
        None,
        "--regions",
        metavar="DETECTOR",
        help="Translate only the regions that a detector finds; --DETECTOR is the short form.",
        autocompletion=completion.names_of("region_detectors"),
    ),
    only_largest: bool = typer.Option(False, "--only-largest", help="Translate only the largest region."),
    min_size: float = typer.Option(None, "--min-size", min=0, metavar="SIZE", help="Skip smaller regions."),
    show_boxes: bool = typer.Option(False, "--show-boxes", help="Mark the detected regions in the results."),
    settings: list[str] = typer.Option(
        None,
        "--set",
        metavar="KEY=VALUE",
        help="Set an option of the detector, of the media as media.KEY, or of a container as CONTAINER.KEY; see "
        "transgan plugins NAME. Repeatable.",
    ),
) -> None:
    """Translate files and folders with a trained model.

    File names and sizes are kept; inputs are never replaced. With --quiet, the folder for the results is printed.
    """
    from transgan.inference.places import find_model
    from transgan.plugin_files import use_files
    from transgan.storage.atomic import disk_errors, make_folder

    # What can be wrong without torch is reported before it is imported.
    find_model(model, step)
    for item in inputs:
        check_input(expand_home(item))
    out = expand_home(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; expected a folder")
    limit = None if memory is None else _parse_size(memory)
    conditions = dict(_parse_attribute(each) for each in attributes or ())
    folders = dict(_parse_input(each) for each in further or ())
    use_files(plugin)

    from transgan.api import Failures
    from transgan.inference.containers import Containers, is_setting
    from transgan.inference.file_translator import FileTranslator, results_of
    from transgan.inference.regions import RegionSelection
    from transgan.inference.translator import Translator
    from transgan.inference.variation import check_inputs, check_variation
    from transgan.registry import Registry

    media_settings = [each for each in settings or [] if each.startswith("media.")]
    registry = Registry.installed()
    container_settings = [each for each in settings or [] if is_setting(each, registry.names("containers"))]
    settings = [each for each in settings or [] if each not in media_settings + container_settings]
    values = {"--only-largest": only_largest, "--min-size": min_size, "--show-boxes": show_boxes, "--set": settings}
    region_options = [name for name, value in values.items() if value not in (None, False, [])]
    if detector or region_options:
        check_detector(context, detector, region_options)
    translator = Translator.from_pretrained(model, device, step)
    translator.memory = limit
    translator.set_media_options(media_settings)
    regions = None
    if detector:
        fitting = translator.region_options(detector)
        regions = RegionSelection.named(detector, fitting, min_size, only_largest, settings, registry)
        if regions.detector.note:
            note(f"note: {regions.detector.note}")
    direction = translator.choose(to, task, source)
    translator.encode_attributes(direction, conditions)  # report mistakes before looking for files
    check_variation(translator.plan, samples, seed, reference is not None, strength, passes)
    style = None if reference is None else translator.read_reference(expand_home(reference), direction)
    check_inputs(translator.plan, direction, folders, regions is not None)
    containers = Containers.of_model(translator.plan, direction, container_settings, registry)
    files, unreadable = find_files(inputs, translator, out, ending, containers)
    check_results([(path, each) for path, name in files for each in results_of(name, samples)], out, overwrite)
    with disk_errors(out):
        make_folder(out)
    translate_files = FileTranslator(
        translator=translator,
        direction=direction,
        out=out,
        overwrite=overwrite,
        native=native,
        attributes=conditions,
        regions=regions,
        show_boxes=show_boxes,
        containers=containers,
        folders=folders,
        samples=samples,
        seed=seed or 0,
        style=style,
        strength=strength,
        passes=passes,
    )

    failures, done, count = Failures(partial(_failure, native=native)), 0, 0
    failures.of_folders(unreadable)
    with closing(translate_files(files)) as outcomes:  # so that an interruption is over when the writers are
        for path, outcome in outcomes:
            with failures.of(path):
                translated = outcome()
                count += translated or 0
                done += translated is not None
                if translated is None:
                    note(f"{printable(path)}: no {regions.name if regions else 'regions'} found; copied")
    counted = f"; {count} {regions.name}" if regions else ""
    counted += f"; {samples} results each" if samples else ""
    show(out if is_quiet() else f"{done} of {len(files)} translated ({direction.translation}{counted}) into {out}")
    failures.stop(len(files) + len(unreadable), "translated")


def _failure(path: Path, error: Exception, native: bool) -> TransganError | None:
    """Return why a file could not be translated; None where that is a bug."""
    if isinstance(error, PluginFault):
        from transgan.plugin_errors import as_plugin_error
        from transgan.registry import Registry

        return PluginRuntimeError(f"{path}: {as_plugin_error(error, Registry.installed())}")
    failure = as_user_error(error)
    if isinstance(failure, OutOfMemory):
        others = "leave out --native, or give --device cpu" if native else "give --device cpu"
        return OutOfMemory(f"{path}: out of memory; translate in tiles with --memory 1GB or less, or {others}")
    return failure


def _parse_size(text: str) -> int:
    """Return a number of bytes, given as `2GB`, `1.5G`, `500MB`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT])B?", text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * 1000 ** (1 + "kmgt".index(found[2].lower()))) if found else 0
    if not size:
        raise UsageError(f"--memory {text}: expected a size such as 2GB or 500MB")
    return size


def _parse_attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--with {text}: expected NAME=VALUE")
    return name, value


def _parse_input(text: str) -> tuple[str, Path]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--input {text}: expected NAME=FOLDER")
    folder = expand_home(Path(value))
    if not folder.is_dir():
        raise UsageError(f"--input {text}: {folder} {'is a file' if folder.exists() else 'does not exist'}")
    return name, folder


def find_files(
    inputs: list[Path],
    translator: "Translator",
    out: Path,
    ending: str | None = None,
    containers: "Containers | None" = None,
) -> tuple[list[tuple[Path, Path]], dict[Path, str]]:
    """Find the files to translate.

    Args:
        inputs: files, and folders to search, with all inside and linked ones. What is hidden or below `out` is skipped;
            what else is skipped is said in one note.
        translator: its media defines the file types.
        out: the folder for the results.
        ending: the file type of the results; defaults to that of each file.
        containers: of files that hold sequences of items, and of folders that are one.

    Returns:
        Pairs of a file and the path of its result below `out`; and folders that cannot be read, with the reasons.

    Raises:
        UsageError: two results would have the same name.
        DataError: an input is missing or of another type, or a folder has no files of the right type.
    """
    from transgan.api import find_files as files_in
    from transgan.data.domains import describe_skipped
    from transgan.storage.atomic import ignores_case

    single = tuple(dict.fromkeys(suffix for media in translator.media.values() for suffix in media.suffixes))
    several = containers.suffixes if containers else ()
    folders = containers.folder_suffixes if containers else ()
    suffixes = tuple(dict.fromkeys((*single, *several, *folders)))
    if ending is not None:
        ending = ending if ending.startswith(".") else f".{ending}"
        if ending.lower() not in suffixes:
            raise UsageError(f"--ending {ending}: expected one of {', '.join(suffixes)}")
    if out.suffix.lower() in suffixes and not out.is_dir():
        raise UsageError(f"--out {out} looks like a file; expected a folder, in which results keep their file names")
    found: dict[Path, Path] = {}
    same: dict[str, Path] = {}  # the first of the names that differ by case or Unicode form alone
    skipped: dict[Path, str] = {}
    unreadable: dict[Path, str] = {}
    results = out.resolve()
    for item in map(expand_home, inputs):
        if item.is_dir() and not _is_sequence(item, folders):
            files = files_in(item)
            inside = [_sequence_around(path, item, folders) or path for path in files.files]
            if item.resolve() in results.parents:  # do not translate earlier results again
                inside = [path for path in inside if results not in path.resolve().parents]
            others = {
                path: path.suffix.lower() or "no ending" for path in inside if path.suffix.lower() not in suffixes
            }
            unreadable |= {path: files.skipped.pop(path) for path in files.unreadable}
            skipped |= others | {path: why for path, why in files.skipped.items() if not path.name.startswith(".")}
            inside = [path for path in dict.fromkeys(inside) if path not in others]
            if not inside:
                raise DataError(f"{item}: no files in it that end in {', '.join(suffixes)}")
            pairs = [(path, path.relative_to(item)) for path in inside]
        else:
            check_input(item)
            if item.suffix.lower() not in suffixes:
                raise DataError(f"{item}: expected a file that ends in {', '.join(suffixes)}")
            pairs = [(item, Path(item.name))]
        for path, name in pairs:
            if ending:
                held = containers.of_path(path) if containers else None
                known = (*held.suffixes, *held.folder_suffixes) if held else single
                if ending.lower() not in known:
                    raise UsageError(f"--ending {ending}: {path} can be written as one of {', '.join(known)}")
                name = name.with_suffix(ending)
            taken = same.setdefault(unicodedata.normalize("NFC", str(name)).casefold(), name)
            if name not in found and taken != name and not ignores_case(out):
                taken = name
            if taken in found and (taken != name or not found[taken].samefile(path)):
                raise UsageError(
                    f"{path} and {found[taken]} would both be written to {out / taken}; translate them separately"
                )
            found.setdefault(name, path)
    if skipped:
        note(f"note: skipped files: {describe_skipped(skipped)}")
    return [(path, name) for name, path in found.items()], unreadable


def check_input(item: Path) -> None:
    """Check that an input is there.

    Raises:
        DataError: it is missing, or neither a file nor a folder.
    """
    if item.exists():
        if not item.is_file() and not item.is_dir():
            raise DataError(f"{item}: not a regular file")  # reading from a pipe could block forever
    else:
        raise DataError(f"{item}: no such file or folder{similar_path(item)}")


def _sequence_around(path: Path, folder: Path, suffixes: tuple[str, ...]) -> Path | None:
    """Return the outermost folder around a path, and below a folder, that is one sequence of items."""
    below = list(path.relative_to(folder).parents)[-2::-1]  # the outermost first, without the folder itself
    return next((folder / each for each in below if _is_sequence(folder / each, suffixes)), None)


def _is_sequence(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Return whether a folder is one sequence of items, by its suffix."""
    return path.suffix.lower() in suffixes and path.is_dir()


def check_results(files: list[tuple[Path, Path]], out: Path, overwrite: bool) -> None:
    """Check, before anything is written, that results replace no input, and other files only where that is wanted.

    Args:
        files: pairs of a file and the path of its result below `out`.
        overwrite: replace files that exist.

    Raises:
        UsageError: a result would replace an input of any name (a link, another case), would be written through a link
            to a folder, or exists.
    """
    originals = {_identity(path): path for path, _ in files}
    existing = []
    for path, name in files:
        result = out / name
        for folder in list(name.parents)[:-1]:
            if (out / folder).is_symlink():
                raise UsageError(f"{out / folder} is a link; results are not written through it; choose another --out")
        if os.path.lexists(result):
            existing.append(result)
            if original := originals.get(_identity(result)):
                other = "" if original == path else f" by the result of {path}"
                raise UsageError(f"{original} would be overwritten{other}; choose another --out")
    if existing and not overwrite:
        raise UsageError(
            f"{len(existing)} of {len(files)} results exist, the first is {existing[0]}; "
            "choose another --out, or replace them with --overwrite"
        )


def _identity(path: Path) -> tuple[int, int] | str:
    """Return what is the same for all names of a file: links, another case where that does not matter."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)
