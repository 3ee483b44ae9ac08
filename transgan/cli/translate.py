"""`transgan translate`: runs a model over files and folders."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.errors import DataError, UsageError

if TYPE_CHECKING:
    from transgan.translator import Translator


def add(app: typer.Typer) -> None:
    app.command()(translate)


def translate(
    model: Path = typer.Argument(help="A model folder, or the folder of a run."),
    inputs: list[Path] = typer.Argument(help="Files and folders; folders are searched to the bottom."),
    to: str = typer.Option(None, "--to", help="The domain to translate to."),
    task: str = typer.Option(None, "--task", help="The task, where the target domain does not tell."),
    source: str = typer.Option(None, "--from", help="The domain that the input is of, where that is not clear."),
    out: Path = typer.Option("translated", "--out", "-o", help="The folder for the results; names are kept."),
    native: bool = typer.Option(False, "--native", help="Work at the files' own size, not at the size trained at."),
    device: str = typer.Option(None, "--device", help="cpu, cuda, cuda:1; a GPU if there is one."),
) -> None:
    """Translate files and folders with a trained model. Names and sizes are kept."""
    from transgan.translator import Translator

    out = out.expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; expected a folder")
    translator = Translator.from_pretrained(model, device)
    direction = translator.choose(to, task, source)
    files = find(inputs, translator, out)
    failed = []
    for path, name in files:
        try:
            y = translator.translate(translator.media.read(path), direction, native)
        except DataError as error:
            failed.append(path)
            print(f"error: {error}", file=sys.stderr)
            continue
        translator.media.write(y, out / name)
    done = len(files) - len(failed)
    print(f"{done} of {len(files)} translated ({direction.shown}) into {out}")
    if failed:
        raise DataError(f"{len(failed)} of {len(files)} files could not be translated; see above")


def find(inputs: list[Path], translator: "Translator", out: Path) -> list[tuple[Path, Path]]:
    """Every file meant, and its name below the folder of results."""
    suffixes = translator.media.suffixes
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
            if found.get(name, path) != path:
                raise UsageError(
                    f"{path} and {found[name]} would both be written to {out / name}; translate them apart"
                )
            if (out / name).resolve() == path.resolve():
                raise UsageError(f"{path} would be overwritten; choose another --out")
            found[name] = path
    return [(path, name) for name, path in found.items()]
