"""Labels that discriminators keep, and real samples of other domains as negatives, against a hand-written step."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from transgan.api import Clock
from transgan.data.domains import Domains
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.errors import RecipeError
from transgan.plan.kept import kept_mask
from transgan.rng import CounterRng
from transgan.training.kept import KeptLabels

RECIPE = """
train = { steps = 4, batch = 4 }
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
white = { race = "White" }
black = { race = "Black" }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[attributes]
mood = { values = ["calm", "glad", "cross"] }
race = { values = ["White", "Black"] }
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators.d]
use = "patch"
per = "run"
width = 4
layers = 1
label_maps = true
kept_weight = 0.25
keep = ["mood", "race", "age"]
[losses]
vanilla = { negatives = "other_domains" }
"""
#: Entries of the condition: three moods, two races, two domains of the task age.
MOOD, RACE, AGE = slice(4, 7), slice(7, 9), slice(9, 11)  # behind the maps of four domains


def side(plan: Any, name: str, x: Tensor, kept: list[list[float]]) -> Side:
    rows = torch.tensor(kept, dtype=torch.float64)
    return Side(x, domain_index(plan, name, len(x), "cpu"), {"kept": rows})


def test_the_step_is_that_of_a_hand_written_loop(planned: Any, double_engine: Any) -> None:
    plan, clock = planned(RECIPE), Clock()
    engine, copies = double_engine(plan)
    age = next(t for t in plan.translations if t.source == "young")
    generator = torch.Generator().manual_seed(1)
    x, y = (2 * torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float64) - 1 for _ in range(2))
    calm_white, cross_unknown = [1, 0, 0, 1, 0, 1, 0], [0, 0, 1, 0, 0, 1, 0]
    glad_black, calm_white_old = [0, 1, 0, 0, 1, 0, 1], [1, 0, 0, 1, 0, 0, 1]
    source, target = (
        side(plan, "young", x, [calm_white, cross_unknown]),
        side(plan, "old", y, [glad_black, calm_white_old]),
    )
    rng = CounterRng(7, torch.zeros(2).numpy(), torch.arange(2).numpy(), dtype=torch.float64)
    inputs = assemble_inputs(plan, age, source, target, rng, clock, training=True)
    for group in engine.optimizers.by_name.values():
        group.step = lambda: None  # gradients stay to be compared
    engine.train_step([inputs], clock)

    d, g = copies["d"].network.scales[0], copies["g"]
    old = 1  # the index of the domain

    def maps(samples: Tensor) -> Tensor:
        return d(samples, None)[0]

    def cost(sign: float, samples: Tensor, wanted: list[tuple[int, int, float]]) -> Tensor:
        found = maps(samples)
        total = softplus(sign * found[:, old]).mean()
        return total + sum(0.25 * w * softplus(sign * found[n, k]).mean() / 2 for n, k, w in wanted)

    fake = g(x, domain=torch.tensor([old, old])).detach()
    # Labels of the task's own change are not asked about: maps 9 and 10 stay out. What is unknown stays out too.
    real_terms = [(0, 5, 1.0), (0, 8, 1.0), (1, 4, 1.0), (1, 7, 1.0)]
    fake_terms = [(0, 4, 1.0), (0, 7, 1.0), (1, 6, 1.0)]
    others = [(0, 5, 0.5), (0, 6, 0.5), (0, 8, 1.0), (1, 4, 0.5), (1, 5, 0.5)]
    loss = 0.5 * (cost(-1, y, real_terms) + cost(1, fake, fake_terms) + cost(1, x, others))
    expected = torch.autograd.grad(loss, list(d.parameters()))
    for p, gradient in zip(engine.networks["d"].network.scales[0].parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)

    fresh = g(x, domain=torch.tensor([old, old]))
    loss = cost(-1, fresh, fake_terms)
    expected = torch.autograd.grad(loss, list(g.parameters()), allow_unused=True)
    for p, gradient in zip(engine.networks["g"].parameters(), expected, strict=True):
        found = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(found, torch.zeros_like(p) if gradient is None else gradient)


def test_a_task_does_not_keep_what_it_changes(planned: Any) -> None:
    plan = planned(RECIPE)
    keep = ("mood", "race", "age")
    assert kept_mask(plan.recipe, keep, "age") == [1, 1, 1, 1, 1, 0, 0]
    assert kept_mask(plan.recipe, keep, "race") == [1, 1, 1, 0, 0, 1, 1]
    assert kept_mask(plan.recipe, ("mood",), "race") == [1, 1, 1, 0, 0, 0, 0]


def test_labels_are_those_of_the_samples_and_of_the_domains_that_they_are_in(planned: Any) -> None:
    text = RECIPE.replace('mood = { values = ["calm", "glad", "cross"] }\n', "").replace('"mood", ', "")
    domains = Domains(planned('data = { source = "synthetic_faces", size = 16 }\n' + text))
    for name, domain in domains.items():
        for sample, row in zip(domain.samples, domain.labels["kept"], strict=True):
            white, old = sample.attributes["race"] == "White", sample.attributes["age"] >= 50
            assert row.tolist() == [white, not white, not old, old], name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('discriminators.d.keep=["mod"]', "no attribute and no task 'mod'. Did you mean 'mood'?"),
        ("discriminators.d.label_maps=false", "not conditioned on kept labels"),
        ("attributes.mood={ from = 0, to = 1 }", "'mood' is a number; expected a label with values"),
    ],
)
def test_mistakes_are_named(planned: Any, change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        planned(RECIPE, overrides=(change,))


def test_a_discriminator_may_be_conditioned_on_them_by_projection(planned: Any) -> None:
    text = RECIPE.replace("label_maps = true\nkept_weight = 0.25", 'conditionings = ["domain", "kept"]')
    kept = '[conditionings]\ndomain = { use = "embedding" }\nkept = { use = "embedding", of = "kept", width = 5 }\n'
    plan = planned(text + kept, overrides=('generators.g.conditionings=["domain"]',))
    assert plan.networks["d"].spec.style == 16 + 5
    assert plan.networks["d"].takes("kept") and not plan.networks["g"].takes("kept")


def test_a_task_changes_the_label_of_another_one_about_the_same_thing(planned: Any) -> None:
    more = 'between = ["white", "black"] }\nback = { from = "old", to = "young" }\n'
    more += 'ages = { between = ["child", "senior"] }\n'
    text = RECIPE.replace('between = ["white", "black"] }\n', more)
    text = text.replace("[tasks]", "child = { age = [0, 10] }\nsenior = { age = [70, 80] }\n[tasks]")
    recipe = planned(text).recipe
    for task in ("age", "back", "ages"):
        assert kept_mask(recipe, ("age",), task)[-2:] == [0, 0], task
    assert kept_mask(recipe, ("age",), "race")[-2:] == [1, 1]


def test_generators_get_no_kept_labels(planned: Any) -> None:
    """A model has no discriminators, and so could not be rebuilt with them."""
    kept = '[conditionings]\ndomain = { use = "embedding" }\nkept = { use = "embedding", of = "kept" }\n'
    with pytest.raises(RecipeError, match=r"set conditionings = \['domain'\]"):
        planned(RECIPE + kept)


def passes(planned: Any, double_engine: Any, text: str) -> tuple[Any, Any]:
    plan = planned(text)
    engine, _ = double_engine(plan)
    return plan, engine


@pytest.mark.parametrize("from_source", [True, False])
def test_a_fake_keeps_the_labels_of_the_sample_that_it_is_made_from(planned: Any, from_source: bool) -> None:
    ends = 'real = "source"\nfake = "reconstruction"\n' if from_source else 'real = "target"\nfake = "identity"\n'
    plan = planned(RECIPE.replace("label_maps = true\n", f"label_maps = true\n{ends}"))
    age, kept = next(t for t in plan.translations if t.source == "young"), KeptLabels(plan)
    labels = {"source": torch.tensor([[1.0, 0, 0, 1, 0, 1, 0]]), "target": torch.tensor([[0, 1.0, 0, 0, 1, 0, 1]])}
    values: dict[Any, Any] = {(age, f"{end}_attributes"): {"kept": x} for end, x in labels.items()}
    use = plan.discriminators[age][0]
    mine = labels["source" if from_source else "target"].clone()
    mine[:, 5:] = 0  # the task changes these
    torch.testing.assert_close(kept.of(values, age, use, "fake"), mine)
    other = "target" if from_source else "source"
    values[age, f"{other}_attributes"] = {"kept": torch.tensor([[0.0, 1, 0, 1, 1, 0, 0]])}  # in both domains of a task
    torch.testing.assert_close(kept.of(values, age, use, "negative"), torch.tensor([[0.5, 0, 0.5, 0, 0, 0, 0]]))


def test_an_image_pool_keeps_labels_with_their_fakes(planned: Any, double_engine: Any) -> None:
    """Also where they are those of tasks alone, so that there are no attributes."""
    from types import SimpleNamespace

    from transgan.training.objective import DiscriminatorPasses

    text = RECIPE.replace("[attributes]\n", "").replace('mood = { values = ["calm", "glad", "cross"] }\n', "")
    text = text.replace('race = { values = ["White", "Black"] }\n', "").replace('"mood", ', "")
    plan, engine = passes(
        planned, double_engine, text.replace("label_maps = true\n", "label_maps = true\nhistory = 8\n")
    )
    assert not plan.recipe.attributes
    age = next(t for t in plan.translations if t.source == "young")
    use, phase = plan.discriminators[age][0], next(p for p in plan.stages[0].phases if p.side == "discriminator")
    older = 0
    for i in range(40):
        white = float(i % 2)  # the image says what its label is
        kept = torch.tensor([[white, 1 - white, 1.0, 0.0]], dtype=torch.float64)
        values: dict[Any, Any] = {(age, f"{end}_attributes"): {"kept": kept} for end in ("source", "target")}
        values |= {(age, f"{end}_domain"): torch.tensor([0]) for end in ("source", "target")}
        values |= {(age, "task"): torch.tensor([0]), (age, "fake"): torch.full((1, 3, 8, 8), white).double()}
        step: Any = SimpleNamespace(values=values)
        x, conditions = DiscriminatorPasses(engine.objective, phase, step)._prepare(age, use, "fake", "fake")
        assert float(x[0, 0, 0, 0]) == float(conditions["kept"][0, 0])
        older += float(x[0, 0, 0, 0]) != white
    assert older


def test_networks_that_begin_from_data_get_the_domains_of_each_task(planned: Any) -> None:
    from transgan.training.initialization import translations_with

    targets = 'race = { between = ["white", "black"], targets = "random" }'
    plan = planned(RECIPE.replace('race = { between = ["white", "black"] }', targets))
    found = {(t.task, t.source, t.target) for t in translations_with(plan, "d")}
    ways = [("age", "young", "old"), ("race", "white", "black")]
    assert found == {way for task, a, b in ways for way in ((task, a, b), (task, b, a))}
