"""Labels with categories: samples that are drawn so that a domain's values are equally likely, and domains that differ.

A label has categories where its values are strings, booleans or flags; other numbers and ranges of them have none.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from transgan.api.labels import NumericRange
from transgan.api.samples import Sample
from transgan.data.attributes import as_value
from transgan.data.splits import counted
from transgan.errors import DataError, UsageError, did_you_mean
from transgan.plan.kept import changes
from transgan.plan.plan import Plan
from transgan.recipe.schema.data import RESERVED
from transgan.rng import stable_hash
from transgan.text import listed

#: Numbers that stand for no and yes, as in CelebA's lists.
FLAGS = ({0, 1}, {-1, 1})
#: The fit ends where every value's share is that near to the wanted one, relative to it; and after that many rounds.
TOLERANCE, MAX_ROUNDS = 1e-3, 2000
#: A sample that is drawn more often than that in an epoch is reported.
MAX_REPEATS = 10
#: A value's shares in two domains are reported where they differ by more than this, and by that many standard errors.
LARGE, SIGNIFICANT = 0.1, 3.0


def is_categorical(values: Iterable[Any]) -> bool:
    """Return whether a label with these values has categories."""
    different = set(values)
    words = all(isinstance(v, (str, bool)) and not isinstance(v, NumericRange) for v in different)
    return words or any(different <= flags for flags in FLAGS)


@dataclass(frozen=True, eq=False)
class Balance:
    """How often each of a domain's N samples is drawn, so that every value of each label is equally likely."""

    cells: np.ndarray
    """(N,) the number of each sample's combination of values."""
    weights: np.ndarray
    """(N,) the probability of each sample; their sum is 1."""

    @classmethod
    def of(cls, domain: str, samples: Sequence[Sample], labels: Sequence[str]) -> "Balance":
        """Return the balance of a domain, by iterative proportional fitting (Deming and Stephan, 1940).

        Of all weights with uniform marginals these are nearest to equal ones, by Kullback-Leibler divergence. Labels
        are not crossed: combinations of values keep their association.

        Args:
            labels: the names of labels that all samples have.

        Raises:
            DataError: some combinations of values have no sample, so that no weights have uniform marginals.
        """
        columns = []
        for label in labels:
            number = {value: i for i, value in enumerate(sorted({s.attributes[label] for s in samples}, key=str))}
            columns.append([number[s.attributes[label]] for s in samples])
        values, cells, counts = np.unique(np.array(columns).T, axis=0, return_inverse=True, return_counts=True)
        cells, shares = cells.reshape(-1), counts / len(samples)
        for _ in range(MAX_ROUNDS):
            error = 0.0
            for column in values.T:
                marginal = np.bincount(column, shares) * (column.max() + 1)
                error = max(error, float(np.abs(marginal - 1).max()))
                shares = shares / marginal[column]
            if error < TOLERANCE:
                return cls(cells, (shares / counts / shares.sum())[cells])
        raise DataError(
            f"[data] balance: the values of {' and '.join(labels)} cannot all be equally likely in domain '{domain}', "
            "since too many combinations of them have no sample; balance fewer labels"
        )

    def order(self, *key: object) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of an epoch's N samples, (N,), and how often each occurred in the epoch before, (N,).

        An epoch is a systematic sample rather than N independent ones: a sample of weight w occurs N w times, rounded
        down or up, and a combination of values as often as its weight says, to one sample. So values are equally
        frequent in every epoch, and where the weights are equal each sample occurs once, as without balance.
        """
        count = len(self.weights)
        rng = np.random.Generator(np.random.Philox(key=stable_hash(*key)))
        mixed = rng.permutation(count)
        rows = mixed[np.argsort(self.cells[mixed], kind="stable")]
        ends = np.cumsum(self.weights[rows]) * count
        picked = rows[np.minimum(np.searchsorted(ends, np.arange(count) + rng.random(), side="right"), count - 1)]
        places = np.arange(count)  # the same samples stand side by side
        first = np.maximum.accumulate(np.where(np.diff(picked, prepend=-1) != 0, places, 0))
        order = rng.permutation(count)
        return picked[order], (places - first)[order]


def balances(plan: Plan, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Balance]:
    """Return the balance of each domain that `data.balance` applies to: pairs are trained on as they are.

    Args:
        samples: the training samples of each domain.

    Raises:
        UsageError: there is no such label, or it has no categories.
        DataError: samples have no such label, or the labels cannot be balanced together.
    """
    labels = list(dict.fromkeys(plan.recipe.data.balance))
    if not labels:
        return {}
    names = [name for task in plan.recipe.tasks.values() if task.paired is not True for name in task.domains]
    names = list(dict.fromkeys(names))
    values: dict[str, set[Any]] = defaultdict(set)
    for name in names:
        for sample in samples[name]:
            for label, value in sample.attributes.items():
                values[label].add(value)
    categorical = [label for label, each in values.items() if is_categorical(each)]
    for label in labels if names else ():
        if label not in values:
            hint = did_you_mean(label, categorical) if categorical else "The samples have no labels with categories."
            raise UsageError(f"[data] balance: there is no label '{label}'. {hint}")
        if label not in categorical:
            raise UsageError(
                f"[data] balance: '{label}' is a number; only labels with categories can be balanced: "
                f"{listed(sorted(categorical))}"
            )
        for name in names:
            if without := [sample.key for sample in samples[name] if label not in sample.attributes]:
                raise DataError(
                    f"[data] balance: {len(without)} of the {len(samples[name])} samples of domain '{name}' have no "
                    f"label '{label}', such as {without[0]}; label them, or select others"
                )
    return {name: Balance.of(name, samples[name], labels) for name in names}


def balance_warnings(
    plan: Plan, samples: Mapping[str, Sequence[Sample]], held_out: Mapping[str, Sequence[Sample]]
) -> Iterator[str]:
    """Yield what is probably wrong with the labels of a plan's training samples, a sentence each.

    Args:
        samples, held_out: those of each domain. What is held out must have the labels of networks too.

    Raises:
        UsageError, DataError: see `balances`.
    """
    labels = list(dict.fromkeys(plan.recipe.data.balance))
    found = balances(plan, samples)
    if labels and not found:
        yield "[data] balance has no effect, since every task is trained on pairs"
    for name, each in found.items():
        most = int(each.weights.argmax())
        times = float(each.weights[most]) * len(each.weights)
        if times > MAX_REPEATS:
            attributes = samples[name][most].attributes
            of = " and ".join(f"{label} = {attributes[label]}" for label in labels)
            count = int((each.cells == each.cells[most]).sum())
            yield (
                f"[data] balance: domain {name} has {counted(count, 'sample')} of {len(each.weights):,} with {of}; "
                f"each is drawn about {times:.0f} times in an epoch"
            )
    yield from _differences(plan, samples, held_out, found)


def _differences(
    plan: Plan,
    samples: Mapping[str, Sequence[Sample]],
    held_out: Mapping[str, Sequence[Sample]],
    balanced: Mapping[str, Balance],
) -> Iterator[str]:
    """Yield in which labels, that do not define them, the domains of a task differ as they are drawn."""
    recipe = plan.recipe
    for name, task in recipe.tasks.items():
        uses = (plan.discriminators[each] for each in plan.translations if each.task == name)
        slots = {use.name: recipe.discriminators[use.name].keep for each in uses for use in each}
        if task.paired is True or not slots:
            continue
        labels = sorted(set[str]().union(*(s.attributes for each in task.domains for s in samples[each])))
        for label in labels:
            unkept = {slot: keep for slot, keep in slots.items() if not _keeps(plan, keep, label)}
            if unkept and not changes(recipe, name, label):
                shares = [_shares(samples[each], label, balanced.get(each)) for each in task.domains]
                if all([*a.of] == [recipe.domains[each]] for each, a in zip(task.domains, shares, strict=True)):
                    continue  # a source that selects by the label's value
                if found := _difference(shares):
                    pair = [shares[found.first], shares[found.second]]
                    first, second = task.domains[found.first], task.domains[found.second]
                    also = f", and {counted(found.more, 'other pair')} of domains" if found.more else ""
                    numbers = " and ".join(f"{each.of.get(found.value, 0.0):.0%}" for each in pair)
                    slot, keep = next(iter(unkept.items()))
                    everything = [s.attributes.get(label) for of in (samples, held_out) for x in of.values() for s in x]
                    yield (
                        f"[tasks.{name}] {first} and {second}{also} differ in {label}: {found.value} {numbers}. "
                        f"{_remedy(plan, label, pair, everything, slot, keep)}"
                    )


def _keeps(plan: Plan, keep: Sequence[str], label: str) -> bool:
    """Return whether a discriminator keeps a label, or a task that changes it."""
    return any(each == label or (each in plan.recipe.tasks and changes(plan.recipe, each, label)) for each in keep)


@dataclass(frozen=True)
class _Shares:
    """The shares of a label's values in a domain."""

    of: Mapping[Any, float]
    count: int
    """The number of samples that have the label."""


def _shares(samples: Sequence[Sample], label: str, balance: Balance | None) -> _Shares:
    totals: dict[Any, float] = defaultdict(float)
    count = 0
    for sample, weight in zip(samples, balance.weights.tolist() if balance else repeat(1.0), strict=False):
        if (value := sample.attributes.get(label)) is not None:
            totals[value] += weight
            count += 1
    whole = sum(totals.values())
    return _Shares({value: total / whole for value, total in totals.items()}, count)


@dataclass(frozen=True)
class _Difference:
    """The largest difference between the shares of a value in two domains, which are given by their indices."""

    value: Any
    first: int
    second: int
    more: int
    """Number of other pairs of domains that differ."""


def _difference(shares: Sequence[_Shares]) -> _Difference | None:
    """Return where the shares of a label's values in D domains differ most; None where they do not differ much.

    A difference counts where it is large, and significant in the test of two proportions with a pooled variance.
    """
    values = set().union(*(each.of for each in shares))
    if not is_categorical(values):
        return None
    frequent = sorted((v for v in values if any(each.of.get(v, 0.0) > LARGE for each in shares)), key=str)
    p = np.array([[each.of.get(value, 0.0) for each in shares] for value in frequent]).reshape(-1, len(shares), 1)
    n = np.array([max(each.count, 1) for each in shares], dtype=float)[:, None]
    q, m = p.swapaxes(1, 2), n.T
    pooled = (n * p + m * q) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    gap = np.triu(np.abs(p - q).round(9))  # (V, D, D)
    gap[(gap <= LARGE) | (gap <= SIGNIFICANT * error)] = 0
    if not gap.any():
        return None
    value, first, second = (int(each) for each in np.unravel_index(gap.argmax(), gap.shape))
    return _Difference(frequent[value], first, second, int(gap.any(0).sum()) - 1)


def _remedy(
    plan: Plan, label: str, shares: Sequence[_Shares], everything: Collection[Any], slot: str, keep: Sequence[str]
) -> str:
    """Return what to do about a label in which two domains differ.

    Args:
        everything: the label of every sample of the recipe; None where a sample has none.
    """
    balance = plan.recipe.data.balance
    if label in balance or not set.intersection(*(set(each.of) for each in shares)):
        return "Some values occur in one domain only, which no balance mends: select other samples in [domains]"
    by_balance = f"balance it with `[data] balance = {json.dumps([*balance, label], ensure_ascii=False)}`"
    first = f"label all samples with {label}, and then " if None in everything else ""
    declared = plan.recipe.attributes.get(label)
    by_keep = f"keep it with `[discriminators.{slot}] keep = {json.dumps([*keep, label], ensure_ascii=False)}`"
    if declared is None:
        values = sorted({as_value(each) for each in everything if each is not None})
        key = label if re.fullmatch(r"[A-Za-z0-9_-]+", label) else json.dumps(label)
        by_keep += f" and `[attributes] {key} = {{ values = {json.dumps(values, ensure_ascii=False)} }}`"
    may_be_kept = label not in RESERVED and (declared is None or declared.values is not None)
    remedies = f"{by_keep}, or {by_balance}" if may_be_kept else by_balance
    return f"A discriminator may take one for the other; {first}{remedies}"
