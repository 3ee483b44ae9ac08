"""Which samples come in which step: every sample once an epoch, whoever takes them, and in how many parts."""

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
from transgan.errors import DataError, UsageError

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
    """Folders of pictures: their red says which it is, 20 times the domain's number and its own; the rest is noise."""
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
    """`batches(*overrides, rank, world, domains)`: the batches of a recipe on these pictures."""
    made: list[Batches] = []

    def make(*overrides: str, rank: int = 0, world: int = 1) -> Batches:
        plan = planned(RECIPE, overrides=(f'data.root="{pictures}"', *overrides))
        made.append(Batches(plan, Domains(plan), rank, world))
        return made[-1]

    yield make
    for each in made:
        each.pool.shutdown()


def which(x: Tensor) -> list[int]:
    """The numbers that the pictures carry."""
    return [round((float(each.flatten()[0]) + 1) * 127.5) for each in x]


def stream(found: Batches, name: str, steps: int, translation: int = 0) -> list[int]:
    """What a leaf of a translation shows, step after step."""
    key = found.plan.translations[translation]
    return [number for step in range(steps) for part in found.at(step) for number in which(part[key, name])]


def test_every_epoch_has_every_sample_once_and_an_order_of_its_own(batches: Any) -> None:
    seen = stream(batches(), "source", STEPS)
    epochs = [seen[first : first + 10] for first in range(0, 120, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 12


def test_a_smaller_domain_begins_its_next_epoch_without_waiting(batches: Any) -> None:
    seen = stream(batches(), "target", STEPS)
    epochs = [seen[first : first + 7] for first in range(0, 119, 7)]
    assert all(sorted(epoch) == list(range(20, 27)) for epoch in epochs)


def test_both_directions_of_a_task_see_the_same_samples(batches: Any) -> None:
    found = batches()
    assert stream(found, "source", STEPS) == stream(found, "target", STEPS, 1)


def test_another_seed_gives_another_order_and_the_same_seed_the_same(batches: Any) -> None:
    seen = [stream(batches(f"train.seed={seed}"), "source", STEPS) for seed in (0, 0, 1)]
    assert seen[0] == seen[1] != seen[2]


def test_a_step_is_the_same_out_of_turn(batches: Any) -> None:
    whole = stream(batches(), "source", STEPS)
    late = batches()
    [translation, _] = late.plan.translations
    for step in (17, 3, 29, 28):
        [part] = late.at(step)
        assert which(part[translation, "source"]) == whole[4 * step : 4 * step + 4]


@pytest.mark.parametrize(("world", "parts"), [(1, 2), (2, 1), (2, 2), (4, 1), (1, 4)])
@pytest.mark.parametrize("chance", [False, True])
def test_processes_and_parts_share_the_batch_that_one_would_take(
    batches: Any, world: int, parts: int, chance: bool
) -> None:
    more = ('tasks={t={between=["a", "b", "c"], targets="random"}}',) if chance else ()
    augmented = 'data.media={use="image", enlarge=1.5}'
    whole = batches(*more, augmented)
    ranks = [batches(*more, augmented, f"train.accumulate={parts}", rank=r, world=world) for r in range(world)]
    names = ("source", "target", "source_domain", "target_domain", "task")
    for step in range(8):
        [expected] = whole.at(step)
        shares = [rank.at(step) for rank in ranks]
        for translation in whole.plan.translations:
            for name in names:
                pieces = [shares[r][part][translation, name] for part in range(parts) for r in range(world)]
                assert torch.equal(torch.cat(pieces), expected[translation, name])
            latents = [
                shares[r][part][translation, "rng"].normal("latent", 3) for part in range(parts) for r in range(world)
            ]
            assert torch.equal(torch.cat(latents), expected[translation, "rng"].normal("latent", 3))


def test_a_batch_that_cannot_be_shared_is_refused(batches: Any) -> None:
    with pytest.raises(UsageError, match=r"a batch of 4 cannot be shared by 3 processes .* to a multiple of 3"):
        batches(world=3)
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared by 2 processes in 4 parts each"):
        batches("train.accumulate=4", world=2)
    with pytest.raises(UsageError, match="a batch of 6 cannot"):
        batches("stages=[{share=0.5}, {share=0.5, batch=6}]", world=4)


def test_stages_have_their_own_sizes_and_batches_and_leave_no_sample_out(batches: Any) -> None:
    found = batches("stages=[{share=0.25, size=4, batch=2}, {share=0.5, batch=6}, {share=0.25}]")
    [translation, _] = found.plan.translations
    shapes = [found.at(step)[0][translation, "source"].shape for step in (0, 14, 15, 44, 45, 59)]
    assert shapes == [(2, 3, 4, 4)] * 2 + [(6, 3, 8, 8)] * 2 + [(4, 3, 8, 8)] * 2
    assert [found.samples_before(step) for step in (0, 1, 15, 16, 45, 60)] == [0, 2, 30, 36, 210, 270]
    seen = stream(found, "source", 60)
    assert len(seen) == 270
    assert all(sorted(seen[first : first + 10]) == list(range(10)) for first in range(0, 270, 10))


def test_the_clock_counts_steps_epochs_of_the_largest_domain_and_the_share_of_the_run(batches: Any) -> None:
    found = batches()
    clock = found.clock(15)
    assert (clock.step, clock.epoch, clock.run) == (15, 60 / 10, 0.25)


def test_pairs_stay_together_and_are_augmented_alike(batches: Any, pictures: Path) -> None:
    paired = 'tasks={t={from="a", to="b", paired=true}}'
    domains = ('domains={a="a", b="a"}', 'data.media={use="image", enlarge=2.0, flip=true}')
    found = batches(paired, *domains)
    [translation] = found.plan.translations
    order, looks = [], set()
    for step in range(10):
        [part] = found.at(step)
        assert torch.equal(part[translation, "source"], part[translation, "target"])
        order += which(part[translation, "source"])
        looks |= {tuple(x.flatten().tolist()) for x in part[translation, "source"]}
    assert all(sorted(order[first : first + 10]) == list(range(10)) for first in range(0, 40, 10))
    assert len(looks) > 30


def test_the_same_pictures_unpaired_come_in_orders_of_their_own(batches: Any) -> None:
    found = batches('tasks={t={from="a", to="b"}}', 'domains={a="a", b="a"}')
    assert stream(found, "source", 10) != stream(found, "target", 10)


def test_tasks_that_share_a_domain_have_orders_of_their_own(batches: Any) -> None:
    found = batches('tasks={one={from="a", to="b"}, two={from="a", to="c"}}')
    first, second = stream(found, "source", 10), stream(found, "source", 10, 1)
    assert first != second
    assert sorted(first[:10]) == sorted(second[:10])


def test_pairs_without_a_partner_are_named(batches: Any) -> None:
    with pytest.raises(DataError, match=r"\[tasks.t\] is paired, but 3 samples have no partner .*: 07, 08, 09"):
        batches('tasks={t={from="a", to="b", paired=true}}')


def test_targets_drawn_by_chance_are_of_another_domain_each_as_often(batches: Any) -> None:
    found = batches('tasks={t={between=["a", "b", "c"], targets="random"}}', "train.batch=12")
    [translation] = found.plan.translations
    assert translation == Translation("t", "*", "*")
    pairs: Counter[tuple[int, int]] = Counter()
    for step in range(60):
        [part] = found.at(step)
        ends = [part[translation, f"{end}_domain"].tolist() for end in ("source", "target")]
        pairs.update(zip(*ends, strict=True))
        for end, numbers in zip(("source", "target"), ends, strict=True):  # the samples are of these domains
            shown = which(part[translation, end])
            assert all(number // 20 == domain for number, domain in zip(shown, numbers, strict=True))
    assert set(pairs) == {(s, t) for s in range(3) for t in range(3) if s != t}
    expected = 720 / 6
    assert max(abs(count - expected) for count in pairs.values()) < 4.5 * (720 * 5 / 36) ** 0.5


def test_leaves_say_which_task_and_which_domains(batches: Any) -> None:
    found = batches('tasks={one={between=["a", "b"]}, two={from="c", to="b"}}')
    [part] = found.at(0)
    told = {
        str(translation): [part[translation, name].tolist() for name in ("task", "source_domain", "target_domain")]
        for translation in found.plan.translations
    }
    assert told == {
        "one: a -> b": [[0] * 4, [0] * 4, [1] * 4],
        "one: b -> a": [[0] * 4, [1] * 4, [0] * 4],
        "two: c -> b": [[1] * 4, [2] * 4, [1] * 4],
    }
    for translation in found.plan.translations:
        assert part[translation, "translation"] == translation
        assert part[translation, "training"] is True
        assert part[translation, "clock"].step == 0
