"""Norms and padding: the same in either memory format, and in 16 bits."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transgan_standard.norms import GroupNorm, InstanceNorm, instance_norm, sample_norm
from transgan_standard.padding import Conv2d, Pad, PaddingKind

LAST = torch.channels_last


def sample(shape: tuple[int, ...] = (3, 8, 5, 6), dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def derivatives(norm: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Return a norm's output, its gradient, and a gradient of that gradient."""
    x = x.detach().requires_grad_()
    y = norm(x)
    (first,) = torch.autograd.grad(y, x, sample(seed=1), create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return [y, first, second]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("norm", "groups"), [(instance_norm, 8), (sample_norm, 1)])
def test_channels_last_are_normalized_as_by_group_norm(norm: Callable[..., Tensor], groups: int, affine: bool) -> None:
    weights = (sample((8,), seed=2), sample((8,), seed=3)) if affine else (None, None)
    expected = derivatives(lambda x: F.group_norm(x, groups, *weights), sample())
    for x in (sample(), sample().contiguous(memory_format=LAST)):
        found = derivatives(lambda x: norm(x, *weights), x)
        for each, other in zip(found, expected, strict=True):
            torch.testing.assert_close(each, other)
        assert found[0].is_contiguous() == x.is_contiguous()
        assert found[0].is_contiguous(memory_format=LAST) == x.is_contiguous(memory_format=LAST)


def test_group_norm_keeps_the_memory_format() -> None:
    own, theirs = GroupNorm(4, 8).double(), nn.GroupNorm(4, 8).double()
    with torch.no_grad():
        own.weight.copy_(sample((8,), seed=2))
        own.bias.copy_(sample((8,), seed=3))
    theirs.load_state_dict(own.state_dict())
    expected = derivatives(theirs, sample())
    for x in (sample(), sample().contiguous(memory_format=LAST)):
        found = derivatives(own, x)
        for each, other in zip(found, expected, strict=True):
            torch.testing.assert_close(each, other)
        assert found[0].is_contiguous(memory_format=LAST) == x.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("norm", [instance_norm, sample_norm])
def test_statistics_of_16_bits_are_in_fp32(norm: Callable[[Tensor], Tensor]) -> None:
    """A mean of 100.25 would be rounded to 100 or 100.5 in bf16, a tenth of this deviation away."""
    x = (100.25 + 2 * sample((2, 4, 64, 64))).to(torch.bfloat16)
    exact = norm(x.double())
    for each in (x, x.contiguous(memory_format=LAST)):
        y = norm(each)
        assert y.dtype == torch.bfloat16
        assert float((y.double() - exact).abs().max()) < 0.02


def test_one_position_is_no_error() -> None:
    """As in an innermost level of one pixel, where memory formats are the same."""
    x = sample((2, 8, 1, 1)).contiguous(memory_format=LAST)
    assert torch.equal(InstanceNorm()(x), torch.zeros(2, 8, 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["reflect", "zero", "replicate"])
def test_padding_stays_in_16_bits_under_autocast(kind: PaddingKind) -> None:
    x = sample(dtype=torch.bfloat16)
    mode = {"reflect": "reflect", "zero": "constant", "replicate": "replicate"}[kind]
    expected = F.pad(x, (2, 2, 2, 2), mode)
    with torch.autocast("cpu", torch.bfloat16):
        found = Pad(2, kind)(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


@pytest.mark.parametrize("mode", ["reflect", "zeros", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (2, 1)])
def test_a_padded_convolution_is_that_of_pytorch(mode: str, padding: int | tuple[int, int]) -> None:
    own = Conv2d(8, 4, 3, stride=2, padding=padding, padding_mode=mode, dilation=(1, 2)).double()  # type: ignore[arg-type]
    theirs = nn.Conv2d(8, 4, 3, stride=2, padding=padding, padding_mode=mode, dilation=(1, 2)).double()  # type: ignore[arg-type]
    theirs.load_state_dict(own.state_dict())
    torch.testing.assert_close(own(sample((3, 8, 9, 9))), theirs(sample((3, 8, 9, 9))))
