"""Losses against their formulas, written out in numpy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_standard import cycles, losses, penalties

from transgan.api import DiscriminatorOutput, Loss


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def output(classes: bool = False) -> DiscriminatorOutput:
    """Logits of two scales of different sizes, which must have the same weight."""
    logits = [torch.randn(2, 1, 6, 6, dtype=torch.float64), torch.randn(2, 1, 3, 3, dtype=torch.float64)]
    return DiscriminatorOutput(logits, torch.randn(2, 4, dtype=torch.float64) if classes else None)


def mean(function: Any, outputs: DiscriminatorOutput) -> float:
    return float(np.mean([np.mean(function(logits.numpy())) for logits in outputs.logits]))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def build(name: str, **options: Any) -> Any:
    """Return a loss by the name of its class."""
    cls = next(getattr(each, name) for each in (losses, cycles, penalties) if hasattr(each, name))
    return cls(cls.Options.model_validate(options))


#: For the discriminator: functions of the real and the fake logits, and a factor; for the generator: of fake logits.
ADVERSARIAL = {
    "LeastSquares": (lambda r: (r - 1) ** 2, lambda f: f**2, 0.5, lambda f: (f - 1) ** 2),
    "Vanilla": (lambda r: softplus(-r), softplus, 0.5, lambda f: softplus(-f)),
    "Hinge": (lambda r: np.maximum(0, 1 - r), lambda f: np.maximum(0, 1 + f), 0.5, lambda f: -f),
    "Wasserstein": (lambda r: -r, lambda f: f, 1.0, lambda f: -f),
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_losses(name: str) -> None:
    loss = build(name)
    of_real, of_fake, factor, of_generator = ADVERSARIAL[name]
    real, fake = output(), output()
    expected = factor * (mean(of_real, real) + mean(of_fake, fake))
    assert float(loss.for_discriminator(real, fake)) == pytest.approx(expected, rel=1e-12)
    assert float(loss.for_generator(fake)) == pytest.approx(mean(of_generator, fake), rel=1e-12)


@pytest.mark.parametrize("name", ["LeastSquares", "Vanilla", "Hinge"])
def test_correct_discriminator_has_zero_loss_and_its_generator_a_high_one(name: str) -> None:
    loss = build(name)
    correct = {"LeastSquares": (1.0, 0.0)}.get(name, (50.0, -50.0))
    real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), value)]) for value in correct)
    assert float(loss.for_discriminator(real, fake)) == pytest.approx(0, abs=1e-9)
    assert float(loss.for_generator(fake)) >= 1
    assert torch.isfinite(loss.for_generator(DiscriminatorOutput([torch.tensor([[1e4], [-1e4]])])))


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("Cycle", "source", "reconstruction"), ("Identity", "target", "identity"), ("Paired", "pair_fake", "pair_target")],
)
def test_distances_are_mean_absolute_differences(name: str, first: str, second: str) -> None:
    loss = build(name)
    a, b = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = np.abs(a.numpy() - b.numpy()).mean()
    assert float(loss.for_generator(**{first: a, second: b})) == pytest.approx(float(expected), rel=1e-6)
    assert float(loss.for_generator(**{first: a, second: a})) == 0
    assert not hasattr(loss, "for_discriminator")


@pytest.mark.parametrize("like", ["source", "target"])
def test_preserve_compares_the_logits_of_the_other_discriminators(like: str) -> None:
    loss = losses.Preserve(losses.PreserveOptions(like=like))  # type: ignore[arg-type]
    images = {name: torch.randn(2, 3, 4, 4, requires_grad=True) for name in ("fake", "source", "target")}

    def doubled(x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([2 * x.mean(1, keepdim=True), x[:, :1, :2, :2]])

    def squared(x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([x.square().sum(1, keepdim=True)])

    value = loss.for_generator(**images, other_discriminators=[doubled, squared])
    expected = 0.0
    for discriminator in (doubled, squared):
        pairs = zip(discriminator(images["fake"]).logits, discriminator(images[like]).logits, strict=True)
        for logits, reference in pairs:
            expected += float(((logits - reference) ** 2).mean().detach())
    assert value.item() == pytest.approx(expected, rel=1e-6)
    value.backward()  # type: ignore[no-untyped-call]
    assert images["fake"].grad is not None
    assert images["source"].grad is None and images["target"].grad is None
    assert float(loss.for_generator(**images, other_discriminators=[])) == 0


def test_domain_classification_is_a_cross_entropy_over_the_domains_of_the_task() -> None:
    loss = build("DomainClassification")
    outputs, domain, task_domains = output(classes=True), torch.tensor([3, 1]), torch.tensor([1, 3])
    assert outputs.class_logits is not None
    x = outputs.class_logits.numpy()[:, [1, 3]]
    expected = float(np.mean(np.log(np.exp(x).sum(1)) - x[[0, 1], [1, 0]]))
    assert float(loss.for_generator(outputs, domain, task_domains)) == pytest.approx(expected, rel=1e-12)
    assert float(loss.for_discriminator(outputs, domain, task_domains)) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="set its option classes = true"):
        loss.for_generator(output(), domain, task_domains)


def test_every_loss_is_documented() -> None:
    classes = [
        cls
        for module in (losses, cycles, penalties)
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Loss) and cls is not Loss
    ]
    assert len(classes) >= 12
    assert all((cls.__doc__ or "").strip() for cls in classes)


def test_one_sided_smoothing_lowers_the_target_of_real_samples_only() -> None:
    real, fake = output(), output()
    least_squares = build("LeastSquares", smooth=0.1).for_discriminator(real, fake)
    expected = 0.5 * (mean(lambda r: (r - 0.9) ** 2, real) + mean(lambda f: f**2, fake))
    assert float(least_squares) == pytest.approx(expected, rel=1e-12)
    cross_entropy = build("Vanilla", smooth=0.1).for_discriminator(real, fake)
    expected = 0.5 * (mean(lambda r: 0.9 * softplus(-r) + 0.1 * softplus(r), real) + mean(softplus, fake))
    assert float(cross_entropy) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["LeastSquares", "Vanilla", "Hinge"])
def test_realness_rises_from_fake_over_undecided_to_real(name: str) -> None:
    loss = build(name)
    fake, middle, real = loss.realness(torch.tensor([2 * loss.decision_logit - 1.0, loss.decision_logit, 1.0])).tolist()
    assert fake < middle < real <= 1


def test_a_lazy_identity_loss_has_the_same_value() -> None:
    """What makes up for the steps between is its weight there."""
    target, identity = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25)
    lazy = build("Identity", every=3)
    assert lazy.interval == 3
    assert float(lazy.for_generator(target, identity)) == pytest.approx(0.25)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_real_samples_of_other_domains_count_as_fakes(name: str) -> None:
    of_real, of_fake, factor, _ = ADVERSARIAL[name]
    real, fake, negative = output(), output(), output()
    loss = build(name, negatives="other_domains")
    assert build(name).unused_inputs == ("negative_output",) and not loss.unused_inputs
    times = 2 if name == "Wasserstein" else 1  # see test_a_constant_added_to_all_logits_...
    expected = factor * (times * mean(of_real, real) + mean(of_fake, fake) + mean(of_fake, negative))
    assert float(loss.for_discriminator(real, fake, negative)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_logits_of_kept_labels_are_added_by_what_they_count(name: str) -> None:
    *_, of_generator = ADVERSARIAL[name]
    fake, maps = output(), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    counts = torch.tensor([[0.5, 0.0, 0.25], [0.0, 0.0, 1.0]], dtype=torch.float64)
    found = build(name).for_generator(replace(fake, kept_logits=[maps], kept=counts))
    x = maps.numpy()
    kept = 0.5 * (
        0.5 * of_generator(x[0, 0]).mean() + 0.25 * of_generator(x[0, 2]).mean() + of_generator(x[1, 2]).mean()
    )
    assert float(found) == pytest.approx(mean(of_generator, fake) + kept, rel=1e-12)


def test_a_constant_added_to_all_logits_does_not_change_the_wasserstein_loss() -> None:
    """Otherwise it has no minimum, and with negatives there is one kind of real sample against two others."""
    loss = losses.Wasserstein(losses.AdversarialOptions(negatives="other_domains"))
    outputs = [output() for _ in range(3)]
    moved = [DiscriminatorOutput([logits + 7 for logits in each.logits]) for each in outputs]
    torch.testing.assert_close(loss.for_discriminator(*moved), loss.for_discriminator(*outputs))


def test_kept_logits_need_no_positions() -> None:
    logits, counts = torch.randn(2, 3, dtype=torch.float64), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    plain = DiscriminatorOutput([torch.zeros(2, 1, dtype=torch.float64)], kept_logits=[logits], kept=counts)
    expected = 1 + ((logits[0, 0] - 1) ** 2 + 0.5 * (logits[1, 1] - 1) ** 2) / 2
    torch.testing.assert_close(losses.LeastSquares(losses.SmoothOptions()).for_generator(plain), expected)
