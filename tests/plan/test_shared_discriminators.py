"""Discriminator slots that share networks, and losses that apply to some slots only."""

from typing import Any

import pytest
import torch

from transgan.errors import RecipeError
from transgan.training import Engine

RECIPE = """
train = { steps = 4, batch = 4 }
[generators]
g = { use = "resnet", per = "translation", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
again = { shares = "d", real = "source", fake = "reconstruction", translations = ["young -> old"] }
[losses]
lsgan = { weight = 1.0, discriminators = ["d"] }
vanilla = { weight = 0.5, discriminators = ["ag*"] }
"""


def test_a_slot_may_use_the_networks_of_another_on_other_nodes(planned: Any) -> None:
    plan = planned(RECIPE)
    assert set(plan.networks) == {"g.young-old", "g.old-young", "d.young", "d.old"}
    uses = {(str(t.translation), t.loss, t.discriminator.name, t.discriminator.network) for t in plan.terms}
    assert uses == {
        ("age: young -> old", "lsgan", "d", "d.old"),
        ("age: old -> young", "lsgan", "d", "d.young"),
        ("age: young -> old", "vanilla", "again", "d.young"),
    }


def test_the_shared_network_gets_the_gradient_of_both(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    from transgan.api import Clock

    plan, clock = planned(RECIPE), Clock()
    both, _ = double_engine(plan)
    alone, copies = double_engine(planned(RECIPE, overrides=("losses.vanilla=false", "discriminators.again=false")))
    samples = random_samples(plan, 0)
    for engine in (both, alone):
        for group in engine.optimizers.by_name.values():
            group.step = lambda: None  # gradients stay to be compared
        engine.train_step(micro_batches(plan, samples, 1, clock), clock)
    d, to_old, to_young = (copies[name] for name in ("d.young", "g.young-old", "g.old-young"))
    young = samples["age", "young"]
    reconstruction = to_young(to_old(young)).detach()
    softplus = torch.nn.functional.softplus
    loss = 0.5 * 0.5 * (softplus(-d(young).logits[0]).mean() + softplus(d(reconstruction).logits[0]).mean())
    expected = torch.autograd.grad(loss, list(d.parameters()))
    one, other = both.networks["d.young"].parameters(), alone.networks["d.young"].parameters()
    for p, q, gradient in zip(one, other, expected, strict=True):
        torch.testing.assert_close(p.grad, q.grad + gradient)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('shares = "d"', 'shares = "e"'),
            r"\[discriminators\.again\] shares: no discriminator 'e' with networks of its own. Known: d",
        ),
        (('shares = "d"', 'shares = "again"'), "no discriminator 'again' with networks of its own. Known: d"),
        (('shares = "d"', 'shares = "d", width = 8'), "width: is for 'd' to say"),
        (('["ag*"]', '["x"]'), r"discriminators: 'x' matches none. Known: again, d"),
    ],
)
def test_mistakes(planned: Any, change: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        planned(RECIPE.replace(*change))


def test_the_engine_trains_with_shared_networks(planned: Any) -> None:
    assert set(Engine(planned(RECIPE)).optimizers.by_name) == {"g.young-old", "g.old-young", "d.young", "d.old"}
