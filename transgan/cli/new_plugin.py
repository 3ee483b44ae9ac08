"""`transgan plugins new`: a small package with a plugin of a kind, its tests and a recipe, to begin from."""

import keyword
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from string import Template

from transgan.api.version import VERSION
from transgan.cli.schema import schema_line
from transgan.errors import UsageError, did_you_mean
from transgan.registry import KINDS, PluginKind, Registry
from transgan.storage import write_text
from transgan.storage.atomic import disk_errors, make_folder

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Example:
    """What differs between the packages of two kinds beside the module."""

    use: str
    """How recipes use it, for the README: a template."""
    tests: str = "def test_it_keeps_what_its_kind_promises() -> None:\n    check($cls)"
    imports: str = ""
    """Of the tests."""
    recipe: dict[str, str] = field(default_factory=dict)
    """What differs in the recipe, by field of its template."""


_RECIPE = {
    "data": 'source = { use = "synthetic_faces", count = 24 }',
    "domains": "young = { age = [20, 30] }\nold = { age = [50, 60] }",
    "generator": "resnet",
    "per": "direction",
    "generator_options": "width = 4\nblocks = 1",
    "discriminator": "patch",
    "discriminator_options": "",
    "tables": "",
}
_SLOT = "A recipe names it by `[{table}.$name]` and sets its options there."
_FILES = '''def write(folder: Path) -> list[Path]:
    """Write four arrays, and return their files."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.npy" for i in range(4)]
    for path in paths:
        np.save(path, rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    return paths


def test_it_keeps_what_its_kind_promises(tmp_path: Path) -> None:
    check($cls, files=write(tmp_path), size=32)'''
_ITEM = """def test_it_keeps_what_its_kind_promises() -> None:
    item = -torch.ones(3, 32, 32)
    item[:, 8:20, 10:18] = 0.5
    check($cls, item=item)"""
_SEQUENCE = """def test_it_keeps_what_its_kind_promises(tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
    np.savez(tmp_path / "items.npz", *items)
    check($cls, files=[tmp_path / "items.npz"])"""
_EXAMPLES = {
    "sources": Example(
        'A recipe names it by `source = "$name"` in `[data]`.',
        "def test_it_keeps_what_its_kind_promises() -> None:\n"
        '    check($cls, selections={"a": {"width": 3}, "b": {"width": 5}})',
        recipe={"data": 'source = "$name"', "domains": "young = { width = 3 }\nold = { width = 5 }"},
    ),
    "media": Example(
        'A recipe names it by `media = "$name"` in `[data]`.',
        _FILES,
        "from pathlib import Path\n\nimport numpy as np\n",
        {"data": _RECIPE["data"] + '\nmedia = "$name"'},
    ),
    "containers": Example(
        "`transgan translate MODEL FILES` takes its files where the model's media is `image`. No recipe names it.",
        _SEQUENCE,
        "from pathlib import Path\n\nimport numpy as np\n",
    ),
    "conditionings": Example(
        _SLOT.format(table="conditionings"), recipe={"per": "run", "tables": "\n[conditionings.$name]\nplanes = 2\n"}
    ),
    "generators": Example(
        _SLOT.format(table="generators"), recipe={"generator": "$name", "generator_options": "width = 8"}
    ),
    "discriminators": Example(_SLOT.format(table="discriminators"), recipe={"discriminator": "$name"}),
    "encoders": Example(
        "A recipe names it by `[encoders.$name]`, and a loss of the package asks for what it computes.",
        "def test_it_keeps_what_its_kind_promises() -> None:\n    check($cls)\n\n\n"
        "def test_the_loss_keeps_what_its_kind_promises() -> None:\n"
        '    check(${cls}Distance, networks={"$name": lambda x: x.flatten(1)[:, :4]})',
        recipe={"tables": "${name}_distance = 1.0\n\n[encoders.$name]\nlength = 8\n"},
    ),
    "augmentations": Example(
        "A discriminator of a recipe names it in `augment`; `[augmentations.$name]` has its options.",
        recipe={"discriminator_options": 'augment = ["$name"]\n'},
    ),
    "nodes": Example('A recipe names it by `nodes = "$name"`.', recipe={"nodes": '\nnodes = "$name"'}),
    "losses": Example(
        "A recipe names it in `[losses]`, `$name = 0.1`, where the number is its weight.",
        "def test_it_keeps_what_its_kind_promises() -> None:\n"
        '    check($cls, {}, {"power": 2.0})\n\n\n'
        "def test_of_a_small_sample() -> None:\n"
        "    fake = torch.tensor([[[0.0, 1.0, 3.0]]])\n"
        "    assert $cls(${cls}Options(power=1.0)).for_generator(fake) == 1.5",
        "import torch\n",
        {"tables": "$name = { weight = 0.1, power = 2.0 }\n"},
    ),
    "metrics": Example(_SLOT.format(table="metrics"), recipe={"tables": "\n[metrics]\n$name = true\n"}),
    "region_detectors": Example(
        "`transgan translate MODEL FILES --$name` translates only the regions that it finds. No recipe names it.",
        _ITEM,
        "import torch\n",
    ),
    "hooks": Example(
        _SLOT.format(table="hooks"),
        recipe={"tables": "\n[metrics]\ncycle_error = true\n\n[hooks.$name]\nlimit = 0.01\n"},
    ),
}


def write_package(name: str, kind: str, folder: Path, registry: Registry) -> list[Path]:
    """Write a package with a plugin; return its files.

    Args:
        name: of the plugin, and of the package, in which '_' is '-'.
        kind: of the plugin, in the singular or the plural.
        folder: where the package's folder is made.

    Raises:
        UsageError: the kind is unknown, the name is not possible or taken, or the package's folder exists.
        DiskError: it cannot be written.
    """
    chosen = _kind(kind)
    module = name.replace("-", "_")
    package = module.replace("_", "-")
    if keyword.iskeyword(module):
        raise UsageError(f"'{name}' is a word of Python; choose another name")
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}': expected a name of small letters, digits and '_', 32 at most")
    if module in registry.names(chosen.name):
        raise UsageError(f"there is a {chosen.singular} '{module}' already; choose another name")
    if find_spec(module) is not None:
        raise UsageError(
            f"there is a module '{module}' already, which a module of that name would hide; choose another"
        )
    out = folder / name
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists; nothing was written. Choose another name, or remove it")
    example = _EXAMPLES[chosen.name]
    cls = _class_of(module)
    base = {"name": module, "module": module, "package": package, "cls": cls, "singular": chosen.singular}
    base |= {"api": str(VERSION), "article": "An" if chosen.singular[0] in "aeio" else "A"}

    def filled(text: str, **more: str) -> str:
        return Template(text).substitute(base | more)

    def template(file: str, **more: str) -> str:
        return filled((_TEMPLATES / f"{file}.txt").read_text(encoding="utf-8"), **more)

    recipe = {key: filled(text) for key, text in {**_RECIPE, "nodes": "", **example.recipe}.items()}
    tests = filled(example.tests)
    options = f", {cls}Options" if f"{cls}Options" in tests else f", {cls}Distance" if f"{cls}Distance" in tests else ""
    files = {
        "pyproject.toml": template("pyproject.toml"),
        "README.md": template("README.md", use=filled(example.use)),
        "recipe.toml": schema_line(registry) + template("recipe.toml", **recipe).rstrip() + "\n",
        f"{module}.py": module_of(chosen.name, module),
        f"test_{module}.py": template("test.py", imports=example.imports, tests=tests).replace(
            f"import {cls}\n", f"import {cls}{options}\n"
        ),
    }
    with disk_errors(out):
        make_folder(out)
        for file, text in files.items():
            write_text(out / file, text)
    return [out / file for file in files]


def module_of(kind: str, name: str) -> str:
    """Return the module with a plugin of a kind, as `write_package` writes it."""
    cls = _class_of(name)
    text = (_TEMPLATES / f"{kind}.py.txt").read_text(encoding="utf-8")
    return Template(text).substitute(name=name, cls=cls, api=VERSION)


def _class_of(module: str) -> str:
    return "".join(part.capitalize() for part in module.split("_") if part)


def _kind(name: str) -> PluginKind:
    known = {each: kind for kind in KINDS.values() for each in (kind.word, kind.name)}
    if (found := known.get(name.replace(" ", "_"))) is None:
        raise UsageError(
            f"--kind {name}: no such kind of plugin. {did_you_mean(name, [each.word for each in KINDS.values()])}"
        )
    return found
