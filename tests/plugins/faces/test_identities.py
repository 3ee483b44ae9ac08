"""Synthetic identities: one person, expressions that vary, and the other person's exact counterpart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transgan_faces.identities import EXPRESSION, IdentityFace, SyntheticIdentities, SyntheticIdentitiesOptions
from transgan_faces.metrics_expression import ExpressionKept, ExpressionKeptOptions, Reader
from transgan_faces.region_detector import Faces, FacesOptions

from transgan.api import Domain, Sample, Translation, UsageError
from transgan.api.samples import Media

SIZE = 40
THERE = Translation("swap", "first", "second")
FIRST, SECOND = {"person": 9}, {"person": 26}


@pytest.fixture(scope="module")
def source() -> SyntheticIdentities:
    return SyntheticIdentities(SyntheticIdentitiesOptions(count=340), None)


def pictures(samples: list[Sample]) -> torch.Tensor:
    drawn = np.stack([each.location(SIZE) for each in samples])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_counterparts_are_the_other_person_with_the_same_expression(source: SyntheticIdentities) -> None:
    samples = source.samples("first", FIRST)
    others = {each.location.expression for each in source.samples("second", SECOND)}
    assert not others & {each.location.expression for each in samples}  # unpaired
    for sample in samples[:20]:
        there = source.counterpart(sample, FIRST, SECOND)
        assert there is not None
        assert there.location == replace(sample.location, person=26)
        back = source.counterpart(there, SECOND, FIRST)
        assert back is not None and back.location == sample.location


def test_expressions_are_uniform_and_independent(source: SyntheticIdentities) -> None:
    drawn = np.array([each.location.expression for each in source.samples("first", FIRST)])
    assert drawn.shape == (340, len(EXPRESSION)) and drawn.min() >= 0 and drawn.max() <= 1
    assert np.abs(drawn.mean(0) - 0.5).max() < 0.07
    assert np.abs(np.corrcoef(drawn.T) - np.eye(len(EXPRESSION))).max() < 0.2


@pytest.mark.parametrize("index", range(len(EXPRESSION)), ids=EXPRESSION)
def test_every_parameter_changes_the_picture_steadily(index: int) -> None:
    middle = [0.5] * len(EXPRESSION)
    faces = []
    for value in (0.0, 0.5, 1.0):
        middle[index] = value
        faces.append(IdentityFace(0, 9, 30.0, "White", tuple(middle))(128).astype(float))
    near, far = np.abs(faces[1] - faces[0]).mean(), np.abs(faces[2] - faces[0]).mean()
    assert near > 0.05 and far > near


def test_faces_are_where_the_region_detector_would_crop_them() -> None:
    """The eyes are at the template's places, as a detector that knows nothing of drawings sees them."""
    pytest.importorskip("cv2")
    expression = (0.3, 0.0, 0.7, 0.5, 0.4, 0.5, 0.5, 0.6)
    for person in (9, 26, 18):
        drawn = IdentityFace(0, person, 30.0, "White", expression)(130)
        x = torch.full((3, 260, 260), 0.1)
        x[:, 65:195, 65:195] = torch.from_numpy(drawn).permute(2, 0, 1).float() / 127.5 - 1
        (face, *_) = Faces(FacesOptions()).detect(x, 40)
        square = face.place.square
        assert square.side == pytest.approx(100, rel=0.15)  # 130 less the margin
        assert (square.x, square.y) == pytest.approx((130, 130), abs=9)


@pytest.mark.parametrize(
    "selection", [{}, {"person": "anna"}, {"person": -1}, {"person": 1, "hat": 2}, "anna", {"person": True}]
)
def test_a_selection_names_a_person(source: SyntheticIdentities, selection: object) -> None:
    with pytest.raises(UsageError, match="expected the number of a person"):
        source.samples("first", selection)
    with pytest.raises(UsageError, match="an age of 18 to 80 years and a race of White"):
        source.samples("first", {"person": 3, "age": 7})


# The metric


class _Media(Media):
    suffixes = ()


def domain(source: SyntheticIdentities, name: str, selection: object) -> Domain:
    samples = source.samples(name, selection)
    training, held_out = samples[:300], samples[300:]

    def batches(is_held_out: bool, size: int) -> list[tuple[list[str], torch.Tensor]]:
        chosen = held_out if is_held_out else training
        parts = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        return [([each.key for each in part], pictures(part)) for part in parts]

    return Domain(name, training, held_out, batches, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def metric(source: SyntheticIdentities) -> ExpressionKept:
    found = ExpressionKept(ExpressionKeptOptions())
    domains = {"first": domain(source, "first", FIRST), "second": domain(source, "second", SECOND)}
    found.prepare(domains, {"swap": ["first", "second"]}, 0)
    return found


def test_a_true_translation_has_the_error_of_the_regressor_alone(
    source: SyntheticIdentities, metric: ExpressionKept
) -> None:
    samples = source.samples("first", FIRST)[300:]
    true = [source.counterpart(each, FIRST, SECOND) for each in samples]
    metric.reset()
    metric.update(THERE, samples, pictures([each for each in true if each]))
    figures = metric.compute()[THERE]
    assert figures["expression_error_of_real"] < 0.09
    assert figures["expression_error"] == pytest.approx(figures["expression_error_of_real"], abs=0.03)
    # The mean distance of independent uniform numbers is a third.
    assert figures["expression_error_of_others"] == pytest.approx(1 / 3, abs=0.05)
    assert {f"expression_error_{name}" for name in EXPRESSION} < set(figures)
    assert figures["expression_error"] == pytest.approx(
        np.mean([figures[f"expression_error_{name}"] for name in EXPRESSION])
    )


def test_a_translation_that_ignores_its_source_is_found(source: SyntheticIdentities, metric: ExpressionKept) -> None:
    samples = source.samples("first", FIRST)[300:]
    same = source.counterpart(samples[0], FIRST, SECOND)
    assert same is not None
    metric.reset()
    metric.update(THERE, samples, pictures([same] * len(samples)))
    figures = metric.compute()[THERE]
    assert figures["expression_error"] > 0.2
    assert figures["expression_error"] == pytest.approx(figures["expression_error_of_others"], abs=0.03)


def test_other_data_have_no_figures() -> None:
    metric = ExpressionKept(ExpressionKeptOptions())
    samples = [Sample("a", "a.png")]
    metric.prepare({"x": Domain("x", samples, samples, None, None)}, {}, 0)  # type: ignore[arg-type]
    metric.reset()
    metric.update(Translation("t", "x", "x"), samples, torch.zeros(1, 3, 8, 8))
    assert metric.compute() == {}
    assert metric.warnings() == ["expressions are known for the source synthetic_identities only"]


def test_the_penalty_has_the_least_leave_one_out_error() -> None:
    """The regressor leaves out each sample in closed form; here it is fitted again without it."""
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(24, 1, 4, 4, generator=rng)
    y = torch.stack([x.mean((1, 2, 3)), x[:, 0, 0, 0] ** 2], 1).double() + 0.02 * torch.rand(24, 2, generator=rng)
    reader = Reader.fit(x, y)
    centred = x.double().flatten(1) - x.double().flatten(1).mean(0)
    kernel = (1 + centred @ centred.T / centred.square().sum(1).mean()) ** 2
    offset = y.mean(0)
    errors = {}
    for share in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        penalty = share * float(torch.linalg.eigvalsh(kernel).mean())
        left = []
        for i in range(24):
            rest = [j for j in range(24) if j != i]
            weights = torch.linalg.solve(
                kernel[rest][:, rest] + penalty * torch.eye(23, dtype=torch.float64), y[rest] - offset
            )
            left.append((kernel[i, rest] @ weights + offset - y[i]).abs())
        errors[share] = float(torch.stack(left).mean())
    best = min(errors, key=lambda share: errors[share])
    penalty = best * float(torch.linalg.eigvalsh(kernel).mean())
    weights = torch.linalg.solve(kernel + penalty * torch.eye(24, dtype=torch.float64), y - offset)
    torch.testing.assert_close(reader.weights, weights, rtol=1e-6, atol=1e-9)
