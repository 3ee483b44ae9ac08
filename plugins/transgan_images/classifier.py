"""A classifier trained apart, on a task's real training data: for shares, and as the run's own feature network."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.api import Domain, Options, UsageError, require

TIMM = "timm:"


class ClassifierOptions(Options):
    network: str = "small"
    """What is trained: `"small"`, four convolutions, or `"timm:MODEL"`, a network of timm, from fresh weights."""
    epochs: int = Field(8, ge=1)
    """Passes over the real training samples of a task's domains when its classifier is trained."""
    vary: bool = False
    """Turn, shift, scale and tint what the classifier learns from, besides mirroring: more epochs, and better ones."""
    width: int = Field(24, ge=4)
    """Channels of the first layer of `"small"`."""
    most: int = Field(2000, ge=16)
    """Training samples of a domain, at most."""


class SmallNetwork(nn.Module):
    """A small network for small pictures: four halvings, then the mean; returns features and logits."""

    def __init__(self, channels: int, classes: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(4):
            wide = width * min(2**i, 4)
            layers += [nn.Conv2d(channels, wide, 3, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return features, self.head(features)


class TimmClassifier(nn.Module):
    """A network of timm with fresh weights; returns pooled features and logits."""

    def __init__(self, name: str, channels: int, classes: int):
        super().__init__()
        timm = require("timm", "judge", f"the classifier timm:{name}")
        try:
            self.network = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=classes)
        except RuntimeError as error:
            raise UsageError(f"timm knows no model '{name}': {str(error).splitlines()[0]}") from None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.forward_features(x)
        return self.network.forward_head(maps, pre_logits=True), self.network.forward_head(maps)


def fresh(options: ClassifierOptions, channels: int, classes: int) -> nn.Module:
    """The network that options name, untrained.

    Raises:
        UsageError: there is none of that name.
        PluginError: timm is not installed.
    """
    if options.network == "small":
        return SmallNetwork(channels, classes, options.width)
    if options.network.startswith(TIMM):
        return TimmClassifier(options.network.removeprefix(TIMM), channels, classes)
    raise UsageError(f"no classifier is called '{options.network}'; known: small, {TIMM}MODEL")


#: Classifiers by the data that they were trained on: all metrics of a run share them.
_TRAINED: WeakKeyDictionary[Any, dict[tuple[Any, ...], nn.Module]] = WeakKeyDictionary()


def classifier(domains: Mapping[str, Domain], names: Sequence[str], options: ClassifierOptions, seed: int) -> nn.Module:
    """The classifier of the domains called `names`, trained on what is not held out; returns features and logits."""
    known = _TRAINED.setdefault(domains[names[0]].batches, {})
    key = (tuple(names), options.model_dump_json(include=set(ClassifierOptions.model_fields)), seed)
    if key not in known:
        known[key] = _trained([domains[name] for name in names], options, seed)
    return known[key]


def pictures(domain: Domain, held_out: bool, most: int | None = None) -> Tensor:
    """A domain's real samples, (N, C, *space)."""
    found = [x for _, x in domain.batches(held_out, 256)]
    return torch.cat(found)[:most] if found else torch.empty(0)


def _trained(domains: Sequence[Domain], options: ClassifierOptions, seed: int) -> nn.Module:
    samples = [pictures(domain, held_out=False, most=options.most) for domain in domains]
    x = torch.cat(samples)
    y = torch.cat([torch.full((len(each),), i, device=x.device) for i, each in enumerate(samples)])
    # Dropout draws too: the run's own random numbers must not be touched.
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        return _fit(fresh(options, x.shape[1], len(domains)).to(x.device), x, y, options, seed)


def _fit(network: nn.Module, x: Tensor, y: Tensor, options: ClassifierOptions, seed: int) -> nn.Module:
    weights = 1 / torch.bincount(y).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    rng = np.random.default_rng(seed)
    batch = min(64, len(x))
    total = max(60, options.epochs * (len(x) // batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=total)
    for _ in range(total):
        at = torch.from_numpy(rng.integers(len(x), size=batch)).to(x.device)
        inputs = moved(x[at], rng) if options.vary else x[at]
        if rng.random() < 0.5:
            inputs = inputs.flip(-1)
        # A shift of brightness, so that the classifier has to look at more than the mean colour.
        inputs = inputs + 0.1 * torch.from_numpy(rng.standard_normal((batch, 1, 1, 1))).to(inputs)
        loss = F.cross_entropy(network(inputs)[1], y[at], weight=weights * len(weights) / weights.sum())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def moved(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures (N, C, H, W) turned by up to 0.15 radians, scaled by 10%, shifted by up to a sixteenth of a side, and
    each channel's levels changed by up to a tenth, all of them stretched by up to a fifth."""

    def chance(*shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(-1, 1, shape)).to(x)

    angle, scale, shift = 0.15 * chance(len(x)), 1 + 0.1 * chance(len(x)), 0.125 * chance(len(x), 2)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [cos, -sin, shift[:, 0], sin, cos, shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return x * (1 + 0.2 * chance(len(x), 1, 1, 1)) + 0.1 * chance(*x.shape[:2], 1, 1)
