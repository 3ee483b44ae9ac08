"""`transgan download`: download weight files that plugins need; the only command that uses the network."""

import typer

from transgan.cli.options import examples


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan download", "transgan download inception"))(download)


def download(
    name: str = typer.Argument(None, metavar="NAME", help="The weight file to download; without it, list all."),
) -> None:
    """Download a weight file that a plugin needs, or list all.

    It is verified and kept in the cache folder. No other command uses the network.
    """
    from transgan.api.weights import download as fetch
    from transgan.errors import UsageError, did_you_mean
    from transgan.registry import Registry
    from transgan.text import is_quiet, show

    registry = Registry.installed()
    known = registry.weight_files
    if name is None:
        for weights in sorted(known.values(), key=lambda each: each.name):
            where = weights.path if weights.path.exists() else "not downloaded"
            show(f"{weights.name:<22} {weights.size:>12,} bytes  {where}\n    {weights.terms}")
        return
    if name not in known:
        raise UsageError(f"no weight file '{name}'. {did_you_mean(name, known)}{registry.not_loaded}")
    path = fetch(known[name])
    show(path if is_quiet() else f"{path}, {known[name].terms}")
