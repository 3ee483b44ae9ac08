"""The labels of samples that translations keep, as the vectors that discriminators get: see `transgan.plan.kept`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transgan.api.samples import Sample
from transgan.data.attributes import is_value
from transgan.plan.kept import kept_values
from transgan.recipe.schema import Recipe


def encode_kept(
    recipe: Recipe, samples: Sequence[Sample], members: Mapping[str, Sequence[Sample]]
) -> np.ndarray | None:
    """Return the kept labels of samples, one-hot vectors side by side, (N, K); None where none are kept.

    Args:
        members: every domain's samples. A sample has a task's label if its file is among those of one of its domains.
    """
    kept = kept_values(recipe)
    if not kept:
        return None
    columns = []
    for name, values in kept.items():
        if name in recipe.attributes:
            columns += [[is_value(sample.attributes.get(name), value) for sample in samples] for value in values]
        else:
            places = [_locations(members[domain]) for domain in values]
            columns += [[_location(sample) in each for sample in samples] for each in places]
    return np.array(columns, np.float32).T


def _locations(samples: Sequence[Sample]) -> set[Any]:
    return {_location(sample) for sample in samples}


def _location(sample: Sample) -> Any:
    """Return what tells one file from another: keys are unique in their own domain only."""
    try:
        hash(sample.location)
    except TypeError:
        return repr(sample.location)
    return sample.location
