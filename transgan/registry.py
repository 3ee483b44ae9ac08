"""Discovery and registration of plugins. A plugin that fails to load is reported, and disables nothing else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from pluggy import PluginManager
from pydantic import BaseModel, ValidationError

from transgan.api import hooks, protocols, samples
from transgan.api.examples import Examples
from transgan.api.starters import Starter
from transgan.api.version import VERSION
from transgan.api.weights import WeightFile
from transgan.errors import PluginError, PluginRuntimeError, TransganError, closest, did_you_mean
from transgan.methods import wrong_methods
from transgan.options import Options
from transgan.plugin_files import OF_FILE, files_in_use, line_in, why_not_imported
from transgan.recipe.describe import expected, json_schema, subschema
from transgan.recipe.slots import SLOTS, Slot
from transgan.recipe.write import foreign_values
from transgan.text import listed, option


@dataclass(frozen=True)
class PluginKind:
    """A kind of plugin: what a class can be registered as."""

    name: str
    """In the plural, as in recipes and in `transgan plugins`."""
    singular: str
    """For messages."""
    base: type[Any]
    """The base class of every plugin of this kind."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The methods that every plugin of this kind defines, and the arguments that they get by position."""

    @property
    def word(self) -> str:
        """The singular as a command takes it: `region_detector`."""
        return self.singular.removeprefix("set of ").replace(" ", "_")

    @property
    def hook(self) -> str:
        """The name of the hook that registers plugins of this kind."""
        return f"register_{self.name}"


_OF_MEDIA = {"decode": ("location",), "batch": ("decoded", "rng", "domains")}
#: Every kind of plugin by its name, in the order in which `transgan plugins` lists them.
KINDS: dict[str, PluginKind] = {
    kind.name: kind
    for kind in (
        PluginKind("sources", "source", samples.Source, {"samples": ("domain", "selection")}),
        PluginKind("media", "media", samples.Media, _OF_MEDIA),
        PluginKind("containers", "container", samples.Container, {"transform": ("path", "result", "change", "note")}),
        PluginKind("conditionings", "conditioning", protocols.Conditioning, {"forward": ("x", "style")}),
        PluginKind("generators", "generator", protocols.Generator, {"forward": ("x",)}),
        PluginKind("discriminators", "discriminator", protocols.Discriminator, {"forward": ("x",)}),
        PluginKind("encoders", "encoder", protocols.Network, {"forward": ("x",)}),
        PluginKind("augmentations", "augmentation", protocols.Augmentation, {"__call__": ("x", "rng", "clock")}),
        PluginKind("nodes", "set of nodes", protocols.Nodes),
        PluginKind("losses", "loss", protocols.Loss),
        PluginKind("metrics", "metric", protocols.Metric, {"update": (), "reset": (), "compute": ()}),
        PluginKind("region_detectors", "region detector", samples.RegionDetector, {"detect": ("x", "min_extent")}),
        PluginKind("hooks", "set of hooks", protocols.Hooks),
    )
}


@dataclass(frozen=True)
class Registered:
    """A plugin class, its kind and name, and the package that registered it."""

    kind: str
    name: str
    cls: type[Any]
    package: str
    version: str

    def __str__(self) -> str:
        """Return it with its kind, package and version: `loss 'tv' of fancy-losses 3.1`."""
        package = f" of {self.package} {self.version}" if self.package else ""
        return f"{KINDS[self.kind].singular} '{self.name}'{package}"


class Registry:
    """Every plugin class by kind and name, and the weight files that plugins can use.

    `Registry.installed()` has those of all installed packages; `add` adds a module.
    """

    def __init__(self) -> None:
        self.manager = PluginManager("transgan")
        self.manager.add_hookspecs(hooks)
        self.entries: dict[tuple[str, str], Registered] = {}
        """The first plugin of each kind and name."""
        self.weight_files: dict[str, WeightFile] = {}
        self.broken: dict[str, str] = {}
        """The error of each plugin module that failed to load, by entry point and package."""
        self.others: dict[tuple[str, str], list[Registered]] = {}
        """Further plugins of the same kind and name, with another class."""
        self.packages: dict[str, str] = {}
        """The package and version of each module or object that was added, by its unique name."""

    @classmethod
    def installed(cls) -> "Registry":
        """Return the plugins of every installed package with entry points in the group `transgan`, and of files.

        The files are those of `transgan.plugin_files`.
        """
        registry = cls()
        for point in sorted(entry_points(group="transgan"), key=lambda point: point.name):
            registry._load(point)
        for path, module in files_in_use().items():
            registry._add_file(path, module)
        return registry

    def _load(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist else point.value
        version = point.dist.version if point.dist else "?"
        try:
            self.add(point.load(), f"{package}:{point.name}", package, version)
        except (Exception, SystemExit) as error:  # importing a plugin runs arbitrary code
            self.broken[f"{point.name} ({package} {version})"] = why_not_imported(error)

    def _add_file(self, path: Path, module: ModuleType) -> None:
        """Register what a file offers, under its name as the package."""
        try:
            self.add(module, str(path), path.name, OF_FILE)
        except Exception as error:
            ours = extract_tb(error.__traceback__)[-1].filename == __file__  # of others the text alone may say nothing
            why = f"{'' if ours else f'{type(error).__name__}: '}{' '.join(str(error).split())}"
            raise PluginError(f"{option('plugins', [path])}: {line_in(path, error)}{why}") from error

    def add(self, plugin: object, name: str, package: str = "", version: str = "") -> None:
        """Register everything that a module or object with hook implementations offers; where it fails, nothing.

        It may say which version of `transgan.api` it is made for, `requires_api = 1`.

        Args:
            plugin: the module or object.
            name: a unique name for it.
            package: the package that it belongs to.
            version: the version of that package.

        Raises:
            PluginError: it is made for another version of `transgan.api`, it implements no hook or an unknown one, or
                another weight file has the name of one of its own.
            TypeError: it registers something that is not a plugin class or not a weight file.
        """
        _check_version(plugin)
        try:
            self._check_hooks(plugin)
            self.manager.register(plugin, name)
            entries = self._collect_entries(plugin, package, version)
            weight_files = self._collect_weight_files(plugin)
        except BaseException:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise
        for entry in entries:
            self._add_entry(entry)
        self.packages[name] = f"{package} {version}".strip()
        self.weight_files.update(weight_files)

    def _check_hooks(self, plugin: object) -> None:
        """Raise PluginError where a plugin implements no hook, an unknown one, or one with other arguments."""
        implemented = [name for name in dir(plugin) if self.manager.parse_hookimpl_opts(plugin, name) is not None]
        if not implemented:
            example = "such as register_losses(register)"
            raise PluginError(f"offers nothing: no function in it, {example}, is marked with @transgan.api.hookimpl")
        known = {name: each for name, each in vars(hooks).items() if hasattr(each, "transgan_spec")}
        for name in implemented:
            if name not in known:
                if name in protocols.MOMENTS:
                    raise PluginError(
                        f"'{name}' is a method of a class, transgan.api.Hooks, which register_hooks offers and "
                        "a recipe names as [hooks.NAME]; make it one"
                    )
                raise PluginError(f"there is no hook '{name}'. {did_you_mean(name, known)}")
            expected_names, names = _names_of(known[name]), _names_of(getattr(plugin, name))
            if not set(names) <= set(expected_names):
                written, wanted = (f"{name}({', '.join(each)})" for each in (names, expected_names))
                raise PluginError(f"found {written}, expected {wanted}: hooks get their arguments by these names")

    def _call_registration_hook(self, hook: str, plugin: object, register: Any) -> None:
        """Call a registration hook of this plugin only."""

        def checked(*given: Any, **named: Any) -> None:
            try:
                signature(register).bind(*given, **named)
            except TypeError:
                called = ", ".join([*map(repr, given), *(f"{name}={value!r}" for name, value in named.items())])
                wanted = ", ".join(_names_of(register))
                raise PluginError(f"{hook} calls register({called}), expected register({wanted})") from None
            register(*given, **named)

        others = [each for each in self.manager.get_plugins() if each is not plugin]
        self.manager.subset_hook_caller(hook, others)(register=checked)

    def _collect_entries(self, plugin: object, package: str, version: str) -> list[Registered]:
        """Return the classes that a plugin registers."""
        entries: list[Registered] = []
        for kind in KINDS.values():

            def register(name: str, cls: type[Any], *, kind: PluginKind = kind) -> None:
                _check_class(kind, name, cls)
                entries.append(Registered(kind.name, name, cls, package, version))

            self._call_registration_hook(kind.hook, plugin, register)
        return entries

    def _collect_weight_files(self, plugin: object) -> dict[str, WeightFile]:
        """Return the weight files that a plugin registers, by name."""
        collected: dict[str, WeightFile] = {}

        def register(weights: WeightFile) -> None:
            if not isinstance(weights, WeightFile):
                raise TypeError(f"found {weights!r}, expected a transgan.api.WeightFile")
            if {**self.weight_files, **collected}.get(weights.name, weights) != weights:
                raise PluginError(f"there is another weight file '{weights.name}'; rename one of them")
            collected[weights.name] = weights

        self._call_registration_hook("register_weight_files", plugin, register)
        return collected

    @cached_property
    def commands(self) -> dict[str, Any]:
        """The groups of commands that plugins offer, each a `typer.Typer`, by name: the first of each name."""
        return self._offered("commands", lambda own: partial(_add_command, own))

    @cached_property
    def examples(self) -> dict[str, Examples]:
        """The example files that plugins offer, by name: the first of each name."""
        return self._offered("examples", lambda own: partial(_add_named, own, Examples))

    @cached_property
    def starters(self) -> dict[str, Starter]:
        """The recipes to begin with that plugins offer, by name: the first of each name."""
        return self._offered("starters", lambda own: partial(_add_named, own, Starter))

    def _offered(self, what: str, registering: Callable[[dict[str, Any]], Callable[..., None]]) -> dict[str, Any]:
        """Return what plugins offer besides classes, by name.

        A plugin that fails to offer its own is listed in `broken`, and keeps no other from it.

        Args:
            what: the hook without its `register_`.
            registering: returns the function that the hook calls, which adds to the given table.
        """
        found: dict[str, Any] = {}
        for plugin in self.manager.get_plugins():
            own: dict[str, Any] = {}
            try:
                self._call_registration_hook(f"register_{what}", plugin, registering(own))
            except Exception as error:  # importing what makes them runs arbitrary code
                who = self.manager.get_name(plugin) or ""
                self.broken[f"{what} of {who}"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            found = own | found
        return dict(sorted(found.items()))

    def _add_entry(self, entry: Registered) -> None:
        key = (entry.kind, entry.name)
        if (first := self.entries.get(key)) and first.cls is not entry.cls:
            self.others.setdefault(key, []).append(entry)
        else:
            self.entries[key] = entry

    def candidates(self, kind: str | None = None, name: str | None = None) -> list[Registered]:
        """Return all plugins, of a kind, or of a kind and name, which may be several of different packages."""
        return [
            each
            for key, entry in self.entries.items()
            if kind in (None, key[0]) and name in (None, key[1])
            for each in (entry, *self.others.get(key, ()))
        ]

    def names(self, kind: str) -> list[str]:
        """Return the names that recipes can use for a kind, sorted: `package:name` where two packages have the name."""
        return sorted(
            {
                f"{entry.package}:{entry.name}" if (kind, entry.name) in self.others else entry.name
                for entry in self.candidates(kind)
            }
        )

    def find(self, kind: str, name: str) -> Registered:
        """Return the plugin of a kind and name; `package:name` says of which package.

        Raises:
            PluginError: there is no such plugin, two packages have registered one, or its class cannot be used.
        """
        singular = KINDS[kind].singular
        package, colon, short = name.rpartition(":")
        found = [each for each in self.candidates(kind, short) if not colon or each.package == package]
        if len(found) == 1:
            _check_usable(found[0])
            return found[0]
        packages = {each.package: each.version for each in found}
        if len(packages) > 1:
            choice = " or ".join(f'"{each}:{short}"' for each in packages)
            by = " and by ".join(packages)
            remove = "leave out one file" if OF_FILE in packages.values() else "uninstall one"
            raise PluginError(f"{singular} '{name}' is registered by {by}; {remove}, or write {choice}")
        if found:
            raise PluginError(f"{found[0].package} registers {len(found)} classes as {singular} '{short}'")
        raise PluginError(f"no {singular} '{name}'. {self.hint(name, self.names(kind))}")

    def absent_files(self, plugins: Mapping[str, str]) -> list[str]:
        """Return the plugin files that a run or a model was made with and that are not there.

        Args:
            plugins: packages and versions, as `env.json` and the config of a model have them.
        """
        here = {each.package for each in self.candidates()}
        return [package for package, version in plugins.items() if version == OF_FILE and package not in here]

    @property
    def not_loaded(self) -> str:
        """A sentence, behind a space, on the plugins that failed to load, for messages; empty where there are none."""
        return f" Not loaded: {listed(f'{who}: {why}' for who, why in self.broken.items())}." if self.broken else ""

    def hint(self, name: str, known: Iterable[str]) -> str:
        """Return what an unknown plugin may have been meant to be, and why it may not be here.

        Args:
            known: the names that could have been written.
        """
        package = name.rpartition(":")[0]
        if package and (why := next((why for who, why in self.broken.items() if f" ({package} " in who), "")):
            return f"Package '{package}' is installed, and could not be loaded: {why}"
        hint = f"{did_you_mean(name, known)}{self.not_loaded}"
        if package and package not in {each.package for each in self.candidates()}:
            return f"{hint} Package '{package}' is not installed, or has no plugins"
        return f"{hint} Or its package is not installed (transgan plugins lists what is, pip install adds others)"

    def get(self, kind: str, name: str) -> type[Any]:
        """Return the class of the plugin that `find` finds.

        Raises:
            PluginError: see `find`.
        """
        return self.find(kind, name).cls

    def import_generator(self, path: Path) -> Any:
        """Ask the plugins to read a generator that another program has saved; None where none of them knows the file.

        A plugin that fails does not keep the others from reading it.

        Raises:
            PluginRuntimeError: no plugin knows it, and one has failed.
        """
        failure: PluginRuntimeError | None = None
        for plugin in self.manager.get_plugins():
            others = [each for each in self.manager.get_plugins() if each is not plugin]
            try:
                if found := self.manager.subset_hook_caller("import_generator", others)(path=path):
                    return found
            except TransganError:
                raise
            except Exception as error:
                name = self.manager.get_name(plugin) or ""
                who = self.packages.get(name) or name
                why = f"{type(error).__name__}: {' '.join(str(error).split())}"
                failure = PluginRuntimeError(f"{path}: the hook import_generator of {who} failed: {why}")
                failure.__cause__ = error
        if failure:
            raise failure
        return None


def _names_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that have to be given to a function."""
    return [each.name for each in signature(function).parameters.values() if each.default is each.empty]


def _add_command(own: dict[str, Any], name: str, app: Any) -> None:
    """Add a group of commands; raise TypeError where it is none."""
    from typer import Typer

    if not isinstance(app, Typer):
        raise TypeError(f"{name!r}: found {app!r}, expected a typer.Typer")
    own[name] = app


def _add_named(own: dict[str, Any], cls: type[Any], offered: Any) -> None:
    """Add what a plugin offers under its own name; raise TypeError where it is of another class."""
    if not isinstance(offered, cls):
        raise TypeError(f"found {offered!r}, expected transgan.api.{cls.__name__}")
    own[offered.name] = offered


def _check_version(plugin: object) -> None:
    """Raise PluginError where a plugin is made for another version of `transgan.api` than this one."""
    wanted = getattr(plugin, "requires_api", VERSION)
    if wanted != VERSION:
        if not isinstance(wanted, int):
            raise PluginError(f"requires_api = {wanted!r}; expected a whole number, such as {VERSION}")
        newer = wanted > VERSION
        remedy = "a newer transgan: pip install -U transgan" if newer else "a newer version of the plugin"
        raise PluginError(f"made for version {wanted} of transgan.api, and this is version {VERSION}; install {remedy}")


def _check_class(kind: PluginKind, name: str, cls: type[Any]) -> None:
    """Raise TypeError where a class is no plugin of this kind, or has an option named like a key of its slot."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"register({name!r}, ...): found {type(name).__name__}, expected a name: register(name, cls)")
    if not (isinstance(cls, type) and issubclass(cls, kind.base)):
        raise TypeError(f"{kind.singular} {name!r} is not a subclass of transgan.api.{kind.base.__name__}")
    if not (isinstance(cls.Options, type) and issubclass(cls.Options, Options)):
        options = getattr(cls.Options, "__qualname__", repr(cls.Options))
        what = f"the options of {kind.singular} {name!r}, {options}, are no subclass of"
        raise TypeError(f"{what} transgan.api.Options: class NAME(Options), then {kind.base.__name__}[NAME]")
    direction = getattr(cls, "direction", None)
    if isinstance(direction, Mapping) and (wrong := set(direction.values()) - {"lower", "higher"}):
        raise TypeError(f"{kind.singular} {name!r}: direction {min(wrong, key=str)!r}; expected 'lower' or 'higher'")
    keys = SLOTS.get(kind.name, Slot).model_fields.keys() - {"options"}
    if taken := sorted(keys & cls.Options.model_fields.keys()):
        raise TypeError(f"{cls.Options.__qualname__}: recipes have a key '{taken[0]}' beside the options; rename it")
    if kind.name == "hooks":
        for own in (each for each in vars(cls) if not each.startswith("_") and each not in protocols.MOMENTS):
            if callable(vars(cls)[own]) and (close := closest(own, protocols.MOMENTS)):
                raise TypeError(f"hooks {name!r}: no run calls '{own}'. Did you mean '{close}'?")


def _check_usable(entry: Registered) -> None:
    """Raise PluginError where a class would fail in every run: before it is used, since others may not need it."""
    kind = KINDS[entry.kind]
    for wrong in wrong_methods(entry.cls, kind.base, kind.needs):
        raise PluginError(f"{entry}: {wrong}")
    if default := _wrong_default(entry.cls.Options):
        raise PluginError(f"{entry}: {default}")


def _wrong_default(options: type[BaseModel]) -> str | None:
    """Return what is wrong with a default, of which the recipe says nothing; None where each can be what it is."""
    try:
        options.model_validate({})
    except ValidationError as error:
        for found in error.errors(include_url=False):
            if found["loc"] and found["type"] not in ("missing", "value_error", "assertion_error"):
                field = ".".join(map(str, found["loc"]))
                schema = json_schema(options)
                wanted = expected(schema, subschema(schema, schema, found["loc"][0]))
                return f"the default of option '{field}' is {found['input']!r}, expected {wanted}"
    for name, default in vars(options.model_construct()).items():
        if default is not None and (wrong := next(foreign_values(default, name), "")):
            return f"the default of option {wrong}: a run writes it into its recipe and reads it back"
    return None
