"""A classifier of a task's domains, trained on real data only: for `target_share`, and as a feature network."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.api import Domain, Options, UsageError, did_you_mean, listed, require

TIMM = "timm:"


def create_timm(name: str, why: str, others: Collection[str] = (), **options: Any) -> Any:
    """Return a model of timm with random weights. Nothing is downloaded, whatever the name.

    Args:
        why: the feature that requires it.
        others: what else may be meant by a name that timm does not know.
        options: those of `timm.create_model`.

    Raises:
        UsageError: timm has no model of that name.
        PluginError: timm is not installed.
    """
    timm = require("timm", "metrics", why)
    if not timm.is_model(name):  # `create_model` would ask a server for a name such as hf-hub:...
        known = did_you_mean(name.partition(".")[0], [*timm.list_models(), *others])
        raise UsageError(f"timm has no model '{name}'. {known}")
    try:
        return timm.create_model(name, pretrained=False, **options)
    except RuntimeError as error:  # an unknown tag: resnet18.NOTHING
        raise UsageError(f"timm has no model '{name}': {str(error).splitlines()[0]}") from None


class ClassifierOptions(Options):
    network: str = "small"
    """The classifier: `"small"`, four convolutions, or `"timm:MODEL"`, a network of timm. Either is trained from random
    weights."""
    epochs: int = Field(8, ge=1, le=10_000)
    """Passes over the real training samples of a task's domains (1 or more); at least 60 steps are trained."""
    vary: bool = False
    """Augment the training images by rotation, shift, scale and colour, in addition to mirroring; choose more epochs
    with it."""
    width: int = Field(24, ge=4)
    """Channels of the first layer of `"small"` (4 or more)."""
    most: int = Field(2000, ge=16)
    """Largest number of training samples of each domain (16 or more)."""


class SmallNetwork(nn.Module):
    """A small network for small images: four convolutions with stride 2, then global average pooling.

    `forward(x) -> (features, logits)`: x (N, channels, H, W); features (N, D), logits (N, classes).
    """

    LAYERS = 4

    def __init__(self, channels: int, classes: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(self.LAYERS):
            outputs = width * min(2**i, 4)
            layers += [nn.Conv2d(channels, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return features, self.head(features)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the feature map behind each convolution, (N, D, H', W')."""
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                yield x


class TimmClassifier(nn.Module):
    """A network of timm with random weights; `forward` returns pooled features and logits, as `SmallNetwork`.

    Raises:
        UsageError: timm has no model of that name.
        PluginError: timm is not installed.
    """

    def __init__(self, name: str, channels: int, classes: int):
        super().__init__()
        self.network = create_timm(name, f"the classifier timm:{name}", in_chans=channels, num_classes=classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.forward_features(x)
        return self.network.forward_head(maps, pre_logits=True), self.network.forward_head(maps)


def build_classifier(options: ClassifierOptions, channels: int, classes: int) -> nn.Module:
    """Return the network that the options name, with random weights.

    Raises:
        UsageError: there is no network of that name.
        PluginError: timm is not installed.
    """
    if options.network == "small":
        return SmallNetwork(channels, classes, options.width)
    if options.network.startswith(TIMM):
        return TimmClassifier(options.network.removeprefix(TIMM), channels, classes)
    raise UsageError(f"there is no classifier '{options.network}'; expected small or {TIMM}MODEL")


def check_channels(domains: Mapping[str, Domain], names: Sequence[str], remedy: str = "leave the metric out") -> None:
    """Refuse domains that differ in channels: no classifier is trained on their images.

    Args:
        names: those of the domains that one classifier would be trained on.

    Raises:
        UsageError: they differ; says what to do.
    """
    channels = {name: domains[name].media.channels for name in names}
    if len(set(channels.values())) > 1:
        have = listed(f"{name} {count}" for name, count in channels.items())
        raise UsageError(f"domains differ in channels ({have}); {remedy}")


#: Trained classifiers by the data that they were trained on, so that all metrics of a run share them.
_TRAINED: WeakKeyDictionary[Any, dict[tuple[Any, ...], nn.Module]] = WeakKeyDictionary()


def trained_classifier(
    domains: Mapping[str, Domain], names: Sequence[str], options: ClassifierOptions, seed: int
) -> nn.Module:
    """Return a classifier of the domains `names`, trained on their training samples. Equal arguments share a network.

    Its `forward` returns features (N, D) and logits (N, number of names).
    """
    known = _TRAINED.setdefault(domains[names[0]].batches, {})
    key = (tuple(names), options.model_dump_json(include=set(ClassifierOptions.model_fields)), seed)
    if key not in known:
        known[key] = _train([domains[name] for name in names], options, seed)
    return known[key]


#: Samples of a batch.
BATCH = 256


def real_samples(domain: Domain, held_out: bool, most: int | None = None) -> Tensor:
    """Return a domain's real samples, (N, C, *space), N at most `most`, chosen at random where there are more."""
    samples = domain.held_out if held_out else domain.samples
    return samples_of(domain, held_out, chosen(len(samples), most))


def samples_of(domain: Domain, held_out: bool, numbers: Sequence[int]) -> Tensor:
    """Return a domain's real samples of these numbers, (N, C, *space); no others are decoded."""
    every = len(numbers) == len(domain.held_out if held_out else domain.samples)
    found = [x for _, x in domain.batches(held_out, BATCH, *([] if every else [numbers]))] if numbers else []
    return torch.cat(found) if found else torch.empty(0)


def chosen(count: int, most: int | None, seed: int = 0) -> list[int]:
    """Return the numbers of at most `most` of `count` things, at random, in ascending order.

    The first ones would not do: samples are in the order of their names, which often begin with what they show.
    """
    if most is None or count <= most:
        return list(range(count))
    return sorted(np.random.default_rng(seed).permutation(count)[:most].tolist())


def _train(domains: Sequence[Domain], options: ClassifierOptions, seed: int) -> nn.Module:
    """Train a classifier on the domains' training samples, without changing torch's random state."""
    samples = [real_samples(domain, held_out=False, most=options.most) for domain in domains]
    x = torch.cat(samples)
    y = torch.cat([torch.full((len(each),), i, device=x.device) for i, each in enumerate(samples)])
    return train_classifier(x, y, len(domains), options, seed)


def train_classifier(
    x: Tensor, y: Tensor, classes: int, options: ClassifierOptions, seed: int, mirror: bool = True
) -> nn.Module:
    """Return a classifier trained on samples x (N, C, H, W) of classes y (N,), without changing torch's random state.

    Args:
        mirror: mirror batches with probability 1/2.
    """
    # Initialisation and dropout use torch's global generator, which the run uses too.
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        network = build_classifier(options, x.shape[1], classes).to(x.device)
        return _fit(network, x, y, classes, options, seed, mirror)


def _fit(
    network: nn.Module, x: Tensor, y: Tensor, classes: int, options: ClassifierOptions, seed: int, mirror: bool
) -> nn.Module:
    """Train a network on samples x (N, C, H, W) of classes y (N,), and return it in evaluation mode."""
    counts = torch.bincount(y, minlength=classes).float()
    weights = torch.where(counts > 0, 1 / counts.clamp_min(1), 0.0)  # a class without samples is not trained
    rng = np.random.default_rng(seed)
    batch = min(64, len(x))

    def loss() -> Tensor:
        index = torch.from_numpy(rng.integers(len(x), size=batch)).to(x.device)
        inputs = augment(x[index], rng) if options.vary else x[index]
        if rng.random() < 0.5 and mirror:
            inputs = inputs.flip(-1)
        # Random brightness, so that the mean colour alone is not enough to classify by.
        inputs = inputs + 0.1 * torch.from_numpy(rng.standard_normal((batch, 1, 1, 1))).to(inputs)
        return F.cross_entropy(network(inputs)[1], y[index], weight=weights * len(weights) / weights.sum())

    optimize(network, max(60, options.epochs * (len(x) // batch)), loss)
    return network.eval()


def optimize(network: nn.Module, steps: int, loss: Callable[[], Tensor], peak: float = 2e-3) -> None:
    """Train a network by AdamW, with a learning rate that rises to `peak` and falls to 0.

    Args:
        loss: returns the loss of another batch.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return randomly transformed images, (N, C, H, W).

    Each is rotated by up to 0.15 radians, scaled by up to 10% and shifted by up to 1/16 of its size along each axis.
    Its values are multiplied by a factor from 0.8 to 1.2, and each channel is offset by up to 0.1.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(-1, 1, shape)).to(x)

    angle, scale, shift = 0.15 * uniform(len(x)), 1 + 0.1 * uniform(len(x)), 0.125 * uniform(len(x), 2)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [cos, -sin, shift[:, 0], sin, cos, shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return x * (1 + 0.2 * uniform(len(x), 1, 1, 1)) + 0.1 * uniform(*x.shape[:2], 1, 1)
