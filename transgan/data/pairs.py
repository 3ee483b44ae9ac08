"""Known pairs among the samples of several domains: those of the same name."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from transgan.api.samples import Sample
from transgan.data.domain_data import DomainData
from transgan.data.splits import counted
from transgan.errors import DataError, PluginError
from transgan.plan.plan import Plan
from transgan.rng import stable_hash
from transgan.text import listed


def indices_of_pairs(first: Sequence[Sample], second: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return the places of samples that have the same key, which no other sample of their domain has."""
    places = []
    for side in (first, second):
        count = Counter(sample.key for sample in side)
        places.append({sample.key: i for i, sample in enumerate(side) if count[sample.key] == 1})
    return [(i, places[1][key]) for key, i in places[0].items() if key in places[1]]


class Pairs:
    """The pairs of paired tasks.

    Args:
        domains: the samples of each domain, which may become fewer.
        source: where they come from, for messages.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, DomainData], source: type):
        self.plan = plan
        self.domains = domains
        self.source = source

    def check(self) -> list[str]:
        """Return what is probably wrong with the pairs, a sentence each.

        Raises:
            DataError: a pair is incomplete, or there is none.
            PluginError: the source returns the partners in another order.
        """
        warnings: list[str] = []
        for name, task in self.plan.recipe.tasks.items():
            if task.paired is True:
                self._check_same(name, "", [self.domains[each].samples for each in task.domains])
            if task.paired in (True, "held_out"):
                self._check_same(name, "held-out ", [self.domains[each].evaluated for each in task.domains])
            if task.share_of_pairs is not None:
                warnings += self._check_some(name)
        return warnings

    def _check_some(self, task: str) -> list[str]:
        """Check that there are pairs of the domains whose pairs a task trains on; return warnings."""
        warnings: list[str] = []
        batch = max(stage.batch for stage in self.plan.stages)
        together = self.plan.paired_domains(task)
        if self.plan.terms and not together:
            warnings.append(
                f"[tasks.{task}] no loss uses its pairs; add one that does, such as losses.paired, or set "
                'paired = "held_out"'
            )
        for names in together:
            pairs = self.training(task, *names)
            if not pairs:
                examples = (f"'{self.domains[each].samples[0].key}' in {each}" for each in names)
                raise DataError(
                    f"[tasks.{task}] has no pairs: no training samples of {' and '.join(names)} have the same name, "
                    f"such as {', '.join(examples)}; remove paired, or rename the files of pairs"
                )
            if len(pairs) < batch:
                warnings.append(
                    f"[tasks.{task}] {counted(len(pairs), 'pair')} of {' and '.join(names)}, fewer than a batch of "
                    f"{batch}: every batch has each of them, some twice"
                )
        return warnings

    def training(self, task: str, first: str, second: str) -> list[tuple[int, int]]:
        """Return the indices of known pairs among the training samples of two domains.

        They are the share of the pairs that the task trains on: those whose keys have the smallest hashes.
        """
        share = self.plan.recipe.tasks[task].share_of_pairs or 1.0
        samples = self.domains[first].samples
        pairs = indices_of_pairs(samples, self.domains[second].samples)
        by_hash = sorted(pairs, key=lambda pair: stable_hash("pair", samples[pair[0]].key))
        return sorted(by_hash[: max(1, round(share * len(pairs)))])

    def held_out(self, first: str, second: str) -> list[tuple[int, int]]:
        """Return the indices of known pairs among the samples of two domains that metrics use."""
        return indices_of_pairs(self.domains[first].evaluated, self.domains[second].evaluated)

    def describe(self) -> Iterator[str]:
        """Yield how many pairs there are, for each task that is trained on some."""
        for task in self.plan.recipe.tasks:
            for first, second in self.plan.paired_domains(task):
                trained = len(self.training(task, first, second))
                known = len(indices_of_pairs(self.domains[first].samples, self.domains[second].samples))
                held_out = len(indices_of_pairs(self.domains[first].held_out, self.domains[second].held_out))
                of = f" of {known:,}" if known != trained else ""
                yield (
                    f"[tasks.{task}] {first} and {second}: {counted(trained, 'pair')}{of} for training beside unpaired "
                    f"samples, {held_out:,} held out"
                )

    def _check_same(self, task: str, which: str, sides: list[list[Sample]]) -> None:
        keys = [[sample.key for sample in side] for side in sides]
        names = [Counter(side) for side in keys]
        if lone := sorted({key for side in names for key in side if any(each[key] != side[key] for each in names)}):
            forms = Counter(unicodedata.normalize("NFC", key).casefold() for key in lone)
            alike = [key for key in lone if forms[unicodedata.normalize("NFC", key).casefold()] > 1]
            why = (
                f"; {len(alike)} of these names look alike and differ by Unicode form (NFC, NFD) or case alone: rename "
                "the files of one side"
                if alike
                else ""
            )
            raise DataError(
                f"[tasks.{task}] is paired, but {len(lone)} {which}samples have no partner of the same name: "
                f"{listed(lone, 5)}{why}"
            )
        if any(side != keys[0] for side in keys):
            source = f"{self.source.__module__}.{self.source.__qualname__}"
            raise PluginError(
                f"[tasks.{task}] is paired, but the source ({source}) returns its {which}samples in another order for "
                "each domain; pairs must have the same place"
            )
