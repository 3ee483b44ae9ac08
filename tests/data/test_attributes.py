"""Labels become the numbers that networks are told, and batches carry those of their own samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan.api import DataError, NumericRange, Sample
from transgan.data.attributes import encode, encode_all, middle
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
    ("value", "told"),
    [(15, -1), (65, 1), (40, 0), (52.5, 0.5), (NumericRange("20-29"), 2 * (24.5 - 15) / 50 - 1), ("43", 0.12)],
)
def test_a_number_is_told_between_the_ends_of_its_range(value: Any, told: float) -> None:
    assert encode(YEARS, value) == [pytest.approx(told)]


def test_a_text_is_told_by_a_number_for_each_value() -> None:
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
def test_a_value_of_which_networks_cannot_be_told(attribute: Attribute, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(attribute, value)


def test_samples_that_will_not_do_are_counted() -> None:
    samples = [Sample(str(i), None, {"years": i}) for i in range(10, 20)]
    message = r"\[attributes\] years: 5 of the 10 samples of domain 'old' will not do, such as 10: found 10, expected"
    with pytest.raises(DataError, match=message):
        encode_all({"years": YEARS}, samples, "old")
    with pytest.raises(DataError, match=r"such as 10: no such label. Did you mean 'years'\?"):
        encode_all({"yaers": YEARS}, samples, "old")
    assert encode_all({"years": YEARS}, [], "old")["years"].shape == (0, 1)


def test_the_middle_is_a_mean_or_the_commonest() -> None:
    samples = [
        Sample("", None, {"n": n, "m": m}) for n, m in ((1, "wood"), (NumericRange("2-4"), "steel"), (8, "steel"))
    ]
    assert middle("n", samples) == 4
    assert middle("m", samples) == "steel"


@pytest.mark.parametrize("targets", ["all", "random"])
def test_batches_carry_the_attributes_of_their_own_samples(
    tmp_path: Path, planned: Callable[..., Plan], targets: str
) -> None:
    materials = ["wood", "steel", "glass"]
    lines = ["file,material,load"]
    for i in range(27):  # the red of a picture is its load, the green its material
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
                told = batch_inputs[translation, f"{end}_attributes"]
                assert told["load"].shape == (4, 1) and told["material"].shape == (4, 3)
                assert told["load"][:, 0].tolist() == pytest.approx((x[:, 0] / 50 - 1).tolist(), abs=1e-4)
                names = [2 - round(float(green) / 100) for green in x[:, 1]]
                assert told["material"].argmax(1).tolist() == names
                seen.update(batch_inputs[translation, f"{end}_domain"].tolist())
    batches.pool.shutdown()
    assert seen == {0, 1, 2}
