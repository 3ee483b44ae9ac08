"""`transgan evaluate`: measure a trained model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.options import Device, Json, examples
from transgan.cli.output import json_text, show_json
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.evaluation.model import Measured


def add(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "transgan evaluate runs/cut-1",
            "transgan evaluate runs/cut-1 --metric frechet --samples 500 --out frechet.json",
            "transgan evaluate MODEL --data FOLDER --json",
        )
    )(evaluate)


def evaluate(
    model: Path = typer.Argument(
        metavar="MODEL",
        help="A model folder, or the folder of a run or a checkpoint.",
        autocompletion=completion.models,
    ),
    step: int = typer.Option(None, "--step", min=0, metavar="N", help="Of a run, use the checkpoint of step N."),
    data: Path = typer.Option(
        None,
        "--data",
        metavar="FOLDER",
        help="The folder with the data; defaults to that of the run's recipe. A model folder records none.",
    ),
    samples: int = typer.Option(
        None, "--samples", min=1, metavar="N", help="Use at most N held-out samples of each domain."
    ),
    metric: list[str] = typer.Option(
        None,
        "--metric",
        metavar="NAME[=OPTIONS]",
        help="Add a metric: --metric frechet, or with options in TOML. Repeatable.",
        autocompletion=completion.names_of("metrics"),
    ),
    set_: list[str] = typer.Option(
        None,
        "--set",
        metavar="KEY=VALUE",
        help="Change data, domains, metrics, or how nodes translate: --set data.held_out=0.2. Repeatable; the "
        "value is TOML.",
        autocompletion=completion.settings,
    ),
    out: Path = typer.Option("evaluation.json", "--out", "-o", metavar="FILE", help="The file for the results."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file for the results if it exists."),
    plugin: list[Path] = PluginFiles,
    device: str = Device,
    json_: bool = Json,
) -> None:
    """Measure a model on held-out samples.

    It is measured by the metrics of its recipe, and by further ones.
    """
    from transgan.errors import TransganError, UsageError
    from transgan.inference.places import find_model
    from transgan.plugin_files import use_files
    from transgan.recipe import OverrideByFlag
    from transgan.storage import write_text
    from transgan.text import expand_home

    find_model(model, step)  # all of this without torch, so that mistakes are reported at once
    out = expand_home(out)
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected a file, such as {out / 'evaluation.json'}")
    _check_place(out, expand_home(model), overwrite)
    use_files(plugin)

    from transgan.evaluation.model import measure_model

    added = [
        OverrideByFlag(f"metrics.{each}" if "=" in each else f"metrics.{each}=true", f"--metric {each}")
        for each in metric or ()
    ]
    overrides = _in_order(set_ or (), added)
    if samples is not None:
        overrides.append(OverrideByFlag(f"evaluate.samples={samples}", f"--samples {samples}"))
    measured = measure_model(model, data, overrides, device, step)
    write_text(out, json_text(measured.result) + "\n")
    if json_:
        show_json(measured.result | {"file": out})
    else:
        _show(measured, out)
    if measured.omitted:
        failure = TransganError(f"{len(measured.omitted)} metrics could not be computed: {', '.join(measured.omitted)}")
        failure.exit_code = next(iter(measured.omitted.values())).exit_code
        raise failure


def _in_order(settings: Sequence[str], added: Sequence[str]) -> list[str]:
    """Return settings and metrics that are added, as overrides in the order in which they mean what one reads.

    A metric is added to what settings leave, as `metrics={}` does; a setting of that metric says more of it.
    """
    from transgan.recipe.toml_lines import split_key

    def key(override: str) -> list[str]:
        return (split_key(override) or ([], ""))[0][:2]

    names = [key(each) for each in added]
    of_added = [each for each in settings if key(each) in names]
    return [*(each for each in settings if each not in of_added), *added, *of_added]


def _show(measured: "Measured", out: Path) -> None:
    from transgan.reporting.console import show_figures
    from transgan.text import note

    if measured.result["translations"]:
        show_figures(measured.result["translations"], measured.title)
    for name, effect in measured.result["conditions"].items():
        note(f"condition  {name}: outputs differ by {effect['of_change']:.2f} of their change from the input", False)
    for warning in measured.result["warnings"]:
        note(f"warning: {warning}", error=False)
    counts = ", ".join(f"{name} {count}" for name, count in measured.result["samples"].items())
    note(f"measured on {counts}; {measured.origin}\nfigures  {out}", error=False)


def _check_place(out: Path, model: Path, overwrite: bool) -> None:
    """Check, before anything is measured, that the results replace nothing that is to stay.

    Raises:
        UsageError: there is a file, and `overwrite` is false, or it is one of the model, of its run, or no .json file.
    """
    from transgan.errors import UsageError

    if out.is_symlink() or out.is_file():
        folders = {Path(os.path.realpath(folder)) for folder in (model, model / "model")}
        if Path(os.path.realpath(out)).parent in folders:
            raise UsageError(f"--out {out} is a file of the model or of its run; choose another file")
        if out.suffix != ".json":
            raise UsageError(f"--out {out} exists, and is no .json file; choose another file")
        if not overwrite:
            raise UsageError(f"--out {out} exists; choose another file, or replace it with --overwrite")
