"""Files that hold sequences of items: which container reads and writes a file for a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transgan.api.samples import Container
from transgan.options import Options
from transgan.plan import Direction, Plan
from transgan.plugin_objects import make
from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import apply_overrides
from transgan.registry import Registry


@dataclass(frozen=True)
class Containers:
    """The containers whose items a model translates, by name. Create them with `of_model`."""

    by_name: Mapping[str, Container[Options]]

    @classmethod
    def of_model(
        cls, plan: Plan, direction: Direction, settings: Iterable[str] = (), registry: Registry | None = None
    ) -> "Containers":
        """Return the containers of the media of a direction's domains; none where these are two media.

        Args:
            settings: options, as on the command line: `"NAME.KEY=VALUE"`, where NAME is a container.

        Raises:
            RecipeError: an option is unknown or invalid.
        """
        registry = registry or Registry.installed()
        translation, settings = direction.translation, list(settings)
        source, target = (plan.media[name] for name in (translation.source, translation.target))
        found: dict[str, Container[Options]] = {}
        for name in registry.names("containers"):
            container = registry.get("containers", name)
            table: dict[str, Any] = {name: {}}
            problems = Problems(f"the options of the container '{name}'")
            apply_overrides(table, [each for each in settings if is_setting(each, [name])], problems)
            options: Any = problems.validate(container.Options, table[name], (name,))
            problems.stop()
            if source.cls is target.cls and source.use.rpartition(":")[2] in container.media:
                found[name] = make(container, options)
        return cls(found)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of the files of all of them."""
        return tuple(dict.fromkeys(suffix for each in self.by_name.values() for suffix in each.suffixes))

    @property
    def folder_suffixes(self) -> tuple[str, ...]:
        """The suffixes of folders that are one sequence."""
        return tuple(dict.fromkeys(suffix for each in self.by_name.values() for suffix in each.folder_suffixes))

    def of_path(self, path: Path) -> Container[Options] | None:
        """Return the container of a file, or of a folder that is one sequence; None where there is none."""
        suffix, is_folder = path.suffix.lower(), path.is_dir()
        for each in self.by_name.values():
            if suffix in (each.folder_suffixes if is_folder else each.suffixes) and (is_folder or each.holds(path)):
                return each
        return None


def is_setting(text: str, names: Iterable[str]) -> bool:
    """Return whether a setting, as on the command line, is of a container of one of these names."""
    return text.partition(".")[0].strip() in names and "." in text.partition("=")[0]
