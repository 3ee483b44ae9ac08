"""Samples that cannot be read: excluded for all uses, with their partners and labels, and reported by every run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from transgan.api import Clock
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.data.unreadable import exclude_unreadable
from transgan.errors import DataError
from transgan.evaluation.evaluate import held_out_batches
from transgan.plan import Plan

RECIPE = """
[data]
source = "folders"
media = { use = "image", flip = false, channels = 1 }
size = 4
held_out = 0.2
[domains]
a = "a"
b = "b"
[tasks.t]
from = "a"
to = "b"
[train]
steps = 100
batch = 5
[generators.g]
use = "resnet"
width = 2
blocks = 0
downs = 0
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""
COUNT = 120
PAIRED = "tasks.t.paired=true"
#: Damage of the kinds that occur: another kind of content, nothing, half of a file.
DAMAGE: dict[int, Callable[[bytes], bytes]] = {
    77: lambda data: b"<html>",
    78: lambda data: b"",
    30: lambda data: data[:60],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folders of flat pictures, of level 2i in `a` and 2i + 1 in `b`, which can be read off a batch."""
    for name, shift in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        for i in range(COUNT):
            picture = np.full((4, 4), 2 * i + shift, np.uint8)
            Image.fromarray(picture).save(tmp_path / name / f"{i:03}.png")
    return tmp_path


def damage(root: Path, *names: str) -> None:
    for name in names:
        path = root / f"{name}.png"
        path.write_bytes(DAMAGE.get(int(path.stem), DAMAGE[77])(path.read_bytes()))


@pytest.fixture
def domains(planned: Callable[..., Plan], root: Path) -> Callable[..., Domains]:
    """`domains(*overrides, rank, world)`: the domains without what cannot be read."""

    def find(*overrides: str, rank: int = 0, world: int = 1) -> Domains:
        found = Domains(planned(RECIPE, overrides=(f'data.root="{root}"', *overrides)))
        exclude_unreadable(found, rank=rank, world=world)
        return found

    return find


def numbers(x: Tensor) -> list[int]:
    return [round((float(each.flatten()[0]) + 1) * 127.5) // 2 for each in x]


def epoch(domains: Domains) -> Iterator[tuple[int, int]]:
    """Yield the numbers of the pairs of an epoch."""
    batches = Batches(domains.plan, domains)
    (translation,) = domains.plan.translations
    for step in range(len(domains["a"].samples) // 5):
        (inputs,) = batches.at(step)
        yield from zip(numbers(inputs[translation, "source"]), numbers(inputs[translation, "target"]), strict=True)
    batches.pool.shutdown()


def held_out(domains: Domains) -> set[int]:
    return {int(sample.key) for sample in domains["a"].held_out}


def test_a_pair_stays_a_pair_where_files_cannot_be_read(root: Path, domains: Any) -> None:
    """The kind: a file on either side, neighbours, in training or held out; from a cold cache and from a warm one."""
    held = held_out(domains(PAIRED))
    bad_held, bad = min(held), min({77, 78} - held)
    damage(root, f"a/{bad:03}", f"b/{bad_held:03}")
    expected = set(range(COUNT)) - held - {bad}
    said = []
    for rank, world in ((0, 1), (0, 1), (1, 2)):
        found = domains(PAIRED, rank=rank, world=world)
        pairs = list(epoch(found))
        assert all(a == b for a, b in pairs)
        assert {a for a, _ in pairs} <= expected and len({a for a, _ in pairs}) == len(pairs)
        assert {int(sample.key) for sample in found["a"].samples} == expected
        measured = [
            inputs[direction.planned, end]
            for direction in found.plan.directions
            for end in ("source", "target")
            for _, inputs in held_out_batches(found.plan, found, direction, 50, 50, "cpu", Clock())
        ]
        assert [sorted(numbers(x)) for x in measured] == [sorted(held - {bad_held})] * 2
        said.append(found.warnings)
    assert said[0] == said[1] == said[2] and len(said[0]) == 4
    assert f"[domains] a: not used, since it cannot be read: 1 sample of {COUNT}: " in said[0][0]
    assert f"{bad:03}.png: {'an empty file' if bad == 78 else 'not an image that can be read'}" in said[0][0]
    assert f"[domains] a: not used, since the partner cannot be read: 1 sample of {COUNT}: {bad_held:03}" == said[0][1]
    assert f"{bad_held:03}.png" in said[0][2] and f"{bad:03}" in said[0][3]


def test_unpaired_domains_lose_only_what_cannot_be_read(root: Path, domains: Any) -> None:
    whole = domains()
    key = whole["a"].samples[40].key
    damage(root, f"a/{key}")
    found = domains()
    assert len(found["a"].samples) == len(whole["a"].samples) - 1
    assert [s.key for s in found["b"].samples] == [s.key for s in whole["b"].samples]
    assert key not in {sample.key for sample in found["a"].samples}
    pairs = domains('tasks.t.paired="held_out"')  # partners in evaluation only: training keeps them
    assert len(pairs["b"].samples) == len(whole["b"].samples)


def test_labels_stay_with_their_samples(root: Path, domains: Any) -> None:
    """The kind: what belongs to a sample by its index: here a label that equals the sample's number."""
    rows = [f"{name}/{i:03}.png,{2 * i + (name == 'b')},{name}" for name in "ab" for i in range(COUNT)]
    (root / "labels.csv").write_text("\n".join(["file,number,side", *rows]))
    damage(root, "a/077", "b/078")
    table = (
        'data.source={use="labelled_table",table="labels.csv"}',
        'domains={a={side="a"},b={side="b"}}',
        "attributes={number={from=0,to=240}}",
    )
    found = domains(*table)
    batches = Batches(found.plan, found)
    (translation,) = found.plan.translations
    seen = set()
    for step in range(20):
        (inputs,) = batches.at(step)
        for end in ("source", "target"):
            labels = ((inputs[translation, f"{end}_attributes"]["number"][:, 0] + 1) * 120).round().int().tolist()
            assert [label // 2 for label in labels] == numbers(inputs[translation, end])
            seen |= set(labels)
    batches.pool.shutdown()
    assert len(seen) > 150 and not seen & {2 * 77, 2 * 78 + 1}


def test_more_than_one_in_a_hundred_stop_before_the_run(root: Path, domains: Any) -> None:
    """The kind: held-out samples count like others, and one of a small domain is too many."""
    damage(root, "b/003")
    assert len(domains()["b"].samples) + len(domains()["b"].held_out) == COUNT - 1
    damage(root, "b/004")
    with pytest.raises(
        DataError, match=r"\[domains\] b: 2 of 120 samples cannot be read, at most 1 may: .*003\.png: .*004"
    ):
        domains()
    (root / "few").mkdir()
    for name in ("003", "005"):
        (root / "few" / f"{name}.png").write_bytes((root / "b" / f"{name}.png").read_bytes())
    with pytest.raises(DataError, match=r"\[domains\] b: 1 of 2 samples cannot be read, at most 0 may: "):
        domains('domains.b="few"')


def test_what_cannot_be_read_is_in_no_statistics(root: Path, domains: Any) -> None:
    damage(root, "a/077")
    found = domains()
    media = found.media_at("a", 4)
    decoded = [int(each.flat[0]) for each in found._decoded("a", media)]
    assert decoded == [2 * int(sample.key) for sample in found["a"].samples]
    keys = [sample.key for samples, _ in found.batches("a", False, 4, 7) for sample in samples]
    assert keys == [sample.key for sample in found["a"].samples]
