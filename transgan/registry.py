"""Discovery and registration of plugins. A plugin that fails to load is reported, and disables nothing else."""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pluggy import PluginManager

from transgan.api import hooks, protocols, samples
from transgan.api.options import Options
from transgan.api.weights import WeightFile
from transgan.errors import PluginError, did_you_mean
from transgan.recipe.slots import SLOTS, Slot


@dataclass(frozen=True)
class PluginKind:
    """A kind of plugin: what a class can be registered as."""

    name: str
    """In the plural, as in recipes and in `transgan plugins`."""
    singular: str
    """For messages."""
    base: type[Any]
    """The base class of every plugin of this kind."""

    @property
    def hook(self) -> str:
        """The name of the hook that registers plugins of this kind."""
        return f"register_{self.name}"


#: Every kind of plugin by its name, in the order in which `transgan plugins` lists them.
KINDS: dict[str, PluginKind] = {
    kind.name: kind
    for kind in (
        PluginKind("sources", "source", samples.Source),
        PluginKind("media", "media", samples.Media),
        PluginKind("conditionings", "conditioning", protocols.Conditioning),
        PluginKind("generators", "generator", protocols.Generator),
        PluginKind("discriminators", "discriminator", protocols.Discriminator),
        PluginKind("encoders", "encoder", protocols.Network),
        PluginKind("augmentations", "augmentation", protocols.Augmentation),
        PluginKind("nodes", "set of nodes", protocols.Nodes),
        PluginKind("losses", "loss", protocols.Loss),
        PluginKind("metrics", "metric", protocols.Metric),
        PluginKind("region_detectors", "region detector", samples.RegionDetector),
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


class Registry:
    """Every plugin class by kind and name, and the weight files that plugins can use.

    `Registry.installed()` has those of all installed packages; `add` adds a module.
    """

    def __init__(self) -> None:
        self.manager = PluginManager("transgan")
        self.manager.add_hookspecs(hooks)
        self.entries: dict[tuple[str, str], Registered] = {}
        self.weight_files: dict[str, WeightFile] = {}
        self.broken: dict[str, str] = {}
        """The error of each plugin module that failed to load, by entry point and package."""
        self.conflicts: dict[tuple[str, str], list[str]] = {}
        """The packages that have registered different classes under the same kind and name."""

    @classmethod
    def installed(cls) -> "Registry":
        """Return the plugins of every installed package with entry points in the group `transgan`."""
        registry = cls()
        for point in sorted(entry_points(group="transgan"), key=lambda point: point.name):
            registry._load(point)
        return registry

    def _load(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist else point.value
        version = point.dist.version if point.dist else "?"
        try:
            self.add(point.load(), f"{package}:{point.name}", package, version)
        except (Exception, SystemExit) as error:  # importing a plugin runs arbitrary code
            why = " ".join(str(error).split())
            self.broken[f"{point.name} ({package} {version})"] = f"{type(error).__name__}: {why}"

    def add(self, plugin: object, name: str, package: str = "", version: str = "") -> None:
        """Register everything that a module or object with hook implementations offers; where it fails, nothing.

        Args:
            plugin: the module or object.
            name: a unique name for it.
            package: the package that it belongs to.
            version: the version of that package.

        Raises:
            PluginError: it implements an unknown hook, or another weight file has the name of one of its own.
            TypeError: it registers something that is not a plugin class or not a weight file.
        """
        try:
            self.manager.register(plugin, name)
            self._check_hooks(plugin)
            entries = self._collect_entries(plugin, package, version)
            weight_files = self._collect_weight_files(plugin)
        except BaseException:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise
        for entry in entries:
            self._add_entry(entry)
        self.weight_files.update(weight_files)

    def _check_hooks(self, plugin: object) -> None:
        for caller in self.manager.get_hookcallers(plugin) or []:
            if not caller.has_spec():
                known = [name for name, each in vars(hooks).items() if hasattr(each, "transgan_spec")]
                raise PluginError(f"there is no hook '{caller.name}'. {did_you_mean(caller.name, known)}")

    def _call_registration_hook(self, hook: str, plugin: object, register: Any) -> None:
        """Call a registration hook of this plugin only."""
        others = [each for each in self.manager.get_plugins() if each is not plugin]
        self.manager.subset_hook_caller(hook, others)(register=register)

    def _collect_entries(self, plugin: object, package: str, version: str) -> list[Registered]:
        """Return the classes that a plugin registers."""
        entries: list[Registered] = []
        for kind in KINDS.values():

            def register(name: str, cls: type[Any], kind: PluginKind = kind) -> None:
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

    def _add_entry(self, entry: Registered) -> None:
        key = (entry.kind, entry.name)
        if (first := self.entries.get(key)) and first.cls is not entry.cls:
            self.conflicts.setdefault(key, [first.package]).append(entry.package)
        else:
            self.entries[key] = entry

    def names(self, kind: str) -> list[str]:
        """Return the names that are registered for a kind, sorted."""
        return sorted(name for each, name in self.entries if each == kind)

    def get(self, kind: str, name: str) -> type[Any]:
        """Return the class that is registered for a kind and name.

        Raises:
            PluginError: there is no such class, or two packages have registered one.
        """
        singular = KINDS[kind].singular
        if packages := self.conflicts.get((kind, name)):
            raise PluginError(f"{singular} '{name}' is registered by {' and by '.join(packages)}; uninstall one")
        if entry := self.entries.get((kind, name)):
            return entry.cls
        hint = did_you_mean(name, self.names(kind))
        if self.broken:
            hint += f" Not loaded: {'; '.join(f'{who}: {why}' for who, why in self.broken.items())}."
        raise PluginError(f"no {singular} '{name}'. {hint}")

    @cached_property
    def hook(self) -> Any:
        """The hooks of all plugins, to call: `registry.hook.run_finished(run=run, outcome="finished")`."""
        return self.manager.hook


def _check_class(kind: PluginKind, name: str, cls: type[Any]) -> None:
    """Raise TypeError where a class is no plugin of this kind, or has an option named like a key of its slot."""
    if not (isinstance(cls, type) and issubclass(cls, kind.base) and issubclass(cls.Options, Options)):
        raise TypeError(f"{kind.singular} {name!r} is not a subclass of transgan.api.{kind.base.__name__}")
    keys = SLOTS.get(kind.name, Slot).model_fields.keys() - {"options"}
    if taken := sorted(keys & cls.Options.model_fields.keys()):
        raise TypeError(f"{cls.Options.__qualname__}: recipes have a key '{taken[0]}' beside the options; rename it")
