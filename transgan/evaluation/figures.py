"""What a metric returns, checked: its figures, its warnings, and how it defines the figures."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transgan.api.protocols import Metric, Translation
from transgan.errors import PluginFault
from transgan.graph import error_context
from transgan.text import listed
from transgan.tree import described


def figures_of(metric: Metric, known: Collection[Translation]) -> dict[Translation, dict[str, float]]:
    """Return what a metric has computed, rounded to six digits.

    Raises:
        PluginFault: it is no table of numbers, or of another translation than those known.
    """
    computed = metric.compute()
    remedy = "return {translation: {'name': 1.0}}, of translations that update was given"
    if not isinstance(computed, Mapping) or not all(
        isinstance(key, Translation) and isinstance(each, Mapping) for key, each in computed.items()
    ):
        raise PluginFault(metric, f"compute returned no table of figures by translation; {remedy}")
    if others := [str(each) for each in computed if each not in known]:
        raise PluginFault(metric, f"compute returned figures of {listed(others)}, which this recipe lacks; {remedy}")
    result: dict[Translation, dict[str, float]] = {}
    for translation, figures in computed.items():
        result[translation] = {}
        for name, value in figures.items():
            checked = _checked(name)
            try:
                result[translation][checked] = float(f"{value:.6g}")
            except (TypeError, ValueError) as error:
                what = f"compute returned {described(value)} as the figure '{name}' of {translation}; return a number"
                raise PluginFault(metric, what) from error
    return result


def warnings_of(metric: Metric) -> Sequence[str]:
    """Return a metric's warnings; PluginFault where these are no list of texts."""
    warnings: Any = metric.warnings()
    if (
        not isinstance(warnings, Sequence)
        or isinstance(warnings, str)
        or not all(isinstance(each, str) for each in warnings)
    ):
        raise PluginFault(metric, f"warnings returned {warnings!r:.80}; return a list of texts, ['...']")
    return warnings


def protocol_of(metric: Metric) -> dict[str, str]:
    """Return a metric's definitions of its figures.

    Raises:
        PluginFault: it returns something else than texts by name. Errors of its own code are raised as they are.
    """
    with error_context("stating its protocol", metric):
        protocol = metric.protocol()
    if not isinstance(protocol, Mapping) or not all(isinstance(x, str) for pair in protocol.items() for x in pair):
        what = f"protocol returned {protocol!r:.80}; return {{'name': 'its definition, in words'}}"
        raise PluginFault(metric, what)
    return dict(protocol)


def _checked(name: Any) -> str:
    """Return the name of a figure; ValueError where it is none."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"found {name!r} as the name of a figure; expected a text")
    return name
