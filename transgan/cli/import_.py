"""`transgan import`: makes a model folder of a generator that the reference implementation has saved."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    weights: Path = typer.Argument(
        help="latest_net_G_A.pth or the like, of the reference CycleGAN/pix2pix implementation."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The model folder to make."),
    source: str = typer.Option("a", "--from", help="What to call the domain translated."),
    target: str = typer.Option("b", "--to", help="What to call the domain that it becomes."),
    size: int = typer.Option(256, "--size", min=1, help="Size that the generator was trained at."),
) -> None:
    """Turn a generator's .pth into a model folder with identical outputs. Only weights are read, never code."""
    from transgan.model import import_reference

    print(import_reference(weights.expanduser(), out.expanduser(), source, target, size))
