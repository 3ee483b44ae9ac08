"""`transgan evaluate`: measures a finished model."""

import json
from pathlib import Path

import typer

from transgan.cli.run import Set


def add(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    model: Path = typer.Argument(help="A model folder, or the folder of a run."),
    data: Path = typer.Option(None, "--data", help="The folder with the data; the run's own where left out."),
    samples: int = typer.Option(None, "--samples", min=1, help="Held-out samples of a domain, at most."),
    metric: list[str] = typer.Option(
        None, "--metric", metavar="NAME[=OPTIONS]", help="Measure this too: --metric frechet, or with options in TOML."
    ),
    set_: list[str] = Set,
    out: Path = typer.Option("evaluation.json", "--out", "-o", help="The file for the figures."),
    device: str = typer.Option(None, "--device", help="cpu, cuda, cuda:1; a GPU if there is one."),
) -> None:
    """Measure a model on samples that it was not trained on, by the metrics of its recipe and others."""
    from rich.console import Console
    from rich.text import Text

    from transgan.engine.progress import figures_table
    from transgan.errors import UsageError
    from transgan.judging import judge
    from transgan.runs import write_text

    out = out.expanduser()
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected a file, such as {out / 'evaluation.json'}")
    added = [f"metrics.{each}" if "=" in each else f"metrics.{each}=true" for each in metric or ()]
    if samples is not None:
        added.append(f"evaluate.samples={samples}")
    found = judge(model, data, [*added, *(set_ or ())], device)
    write_text(out, json.dumps(found.result, indent=2) + "\n")
    console = Console(highlight=False)
    if found.result["translations"]:
        console.print(figures_table(found.result["translations"], found.title, console.width))
    for name, each in found.result["conditions"].items():
        console.print(Text(f"condition  {name}: {each['of_change']:.2f} of what is changed"), soft_wrap=True)
    for warning in found.result["warnings"]:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)
    counts = ", ".join(f"{name} {count}" for name, count in found.result["samples"].items())
    console.print(Text(f"measured on {counts}; {found.origin}\nfigures  {out}"), soft_wrap=True)
