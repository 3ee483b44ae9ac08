"""The labels that a discriminator keeps, beside each kind of its inputs: see `transgan.plan.kept`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.graph import Key
from transgan.plan.kept import KEPT, kept_mask, kept_values
from transgan.plan.plan import DiscriminatorUse, Plan


def sides_of(use: DiscriminatorUse) -> tuple[str, str]:
    """Return the end of the translation whose samples are real to a discriminator, and the other end."""
    return ("source", "target") if use.real == "source" else ("target", "source")


class KeptLabels:
    """The condition `kept` of discriminators, (N, K); worked out for a plan once."""

    def __init__(self, plan: Plan):
        kept, every = kept_values(plan.recipe), [use for uses in plan.discriminators.values() for use in uses]
        self.sizes = [len(values) for values in kept.values()]
        self.masks = {
            (task, keep): torch.tensor(kept_mask(plan.recipe, keep, task))
            for task in plan.recipe.tasks
            for keep in {use.keep for use in every}
        }
        #: The end of the translation whose sample a node of fakes is made from.
        self.ends = {
            use.fake: "source" if {"source", "pair_source"} & {*plan.graph.closure([use.fake])} else "target"
            for use in every
        }

    def of(self, values: Mapping[Key, Any], translation: Translation, use: DiscriminatorUse, kind: str) -> Tensor:
        """Return the labels: of `real` samples their own, of a `fake` those of the sample that it is made from, of a
        `negative` others than its own."""
        side, other = sides_of(use)
        end = {"real": side, "fake": self.ends[use.fake], "negative": other}[kind]
        labels = self.masked(values[translation, f"{end}_attributes"][KEPT], use, translation.task)
        return self._others(labels) if kind == "negative" else labels

    def masked(self, labels: Tensor, use: DiscriminatorUse, task: str) -> Tensor:
        """Return labels (N, K) with 0 for what a discriminator does not keep in a task."""
        mask = self.masks[task, use.keep] = self.masks[task, use.keep].to(labels)
        return labels * mask

    def _others(self, labels: Tensor) -> Tensor:
        """Return the mean of all other values for each label, (N, K); 0 for one that is not known."""
        blocks = torch.split(labels, self.sizes, 1)
        others = [(1 - x) * x.amax(1, keepdim=True) for x in blocks]  # a sample may be in several domains of a task
        return torch.cat([x / x.sum(1, keepdim=True).clamp(min=1) for x in others], 1)
