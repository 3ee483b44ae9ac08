"""`transgan bench`: measure the overhead of the framework."""

import typer


def add(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure the overhead of the framework.", no_args_is_help=True, rich_markup_mode=None)
    bench.command()(engine)
    bench.callback()(lambda: None)
    app.add_typer(bench, name="bench")


def engine(
    steps: int = typer.Option(6, help="Steps to measure, after two to warm up."),
    size: int = typer.Option(64, help="Side of a sample, in pixels."),
    batch: int = typer.Option(8, help="Samples of a domain in each step."),
    width: int = typer.Option(64, help="Channels of the first layer of each network."),
    blocks: int = typer.Option(9, help="Residual blocks of the generators."),
    merge: str = typer.Option("auto", help="Compute the calls of a network in one pass: auto, always, never."),
) -> None:
    """Print the framework's own share of a CycleGAN step: the time outside forward, backward and optimizer steps."""
    from transgan.bench import measure
    from transgan.text import show

    for line in measure(steps, size, batch, width, blocks, merge):
        show(line)
