"""`transgan plugins`: list the installed plugins, or show the options of one."""

import typer


def add(app: typer.Typer) -> None:
    app.command()(plugins)


def plugins(name: str = typer.Argument(None, help="The plugin to describe; without it, list all.")) -> None:
    """List the installed plugins by kind, or show the options of one."""
    from transgan.errors import UsageError, did_you_mean
    from transgan.recipe.describe import expected, json_schema, subschema
    from transgan.recipe.write import value_in_toml
    from transgan.registry import KINDS, Registry

    registry = Registry.installed()
    if name is None:
        for kind in KINDS:
            entries = [entry for entry in registry.entries.values() if entry.kind == kind]
            if entries:
                print(kind)
            for entry in sorted(entries, key=lambda entry: entry.name):
                print(f"  {entry.name:<22} {_first_line(entry.cls.__doc__):<90.90} {entry.package} {entry.version}")
        for who, why in registry.broken.items():
            print(f"not loaded: {who}: {why}")
        return
    found = [entry for entry in registry.entries.values() if entry.name == name]
    if not found:
        raise UsageError(
            f"no plugin '{name}'. {did_you_mean(name, {entry.name for entry in registry.entries.values()})}"
        )
    for entry in found:
        article = "an" if KINDS[entry.kind].singular[0] in "aeio" else "a"
        print(f"{name}: {article} {KINDS[entry.kind].singular} of {entry.package} {entry.version}\n")
        print(f"{_full_text(entry.cls.__doc__)}\n")
        fields, root = entry.cls.Options.model_fields, json_schema(entry.cls.Options)
        print("options" if fields else "no options")
        for key, field in fields.items():
            value = field.get_default(call_default_factory=True)
            default = (
                "required" if field.is_required() else f"default {'none' if value is None else value_in_toml(value)}"
            )
            print(f"  {key}: {expected(root, subschema(root, root, key))}, {default}")
            if field.description:
                print(f"      {' '.join(field.description.split())}")


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if doc else ""


def _full_text(doc: str | None) -> str:
    from inspect import cleandoc

    return cleandoc(doc or "")
