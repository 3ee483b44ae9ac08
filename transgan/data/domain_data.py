"""The samples of one domain, or of one of its further inputs."""

from collections.abc import Collection
from typing import Any

import numpy as np

from transgan.api.samples import Media, Sample
from transgan.data.attributes import EncodedLabels, encode_labels
from transgan.data.cache import DecodedCache
from transgan.options import Options, Size
from transgan.plan.plan import Plan


class DomainData:
    """One domain, or a further input of one: its samples and, at each size, the cache of what they decode to."""

    def __init__(
        self,
        name: str,
        samples: list[Sample],
        held_out: list[Sample],
        plan: Plan,
        synthesized: dict[tuple[str, Size], dict[Any, np.ndarray]],
    ):
        self.name = name
        media = {**plan.media, **plan.input_media}
        self.media_of = next(other for other, each in media.items() if each == media[name])
        """The first domain with the same media; they share media objects and synthesized samples."""
        self.synthesized = synthesized
        self.samples = samples
        self.held_out = held_out
        self.plan = plan
        self.cached = {False: samples, True: held_out}
        """The samples that caches hold, by whether they are held out: also those that are excluded."""
        self.rows = {held: np.arange(len(each)) for held, each in self.cached.items()}
        """The place of each sample among those."""
        self.caches: dict[tuple[bool, Size], DecodedCache] = {}
        self.labels: EncodedLabels = encode_labels(plan.recipe.attributes, samples, name)
        encode_labels(plan.recipe.attributes, held_out, name)  # errors are reported now, not at the first evaluation

    def cache(self, held_out: bool, media: Media[Options]) -> DecodedCache:
        """Return the cache of decoded samples at the media's size."""
        key = (held_out, media.size)
        if key not in self.caches:
            synthesized = self.synthesized[self.media_of, media.size]
            self.caches[key] = DecodedCache(self.cached[held_out], media, self.plan.recipe.data.cache, synthesized)
        return self.caches[key]

    def decoded(
        self, held_out: bool, media: Media[Options], indices: np.ndarray | range
    ) -> np.ndarray | list[np.ndarray]:
        """Return samples as the media has decoded them, by their indices."""
        return self.cache(held_out, media).get(self.rows[held_out][np.asarray(indices)])

    def exclude(self, held_out: bool, keys: Collection[str]) -> int:
        """Remove samples for all uses, with their labels; return how many."""
        samples = self.held_out if held_out else self.samples
        kept = np.array([sample.key not in keys for sample in samples], dtype=bool)
        remaining = [sample for sample, keep in zip(samples, kept, strict=True) if keep]
        self.rows[held_out] = self.rows[held_out][kept]
        if held_out:
            self.held_out = remaining
        else:
            self.samples = remaining
            self.labels = {name: rows[kept] for name, rows in self.labels.items()}
        return len(samples) - len(remaining)

    @property
    def evaluated(self) -> list[Sample]:
        """The samples that metrics use: those held out, or all where none are."""
        return self.held_out or self.samples
