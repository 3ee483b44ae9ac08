"""The conditioning `time`: what a network knows of the moment on the way from one sample to another."""

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from transgan.api import Conditioning, NetworkSpec, Options, UsageError


class TimeOptions(Options):
    """Options of the conditioning `time`."""

    of: str = Field("time", min_length=1)
    """The condition that nodes pass: (N,) or (N, 1), from 0 to 1."""
    width: int = Field(64, ge=1)
    """Length of what it adds to the style vector, and of the hidden layer (1 or more)."""
    frequencies: int = Field(16, ge=1, le=1000)
    """Number of sines, and of cosines, with frequencies from 1 to `highest`, in equal ratios (1 or more)."""
    highest: float = Field(100.0, gt=1)
    """The highest frequency, in radians per unit of time (above 1)."""


class TimeConditioning(Conditioning[TimeOptions]):
    """The time, from 0 to 1, as sines and cosines, through two layers, appended to the style vector.

    The features are those of Ho et al. (2020, appendix B), after Vaswani et al. (2017, section 3.5).

    Raises:
        UsageError: in `forward`, where there is no time.
    """

    channels_last = True

    rates: Tensor

    def __init__(self, options: TimeOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.of = options.of
        self.style = options.width
        steps = torch.linspace(0, 1, options.frequencies)
        self.register_buffer("rates", torch.exp(math.log(options.highest) * steps), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * options.frequencies, options.width), nn.SiLU(), nn.Linear(options.width, options.width)
        )

    def forward(self, x: Tensor, style: Tensor | None, **conditions: Any) -> tuple[Tensor, Tensor]:
        time = conditions.get(self.of)
        if time is None:
            raise UsageError(
                f"conditioning 'time': these nodes pass no '{self.of}'; expected those of a method with moments, such "
                'as nodes = "flow_translation"'
            )
        embedded = self.layers(self.features(time))
        return x, embedded if style is None else torch.cat([style, embedded.to(style.dtype)], 1)

    def features(self, time: Tensor) -> Tensor:
        """Return the sines and cosines of times, (N,) to (N, 2 frequencies)."""
        angles = time.reshape(-1, 1).to(self.rates) * self.rates
        return torch.cat([angles.sin(), angles.cos()], 1)
