"""Python files whose plugins are used without being installed: `--plugin my_loss.py`."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from pydantic import PydanticUserError

from transgan.arguments import as_paths
from transgan.errors import PluginError
from transgan.text import expand_home, option

#: The version of plugins in a file.
OF_FILE = "(file)"
_IN_USE: dict[Path, ModuleType] = {}


def check_files(paths: Iterable[Path] | None) -> list[Path]:
    """Return the paths of plugin files, `~` expanded, once all are found to be Python files; nothing is imported.

    Raises:
        PluginError: a file is missing, or is no Python file.
    """
    given = [expand_home(path) for path in paths or ()]
    for path in given:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "there is no such file"
            raise PluginError(f"{option('plugins', [path])}: {what}; expected a Python file such as my_loss.py")
        if path.suffix != ".py":
            raise PluginError(f"{option('plugins', [path])}: not a Python file; expected one such as my_loss.py")
    named: dict[str, Path] = {}
    for path in given:
        other = named.setdefault(path.name, path)
        if other.resolve() != path.resolve():  # a file may be given twice
            what = f"{other} has the same name, by which runs and recipes know a plugin file; rename one of them"
            raise PluginError(f"{option('plugins', [path])}: {what}")
    return list(named.values())


def use_files(paths: Iterable[Path] | None) -> None:
    """Import files whose plugins are there beside those of installed packages from now on, instead of any earlier ones.

    A file is imported under a name of its own, so that it hides no module and needs no package.

    Raises:
        PluginError: a file is missing, is no Python file, or cannot be imported.
    """
    given = check_files(paths)
    _IN_USE.clear()
    for path in given:
        name = f"transgan_file_{path.stem}_{blake2b(os.fsencode(path.resolve()), digest_size=4).hexdigest()}"
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None, "a .py file has a loader"
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # it is code of any kind
            del sys.modules[name]
            why = f"{line_in(path, error)}cannot be imported: {why_not_imported(error)}{_neighbour(path, error)}"
            raise PluginError(f"{option('plugins', [path])}: {why}") from error
        _IN_USE[path] = module


def line_in(path: Path, error: BaseException) -> str:
    """Return the last line of a file that an error went through, `line 3: `; empty where there is none."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == path.absolute()]
    return f"line {lines[-1]}: " if lines else ""


def _neighbour(path: Path, error: BaseException) -> str:
    """Return what to do where a plugin file imports a module that is beside it; empty where it does not."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    beside = path.resolve().parent
    if not name or not ((beside / f"{name}.py").is_file() or (beside / name).is_dir()):
        return ""
    return (
        f". {name} is beside it, and only installed modules are found: set PYTHONPATH={beside}, or make both a package"
    )


def why_not_imported(error: BaseException) -> str:
    """Return why a module of plugins cannot be imported, on one line: in our words where pydantic refuses options."""
    why = " ".join(str(error).split())
    if isinstance(error, PydanticUserError):
        first = why.partition(". ")[0].rstrip(".")
        return f"options cannot be declared so: {first}; write each as NAME: TYPE = DEFAULT, with a type that TOML has"
    return f"{type(error).__name__}: {why}"


@contextmanager
def using_files(paths: Iterable[str | os.PathLike[str]] | os.PathLike[str] = ()) -> Iterator[None]:
    """Do what `use_files` does while the body runs; without files nothing changes. A single path is one file.

    Afterwards it is as before, whatever `use_files` has said in between.

    Raises:
        PluginError: see `use_files`.
    """
    given = as_paths("plugins", paths)
    before = dict(_IN_USE)
    try:
        if given:
            use_files(given)
        yield
    finally:
        _IN_USE.clear()
        _IN_USE.update(before)


def contents(names: Iterable[str]) -> dict[str, str]:
    """Return the content of each file in use that has one of these names, as a hash, by the file's name."""
    used = sorted(path for path in _IN_USE if path.name in set(names))
    return {path.name: blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in used}


def files_in_use() -> Mapping[Path, ModuleType]:
    """Return the modules of the files whose plugins are there now."""
    return dict(_IN_USE)
