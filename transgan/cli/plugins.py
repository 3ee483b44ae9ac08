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
    from transgan.text import printable, show

    registry = Registry.installed()
    if name is None:
        for kind in KINDS:
            entries = registry.candidates(kind)
            if entries:
                show(kind)
            for entry in sorted(entries, key=lambda entry: (entry.name, entry.package)):
                line = printable(_first_line(entry.cls.__doc__))
                show(f"  {entry.name:<22} {line:<90.90} {entry.package} {entry.version}")
        for who, why in registry.broken.items():
            show(f"not loaded: {who}: {why}")
        return
    package, _, short = name.rpartition(":")
    found = [entry for entry in registry.candidates(name=short) if package in ("", entry.package)]
    if not found:
        known = {each for kind in KINDS for each in registry.names(kind)}
        raise UsageError(f"no plugin '{name}'. {did_you_mean(name, known)}")
    for entry in found:
        article = "an" if KINDS[entry.kind].singular[0] in "aeio" else "a"
        show(f"{entry.name}: {article} {KINDS[entry.kind].singular} of {entry.package} {entry.version}\n")
        show(f"{_full_text(entry.cls.__doc__)}\n")
        fields, root = entry.cls.Options.model_fields, json_schema(entry.cls.Options)
        show("options" if fields else "no options")
        for key, field in fields.items():
            value = field.get_default(call_default_factory=True)
            default = (
                "required" if field.is_required() else f"default {'none' if value is None else value_in_toml(value)}"
            )
            show(f"  {key}: {expected(root, subschema(root, root, key))}, {default}")
            if field.description:
                show(f"      {' '.join(field.description.split())}")


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if doc else ""


def _full_text(doc: str | None) -> str:
    from inspect import cleandoc

    return cleandoc(doc or "")
