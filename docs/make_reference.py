"""Writes the reference pages that are made from the code: `reference/recipe.md` and `reference/plugins.md`.

    python docs/make_reference.py            write them
    python docs/make_reference.py --check    say whether they are current; 1 if not

What they say comes from docstrings, option classes and signatures, and from nowhere else.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from transgan.api import hookspecs, protocols, samples
from transgan.api.options import Options
from transgan.api.schedule import Clock, Schedule
from transgan.graph import BATCH_INPUTS
from transgan.plan.plan import LOSS_ARGUMENTS
from transgan.recipe import schema, slots
from transgan.recipe.describe import expected, json_schema, subschema
from transgan.registry import KINDS, Registered, Registry

HERE = Path(__file__).resolve().parent
#: Plugins of other packages, which may be installed where this runs, are documented by those.
PACKAGE = "transgan"
NOTE = "<!-- Made by docs/make_reference.py; change the docstrings instead. -->"

#: The recipe's tables: the key as it is written, the model, and what to know before the keys.
TABLES: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("[data]", schema.Data, ""),
    ("[tasks.NAME]", schema.Task, ""),
    ("[attributes.NAME]", schema.Attribute, "`of` in `[conditionings]` is the same name."),
    ("[train]", schema.Train, ""),
    ("[optimizers.generator], [optimizers.discriminator]", schema.Optimizer, ""),
    ("[conditionings.NAME]", slots.Slot, ""),
    ("[generators.NAME], [encoders.NAME]", slots.NetworkSlot, ""),
    ("[discriminators.NAME]", slots.DiscriminatorSlot, ""),
    ("[discriminators.NAME.adapt]", slots.Adapt, "`adapt = true` is short for `adapt = {}`."),
    ("[augmentations.NAME]", slots.Slot, "Needed only where options differ from their defaults: discriminators name "
     "augmentations in `augment`."),
    ("[losses.NAME]", slots.LossSlot, "`cycle = 10.0` is short for `cycle = { weight = 10.0 }`."),
    ("[metrics.NAME]", slots.Slot, "`cycle_error = true` is short for `cycle_error = {}`. `false` leaves it out; so it "
     "does wherever something is named like this: `--set losses.identity=false`."),
    ("[[phases]]", schema.Phase, "Played in the order in which they stand; by default the generator's, then the "
     "discriminator's."),
    ("[[stages]]", schema.Stage, "One after the other; their shares add up to 1. Without any, the run is one stage."),
    ("[guard]", schema.Guard, ""),
    ("[guard.fallback]", schema.Fallback, ""),
    ("[evaluate]", schema.Evaluate, ""),
)  # fmt: skip


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold."""
    return {
        HERE / "reference" / "recipe.md": _page(_recipe()),
        HERE / "reference" / "plugins.md": _page(_plugins()),
    }


def write() -> list[Path]:
    """Writes the pages that are not current, and returns them."""
    stale = stale_pages()
    for path in stale:
        path.write_text(pages()[path], encoding="utf-8")
    return stale


def stale_pages() -> list[Path]:
    """The pages that differ from what the code says."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the reference pages that are made from the code.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    check = parser.parse_args().check
    found = stale_pages() if check else write()
    what = "is not current; run python docs/make_reference.py" if check else "written"
    for path in found:
        print(f"{path.relative_to(HERE.parent)} {what}")
    return 1 if check and found else 0


def _page(lines: Iterator[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


# The recipe


def _recipe() -> Iterator[str]:
    yield from ("# Recipe", "", NOTE, "")
    yield _RECIPE
    yield from ("## Top level", "", *_table(schema.Recipe, plain=("data", "train")), "")
    for title, model, note in TABLES:
        if model is schema.Task:
            yield _DOMAINS
        yield from (f"## {' and '.join(f'`{each}`' for each in title.split(', '))}", "", _text(model.__doc__), "")
        if note:
            yield from (note, "")
        yield from (*_table(model), "")
        if issubclass(model, slots.Slot):
            yield from ("Every other key is an option of the plugin; see [](plugins.md).", "")
    yield from ("## Schedules", "", _text(Schedule.__doc__), "", *_table(Schedule), "")
    yield from ("The moments are those of the run's clock:", "", _text(Clock.__doc__), "")


_RECIPE = """A recipe is one TOML file. A small one, whole:

```toml
[data]
source = "folders"
size = 64

[domains]
horse = "horses"
zebra = "zebras"

[tasks]
stripes = { between = ["horse", "zebra"] }

[train]
steps = 2000
batch = 4

[generators.resnet]
width = 24
blocks = 4

[discriminators.patch]
width = 24

[losses]
lsgan = 1.0
cycle = 10.0
```

A *slot* is a named place that a plugin fills: `[generators.NAME]` and its like, `data.source`, `data.default`,
`data.media`, `nodes`. Its `use` says which plugin; where that is left out, the slot's own name is meant, so
`[generators.resnet]` needs no `use`. A slot without options may be written as the plugin's name (`source = "folders"`)
or, in the tables of slots, as `true`.

`--set a.b.c=value` on the command line wins over the file. The value is TOML, or else the text itself:
`--set train.steps=500`, `--set data.root=photos`, `--set losses.cycle=5`, `--set 'domains.old={ age = [50, 60] }'`,
`--set phases.0.every=2` (entries of lists are counted from 0).

Unknown keys and wrong types are refused, all at once, each with its line:

```text
error: wrong.toml: 2 problems
  wrong.toml:32: [generators.face] widht: unknown key. Did you mean 'width'?
  wrong.toml:47: [losses.cycel] use: no loss 'cycel'. Did you mean 'cycle'?
```

`translations` in a slot or a phase is a list of patterns, each for a task (`"age"`), for two domains
(`"young -> old"`) or for both (`"age: young -> old"`); `*` stands for anything.
"""


_DOMAINS = """## `[domains]`

One key a domain. What it says is in the words of the source, a text or a table that is not empty: `"trainA"` for
`folders`, `{ age = [20, 30] }` for `labelled_faces`; see [](plugins.md). In a table, `held_out` names the samples that
are kept from training, in the same words: `{ path = "trainA", held_out = "testA" }`. Where it is left out, they are a
share `data.held_out` of the domain.
"""


def _table(model: type[BaseModel], plain: tuple[str, ...] = ()) -> list[str]:
    """The fields of a model as a table; `plain` are those that have a table of their own and no default."""
    root = json_schema(model)
    rows = ["| key | expected | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name == "options":
            continue
        key = field.alias or name
        words = "a table" if name in plain else expected(root, subschema(root, root, key))
        default = "the slot's name" if issubclass(model, slots.Slot) and key == "use" else _default(field)
        rows.append(f"| `{key}` | {_cell(words)} | {default} | {_cell(_flat(field.description))} |")
    return rows


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "required" if value is PydanticUndefined else _shown(value)


def _shown(value: Any) -> str:
    """A default as it would be written in a recipe."""
    if value is None:
        return ""
    if isinstance(value, Schedule):
        return _shown(value.start)
    if isinstance(value, slots.Slot):
        return f'`"{value.use}"`'
    if isinstance(value, slots.Section) or (isinstance(value, list) and value and isinstance(value[0], BaseModel)):
        return "see below"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, Mapping):
        return "{}" if not value else "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return str(value)


# Plugins


def _plugins() -> Iterator[str]:
    yield from ("# Plugins", "", NOTE, "")
    yield _PLUGINS
    yield from ("## Hooks", "", "A plugin implements any of these, marked with `@hookimpl`.", "")
    for name, function in _hooks():
        yield from (f"### `{name}`", "", "```python", _signature(name, function), "```", "")
        yield from (_text(function.__doc__), "")
    yield from ("## What a plugin may be", "", _text(protocols.__doc__), "")
    for cls in _protocols():
        yield from _protocol(cls)
    yield from _protocol(Weights)
    yield from ("### `Options`", "", _text(Options.__doc__), "")
    yield f"These are the recipe's own words, and no option may be called so: {_words(sorted(Options.reserved))}; "
    yield "nor may it be called like a key that its slot's table has anyway.\n"
    yield from ("## Names that can be asked for", "")
    yield f"From the data, in nodes, losses and metrics: {_words(BATCH_INPUTS)}.\n"
    yield f"In losses besides: {_words(LOSS_ARGUMENTS)}.\n"
    yield "In metrics besides: `keys`, `counterpart`.\n"
    yield "And every node: those of the set that `nodes` names, and, for a loss, its own.\n"
    registry = Registry.installed()
    for kind, word in ((kind.name, kind.singular) for kind in KINDS.values()):
        entries = [each for each in registry.entries.values() if each.kind == kind and each.package == PACKAGE]
        if entries:
            yield from (f"## {kind.capitalize()}", "")
        for entry in sorted(entries, key=lambda each: each.name):
            yield from _entry(entry, word)


_PLUGINS = """A plugin is a Python module with hooks, found through the entry points group `transgan`:

```toml
[project.entry-points.transgan]
brightness = "transgan_brightness"
```

```python
from transgan.api import Register, hookimpl


@hookimpl
def register_losses(register: Register) -> None:
    register("brightness", Brightness)
```

`transgan plugins` lists what is installed, `transgan plugins NAME` shows the options of one. How to write one:
[](../tutorial/own_loss.md).
"""


def _hooks() -> list[tuple[str, Any]]:
    """Every hook in the order of its specification."""
    return [(name, each) for name, each in vars(hookspecs).items() if hasattr(each, "transgan_spec")]


def _protocols() -> list[type[Any]]:
    """The classes of `transgan.api.protocols` and `transgan.api.samples`, in the order of the files."""
    found = [(module, each) for module in (protocols, samples) for each in vars(module).values()]
    return [each for module, each in found if inspect.isclass(each) and each.__module__ == module.__name__]


def _protocol(cls: type[Any]) -> Iterator[str]:
    yield from (f"### `{cls.__name__}`", "", _text(cls.__doc__), "")
    fields = list(_fields(cls))
    for name, kind, default, doc in fields:
        yield f"- `{name}: {kind}{' = ' if default else ''}{default}`{': ' if doc else ''}{doc}"
    if fields:
        yield ""
    methods = {
        name: each.fget if isinstance(each, property) else each
        for name, each in vars(cls).items()
        if not name.startswith("_") and (inspect.isfunction(each) or isinstance(each, property)) and each.__doc__
    }
    for name, function in methods.items():
        shown = _signature(name, function)
        if isinstance(vars(cls)[name], property):
            shown = shown.replace("()", "", 1)
        yield from (f"- `{shown}`", "", *_indented(_text(function.__doc__)), "")


def _fields(cls: type[Any]) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and docstring of the attributes that a class declares."""
    body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
    for each, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id != "Options":
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            default = ast.unparse(each.value) if each.value else ""
            default = {"field(default_factory=list)": "[]", "field(default_factory=dict)": "{}"}.get(default, default)
            yield each.target.id, _bare(ast.unparse(each.annotation)), default, _flat(str(text))


def _bare(kind: str) -> str:
    """A type without the mark of a class's own variable."""
    return kind.removeprefix("ClassVar[").removesuffix("]") if kind.startswith("ClassVar[") else kind


def _entry(entry: Registered, word: str) -> Iterator[str]:
    yield from (f"### `{entry.name}`", "", _text(entry.cls.__doc__), "")
    yield from _asks(entry)
    if entry.cls.Options.model_fields:
        yield from (*_table(entry.cls.Options), "")
    else:
        yield from (f"This {word} has no options.", "")


def _asks(entry: Registered) -> Iterator[str]:
    """What a plugin of nodes, a loss or a metric asks for by name."""
    cls = entry.cls
    if entry.kind in ("nodes", "losses"):
        for name, function in inspect.getmembers(cls, inspect.isfunction):
            if getattr(function, "is_node", False):
                yield f"- node `{name}`, of {_words(_arguments(function)) or 'nothing'}: {_flat(function.__doc__)}"
        for side in ("discriminator", "generator"):
            if function := getattr(cls, f"for_{side}", None):
                yield f"- for the {side}, of {_words(_arguments(function))}"
        yield ""
    if entry.kind == "metrics":
        yield f"Asks for {_words(_arguments(cls.update))}."
        if cls.direction:
            yield from ("", "; ".join(f"`{name}`: {way} is better" for name, way in cls.direction.items()) + ".")
        yield ""


# Words


def _arguments(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def _signature(name: str, function: Any) -> str:
    """`name(argument, ...)`, with the names of the types and without their modules."""
    parameters = inspect.signature(function).parameters.values()
    shown = []
    for each in parameters:
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = "" if each.default is each.empty else f" = {each.default!r}"
        kind = "" if each.annotation is each.empty else f": {_type(each.annotation)}"
        if each.name != "self":
            shown.append(f"{star}{each.name}{kind}{default}")
    answer = inspect.signature(function).return_annotation
    returns = "" if answer is inspect.Signature.empty else f" -> {_type(answer)}"
    return f"{name}({', '.join(shown)}){returns}"


def _type(annotation: Any) -> str:
    if annotation is None:
        return "None"
    if annotation is hookspecs.Register:
        return "Register"
    if annotation is hookspecs.RegisterWeightFiles:
        return "RegisterWeights"
    if annotation is protocols.Conditions:
        return "Conditions"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def _words(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _text(doc: str | None) -> str:
    """A docstring as a paragraph of the page; arguments and errors as lists."""
    lines = inspect.cleandoc(doc or "").splitlines()
    out: list[str] = []
    inside = False
    for line in lines:
        if line in ("Args:", "Raises:"):
            out += [f"{'Arguments' if line == 'Args:' else 'Raises'}:", ""]
            inside = True
        elif inside and line.startswith("    "):
            name, colon, rest = line.strip().partition(": ")
            deeper = line.startswith("        ") or not colon
            out.append(f"  {line.strip()}" if deeper else f"- `{name}`: {rest}")
        else:
            inside = inside and not line
            out.append(line)
    return "\n".join(out).strip()


def _flat(doc: str | None) -> str:
    return " ".join((doc or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]


if __name__ == "__main__":
    sys.exit(main())
