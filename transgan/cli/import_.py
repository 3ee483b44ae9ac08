"""`transgan import`: convert a generator of the reference implementation into a model folder."""

from pathlib import Path

import typer

from transgan.cli.options import examples


def add(app: typer.Typer) -> None:
    app.command("import", epilog=examples("transgan import latest_net_G_A.pth --out zebra --from horse --to zebra"))(
        import_
    )


def import_(
    weights: Path = typer.Argument(
        metavar="WEIGHTS",
        help="The generator's file, such as latest_net_G_A.pth, of the reference CycleGAN/pix2pix implementation.",
    ),
    out: Path = typer.Option(..., "--out", "-o", metavar="FOLDER", help="The model folder to write."),
    source: str = typer.Option("a", "--from", metavar="DOMAIN", help="Name for the source domain."),
    target: str = typer.Option("b", "--to", metavar="DOMAIN", help="Name for the target domain."),
    size: int = typer.Option(
        256, "--size", min=1, metavar="PIXELS", help="Image size that the generator was trained at, in pixels."
    ),
) -> None:
    """Convert a generator's .pth file into a model folder.

    Its outputs are identical. Weights are read, code is never run.
    """
    from transgan.inference.places import check_import
    from transgan.text import expand_home, is_quiet, show

    weights, out = expand_home(weights), expand_home(out)
    check_import(weights, out, source, target)  # without torch, so that a wrong name is reported at once

    from transgan.inference.model_folder import import_reference

    written = import_reference(weights, out, source, target, size)
    show(out if is_quiet() else written)
