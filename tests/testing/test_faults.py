"""The checks find faults: plugins with one fault each, of every kind, and the line that says so and how to mend it."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from transgan.api import (
    Augmentation,
    Call,
    Clock,
    Column,
    Conditioning,
    DataError,
    Discriminator,
    DiscriminatorOutput,
    Encoder,
    Generator,
    Hooks,
    Loss,
    Media,
    Metric,
    NetworkSpec,
    Nodes,
    Options,
    Region,
    RegionDetector,
    RunInfo,
    Sample,
    SampleRng,
    Source,
    Translation,
    UsageError,
    node,
)
from transgan.testing import check

#: Each fault: the class, keywords of `check`, the check that finds it, and words of its line.
FAULTS: list[tuple[type[Any], dict[str, Any], str, str]] = []


def fault(name: str, words: str, **given: Any) -> Callable[[type[Any]], type[Any]]:
    """Declare that a check of this name finds something wrong with a class, and says these words."""

    def declare(cls: type[Any]) -> type[Any]:
        FAULTS.append((cls, given, name, words))
        return cls

    return declare


class Width(Options):
    width: int = Field(4, ge=1)
    """Channels (1 or more)."""


# Options, of any kind


@fault("documentation", "no docstring")
class Undocumented(Loss):
    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().mean()


class Bare(Options):
    power: float = Field(1.0, gt=0)


@fault("documentation", "option 'power' has no help text")
class NoHelp(Loss[Bare]):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().pow(self.options.power).mean()


class Loose(Options):
    model_config = ConfigDict(extra="ignore")


@fault("options", "accepts an unknown option")
class AcceptsAnything(Loss[Loose]):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().mean()


class Untyped(Options):
    power: Any = 1.0
    """Exponent."""


@fault("options", "option 'power' accepts anything")
class AnyOption(Loss[Untyped]):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().mean()


class BadDefault(Options):
    power: float = Field(0.0, gt=0)
    """Exponent (above 0)."""


@fault("options", "a default must be valid")
class InvalidDefault(Loss[BadDefault]):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().mean()


class Unbounded(Options):
    width: int = 4
    """Channels."""


@fault("bounds", "width = 0 is accepted and raises")
class ZeroWidth(Generator[Unbounded]):
    """A generator."""

    def __init__(self, options: Unbounded, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layer = nn.Sequential(nn.Conv2d(spec.inputs, spec.channels, 24 // options.width), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = nn.functional.interpolate(self.layer(x), x.shape[2:])
        return y


# Losses


@fault("sides", "neither for_generator nor for_discriminator")
class NeverEvaluated(Loss):
    """A loss."""


@fault("value", "expected a scalar tensor")
class NoScalar(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().flatten(1).mean(1)


@fault("arguments", "did you mean 'source'?")
class Misspelt(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor, sorce: Tensor) -> Tensor:
        return (fake - sorce).abs().mean()


@fault("gradients", "has no gradient")
class Detached(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.detach().abs().mean()


@fault("gradients", "NaN or infinite")
class RootAtZero(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return (fake - fake).square().sum(1).sqrt().mean() + fake.mean()


@fault("mean", "take the mean over samples")
class Summed(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().flatten(1).mean(1).sum()


@fault("value", "changes 'fake' in place")
class InPlace(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        if not fake.requires_grad:
            fake.mul_(2)
        return fake.abs().mean()


@fault("determinism", "take random numbers from the argument 'rng'")
class OwnRandomness(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return (fake * torch.rand_like(fake)).mean()


@fault("determinism", "keep what is to last in the argument 'buffers'")
class Remembers(Loss):
    """A loss that divides by the mean of its earlier values, which is the same for the same inputs in a row."""

    def __init__(self, options: Options):
        super().__init__(options)
        self.mean: Tensor | None = None

    def for_generator(self, source: Tensor, fake: Tensor) -> Tensor:
        value = (fake - source).abs().mean()
        kept = self.mean if self.mean is not None and self.mean.device == value.device else value.detach()
        self.mean = 0.9 * kept.to(value) + 0.1 * value.detach()
        return value / self.mean


@fault("device", "read no values")
class ReadsValues(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().mean() * (2.0 if fake.mean().item() > 0 else 3.0)


@fault("use", "asks for 'source' and does not depend on it")
class UnusedInput(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor, source: Tensor) -> Tensor:
        return fake.abs().mean()


@fault("precision", "it loses digits")
class LosesDigits(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return ((fake.mean() * 1e-3 + 3e4).square() - 9e8).abs() * 1e-2


@fault("decision_logit", "define realness")
class NoRealness(Loss):
    """A loss."""

    decision_logit: ClassVar[float | None] = 0.0

    def for_generator(self, fake_output: DiscriminatorOutput) -> Tensor:
        return torch.stack([each.mean() for each in fake_output.logits]).mean()


@fault("methods", "for_generator() cannot be called as runs do; expected for_generator(self, ...)")
class WithoutSelf(Loss):
    """A loss."""

    def for_generator() -> Tensor:  # type: ignore[misc]
        return torch.ones(())


@fault("construction", "interval is 0, expected a whole number of at least 1")
class NeverDue(Loss):
    """A loss."""

    interval = 0

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.abs().mean()


@fault("value", "returns torch.float64 for float32")
class DoubleLoss(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.double().abs().mean()


@fault("value", "sets buffers['steps'] to int; expected a tensor")
class CountsInPython(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor, buffers: dict[str, Any]) -> Tensor:
        buffers["steps"] = 1
        return fake.abs().mean()


@fault("gradients", "only outputs of discriminators are trained")
class TrainsNodes(Loss):
    """A loss whose nodes are detached where discriminators are trained."""

    def for_discriminator(self, fake: Tensor, fake_output: DiscriminatorOutput) -> Tensor:
        return fake.abs().mean() * torch.stack([each.detach().mean() for each in fake_output.logits]).mean()


@fault("device", "cannot be traced on another device")
class RampOnTheCPU(Loss):
    """A loss."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return (fake * torch.linspace(0, 1, fake.shape[-1])).abs().mean()


# Networks


class Convolution(Generator[Width]):
    """A generator without a fault."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.spec = spec
        self.layer = nn.Conv2d(spec.inputs, spec.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return torch.tanh(y)


@fault("range", "end with torch.tanh")
class NotBounded(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y * 10


@fault("shapes", "expected (N, channels, *space)")
class Halves(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., ::2, ::2]


@fault("shapes", "changes its input in place")
class ChangesInput(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.requires_grad else x.mul_(0.5))


@fault("input_channels", "build the first layer for spec.inputs channels")
class IgnoresInputs(Convolution):
    """A generator."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layer = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)


@fault("construction", "stride is 0, expected a whole number of at least 1")
class NoStride(Convolution):
    """A generator."""

    stride = 0


@fault(
    "tensors", "its attribute 'scale' is a tensor that is neither a parameter nor a buffer, so that it is not trained"
)
class PlainParameter(Convolution):
    """A generator."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.scale = torch.ones(1, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)


@fault(
    "tensors", "its attribute 'layer.ramps' is a tensor that is neither a parameter nor a buffer, so that it is not sav"
)
class PlainConstants(Convolution):
    """A generator."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        vars(self.layer)["ramps"] = [torch.ones(1, 3, 1, 1)]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * vars(self.layer)["ramps"][0])


@fault("device", "moved to another device (meta) it raises RuntimeError")
class MakesOnTheCPU(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.linspace(0, 1, x.shape[-1]))


@fault("shapes", "of float32 it returns float64")
class Doubles(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()


@fault("parameters", "after init_from_data its parameter 'layer.weight' is another object than before")
class Replaces(Convolution):
    """A generator."""

    def init_from_data(self, domains: Any, translations: Any) -> None:
        self.layer.weight = nn.Parameter(self.layer.weight * 0.5)


@fault("parameters", "after forward its parameter 'late.weight' is new")
class BuildsLate(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "late"):
            self.late = nn.Conv2d(3, 3, 1)
        return super().forward(self.late(x))


@fault("gradients", "no gradient reaches spare.weight, spare.bias")
class SparePart(Convolution):
    """A generator."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.spare = nn.Linear(2, 2)


@fault("independence", "set mixes_batch = True")
class BatchStatistics(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0, keepdim=True))


@fault("determinism", "draw initial weights with torch")
class OtherWeights(Convolution):
    """A generator."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        with torch.no_grad():
            self.layer.bias += float(np.random.default_rng().uniform())  # type: ignore[arg-type, operator]


@fault("determinism", "let eval() switch off")
class AlwaysNoise(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x))


@fault("state", "register_buffer it")
class HiddenState(Convolution):
    """A generator."""

    seen = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not x.is_meta:
            self.seen += 0.1
        return super().forward(x + self.seen)


@fault("channels_last", "reshape where it views")
class Viewing(Convolution):
    """A generator."""

    channels_last = True

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return torch.tanh(y.view(len(y), -1).view(y.shape))


@fault("channels_last", "it returns something else")
class Ordered(Convolution):
    """A generator."""

    channels_last = True

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        _, channels, *sides = y.shape
        order = (channels * math.prod(sides), math.prod(sides), sides[1], 1)
        return torch.tanh(torch.as_strided(y, y.shape, order))


@fault("bf16", "cast what is combined")
class Precise(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        out = torch.empty(y.shape, device=y.device)
        out[:, ::2], out[:, 1::2] = 0.0, 0.0
        return torch.tanh(out.index_add(1, torch.arange(y.shape[1], device=y.device), y))


@fault("device", "register constants with register_buffer")
class OnTheCpu(Convolution):
    """A generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.ones(1, 3, 1, 1, device="cpu")


@fault("stride", "set stride to what it divides each axis by")
class WrongStride(Convolution):
    """A generator."""

    stride = 2

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.interpolate(super().forward(x)[..., ::4, ::4], scale_factor=4)
        return y[..., : x.shape[2] // 4 * 4, : x.shape[3] // 4 * 4]


@fault("stride", "do not build layers for spec.space")
class OneSize(Convolution):
    """A generator."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.places = nn.Parameter(torch.zeros(1, 1, *spec.space))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.places)


@fault("style", "takes 'style' and does not use it")
class IgnoresStyle(Convolution):
    """A generator."""

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        return super().forward(x)


@fault("shapes", "its forward needs 'latent'")
class NeedsMore(Convolution):
    """A generator."""

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        return super().forward(x)


class Patch(Discriminator[Width]):
    """A discriminator without a fault."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layer = nn.Conv2d(spec.inputs, 1, 4, 2)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([self.layer(x)])


@fault("logits", "before the sigmoid")
class Probabilities(Patch):
    """A discriminator."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([self.layer(x).sigmoid()])


@fault("shapes", "expected a transgan.api.DiscriminatorOutput")
class PlainTensor(Patch):
    """A discriminator."""

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


@fault("shapes", "class_logits of (4, 7)")
class WrongClasses(Patch):
    """A discriminator."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        logits = self.layer(x)
        return DiscriminatorOutput([logits], class_logits=logits.flatten(1)[:, :7])


@fault("shapes", "logits of (4, 15, 15)")
class NoChannel(Patch):
    """A discriminator."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([self.layer(x)[:, 0]])


@fault("shapes", "the first axis of every tensor has to be the samples")
class OneCode(Encoder[Width]):
    """An encoder."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layer = nn.Conv2d(spec.inputs, options.width + 1, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.layer(x).mean((0, 2, 3))
        return code


class Planes(Conditioning[Width]):
    """A conditioning without a fault."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.channels = options.width
        self.table = nn.Embedding(len(spec.domains), options.width)

    def forward(self, x: Tensor, style: Tensor | None, domain: Tensor) -> tuple[Tensor, Tensor | None]:
        planes = self.table(domain)[..., None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)
        return torch.cat([x, planes], 1), style


@fault("shapes", "set self.channels to what it adds")
class WrongChannels(Planes):
    """A conditioning."""

    def __init__(self, options: Width, spec: NetworkSpec):
        super().__init__(options, spec)
        self.channels = 1


@fault("style", "begins with it")
class DropsStyle(Planes):
    """A conditioning."""

    def forward(self, x: Tensor, style: Tensor | None, domain: Tensor) -> tuple[Tensor, Tensor | None]:
        return super().forward(x, None, domain)


@fault("effect", "does not depend on the condition")
class WithoutEffect(Planes):
    """A conditioning."""

    def forward(self, x: Tensor, style: Tensor | None, domain: Tensor) -> tuple[Tensor, Tensor | None]:
        return super().forward(x, style, torch.zeros_like(domain))


# Augmentations


class Shift(Augmentation):
    """An augmentation without a fault."""

    geometric = True

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x + rng.uniform("shift").to(x).reshape(-1, *[1] * (x.dim() - 1))


@fault("randomness", "take all of them from rng")
class OwnNoise(Augmentation):
    """An augmentation."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x + torch.randn_like(x)


@fault("randomness", "draw numbers for each")
class AllAlike(Augmentation):
    """An augmentation."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x * 0.5


@fault("shapes", "it changes nothing")
class ChangesNothing(Augmentation):
    """An augmentation."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x + 0.0


@fault("shapes", "samples keep their shape")
class Crops(Augmentation):
    """An augmentation."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x[..., 1:]


@fault("gradients", "no gradient goes through it")
class Stops(Shift):
    """An augmentation."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return super().__call__(x.detach(), rng, clock)


@fault("geometry", "set geometric = True")
class Rolls(Augmentation):
    """An augmentation."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        offset = (rng.uniform("at").to(x.device) * 3).long() + 1
        index = (torch.arange(x.shape[-1], device=x.device) + offset[:, None]) % x.shape[-1]
        return x.gather(-1, index[:, None, None, :].expand_as(x)) + 0.0 * rng.uniform("more").sum().to(x)


# Nodes


class Fake(Nodes):
    """A set of nodes without a fault."""

    @node
    def fake(self, source: Tensor) -> Call:
        """Translate, (N, C, *space)."""
        return Call("generator", source)


@fault("nodes", "it has no node 'fake'")
class NoFake(Nodes):
    """A set of nodes."""

    @node
    def other(self, source: Tensor) -> Call:
        """Translate, (N, C, *space)."""
        return Call("generator", source)


@fault("nodes", "node 'undocumented' has no docstring")
class UndocumentedNode(Fake):
    """A set of nodes."""

    @node
    def undocumented(self, fake: Tensor) -> Tensor:
        return fake


@fault("gradients", "no gradient goes through node 'fake'")
class DetachedFake(Nodes):
    """A set of nodes."""

    @node
    def raw(self, source: Tensor) -> Call:
        """Translate, (N, C, *space)."""
        return Call("generator", source)

    @node
    def fake(self, raw: Tensor) -> Tensor:
        """Detach, (N, C, *space)."""
        return raw.detach()


@fault("independence", "depends on other samples of its batch")
class MixedNode(Fake):
    """A set of nodes."""

    @node
    def centred(self, fake: Tensor) -> Tensor:
        """Subtract the batch's mean, (N, C, *space)."""
        return fake - fake.mean(0)


@fault("determinism", "take random numbers from 'rng' or 'latents'")
class RandomNode(Fake):
    """A set of nodes."""

    @node
    def noisy(self, fake: Tensor) -> Tensor:
        """Add noise, (N, C, *space)."""
        return fake + torch.randn_like(fake)


@fault("nodes", "give check networks={'encoder': ...}")
class CallsEncoder(Fake):
    """A set of nodes."""

    @node
    def code(self, fake: Tensor) -> Call:
        """Encode, (N, 8)."""
        return Call("encoder", fake)


@fault("device", "read no values")
class BranchingNode(Fake):
    """A set of nodes."""

    @node
    def positive(self, fake: Tensor) -> Tensor:
        """Return the fake, (N, C, *space)."""
        return fake if fake.sum() > 0 else -fake


# Metrics


class Change(Metric):
    """A metric without a fault."""

    direction: ClassVar[Mapping[str, str]] = {"change": "lower"}

    def reset(self) -> None:
        self.values: dict[Translation, list[float]] = {}

    def update(self, translation: Translation, source: Tensor, fake: Tensor) -> None:
        self.values.setdefault(translation, []).extend((fake - source).abs().flatten(1).mean(1).tolist())

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {each: {"change": sum(values) / len(values)} for each, values in self.values.items()}


@fault("batches", "they depend on the batch size")
class MeanOfMeans(Change):
    """A metric."""

    def update(self, translation: Translation, source: Tensor, fake: Tensor) -> None:
        self.values.setdefault(translation, []).append(float((fake - source).abs().mean()))


@fault("reset", "reset does not forget earlier updates")
class NeverForgets(Change):
    """A metric."""

    def __init__(self, options: Options):
        super().__init__(options)
        self.values = {}

    def reset(self) -> None:
        pass


@fault("reset", "compute changes them")
class ComputeCounts(Change):
    """A metric."""

    calls = 0

    def compute(self) -> dict[Translation, dict[str, float]]:
        self.calls += 1
        return {each: {"change": float(self.calls)} for each in self.values}


@fault("translations", "they depend on other translations")
class AllTogether(Change):
    """A metric."""

    def compute(self) -> dict[Translation, dict[str, float]]:
        values = [each for values in self.values.values() for each in values]
        return {each: {"change": sum(values) / len(values)} for each in self.values}


@fault("direction", "direction says of no figure which is better")
class NoDirection(Change):
    """A metric."""

    direction: ClassVar[Mapping[str, str]] = {}


@fault("figures", "figure 'change' is nan")
class NotFinite(Change):
    """A metric."""

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {each: {"change": math.nan} for each in self.values}


@fault("figures", "figure 'change' is Tensor, expected a number")
class TensorFigure(Change):
    """A metric."""

    def compute(self) -> Any:
        return {each: {"change": torch.tensor(1.0)} for each in self.values}


# Sources


class Numbers(Source):
    """A source without a fault."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        if not isinstance(selection, int):
            raise UsageError(f"found {selection!r}, expected a number")
        return [Sample(f"{i}", lambda size: np.zeros(size)) for i in range(selection)]


TWO = {"selections": {"a": 3, "b": 4}}


@fault("samples", "give what recipes write for two domains")
class NoSelections(Numbers):
    """A source."""


@fault("samples", "not sorted by key", **TWO)
class Unsorted(Numbers):
    """A source."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return super().samples(domain, selection)[::-1]


@fault("samples", "have the same key", **TWO)
class SameKeys(Numbers):
    """A source."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample("same", each.location) for each in super().samples(domain, selection)]


@fault("errors", "raises TypeError", **TWO)
class NoErrors(Numbers):
    """A source."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample(f"{i}", lambda size: np.zeros(size)) for i in range(selection)]


@fault("samples", "where there is no file", **TWO)
class NoFile(Numbers):
    """A source."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample(each.key, Path("no/such/file")) for each in super().samples(domain, selection)]


# Media


class Vectors(Media):
    """Vectors in .npy files, a media without a fault."""

    suffixes = (".npy",)
    channels = 1

    def __init__(self, options: Options, size: Any):
        if not isinstance(size, int):
            raise UsageError("expected one number")
        super().__init__(options, size)

    @property
    def space(self) -> tuple[int, ...]:
        return (int(self.size),)  # type: ignore[arg-type]

    def decode(self, location: Any) -> np.ndarray:
        return np.resize(self.read(location).numpy()[0], self.space)

    def batch(self, decoded: Any, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        x: Tensor = decoded[:, None]
        return x if rng is None else x * rng.uniform("scale").to(x)[:, None, None]

    def read(self, item: Any) -> Tensor:
        try:
            return torch.from_numpy(np.load(item, allow_pickle=False)).float()[None]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{item}: {error}") from None

    def export(self, x: Tensor) -> np.ndarray:
        array: np.ndarray = x[0].numpy()
        return array

    def to_model(self, x: Tensor, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        return nn.functional.pad(x, (0, -x.shape[1] % stride))[None], x.shape[1]

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Tensor:
        return y[0, :, :undo]

    def write(self, x: Tensor, path: Path) -> None:
        np.save(path, x[0].numpy())

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        path = path.with_suffix(".txt")
        path.write_text(", ".join(columns))
        return path


@fault("decoding", "give at least two files")
class NoFiles(Vectors):
    """A media."""


@fault("batches", "expected (N, channels, *space)", files="vectors")
class ThreeChannels(Vectors):
    """A media."""

    channels = 3


@fault("batches", "scale to [-1, 1]", files="vectors")
class Large(Vectors):
    """A media."""

    def batch(self, decoded: Any, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        return 100 * super().batch(decoded, rng, domains)


@fault("batches", "take all of them from its rng", files="vectors")
class OwnAugmentation(Vectors):
    """A media."""

    def batch(self, decoded: Any, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        return super().batch(decoded, None, domains) * torch.rand(())


@fault("errors", "decode of a damaged file raises ValueError", files="vectors")
class RaisesAnything(Vectors):
    """A media."""

    def read(self, item: Any) -> Tensor:
        return torch.from_numpy(np.load(item, allow_pickle=False)).float()[None]


@fault("items", "expected multiples", files="vectors")
class IgnoresStride(Vectors):
    """A media."""

    def to_model(self, x: Tensor, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        return x[None], x.shape[1]


@fault("decoding", "decode returns something else each time", files="vectors")
class RandomDecoding(Vectors):
    """A media."""

    def decode(self, location: Any) -> np.ndarray:
        return super().decode(location) * torch.rand(1).numpy()


@fault("preview", "where there is no file", files="vectors")
class NoPreview(Vectors):
    """A media."""

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        return path


# Region detectors


class Bright(RegionDetector):
    """A region detector without a fault."""

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        return [
            Region(x[:, a : a + side, a : a + side].clone(), float(side), (a, side))
            for a, side in ((16, 8), (2, 6))
            if side >= min_extent and bool((x[:, a : a + side, a : a + side] > 0).any())
        ]

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        x = x.clone()
        for (a, side), change in zip([each.place for each in regions], changes, strict=True):
            x[:, a : a + side, a : a + side] += change
        return x

    def mark(self, x: Tensor, regions: Sequence[Region]) -> Tensor:
        return x


ITEM = torch.full((3, 32, 32), 0.2)


@fault("regions", "return the largest first", item=ITEM)
class SmallestFirst(Bright):
    """A region detector."""

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        return super().detect(x, min_extent)[::-1]


@fault("regions", "smaller than min_extent", item=ITEM)
class IgnoresExtent(Bright):
    """A region detector."""

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        return super().detect(x, 0.0)


@fault("pasting", "changes the item where nothing was changed", item=ITEM)
class Blurs(Bright):
    """A region detector."""

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        return super().paste(x, regions, changes) * 0.9


@fault("pasting", "does not change the item", item=ITEM)
class PastesNothing(Bright):
    """A region detector."""

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        return x.clone()


@fault("regions", "give an item")
class NoItem(Bright):
    """A region detector."""


# Hooks


class Watching(Hooks):
    """Hooks without a fault."""

    def step_finished(self, run: RunInfo) -> None:
        pass


@fault("methods", "none of the methods that runs call")
class NeverCalled(Hooks):
    """Hooks."""


@fault("methods", "did you mean 'evaluated'?")
class MisspeltMoment(Watching):
    """Hooks."""

    def evaluate(self, run: RunInfo) -> None:
        pass


@fault("run", "raises KeyError")
class NeedsFigures(Hooks):
    """Hooks."""

    def evaluated(self, run: RunInfo) -> None:
        run.figures["young -> old"]


@fault("methods", "takes other arguments")
class OtherArguments(Hooks):
    """Hooks."""

    def run_finished(self, run: RunInfo, how: str) -> None:  # type: ignore[override]
        pass


FAULTLESS = [
    (Convolution, {}),
    (Patch, {}),
    (Planes, {}),
    (Fake, {}),
    (Change, {}),
    (Numbers, TWO),
    (Vectors, {"files": "vectors"}),
    (Bright, {"item": ITEM}),
    (Watching, {}),
]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("vectors")
    paths = [folder / f"{i}.npy" for i in range(2)]
    for i, path in enumerate(paths):
        np.save(path, np.sin(np.arange(37, dtype=np.float32) * (i + 1)))
    return paths


def with_files(given: Mapping[str, Any], vectors: list[Path]) -> dict[str, Any]:
    return {name: vectors if value == "vectors" else value for name, value in given.items() if name != "item"} | {
        name: value for name, value in given.items() if name == "item"
    }


@pytest.mark.parametrize(("cls", "given", "name", "words"), FAULTS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_fault_is_found(cls: type[Any], given: dict[str, Any], name: str, words: str, vectors: list[Path]) -> None:
    with pytest.raises(AssertionError) as raised:
        check(cls, **with_files(given, vectors))
    lines = [line for line in str(raised.value).splitlines()[1:] if f" {cls.__name__}, {name}: " in line]
    assert any(words in line for line in lines), str(raised.value)
    # Declared as an exception, it is none.
    try:
        check(cls, except_for={name: "of this test"}, **with_files(given, vectors))
    except AssertionError as error:
        assert f"{cls.__name__}, {name}: " not in str(error) and "remove it" not in str(error)


@pytest.mark.parametrize(("cls", "given"), FAULTLESS, ids=lambda each: getattr(each, "__name__", ""))
def test_without_a_fault_nothing_is_found(cls: type[Any], given: dict[str, Any], vectors: list[Path]) -> None:
    check(cls, **with_files(given, vectors))


@pytest.mark.filterwarnings("error")
def test_checks_of_a_loss_cause_no_warning_of_their_own() -> None:
    class Scaled(Loss):
        """A loss with a gradient, which a number has not."""

        def __init__(self, options: Options):
            super().__init__(options)
            self.scale = nn.Parameter(torch.ones(()))

        def for_generator(self, fake: Tensor) -> Tensor:
            return (self.scale * fake).abs().flatten(1).mean(1).sum()

    torch.set_warn_always(True)  # and not once for a process
    try:
        with pytest.raises(AssertionError, match=r"for_generator of a batch is .*, and the mean of its halves"):
            check(Scaled)
    finally:
        torch.set_warn_always(False)


def test_an_exception_that_is_not_needed_is_named() -> None:
    with pytest.raises(AssertionError, match="except_for has 'range', and nothing is wrong there; remove it"):
        check(Convolution, except_for={"range": "no longer"})


def test_an_object_is_checked_with_its_own_options() -> None:
    with pytest.raises(AssertionError, match="Summed"):
        check(Summed(Options()))
    with pytest.raises(TypeError, match="is no plugin"):
        check(Options)


def test_every_table_of_options_is_used() -> None:
    with pytest.raises(AssertionError, match=r"with \{'width': 0\}, options: 'width': Input should be greater"):
        check(Convolution, {"width": 2}, {"width": 0})
