"""The batch of each step: every sample once in an epoch, for any number of processes and micro-batches."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan.api import Translation
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import DataError, RecipeError, UsageError

RECIPE = """
[data]
source = "folders"
media = { use = "image", flip = false }
size = 8
held_out = 0.0
cache = false
[domains]
a = "a"
b = "b"
c = "c"
[tasks.ab]
between = ["a", "b"]
[train]
steps = 60
batch = 4
[generators.g]
use = "resnet"
width = 2
blocks = 0
downs = 1
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""
COUNTS = {"a": 10, "b": 7, "c": 9}
STEPS = 30


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pictures: red is the picture's number, 20 times that of its domain plus its own; the rest is noise."""
    root = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for d, (domain, count) in enumerate(COUNTS.items()):
        (root / domain).mkdir()
        for number in range(count):
            picture = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            picture[..., 0] = 20 * d + number
            Image.fromarray(picture).save(root / domain / f"{number:02}.png")
    return root


@pytest.fixture
def batches(planned: Any, pictures: Path) -> Iterator[Callable[..., Batches]]:
    """`batches(*overrides, rank, world)`: the batches of a recipe on these pictures."""
    built: list[Batches] = []

    def build(*overrides: str, rank: int = 0, world: int = 1) -> Batches:
        plan = planned(RECIPE, overrides=(f'data.root="{pictures}"', *overrides))
        built.append(Batches(plan, Domains(plan), rank, world))
        return built[-1]

    yield build
    for each in built:
        each.pool.shutdown()


def which(x: Tensor) -> list[int]:
    """Return the numbers of pictures."""
    return [round((float(each.flatten()[0]) + 1) * 127.5) for each in x]


def stream(found: Batches, name: str, steps: int, translation: int = 0) -> list[int]:
    """Return the numbers of the pictures in a batch input of a translation, over all steps."""
    key = found.plan.translations[translation]
    return [number for step in range(steps) for inputs in found.at(step) for number in which(inputs[key, name])]


def test_every_epoch_has_every_sample_once_and_an_order_of_its_own(batches: Any) -> None:
    seen = stream(batches(), "source", STEPS)
    epochs = [seen[first : first + 10] for first in range(0, 120, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 12


def test_a_smaller_domain_begins_its_next_epoch_earlier(batches: Any) -> None:
    seen = stream(batches(), "target", STEPS)
    epochs = [seen[first : first + 7] for first in range(0, 119, 7)]
    assert all(sorted(epoch) == list(range(20, 27)) for epoch in epochs)


def test_both_directions_of_a_task_have_the_same_samples(batches: Any) -> None:
    found = batches()
    assert stream(found, "source", STEPS) == stream(found, "target", STEPS, 1)


def test_another_seed_gives_another_order_and_the_same_seed_the_same(batches: Any) -> None:
    seen = [stream(batches(f"train.seed={seed}"), "source", STEPS) for seed in (0, 0, 1)]
    assert seen[0] == seen[1] != seen[2]


def test_the_batch_of_a_step_does_not_depend_on_the_order_of_calls(batches: Any) -> None:
    whole = stream(batches(), "source", STEPS)
    late = batches()
    [translation, _] = late.plan.translations
    for step in (17, 3, 29, 28):
        [inputs] = late.at(step)
        assert which(inputs[translation, "source"]) == whole[4 * step : 4 * step + 4]


@pytest.mark.parametrize(("world", "count"), [(1, 2), (2, 1), (2, 2), (4, 1), (1, 4)])
@pytest.mark.parametrize("random", [False, True])
def test_processes_and_micro_batches_divide_the_batch_of_one_process(
    batches: Any, world: int, count: int, random: bool
) -> None:
    more = ('tasks={t={between=["a", "b", "c"], targets="random"}}',) if random else ()
    augmented = 'data.media={use="image", enlarge=1.5}'
    whole = batches(*more, augmented)
    ranks = [batches(*more, augmented, f"train.accumulate={count}", rank=r, world=world) for r in range(world)]
    names = ("source", "target", "source_domain", "target_domain", "task")
    for step in range(8):
        [expected] = whole.at(step)
        shares = [rank.at(step) for rank in ranks]
        for translation in whole.plan.translations:
            for name in names:
                pieces = [shares[r][i][translation, name] for i in range(count) for r in range(world)]
                assert torch.equal(torch.cat(pieces), expected[translation, name])
            latents = [shares[r][i][translation, "rng"].normal("latent", 3) for i in range(count) for r in range(world)]
            assert torch.equal(torch.cat(latents), expected[translation, "rng"].normal("latent", 3))


def test_a_batch_that_cannot_be_divided_is_refused(batches: Any) -> None:
    with pytest.raises(UsageError, match=r"a batch of 4 cannot be divided by 3 processes .* to a multiple of 3"):
        batches(world=3)
    with pytest.raises(UsageError, match="a batch of 4 cannot be divided by 2 processes with 4 micro-batches each"):
        batches("train.accumulate=4", world=2)
    with pytest.raises(UsageError, match="a batch of 6 cannot"):
        batches("stages=[{share=0.5}, {share=0.5, batch=6}]", world=4)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        (["train.batch=3"], "train.batch"),
        (["stages=[{share=0.5}, {share=0.5, batch=7}]"], "stages"),
        (["train.batch=3", "stages=[{share=0.5, batch=4}, {share=0.5}]"], "train.batch"),
    ],
)
def test_a_batch_that_its_micro_batches_do_not_divide_is_a_mistake_of_the_recipe(
    batches: Any, more: list[str], place: str
) -> None:
    with pytest.raises(RecipeError, match=rf"\"{place}\".*cannot be divided by train.accumulate = 2"):
        batches("train.accumulate=2", *more)


def test_stages_have_their_own_sizes_and_batches_and_skip_no_sample(batches: Any) -> None:
    found = batches("stages=[{share=0.25, size=4, batch=2}, {share=0.5, batch=6}, {share=0.25}]")
    [translation, _] = found.plan.translations
    shapes = [found.at(step)[0][translation, "source"].shape for step in (0, 14, 15, 44, 45, 59)]
    assert shapes == [(2, 3, 4, 4)] * 2 + [(6, 3, 8, 8)] * 2 + [(4, 3, 8, 8)] * 2
    assert [found.samples_before(step) for step in (0, 1, 15, 16, 45, 60)] == [0, 2, 30, 36, 210, 270]
    seen = stream(found, "source", 60)
    assert len(seen) == 270
    assert all(sorted(seen[first : first + 10]) == list(range(10)) for first in range(0, 270, 10))


def test_the_clock_has_the_step_the_epoch_of_the_largest_domain_and_the_share_of_the_run(batches: Any) -> None:
    found = batches()
    clock = found.clock(15)
    assert (clock.step, clock.epoch, clock.run) == (15, 60 / 10, 0.25)


def test_pairs_stay_together_and_are_augmented_alike(batches: Any, pictures: Path) -> None:
    paired = 'tasks={t={from="a", to="b", paired=true}}'
    domains = ('domains={a="a", b="a"}', 'data.media={use="image", enlarge=2.0, flip=true}')
    found = batches(paired, *domains)
    [translation] = found.plan.translations
    order, variants = [], set()
    for step in range(10):
        [inputs] = found.at(step)
        assert torch.equal(inputs[translation, "source"], inputs[translation, "target"])
        order += which(inputs[translation, "source"])
        variants |= {tuple(x.flatten().tolist()) for x in inputs[translation, "source"]}
    assert all(sorted(order[first : first + 10]) == list(range(10)) for first in range(0, 40, 10))
    assert len(variants) > 30


def test_the_same_pictures_unpaired_have_an_order_for_each_domain(batches: Any) -> None:
    found = batches('tasks={t={from="a", to="b"}}', 'domains={a="a", b="a"}')
    assert stream(found, "source", 10) != stream(found, "target", 10)


def test_tasks_that_share_a_domain_have_an_order_each(batches: Any) -> None:
    found = batches('tasks={one={from="a", to="b"}, two={from="a", to="c"}}')
    first, second = stream(found, "source", 10), stream(found, "source", 10, 1)
    assert first != second
    assert sorted(first[:10]) == sorted(second[:10])


def test_pairs_without_a_partner_are_named(batches: Any) -> None:
    with pytest.raises(DataError, match=r"\[tasks.t\] is paired, but 3 samples have no partner .*: 07, 08, 09"):
        batches('tasks={t={from="a", to="b", paired=true}}')


def test_random_targets_are_uniform_over_the_other_domains(batches: Any) -> None:
    found = batches('tasks={t={between=["a", "b", "c"], targets="random"}}', "train.batch=12")
    [translation] = found.plan.translations
    assert translation == Translation("t", "*", "*")
    pairs: Counter[tuple[int, int]] = Counter()
    for step in range(60):
        [inputs] = found.at(step)
        ends = [inputs[translation, f"{end}_domain"].tolist() for end in ("source", "target")]
        pairs.update(zip(*ends, strict=True))
        for end, domains in zip(("source", "target"), ends, strict=True):  # the samples are of these domains
            numbers = which(inputs[translation, end])
            assert all(number // 20 == domain for number, domain in zip(numbers, domains, strict=True))
    assert set(pairs) == {(s, t) for s in range(3) for t in range(3) if s != t}
    expected = 720 / 6
    assert max(abs(count - expected) for count in pairs.values()) < 4.5 * (720 * 5 / 36) ** 0.5


def test_batch_inputs_have_the_indices_of_task_and_domains(batches: Any) -> None:
    found = batches('tasks={one={between=["a", "b"]}, two={from="c", to="b"}}')
    [inputs] = found.at(0)
    indices = {
        str(translation): [inputs[translation, name].tolist() for name in ("task", "source_domain", "target_domain")]
        for translation in found.plan.translations
    }
    assert indices == {
        "one: a -> b": [[0] * 4, [0] * 4, [1] * 4],
        "one: b -> a": [[0] * 4, [1] * 4, [0] * 4],
        "two: c -> b": [[1] * 4, [2] * 4, [1] * 4],
    }
    for translation in found.plan.translations:
        assert inputs[translation, "translation"] == translation
        assert inputs[translation, "training"] is True
        assert inputs[translation, "clock"].step == 0
