"""Judges: the linear model against closed forms, changes against other programs, and labels that are known exactly."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_images.encoders import TimmOptions
from transgan_images.features import SqueezeNet
from transgan_images.judges import (
    Judge,
    JudgeOptions,
    PooledFeatures,
    Question,
    named_judges,
    question_about,
    real_answers,
    trained_judge,
)
from transgan_images.metrics import TargetShare
from transgan_images.metrics_coverage import Coverage
from transgan_images.metrics_features import Content
from transgan_images.metrics_judges import ApparentLabel, JudgedShares, accuracy_of
from transgan_images.metrics_labels import LabelKept
from transgan_images.perturbations import blurred, compressed, quantized
from transgan_images.ridge import fit_ridge

from transgan.api import DataError, Domain, Media, NumericRange, Sample, Translation, UsageError

FORWARD, BACKWARD = Translation("age", "young", "old"), Translation("age", "old", "young")
DATA = Path(__file__).resolve().parents[4] / "shared/data"


# The linear model


def normal_equations(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, changes: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients and intercept that minimise the ridge objective, with the intercept as a free column."""
    design = np.hstack([x, np.ones((len(x), 1))])
    free = np.diag([penalty] * x.shape[1] + [0.0])
    free[:-1, :-1] += changes.T @ changes
    solution = np.linalg.solve(design.T @ (w[:, None] * design) + free, design.T @ (w[:, None] * y))
    return solution[:-1], solution[-1]


@pytest.mark.parametrize(("count", "features", "changed"), [(40, 5, 0), (12, 30, 0), (40, 5, 3), (12, 30, 4)])
def test_ridge_agrees_with_the_normal_equations_and_leaves_one_out(count: int, features: int, changed: int) -> None:
    rng = np.random.default_rng(count)
    x, y = rng.standard_normal((count, features)), rng.standard_normal((count, 2))
    w, changes = rng.uniform(0.2, 3, count), rng.standard_normal((changed, features))
    w /= w.mean()
    tensors = [torch.from_numpy(each) for each in (x, y, w)]
    moved = torch.from_numpy(changes) if changed else None
    errors = []
    for penalty in (0.1, 2.0, 30.0):
        found = fit_ridge(*tensors, moved, [penalty])
        coefficients, intercept = normal_equations(x, y, w, changes, penalty)
        np.testing.assert_allclose(found.coefficients, coefficients, atol=1e-9)
        np.testing.assert_allclose(found.intercept, intercept, atol=1e-9)
        errors.append(0.0)
        for i in range(count):
            rest = np.arange(count) != i
            a, b = normal_equations(x[rest], y[rest], w[rest], changes, penalty)
            errors[-1] += w[i] * float(((x[i] @ a + b - y[i]) ** 2).sum()) / count
        assert found.error == pytest.approx(errors[-1], rel=1e-6)
    assert fit_ridge(*tensors, moved, [0.1, 2.0, 30.0]).penalty == (0.1, 2.0, 30.0)[int(np.argmin(errors))]


def test_ridge_does_not_follow_changes_that_should_not_count() -> None:
    """The label is in two features; one of them is changed by what should not count, and the model reads the other."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.standard_normal((200, 1)))
    x = y + 0.1 * torch.from_numpy(rng.standard_normal((200, 2)))
    plain = fit_ridge(x, y).coefficients[:, 0]
    steady = fit_ridge(x, y, None, torch.tensor([[100.0, 0.0]])).coefficients[:, 0]
    assert abs(plain[0]) > 0.3
    assert abs(steady[0]) < 0.01 and steady[1] == pytest.approx(1.0, abs=0.05)


# Changes of images


def test_blur_is_a_gaussian_that_keeps_the_mean() -> None:
    x = torch.zeros(1, 2, 15, 15)
    x[:, 1, 7, 7] = 1
    k = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    expected = np.zeros((15, 15))
    expected[4:11, 4:11] = np.outer(k, k) / k.sum() ** 2
    y = blurred(x, 1.0)
    assert not y[0, 0].any()
    np.testing.assert_allclose(y[0, 1], expected, atol=1e-6)
    torch.testing.assert_close(blurred(torch.full((1, 1, 9, 9), 0.3), 0.7), torch.full((1, 1, 9, 9), 0.3))


@pytest.mark.parametrize("channels", [1, 3])
def test_compression_is_that_of_the_jpeg_library(channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (24, 17, channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(array if channels == 3 else array[..., 0]).save(file, "JPEG", quality=50)
    expected = np.array(Image.open(file)).reshape(array.shape)
    x = torch.from_numpy(array).permute(2, 0, 1)[None].float() / 127.5 - 1
    y = ((compressed(x, 50) + 1) * 127.5).round()[0].permute(1, 2, 0)
    np.testing.assert_array_equal(y.numpy(), expected)


def test_blocks_are_quantized_in_the_cosine_basis() -> None:
    x = torch.rand(2, 3, 20, 17, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(quantized(x, 1e-4), x, atol=1e-3, rtol=0)  # fine steps change nothing
    assert torch.equal(quantized(x, 0.5)[:, :, 16:], x[:, :, 16:])  # what is no whole block
    flat = quantized(torch.full((1, 1, 8, 8), 0.33), 1.0)  # its coefficient is 8 * 0.33, rounded to 3
    torch.testing.assert_close(flat, torch.full((1, 1, 8, 8), 3 / 8))


# Judges on labels that are known


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with random weights of a SqueezeNet."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        np.savez(path, **{name: value.numpy() for name, value in SqueezeNet().state_dict().items()})
    return str(path)


def images(values: Sequence[float], seed: int) -> Tensor:
    """Return noisy images (N, 3, 32, 32); a value from 0 to 100 is how bright the upper half is, less the lower."""
    x = np.random.default_rng(seed).uniform(-0.15, 0.15, (len(values), 3, 32, 32))
    x[:, :, :16] += (np.array(values) / 100 - 0.5)[:, None, None, None]
    x[:, :, 16:] -= (np.array(values) / 100 - 0.5)[:, None, None, None]
    return torch.from_numpy(x).float()


def domain(name: str, values: Sequence[float], held_out: Sequence[float], seed: int, **more: Any) -> Domain:
    """Return a domain whose samples have their value as the label `age`, and `mood` by whether it is odd."""
    labels = {False: values, True: held_out}
    data = {held: images(each, seed + held) for held, each in labels.items()}
    samples = {
        held: [
            Sample(f"{name}{held}{i}", f"{name}/{held}/{i}", {"age": value, "mood": "ab"[int(value) % 2]})
            for i, value in enumerate(each)
        ]
        for held, each in labels.items()
    }

    def batches(held: bool, size: int, numbers: Sequence[int] = ()) -> Iterator[tuple[list[str], Tensor]]:
        order = list(numbers) or range(len(samples[held]))
        for first in range(0, len(order), size):
            part = order[first : first + size]
            yield [samples[held][i].key for i in part], data[held][list(part)]

    return Domain(name, samples[False], samples[True], batches, Media(None, 32), **more)


def spread(low: float, high: float, count: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).uniform(low, high, count).round(1).tolist()


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    return {
        "young": domain("young", spread(10, 40, 60, 0), spread(10, 40, 12, 1), 10),
        "old": domain("old", spread(60, 90, 60, 2), spread(60, 90, 12, 3), 20),
    }


@pytest.fixture(params=["features", "cnn"])
def options(request: pytest.FixtureRequest, weights: str) -> JudgeOptions:
    if request.param == "features":
        return JudgeOptions(weights=weights, size=32, mirror=False)
    return JudgeOptions(kind="cnn", width=8, epochs=30, size=24)


TASKS = {"age": ["young", "old"]}


def test_a_judge_of_domains_sees_what_distinguishes_them(domains: dict[str, Domain], options: JudgeOptions) -> None:
    before = torch.random.get_rng_state()
    question = Question(("young", "old"))
    judge = trained_judge(domains, question, options, 0)
    assert torch.equal(torch.random.get_rng_state(), before)  # the run uses it
    assert trained_judge(domains, question, options, 0) is judge
    assert accuracy_of(judge, domains, ["young", "old"], question) == 1.0
    assert judge(images([20, 80, 25], 5)).tolist() == [0, 1, 0]


def test_a_judge_of_a_number_reads_it(domains: dict[str, Domain], options: JudgeOptions) -> None:
    judge = trained_judge(domains, question_about("age", domains, list(domains), number=True), options, 0)
    true = np.array(spread(10, 90, 40, 6))
    assert np.abs(judge(images(true.tolist(), 7)) - true).mean() < 8
    assert np.corrcoef(judge(images(true.tolist(), 7)), true)[0, 1] > 0.95


def test_features_are_means_and_deviations_of_maps_and_are_computed_once(weights: str) -> None:
    pooled = PooledFeatures(TimmOptions(model="squeezenet", weights=weights, layers=[0, 6], size=64), mirror=True)
    x = images([1, 50, 99], 3)
    calls: list[int] = []
    pooled.encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    found = pooled(x)
    maps = [pooled.encoder(each) for each in (x, x.flip(-1))]
    expected = [
        np.concatenate([f(m.numpy().astype(float), axis=(2, 3)) for m in side for f in (np.mean, np.std)], 1)
        for side in maps
    ]
    np.testing.assert_allclose(found, np.mean(expected, 0), rtol=1e-4, atol=1e-3)
    calls.clear()
    assert torch.equal(pooled(x[[2, 0]]), found[[2, 0]]) and not calls
    pooled.MOST_BYTES = 1  # type: ignore[misc]
    pooled(images([3], 4))
    assert not pooled.rows


def test_judges_may_be_trained_elsewhere(domains: dict[str, Domain], weights: str) -> None:
    asked: list[Any] = []

    def elsewhere(root: Path, selection: Any = None) -> Domain:
        asked.append((root, selection))
        return domain("elsewhere", spread(0, 100, 80, 8), [], 30)

    opened = {
        name: Domain(each.name, each.samples, each.held_out, each.batches, each.media, elsewhere)
        for name, each in domains.items()
    }
    options = JudgeOptions(weights=weights, size=32, mirror=False, judge_data="other", select={"age": [0, 100]})
    judge = trained_judge(opened, question_about("age", opened, list(opened), number=True), options, 1)
    assert asked == [(Path("other"), {"age": [0, 100]})]  # one selection, one set of samples
    assert judge(images([50], 9))[0] == pytest.approx(50, abs=15)
    with pytest.raises(UsageError, match="judge_data: these samples do not come from a source"):
        trained_judge(domains, Question(("young", "old")), JudgeOptions(kind="cnn", judge_data="other"), 0)


def test_a_limit_takes_samples_at_random_and_none_twice(domains: dict[str, Domain]) -> None:
    question = question_about("age", domains, list(domains), number=True)
    seen: set[Any] = set()
    x, answers = real_answers(domains["young"], "young", question, held_out=False, most=20, seen=seen)
    ages = [sample.attributes["age"] for sample in domains["young"].samples]
    assert len(x) == len(answers) == 20 and set(answers) <= set(ages) and answers != ages[:20]
    assert real_answers(domains["young"], "young", question, held_out=False, most=20, seen=seen)[1] == []


def test_questions_say_which_label_is_there(domains: dict[str, Domain]) -> None:
    names = list(domains)
    with pytest.raises(UsageError, match=r"no samples have the label 'agee'\. Did you mean 'age'\?"):
        question_about("agee", domains, names, number=True)
    with pytest.raises(UsageError, match=r"label = 'mood': found '[ab]', expected numbers; use metrics\.label_kept"):
        question_about("mood", domains, names, number=True)
    ranges = Question(("young",), "age", number=True)
    assert ranges.answer(Sample("x", None, {"age": NumericRange("20-29")}), "young") == 24.5
    assert ranges.answer(Sample("x", None, {}), "young") is None


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ([{}], 'a judge of kind "features" needs weights'),
        ([{"kind": "cnn", "select": {"age": [0, 9]}}], "select is for samples of judge_data"),
        ([{"kind": "cnn"}, {"kind": "cnn"}], "judges: two are called 'cnn'"),
        ([{"weights": "none.npz"}], "weights none.npz: no such file"),
        ([{"kind": "cnn", "name": "a_b"}], "should match pattern"),
        (
            [{"kind": "cnn", "weights": "w.npz"}],
            'weights is an option of kind "features", and this judge is of .* "cnn"',
        ),
        ([{"kind": "cnn", "network": "inception"}], 'network is an option of kind "features"'),
        ([{"kind": "cnn", "layers": [1]}], 'layers is an option of kind "features"'),
        ([{"weights": "w.npz", "epochs": 3}], 'epochs is an option of kind "cnn", and this judge is of .* "features"'),
        ([{"weights": "w.npz", "width": 8}], 'width is an option of kind "cnn"'),
        ([{"weights": "w.npz", "network": "sqeezenet"}], r"no model 'sqeezenet'\. Did you mean 'squeezenet'\?"),
    ],
)
def test_mistakes_are_found_before_the_training(judges: Any, message: str) -> None:
    with pytest.raises((ValueError, UsageError, DataError), match=message):
        named_judges([JudgeOptions(**each) for each in judges])


def test_domains_select_their_samples_themselves() -> None:
    judges = [{"kind": "cnn", "judge_data": "other", "select": {"age": [0, 9]}}]
    with pytest.raises(UsageError, match="select is for metrics of a label; here the domains select their samples"):
        TargetShare(TargetShare.Options.model_validate({"judges": judges}))


def test_the_page_names_every_option() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/howto/judge.md").read_text(encoding="utf-8")
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert {f"`{name}`" for name in JudgeOptions.model_fields} <= set(re.findall(r"`\w+`", rows))


# Figures


@pytest.fixture(scope="module")
def prepared(domains: dict[str, Domain], weights: str) -> Callable[..., Any]:
    def prepare(metric: Any, **more: Any) -> Any:
        judges = [
            {"weights": weights, "size": 32, "name": "lin", "mirror": False},
            {"kind": "cnn", "width": 8, "epochs": 30},
        ]
        made = metric(metric.Options.model_validate({"judges": judges, **more}))
        made.check_domains(domains, TASKS)
        made.prepare(domains, TASKS, 0)
        made.reset()
        return made

    return prepare


def test_target_share_has_figures_of_each_judge(prepared: Callable[..., Any]) -> None:
    metric = prepared(TargetShare)
    young, old = images(spread(10, 40, 12, 30), 31), images(spread(60, 90, 12, 32), 33)
    asked: list[int] = []

    def adversarial(most: int) -> Tensor:
        asked.append(most)
        return young[:most]

    metric.update(FORWARD, ["x"] * 12, young, old, adversarial)
    metric.update(BACKWARD, ["x"] * 12, old, old)
    figures = metric.compute()
    for judge in ("lin", "cnn"):
        name = f"target_share_{judge}"
        assert figures[FORWARD][name] == 1.0 and figures[FORWARD][f"{name}_of_source"] == 0.0
        assert figures[FORWARD][f"{name}_of_adversarial"] == 0.0 and figures[FORWARD][f"{name}_unsteady"] <= 0.1
        assert figures[FORWARD][f"accuracy_{judge}"] == 1.0
        assert figures[BACKWARD][name] == 0.0 and f"{name}_of_adversarial" not in figures[BACKWARD]
    assert asked == [12] and not metric.warnings()
    assert metric.direction == {"target_share_lin": "higher", "target_share_cnn": "higher"}


def test_apparent_label_is_the_shift_in_the_labels_unit(prepared: Callable[..., Any]) -> None:
    metric = prepared(ApparentLabel, label="age")
    ages = np.array(spread(10, 40, 24, 40))
    metric.update(FORWARD, images(ages.tolist(), 41), images((ages + 25).tolist(), 42), lambda most: None)
    figures = metric.compute()[FORWARD]
    for judge in ("lin", "cnn"):
        name = f"apparent_age_{judge}"
        assert figures[name] == pytest.approx(25, abs=6)
        assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"] < figures[name] + 6
        assert figures[f"{name}_between"] == pytest.approx(50, abs=8)
        assert figures[f"{name}_share"] == pytest.approx(0.5, abs=0.1)
        assert figures[f"{name}_error"] < 8 and figures[f"{name}_correlation"] > 0.95
    assert not any("adversarial" in name for name in figures)


def test_apparent_label_by_hand_made_judges() -> None:
    """Figures and sentences follow from what judges say: here the brightness, and twice that."""
    metric = ApparentLabel(ApparentLabel.Options.model_validate({"label": "age", "judges": [{"kind": "cnn"}]}))
    metric.judges = {
        "one": Judge(lambda x: 100 * x.double().mean((1, 2, 3))[:, None], None),
        "two": Judge(lambda x: 200 * x.double().mean((1, 2, 3))[:, None], None),
    }
    metric.real = {name: {"young": np.array([1.0, 3.0]), "old": np.array([61.0, 63.0])} for name in metric.judges}
    metric.quality = {("age", name): (4.0, 0.9) for name in metric.judges}
    metric.reset()
    source = torch.linspace(-0.4, 0.1, 6).view(6, 1, 1, 1).expand(6, 3, 8, 8)
    change = torch.tensor([0.1, 0.3, 0.3, 0.3, 0.5, 0.3]).view(6, 1, 1, 1)
    metric.update(FORWARD, source, source + change, lambda most: source[:4] + 0.4)
    figures, half = metric.compute()[FORWARD], 1.96 * np.std([10, 30, 30, 30, 50, 30], ddof=1) / math.sqrt(6)
    expected = {"": 30, "_low": 30 - half, "_high": 30 + half, "_between": 60, "_share": 0.5, "_error": 4.0}
    expected |= {"_correlation": 0.9, "_of_adversarial": 40}
    for suffix, value in expected.items():
        assert figures[f"apparent_age_one{suffix}"] == pytest.approx(value, rel=1e-4), suffix
    assert figures["apparent_age_one_unsteady"] < 1  # the mean is what no perturbation changes much
    said = "\n".join(metric.warnings())
    assert "judges disagree on apparent_age of age: young -> old: 30 (one), 60 (two); believe none" in said
    assert "apparent_age_one follows the training's discriminators: changes of the sources by 2/255" in said


@pytest.mark.parametrize(
    ("answers", "distance", "named"),
    [(0.3, 0.0, True), (0.9, 0.0, False), (0.3, 45.0, True), (0.3, 90.0, False)],
)
def test_a_judge_that_cannot_tell_the_domains_apart_is_named_by_another_scale(
    answers: float, distance: float, named: bool
) -> None:
    """A shift moves it by 20: more than a third of how far its answers spread, or of two domains' distance, or less."""
    metric = ApparentLabel(ApparentLabel.Options.model_validate({"label": "age", "judges": [{"kind": "cnn"}]}))
    metric.judges = {"cnn": Judge(lambda x: 100 * x[:, 0, 8, 5].double()[:, None], None)}
    metric.quality = {("age", "cnn"): (4.0, 0.9), ("other", "cnn"): (4.0, 0.9)}
    same, two = np.array([0.0, 20.0]), np.array([-1.0, 1.0])
    metric.real = {"cnn": {"young": same, "old": same, "a": two, "b": two + distance}}
    metric.reset()
    source = torch.zeros(10, 3, 16, 16)
    source[:, :, 6, 3] = 0.2
    source[::2, :, 8, 5], source[1::2, :, 8, 5] = answers, -answers
    for translation in (FORWARD, Translation("other", "a", "b")):
        metric.update(translation, source, source, lambda most: None)
    said = [each for each in metric.warnings() if each.endswith(str(FORWARD))]
    expected = "apparent_age_cnn is unsteady: a shift of 2 pixels moves it by 20 for the sources of age: young -> old"
    assert said == ([expected] if named else [])


def test_judges_are_not_tried_where_nothing_is_held_out(weights: str) -> None:
    known = {
        "young": domain("young", spread(10, 40, 40, 0), [], 10),
        "old": domain("old", spread(60, 90, 40, 2), [], 20),
    }
    judges = [{"weights": weights, "size": 32, "mirror": False}]
    x = images([20, 30], 1)
    for metric, more, what in (
        (ApparentLabel(ApparentLabel.Options.model_validate({"label": "age", "judges": judges})), [], "the judges"),
        (TargetShare(TargetShare.Options.model_validate({"judges": judges})), [["k", "l"]], "the judges"),
        (TargetShare(TargetShare.Options(epochs=1, width=4)), [["k", "l"]], "the classifier"),
    ):
        metric.prepare(known, TASKS, 0)
        metric.reset()
        metric.update(FORWARD, *more, x, x, lambda most: None)
        (figures,) = metric.compute().values()
        assert figures and not any(math.isnan(each) for each in figures.values())
        assert f"no held-out samples to try {what} on: task age" in metric.warnings()


def colourless(each: Domain) -> Domain:
    class Grey(Media):
        channels = 1

    return Domain(each.name, each.samples, each.held_out, each.batches, Grey(None, 32))


@pytest.mark.parametrize("metric", [TargetShare, ApparentLabel, Content, Coverage])
def test_domains_of_other_channels_are_refused_before_anything_is_trained(
    domains: dict[str, Domain], metric: Any
) -> None:
    more = {"label": "age", "judges": [{"kind": "cnn"}]} if metric is ApparentLabel else {}
    made = metric(metric.Options.model_validate(more))
    made.check_domains(domains, TASKS)
    with pytest.raises(UsageError, match=r"domains differ in channels \(young 3, old 1\); .*leave the metric out"):
        made.check_domains({"young": domains["young"], "old": colourless(domains["old"])}, TASKS)


def test_a_pretrained_network_sees_grey_images_too(domains: dict[str, Domain], weights: str) -> None:
    metric = Content(Content.Options(network="squeezenet", weights=weights))
    metric.check_domains({"young": domains["young"], "old": colourless(domains["old"])}, TASKS)


def with_strengths(strengths: list[float], unit: float = 100) -> ApparentLabel:
    """Return the metric with a judge that says the brightness, and domains that are 40 apart by it."""
    table = {"label": "age", "judges": [{"kind": "cnn"}], "strengths": strengths}
    metric = ApparentLabel(ApparentLabel.Options.model_validate(table))
    metric.judges = {"cnn": Judge(lambda x: unit * x.double().mean((1, 2, 3))[:, None], None)}
    metric.real = {"cnn": {"young": np.array([9.0, 11.0, 10.0]), "old": np.array([49.0, 51.0, 50.0])}}
    metric.quality = {("age", "cnn"): (4.0, 0.9)}
    metric.reset()
    return metric


def test_labels_at_strengths_are_in_order_where_translations_are() -> None:
    """Each sample has a curve of its own: proportional, saturated, one that falls by 3 (within 40 / 10), one by 5."""
    strengths = [0.5, 1.0, 1.5]
    curves = {0.5: [10.0, 20, 20, 20], 1.0: [20.0, 20, 17, 15], 1.5: [30.0, 20, 20, 20]}
    source = torch.linspace(-0.4, 0.1, 4).view(4, 1, 1, 1).expand(4, 3, 8, 8)

    def at(sign: int) -> Callable[[float], Tensor]:
        return lambda strength: source + sign * torch.tensor(curves[strength]).view(4, 1, 1, 1) / 100

    metric = with_strengths(strengths)
    assert not metric.unused_inputs
    for translation, sign in ((FORWARD, 1), (BACKWARD, -1)):
        metric.update(translation, source, at(sign)(1.0), lambda most: None, at(sign))
        figures = metric.compute()[translation]
        expected = {"": 18, "_at_0.5": 17.5, "_at_1": 18, "_at_1.5": 22.5, "_monotone": 0.75, "_order": 1.0}
        for suffix, value in expected.items():
            signed = value if suffix in ("_monotone", "_order") else sign * value
            assert figures[f"apparent_age_cnn{suffix}"] == pytest.approx(signed, rel=1e-4), (translation, suffix)
    assert metric.direction == {"apparent_age_cnn_monotone": "higher", "apparent_age_cnn_order": "higher"}
    metric.reset()
    curves[1.0][0] = 5.0  # one sample falls by 5, and with it the mean
    metric.update(FORWARD, source, at(1)(1.0), lambda most: None, at(1))
    figures = metric.compute()[FORWARD]
    assert (figures["apparent_age_cnn_monotone"], figures["apparent_age_cnn_order"]) == (0.5, 0.0)
    metric.real["cnn"]["old"] = metric.real["cnn"]["young"]  # no direction: shifts alone
    figures = metric.compute()[FORWARD]
    assert figures["apparent_age_cnn_at_1.5"] == pytest.approx(22.5, rel=1e-4)
    assert not {"apparent_age_cnn_monotone", "apparent_age_cnn_order"} & set(figures)


@pytest.mark.parametrize("strengths", [[1.0], [1.0, 0.5], [0.5, 0.5]])
def test_strengths_are_two_or_more_in_ascending_order(strengths: list[float]) -> None:
    with pytest.raises(ValueError, match=r"strengths = .*: expected two or more in ascending order"):
        with_strengths(strengths)


def test_strengths_are_asked_for_only_where_they_are_wanted() -> None:
    metric = with_strengths([])
    assert set(metric.unused_inputs) == {"at_strength"} and not metric.direction
    source = torch.zeros(4, 3, 8, 8)
    metric.update(FORWARD, source, source + 0.3, lambda most: None)
    assert not any("_at_" in name or "_monotone" in name for name in metric.compute()[FORWARD])


def test_labels_that_are_kept_are_counted_by_judges() -> None:
    """Values are those of all ages, and `old` has no sample of the middle, which a translation to it cannot keep."""
    domains = {
        "young": domain("young", spread(10, 90, 60, 0), spread(10, 90, 12, 1), 10),
        "old": domain("old", [*spread(10, 35, 40, 2), *spread(65, 90, 40, 3)], [20.0, 80.0, 30.0, 70.0], 20),
    }

    def half_of(sample: Sample) -> str:
        age = sample.attributes["age"]
        return "low" if age < 40 else "high" if age > 60 else "middle"

    half = {
        name: Domain(
            each.name,
            [Sample(s.key, s.location, {"half": half_of(s)}) for s in each.samples],
            [Sample(s.key, s.location, {"half": half_of(s)}) for s in each.held_out],
            each.batches,
            each.media,
        )
        for name, each in domains.items()
    }
    metric = LabelKept(
        LabelKept.Options.model_validate({"label": "half", "judges": [{"kind": "cnn", "width": 8, "epochs": 30}]})
    )
    metric.check_domains(half, TASKS)
    metric.prepare(half, TASKS, 0)
    metric.reset()
    labels = ["low", "low", "high", "", "middle"]
    samples = [Sample(f"{i}", None, {"half": each} if each else {}) for i, each in enumerate(labels)]
    metric.update(FORWARD, samples, images([20, 20, 80, 20, 50], 50), images([20, 80, 80, 80, 50], 51))
    figures = metric.compute()[FORWARD]
    assert figures["label_kept_cnn"] == pytest.approx(2 / 3) and figures["label_kept_cnn_of_source"] == 1.0
    assert figures["label_accuracy_cnn"] > 0.8
    said = (
        "sources without a label 'half' that the target domain and the judges have are not counted: age: young -> old 2"
    )
    assert said in metric.warnings()


def test_judges_are_not_asked_for_a_label_that_every_task_changes(domains: dict[str, Domain]) -> None:
    options = LabelKept.Options.model_validate({"label": "age", "judges": [{"kind": "cnn"}]})
    ages = {"young": domains["young"], "old": domain("old", [60.0, 61.0], [], 0)}
    with pytest.raises(UsageError, match="no translation can be measured: 'old' and 'young' have no value of 'age' in"):
        LabelKept(options).check_domains(ages, TASKS)


def test_judges_that_disagree_or_are_unsteady_are_named() -> None:
    """One judge looks at the brightness, the other at a single pixel, which noise or a shift changes."""
    shares = JudgedShares()
    judges = {
        "bright": Judge(lambda x: torch.stack([-x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1).double(), ["a", "b"]),
        "pixel": Judge(lambda x: torch.stack([-x[:, 0, 0, 5], x[:, 0, 0, 5]], 1).double(), ["a", "b"]),
    }
    source = torch.full((10, 3, 16, 16), -0.5)
    source[:, :, :, 3] = 0.5  # the shift by two moves it to where that judge looks
    fake = -source
    wanted = dict.fromkeys(judges, np.ones(10))
    shares.add(FORWARD, "target_share", judges, wanted, source, fake)
    figures = shares.figures()[FORWARD]
    assert figures["target_share_bright"] == figures["target_share_pixel"] == 1.0
    assert figures["target_share_bright_unsteady"] == 0.0 and figures["target_share_pixel_unsteady"] == 1.0
    assert shares.warnings() == [
        "target_share_pixel is unsteady: a shift of 2 pixels moves it by 1 for the sources of age: young -> old"
    ]
    fake = fake.clone()
    fake[:5, 0, 0, 5] = -1
    shares = JudgedShares()
    shares.add(FORWARD, "target_share", judges, wanted, source, fake, tried=False)
    assert shares.warnings() == [
        "judges disagree on target_share of age: young -> old: 1 (bright), 0.5 (pixel); believe none of them before "
        "you have looked"
    ]


def test_a_linear_head_is_fooled_within_the_ball_and_the_judge_is_not(
    domains: dict[str, Domain], options: JudgeOptions
) -> None:
    """Sources as the adversarial control makes them for a linear discriminator: at the corner of the ball."""
    direction = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (3, 32, 32))).float()
    source = images(spread(10, 40, 40, 60), 61)
    score = (source * direction).sum((1, 2, 3))
    changed = source + 4 / 255 * direction
    assert ((changed * direction).sum((1, 2, 3)) > score + 40).all()  # many standard deviations of a head's logit
    judge = trained_judge(domains, Question(("young", "old")), options, 0)
    shares = JudgedShares()
    shares.add(FORWARD, "s", {"j": judge}, {"j": np.ones(40)}, source, source, lambda most: changed[:most])
    figures = shares.figures()[FORWARD]
    assert figures["s_j_of_adversarial"] == figures["s_j_of_source"] == 0.0


@pytest.mark.slow
def test_judges_of_photographs_see_age_and_race() -> None:
    file = DATA / "weights/squeezenet1_1_features_imagenet_caffe.npz"
    if not (file.exists() and (DATA / "faces").is_dir()):
        pytest.skip("the photographs are not available")
    chosen = {
        name: sorted((DATA / "faces").glob(pattern))[:160]
        for name, pattern in (("young", "25_*.jpg"), ("old", "55_*.jpg"))
    }

    def photographs(name: str) -> Domain:
        arrays = [np.asarray(Image.open(each).convert("RGB").resize((64, 64), Image.LANCZOS)) for each in chosen[name]]
        x = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1
        samples = [Sample(each.stem, each) for each in chosen[name]]

        def batches(held: bool, size: int, numbers: Sequence[int] = ()) -> Iterator[tuple[list[str], Tensor]]:
            part = slice(120, 160) if held else slice(0, 120)
            yield [each.key for each in samples[part]], x[part]

        return Domain(name, samples[:120], samples[120:], batches, Media(None, 64))

    both = {name: photographs(name) for name in chosen}
    question = Question(("young", "old"))
    judge = trained_judge(both, question, JudgeOptions(weights=str(file), size=96), 0)
    assert accuracy_of(judge, both, ["young", "old"], question) > 0.65
