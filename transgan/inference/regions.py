"""Which regions of an item are translated: those that a detector finds, or the largest of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from transgan.api.samples import Media, Region, RegionDetector
from transgan.errors import DataError
from transgan.options import Options
from transgan.plugin_objects import make
from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import apply_overrides
from transgan.registry import Registry


@dataclass(frozen=True)
class RegionSelection:
    """A region detector, and which of the regions that it detects are translated. Create one with `named`."""

    name: str
    detector: RegionDetector[Options]
    min_extent: float | None = None
    """The smallest extent; defaults to the detector's own."""
    only_largest: bool = False
    of_sequence: bool = False
    """Whether the items are those of one sequence, in order: then all of them are given to the detector's `paste`."""

    @classmethod
    def named(
        cls,
        name: str,
        options: Mapping[str, Any] | None = None,
        min_extent: float | None = None,
        only_largest: bool = False,
        settings: Iterable[str] = (),
        registry: Registry | None = None,
    ) -> "RegionSelection":
        """Return a selection by the detector of that name.

        Args:
            options: the detector's.
            settings: more of them, as on the command line: `"score=0.9"`.

        Raises:
            PluginError: there is no such detector, or a package or file that it needs is missing.
            RecipeError: an option is unknown or invalid.
        """
        detector = (registry or Registry.installed()).get("region_detectors", name)
        table, problems = dict(options or {}), Problems(f"the options of {name}", argument="options")
        apply_overrides(table, settings, problems)
        checked = problems.validate(detector.Options, table, ())
        problems.stop()
        return cls(name, make(detector, checked), min_extent, only_largest)

    def for_sequence(self) -> "RegionSelection":
        """Return a selection for the items of one sequence, in order."""
        return replace(self, detector=self.detector.tracker(), of_sequence=True)

    def tensor_of(self, x: Any, media: Media[Options]) -> Tensor:
        """Return an item of a media as (C, *space) in [-1, 1], or as levels where media and detector have them.

        Raises:
            DataError: regions cannot be cut out of this kind of item.
        """
        tensor = media.as_levels(x) if self.detector.takes_levels else None
        tensor = media.as_tensor(x) if tensor is None else tensor
        if tensor is None:
            raise DataError(f"{self.name} cannot be detected in this kind of file")
        return tensor.cpu()

    def of(self, x: Tensor) -> list[Region]:
        """Return the regions of an item (C, *space), the largest first."""
        found = self.detector.detect(x, self.detector.min_extent if self.min_extent is None else self.min_extent)
        return found[:1] if self.only_largest else found
