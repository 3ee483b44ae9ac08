"""Attributes: labels are encoded as vectors, and batches hold those of their own samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan.api import DataError, NumericRange, Sample
from transgan.data.attributes import encode, encode_labels, typical_label
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
    with pytest.raises(DataError, match=r"such as 10: no such label. Did you mean 'years'\?"):
        encode_labels({"yaers": YEARS}, samples, "old")
    assert encode_labels({"years": YEARS}, [], "old")["years"].shape == (0, 1)


def test_the_typical_label_is_the_mean_or_the_most_common_value() -> None:
    samples = [
        Sample("", None, {"n": n, "m": m}) for n, m in ((1, "wood"), (NumericRange("2-4"), "steel"), (8, "steel"))
    ]
    assert typical_label("n", samples) == 4
    assert typical_label("m", samples) == "steel"


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
