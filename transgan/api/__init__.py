"""Everything that a plugin imports: base classes, options, hooks, schedules and errors."""

from torch import Tensor

from transgan.api.extras import require
from transgan.api.files import FoundFiles, find_files
from transgan.api.hooks import Register, RegisterWeightFiles, hookimpl
from transgan.api.labels import NumericRange, select
from transgan.api.options import Options, OptionsT, Size
from transgan.api.protocols import (
    Augmentation,
    Call,
    Conditioning,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Encoder,
    Generator,
    Hooks,
    ImportedGenerator,
    Loss,
    Metric,
    Network,
    NetworkSpec,
    Nodes,
    RunInfo,
    Translation,
    node,
)
from transgan.api.samples import (
    Column,
    Description,
    Domain,
    Media,
    Notes,
    Region,
    RegionDetector,
    Sample,
    SampleRng,
    Source,
)
from transgan.api.schedule import Clock, Schedule, constant
from transgan.api.version import VERSION
from transgan.api.weights import WeightFile, locate
from transgan.errors import DataError, DataWarning, DiskError, PluginError, TransganError, UsageError, did_you_mean
from transgan.storage.atomic import replacing_file
from transgan.text import expand_home, listed, printable

__all__ = [
    "VERSION",
    "Augmentation",
    "Call",
    "Clock",
    "Column",
    "Conditioning",
    "Conditions",
    "DataError",
    "DataWarning",
    "Description",
    "Discriminator",
    "DiscriminatorOutput",
    "DiskError",
    "Domain",
    "Encoder",
    "FoundFiles",
    "Generator",
    "Hooks",
    "ImportedGenerator",
    "Loss",
    "Media",
    "Metric",
    "Network",
    "NetworkSpec",
    "Nodes",
    "Notes",
    "NumericRange",
    "Options",
    "OptionsT",
    "PluginError",
    "Region",
    "RegionDetector",
    "Register",
    "RegisterWeightFiles",
    "RunInfo",
    "Sample",
    "SampleRng",
    "Schedule",
    "Size",
    "Source",
    "Tensor",
    "TransganError",
    "Translation",
    "UsageError",
    "WeightFile",
    "constant",
    "did_you_mean",
    "expand_home",
    "find_files",
    "hookimpl",
    "listed",
    "locate",
    "node",
    "printable",
    "replacing_file",
    "require",
    "select",
]
