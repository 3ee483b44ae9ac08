"""`transgan plugins`: lists what is installed, and shows one plugin's options."""

import typer


def add(app: typer.Typer) -> None:
    app.command()(plugins)


def plugins(name: str = typer.Argument(None, help="A plugin, whose options are to be shown.")) -> None:
    """List the plugins that are installed, by kind, or show the options of one."""
    from transgan.errors import UsageError, did_you_mean
    from transgan.recipe.words import described, expected, step_into
    from transgan.recipe.writing import value_in_toml
    from transgan.registry import KINDS, Registry

    registry = Registry.installed()
    if name is None:
        for kind in KINDS:
            entries = [entry for entry in registry.entries.values() if entry.kind == kind]
            if entries:
                print(kind)
            for entry in sorted(entries, key=lambda entry: entry.name):
                print(f"  {entry.name:<22} {_first(entry.cls.__doc__):<90.90} {entry.package} {entry.version}")
        for who, why in registry.broken.items():
            print(f"not loaded: {who}: {why}")
        return
    found = [entry for entry in registry.entries.values() if entry.name == name]
    if not found:
        raise UsageError(
            f"no plugin '{name}'. {did_you_mean(name, {entry.name for entry in registry.entries.values()})}"
        )
    for entry in found:
        article = "an" if KINDS[entry.kind][0] in "aeio" else "a"
        print(
            f"{name}: {article} {KINDS[entry.kind]} of {entry.package} {entry.version}\n\n{_whole(entry.cls.__doc__)}\n"
        )
        fields, root = entry.cls.Options.model_fields, described(entry.cls.Options)
        print("options" if fields else "It has no options.")
        for key, field in fields.items():
            value = field.get_default(call_default_factory=True)
            default = (
                "required" if field.is_required() else f"default {'none' if value is None else value_in_toml(value)}"
            )
            print(f"  {key}: {expected(root, step_into(root, root, key))}, {default}")
            if field.description:
                print(f"      {' '.join(field.description.split())}")


def _first(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if doc else ""


def _whole(doc: str | None) -> str:
    from inspect import cleandoc

    return cleandoc(doc or "")
