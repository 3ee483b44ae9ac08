"""Some pairs among unpaired samples: a batch of known pairs beside the unpaired one, which stays as it is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan.api import Clock
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.data.pairs import indices_of_pairs
from transgan.data.unreadable import exclude_unreadable
from transgan.dry_run import describe
from transgan.errors import DataError, RecipeError
from transgan.evaluation.evaluate import counterparts, held_out_batches
from transgan.evaluation.unmeasured import true_translations
from transgan.plan import Plan

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
[tasks]
ab = { between = ["a", "b"], paired = "some" }
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
paired = 100.0
[[phases]]
side = "generator"
"""
#: The names in each folder: `a` and `b` have 20 in common, `a` and `c` 8, `b` and `c` 14.
NAMES = {"a": range(30), "b": range(10, 34), "c": range(22, 36)}
PAIRS = set(range(10, 30))
UNPAIRED = ("tasks.ab.paired=false", "losses.paired=false")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose red is their number, and whose green is that of their domain; the rest is noise."""
    root = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for d, (domain, names) in enumerate(NAMES.items()):
        (root / domain).mkdir()
        for number in names:
            picture = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            picture[..., :2] = number, d
            Image.fromarray(picture).save(root / domain / f"{number:02}.png")
    return root


@pytest.fixture
def plan_of(planned: Any, pictures: Path) -> Callable[..., Plan]:
    return lambda *overrides, text=RECIPE: planned(text, overrides=(f'data.root="{pictures}"', *overrides))


@pytest.fixture
def batches(plan_of: Callable[..., Plan]) -> Iterator[Callable[..., Batches]]:
    """`batches(*overrides, rank, world)`: the batches of the recipe on these pictures."""
    built: list[Batches] = []

    def build(*overrides: str, rank: int = 0, world: int = 1) -> Batches:
        plan = plan_of(*overrides)
        built.append(Batches(plan, Domains(plan), rank, world))
        return built[-1]

    yield build
    for each in built:
        each.pool.shutdown()


def numbers(x: Tensor) -> list[int]:
    return [round((float(each[0, 0, 0]) + 1) * 127.5) for each in x]


def domains_of(x: Tensor) -> set[int]:
    return {round((float(each[1, 0, 0]) + 1) * 127.5) for each in x}


def stream(found: Batches, name: str, steps: int, translation: int = 0) -> list[int]:
    key = found.plan.translations[translation]
    return [number for step in range(steps) for inputs in found.at(step) for number in numbers(inputs[key, name])]


def test_unpaired_samples_are_those_of_a_task_without_pairs(batches: Any) -> None:
    some, none = batches(), batches(*UNPAIRED)
    for step in range(10):
        [one], [other] = some.at(step), none.at(step)
        for translation in some.plan.translations:
            assert torch.equal(one[translation, "source"], other[translation, "source"])
            assert torch.equal(one[translation, "target"], other[translation, "target"])
            latents = [each[translation, "rng"].normal("latent", 3) for each in (one, other)]
            assert torch.equal(*latents)
            assert (translation, "pair_source") in one and (translation, "pair_source") not in other


def test_every_epoch_of_pairs_has_each_once_with_its_partner(batches: Any) -> None:
    found = batches()
    ends = [stream(found, f"pair_{end}", 30) for end in ("source", "target")]
    assert ends[0] == ends[1]
    epochs = [ends[0][first : first + 20] for first in range(0, 120, 20)]
    assert all(set(epoch) == PAIRS and len(epoch) == 20 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    [inputs] = found.at(3)
    forward, backward = found.plan.translations
    assert [domains_of(inputs[forward, f"pair_{end}"]) for end in ("source", "target")] == [{0}, {1}]
    assert torch.equal(inputs[forward, "pair_source"], inputs[backward, "pair_target"])
    assert torch.equal(inputs[forward, "pair_target"], inputs[backward, "pair_source"])


def test_both_sides_of_a_pair_are_augmented_alike(batches: Any, pictures: Path) -> None:
    """Of the same pictures under the same names, at other places of the two domains, both sides are equal."""
    found = batches('domains={a="a", b="a/[12]*"}', 'data.media={use="image", enlarge=2.0, flip=true}')
    [translation, _] = found.plan.translations
    seen = set()
    for step in range(10):
        [inputs] = found.at(step)
        assert torch.equal(inputs[translation, "pair_source"], inputs[translation, "pair_target"])
        assert not torch.equal(inputs[translation, "pair_source"], inputs[translation, "source"])
        seen |= {tuple(x.flatten().tolist()) for x in inputs[translation, "pair_source"]}
    assert len(seen) > 30


@pytest.mark.parametrize(("world", "count"), [(2, 1), (1, 2), (2, 2)])
def test_processes_and_micro_batches_divide_the_batch_of_pairs(batches: Any, world: int, count: int) -> None:
    augmented = 'data.media={use="image", enlarge=1.5}'
    whole = batches(augmented)
    ranks = [batches(augmented, f"train.accumulate={count}", rank=r, world=world) for r in range(world)]
    for step in (0, 5, 3):
        [expected] = whole.at(step)
        shares = [rank.at(step) for rank in ranks]
        for translation in whole.plan.translations:
            for name in ("pair_source", "pair_target"):
                pieces = [shares[r][i][translation, name] for i in range(count) for r in range(world)]
                assert torch.equal(torch.cat(pieces), expected[translation, name])


def test_the_pairs_of_a_step_do_not_depend_on_the_order_of_calls_nor_on_the_tasks_of_others(batches: Any) -> None:
    tasks = 'tasks={ab={between=["a", "b"], paired="some"}, ac={between=["a", "c"], paired="some"}}'
    found = batches(tasks)
    expected = [found.at(step)[0] for step in range(6)]
    alone = batches(tasks)
    for step, task in ((5, "ac"), (2, "ab"), (3, "ac"), (4, None)):
        [inputs] = alone.at(step, lambda clock, task=task: task)
        mine = [each for each in found.plan.translations if task in (None, each.task)]
        assert {key for key in inputs if key[1] == "pair_source"} == {(each, "pair_source") for each in mine}
        for each in mine:
            assert torch.equal(inputs[each, "pair_target"], expected[step][each, "pair_target"])
    together = {stream(found, "pair_source", 6, 0)[i] for i in range(20)}, set(stream(found, "pair_source", 6, 2))
    assert together == (PAIRS, set(range(22, 30)))


def test_each_two_of_several_domains_have_pairs_of_their_own(batches: Any) -> None:
    found = batches('tasks={t={between=["a", "b", "c"], paired="some"}}')
    for i, translation in enumerate(found.plan.translations):
        common = set(NAMES[translation.source]) & set(NAMES[translation.target])
        sides = [stream(found, f"pair_{end}", 10, i) for end in ("source", "target")]
        assert sides[0] == sides[1] and set(sides[0]) == common
    batches('tasks={t={between=["a", "b", "c"], paired="some"}}', 'losses.paired.translations=["a -> b"]').at(0)


def test_a_share_of_the_pairs_is_the_same_whatever_else_there_is(batches: Any, plan_of: Any) -> None:
    used = {}
    for share, count in ((0.05, 1), (0.25, 5), (0.5, 10), (1.0, 20), (0.001, 1)):
        found = batches(f"tasks.ab.paired={{share={share}}}")
        used[share] = set(stream(found, "pair_source", 15))
        assert len(used[share]) == count
    assert used[0.05] < used[0.25] < used[0.5] < used[1.0] == PAIRS
    fewer = Domains(plan_of("tasks.ab.paired={share=0.25}", 'domains.a="a/[12]*"'))
    keys = {int(fewer["a"].samples[i].key) for i, _ in fewer.pairs.training("ab", "a", "b")}
    assert keys == used[0.25]  # of the same pairs, beside other samples
    assert set(stream(batches("tasks.ab.paired={share=0.05}"), "source", 15)) == set(NAMES["a"])


def test_where_no_loss_uses_pairs_none_are_read_and_the_run_says_so(batches: Any, plan_of: Any) -> None:
    found = batches("losses.paired=false")
    [inputs] = found.at(0)
    assert not [name for _, name in inputs if name.startswith("pair_")] and len(found.streams) == 2
    [warning] = found.domains.warnings
    assert warning.startswith("[tasks.ab] no loss uses its pairs; add one that does")
    assert not Domains(plan_of()).warnings


def test_no_partner_of_a_held_out_sample_is_trained_on(plan_of: Any) -> None:
    domains = Domains(plan_of("data.held_out=0.3"))
    trained, held = ({s.key for n in "ab" for s in getattr(domains[n], side)} for side in ("samples", "held_out"))
    assert not trained & held and len(held) >= 5
    pairs = indices_of_pairs(domains["a"].held_out, domains["b"].held_out)
    assert {domains["a"].held_out[i].key for i, _ in pairs} == held & {f"{i}" for i in PAIRS}
    of_training = {domains["a"].samples[i].key for i, _ in domains.pairs.training("ab", "a", "b")}
    assert of_training == {f"{i}" for i in PAIRS} - held


@pytest.mark.parametrize("most", [3, 100])
def test_held_out_pairs_are_evaluated_as_pairs_and_other_samples_as_unpaired(plan_of: Any, most: int) -> None:
    plan = plan_of("data.held_out=0.4", 'domains={a="a", b="b"}')
    domains = Domains(plan)
    for direction in plan.directions:
        ends = direction.translation.source, direction.translation.target
        held = [[int(sample.key) for sample in domains[name].held_out] for name in ends]
        pairs = [key for key in held[0] if key in held[1]]
        assert 3 < len(pairs) < len(held[0])
        seen: list[int] = []
        for samples, inputs in held_out_batches(plan, domains, direction, 4, most, "cpu", Clock()):
            source, target = (numbers(inputs[direction.planned, end]) for end in ("source", "target"))
            assert source == [int(sample.key) for sample in samples]
            true = true_translations(domains, direction.translation, samples)
            truth = counterparts(domains, direction, true, inputs, "cpu")
            if len(seen) < len(pairs):
                assert source == target and truth is not None and numbers(truth) == source
                assert [sample and int(sample.key) for sample in true] == source
            else:
                assert truth is None and true == [None] * len(samples)
                assert set(target) <= set(held[1])
            seen += source
        assert seen == [*pairs, *(key for key in held[0] if key not in pairs)][:most]


def test_how_many_pairs_there_are_is_said(plan_of: Any) -> None:
    overrides = ('domains={a="a", b="b"}', "data.held_out=0.3", "tasks.ab.paired={share=0.5}", "train.batch=2")
    domains = Domains(plan_of(*overrides))
    known = len(indices_of_pairs(domains["a"].samples, domains["b"].samples))
    held_out = len(PAIRS) - known
    [note] = [each for each in domains.notes if each.startswith("[tasks.ab]")]
    assert note == (
        f"[tasks.ab] a and b: {round(known / 2)} pairs of {known} for training beside unpaired samples, "
        f"{held_out} held out"
    )
    assert f"  {note}" in list(describe(domains.plan))


def test_no_pairs_are_an_error_and_fewer_than_a_batch_a_warning(plan_of: Any, pictures: Path) -> None:
    with pytest.raises(DataError, match=r"\[tasks.ab\] has no pairs: .* such as '00' in a, '30' in b; remove paired"):
        Domains(plan_of('domains={a="a", b="b/3*"}'))
    [warning] = Domains(plan_of('domains={a="a", b="b/2[89]*"}')).warnings
    assert "[tasks.ab] 2 pairs of a and b, fewer than a batch of 4" in warning
    with pytest.raises(DataError, match="has no pairs"):
        Domains(plan_of('tasks={t={between=["a", "b", "c"], paired="some"}}', 'domains.c="c/3*"'))


def test_a_sample_whose_file_cannot_be_read_is_in_no_pair(plan_of: Any, pictures: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(120):
            Image.new("L", (8, 8), i).save(tmp_path / name / f"{i:03}.png")
    (tmp_path / "b" / "007.png").write_bytes(b"")
    domains = Domains(plan_of(f'data.root="{tmp_path}"', 'domains={a="a", b="b"}'))
    assert len(domains.pairs.training("ab", "a", "b")) == 120
    exclude_unreadable(domains)
    pairs = domains.pairs.training("ab", "a", "b")
    assert [domains["a"].samples[i].key for i, _ in pairs] == [domains["b"].samples[i].key for _, i in pairs]
    assert len(pairs) == 119 and len(domains["a"].samples) == 120  # the partner is trained on as an unpaired sample


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks.ab.paired=false", r"\[losses\] paired: needs known pairs \('pair_.*'\), and task 'ab' trains on none"),
        ('tasks.ab.paired="held_out"', "task 'ab' trains on none; set paired = true or \"some\" there"),
        ("tasks.ab.paired={share=0.0}", "share.*found 0.0.*above 0"),
        ("tasks.ab.paired={shares=0.5}", "unknown key. Did you mean 'share'"),
        ('tasks.ab.paired="none"', "found \"none\".*expected true or false, 'held_out', 'some' or"),
        (
            'tasks={t={between=["a", "b", "c"], targets="random", paired="some"}}',
            'with targets = "random" no pairs are trained on',
        ),
    ],
)
def test_mistakes_are_found_before_data_is_read(plan_of: Any, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(override)
