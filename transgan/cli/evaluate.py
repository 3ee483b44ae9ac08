"""`transgan evaluate`: measure a trained model."""

import json
from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    model: Path = typer.Argument(help="A model folder, or the folder of a run."),
    data: Path = typer.Option(None, "--data", help="The folder with the data; defaults to that of the recipe."),
    samples: int = typer.Option(None, "--samples", min=1, help="Use at most N held-out samples of each domain."),
    metric: list[str] = typer.Option(
        None, "--metric", metavar="NAME[=OPTIONS]", help="Add a metric: --metric frechet, or with options in TOML."
    ),
    set_: list[str] = typer.Option(
        None,
        "--set",
        metavar="KEY=VALUE",
        help="Change the data, domains or metrics: --set data.held_out=0.2. Repeatable; the value is TOML.",
    ),
    out: Path = typer.Option("evaluation.json", "--out", "-o", help="The file for the results."),
    device: str = typer.Option(None, "--device", help="cpu, cuda, cuda:1; defaults to a GPU if there is one."),
) -> None:
    """Measure a model on held-out samples, by the metrics of its recipe and further ones."""
    from rich.console import Console
    from rich.text import Text

    from transgan.errors import UsageError
    from transgan.evaluation.model import measure_model
    from transgan.reporting.tables import figures_table
    from transgan.storage import write_text

    out = out.expanduser()
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected a file, such as {out / 'evaluation.json'}")
    overrides = [f"metrics.{each}" if "=" in each else f"metrics.{each}=true" for each in metric or ()]
    if samples is not None:
        overrides.append(f"evaluate.samples={samples}")
    measured = measure_model(model, data, [*overrides, *(set_ or ())], device)
    write_text(out, json.dumps(measured.result, indent=2) + "\n")
    console = Console(highlight=False)
    if measured.result["translations"]:
        console.print(figures_table(measured.result["translations"], measured.title, console.width))
    for name, effect in measured.result["conditions"].items():
        share = f"outputs differ by {effect['of_change']:.2f} of their change from the input"
        console.print(Text(f"condition  {name}: {share}"), soft_wrap=True)
    for warning in measured.result["warnings"]:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)
    counts = ", ".join(f"{name} {count}" for name, count in measured.result["samples"].items())
    console.print(Text(f"measured on {counts}; {measured.origin}\nfigures  {out}"), soft_wrap=True)
