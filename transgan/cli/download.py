"""`transgan download`: download weight files that plugins need; the only command that uses the network."""

import typer


def add(app: typer.Typer) -> None:
    app.command()(download)


def download(
    name: str = typer.Argument(None, help="The weight file to download; without it, list all."),
) -> None:
    """Download a weight file that a plugin needs into the cache folder, and verify it; or list all weight files."""
    from transgan.api.weights import download as fetch
    from transgan.errors import UsageError, did_you_mean
    from transgan.registry import Registry
    from transgan.text import show

    registry = Registry.installed()
    known = registry.weight_files
    if name is None:
        for weights in sorted(known.values(), key=lambda each: each.name):
            where = weights.path if weights.path.exists() else "not downloaded"
            show(f"{weights.name:<22} {weights.size:>12,} bytes  {where}\n    {weights.terms}")
        return
    if name not in known:
        raise UsageError(f"no weight file '{name}'. {did_you_mean(name, known)}{registry.not_loaded}")
    show(f"{fetch(known[name])}, {known[name].terms}")
