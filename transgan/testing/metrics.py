"""Checks of metrics."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transgan.api.names import METRIC_ARGUMENTS
from transgan.api.protocols import Translation
from transgan.graph import used_arguments
from transgan.testing.checker import Fault
from transgan.testing.domains import domains_of
from transgan.testing.naming import NamingChecker
from transgan.testing.values import (
    Batch,
    differ,
    rows,
    sample,
    tensors_of,
    translation_of,
)
from transgan.text import listed


class MetricChecker(NamingChecker):
    first_use = "figures"
    further = tuple(METRIC_ARGUMENTS)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        return [self.plugin.update]

    def _methods(self, plugin: Any) -> list[Callable[..., Any]]:
        return [plugin.update]

    def arguments(self, plugin: Any) -> list[str]:
        if not hasattr(plugin, "update"):
            raise Fault("it has no method update; define update(self, translation, fake, ...)")
        return list(used_arguments(plugin, plugin.update))

    def works(self, options: Any) -> None:
        metric = self.build(options)
        self.figures(metric, [self.batch(metric)])

    def batch(self, plugin: Any = None, seed: int = 1) -> Batch:
        """Return a batch, in which there is a reference if it is asked for."""
        found = super().batch(plugin, seed)
        return found | {"reference": sample(self.spec)} if found.get("reference", 0) is None else found

    def build(self, options: Any = None) -> Any:
        metric = super().build(options)
        domains = domains_of(self.spec)
        metric.prepare(domains, {self.spec.tasks[0]: self.spec.domains}, 0)
        return metric

    def figures(self, metric: Any, batches: list[Batch]) -> dict[Translation, dict[str, float]]:
        metric.reset()
        for each in batches:
            metric.update(**{name: each[name] for name in used_arguments(metric, metric.update)})
        found: dict[Translation, dict[str, float]] = metric.compute()
        return found

    def check_figures(self) -> Iterator[str]:
        """Figures are finite numbers of the translations that were measured."""
        batch = self.batch()
        kept = copy.deepcopy({n: v for n, v in batch.items() if tensors_of(v)})
        found = self.figures(self.plugin, [batch])
        if not isinstance(found, dict) or not all(isinstance(each, Translation) for each in found):
            raise Fault("compute returns no table by translation; return {translation: {'name': 1.0}}")
        if found and set(found) != {translation_of(self.spec)}:
            yield f"compute returns figures for {listed(map(str, found))}, which were not measured"
        for name, value in (pair for each in found.values() for pair in each.items()):
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                yield f"figure '{name}' is {type(value).__name__}, expected a number; write float(...)"
            elif not math.isfinite(value):
                yield f"figure '{name}' is {value} for random samples; omit it and say why in warnings()"
        if not found and not list(self.plugin.warnings()):
            yield "it returns no figures for random samples and warnings() does not say why"
        for name, before in kept.items():
            if differ(before, batch[name], 0.0):
                yield f"update changes '{name}' in place, which other metrics get too; work on a copy"

    def check_direction(self) -> Iterator[str]:
        """`direction` says which figures are better, so that the best weights can be kept by them."""
        names = {name for each in self.figures(self.plugin, [self.batch()]).values() for name in each}
        if names and not any(name.startswith(known) for name in names for known in self.plugin.direction):
            first = min(names)
            yield f"direction says of no figure which is better; write direction = {{'{first}': 'lower'}} or 'higher'"
        for name, way in self.plugin.direction.items():
            if way not in ("lower", "higher"):
                yield f"direction of '{name}' is {way!r}, expected 'lower' or 'higher'"

    def check_batches(self) -> Iterator[str]:
        """The batch size of evaluations changes no figure."""
        batch = self.batch()
        whole = self.figures(self.plugin, [batch])
        parts = self.figures(self.plugin, [rows(batch, [0]), rows(batch, [1, 2, 3])])
        yield from self._differing(whole, parts, "they depend on the batch size; weight by the number of samples")

    def check_reset(self) -> Iterator[str]:
        """`reset` forgets all updates, and `compute` only reads."""
        batch, other = self.batch(), self.batch(seed=5)
        first = self.figures(self.plugin, [batch])
        yield from self._differing(first, self.plugin.compute(), "compute changes them; let it only read")
        self.figures(self.plugin, [other])
        again = self.figures(self.plugin, [batch])
        yield from self._differing(first, again, "reset does not forget earlier updates")

    def check_translations(self) -> Iterator[str]:
        """Figures of one translation do not depend on those of another."""
        batch, other = self.batch(), self.batch(seed=5)
        if "translation" not in batch:
            raise Fault("update does not ask for 'translation', by which compute returns figures; add the argument")
        alone = self.figures(self.plugin, [batch])
        both = self.figures(self.plugin, [batch, {**other, "translation": batch["translation"].back}])
        one = translation_of(self.spec)
        yield from self._differing(
            alone, {one: both.get(one, {})}, "they depend on other translations; keep them apart"
        )

    def _differing(self, one: Mapping[Translation, Any], two: Mapping[Translation, Any], why: str) -> Iterator[str]:
        for translation, figures in one.items():
            for name, value in figures.items():
                again = two.get(translation, {}).get(name, math.nan)
                if not math.isclose(value, again, rel_tol=1e-3, abs_tol=1e-5):
                    yield f"figure '{name}' is {value:.5g}, and {again:.5g} of the same samples: {why}"
