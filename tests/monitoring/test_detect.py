"""Detection of faults in the figures of a step, in gradients, and in degraded samples."""

from collections.abc import Mapping

import pytest
import torch

from transgan.monitoring.detect import degrade, in_diagnostics, in_gradients
from transgan.monitoring.faults import LossRoles
from transgan.recipe.schema import Guard

WHERE = "t: a -> b"
HEALTHY = {
    f"{WHERE}/diagnostics/change": 0.1, f"{WHERE}/diagnostics/distance": 0.2,
    f"{WHERE}/diagnostics/spread": 0.15, f"{WHERE}/diagnostics/spread_of_target": 0.2,
    f"{WHERE}/diagnostics/recognised": 0.8, f"{WHERE}/loss_D/gan": 0.2, f"{WHERE}/loss_G/gan": 0.5,
}  # fmt: skip
ROLES = LossRoles(adversarial=["gan"])


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"diagnostics/spread": 0.059}, "collapse"),
        ({"diagnostics/spread": 0.061}, None),
        ({"diagnostics/change": 0.0019}, "copying"),
        ({"diagnostics/change": 0.0021}, None),
        ({"diagnostics/recognised": 0.99, "loss_D/gan": 0.01}, "discriminator_wins"),
        ({"diagnostics/recognised": 0.99, "loss_D/gan": 0.1}, None),
        ({"diagnostics/recognised": 0.97, "loss_D/gan": 0.01}, None),
        ({"diagnostics/recognised": 0.99, "loss_D/gan": -3.0}, None),  # the loss of a critic may be negative
    ],
)
def test_each_fault_has_its_limit(changed: Mapping[str, float], fault: str | None) -> None:
    figures = HEALTHY | {f"{WHERE}/{name}": value for name, value in changed.items()}
    found = [each.fault for each in in_diagnostics(figures, Guard(), ROLES) if each.bad]
    assert found == ([fault] if fault else [])


def test_missing_figures_give_no_finding_and_losses_of_other_translations_do_not_count() -> None:
    two = LossRoles(adversarial=["gan", "of_another_task"])
    won = HEALTHY | {f"{WHERE}/diagnostics/recognised": 0.99, f"{WHERE}/loss_D/gan": 0.01}
    assert [each.fault for each in in_diagnostics(won, Guard(), two) if each.bad] == ["discriminator_wins"]
    for name in HEALTHY:
        rest = {key: value for key, value in won.items() if key != name}
        assert all(each.fault == "discriminator_wins" or not each.bad for each in in_diagnostics(rest, Guard(), two)), (
            name
        )


def test_a_gradient_is_compared_with_its_own_median() -> None:
    before = {"g": [1.0] * 15 + [3.0] * 10, "new": [1.0] * 5}
    norms = {"g": 150.0, "new": 1e6}
    [finding] = in_gradients(norms, before, Guard())
    assert (finding.where, finding.figure, finding.bad) == ("g", 150.0, True)
    [finding] = in_gradients({"g": 90.0}, before, Guard())
    assert not finding.bad


def test_a_degraded_sample_differs_by_a_few_levels_at_most() -> None:
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    gap = (degrade(x) - x).abs()
    assert 0.005 < gap.mean() < 0.01 and gap.max() <= 2.5 * 2 / 255 + 1e-6
    assert torch.equal(degrade(x), degrade(x))
