"""What a plugin author imports: protocols, options, hooks, `node` and `Call`."""

from torch import Tensor

from transgan.api.extras import require
from transgan.api.hookspecs import Register, RegisterWeights, hookimpl
from transgan.api.labels import Band, select
from transgan.api.options import Options
from transgan.api.protocols import (
    Augmentation,
    Call,
    Column,
    Conditioning,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Domain,
    Draws,
    Encoder,
    Finder,
    Generator,
    ImportedGenerator,
    Loss,
    Media,
    Metric,
    Network,
    Nodes,
    Part,
    Sample,
    Source,
    Spec,
    Translation,
    node,
)
from transgan.api.schedule import Clock, Schedule, constant
from transgan.api.weights import Weights, locate
from transgan.errors import DataError, DiskError, PluginError, TransganError, UsageError, did_you_mean

__all__ = [
    "Augmentation",
    "Band",
    "Call",
    "Clock",
    "Column",
    "Conditioning",
    "Conditions",
    "DataError",
    "Discriminator",
    "DiscriminatorOutput",
    "DiskError",
    "Domain",
    "Draws",
    "Encoder",
    "Finder",
    "Generator",
    "ImportedGenerator",
    "Loss",
    "Media",
    "Metric",
    "Network",
    "Nodes",
    "Options",
    "Part",
    "PluginError",
    "Register",
    "RegisterWeights",
    "Sample",
    "Schedule",
    "Source",
    "Spec",
    "Tensor",
    "TransganError",
    "Translation",
    "UsageError",
    "Weights",
    "constant",
    "did_you_mean",
    "hookimpl",
    "locate",
    "node",
    "require",
    "select",
]
