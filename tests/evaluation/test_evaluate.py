"""Evaluation: arguments of metrics besides nodes, and warnings about figures that are missing or say little."""

from typing import Any

import pytest
import torch
from transgan_faces.sources import SyntheticFaces

from transgan.api import Clock, DataError, Metric, Register, Translation, hookimpl
from transgan.data.domains import Domains
from transgan.evaluation.evaluate import Evaluation
from transgan.evaluation.unmeasured import check_metrics
from transgan.networks import Networks
from transgan.plan import Plan

RECIPE = """
[tasks.age]
between = ["young", "old"]
targets = "TARGETS"
[train]
steps = 1
[conditionings]
domain = { use = "embedding", of = "domain", width = 4 }
[generators]
g = { use = "resnet", width = 4, blocks = 0 }
[losses]
cycle = 1.0
[metrics]
whole = true
"""


class Whole(Metric):
    """Keeps its arguments."""

    def reset(self) -> None:
        self.received: dict[Translation, list[Any]] = {}

    def update(
        self,
        translation: Translation,
        keys: Any,
        samples: Any,
        true_samples: Any,
        translate: Any,
        source: Any,
        fake: Any,
    ) -> None:
        self.received[translation] = [keys, samples, true_samples, translate, source, fake]
        repeated = [translate(torch.stack([x, x]), row=i) for i, x in enumerate(source)]
        assert all(torch.allclose(both, fake[i].expand_as(both), atol=1e-5) for i, both in enumerate(repeated))

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Plugin:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("whole", Whole)


def test_chunks_of_a_sample_are_translated_as_the_sample_is(planned: Any) -> None:
    for targets in ("all", "random"):
        plan = planned(RECIPE.replace("TARGETS", targets), Plugin())
        Evaluation(plan, Domains(plan))(Networks(plan), Clock())
        received = plan.metrics["whole"].received
        assert len(received) == 2
        for keys, samples, true_samples, *_ in received.values():
            assert [sample.key for sample in samples] == keys
            assert [sample.key for sample in true_samples] == keys  # synthetic faces know their counterparts


class Counting(Metric):
    """Has figures, and warnings, as its class says."""

    figures: Any = {}
    said: Any = ()

    def reset(self) -> None:
        self.seen: set[Translation] = set()

    def update(self, translation: Translation, fake: Any) -> None:
        self.seen.add(translation)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return dict.fromkeys(self.seen, self.figures)

    def warnings(self) -> Any:
        return self.said


class MayScale(Counting):
    """Asks for translations by strength where its options say so."""

    scales = False

    @property
    def unused_inputs(self) -> Any:  # type: ignore[override]
        return () if self.scales else ("at_strength",)

    def update(self, translation: Translation, fake: Any, at_strength: Any = None) -> None:  # type: ignore[override]
        assert (at_strength is not None) == self.scales
        if at_strength is not None:
            torch.testing.assert_close(at_strength(1.0), fake)
        self.seen.add(translation)


@pytest.mark.parametrize("scales", [False, True])
@pytest.mark.parametrize("can", [False, True])
def test_an_argument_that_options_do_not_need_is_neither_given_nor_missed(
    planned: Any, monkeypatch: pytest.MonkeyPatch, scales: bool, can: bool
) -> None:
    monkeypatch.setattr(MayScale, "scales", scales)
    monkeypatch.setattr(MayScale, "figures", {"x": 1.0})
    if not can:
        monkeypatch.setattr(Plan, "varies_by", lambda self, name: False)

    class Plugin:
        @hookimpl
        def register_metrics(self, register: Register) -> None:
            register("whole", MayScale)

    plan = planned(RECIPE.replace("TARGETS", "all"), Plugin())
    evaluation = Evaluation(plan, Domains(plan))
    figures = evaluation(Networks(plan), Clock())
    skipped = scales and not can
    assert bool(figures) != skipped
    assert any("it needs 'at_strength', and this model cannot scale" in said for said in evaluation.warnings) == skipped


class NeedsPartners(Counting):
    def update(self, translation: Translation, counterpart: Any) -> None:  # type: ignore[override]
        self.seen.add(translation)


@pytest.mark.parametrize(
    ("metric", "figures", "said", "expected"),
    [
        (Counting, {"x": 1.0}, (), []),
        (Counting, {"x": 1.0}, ("of 3 samples",), ["metric 'whole': of 3 samples"]),
        (
            Counting,
            {},
            (),
            ["metric 'whole' has no figures for age: young -> old, age: old -> young: it returned none"],
        ),
        (Counting, {}, ("no x: it is late",), ["metric 'whole': no x: it is late"]),
        (
            NeedsPartners,
            {"x": 1.0},
            (),
            [
                "metric 'whole' has no figures for age: young -> old, age: old -> young: it needs 'counterpart', and "
                "the true translations are not known"
            ],
        ),
    ],
)
def test_metrics_without_figures_are_named_with_the_reason(
    planned: Any, monkeypatch: pytest.MonkeyPatch, metric: Any, figures: Any, said: Any, expected: list[str]
) -> None:
    """The kind: any metric that a recipe asks for, and of which result.json would hold nothing."""
    monkeypatch.setattr(metric, "figures", figures, raising=False)
    monkeypatch.setattr(metric, "said", said, raising=False)
    monkeypatch.setattr(SyntheticFaces, "counterpart", lambda *arguments: None)

    class Plugin:
        @hookimpl
        def register_metrics(self, register: Register) -> None:
            register("whole", metric)

    plan = planned(RECIPE.replace("TARGETS", "all"), Plugin(), ("data.source.count=400", "data.held_out=0.2"))
    evaluation = Evaluation(plan, Domains(plan))
    for _ in range(2):  # the second time says what the second time has found
        evaluation(Networks(plan), Clock())
        assert evaluation.warnings == expected


def test_few_samples_are_reported(planned: Any) -> None:
    plan = planned(RECIPE.replace("TARGETS", "all"), Plugin())
    evaluation = Evaluation(plan, Domains(plan))
    evaluation(Networks(plan), Clock())
    counts = {str(d.translation): len(evaluation.domains[d.translation.source].evaluated) for d in plan.directions}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    assert evaluation.warnings[-1] == f"figures of fewer than 10 samples say little: {listed}"


def test_a_translation_that_is_not_finite_has_no_figures(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many a figure of NaN would be a perfect one: the largest of scores, the overlap of masks."""
    monkeypatch.setattr(Counting, "figures", {"x": 1.0})

    class Plugin:
        @hookimpl
        def register_metrics(self, register: Register) -> None:
            register("whole", Counting)

    recipe = RECIPE.replace("TARGETS", "all").replace('use = "resnet"', 'use = "resnet", per = "direction"')
    plan = planned(recipe, Plugin())
    networks = Networks(plan)
    broken = plan.roles[plan.directions[0].planned]["generator"]
    assert broken != plan.roles[plan.directions[1].planned]["generator"]
    with torch.no_grad():
        next(networks[broken].parameters()).fill_(float("nan"))
    evaluation = Evaluation(plan, Domains(plan))
    figures = evaluation(networks, Clock())
    first, second = (str(each.translation) for each in plan.directions)
    assert figures[second] == {"x": 1.0} and not figures.get(first)
    count = evaluation.counts[plan.directions[0].translation]
    said = f"{first} has no figures: {count} of {count} translations are not finite (NaN or infinity)"
    assert [each for each in evaluation.warnings if "no figures" in each] == [said]


class Particular(Counting):
    """Refuses all domains, and keeps what it was shown."""

    def check_domains(self, domains: Any, tasks: Any) -> None:
        self.shown = {name: [len(each.samples), len(each.held_out)] for name, each in domains.items()}, dict(tasks)
        raise DataError("there is no such label")

    def prepare(self, *arguments: Any) -> None:
        raise AssertionError("it was refused")


class Both:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("particular", Particular)
        register("counting", Counting)


def test_a_metric_may_refuse_the_domains_before_they_are_trained_on(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on has been trained, and loses the metric alone."""
    monkeypatch.setattr(Counting, "figures", {"x": 1.0})
    text = RECIPE.replace("TARGETS", "all").replace("whole = true", "counting = true\nparticular = true")
    plan = planned(text, Both())
    domains, line = Domains(plan), 1 + text.splitlines().index("particular = true")
    with pytest.raises(DataError, match=rf"^recipe:{line}: \[metrics\] particular: there is no such label$"):
        check_metrics(plan, domains, plan.metrics)
    expected = {name: [len(each.samples), len(each.held_out)] for name, each in domains.items()}
    assert plan.metrics["particular"].shown == (expected, {"age": ["young", "old"]})
    failed: dict[str, Exception] = {}
    evaluation = Evaluation(plan, domains, failed=failed.__setitem__)
    figures = evaluation(Networks(plan), Clock())
    assert {name: str(error) for name, error in failed.items()} == {"particular": "there is no such label"}
    assert list(figures.values()) == [{"x": 1.0}] * 2
