"""Spectral norms that take one power iteration in a step, however many passes it has."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm as _ParametrizedSpectralNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm


class StepwiseSpectralNorm:
    """A spectral norm whose power iteration runs when `iterate` is called, and not at each pass in training mode.

    Args:
        owner: the module with the normalized weight, or its list of parametrizations.
        norm: the parametrization, or the hook of the older `torch.nn.utils.spectral_norm`.
    """

    def __init__(self, owner: nn.Module, norm: Any):
        self.owner = owner
        self.norm = norm
        if isinstance(norm, SpectralNorm):
            self.iterations, norm.n_power_iterations = norm.n_power_iterations, 0
        else:
            norm.eval()

    @property
    def weight(self) -> Tensor:
        """The parameter that is normalized."""
        name = f"{self.norm.name}_orig" if isinstance(self.norm, SpectralNorm) else "original"
        weight: Tensor = getattr(self.owner, name)
        return weight

    def iterate(self) -> None:
        """Run the power iteration."""
        if isinstance(self.norm, SpectralNorm):
            self.norm.n_power_iterations = self.iterations
            self.norm.compute_weight(self.owner, do_power_iteration=True)
            self.norm.n_power_iterations = 0
        else:
            self.norm.train()
            self.norm(self.owner.original)
            self.norm.eval()


def spectral_norms(network: nn.Module) -> list[StepwiseSpectralNorm]:
    """Return the spectral norms of a network, of either form that PyTorch has."""
    found = []
    for module in network.modules():
        found += [
            StepwiseSpectralNorm(module, h) for h in module._forward_pre_hooks.values() if isinstance(h, SpectralNorm)
        ]
        if is_parametrized(module):
            for parametrizations in module.parametrizations.values():  # type: ignore[operator]
                norms = [each for each in parametrizations if isinstance(each, _ParametrizedSpectralNorm)]
                found += [StepwiseSpectralNorm(parametrizations, each) for each in norms]
    return found
