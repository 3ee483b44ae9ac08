"""Which parts of an item are translated: those that a finder finds, or the largest of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from transgan.api.samples import Finder, Part
from transgan.errors import DataError
from transgan.recipe.overrides import apply_overrides
from transgan.recipe.problems import Problems
from transgan.registry import Registry


@dataclass(frozen=True)
class Parts:
    """A finder, and which of the parts that it finds are meant. Make one with `named`."""

    name: str
    finder: Finder
    min_size: float | None = None
    """The least extent; the finder's own where left out."""
    only_largest: bool = False

    @classmethod
    def named(
        cls,
        name: str,
        options: Mapping[str, Any] | None = None,
        min_size: float | None = None,
        only_largest: bool = False,
        settings: Iterable[str] = (),
        registry: Registry | None = None,
    ) -> "Parts":
        """The parts that the finder of that name finds.

        Args:
            options: the finder's.
            settings: more of them, as the command line has them: `"score=0.9"`.

        Raises:
            PluginError: there is no such finder, or it lacks what it needs.
            RecipeError: an option is unknown or wrong.
        """
        made = (registry or Registry.installed()).get("finders", name)
        table, problems = dict(options or {}), Problems(f"the options of {name}")
        apply_overrides(table, settings, problems)
        checked = problems.validate(made.Options, table, ())
        problems.stop()
        return cls(name, made(checked), min_size, only_largest)

    def of(self, x: Any) -> list[Part]:
        """The parts of an item, the largest first.

        Raises:
            DataError: the item is none in which anything could be found.
        """
        if not isinstance(x, Tensor):
            raise DataError(f"{self.name} cannot be looked for in this kind of file")
        found = self.finder.find(x, self.finder.smallest if self.min_size is None else self.min_size)
        return found[:1] if self.only_largest else found
