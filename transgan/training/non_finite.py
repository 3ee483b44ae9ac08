"""The non-finite guard of a step: where a loss or gradient is not finite, what the step has changed is put back."""

from collections.abc import Iterable

import torch
from torch import Tensor

from transgan.networks import Networks
from transgan.training.buffers import HistoryPool, LossBuffers


class NonFiniteGuard:
    """Remembers what a step changes besides weights, and whether the step has failed.

    From the first phase on whose total or gradients are not finite, no network is updated; this is decided on the
    device. `restore` puts back buffers, image pools and loss buffers; `restore_where_failed` does so on the device
    without waiting for it.
    """

    def __init__(self, networks: Networks, history: HistoryPool, loss_buffers: LossBuffers):
        self.history, self.loss_buffers = history, loss_buffers
        self.buffers = [buffer for network in networks.values() for buffer in network.buffers()]
        self.before = [buffer.clone() for buffer in self.buffers]
        self.values = dict(loss_buffers.values)
        history.begin_step()
        self.not_finite = torch.zeros((), dtype=torch.bool, device=networks.device)
        self.loss_not_finite = self.not_finite
        """Whether a phase's total was not finite; else it is a gradient that was not."""

    def check(self, total: Tensor, norms: Iterable[Tensor]) -> Tensor:
        """Check a phase's loss and the norms of its gradients.

        Returns:
            1.0 if any scalar so far was not finite, else 0.0, as a tensor on the device.
        """
        finite = torch.isfinite(torch.stack([number.float() for number in (total, *norms)]))
        self.not_finite = self.not_finite | ~finite.all()
        self.loss_not_finite = self.loss_not_finite | ~finite[0]
        return self.not_finite.float()

    def failed(self) -> bool:
        """Return whether any scalar was not finite; waits for the device."""
        return bool(self.not_finite)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back to before the step."""
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(before)
        self.history.undo()
        self.loss_buffers.values = self.values

    @torch.no_grad()
    def restore_where_failed(self) -> None:
        """Put everything back if the step has failed; the host learns of it later.

        A loss buffer that is new in this step, and a fake in a pool that is not full yet, stay as far as they are
        finite.
        """
        failed, values = self.not_finite, self.loss_buffers.values
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(torch.where(failed, before, buffer))
        self.history.undo_where(failed)
        for name, value in values.items():
            old = self.values.get(name)
            if old is None or old.shape != value.shape:
                old = torch.where(value.isfinite(), value, 0)
            if value is not old:
                values[name] = torch.where(failed, old, value)
