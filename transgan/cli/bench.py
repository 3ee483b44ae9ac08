"""`transgan bench`: measures the framework itself."""

import typer


def add(app: typer.Typer) -> None:
    bench = typer.Typer(
        help="Measure the framework itself; prints ratios.", no_args_is_help=True, rich_markup_mode=None
    )
    bench.command()(engine)
    bench.callback()(lambda: None)
    app.add_typer(bench, name="bench")


def engine(
    steps: int = typer.Option(6, help="Steps measured, after two that are not."),
    size: int = typer.Option(64, help="Side of a sample."),
    batch: int = typer.Option(8, help="Samples of a domain in a step."),
    width: int = typer.Option(64, help="Channels of the networks' first layer."),
    blocks: int = typer.Option(9, help="Residual blocks of the generators."),
    merge: str = typer.Option("auto", help="auto, always, never."),
) -> None:
    """Print the engine's own share of a CycleGAN step: what is not a network's forward, backward or optimizer."""
    from transgan.engine.bench import measure

    for line in measure(steps, size, batch, width, blocks, merge):
        print(line)
