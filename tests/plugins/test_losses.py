"""Every loss against its formula, in numpy and by hand."""

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
    """Two scales of different size, which must count the same."""
    logits = [torch.randn(2, 1, 6, 6, dtype=torch.float64), torch.randn(2, 1, 3, 3, dtype=torch.float64)]
    return DiscriminatorOutput(logits, torch.randn(2, 4, dtype=torch.float64) if classes else None)


def mean(of: Any, judged: DiscriminatorOutput) -> float:
    return float(np.mean([np.mean(of(logits.numpy())) for logits in judged.logits]))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def made(name: str, **options: Any) -> Any:
    """A loss by the name of its class."""
    cls = next(getattr(each, name) for each in (losses, cycles, penalties) if hasattr(each, name))
    return cls(cls.Options.model_validate(options))


#: For the discriminator: what is done to real logits, to fake ones, and the factor; for the generator: to fake ones.
ADVERSARIAL = {
    "LeastSquares": (lambda r: (r - 1) ** 2, lambda f: f**2, 0.5, lambda f: (f - 1) ** 2),
    "Vanilla": (lambda r: softplus(-r), softplus, 0.5, lambda f: softplus(-f)),
    "Hinge": (lambda r: np.maximum(0, 1 - r), lambda f: np.maximum(0, 1 + f), 0.5, lambda f: -f),
    "Wasserstein": (lambda r: -r, lambda f: f, 1.0, lambda f: -f),
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_losses(name: str) -> None:
    loss = made(name)
    of_real, of_fake, factor, of_generator = ADVERSARIAL[name]
    real, fake = output(), output()
    expected = factor * (mean(of_real, real) + mean(of_fake, fake))
    assert float(loss.for_discriminator(real, fake)) == pytest.approx(expected, rel=1e-12)
    assert float(loss.for_generator(fake)) == pytest.approx(mean(of_generator, fake), rel=1e-12)


@pytest.mark.parametrize("name", ["LeastSquares", "Vanilla", "Hinge"])
def test_a_discriminator_that_is_right_loses_nothing_and_the_generator_much(name: str) -> None:
    loss = made(name)
    sure = {"LeastSquares": (1.0, 0.0)}.get(name, (50.0, -50.0))
    real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), value)]) for value in sure)
    assert float(loss.for_discriminator(real, fake)) == pytest.approx(0, abs=1e-9)
    assert float(loss.for_generator(fake)) >= 1
    assert torch.isfinite(loss.for_generator(DiscriminatorOutput([torch.tensor([[1e4], [-1e4]])])))


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("Cycle", "source", "reconstruction"), ("Identity", "target", "identity"), ("Paired", "fake", "target")],
)
def test_distances_are_mean_absolute_differences(name: str, first: str, second: str) -> None:
    loss = made(name)
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
    for judge in (doubled, squared):
        for got, want in zip(judge(images["fake"]).logits, judge(images[like]).logits, strict=True):
            expected += float(((got - want) ** 2).mean().detach())
    assert value.item() == pytest.approx(expected, rel=1e-6)
    value.backward()  # type: ignore[no-untyped-call]
    assert images["fake"].grad is not None
    assert images["source"].grad is None and images["target"].grad is None
    assert float(loss.for_generator(**images, other_discriminators=[])) == 0


def test_domain_classification_is_a_cross_entropy_among_the_domains_of_the_task() -> None:
    loss = made("DomainClassification")
    judged, domain, among = output(classes=True), torch.tensor([3, 1]), torch.tensor([1, 3])
    assert judged.class_logits is not None
    x = judged.class_logits.numpy()[:, [1, 3]]
    expected = float(np.mean(np.log(np.exp(x).sum(1)) - x[[0, 1], [1, 0]]))
    assert float(loss.for_generator(judged, domain, among)) == pytest.approx(expected, rel=1e-12)
    assert float(loss.for_discriminator(judged, domain, among)) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="set its option classes = true"):
        loss.for_generator(output(), domain, among)


def test_every_loss_says_what_it_is() -> None:
    classes = [
        cls
        for module in (losses, cycles, penalties)
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Loss) and cls is not Loss
    ]
    assert len(classes) >= 12
    assert all((cls.__doc__ or "").strip() for cls in classes)


def test_one_sided_smoothing_lowers_the_label_of_real_samples_alone() -> None:
    real, fake = output(), output()
    least = made("LeastSquares", smooth=0.1).for_discriminator(real, fake)
    expected = 0.5 * (mean(lambda r: (r - 0.9) ** 2, real) + mean(lambda f: f**2, fake))
    assert float(least) == pytest.approx(expected, rel=1e-12)
    entropy = made("Vanilla", smooth=0.1).for_discriminator(real, fake)
    expected = 0.5 * (mean(lambda r: 0.9 * softplus(-r) + 0.1 * softplus(r), real) + mean(softplus, fake))
    assert float(entropy) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["LeastSquares", "Vanilla", "Hinge"])
def test_opinions_rise_from_fake_over_undecided_to_real(name: str) -> None:
    loss = made(name)
    fake, middle, real = loss.opinion(torch.tensor([2 * loss.boundary - 1.0, loss.boundary, 1.0])).tolist()
    assert fake < middle < real <= 1
