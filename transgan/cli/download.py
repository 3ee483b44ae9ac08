"""`transgan download`: fetches files of weights that plugins need; the only command that uses the network."""

import typer


def add(app: typer.Typer) -> None:
    app.command()(download)


def download(
    name: str = typer.Argument(None, help="The weights to fetch; without it, all are listed."),
) -> None:
    """Fetch weights that a plugin needs, pinned by their hash, into the cache folder; or list those that are known."""
    from transgan.api.weights import download as fetch
    from transgan.errors import UsageError, did_you_mean
    from transgan.registry import Registry

    known = Registry.installed().weights
    if name is None:
        for weights in sorted(known.values(), key=lambda each: each.name):
            where = weights.place if weights.place.exists() else "not downloaded"
            print(f"{weights.name:<22} {weights.size:>12,} bytes  {where}\n    {weights.terms}")
        return
    if name not in known:
        raise UsageError(f"no weights '{name}'. {did_you_mean(name, known)}")
    print(f"{fetch(known[name])}, {known[name].terms}")
