"""Sources of images: folders, globs, labelled and synthetic faces, held-out samples and counterparts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transgan_faces.sources import LabelledFaces, SyntheticFace, SyntheticFaces
from transgan_images.folders import FolderSource
from transgan_images.media import HalfImage, ImageMedia

from transgan.api import DataError, Options, Translation, UsageError
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.evaluation.unmeasured import true_translations
from transgan.plan import Plan

PLAN = """
[data]
source = "folders"
root = "{root}"
size = 16
{more}
[domains]
a = {a}
b = "b"
[tasks]
task = {{ between = ["a", "b"], paired = {paired} }}
[train]
steps = 1
[generators.resnet]
width = 4
blocks = 1
[losses]
identity = 1.0
[[phases]]
side = "generator"
"""


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def keys(source: Any, selection: Any) -> list[str]:
    return [sample.key for sample in source.samples("some", selection)]


def faces(root: Path) -> LabelledFaces:
    source = LabelledFaces(Options(), root)
    source.suffixes = ImageMedia.suffixes
    return source


def folders(root: Path, suffixes: tuple[str, ...] = ImageMedia.suffixes) -> FolderSource:
    source = FolderSource(Options(), root)
    source.suffixes = suffixes
    return source


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    touch(
        tmp_path,
        "b/2.png",
        "b/10.JPG",
        "b/deep/1.png",
        "b/.hidden.png",
        "b/notes.txt",
        "c/x_1.png",
        "c/y_1.png",
        "d/x_2.png",
    )
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_folder_includes_its_subfolders(tree: Path) -> None:
    source = folders(tree)
    assert keys(source, "b") == ["10", "2", "deep/1"]
    assert keys(source, str(tree / "b")) == ["10", "2", "deep/1"]
    assert [sample.location for sample in source.samples("some", "b/deep")] == [tree / "b/deep/1.png"]


def test_domain_may_be_a_glob(tree: Path) -> None:
    source = folders(tree)
    assert keys(source, "*/x_*.png") == ["c/x_1", "d/x_2"]
    assert keys(source, "b/**/*.png") == ["2", "deep/1"]
    assert keys(source, "c/*.png") == keys(source, str(tree / "c/*.png")) == ["x_1", "y_1"]


def test_media_decides_which_files_are_samples(tree: Path) -> None:
    assert keys(folders(tree, (".txt",)), "b") == ["notes"]
    with pytest.raises(UsageError, match="half = 'left' is for images"):
        folders(tree, (".txt",)).samples("some", {"path": "b", "half": "left"})


def test_keys_leave_out_the_end_of_all_names(tmp_path: Path) -> None:
    """Pairs whose names differ by it; in the order of keys, which that of the names need not be."""
    touch(tmp_path, "labels/a_x_ids.png", "labels/a_ids.png", "photos/a.png", "photos/a_x.png", "mixed/a_ids.png")
    touch(tmp_path, "mixed/b.png")
    source = folders(tmp_path)
    labels = {"path": "labels", "without": "_ids"}
    assert keys(source, labels) == keys(source, "photos") == ["a", "a_x"]
    assert [each.location.name for each in source.samples("some", labels)] == ["a_ids.png", "a_x_ids.png"]
    with pytest.raises(DataError, match=r"the names of 1 file do not end in '_ids', such as .*b\.png"):
        source.samples("some", {"path": "mixed", "without": "_ids"})
    with pytest.raises(UsageError, match="without = 3; expected the end of all files' names"):
        source.samples("some", {"path": "labels", "without": 3})


def test_domain_may_be_one_half_of_images(tree: Path) -> None:
    source = folders(tree)
    (left,) = source.samples("some", {"path": "d", "half": "left"})
    (right,) = source.samples("some", {"path": "d", "half": "right"})
    assert left.key == right.key == "x_2"
    assert isinstance(left.location, HalfImage) and isinstance(right.location, HalfImage)
    assert (left.location.half, right.location.half) == ("left", "right")


@pytest.mark.parametrize(
    ("selection", "error", "message"),
    [
        ("b/2.png", DataError, r"'.*/2\.png' is a file; expected a folder, or a pattern such as 'photos/\*\.jpg'"),
        ("nothing", DataError, r"there is no folder '.*/nothing'\. '.*' has b, c, d, empty\."),
        ("no/where", DataError, r"there is no folder '.*/no/where'\. '.*/no' does not exist either\."),
        ("empty", DataError, "nothing to read in '.*/empty': found nothing; expected files ending in .png, "),
        ("b/*.txt", DataError, "found 1 file, none of the kind"),
        (3, UsageError, "found 3; expected the path of a folder, or a glob"),
        ({"path": "b", "side": "left"}, UsageError, "expected a folder, or "),
        ({"path": "b", "half": "top"}, UsageError, "half = 'top'; expected 'left' or 'right'"),
    ],
)
def test_wrong_selections_are_reported(tree: Path, selection: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        folders(tree).samples("some", selection)


def write_images(root: Path, *names: str) -> None:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), i, np.uint8)).save(root / name)


def test_held_out_samples_come_from_a_folder_or_a_stable_split(tmp_path: Path, planned: Callable[..., Plan]) -> None:
    write_images(tmp_path, "test/z.png", *(f"{side}/{i}.png" for side in "ab" for i in range(20)))
    domains = Domains(
        planned(PLAN.format(root=tmp_path, a='{ path = "a", held_out = "test" }', paired="false", more=""))
    )
    assert len(domains["a"].samples) == 20
    assert [sample.key for sample in domains["a"].held_out] == ["z"]
    split = {sample.key for sample in domains["b"].held_out}
    assert split and not split & {sample.key for sample in domains["b"].samples}
    assert len(domains["b"].samples) + len(split) == 20
    (tmp_path / "b/9.png").unlink()
    fewer = Domains(planned(PLAN.format(root=tmp_path, a='"a"', paired="false", more="")))
    assert {sample.key for sample in fewer["b"].held_out} == split - {"9"}  # the other samples keep their split
    whole = Domains(planned(PLAN.format(root=tmp_path, a='"a"', paired="false", more="held_out = 0.0")))
    assert len(whole["a"].samples) == 20 and not whole["a"].held_out


def test_held_out_samples_may_be_paired_where_training_samples_are_not(
    tmp_path: Path, planned: Callable[..., Plan]
) -> None:
    write_images(tmp_path, "a/0.png", "a/1.png", "b/2.png", *(f"test/{side}/{i}.png" for side in "ab" for i in (7, 8)))
    plan = PLAN.replace('b = "b"', 'b = {{ path = "b", held_out = "test/b" }}')
    a = '{ path = "a", held_out = "test/a" }'
    paired = planned(plan.format(root=tmp_path, a=a, paired='"held_out"', more=""))
    forward = Translation("task", "a", "b")
    domains = Domains(paired)
    partners = true_translations(domains, forward, list(reversed(domains["a"].held_out)))
    assert [each.location for each in partners if each] == [tmp_path / "test/b/8.png", tmp_path / "test/b/7.png"]
    assert len(Batches(paired, domains).at(0)) == 1  # training is unpaired
    unpaired = Domains(planned(plan.format(root=tmp_path, a=a, paired="false", more="")))
    assert true_translations(unpaired, forward, unpaired["a"].held_out) == [None, None]
    with pytest.raises(DataError, match=r"\[tasks.task\] is paired, but 3 samples have no partner .*: 0, 1, 2$"):
        Domains(planned(plan.format(root=tmp_path, a=a, paired="true", more="")))
    write_images(tmp_path, "test/b/9.png")
    with pytest.raises(DataError, match=r"\[tasks.task\] is paired, but 1 held-out samples have no partner .*: 9$"):
        Domains(paired)


UTK = (
    "25_0_1_20170116.jpg",
    "sub/30_1_0_20170117.jpg.chip.jpg",
    "31_1_4_3.png",
    "55_0_0_1.jpg",
    "61_1__2.jpg",
    "face.jpg",
)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"age": [20, 30]}, ["25_0_1_20170116", "sub/30_1_0_20170117.jpg.chip"]),
        ({"age": [30, 31]}, ["31_1_4_3", "sub/30_1_0_20170117.jpg.chip"]),
        ({"race": "White"}, ["55_0_0_1", "sub/30_1_0_20170117.jpg.chip"]),
        ({"race": ["Black", "Others"]}, ["25_0_1_20170116", "31_1_4_3"]),
        ({"gender": "male", "age": [50, 60]}, ["55_0_0_1"]),
        ({"age": 31}, ["31_1_4_3"]),
    ],
)
def test_labelled_faces_are_selected_by_the_labels_in_their_names(
    tmp_path: Path, selection: Any, expected: list[str]
) -> None:
    touch(tmp_path, *UTK, "._25_0_1_1.jpg", "25_0_1_1.txt")
    (tmp_path / "25_0_0_1.jpg").mkdir()
    assert keys(faces(tmp_path), selection) == expected


def test_labels_are_parsed_from_file_names(tmp_path: Path) -> None:
    touch(tmp_path, *UTK)
    (sample,) = faces(tmp_path).samples("some", {"age": 25})
    assert sample.attributes == {"age": 25, "gender": "male", "race": "Black"}
    assert sample.location == tmp_path / "25_0_1_20170116.jpg"


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"hair": "red"}, "there is no label 'hair'. Known: age, gender, race"),
        ({}, "expected a selection by labels"),
        ("young", "found 'young'; expected a selection by labels"),
        ({"age": [30, 20]}, r"age = \[30, 20\] ends before it begins"),
        ({"race": [20, 30]}, r"race = \[20, 30\]: found a range of numbers, expected strings such as '\w+'"),
        ({"race": "Blakc"}, r"there is no race 'Blakc'\. Did you mean 'Black'\?"),
        ({"race": ["White", "Elf"]}, r"there is no race 'Elf'\. Known: Asian, Black, Indian, Others, White\."),
        ({"age": "young"}, r"age = 'young': found 'young', expected a number such as 25"),
    ],
)
def test_wrong_selections_by_label_are_reported(tmp_path: Path, selection: Any, message: str) -> None:
    touch(tmp_path, *UTK)
    with pytest.raises(UsageError, match=message):
        faces(tmp_path).samples("some", selection)


def test_selection_without_a_labelled_face_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, *UTK)
    with pytest.raises(
        DataError, match=r"\[domains\] some: no photograph below .* has {'age': \[90, 99\]}, 2 images there are not"
    ):
        faces(tmp_path).samples("some", {"age": [90, 99]})
    with pytest.raises(DataError, match=r"data\.root is missing"):
        LabelledFaces(Options(), None).samples("some", {"age": 1})


def synthetic(**options: Any) -> SyntheticFaces:
    return SyntheticFaces(SyntheticFaces.Options(**options), None)


def test_synthetic_faces_are_selected_by_labels() -> None:
    source = synthetic(count=40)
    young, old = source.samples("young", {"age": [20, 30]}), source.samples("old", {"age": [50, 60]})
    assert len(young) == len(old) == 20
    assert all(20 <= sample.attributes["age"] <= 30 for sample in young)
    white = source.samples("white", {"race": "White"})
    assert {sample.attributes["race"] for sample in white} == {"White"}
    assert len(white) == 20
    assert len(source.samples("both", {"race": "White", "age": [50, 60]})) == 10
    assert [s.attributes for s in synthetic(count=20).samples("young", {"age": [20, 30]})] == [
        s.attributes for s in young[:10]
    ]
    assert [s.attributes for s in synthetic(count=40, seed=1).samples("y", {"age": [20, 30]})] != [
        s.attributes for s in young
    ]
    with pytest.raises(UsageError, match="races: there is no Elf; known: "):
        synthetic(races=["Elf"]).samples("elves", {"race": "Elf"})
    with pytest.raises(DataError, match="no synthetic face has"):
        source.samples("some", {"age": [31, 49]})


def test_synthetic_face_is_the_same_each_time() -> None:
    (first, second, *_), again = (synthetic(count=8).samples("young", {"age": [20, 30]}) for _ in range(2))
    image = first.location(24)
    assert image.shape == (24, 24, 3) and image.dtype == np.uint8
    assert np.array_equal(image, again[0].location(24))
    assert not np.array_equal(image, second.location(24))


def test_counterpart_is_the_same_person_with_one_label_changed() -> None:
    source = synthetic(count=40)
    young, old, black = {"age": [20, 30]}, {"age": [50, 60]}, {"race": "Black"}
    for sample in source.samples("young", young):
        older = source.counterpart(sample, young, old)
        assert older is not None and isinstance(older.location, SyntheticFace)
        assert older.key == sample.key
        assert older.attributes["race"] == sample.attributes["race"]
        assert older.attributes["age"] == pytest.approx(sample.attributes["age"] + 30)
        assert (older.location.seed, older.location.index) == (sample.location.seed, sample.location.index)
        back = source.counterpart(older, old, young)
        assert back is not None and back.attributes["age"] == pytest.approx(sample.attributes["age"])
        darker = source.counterpart(sample, {"race": "White"}, black)
        assert darker is not None and darker.attributes == {**sample.attributes, "race": "Black"}
    assert source.counterpart(sample, young, {"race": ["Asian", "Black"]}) is None
    assert FolderSource(Options(), None).counterpart(sample, young, old) is None


FACES = """
[data]
source = "labelled_faces"
root = "{root}"
size = 16
held_out = 0.2
[domains]
young = {{ age = [20, 29] }}
all = {{ gender = ["male", "female"] }}
[tasks]
task = {{ between = ["young", "all"] }}
[train]
steps = 1
[generators.resnet]
width = 4
blocks = 1
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""


def test_an_archive_that_holds_its_photographs_three_times_leaks_nothing(
    tmp_path: Path, planned: Callable[..., Plan]
) -> None:
    """The kind: one photograph in several folders and in several domains; and what tools leave beside it."""
    names = [f"{20 + i % 20}_{i % 2}_0_{i}.jpg" for i in range(40)]
    write_images(tmp_path, *(f"part/{name}" for name in names))
    for copy in ("whole/part", ".ipynb_checkpoints"):
        shutil.copytree(tmp_path / "part", tmp_path / copy)
    (tmp_path / "linked").symlink_to(tmp_path / "part")
    touch(tmp_path, "part/notes.txt", "part/holiday.jpg")
    domains = Domains(planned(FACES.format(root=tmp_path)))
    held = {domains.contents.of(sample) for each in domains.values() for sample in each.held_out}
    trained = {domains.contents.of(sample) for each in domains.values() for sample in each.samples}
    assert held and not held & trained and len(held | trained) == 40
    assert len(domains["all"].samples) + len(domains["all"].held_out) == 80  # neither hidden nor linked ones
    (skipped,) = domains.skipped
    for what in ("hidden: 1 (.ipynb_checkpoints)", "ending in .txt: 1", "a link to a folder that is read already: 1"):
        assert what in skipped
    assert "not named age_gender_race_date: 1 (holiday.jpg)" in skipped
    assert "[tasks.task] domains young and all share 20 samples" in domains.warnings[0]
