"""The metric `label_kept`: on images whose label is known exactly, and on labels that are missing."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_images.metrics_labels import LabelKept

from transgan.api import Domain, Media, Sample, Translation, UsageError

FORWARD, BACKWARD = Translation("t", "dark", "light"), Translation("t", "light", "dark")
#: The rows that are lit, by label.
PLACES = {"top": 0, "middle": 6, "bottom": 12}


def images(labels: Sequence[str], background: float, seed: int) -> Tensor:
    """Return noisy images (N, 3, 16, 16) with a bar whose place is the label, on a background of a domain."""
    x = background + np.random.default_rng(seed).uniform(-0.1, 0.1, (len(labels), 3, 16, 16))
    for image, label in zip(x, labels, strict=True):
        image[:, PLACES[label] : PLACES[label] + 4] = -background
    return torch.from_numpy(x).float()


def samples(labels: Sequence[Any]) -> list[Sample]:
    return [Sample(f"{i}", None, {} if label is None else {"labels": label}) for i, label in enumerate(labels)]


def domain(name: str, background: float, labels: Sequence[Any], held_out: Sequence[Any] = ()) -> Domain:
    splits = {held: samples(each) for held, each in ((False, labels), (True, held_out))}
    data = {
        held: images([label or "top" for label in each], background, held)
        for held, each in ((False, labels), (True, held_out))
    }

    def batches(held: bool, size: int, numbers: Sequence[int] = ()) -> Iterator[tuple[list[str], Tensor]]:
        order = list(numbers) or range(len(data[held]))
        for first in range(0, len(order), size):
            part = order[first : first + size]
            yield [splits[held][i].key for i in part], data[held][list(part)]

    return Domain(name, splits[False], splits[True], batches, Media(None, 16))


ALL = ["top", "middle", "bottom"]


@pytest.fixture(scope="module")
def prepared() -> Callable[..., LabelKept]:
    def prepare(*domains: Domain, **options: Any) -> LabelKept:
        metric = LabelKept(LabelKept.Options(width=8, epochs=3, **options))
        before = torch.random.get_rng_state()
        known, tasks = {each.name: each for each in domains}, {"t": [each.name for each in domains]}
        metric.check_domains(known, tasks)
        metric.prepare(known, tasks, seed=0)
        assert torch.equal(torch.random.get_rng_state(), before)  # the run uses it
        metric.reset()
        return metric

    return prepare


@pytest.fixture(scope="module")
def metric(prepared: Callable[..., LabelKept]) -> LabelKept:
    return prepared(domain("dark", -0.5, ALL * 30, ALL * 5), domain("light", 0.5, ALL * 30, ALL * 5))


def test_samples_to_train_on_are_a_choice_of_all(prepared: Callable[..., LabelKept]) -> None:
    """Names that begin with what a picture shows bring samples in the order of their labels."""
    ordered = sorted(ALL * 40)
    found = prepared(domain("dark", -0.5, ordered, ALL * 5), domain("light", 0.5, ordered, ALL * 5), most=60)
    assert found.accuracy["dark"] > 0.8 and found.accuracy["light"] > 0.8


def test_shares_are_those_of_translations_with_the_label_of_their_source(metric: LabelKept) -> None:
    metric.reset()
    labels = ALL * 4
    shown = [*labels[:9], "top", "top", "top"]  # the last three show: top, top, top; two of them are wrong
    metric.update(FORWARD, samples(labels)[:5], images(labels, -0.5, 7)[:5], images(shown, 0.5, 8)[:5])
    metric.update(FORWARD, samples(labels)[5:], images(labels, -0.5, 7)[5:], images(shown, 0.5, 8)[5:])
    metric.update(BACKWARD, samples(ALL), images(ALL, 0.5, 9), images(["middle", "bottom", "top"], -0.5, 10))
    figures = metric.compute()
    assert figures[FORWARD]["label_kept"] == pytest.approx(10 / 12)
    assert figures[FORWARD]["label_accuracy"] == 1.0
    assert figures[BACKWARD]["label_kept"] == 0.0
    assert not metric.warnings()


def test_the_reference_is_the_same_share_of_the_sources(metric: LabelKept) -> None:
    metric.reset()
    source = images(["top", "top", "bottom"], 0.5, 11)  # these look like the target already
    metric.update(FORWARD, samples(ALL), source, source)
    figures = metric.compute()[FORWARD]
    assert figures["label_kept_of_source"] == figures["label_kept"] == pytest.approx(2 / 3)


def test_sources_whose_label_the_target_lacks_are_not_counted(prepared: Callable[..., LabelKept]) -> None:
    target = domain("light", 0.5, [*["top", "bottom"] * 40, None, None], ["top", "bottom", None])
    metric = prepared(domain("dark", -0.5, ALL * 30), target)
    labels = ["top", "middle", None, "bottom"]
    x = images(["top", "middle", "middle", "bottom"], 0.5, 12)
    metric.update(FORWARD, samples(labels), x, x)
    assert metric.compute()[FORWARD] == {"label_kept": 1.0, "label_kept_of_source": 1.0, "label_accuracy": 1.0}
    (warning,) = metric.warnings()
    assert warning.endswith("are not counted: t: dark -> light 2")


@pytest.mark.parametrize(
    ("light", "why"),
    [
        ([None] * 30, "no samples of 'light' have the label 'labels'"),
        (["top"] * 30, "all samples of 'light' have labels = 'top'"),
        (["bottom"] * 30, "'grey' and 'light' have no value of 'labels' in common"),
    ],
)
def test_what_cannot_be_measured_is_named_and_the_rest_is_measured(
    prepared: Callable[..., LabelKept], light: list[Any], why: str
) -> None:
    """The label of `light` is missing, or has one value, or is one by which the task's domains differ."""
    both = ["top", "middle"] * 30
    metric = prepared(domain("dark", -0.5, both), domain("grey", 0.3, both), domain("light", 0.5, light))
    x = images(["top", "middle"], 0.5, 13)
    there, back = Translation("t", "grey", "light"), Translation("t", "grey", "dark")
    metric.update(there, samples(["top", "middle"]), x, x)
    metric.update(back, samples(["top", "middle"]), x, x)
    assert {t: set(each) for t, each in metric.compute().items()} == {back: {"label_kept", "label_kept_of_source"}}
    assert metric.warnings() == [
        f"no figures for {there}: {why}",
        "no held-out samples to try the classifier on: domain dark",
    ]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (
            ["top"] * 9,
            {},
            "no translation can be measured: all samples of 'light' have labels = 'top', all samples of 'dark' have "
            "labels = 'top'; choose another label",
        ),
        (ALL * 3, {"label": "label"}, "no samples have the label 'label'. Did you mean 'labels'?"),
        ([None] * 9, {}, "no samples have the label 'labels'. They have no labels."),
    ],
)
def test_mistakes(prepared: Callable[..., LabelKept], labels: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        prepared(domain("dark", -0.5, labels), domain("light", 0.5, labels), **options)
    assert str(error.value) == message


def test_a_label_that_every_task_changes_is_refused(prepared: Callable[..., LabelKept]) -> None:
    ends = domain("dark", -0.5, ["top"] * 9), domain("light", 0.5, ["bottom"] * 9)
    message = "no translation can be measured: 'dark' and 'light' have no value of 'labels' in common; choose another"
    with pytest.raises(UsageError, match=message):
        prepared(*ends)


def test_images_are_mirrored_only_where_it_is_asked_for(prepared: Callable[..., LabelKept]) -> None:
    """Left and right are distinguished by a classifier that has seen no mirrored images, and by no other."""

    def sided(count: int, seed: int) -> Tensor:
        return images(["top", "bottom"] * count, 0.5, seed).transpose(2, 3)

    x, labels = sided(40, 14), ["left", "right"] * 40

    def batches(held: bool, size: int, numbers: Sequence[int] = ()) -> Iterator[tuple[list[str], Tensor]]:
        yield [f"{i}" for i in range(80)], sided(40, 15) if held else x

    both = [Domain(name, samples(labels), samples(labels), batches, Media(None, 16)) for name in ("dark", "light")]
    assert prepared(*both).accuracy["dark"] == 1.0
    assert prepared(*both, mirror=True).accuracy["dark"] < 0.9
