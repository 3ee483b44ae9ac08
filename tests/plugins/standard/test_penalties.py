"""Penalties against finite differences, closed forms, and the known optimum of a critic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transgan_standard.losses import Wasserstein
from transgan_standard.penalties import R1, GradientPenalty, Lecam, squared_gradient_norms

from transgan.api import DiscriminatorOutput, Options
from transgan.rng import CounterRng


class Critic(nn.Module):
    """A smooth critic with two scales, for finite differences of first and second order."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64)
        self.second = nn.Conv2d(3, 1, 3, dtype=torch.float64)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([self.second(torch.tanh(3 * self.first(y))) for y in (x, x[..., ::2, ::2])])


REAL, FAKE = (torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (1, 2))
FORMS = {
    "two-sided": lambda norms: ((norms / 0.14 - 1) ** 2).mean(),
    "one-sided": lambda norms: (np.maximum(0, norms / 0.14 - 1) ** 2).mean(),
    "zero-centred": lambda norms: (norms**2).mean(),
}


def rng(count: int = 3) -> CounterRng:
    return CounterRng(5, np.zeros(count), np.arange(count), dtype=torch.float64)


def norms(critic: Critic, x: Tensor, of: str = "mean", step: float = 1e-5) -> np.ndarray:
    """Return the norm of the gradient of the mean or sum of each sample's logits, (N,), by central differences."""

    def reduced(x: Tensor) -> Tensor:
        with torch.no_grad():
            scales = [each.flatten(1) for each in critic(x).logits]
            return torch.stack([each.sum(1) if of == "sum" else each.mean(1) for each in scales]).mean(0)

    flat = x.flatten(1)
    gradients = np.zeros((len(x), flat.shape[1]))
    for i in range(flat.shape[1]):
        change = torch.zeros_like(flat)
        change[:, i] = step
        above, below = reduced((flat + change).view_as(x)), reduced((flat - change).view_as(x))
        gradients[:, i] = ((above - below) / (2 * step)).numpy()
    lengths: np.ndarray = np.sqrt((gradients**2).sum(1))
    return lengths


def penalties() -> dict[str, tuple[Callable[[Critic], Tensor], Callable[[Critic], float]]]:
    """Return each penalty as implemented, and by finite differences."""
    share = rng().uniform("between")[:, None, None, None]
    functions: dict[str, Any] = {}
    for form, formula in FORMS.items():
        loss = GradientPenalty(GradientPenalty.Options.model_validate({"form": form, "slope": 0.14}))
        functions[form] = (
            lambda critic, loss=loss: loss.for_discriminator(REAL, FAKE, critic, rng()),
            lambda critic, formula=formula: float(formula(norms(critic, share * REAL + (1 - share) * FAKE))),
        )
    for name, of in (("r1", "mean"), ("r1 of the sum", "sum")):
        r1 = R1(R1.Options.model_validate({"of": of}))
        functions[name] = (
            lambda critic, r1=r1: r1.for_discriminator(REAL, critic),
            lambda critic, of=of: float(0.5 * (norms(critic, REAL, of) ** 2).mean()),
        )
    sums = GradientPenalty(GradientPenalty.Options.model_validate({"of": "sum", "slope": 0.14}))
    functions["of the sum"] = (
        lambda critic: sums.for_discriminator(REAL, FAKE, critic, rng()),
        lambda critic: FORMS["two-sided"](norms(critic, share * REAL + (1 - share) * FAKE, "sum")),
    )
    return functions


@pytest.mark.parametrize("name", [*FORMS, "r1", "r1 of the sum", "of the sum"])
def test_penalties_and_their_gradients_agree_with_finite_differences(name: str) -> None:
    penalty, expected = penalties()[name]
    critic = Critic()
    value = penalty(critic)
    assert value.item() == pytest.approx(expected(critic), rel=1e-6)
    assert value.item() > 1e-6
    value.backward()  # type: ignore[no-untyped-call]
    step = 1e-5
    for parameter in (critic.first.weight, critic.second.weight):
        assert parameter.grad is not None
        flat = parameter.data.view(-1)
        for i in (0, 7, len(flat) - 1):
            original = float(flat[i])
            flat[i] = original + step
            above = penalty(critic).item()
            flat[i] = original - step
            below = penalty(critic).item()
            flat[i] = original
            assert float(parameter.grad.view(-1)[i]) == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-9)


def test_every_sample_has_its_own_interpolate_of_real_and_fake() -> None:
    inputs: list[Tensor] = []

    def critic(x: Tensor) -> DiscriminatorOutput:
        inputs.append(x.detach())
        return DiscriminatorOutput([x.sum((1, 2, 3), keepdim=True)])

    value = GradientPenalty(GradientPenalty.Options()).for_discriminator(REAL, FAKE, critic, rng())
    shares = ((inputs[0] - FAKE) / (REAL - FAKE)).flatten(1)
    assert float(shares.std(1).max()) < 1e-6 and float(shares.mean(1).std()) > 0.05
    assert float(shares.min()) >= 0 and float(shares.max()) <= 1
    assert value.item() == pytest.approx((np.sqrt(2 * 8 * 8) - 1) ** 2)


@pytest.mark.parametrize("form", ["two-sided", "one-sided"])
def test_a_slope_for_the_sum_is_a_slope_for_the_mean_divided_by_the_positions(form: str) -> None:
    """The kind: constants of a source that are used for a discriminator with another number of logits."""
    conv = nn.Conv2d(2, 1, 4, 2, dtype=torch.float64)  # 3x3 positions of 8x8

    def value(of: str, slope: float) -> float:
        options = GradientPenalty.Options.model_validate({"form": form, "of": of, "slope": slope})
        penalty = GradientPenalty(options)
        found = penalty.for_discriminator(REAL, FAKE, lambda x: DiscriminatorOutput([conv(x)]), rng())
        return found.item()

    assert value("sum", 0.9) == pytest.approx(value("mean", 0.1), rel=1e-9)
    assert value("sum", 0.1) != pytest.approx(value("mean", 0.1), rel=0.1)
    squares = [
        R1(R1.Options.model_validate({"of": of}))
        .for_discriminator(REAL, lambda x: DiscriminatorOutput([conv(x)]))
        .item()
        for of in ("sum", "mean")
    ]
    assert squares[0] == pytest.approx(81 * squares[1], rel=1e-9)


def test_penalty_of_a_zero_gradient_has_finite_gradients() -> None:
    weight = torch.zeros(2, 1, requires_grad=True)
    loss = GradientPenalty(GradientPenalty.Options())
    x = torch.ones(3, 2)
    value = loss.for_discriminator(x, x, lambda x: DiscriminatorOutput([x @ weight]), rng())
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == 1
    assert weight.grad is not None and torch.isfinite(weight.grad).all()


def test_lazy_r1_is_due_every_nth_step_and_has_the_same_value() -> None:
    critic = Critic()
    always, lazy = (R1(R1.Options.model_validate({"every": every})) for every in (1, 4))
    assert (always.interval, lazy.interval) == (1, 4)
    value = always.for_discriminator(REAL, critic).item()
    assert lazy.for_discriminator(REAL, critic).item() == pytest.approx(value)  # its weight is n times as large


@pytest.mark.parametrize("form", ["two-sided", "one-sided"])
def test_critic_converges_to_the_gradient_of_the_optimum(form: str) -> None:
    """Real samples are fake ones shifted by d: the optimal critic is linear, with gradient 1 + d / (2 * weight)."""
    torch.manual_seed(0)
    distance, weight = 0.6, 10.0
    critic = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(critic.parameters(), 5e-3, (0.0, 0.9))
    penalty, wasserstein = (
        GradientPenalty(GradientPenalty.Options.model_validate({"form": form})),
        Wasserstein(Options()),
    )

    def discriminator(x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([critic(x)])

    def sample(count: int) -> tuple[Tensor, Tensor]:
        fake = torch.rand(count, 2) - 0.5
        return torch.rand(count, 2) - 0.5 + torch.tensor([distance, 0.0]), fake

    steps = 500
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        real, fake = sample(128)
        step_rng = CounterRng(step, np.zeros(128), np.arange(128))
        loss = wasserstein.for_discriminator(discriminator(real), discriminator(fake))
        loss = loss + weight * penalty.for_discriminator(real, fake, discriminator, step_rng)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    real, fake = sample(2000)
    x = (fake + torch.rand(2000, 1) * (real - fake)).requires_grad_()
    (gradients,) = torch.autograd.grad(critic(x).sum(), x)
    mean = float(gradients.norm(dim=1).mean())
    assert mean == pytest.approx(1.0, abs=0.05)
    assert float(gradients[:, 0].mean()) == pytest.approx(1 + distance / (2 * weight), abs=0.03)


def test_lecam_compares_logits_with_the_moving_average_of_the_opposite_kind() -> None:
    loss = Lecam(Lecam.Options.model_validate({"decay": 0.9}))
    buffers: dict[str, Tensor] = {}
    real, fake = (DiscriminatorOutput([torch.randn(4, 1, 5, 5), torch.randn(4, 1, 2, 2)]) for _ in range(2))
    trained = DiscriminatorOutput([each.clone().requires_grad_() for each in real.logits])
    first = loss.for_discriminator(trained, fake, buffers)
    assert first.item() == 0 and first.requires_grad
    means = {
        name: float(np.mean([float(logits.mean()) for logits in output.logits]))
        for name, output in (("real", real), ("fake", fake))
    }
    assert {name: float(value) for name, value in buffers.items()} == pytest.approx(means, abs=1e-6)
    other = DiscriminatorOutput([each + 1 for each in real.logits])
    expected = np.mean([float((logits - means["fake"]).square().mean()) for logits in other.logits])
    expected += np.mean([float((logits - means["real"]).square().mean()) for logits in fake.logits])
    assert loss.for_discriminator(other, fake, buffers).item() == pytest.approx(expected, rel=1e-5)
    assert float(buffers["real"]) == pytest.approx(means["real"] + 0.1, abs=1e-6)
    assert float(buffers["fake"]) == pytest.approx(means["fake"], abs=1e-6)


@pytest.mark.parametrize(("of", "factor"), [("mean", 1.0), ("sum", 16.0)])
def test_logits_of_kept_labels_are_penalized_as_adversarial_losses_contain_them(of: str, factor: float) -> None:
    """A closed form: of logits that are linear in x the gradient is known."""
    slopes, counts = torch.tensor([2.0, 5.0], dtype=torch.float64), torch.tensor([[1.0, 0.5]], dtype=torch.float64)

    def critic(x: Tensor) -> DiscriminatorOutput:
        own = 3 * x
        kept = torch.cat([slope * x for slope in slopes], 1)  # (N, labels, H, W)
        return DiscriminatorOutput([own], kept_logits=[kept], kept=counts.expand(len(x), -1))

    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = (3 + 1.0 * 2 + 0.5 * 5) / 16 * factor  # of the mean over 16 positions
    found = squared_gradient_norms(critic, x, of)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.full((2,), 16 * slope**2, dtype=torch.float64))
