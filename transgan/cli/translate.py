"""`transgan translate`: translate files and folders with a trained model."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from transgan.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from transgan.inference.regions import RegionSelection
    from transgan.inference.translator import Translator


class DetectorOptions(TyperCommand):
    """A command that accepts `--NAME` for `--regions NAME`.

    Any unknown option is taken for a detector; `translate` then looks it up. So `--help` need not load the plugins.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {option for each in self.params for option in each.opts} | set(self.get_help_option_names(ctx))
        end = args.index("--") if "--" in args else len(args)
        flags = [each for each in args[:end] if each.startswith("--") and each.partition("=")[0] not in known]
        words = [word for each in args[:end] for word in (("--regions", each[2:]) if each in flags else (each,))]
        if (count := words.count("--regions")) > 1:
            ctx.fail(f"found {count} region detectors, expected one")
        return super().parse_args(ctx, words + args[end:])


def add(app: typer.Typer) -> None:
    app.command(cls=DetectorOptions)(translate)


def translate(
    context: typer.Context,
    model: Path = typer.Argument(help="A model folder, or the folder of a run."),
    inputs: list[Path] = typer.Argument(help="Files and folders; folders are searched recursively."),
    to: str = typer.Option(None, "--to", help="The target domain."),
    task: str = typer.Option(None, "--task", help="The task, where several tasks have this target domain."),
    source: str = typer.Option(None, "--from", help="The source domain, where the task allows several."),
    out: Path = typer.Option("translated", "--out", "-o", help="The folder for the results; file names are kept."),
    native: bool = typer.Option(False, "--native", help="Translate at the files' own size, not at the training size."),
    attributes: list[str] = typer.Option(
        None,
        "--with",
        metavar="NAME=VALUE",
        help="Condition on an attribute value; defaults to the target domain's mean or most common one. Repeatable.",
    ),
    device: str = typer.Option(None, "--device", help="cpu, cuda, cuda:1; defaults to a GPU if there is one."),
    ending: str = typer.Option(
        None, "--ending", metavar=".ENDING", help="The file type of the results; defaults to that of each file."
    ),
    detector: str = typer.Option(
        None,
        "--regions",
        metavar="DETECTOR",
        help="Translate only the regions that a detector finds; --DETECTOR is the short form.",
    ),
    only_largest: bool = typer.Option(False, "--only-largest", help="Translate only the largest region."),
    min_size: float = typer.Option(None, "--min-size", min=0, metavar="SIZE", help="Skip smaller regions."),
    show_boxes: bool = typer.Option(False, "--show-boxes", help="Mark the detected regions in the results."),
    settings: list[str] = typer.Option(
        None,
        "--set",
        metavar="KEY=VALUE",
        help="Set an option of the detector; see transgan plugins DETECTOR. Repeatable.",
    ),
) -> None:
    """Translate files and folders, or regions of them, with a trained model. File names and sizes are kept."""
    from transgan.inference.translator import Translator

    out = out.expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; expected a folder")
    settings = settings or []
    values = {"--only-largest": only_largest, "--min-size": min_size, "--show-boxes": show_boxes, "--set": settings}
    region_options = [name for name, value in values.items() if value not in (None, False, [])]
    options = [option for each in context.command.params for option in each.opts if option.startswith("--")]
    regions = None
    if detector or region_options:
        regions = _select_regions(detector, min_size, only_largest, settings, region_options, options)
    translator = Translator.from_pretrained(model, device)
    direction = translator.choose(to, task, source)
    conditions = dict(_parse_attribute(each) for each in attributes or ())
    translator.encode_attributes(direction, conditions)  # report mistakes before looking for files
    files = find_files(inputs, translator, out, ending)
    failed, copied, count = [], 0, 0
    for path, name in files:
        try:
            x = translator.media.read(path)
            found = regions.of(x) if regions else []
            if regions and found:
                y = translator.translate_regions(x, regions, found, direction, native, conditions)
                y = regions.detector.mark(y, found) if show_boxes else y
            elif not regions:
                y = translator.translate(x, direction, native, conditions)
        except DataError as error:
            failed.append(path)
            print(f"error: {error}", file=sys.stderr)
            continue
        if not regions or found:
            translator.media.write(y, out / name)
        else:
            copied += 1
            print(f"{path}: no {regions.name} found; copied", file=sys.stderr)
            if name.suffix == path.suffix:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, out / name)
            else:
                translator.media.write(x, out / name)
        count += len(found)
    done = len(files) - len(failed) - copied
    counted = f"; {count} {regions.name}" if regions else ""
    print(f"{done} of {len(files)} translated ({direction.translation}{counted}) into {out}")
    if failed:
        raise DataError(f"{len(failed)} of {len(files)} files could not be translated; see above")


def _parse_attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--with {text}: expected NAME=VALUE")
    return name, value


def _select_regions(
    detector: str | None,
    min_size: float | None,
    only_largest: bool,
    settings: list[str],
    given: list[str],
    options: list[str],
) -> "RegionSelection":
    """Return the region selection that the options describe.

    Args:
        given: the options given that need a detector.
        options: all options of the command, to suggest one where `detector` is a misspelt option.
    """
    from transgan.inference.regions import RegionSelection
    from transgan.registry import Registry

    registry = Registry.installed()
    known = [f"--{name}" for name in registry.names("region_detectors")]
    if detector is None:
        raise UsageError(f"{given[0]} needs a region detector: {', '.join(known) or 'none is installed'}")
    if f"--{detector}" not in known:
        hint = did_you_mean(f"--{detector}", known + options)
        raise UsageError(f"--{detector}: no such option or region detector. {hint}")
    regions = RegionSelection.named(detector, None, min_size, only_largest, settings, registry)
    if regions.detector.note:
        print(f"note: {regions.detector.note}", file=sys.stderr)
    return regions


def find_files(
    inputs: list[Path], translator: "Translator", out: Path, ending: str | None = None
) -> list[tuple[Path, Path]]:
    """Find the files to translate.

    Args:
        inputs: files, and folders to search recursively. Hidden files and files below `out` are skipped.
        translator: its media defines the file types.
        out: the folder for the results.
        ending: the file type of the results; defaults to that of each file.

    Returns:
        Pairs of a file and the path of its result below `out`.

    Raises:
        UsageError: two results would have the same name, or a result would overwrite its input.
        DataError: an input is missing or of another type, or a folder has no files of the right type.
    """
    suffixes = translator.media.suffixes
    if ending is not None and ending.lower() not in suffixes:
        raise UsageError(f"--ending {ending}: expected one of {', '.join(suffixes)}")
    found: dict[Path, Path] = {}
    results = out.resolve()
    for item in (path.expanduser() for path in inputs):
        if item.is_dir():
            inside = [path for path in sorted(item.rglob("*")) if path.suffix.lower() in suffixes and path.is_file()]
            inside = [path for path in inside if not path.name.startswith(".")]
            if item.resolve() in results.parents:  # do not translate earlier results again
                inside = [path for path in inside if results not in path.resolve().parents]
            if not inside:
                raise DataError(f"{item}: no files in it that end in {', '.join(suffixes)}")
            pairs = [(path, path.relative_to(item)) for path in inside]
        elif item.exists():
            if item.suffix.lower() not in suffixes:
                raise DataError(f"{item}: expected a file that ends in {', '.join(suffixes)}")
            pairs = [(item, Path(item.name))]
        else:
            raise DataError(f"{item}: no such file or folder")
        for path, name in pairs:
            name = name.with_suffix(ending) if ending else name
            if found.get(name, path) != path:
                raise UsageError(
                    f"{path} and {found[name]} would both be written to {out / name}; translate them separately"
                )
            if (out / name).resolve() == path.resolve():
                raise UsageError(f"{path} would be overwritten; choose another --out")
            found[name] = path
    return [(path, name) for name, path in found.items()]
