"""Finds the plugins that are installed and keeps what they register. A broken one is named, and harms nothing else."""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pluggy import PluginManager

from transgan.api import hookspecs, protocols, samples
from transgan.api.options import Options
from transgan.api.weights import Weights
from transgan.errors import PluginError, did_you_mean
from transgan.recipe.slots import SLOTS

#: Kinds of plugin, in the order in which `transgan plugins` lists them, and the word for one of each.
KINDS = {
    "sources": "source",
    "media": "media",
    "conditionings": "conditioning",
    "generators": "generator",
    "discriminators": "discriminator",
    "encoders": "encoder",
    "augmentations": "augmentation",
    "nodes": "set of nodes",
    "losses": "loss",
    "metrics": "metric",
    "finders": "finder",
}

#: What a plugin of a kind has to be a subclass of.
BASES: dict[str, type[Any]] = {
    "sources": samples.Source,
    "media": samples.Media,
    "conditionings": protocols.Conditioning,
    "generators": protocols.Generator,
    "discriminators": protocols.Discriminator,
    "encoders": protocols.Network,
    "augmentations": protocols.Augmentation,
    "nodes": protocols.Nodes,
    "losses": protocols.Loss,
    "metrics": protocols.Metric,
    "finders": samples.Finder,
}


@dataclass(frozen=True)
class Registered:
    """A plugin class under its name, and the package that brought it."""

    kind: str
    name: str
    cls: type[Any]
    package: str
    version: str


def _words(kind: str) -> set[str]:
    """The recipe's own words in a slot of this kind, which no option may be called."""
    return set(SLOTS[kind].model_fields) - {"options"} if kind in SLOTS else set()


class Registry:
    """Every plugin by kind and name. `Registry.installed()` is the usual one; tests add modules of their own."""

    def __init__(self) -> None:
        self.manager = PluginManager("transgan")
        self.manager.add_hookspecs(hookspecs)
        self.entries: dict[tuple[str, str], Registered] = {}
        self.weights: dict[str, Weights] = {}
        self.broken: dict[str, str] = {}
        self.clashes: dict[tuple[str, str], list[str]] = {}

    @classmethod
    def installed(cls) -> "Registry":
        """The plugins of every installed package that has entry points in the group `transgan`."""
        registry = cls()
        for point in sorted(entry_points(group="transgan"), key=lambda point: point.name):
            registry._load(point)
        return registry

    def _load(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist else point.value
        version = point.dist.version if point.dist else "?"
        try:
            self.add(point.load(), f"{package}:{point.name}", package, version)
        except (Exception, SystemExit) as error:  # whatever a stranger's module does at import
            why = " ".join(str(error).split())
            self.broken[f"{point.name} ({package} {version})"] = f"{type(error).__name__}: {why}"

    def add(self, plugin: object, name: str, package: str = "", version: str = "") -> None:
        """Registers a module or object with hook implementations: all that it offers, or nothing.

        Raises:
            PluginError: a hook of it is misspelt, or asks for what there is not; other weights have a name of its own.
        """
        try:
            self.manager.register(plugin, name)
            self._check_hooks(plugin)
            offered = self._offered(plugin, package, version)
            weights = self._announced(plugin)
        except BaseException:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise
        for entry in offered:
            self._enter(entry)
        self.weights.update(weights)

    def _check_hooks(self, plugin: object) -> None:
        for caller in self.manager.get_hookcallers(plugin) or []:
            if not caller.has_spec():
                known = [name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), "transgan_spec")]
                raise PluginError(f"there is no hook '{caller.name}'. {did_you_mean(caller.name, known)}")

    def _offered(self, plugin: object, package: str, version: str) -> list[Registered]:
        """What a plugin registers."""
        offered: list[Registered] = []
        others = [each for each in self.manager.get_plugins() if each is not plugin]
        for kind, base in BASES.items():

            def register(name: str, cls: type[Any], kind: str = kind, base: type[Any] = base) -> None:
                if not (isinstance(cls, type) and issubclass(cls, base) and issubclass(cls.Options, Options)):
                    raise TypeError(f"{KINDS[kind]} {name!r} is not a subclass of transgan.api.{base.__name__}")
                if taken := sorted(_words(kind) & cls.Options.model_fields.keys()):
                    raise TypeError(
                        f"{cls.Options.__qualname__}: '{taken[0]}' belongs to the grammar of [{kind}]; rename it"
                    )
                offered.append(Registered(kind, name, cls, package, version))

            self.manager.subset_hook_caller(f"register_{kind}", others)(register=register)
        return offered

    def _announced(self, plugin: object) -> dict[str, Weights]:
        """The weights that a plugin announces, by name."""
        announced: dict[str, Weights] = {}

        def register(weights: Weights) -> None:
            if not isinstance(weights, Weights):
                raise TypeError(f"{weights!r} is no transgan.api.Weights")
            if {**self.weights, **announced}.get(weights.name, weights) != weights:
                raise PluginError(f"there are other weights called '{weights.name}' already")
            announced[weights.name] = weights

        others = [each for each in self.manager.get_plugins() if each is not plugin]
        self.manager.subset_hook_caller("register_weights", others)(register=register)
        return announced

    def _enter(self, entry: Registered) -> None:
        key = (entry.kind, entry.name)
        if (first := self.entries.get(key)) and first.cls is not entry.cls:
            self.clashes.setdefault(key, [first.package]).append(entry.package)
        else:
            self.entries[key] = entry

    def names(self, kind: str) -> list[str]:
        """What is registered of a kind, sorted."""
        return sorted(name for each, name in self.entries if each == kind)

    def get(self, kind: str, name: str) -> type[Any]:
        """The class of that name.

        Raises:
            PluginError: there is none (did you mean ...), or two packages claim the name.
        """
        if packages := self.clashes.get((kind, name)):
            raise PluginError(f"{KINDS[kind]} '{name}' is claimed by {' and by '.join(packages)}; uninstall one")
        if entry := self.entries.get((kind, name)):
            return entry.cls
        hint = did_you_mean(name, self.names(kind))
        if self.broken:
            hint += f" Not loaded: {'; '.join(f'{who}: {why}' for who, why in self.broken.items())}."
        raise PluginError(f"no {KINDS[kind]} '{name}'. {hint}")

    @cached_property
    def hook(self) -> Any:
        """The hooks, to call."""
        return self.manager.hook
