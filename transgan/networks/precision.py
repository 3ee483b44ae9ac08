"""Precision: what networks compute in, and what fp32 products may be rounded to."""

from typing import Any

import torch

from transgan.tree import map_tensors

#: The dtypes that networks compute in, by `train.precision`; None for that of the weights.
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def can_compute_in(dtype: torch.dtype | None, device: torch.device) -> bool:
    """Return whether a device computes in a dtype of its own accord: some GPUs have no bf16, `meta` needs none."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "meta"


def fp32_precisions() -> tuple[str, str]:
    """Return what fp32 products of matrices and convolutions may be rounded to on a GPU, in PyTorch's words."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]


def set_fp32_precisions(matmul: str, conv: str) -> None:
    """Set what `fp32_precisions` returns, for the whole process."""
    torch.backends.cuda.matmul.fp32_precision = matmul
    torch.backends.cudnn.conv.fp32_precision = conv  # type: ignore[attr-defined]


def to_fp32(output: Any) -> Any:
    """Return outputs in fp32, in which losses are computed whatever the passes were in.

    Features in bf16 stay as they are; those in fp16 do not, since sums of their squares would overflow.
    """
    output = map_tensors(lambda x: x.float() if x.dtype == torch.float16 else x, output)
    return map_tensors(lambda x: x.float() if x.dtype == torch.bfloat16 else x, output, keep=("features",))
