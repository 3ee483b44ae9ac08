"""Attributes: labels are encoded as vectors, and batches hold those of their own samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan.api import DataError, NumericRange, Sample
from transgan.data.attributes import as_value, encode, encode_labels, is_value, typical_label
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.plan import Plan
from transgan.recipe.schema import Attribute

YEARS = Attribute.model_validate({"from": 15, "to": 65})
MATERIAL = Attribute(values=["wood", "steel", "glass"])

RECIPE = """
[data]
source = { use = "labelled_table", table = "labels.csv" }
media = { use = "image", flip = false }
size = 8
held_out = 0.0
[domains]
wood = { material = "wood" }
steel = { material = "steel" }
glass = { material = "glass" }
[tasks.surface]
between = ["wood", "steel", "glass"]
[attributes]
load = { from = 0, to = 100 }
material = { values = ["glass", "steel", "wood"] }
[train]
steps = 20
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


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(15, -1), (65, 1), (40, 0), (52.5, 0.5), (NumericRange("20-29"), 2 * (24.5 - 15) / 50 - 1), ("43", 0.12)],
)
def test_a_number_is_encoded_by_its_place_in_the_range(value: Any, encoded: float) -> None:
    assert encode(YEARS, value) == [pytest.approx(encoded)]


def test_a_text_is_encoded_as_a_one_hot_vector() -> None:
    assert encode(MATERIAL, "steel") == [0, 1, 0]
    assert encode(Attribute.model_validate({"from": 0, "to": 1}), True) == [1]


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        (YEARS, 70, "found 70, expected a number from 15 to 65"),
        (YEARS, float("nan"), "found nan, expected a number from 15 to 65"),
        (YEARS, "young", "found 'young', expected a number from 15 to 65"),
        (MATERIAL, "steal", r"found 'steal'. Did you mean 'steel'\?"),
    ],
)
def test_a_value_that_cannot_be_encoded_is_refused(attribute: Attribute, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(attribute, value)


def test_samples_with_invalid_labels_are_counted() -> None:
    samples = [Sample(str(i), None, {"years": i}) for i in range(10, 20)]
    message = r"\[attributes\] years: invalid for 5 of the 10 samples of domain 'old', such as 10: found 10, expected"
    with pytest.raises(DataError, match=message):
        encode_labels({"years": YEARS}, samples, "old")
    message = (
        r"\] yaers: 10 of the 10 samples of domain 'old' have no label 'yaers', such as 10\. Did you mean 'years'\?"
    )
    with pytest.raises(DataError, match=message):
        encode_labels({"yaers": YEARS}, samples, "old")
    samples = [Sample(str(i), None, {"years": 20} if i % 3 else {"height": 1}) for i in range(10)]
    message = "4 of the 10 samples of domain 'old' have no label 'years', such as 0; label them, or select others$"
    with pytest.raises(DataError, match=message):
        encode_labels({"years": YEARS}, samples, "old")
    assert encode_labels({"years": YEARS}, [], "old")["years"].shape == (0, 1)


def test_the_typical_label_is_the_mean_or_the_most_common_value() -> None:
    ranges = [NumericRange("2-4"), NumericRange("2-4"), NumericRange("6-8")]
    samples = [
        Sample("", None, {"n": n, "m": m, "flag": flag, "range": each})
        for n, m, flag, each in zip(
            (1, NumericRange("2-4"), 8), ("wood", "steel", "steel"), (1, -1, 1), ranges, strict=True
        )
    ]
    assert typical_label(YEARS, "n", samples) == 4
    assert typical_label(MATERIAL, "m", samples) == "steel"
    assert typical_label(Attribute(values=["-1", "1"]), "flag", samples) == "1"
    assert typical_label(Attribute(values=["2-4", "6-8"]), "range", samples) == "2-4"


@pytest.mark.parametrize(
    ("values", "label", "encoded"),
    [
        (["-1", "1"], -1, [1, 0]),
        (["-1", "1"], 1.0, [0, 1]),
        (["0.5", "25"], np.int64(25), [0, 1]),
        (["0.5", "25"], 0.5, [1, 0]),
        (["123456789", "0.1"], 123456789, [1, 0]),
        (["9007199254740993", "0"], 9007199254740993, [1, 0]),  # more digits than a float has
        (["false", "true"], np.bool_(True), [0, 1]),
        (["true", "false"], False, [0, 1]),
        (["2-4", "6-8"], NumericRange("6-8"), [0, 1]),
    ],
)
def test_a_number_is_the_value_that_is_written_as_it(values: list[str], label: Any, encoded: list[float]) -> None:
    assert encode(Attribute(values=values), label) == encoded
    assert encode(Attribute(values=values), as_value(label)) == encoded  # as a user, or a model, gives it


def test_a_value_that_is_written_twice_is_named() -> None:
    with pytest.raises(ValueError, match=r"its values '1e9', '1000000000' are the same; remove all but one"):
        encode(Attribute(values=["1e9", "1000000000"]), 1e9)


def test_a_sample_without_a_label_has_no_value() -> None:
    assert not is_value(None, "None")


@pytest.mark.parametrize(("label", "written"), [(2, "2"), (True, "True"), ("-1.0", "'-1.0'"), (float("nan"), "nan")])
def test_a_number_that_is_no_value_is_refused(label: Any, written: str) -> None:
    with pytest.raises(ValueError, match=rf"found {written}\. (Known|Did)"):
        encode(Attribute(values=["-1", "1"]), label)


@pytest.mark.parametrize("targets", ["all", "random"])
def test_batches_hold_the_attributes_of_their_own_samples(
    tmp_path: Path, planned: Callable[..., Plan], targets: str
) -> None:
    materials = ["wood", "steel", "glass"]
    lines = ["file,material,load"]
    for i in range(27):  # red stands for the load of a picture, green for its material
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[..., 0], picture[..., 1] = 3 * i, 100 * (i % 3)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{materials[i % 3]},{3 * i}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    plan = planned(RECIPE, overrides=(f'data.root="{tmp_path}"', f'tasks.surface.targets="{targets}"'))
    batches = Batches(plan, Domains(plan))
    seen = set()
    for step in range(10):
        (batch_inputs,) = batches.at(step)
        for translation in plan.translations:
            for end in ("source", "target"):
                x = (batch_inputs[translation, end][:, :2, 0, 0] + 1) * 127.5
                attributes = batch_inputs[translation, f"{end}_attributes"]
                assert attributes["load"].shape == (4, 1) and attributes["material"].shape == (4, 3)
                assert attributes["load"][:, 0].tolist() == pytest.approx((x[:, 0] / 50 - 1).tolist(), abs=1e-4)
                names = [2 - round(float(green) / 100) for green in x[:, 1]]
                assert attributes["material"].argmax(1).tolist() == names
                seen.update(batch_inputs[translation, f"{end}_domain"].tolist())
    batches.pool.shutdown()
    assert seen == {0, 1, 2}


def test_a_number_is_kept_as_the_text_of_the_same_column_is(tmp_path: Path, planned: Callable[..., Plan]) -> None:
    """Networks get the same of a column of -1 and 1 as of one of no and yes."""
    for i in range(12):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(tmp_path / f"{i}.png")
    rows = [f"{i}.png,{i % 2},{(-1, 1)[i % 3 == 0]},{('no', 'yes')[i % 3 == 0]}" for i in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,side,flag,word", *rows]))
    found = {}
    for label, values in (("flag", '["-1", "1"]'), ("word", '["no", "yes"]')):
        overrides = (
            f'data.root="{tmp_path}"',
            "domains={a={side=0}, b={side=1}}",
            'tasks={t={between=["a", "b"]}}',
            f"attributes={{{label}={{values={values}}}}}",
            f'discriminators.d={{use="patch", width=2, layers=1, per="run", label_maps=true, keep=["{label}"]}}',
            "losses.lsgan=1.0",
            'phases=[{side="generator"}, {side="discriminator"}]',
        )
        domains = Domains(planned(RECIPE, overrides=overrides))
        found[label] = {name: (each.labels[label], each.labels["kept"]) for name, each in domains.items()}
    for name, (own, kept) in found["flag"].items():
        word, expected = found["word"][name]
        np.testing.assert_array_equal(own, word)
        np.testing.assert_array_equal(kept, expected)
        assert set(kept.sum(1)) == {1.0} and set(kept.sum(0)) == {2.0, 4.0}
