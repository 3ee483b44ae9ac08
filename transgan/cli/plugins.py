"""`transgan plugins`: list the installed plugins, describe one, or list the names that arguments can have."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from transgan.cli import completion
from transgan.cli.options import Json, examples
from transgan.cli.output import show_json
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.api.names import Argument
    from transgan.registry import Registered, Registry
    from transgan.reporting.plugins import Node

#: What `--kind` is completed with, before any plugin is loaded.
_KINDS = (
    *("source", "media", "container", "conditioning", "generator", "discriminator", "encoder", "augmentation", "nodes"),
    *("loss", "metric", "region_detector", "hooks"),
)
#: A space at which no line is broken.
_SPACE = "\u00a0"


def add(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "transgan plugins",
            "transgan plugins lsgan",
            "transgan plugins --names",
            "transgan plugins new my_loss --kind loss",
        )
    )(plugins)


def plugins(
    name: str = typer.Argument(
        None,
        metavar="NAME",
        help="The plugin to describe; without it, list all; new, to write one.",
        autocompletion=completion.names_of(),
    ),
    new: str = typer.Argument(None, metavar="NEW", help="After new, the name of the plugin to write."),
    kind: str = typer.Option(
        None,
        "--kind",
        metavar="KIND",
        help="After new, its kind: loss, generator, metric, ...",
        autocompletion=completion.one_of(*_KINDS),
    ),
    plugin: list[Path] = PluginFiles,
    names: bool = typer.Option(
        False,
        "--names",
        help="List what arguments of nodes, losses and metrics can be named, and what they are given; "
        "of nodes, those of the set NAME, or of all.",
    ),
    json_: bool = Json,
) -> None:
    """List the installed plugins, or describe one.

    A description says what a plugin asks for and provides, and lists its options.

    transgan plugins new NAME --kind KIND writes a package with a plugin to begin from, into a new folder NAME.
    """
    from transgan.errors import UsageError
    from transgan.plugin_files import use_files
    from transgan.registry import KINDS, Registry
    from transgan.text import show

    use_files(plugin)
    registry = Registry.installed()
    if name == "new":
        _write(new, kind, registry)
        return
    if new is not None or kind is not None:
        raise UsageError("a second name and --kind belong to 'transgan plugins new NAME --kind KIND'")
    if names and json_:
        show_json(_names_as_json([*registry.candidates("nodes")] if name is None else [registry.find("nodes", name)]))
        return
    if names:
        lines = _names(registry.candidates("nodes") if name is None else [registry.find("nodes", name)])
    elif name is None and json_:
        show_json(_list_as_json(registry))
        return
    elif name is None:
        lines = _list(registry)
    else:
        package, _, short = name.rpartition(":")
        found = [entry for entry in registry.candidates(name=short) if package in ("", entry.package)]
        if not found:
            known = {each for kind in KINDS for each in registry.names(kind)}
            raise UsageError(f"no plugin '{name}'. {registry.hint(name, known)}")
        if json_:
            show_json([_as_json(entry) for entry in found])
            return
        lines = (line for i, entry in enumerate(found) for line in ([""] * (i > 0) + [*_describe(entry)]))
    show("\n".join(lines))


def _write(name: str | None, kind: str | None, registry: "Registry") -> None:
    """Write a new package, and say what to do with it."""
    from transgan.cli.new_plugin import write_package
    from transgan.errors import UsageError
    from transgan.registry import KINDS
    from transgan.text import is_quiet, listed, show

    if name is None or kind is None:
        kinds = listed((each.word for each in KINDS.values()), len(KINDS))
        raise UsageError(f"expected transgan plugins new NAME --kind KIND, where KIND is {kinds}")
    files = write_package(name, kind, Path(), registry)
    folder = files[0].parent
    if is_quiet():
        show(folder)
        return
    show(f"{folder}: {', '.join(path.name for path in files)}")
    show(f"next: cd {folder} && pip install -e '.[test]' && pytest && transgan run recipe.toml")


def _list(registry: "Registry") -> Iterator[str]:
    """Yield a line for each plugin, and the package of those that are not of this one."""
    from transgan import __version__
    from transgan.registry import KINDS
    from transgan.text import cut, line_width, printable

    own, width = f"transgan {__version__}", line_width()
    names = [*(each.name for each in registry.candidates()), *registry.examples]
    column = max(map(len, [*names, *registry.commands]), default=0) + 4
    for kind in KINDS:
        entries = sorted(registry.candidates(kind), key=lambda entry: (entry.name, entry.package))
        if entries:
            yield kind
        for entry in entries:
            package = f"{entry.package} {entry.version}"
            package = "" if package == own else f" ({package})"
            line = printable(_first_line(entry.cls.__doc__))
            yield f"  {entry.name}".ljust(column) + cut(line, width - column - len(package)) + package
    if commands := registry.commands:
        yield "commands (transgan NAME --help describes them)"
        yield from (
            f"  {name}".ljust(column) + cut(app.info.help or "", width - column) for name, app in commands.items()
        )
    if examples := registry.examples:
        yield "examples (transgan samples FOLDER writes them)"
        yield from (f"  {each.name}".ljust(column) + cut(each.summary, width - column) for each in examples.values())
    for (kind, name), others in registry.others.items():
        packages = list(dict.fromkeys(each.package for each in (registry.entries[kind, name], *others)))
        choice = " or ".join(f'"{each}:{name}"' for each in packages)
        yield f"in conflict: {KINDS[kind].singular} '{name}' of {' and of '.join(packages)}; recipes write {choice}"
    for who, why in registry.broken.items():
        yield f"not loaded: {who}: {why}"


def _list_as_json(registry: "Registry") -> dict[str, Any]:
    """Return what `_list` says."""
    from transgan.registry import KINDS

    entries = {kind: sorted(registry.candidates(kind), key=lambda each: (each.name, each.package)) for kind in KINDS}
    return {
        "plugins": [
            {
                "kind": kind,
                "name": each.name,
                "package": each.package,
                "version": each.version,
                "summary": _first_line(each.cls.__doc__),
            }
            for kind, found in entries.items()
            for each in found
        ],
        "commands": [{"name": name, "summary": app.info.help or ""} for name, app in registry.commands.items()],
        "examples": [{"name": name, "summary": each.summary} for name, each in registry.examples.items()],
        "conflicts": [{"kind": kind, "name": name} for kind, name in registry.others],
        "not_loaded": registry.broken,
    }


def _names_as_json(sets: list["Registered"]) -> dict[str, Any]:
    """Return what `_names` says."""
    from transgan.api.names import BATCH_INPUTS, FURTHER_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
    from transgan.reporting.plugins import nodes_of

    def table(arguments: Mapping[str, "Argument"]) -> list[dict[str, str]]:
        return [
            {"name": name, "type": kind, "shape": shape, "meaning": meaning}
            for name, (kind, shape, meaning) in arguments.items()
        ]

    return {
        "batch_inputs": table(BATCH_INPUTS | FURTHER_INPUTS),
        "losses": table(LOSS_ARGUMENTS),
        "metrics": table(METRIC_ARGUMENTS),
        "nodes": {entry.name: [node._asdict() for node in nodes_of(entry.cls)] for entry in sets},
    }


def _as_json(entry: "Registered") -> dict[str, Any]:
    """Return what `_describe` says; of what a kind of plugin does not have, null."""
    from inspect import cleandoc

    from transgan.reporting.plugins import conditions_of, inputs_of, networks_of, nodes_of

    cls, kind = entry.cls, entry.kind
    conditioned = kind in ("conditionings", "generators", "discriminators", "encoders")
    methods = [each for each in ("for_discriminator", "for_generator", "update") if hasattr(cls, each)]
    return {
        "kind": kind,
        "name": entry.name,
        "package": entry.package,
        "version": entry.version,
        "description": cleandoc(cls.__doc__ or ""),
        "conditions": conditions_of(cls) if conditioned else None,
        "inputs": {each: inputs_of(getattr(cls, each))._asdict() for each in methods}
        if kind in ("losses", "metrics")
        else None,
        "nodes": [node._asdict() for node in nodes_of(cls)] if kind in ("nodes", "losses") else None,
        "networks": networks_of(cls) if kind == "losses" else None,
        "figures": dict(cls.direction) if kind == "metrics" else None,
        "options": [*_options_as_json(cls)],
    }


def _options_as_json(cls: type[Any]) -> Iterator[dict[str, Any]]:
    from pydantic_core import to_jsonable_python

    from transgan.recipe.describe import expected, json_schema, subschema

    root = json_schema(cls.Options)
    for key, field in cls.Options.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        yield {
            "key": key,
            "expected": expected(root, subschema(root, root, key)),
            "required": field.is_required(),
            "default": to_jsonable_python(default, serialize_unknown=True, by_alias=True),
            "description": " ".join((field.description or "").split()),
        }


def _names(sets: list["Registered"]) -> Iterator[str]:
    """Yield every name that an argument can have, under who can ask for it, with the nodes of these sets."""
    from transgan.api.names import BATCH_INPUTS, FURTHER_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
    from transgan.reporting.plugins import nodes_of

    yield from ("batch inputs, for nodes, losses and metrics", *_arguments(BATCH_INPUTS | FURTHER_INPUTS), "")
    yield from ("for losses only", *_arguments(LOSS_ARGUMENTS), "")
    yield from ("for metrics only", *_arguments(METRIC_ARGUMENTS))
    for entry in sorted(sets, key=lambda entry: (entry.name, entry.package)):
        yield from ("", *_wrapped(f'nodes, for nodes, losses and metrics, with nodes = "{entry.name}"', 0, 2))
        for node in nodes_of(entry.cls):
            yield from _node(node)


def _arguments(table: Mapping[str, "Argument"]) -> Iterator[str]:
    for name, (kind, shape, meaning) in table.items():
        yield from _entry(f"{name}: {kind}{shape and ', '}{shape}", meaning)


def _node(node: "Node", inputs: bool = False) -> Iterator[str]:
    """Yield the lines of a node.

    Args:
        inputs: say what it is computed from.
    """
    kind = ", ".join(each for each in (node.type, node.shape) if each)
    needs = [f"Computed from {', '.join(node.inputs)}."] if inputs and node.inputs else []
    yield from _entry(f"{node.name}{kind and ': '}{kind}", node.meaning, *needs)


def _describe(entry: "Registered") -> Iterator[str]:
    """Yield what a plugin is, what it asks for and provides, and its options."""
    from inspect import cleandoc

    from transgan.registry import KINDS

    kind = KINDS[entry.kind].singular
    article = "an" if kind[0] in "aeio" else "a"
    yield from (f"{entry.name}: {article} {kind} of {entry.package} {entry.version}", "")
    yield from (*_paragraphs(cleandoc(entry.cls.__doc__ or "")), "")
    for section in _sections(entry):
        yield from (*section, "")
    yield from _options(entry.cls)


def _sections(entry: "Registered") -> Iterator[list[str]]:
    """Yield the sections that plugins of a kind have besides their options."""
    from transgan.reporting.plugins import conditions_of, networks_of, nodes_of

    cls = entry.cls
    if entry.kind in ("conditionings", "generators", "discriminators", "encoders"):
        conditions = [f"  {name}{kind and ': '}{kind}" for name, kind in conditions_of(cls).items()]
        yield ["conditions", *conditions] if conditions else ["no conditions"]
    if entry.kind in ("losses", "metrics"):
        inputs = [*_inputs(cls)]
        yield ["inputs (transgan plugins --names describes them)", *inputs] if inputs else ["no inputs"]
    if entry.kind in ("nodes", "losses"):
        nodes = [line for node in nodes_of(cls) for line in _node(node, inputs=True)]
        if nodes:
            yield ["nodes" if entry.kind == "nodes" else "nodes of its own", *nodes]
    if entry.kind == "losses" and (networks := networks_of(cls)) != []:
        yield ["networks of its own", *[f"  {each}" for each in networks or ["as its options and the samples require"]]]
    if entry.kind == "metrics" and cls.direction:
        yield ["figures", *[f"  {name}: {way} is better" for name, way in cls.direction.items()]]


def _inputs(cls: type[Any]) -> Iterator[str]:
    from transgan.reporting.plugins import inputs_of

    for method in ("for_discriminator", "for_generator", "update"):
        if function := getattr(cls, method, None):
            always, sometimes = inputs_of(function)
            yield from _wrapped(f"{method}: {', '.join(always) or 'none'}", 2, 6)
            if sometimes:
                yield from _wrapped(f"with some options: {', '.join(sometimes)}", 6, 6)


def _options(cls: type[Any]) -> Iterator[str]:
    from transgan.recipe.describe import expected, json_schema, subschema
    from transgan.recipe.write import value_in_toml

    fields, root = cls.Options.model_fields, json_schema(cls.Options)
    yield "options" if fields else "no options"
    for key, field in fields.items():
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else f"default {'none' if value is None else value_in_toml(value)}"
        head = f"{key}: {expected(root, subschema(root, root, key))}, {default.replace(' ', _SPACE)}"
        yield from _entry(head, " ".join((field.description or "").split()))


def _entry(head: str, *texts: str) -> Iterator[str]:
    """Yield a line and, below it and indented, the lines of each text that is not empty."""
    yield from _wrapped(head, 2, 4)
    for text in texts:
        yield from _wrapped(text, 6, 6)


def _paragraphs(doc: str) -> Iterator[str]:
    """Yield the lines of a docstring in the terminal's width: paragraphs, items of lists, and entries of sections."""
    blocks: list[str] = []
    for line in doc.splitlines():
        begun = blocks[-1] if blocks else ""
        same = not _indent(line) and not _indent(begun) and not begun.startswith("- ")
        continues = begun not in ("", "Args:", "Returns:", "Raises:") and (same or _indent(line) > _indent(begun))
        if continues and line and not line.lstrip().startswith("- "):
            blocks[-1] += f" {line.strip()}"
        else:
            blocks.append(line)
    for block in blocks:
        indent = _indent(block)
        deeper = 2 if block.lstrip().startswith("- ") else 4 if indent else 0
        yield from _wrapped(block, indent, indent + deeper) or [""]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _wrapped(text: str, first: int, then: int) -> list[str]:
    """Return a text as lines of the terminal's width, the first of them and the others indented."""
    from textwrap import wrap

    from transgan.text import line_width

    lines = wrap(
        text.strip(),
        line_width(),
        initial_indent=" " * first,
        subsequent_indent=" " * then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_SPACE, " ") for line in lines]


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if doc else ""
