"""Functions reach every tensor of nested values; containers keep their types. Kind: whatever a network returns."""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from transgan.api import DiscriminatorOutput
from transgan.graph import _split
from transgan.networks.precision import to_fp32
from transgan.tree import map_tensors


class Pair(NamedTuple):
    mean: Tensor
    scale: Tensor


@dataclass(frozen=True)
class WithBoxes(DiscriminatorOutput):
    boxes: Tensor = field(default_factory=lambda: torch.zeros(0))
    name: str = ""


def bf16(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bfloat16)


def test_containers_keep_their_types() -> None:
    value = {
        "pair": Pair(bf16(2), bf16(2)),
        "ordered": OrderedDict(x=bf16(1)),
        "default": defaultdict(list, x=[bf16(1)]),
        "others": (None, "text", 3),
    }
    mapped = map_tensors(lambda x: x.float(), value)
    assert isinstance(mapped["pair"], Pair) and mapped["pair"].scale.dtype == torch.float32
    assert isinstance(mapped["ordered"], OrderedDict) and mapped["ordered"]["x"].dtype == torch.float32
    assert isinstance(mapped["default"], defaultdict) and mapped["default"]["missing"] == []
    assert mapped["others"] == (None, "text", 3)
    assert value["pair"].mean.dtype == torch.bfloat16


def test_outputs_in_bf16_become_fp32_with_all_their_fields_but_features() -> None:
    output = WithBoxes([bf16(2, 1)], bf16(2, 3), [bf16(2, 4)], boxes=bf16(2, 4), name="d")
    full = to_fp32(output)
    assert isinstance(full, WithBoxes) and full.name == "d"
    assert {full.logits[0].dtype, full.class_logits.dtype, full.boxes.dtype} == {torch.float32}
    assert full.features[0].dtype == torch.bfloat16
    assert to_fp32({"a": [bf16(1)], "b": Pair(bf16(1), bf16(1))})["b"].mean.dtype == torch.float32
    assert to_fp32(torch.ones(1, dtype=torch.long)).dtype == torch.long


def test_outputs_of_merged_calls_are_split_again() -> None:
    x = torch.arange(6.0)[:, None]
    first, second = _split({"pair": Pair(x, 2 * x), "output": DiscriminatorOutput([x], None, [x])}, [2, 4])
    assert torch.equal(first["pair"].scale, 2 * x[:2]) and torch.equal(second["pair"].mean, x[2:])
    assert torch.equal(second["output"].features[0], x[2:]) and second["output"].class_logits is None
