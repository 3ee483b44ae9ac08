"""`data.balance`: values of labels are equally likely within a domain; and which labels domains differ in."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from transgan.api import NumericRange, Register, Sample, Source, hookimpl
from transgan.data.balance import Balance, is_categorical
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import DataError, UsageError
from transgan.plan import Plan
from transgan.rng import permutation

#: Of each domain, the labels of its samples, and how many samples have them.
CONTENTS: dict[str, list[tuple[dict[str, Any], int]]] = {
    "a": [({"mood": "calm", "size": 3}, 12), ({"mood": "glad", "size": 4}, 5), ({"mood": "sad", "size": 3}, 3)],
    "b": [({"mood": "calm", "size": 3}, 6), ({"mood": "glad", "size": 3}, 6), ({"mood": "sad", "size": 3}, 6)],
}


@dataclass(frozen=True)
class Square:
    """A square whose red is a number, below 200 the sample's own."""

    domain: str
    number: int

    def __call__(self, size: int) -> np.ndarray:
        noise = np.random.default_rng(self.number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        noise[..., 0] = self.number % 200
        return noise


class Labelled:
    """A plugin: the source `labelled`, whose domains have the given contents."""

    def __init__(self, contents: dict[str, list[tuple[dict[str, Any], int]]] = CONTENTS):
        class Labels(Source):
            def samples(self, domain: str, selection: Any) -> list[Sample]:
                name = selection if isinstance(selection, str) else selection["of"]
                labels = [each for each, count in contents[name] for _ in range(count)]
                first = 100 * list(contents).index(name)
                return [Sample(f"{i:04}", Square(name, first + i), each) for i, each in enumerate(labels)]

        self.source = Labels

    @hookimpl
    def register_sources(self, register: Register) -> None:
        register("labelled", self.source)


RECIPE = """
[data]
source = "labelled"
media = { use = "image", flip = false }
size = 8
held_out = 0.0
cache = false
[domains]
a = "a"
b = "b"
[tasks.t]
between = ["a", "b"]
[train]
steps = 60
batch = 4
[generators.g]
use = "resnet"
width = 2
blocks = 0
downs = 1
[discriminators.d]
use = "patch"
width = 2
layers = 1
[losses]
lsgan = 1.0
cycle = 1.0
"""
BALANCED = 'data.balance=["mood"]'


@pytest.fixture
def batches(planned: Callable[..., Plan]) -> Iterator[Callable[..., Batches]]:
    """`batches(*overrides, contents, rank, world)`: the batches of the recipe."""
    built: list[Batches] = []

    def build(*overrides: str, contents: Any = CONTENTS, rank: int = 0, world: int = 1) -> Batches:
        plan = planned(RECIPE, Labelled(contents), overrides)
        built.append(Batches(plan, Domains(plan), rank, world))
        return built[-1]

    yield build
    for each in built:
        each.pool.shutdown()


@pytest.fixture
def warnings(planned: Callable[..., Plan]) -> Callable[..., list[str]]:
    """`warnings(contents, *overrides)`: what is reported of data with these labels."""

    def find(contents: Any, *overrides: str) -> list[str]:
        return Domains(planned(RECIPE, Labelled(contents), overrides)).warnings

    return find


def which(found: Batches, name: str, steps: int) -> list[int]:
    """Return the numbers of the squares in a batch input of the first translation, over all steps."""
    key = found.plan.translations[0], name
    reds = [x[0, 0, 0] for step in range(steps) for inputs in found.at(step) for x in inputs[key]]
    return [round((float(red) + 1) * 127.5) for red in reds]


def test_without_balance_the_order_is_the_permutation_of_each_epoch(batches: Any) -> None:
    expected = [int(i) for epoch in range(3) for i in permutation(20, 0, "order", "t", "a", epoch)]
    assert which(batches(), "source", 15) == expected
    assert which(batches('data.balance=["mood"]'), "source", 15) != expected


def test_every_value_is_as_frequent_in_every_epoch_and_samples_of_a_value_take_turns(batches: Any) -> None:
    """20 samples, three values: each is drawn 20 / 3 times, to one, and a sample of n as often as the others of it."""
    seen = which(batches(BALANCED), "source", 60)
    epochs = [Counter(seen[first : first + 20]) for first in range(0, 240, 20)]
    groups = {"calm": range(12), "glad": range(12, 17), "sad": range(17, 20)}
    for epoch in epochs:
        for numbers in groups.values():
            assert math.floor(20 / 3) <= sum(epoch[i] for i in numbers) <= math.ceil(20 / 3)
            expected = 20 / 3 / len(numbers)
            assert all(math.floor(expected) <= epoch[i] <= math.ceil(expected) for i in numbers)
    total = sum(epochs, Counter())
    for numbers in groups.values():  # over twelve epochs each is drawn 80 / n times; five standard deviations
        expected = 80 / len(numbers)
        assert all(abs(total[i] - expected) < 5 * (12 * 0.25) ** 0.5 for i in numbers)
    assert len({tuple(seen[first : first + 20]) for first in range(0, 240, 20)}) == 12


def test_what_is_balanced_already_has_every_sample_once_in_an_epoch(batches: Any) -> None:
    seen = which(batches(BALANCED), "target", 27)  # of domain b
    assert all(sorted(seen[first : first + 18]) == list(range(100, 118)) for first in range(0, 108, 18))


def test_a_sample_that_occurs_twice_in_an_epoch_is_augmented_in_two_ways(batches: Any) -> None:
    found = batches(BALANCED, 'data.media={use="image", enlarge=2.0, flip=true}')
    key = found.plan.translations[0], "source"
    variants, drawn = set(), 0
    for step in range(5):  # one epoch
        [inputs] = found.at(step)
        sad = [x for x in inputs[key] if 17 <= round((float(x[0, 0, 0]) + 1) * 127.5) < 20]
        drawn += len(sad)
        variants |= {tuple(x.flatten().tolist()) for x in sad}
    assert drawn in (6, 7) and len(variants) == drawn


@pytest.mark.parametrize("targets", ["all", "random"])
def test_processes_and_a_late_start_have_the_samples_of_the_whole_run(batches: Any, targets: str) -> None:
    overrides = (
        BALANCED,
        f'tasks.t.targets="{targets}"',
        'discriminators.d.per="task"',
        'data.media={use="image", enlarge=2.0, flip=true}',
    )
    whole = batches(*overrides)
    ranks = [batches(*overrides, "train.accumulate=2", rank=rank, world=2) for rank in range(2)]
    for step in (17, 3, 29, 30):
        [expected] = whole.at(step)
        shares = [rank.at(step) for rank in ranks]
        for translation in whole.plan.translations:
            for name in ("source", "target", "source_domain"):
                pieces = [shares[rank][i][translation, name] for i in range(2) for rank in range(2)]
                assert torch.equal(torch.cat(pieces), expected[translation, name])


def test_with_random_targets_both_sides_are_balanced(batches: Any) -> None:
    found = batches(BALANCED, 'tasks.t.targets="random"', 'discriminators.d.per="task"', "train.batch=12")
    for end in ("source", "target"):
        seen = Counter(number for number in which(found, end, 60) if number < 100)
        drawn = [sum(seen[i] for i in numbers) for numbers in (range(12), range(12, 17), range(17, 20))]
        assert sum(drawn) > 300
        assert all(abs(each / sum(drawn) - 1 / 3) < 0.1 for each in drawn)  # without balance 0.6, 0.25, 0.15


def test_pairs_are_drawn_as_they_are(batches: Any) -> None:
    overrides = ('domains={a="a", b="a"}', "tasks.t.paired=true")
    assert which(batches(*overrides, BALANCED), "source", 15) == which(batches(*overrides), "source", 15)
    found = batches(*overrides, BALANCED).domains
    assert "[data] balance has no effect, since every task is trained on pairs" in found.warnings


def samples_of(counts: dict[tuple[str, ...], int]) -> list[Sample]:
    """Return samples with labels `x`, `y`, ... of these values."""
    return [
        Sample("", None, dict(zip("xyz", values, strict=False)))
        for values, count in counts.items()
        for _ in range(count)
    ]


def fitted_by_hand(samples: list[Sample], labels: str, rounds: int) -> list[float]:
    """Return the weights of iterative proportional fitting, sample by sample."""
    weights = [1.0 / len(samples)] * len(samples)
    for _ in range(rounds):
        for label in labels:
            totals: dict[str, float] = defaultdict(float)
            for sample, weight in zip(samples, weights, strict=True):
                totals[sample.attributes[label]] += weight
            for i, sample in enumerate(samples):
                weights[i] /= len(totals) * totals[sample.attributes[label]]
    return weights


def test_several_labels_have_uniform_marginals_and_keep_their_association() -> None:
    rng = np.random.default_rng(0)
    counts = {(x, y, z): int(rng.integers(1, 30)) for x in "ab" for y in "cde" for z in "fg"}
    samples = samples_of(counts)
    balance = Balance.of("d", samples, ["x", "y", "z"])
    np.testing.assert_allclose(balance.weights, fitted_by_hand(samples, "xyz", 100), rtol=5e-3)
    weight = dict(zip((tuple(s.attributes.values()) for s in samples), balance.weights.tolist(), strict=True))
    for place, values in enumerate(("ab", "cde", "fg")):
        for value in values:
            total = sum(weight[key] * count for key, count in counts.items() if key[place] == value)
            assert total == pytest.approx(1 / len(values), rel=2e-3)
    for y in "cd":  # a weight is a product of a factor for each label: odds ratios stay those of the counts
        ratio = weight["a", y, "f"] * weight["b", y, "g"] / (weight["a", y, "g"] * weight["b", y, "f"])
        assert ratio == pytest.approx(1, rel=1e-9)
    assert balance.weights.sum() == pytest.approx(1, abs=1e-12)


def test_one_label_has_weights_in_closed_form() -> None:
    samples = samples_of({("a",): 7, ("b",): 2, ("c",): 1})
    expected = [1 / 21] * 7 + [1 / 6] * 2 + [1 / 3]
    np.testing.assert_allclose(Balance.of("d", samples, ["x"]).weights, expected, rtol=1e-12)


def test_labels_that_cannot_be_balanced_together_are_refused() -> None:
    samples = samples_of({("a", "d"): 5, ("b", "d"): 5, ("c", "e"): 5})
    with pytest.raises(DataError, match=r"\[data\] balance: the values of x and y cannot all be equally likely in do"):
        Balance.of("d", samples, ["x", "y"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["calm", "glad"], True),
        ([True, False], True),
        ([-1, 1], True),
        ([0, 1], True),
        ([1, 2], False),
        ([0.5, 1.0], False),
        ([NumericRange("20-29"), NumericRange("30-39")], False),
    ],
)
def test_words_and_flags_are_categories_and_numbers_are_not(values: list[Any], expected: bool) -> None:
    assert is_categorical(values) == expected


def test_labels_that_are_unknown_numeric_or_missing_are_reported(planned: Callable[..., Plan]) -> None:
    def error_of(label: str, contents: Any = CONTENTS) -> str:
        plan = planned(RECIPE, Labelled(contents), (f'data.balance=["{label}"]',))
        with pytest.raises((UsageError, DataError)) as raised:
            Domains(plan)
        return str(raised.value)

    assert error_of("moods") == "[data] balance: there is no label 'moods'. Did you mean 'mood'?"
    assert error_of("xyz") == "[data] balance: there is no label 'xyz'. Known: mood."
    number = "[data] balance: 'size' is a number; only labels with categories can be balanced: mood"
    assert error_of("size") == number
    lacking = {**CONTENTS, "b": [*CONTENTS["b"], ({"size": 3}, 2)]}
    assert error_of("mood", lacking) == (
        "[data] balance: 2 of the 20 samples of domain 'b' have no label 'mood', such as 0018; label them, or select "
        "others"
    )
    none: Any = {"a": [({}, 4)], "b": [({}, 4)]}
    assert error_of("mood", none).endswith("The samples have no labels with categories.")


def contents(first: tuple[int, int], second: tuple[int, int]) -> Any:
    """Return the contents of two domains with these numbers of calm and glad samples."""
    return {
        name: [({"mood": mood}, count) for mood, count in zip(("calm", "glad"), counts, strict=True) if count]
        for name, counts in (("a", first), ("b", second))
    }


def test_a_label_in_which_domains_differ_is_reported_with_its_shares_and_remedies(warnings: Any) -> None:
    assert warnings(contents((59, 41), (39, 61))) == [] != warnings(contents((118, 82), (78, 122)))  # z is 2.8, 4.0
    [warning] = warnings(contents((118, 82), (78, 122)))
    assert warning == (
        "[tasks.t] a and b differ in mood: calm 59% and 39%. A discriminator may take one for the other; keep it with "
        '`[discriminators.d] keep = ["mood"]` and `[attributes] mood = { values = ["calm", "glad"] }`, or balance it '
        'with `[data] balance = ["mood"]`'
    )
    assert warnings(contents((5000, 5000), (4100, 5900))) == []  # significant, and not large


def test_what_is_balanced_kept_or_defines_the_domains_is_not_reported(warnings: Any) -> None:
    differing = contents((118, 82), (78, 122))
    mood = 'attributes={mood={values=["calm", "glad"]}}'
    maps = "discriminators.d.label_maps=true"
    assert warnings(differing, BALANCED) == []
    assert warnings(differing, mood, 'domains={a={of="a", mood="calm"}, b={of="b", mood="glad"}}') == []
    selected: Any = {name: [({"speaker": name}, 100)] for name in ("a", "b")}
    assert warnings(selected, 'domains={a="a", b="b"}') == []
    kept = ('discriminators.d.keep=["mood"]', mood, maps)
    assert warnings(differing, *kept) == []
    [partly] = warnings(differing, *kept, 'discriminators.e={use="patch", width=2, layers=1}')
    assert '[discriminators.e] keep = ["mood"]' in partly
    assert warnings(differing, "discriminators={}", "losses={cycle=1.0}") == []


def test_values_of_one_domain_alone_are_reported_with_another_remedy(warnings: Any) -> None:
    apart = "which no balance mends: select other samples in [domains]"
    [warning] = warnings(contents((50, 0), (0, 50)))
    assert "a and b differ in mood: calm 100% and 0%. " in warning and warning.endswith(apart)
    [warning] = warnings(contents((50, 50), (0, 50)), BALANCED)
    assert "calm 50% and 0%. " in warning and warning.endswith(apart)


def test_of_several_domains_the_two_that_differ_most_are_named(warnings: Any) -> None:
    three = {"a": [({"mood": "calm"}, 50), ({"mood": "glad"}, 50)]}
    three |= {
        "b": [({"mood": "calm"}, 20), ({"mood": "glad"}, 80)],
        "c": [({"mood": "calm"}, 90), ({"mood": "glad"}, 10)],
    }
    [warning] = warnings(three, 'domains={a="a", b="b", c="c"}', 'tasks.t.between=["a", "b", "c"]')
    assert warning.startswith("[tasks.t] b and c, and 2 other pairs of domains differ in mood: calm 20% and 90%. ")


def test_a_sample_that_is_drawn_often_is_reported(warnings: Any) -> None:
    [warning] = warnings(contents((98, 2), (90, 10)), BALANCED)
    expected = (
        "[data] balance: domain a has 2 samples of 100 with mood = glad; each is drawn about 25 times in an epoch"
    )
    assert warning == expected


@pytest.mark.parametrize(("one", "other"), [("calm", "glad"), (-1, 1), (False, True)])
def test_the_lines_of_the_remedy_mend_it(warnings: Any, one: Any, other: Any) -> None:
    """What is pasted into the recipe is read, all samples have what it asks for, and the warning is gone."""
    data: Any = {
        name: [({"mood": mood}, count) for mood, count in zip((one, other), counts, strict=True)]
        for name, counts in (("a", (118, 82)), ("b", (78, 122)))
    }
    [warning] = warnings(data, "data.held_out=0.2")
    lines = re.findall("`(.+?)`", warning)
    assert [line.partition(" ")[0] for line in lines] == ["[discriminators.d]", "[attributes]", "[data]"]
    pasted = [
        f"{table.strip('[]')}.{line}".replace(" = ", "=", 1) for table, _, line in (x.partition(" ") for x in lines)
    ]
    assert warnings(data, "data.held_out=0.2", *pasted[:2], "discriminators.d.label_maps=true") == []
    assert warnings(data, "data.held_out=0.2", pasted[2]) == []


def test_the_remedy_declares_the_values_of_all_samples(warnings: Any) -> None:
    data: Any = contents((118, 82), (78, 122)) | {"c": [({"mood": "sad"}, 9)]}
    three = ('domains={a="a", b="b", c="c"}', 'tasks.u.between=["a", "c"]', "tasks.t.between=['a', 'b']")
    assert any('mood = { values = ["calm", "glad", "sad"] }' in each for each in warnings(data, *three))
    declared = 'attributes={mood={values=["glad", "calm"]}}'
    [warning] = warnings(contents((118, 82), (78, 122)), declared)
    assert "[attributes]" not in warning and '[discriminators.d] keep = ["mood"]' in warning
    some: Any = {name: [*each, ({}, 3)] for name, each in contents((118, 82), (78, 122)).items()}
    assert "; label all samples with mood, and then keep it with `[discr" in warnings(some)[0]
