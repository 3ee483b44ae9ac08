"""What a plugin author imports: protocols, options, hooks, `node` and `Call`."""

from torch import Tensor

from transgan.api.extras import require
from transgan.api.hookspecs import Register, hookimpl
from transgan.api.options import Options
from transgan.api.protocols import (
    Call,
    Conditioning,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Domain,
    Draws,
    Encoder,
    Generator,
    ImportedGenerator,
    Loss,
    Media,
    Metric,
    Network,
    Nodes,
    Sample,
    Source,
    Spec,
    Translation,
    node,
)
from transgan.api.schedule import Clock, Schedule, constant
from transgan.errors import DataError, DiskError, PluginError, TransganError, UsageError

__all__ = [
    "Call",
    "Clock",
    "Conditioning",
    "Conditions",
    "DataError",
    "Discriminator",
    "DiscriminatorOutput",
    "DiskError",
    "Domain",
    "Draws",
    "Encoder",
    "Generator",
    "ImportedGenerator",
    "Loss",
    "Media",
    "Metric",
    "Network",
    "Nodes",
    "Options",
    "PluginError",
    "Register",
    "Sample",
    "Schedule",
    "Source",
    "Spec",
    "Tensor",
    "TransganError",
    "Translation",
    "UsageError",
    "constant",
    "hookimpl",
    "node",
    "require",
]
