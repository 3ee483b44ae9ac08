"""`transgan bench`: measure the overhead of the framework."""

import typer

from transgan.cli import completion
from transgan.cli.options import examples


def add(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure the overhead of the framework.", no_args_is_help=True, rich_markup_mode=None)
    bench.command(epilog=examples("transgan bench engine --steps 20"))(engine)
    bench.callback()(lambda: None)
    app.add_typer(bench, name="bench")


def engine(
    steps: int = typer.Option(6, metavar="N", help="Steps to measure, after two to warm up."),
    size: int = typer.Option(64, metavar="PIXELS", help="Side of a sample, in pixels."),
    batch: int = typer.Option(8, metavar="N", help="Samples of a domain in each step."),
    width: int = typer.Option(64, metavar="N", help="Channels of the first layer of each network."),
    blocks: int = typer.Option(9, metavar="N", help="Residual blocks of the generators."),
    merge: str = typer.Option(
        "auto",
        metavar="MERGE",
        help="Compute the calls of a network in one pass: auto, always, never.",
        autocompletion=completion.one_of("auto", "always", "never"),
    ),
) -> None:
    """Print how much of a CycleGAN step is the framework's own time.

    It is the time outside forward, backward and optimizer steps.
    """
    from transgan.bench import measure
    from transgan.text import show

    for line in measure(steps, size, batch, width, blocks, merge):
        show(line)
