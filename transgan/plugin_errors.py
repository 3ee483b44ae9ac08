"""Whose fault an unexpected error is: the plugin whose code raised it, or was running, by its traceback and notes."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from transgan.errors import PluginFault, PluginRuntimeError, as_user_error
from transgan.registry import Registered, Registry

#: The longest message of an error of another library that is quoted.
_MAX_MESSAGE = 500


def as_plugin_error(error: BaseException, registry: Registry) -> PluginRuntimeError | None:
    """Return an error that names plugin, package and what was being computed; None where no plugin is involved."""
    who = plugin_of(error, registry)
    if isinstance(error, PluginFault):
        during = f", while {', '.join(notes)}" if (notes := notes_of(error)) else ""
        return PluginRuntimeError(f"{who or f'the plugin {error.plugin.__qualname__}'}: {error.what}{during}")
    if who is None and not notes_of(error):
        return None
    return PluginRuntimeError(f"{who or 'a plugin'} failed{_while(error)}: {in_one_line(error)}")


@contextmanager
def naming_plugins() -> Iterator[None]:
    """Turn what a plugin declares or returns wrongly into an error that names it and its package.

    Raises:
        PluginRuntimeError: in place of a `PluginFault`.
    """
    try:
        yield
    except PluginFault as fault:
        raise as_plugin_error(fault, Registry.installed()) or fault from fault


def reason_of(error: Exception, registry: Registry | None = None) -> str:
    """Return why something failed, in one line; with a registry, it names the plugin whose code has failed."""
    known = as_user_error(error) or (as_plugin_error(error, registry) if registry else None)
    return " ".join(str(known).split()) if known else in_one_line(error)


def plugin_of(error: BaseException, registry: Registry) -> str | None:
    """Return which plugin's code raised an error, or called what did: `loss 'tv' of fancy-losses 3.1`; None if none.

    It is the innermost frame of the traceback that is in a package of plugins. Its `self`, or that of a frame around it
    in the same package, says which of the package's plugins it is. Where no frame inside of the innermost
    `error_context` is in a plugin, as where the plugin cannot be called, it is the one that the context was given; of a
    `PluginFault` it is the one that this names. Where that has called code of another package, as a media calls that of
    a synthetic sample, both are named.
    """
    classes = {entry.cls: entry for entry in registry.candidates()}
    packages = dict(_packages(registry))
    package: str | None = None
    within = 0 if isinstance(error, PluginFault) else getattr(error, "frames_of_plugin", None)
    for frame, _ in list(reversed(list(traceback.walk_tb(error.__traceback__))))[:within]:
        found = packages.get(_top(frame.f_globals.get("__name__", "")))
        if found is None or found != (package or found):
            continue
        package = found
        if entry := _registered(type(frame.f_locals.get("self")), classes):
            return str(entry)
    entry = _registered(getattr(error, "plugin", type(None)), classes)
    if entry and package not in (None, packages[_top(entry.cls.__module__)]):  # such as a sample's own function
        return f"code of {package}, called by {entry},"
    return str(entry) if entry else f"a plugin of {package}" if package else None


def notes_of(error: BaseException) -> list[str]:
    """Return what was being computed, innermost first: the notes that `error_context` has added."""
    return [note.removeprefix("while ") for note in getattr(error, "__notes__", []) if note.startswith("while ")]


def in_one_line(error: BaseException) -> str:
    """Return an error's type and message, shortened, on one line."""
    # torch appends the frames of its own code
    words = " ".join(str(error).partition("\nException raised from ")[0].split())
    cut = words if len(words) <= _MAX_MESSAGE else f"{words[:_MAX_MESSAGE]} ..."
    return f"{type(error).__name__}: {cut}" if cut else type(error).__name__


def _while(error: BaseException) -> str:
    notes = notes_of(error)
    return f" while {', '.join(notes)}" if notes else ""


def _packages(registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield the top-level modules of plugins, and the package of each with its version."""
    for entry in registry.candidates():
        yield _top(entry.cls.__module__), f"{entry.package or entry.cls.__module__} {entry.version}".rstrip()
    for name, plugin in registry.manager.list_name_plugin():
        module = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
        yield _top(module), registry.packages.get(name) or module


def _top(module: Any) -> str:
    """Return the top-level package of a module; an empty text for the core, in which no plugin is at fault."""
    top = str(module).partition(".")[0]
    return "" if top in ("transgan", "builtins") else top


def _registered(cls: type[Any], classes: dict[type[Any], Registered]) -> Registered | None:
    return next((classes[base] for base in cls.__mro__ if base in classes), None)
