"""The count of live tensors, beside counts by hand."""

import pytest
import torch
from torch import nn

from transgan.training.live import LiveTensors

SIZE = 4 * 1000  # bytes


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_each_storage_counts_once_while_something_holds_it(device: str) -> None:
    before = torch.empty(1000, device=device)
    with LiveTensors() as live:
        live.hold([before, before.view(10, 100)])
        assert live.now == SIZE
        made = before + 1
        view = made.view(10, 100)
        view.add_(1)
        assert (live.now, live.peak) == (2 * SIZE, 2 * SIZE)
        del made
        assert live.now == 2 * SIZE
        del view
        assert (live.now, live.peak) == (SIZE, 2 * SIZE)
    assert before.add(1) is not None and live.now == SIZE  # no more than while it was entered


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_backward_pass_frees_what_it_has_used(device: str) -> None:
    x = torch.empty(1000, device=device, requires_grad=True)
    with LiveTensors() as live:
        y = x
        for _ in range(5):
            y = y.exp()  # keeps its result for the backward pass
        assert live.now == 5 * SIZE
        y.sum().backward()
        # y, which is held here, and the gradient of x, which had none.
        assert live.now == 2 * SIZE
        assert 6 * SIZE <= live.peak <= 8 * SIZE


def test_meta_counts_as_the_cpu_does() -> None:
    def peak(device: str) -> int:
        network = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(3, 8, 3),
            nn.InstanceNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 3),
            nn.Tanh(),
        ).to(device)
        x = torch.ones(2, 3, 16, 16, device=device)
        with LiveTensors() as live:
            live.hold([x, *network.parameters()])
            network(x).square().mean().backward()
        return live.peak

    assert peak("meta") == pytest.approx(peak("cpu"), rel=0.02)
