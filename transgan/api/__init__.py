"""What a plugin author imports: protocols, options, hooks, `node` and `Call`."""

from torch import Tensor

from transgan.api.extras import require
from transgan.api.hookspecs import Register, RegisterWeights, hookimpl
from transgan.api.labels import Band, select
from transgan.api.options import Options
from transgan.api.protocols import (
    Augmentation,
    Call,
    Conditioning,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Encoder,
    Generator,
    ImportedGenerator,
    Loss,
    Metric,
    Network,
    Nodes,
    Spec,
    Translation,
    node,
)
from transgan.api.samples import Column, Domain, Draws, Finder, Media, Part, Sample, Source
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
