"""Images labelled by a table: file formats, types of columns, selections, and error messages."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from transgan_images.tables import LabelledTable

from transgan.api import DataError, Sample, UsageError

FAIRFACE = """file,age,gender,race,service_test
train/1.jpg,50-59,Male,East Asian,True
train/2.jpg,more than 70,Female,Indian,False
train/3.jpg,3-9,Female,"Latino, Hispanic",False
train/4.jpg,20-29,,Black,True
"""
CELEBA = """3
5_o_Clock_Shadow Smiling
1.jpg -1  1
2.jpg  1 -1
3.jpg -1 -1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    for number in range(1, 5):
        (tmp_path / f"train/{number}.jpg").write_bytes(b"")
    return tmp_path


def selected(root: Path, text: str | bytes, selection: Any, **options: Any) -> list[Sample]:
    (root / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    source = LabelledTable(LabelledTable.Options(table="labels.csv", **options), root)
    return source.samples("some", selection)


def keys(*arguments: Any, **options: Any) -> list[str]:
    return [sample.key for sample in selected(*arguments, **options)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"age": [20, 29]}, ["4"]),
        ({"age": [0, 60]}, ["1", "3", "4"]),
        ({"age": [25, 100]}, ["1", "2"]),
        ({"age": "more than 70"}, ["2"]),
        ({"gender": "Female"}, ["2", "3"]),
        ({"race": ["East Asian", "Latino, Hispanic"]}, ["1", "3"]),
        ({"service_test": True, "gender": "Male"}, ["1"]),
    ],
)
def test_ranges_strings_and_booleans_are_selected(root: Path, selection: Any, expected: list[str]) -> None:
    assert keys(root, FAIRFACE, selection) == [f"train/{number}" for number in expected]


def test_empty_cell_means_that_the_label_is_missing(root: Path) -> None:
    (sample,) = selected(root, FAIRFACE, {"age": [20, 29]})
    assert sample.attributes == {"age": "20-29", "race": "Black", "service_test": True}
    assert sample.location == root / "train/4.jpg"


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "  "])
def test_delimiter_is_detected(root: Path, delimiter: str) -> None:
    text = "\n".join(
        delimiter.join(row) for row in (("name", "mood", "size"), ("1.jpg", "glad", "3"), ("2.jpg", "sad", "4.5"))
    )
    (sample,) = selected(root, f"\ufeff{text}\n\n", {"size": [4, 5]}, folder="train")
    assert sample.key == "2"
    assert sample.attributes == {"mood": "sad", "size": 4.5}


def test_celeba_list_with_a_count_and_an_unnamed_file_column(root: Path) -> None:
    assert keys(root, CELEBA, {"Smiling": 1}, folder="train") == ["1"]
    assert keys(root, CELEBA, {"Smiling": -1, "5_o_Clock_Shadow": -1}, folder="train") == ["3"]


def test_file_column_can_be_chosen(root: Path) -> None:
    text = ",mood,picture\n0,glad,train\\1.jpg\n1,sad,train/2.jpg\n"
    assert keys(root, text, {"mood": "glad"}, file="picture") == ["train/1"]
    with pytest.raises(DataError, match=r"has no column 'pictrue'. Did you mean 'picture'\?"):
        selected(root, text, {"mood": "glad"}, file="pictrue")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"aeg": [20, 29]}, "there is no label 'aeg'. Did you mean 'age'?"),
        ({"file": "train/1.jpg"}, "there is no label 'file'. Known: age, gender, race, service_test."),
        ({"gender": "female"}, "there is no gender 'female'. Did you mean 'Female'?"),
        ({"race": "Elf"}, "there is no race 'Elf'. Known: Black, East Asian, Indian, Latino, Hispanic."),
    ],
)
def test_unknown_labels_and_values_are_reported(root: Path, selection: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        selected(root, FAIRFACE, selection)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,mood\n1.jpg,glad\n2.jpg\n", "labels.csv:3: found 1 columns, expected 2"),
        ("file,mood\n", "found 1 lines, expected a header and at least one line below it"),
        ("", "found 0 lines"),
        ("train/1.jpg,glad\ntrain/2.jpg,sad\n", "labels.csv:1: there is no header: found the image train/1.jpg"),
        ("file,mood,mood\n1.jpg,a,b\n", "there are two columns 'mood'"),
        ("file,mood\na.jpg,glad\nb.jpg,glad\na.jpg,sad\n", "1 images are listed more than once: a.jpg in lines 2, 4"),
        ("file,mood\n../1.jpg,glad\n", r"labels.csv:2: found '../1.jpg', expected an image below"),
        ("file,mood\n/1.jpg,glad\n", r"labels.csv:2: found '/1.jpg', expected an image below"),
        ("file,mood\n,glad\n", "labels.csv:2: found '', expected an image below"),
        (b"file,mood\n1.jpg,\xff\n", "cannot be read: it is not text in UTF-8"),
        ('file,mood\n"1.jpg,glad\n', "cannot be read: unexpected end of data"),
        (
            "file,mood\n" + "".join(f"train/{i}.jpg,glad\n" for i in range(4, 13)),
            r"8 of 9 images that .*labels.csv lists are missing: .*10.jpg, .*11.jpg, .*, \.\.\.; they are expected",
        ),
    ],
)
def test_malformed_tables_are_reported(root: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        selected(root, text, {"mood": "glad"})


def test_only_selected_images_have_to_exist(root: Path) -> None:
    text = "file,mood\ntrain/1.jpg,glad\nelsewhere.jpg,sad\n"
    assert keys(root, text, {"mood": "glad"}) == ["train/1"]


@pytest.mark.parametrize(
    ("selection", "known"),
    [
        ({"age": [25, 29]}, "age 3-9, 20-29, 50-59, more than 70"),
        ({"age": [80, 99], "gender": "Male"}, "gender Female, Male"),
    ],
)
def test_selection_without_images_is_reported_with_the_known_values(root: Path, selection: Any, known: str) -> None:
    with pytest.raises(DataError, match=rf"\[domains\] some: no line of .*labels.csv has .*{known}"):
        selected(root, FAIRFACE, selection)


def test_missing_table_is_reported(root: Path) -> None:
    for name, what in (("nowhere.csv", "does not exist"), ("train", "is a folder")):
        source = LabelledTable(LabelledTable.Options(table=name), root)
        with pytest.raises(DataError, match=f"{name} {what}; expected a CSV or TSV file below data.root"):
            source.samples("some", {"mood": "glad"})


@pytest.mark.parametrize("odd", ["nan", "NaN", "N/A", "null", "inf", "-inf", "<NA>"])
def test_a_number_that_is_not_known_is_named_with_its_line(root: Path, odd: str) -> None:
    """Of the kind: how programs write missing numbers, in any numeric column; the others would become strings."""
    text = f"file,age,weight\ntrain/1.jpg,20,1\ntrain/2.jpg,{odd},2\ntrain/3.jpg,40,3\n"
    with pytest.raises(DataError, match=r"labels.csv:3: age: found '.*', expected a number as in the other lines"):
        selected(root, text, {"weight": [0, 5]})
    assert keys(root, text.replace(odd, ""), {"age": [0, 50]}) == ["train/1", "train/3"]


def test_a_word_among_numbers_is_named_where_a_range_is_selected(root: Path) -> None:
    text = "file,age\ntrain/1.jpg,20\ntrain/2.jpg,old\ntrain/3.jpg,?\n"
    with pytest.raises(DataError, match=r"labels.csv:3: age: found 'old' \(and 1 more lines\), expected a number"):
        selected(root, text, {"age": [0, 50]})
    assert keys(root, text, {"age": "old"}) == ["train/2"]  # else it is a label of strings


def test_files_whose_names_differ_by_unicode_form_alone_are_named(root: Path) -> None:
    """The kind: a table written on another system than the files; the names look the same."""
    composed, decomposed = (unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD"))
    for in_table, on_disk in ((composed, decomposed), (decomposed, composed)):
        (root / f"{on_disk}.jpg").write_bytes(b"")
        with pytest.raises(DataError, match=r"2 of 2 images .* are missing.* 1 of them are there under a name that"):
            selected(root, f"file,side\n{in_table}.jpg,left\nnowhere.jpg,left\n", {"side": "left"})
        (root / f"{on_disk}.jpg").unlink()


@pytest.mark.parametrize(
    "text", ['{"1.jpg": {"age": 3}, "2.jpg": {"age": 4}}', '[\n {"age": 3},\n {"age": 4}\n]', '{"a": 1}\n{"a": 2}']
)
def test_json_is_not_taken_for_a_table(root: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: expected a CSV or TSV file; this is JSON"):
        selected(root, text, {"age": 3})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], r"Smiling = \[\]: an empty list selects nothing; expected a range such as \[20, 30\], or values"),
        (True, "Smiling = True: found True, expected a number such as 1"),
        ([1, False], "found False, expected a number"),
    ],
)
def test_selections_that_are_no_numbers_are_refused(root: Path, wanted: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        selected(root, CELEBA, {"Smiling": wanted}, folder="train")
    assert keys(root, CELEBA.replace("-1", "0"), {"Smiling": True}, folder="train") == ["1"]  # 1 stands for true
