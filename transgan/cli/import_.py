"""`transgan import`: convert a generator of the reference implementation into a model folder."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    weights: Path = typer.Argument(
        help="The generator's file, such as latest_net_G_A.pth, saved by the reference CycleGAN/pix2pix implementation."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The model folder to write."),
    source: str = typer.Option("a", "--from", help="Name for the source domain."),
    target: str = typer.Option("b", "--to", help="Name for the target domain."),
    size: int = typer.Option(256, "--size", min=1, help="Image size that the generator was trained at, in pixels."),
) -> None:
    """Convert a generator's .pth into a model folder with identical outputs. Weights are read, code is never run."""
    from transgan.inference.model_folder import import_reference
    from transgan.text import expand_home, show

    show(import_reference(expand_home(weights), expand_home(out), source, target, size))
