"""`transgan translate`: runs a model over files and folders."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from transgan.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from transgan.parts import Parts
    from transgan.translator import Translator


class WithFinders(TyperCommand):
    """Takes `--NAME` for `--parts NAME`. Which finders there are is asked when it runs, so that help comes at once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {option for each in self.params for option in each.opts} | set(self.get_help_option_names(ctx))
        end = args.index("--") if "--" in args else len(args)
        flags = [each for each in args[:end] if each.startswith("--") and each.partition("=")[0] not in known]
        words = [word for each in args[:end] for word in (("--parts", each[2:]) if each in flags else (each,))]
        if words.count("--parts") > 1:
            ctx.fail("one finder at a time")
        return super().parse_args(ctx, words + args[end:])


def add(app: typer.Typer) -> None:
    app.command(cls=WithFinders)(translate)


def translate(
    context: typer.Context,
    model: Path = typer.Argument(help="A model folder, or the folder of a run."),
    inputs: list[Path] = typer.Argument(help="Files and folders; folders are searched to the bottom."),
    to: str = typer.Option(None, "--to", help="The domain to translate to."),
    task: str = typer.Option(None, "--task", help="The task, where the target domain does not tell."),
    source: str = typer.Option(None, "--from", help="The domain that the input is of, where that is not clear."),
    out: Path = typer.Option("translated", "--out", "-o", help="The folder for the results; names are kept."),
    native: bool = typer.Option(False, "--native", help="Work at the files' own size, not at the size trained at."),
    told: list[str] = typer.Option(
        None, "--with", metavar="NAME=VALUE", help="An attribute to make; the middle of the target where left out."
    ),
    device: str = typer.Option(None, "--device", help="cpu, cuda, cuda:1; a GPU if there is one."),
    ending: str = typer.Option(None, "--ending", metavar=".ENDING", help="What results end in; as the files do."),
    finder: str = typer.Option(
        None, "--parts", metavar="FINDER", help="Translate only what a finder finds; --FINDER is short for it."
    ),
    only_largest: bool = typer.Option(False, "--only-largest", help="Of the parts found, only the largest."),
    min_size: float = typer.Option(None, "--min-size", min=0, metavar="SIZE", help="Leave smaller parts alone."),
    show_boxes: bool = typer.Option(False, "--show-boxes", help="Mark the parts found in the result."),
    settings: list[str] = typer.Option(
        None, "--set", metavar="KEY=VALUE", help="An option of the finder; see transgan plugins FINDER. Repeatable."
    ),
) -> None:
    """Translate files and folders with a trained model, or parts of them. Names and sizes are kept."""
    from transgan.translator import Translator

    out = out.expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; expected a folder")
    settings = settings or []
    asked = {"--only-largest": only_largest, "--min-size": min_size, "--show-boxes": show_boxes, "--set": settings}
    refused = [name for name, value in asked.items() if value not in (None, False, [])]
    options = [option for each in context.command.params for option in each.opts if option.startswith("--")]
    parts = _parts(finder, min_size, only_largest, settings, refused, options) if finder or refused else None
    translator = Translator.from_pretrained(model, device)
    direction = translator.choose(to, task, source)
    attributes = dict(_told(each) for each in told or ())
    translator.told(direction, attributes)  # mistakes are told before files are looked for
    files = find(inputs, translator, out, ending)
    failed, copied, count = [], 0, 0
    for path, name in files:
        try:
            x = translator.media.read(path)
            found = parts.of(x) if parts else []
            if parts and found:
                y = translator.translate_parts(x, parts, found, direction, native, attributes)
                y = parts.finder.show(y, found) if show_boxes else y
            elif not parts:
                y = translator.translate(x, direction, native, attributes)
        except DataError as error:
            failed.append(path)
            print(f"error: {error}", file=sys.stderr)
            continue
        if not parts or found:
            translator.media.write(y, out / name)
        else:
            copied += 1
            print(f"{path}: no {parts.name} found; copied", file=sys.stderr)
            if name.suffix == path.suffix:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, out / name)
            else:
                translator.media.write(x, out / name)
        count += len(found)
    done = len(files) - len(failed) - copied
    counted = f"; {count} {parts.name}" if parts else ""
    print(f"{done} of {len(files)} translated ({direction.shown}{counted}) into {out}")
    if failed:
        raise DataError(f"{len(failed)} of {len(files)} files could not be translated; see above")


def _told(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--with {text}: expected NAME=VALUE")
    return name, value


def _parts(
    finder: str | None,
    min_size: float | None,
    only_largest: bool,
    settings: list[str],
    asked: list[str],
    options: list[str],
) -> "Parts":
    """The parts meant; `asked` are the options given that need a finder, `options` all that there are."""
    from transgan.parts import Parts
    from transgan.registry import Registry

    registry = Registry.installed()
    known = [f"--{name}" for name in registry.names("finders")]
    if finder is None:
        raise UsageError(
            f"{asked[0]} is about parts of a file; say which ones: {', '.join(known) or 'no finder known'}"
        )
    if f"--{finder}" not in known:
        raise UsageError(f"--{finder}: no such option, and no finder. {did_you_mean(f'--{finder}', known + options)}")
    parts = Parts.named(finder, None, min_size, only_largest, settings, registry)
    if parts.finder.note:
        print(f"note: {parts.finder.note}", file=sys.stderr)
    return parts


def find(inputs: list[Path], translator: "Translator", out: Path, ending: str | None = None) -> list[tuple[Path, Path]]:
    """Every file meant, and its name below the folder of results."""
    suffixes = translator.media.suffixes
    if ending is not None and ending.lower() not in suffixes:
        raise UsageError(f"--ending {ending}: expected one of {', '.join(suffixes)}")
    found: dict[Path, Path] = {}
    results = out.resolve()
    for item in (path.expanduser() for path in inputs):
        if item.is_dir():
            inside = [path for path in sorted(item.rglob("*")) if path.suffix.lower() in suffixes and path.is_file()]
            inside = [path for path in inside if not path.name.startswith(".")]
            if item.resolve() in results.parents:  # the results of an earlier time are not translated again
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
                    f"{path} and {found[name]} would both be written to {out / name}; translate them apart"
                )
            if (out / name).resolve() == path.resolve():
                raise UsageError(f"{path} would be overwritten; choose another --out")
            found[name] = path
    return [(path, name) for name, path in found.items()]
