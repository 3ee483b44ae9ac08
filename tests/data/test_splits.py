"""Splits: by content, so that no copy of a training sample is held out; without copies by a hash of the keys alone."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from transgan.api import DataError, Sample
from transgan.data import contents as module
from transgan.data.contents import Contents
from transgan.data.splits import FoundSamples, Split, shared, split
from transgan.rng import stable_hash

Folders = Mapping[str, Sequence[Sample]]


def samples(folder: Path, *names: str) -> list[Sample]:
    """Return samples of files in a folder; one that is new holds its own path."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if not (folder / name).exists():
            (folder / name).write_text(str(folder / name))
    return [Sample(name, folder / name) for name in names]


def divided(
    folders: Folders, share: float, pairs: Sequence[Sequence[str]] = (), **held_out: list[Sample]
) -> tuple[Split, Contents]:
    found = {name: FoundSamples(list(each), held_out.get(name)) for name, each in folders.items()}
    contents = Contents(sample for each in found.values() for sample in (*each.samples, *(each.held_out or ())))
    return split(found, contents, pairs, share), contents


def keys(of: Mapping[str, Sequence[Sample]], name: str) -> list[str]:
    return [sample.key for sample in of[name]]


def by_hash(names: Sequence[str], share: float) -> list[str]:
    """Return the names that are held out, as they always were."""
    marks = {name: stable_hash("held out", name) / 2**64 for name in names}
    held = [name for name in names if marks[name] < share]
    if not held and len(names) > 1:
        held = [min(names, key=lambda name: marks[name])]
    return [] if len(held) == len(names) else held


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40, 300])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_data_without_copies_is_split_by_a_hash_of_its_keys(tmp_path: Path, count: int, share: float) -> None:
    """The kind: any share and any number of samples, in domains that have keys in common, paired and not."""
    names = [f"{i:03}" for i in range(count)]
    folders = {"a": samples(tmp_path / "a", *names), "b": samples(tmp_path / "b", *names)}
    for pairs in ([], [["a", "b"]]):
        found, _ = divided(folders, share, pairs)
        for name in folders:
            assert keys(found.held_out, name) == (by_hash(names, share) if share else [])
            assert sorted(keys(found.samples, name) + keys(found.held_out, name)) == names
        assert found.overlaps == found.copies == []


def copy(original: Sample, folder: Path, name: str, how: str) -> Sample:
    target = folder / name
    if how == "copy":
        shutil.copyfile(original.location, target)
    elif how == "link":
        target.symlink_to(original.location)
    else:
        target.hardlink_to(original.location)
    return Sample(name, target)


@pytest.mark.parametrize("how", ["copy", "link", "hard link"])
def test_copies_are_on_one_side(tmp_path: Path, how: str) -> None:
    """The kind: each file three times in one domain, as in archives that hold a data set in several folders."""
    originals = samples(tmp_path / "a", *(f"{i:03}" for i in range(60)))
    copies = [copy(each, tmp_path, f"{part} {each.key}", how) for each in originals for part in "xy"]
    found, contents = divided({"a": [*originals, *copies]}, 0.2)
    sides = [{contents.of(sample) for sample in each["a"]} for each in (found.samples, found.held_out)]
    assert not sides[0] & sides[1]
    assert len(found.held_out["a"]) == 3 * len(sides[1]) and 3 < len(sides[1]) < 24
    (note,) = found.copies
    assert "copies of others, and on the same side of the split as those: 120 samples of 180" in note


def test_files_that_two_domains_share_are_on_one_side(tmp_path: Path) -> None:
    """The kind: domains of which one contains the other, under other keys, so that hashes of keys would differ."""
    whole = samples(tmp_path / "all", *(f"deep {i:03}" for i in range(80)))
    part = [Sample(sample.key.removeprefix("deep "), sample.location) for sample in whole[:50]]
    found, contents = divided({"all": whole, "part": part}, 0.2)
    trained = {contents.of(sample) for each in found.samples.values() for sample in each}
    held = {contents.of(sample) for each in found.held_out.values() for sample in each}
    assert not trained & held and all(found.held_out.values())


def test_a_content_that_is_most_of_a_domain_is_trained_on(tmp_path: Path) -> None:
    """The kind: empty masks, silence: where the group of copies is large, it says nothing about other samples."""
    names = [f"{i:03}" for i in range(100)]
    for first in "0123456789":  # whichever key decides
        masks = samples(tmp_path / first, *names)
        for sample in masks[:40]:
            sample.location.write_text("empty")
        found, _ = divided({"a": [Sample(first + s.key, s.location) for s in masks]}, 0.2)
        assert 3 < len(found.held_out["a"]) < 30
        assert all(sample.location.read_text() != "empty" for sample in found.held_out["a"])


def test_partners_follow_the_copies_of_a_paired_domain(tmp_path: Path) -> None:
    names = [f"{i:03}" for i in range(60)]
    a, b = samples(tmp_path / "a", *names), samples(tmp_path / "b", *names)
    for i in range(0, 60, 2):
        a[i + 1].location.write_bytes(a[i].location.read_bytes())
    found, _ = divided({"a": a, "b": b}, 0.3, [["a", "b"]])
    held = keys(found.held_out, "a")
    assert held == keys(found.held_out, "b") and 0 < len(held) < 60
    assert all(f"{int(key) ^ 1:03}" in held for key in held)


def test_what_is_selected_to_be_held_out_is_not_trained_on(tmp_path: Path) -> None:
    """The kind: a held-out folder inside the training folder, and copies elsewhere of what is in it."""
    held = samples(tmp_path / "test", "1", "2")
    train = samples(tmp_path / "train", "3", "4", "5")
    copied = copy(held[0], tmp_path / "train", "6", "copy")
    whole = [*train, copied, *(Sample(f"test/{each.key}", each.location) for each in held)]
    found, _ = divided({"a": whole}, 0.1, a=held)
    assert keys(found.samples, "a") == ["3", "4", "5"] and keys(found.held_out, "a") == ["1", "2"]
    assert "not trained on: 3 samples of 6: 6, test/1, test/2" in found.overlaps[0]
    other = [*samples(tmp_path / "other", *(f"{i:02}" for i in range(30))), copied]
    found, _ = divided({"a": train, "b": other}, 0.1, a=held)  # it is held out of another domain too
    assert "6" in keys(found.held_out, "b") and len(found.held_out["b"]) > 1
    with pytest.raises(DataError, match=r"\[domains\] a: all 2 samples are held out too"):
        divided({"a": held}, 0.1, a=held)


def test_pairs_lose_both_samples_where_one_is_held_out(tmp_path: Path) -> None:
    train = {name: samples(tmp_path / name, "1", "2", "3") for name in "ab"}
    held = {name: samples(tmp_path / f"{name}_test", "1", "2") for name in "ab"}
    held["a"][1].location.write_bytes(train["a"][2].location.read_bytes())
    found, _ = divided(train, 0.1, [["a", "b"]], **held)
    assert keys(found.samples, "a") == keys(found.samples, "b") == ["1", "2"]
    assert keys(found.held_out, "a") == keys(found.held_out, "b") == ["1", "2"]


def test_domains_that_share_files_are_reported(tmp_path: Path) -> None:
    a, b, c = (samples(tmp_path / name, "1", "2") for name in "abc")
    b[0].location.write_bytes(a[1].location.read_bytes())
    folders = {"a": a, "b": b, "c": c}
    assert shared(list("abc"), folders, divided(folders, 0.0)[1]) == ["domains a and b share 1 sample: 2"]


def test_files_are_read_only_where_sizes_are_equal_and_never_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    hashing: Callable[..., str] = module._hash

    def counting(path: str, *arguments: Any) -> str:
        read.append(Path(path).name)
        return hashing(path, *arguments)

    monkeypatch.setattr(module, "_hash", counting)
    texts = {"a": "one", "b": "two", "c": "one", "long": "longer than these", "none": "", "nil": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    large = bytes(200_000)
    (tmp_path / "x").write_bytes(large)
    (tmp_path / "y").write_bytes(large)
    (tmp_path / "z").write_bytes(b"z" + large[1:])
    (tmp_path / "end").write_bytes(large[1:] + b"z")
    found = [Sample(path.name, path) for path in sorted(tmp_path.iterdir()) if path.is_file()]
    for again in (False, True):
        contents = Contents(found)
        numbers = {sample.key: contents.of(sample) for sample in found}
        same = [{k for k, v in numbers.items() if v == number} for number in dict.fromkeys(numbers.values())]
        assert sorted(map(sorted, same)) == [["a", "c"], ["b"], ["end"], ["long"], ["nil"], ["none"], ["x", "y"], ["z"]]
        expected = sorted([*"abc", *"xyz", *"xyz", "end"])  # of large files first parts, then what agrees in them
        assert sorted(read) == ([] if again else expected)
        read.clear()
    (tmp_path / "b").write_text("one")
    os.utime(tmp_path / "b", ns=(1, 1))
    contents = Contents(found)
    assert len({contents.of(sample) for sample in found if sample.key in "abc"}) == 1 and read == ["b"]


def test_what_functions_make_is_the_same_where_they_are_equal() -> None:
    one, two = (lambda size: size), (lambda size: 2 * size)
    contents = Contents([])
    assert contents.of(Sample("a", one)) == contents.of(Sample("b", one)) != contents.of(Sample("a", two))


def test_synthetic_samples_are_split_as_they_always_were() -> None:
    """Those of several small domains too: results of earlier runs stay comparable."""
    made = {f"{i:03}": (lambda size, i=i: i) for i in range(24)}
    folders = {
        name: [Sample(key, function) for key, function in made.items() if int(key) % step == rest]
        for name, step, rest in (("a", 2, 0), ("b", 2, 1), ("c", 3, 0), ("d", 3, 1))
    }
    found, _ = divided(folders, 0.1)
    for name, each in folders.items():
        assert keys(found.held_out, name) == by_hash([sample.key for sample in each], 0.1)
    held = folders["a"][3:5]
    found, _ = divided(folders, 0.1, a=held)
    assert not {sample.key for sample in held} & set(keys(found.samples, "a"))
