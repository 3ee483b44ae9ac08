"""Judges of translated images: networks outside the training that say which domain, or which label, an image shows.

A judge is no better than its data and its features. So there are two kinds, which have nothing in common but the
samples, and each is itself tried before it is believed: on held-out real images, on images that are changed in ways
that do not change what they show, and on sources that are changed for the training's discriminators.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from transgan.api import (
    DataError,
    Domain,
    NetworkSpec,
    NumericRange,
    Options,
    Sample,
    UsageError,
    did_you_mean,
)
from transgan_images.classifier import BATCH, SmallNetwork, check_channels, chosen, optimize, samples_of
from transgan_images.encoders import TimmEncoder, TimmOptions
from transgan_images.features import short_name
from transgan_images.perturbations import blurred, compressed, noise, shifted, strongly_augmented
from transgan_images.resizing import antialiased
from transgan_images.ridge import PENALTIES, fit_ridge


class JudgeOptions(Options):
    """A judge: one table of `judges`."""

    kind: Literal["features", "cnn"] = "features"
    """`"features"`: a linear model on the frozen features of a pretrained network; `"cnn"`: a small convolutional
    network that is trained from random weights, at another resolution than the training's."""
    name: str = Field("", pattern=r"^[A-Za-z0-9-]*$")
    """The judge's name in figures: letters, digits and hyphens; defaults to the network's, or to `cnn`."""
    network: str = "squeezenet"
    """Of `features`: the network, as `model` of the encoder `timm`."""
    weights: str | None = None
    """Of `features`: the file with the network's weights, or `downloaded`, as of the encoder `timm`; required."""
    layers: list[int] | None = Field(None, min_length=1)
    """Of `features`: indices of the feature maps; by default all."""
    size: int | None = Field(None, ge=16, le=1024)
    """Height and width to which images are resized. Defaults to 128 for `features`, or to the size that the network
    needs, and to three quarters of the training's for `cnn`."""
    epochs: int = Field(12, ge=1, le=10_000)
    """Of `cnn`: passes over the samples (1 or more); at least 300 steps are trained."""
    width: int = Field(24, ge=4)
    """Of `cnn`: channels of the first layer (4 or more)."""
    mirror: bool = True
    """Whether a mirrored image has the same label. Then answers are means over an image and its mirror image."""
    judge_data: str | None = None
    """A folder with other samples to train on than the run's real training samples; the same source reads it."""
    select: dict[str, Any] | None = Field(None, min_length=1)
    """Of a label: which samples of `judge_data` to train on, as a domain selects them: `{ age = [0, 150] }`. By default
    those that the domains themselves select there."""
    most: int = Field(3000, ge=16)
    """Largest number of training samples of each domain, or of a selection (16 or more)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "features" and self.weights is None:
            raise ValueError('a judge of kind "features" needs weights = "FILE": features of random weights say little')
        if self.select is not None and self.judge_data is None:
            raise ValueError("select is for samples of judge_data, which is missing")
        other = "cnn" if self.kind == "features" else "features"
        for name in OPTIONS_OF[other]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f'{name} is an option of kind "{other}", and this judge is of kind "{self.kind}"')
        return self


#: Options that judges of one kind alone have.
OPTIONS_OF = {"features": ("network", "weights", "layers"), "cnn": ("epochs", "width")}


def named_judges(judges: Sequence[JudgeOptions]) -> dict[str, JudgeOptions]:
    """Return judges by their names in figures, and load what they need, so that mistakes are found before the training.

    Raises:
        UsageError: two have the same name, or a network, layer or size does not exist.
        DataError: weights are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """
    found: dict[str, JudgeOptions] = {}
    for each in judges:
        name = each.name or (short_name(each.network) if each.kind == "features" else "cnn")
        if name in found:
            raise UsageError(f"judges: two are called '{name}'; give each a name of its own, name = \"...\"")
        found[name] = each
        if each.kind == "features":
            _pooled(each)
    return found


# Features


class PooledFeatures:
    """The feature maps of a frozen network, pooled by mean and standard deviation over positions.

    What an image gives is kept, up to `MOST_BYTES`, so that judges of one network share its passes.
    """

    MOST_BYTES = 1 << 28

    def __init__(self, options: TimmOptions, mirror: bool):
        spec = NetworkSpec(channels=3, inputs=3, style=0, space=(64, 64), domains=(), tasks=())
        with torch.random.fork_rng(devices=[]):  # weights are random before they are loaded, and the run uses it
            self.encoder = TimmEncoder(options, spec)
        self.mirror = mirror
        self.rows: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, D) in fp32 on the CPU of images (N, C, H, W) in [-1, 1]; of an image and its mirror the mean."""
        keys = [blake2b(row.tobytes(), digest_size=16).digest() for row in x.detach().float().cpu().numpy()]
        missing = list({key: i for i, key in enumerate(keys) if key not in self.rows}.values())
        fresh: dict[bytes, Tensor] = {}
        encoder = self.encoder.to(x.device)
        for first in range(0, len(missing), 32):
            index = missing[first : first + 32]
            part = x[index]
            sides = [_pool(encoder(each)) for each in ((part, part.flip(-1)) if self.mirror else (part,))]
            mean = torch.stack(sides).mean(0).float().cpu()
            fresh |= {keys[i]: row.clone() for i, row in zip(index, mean, strict=True)}
        found = [fresh[key] if key in fresh else self.rows[key] for key in keys]
        for key, row in zip(keys, found, strict=True):
            self.rows[key] = row
            self.rows.move_to_end(key)
        while self.rows and len(self.rows) * found[0].nbytes > self.MOST_BYTES:
            self.rows.popitem(last=False)
        return torch.stack(found)


def _pool(maps: Sequence[Tensor]) -> Tensor:
    """Return mean and standard deviation over positions of feature maps (N, C, H, W), side by side, (N, D)."""
    return torch.cat([part for x in maps for part in (x.mean((2, 3)), x.flatten(2).std(2, correction=0))], 1)


def _pooled(options: JudgeOptions) -> PooledFeatures:
    size = options.size or (None if options.network != "squeezenet" else 128)
    return _load(options.network, options.weights, tuple(options.layers or ()), size, options.mirror)


@lru_cache(maxsize=4)
def _load(network: str, weights: str, layers: tuple[int, ...], size: int | None, mirror: bool) -> PooledFeatures:
    options = TimmOptions(model=network, weights=weights, layers=list(layers) or None, size=size)
    return PooledFeatures(options, mirror)


#: Samples whose changes under blur, compression, noise and shifts a linear model should not follow.
CHANGED = 128


class FeatureModel:
    """A linear model on standardised features; of classes it is fitted to one-hot vectors, all classes alike.

    It is fitted not to follow what blur, compression, noise and shifts do to the features, since translations differ
    from photographs in such ways too.
    """

    def __init__(self, features: PooledFeatures, x: Tensor, y: Tensor, weight: Tensor, seed: int):
        self.features = features
        found = features(x).double()
        self.center, self.scale = found.mean(0), found.std(0, correction=0).clamp(min=1e-6)
        rng = np.random.default_rng(seed)
        some = rng.permutation(len(x))[:CHANGED]
        part, before = x[some], found[some]
        changed = [
            blurred(part, rng.uniform(0.5, 1.2)),
            compressed(part, int(rng.integers(35, 75))),
            part + rng.uniform(0.02, 0.06) * noise(part, rng),
            shifted(part, 1),
        ]
        changes = torch.cat([(features(each).double() - before) / self.scale for each in changed])
        changes *= math.sqrt(len(x) / len(changes))  # they count as much as the samples
        penalties = [penalty * found.shape[1] for penalty in PENALTIES]
        self.model = fit_ridge((found - self.center) / self.scale, y, weight, changes, penalties)

    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, K) of images (N, C, H, W)."""
        return self.model((self.features(x).double() - self.center) / self.scale)


# The small network


class CnnModel:
    """A small network, trained on strongly augmented images at its own size."""

    def __init__(self, options: JudgeOptions, x: Tensor, y: Tensor, weight: Tensor, classes: bool, seed: int):
        sides = x.shape[2:]
        self.size = (options.size, options.size) if options.size else tuple(max(16, 3 * side // 4) for side in sides)
        self.mirror = options.mirror
        self.center, self.scale = (torch.zeros(1), torch.ones(1)) if classes else (y.mean(0), y.std(0).clamp(min=1e-6))
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):  # the run uses torch's global generator
            torch.manual_seed(seed)
            self.network = SmallNetwork(x.shape[1], y.shape[1], options.width).to(x.device)
            self._fit(
                options, self._resized(x), ((y - self.center) / self.scale).float().to(x.device), weight, classes, seed
            )
        self.network.eval().requires_grad_(False)

    def _fit(self, options: JudgeOptions, x: Tensor, y: Tensor, weight: Tensor, classes: bool, seed: int) -> None:
        rng, batch = np.random.default_rng(seed), min(64, len(x))
        chances = (weight / weight.sum()).numpy()

        def loss() -> Tensor:
            index = torch.from_numpy(rng.choice(len(x), batch, p=chances)).to(x.device)
            logits = self.network(strongly_augmented(x[index], rng, self.mirror))[1]
            return F.cross_entropy(logits, y[index]) if classes else F.smooth_l1_loss(logits, y[index])

        optimize(self.network, max(300, options.epochs * len(x) // batch), loss, peak=4e-3)

    def _resized(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) == self.size:
            return x
        return antialiased(x, self.size)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, K) of images (N, C, H, W)."""
        network = self.network.to(x.device)
        sides = (x, x.flip(-1)) if self.mirror else (x,)
        found = [torch.cat([network(self._resized(p))[1] for p in torch.split(each, BATCH)]) for each in sides]
        return torch.stack(found).mean(0).cpu().double() * self.scale + self.center


# Judges


@dataclass(frozen=True)
class Question:
    """What judges are asked: which of some domains an image belongs to, or which value of a label it shows."""

    domains: tuple[str, ...]
    """The domains to choose from; of a label those whose samples have it."""
    label: str = ""
    """Empty for a choice of domains."""
    number: bool = False
    """Whether the label is a number, in its own unit."""

    def answer(self, sample: Sample, domain: str) -> Any:
        """Return the true answer for a sample: a domain, a number or another label; None where it has none."""
        if not self.label:
            return domain
        value = sample.attributes.get(self.label)
        return as_number(value) if self.number else value


def as_number(value: Any) -> float | None:
    """Return a label as a number, that of a range its middle; None where it is none."""
    numeric = isinstance(value, (int, float, NumericRange)) and not isinstance(value, bool)
    return float(value) if numeric else None


class Judge:
    """A trained judge.

    Args:
        model: of images (N, C, H, W) returns (N, K) in float64: scores of K answers, or a number.
        answers: those that it chooses from; None for a number.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], answers: Sequence[Hashable] | None):
        self.model = model
        self.answers = answers

    def __call__(self, x: Tensor) -> np.ndarray:
        """Return what it says of images (N, C, H, W) in [-1, 1]: numbers, or indices among its answers, (N,)."""
        if not len(x):
            return np.empty(0)
        found = self.model(x)
        said: np.ndarray = (found[:, 0] if self.answers is None else found.argmax(1)).double().numpy()
        return said

    def index(self, answer: Any) -> float:
        """Return what it should say where `answer` is true; nan where it does not know that answer."""
        if answer is None:
            return math.nan
        if self.answers is None:
            return float(answer)
        return float(self.answers.index(answer)) if answer in self.answers else math.nan


#: Trained judges by the data that they were trained on, so that all metrics of a run share them.
_TRAINED: WeakKeyDictionary[Any, dict[Hashable, Judge]] = WeakKeyDictionary()


def trained_judge(domains: Mapping[str, Domain], question: Question, options: JudgeOptions, seed: int) -> Judge:
    """Return a judge, trained on real samples alone. Equal arguments share one; torch's random state stays as it is.

    Raises:
        DataError: there are no samples to train on, or they differ in channels.
        UsageError: they have one answer only, or the selection is not known.
    """
    known = _TRAINED.setdefault(domains[question.domains[0]].batches, {})
    key = (question, options.model_dump_json(exclude={"name"}), seed)
    if key not in known:
        known[key] = _train(domains, question, options, seed)
    return known[key]


def _train(domains: Mapping[str, Domain], question: Question, options: JudgeOptions, seed: int) -> Judge:
    x, answers = _samples_to_train_on(domains, question, options, seed)
    y: Tensor
    if question.number:
        values: list[Hashable] | None = None
        y = torch.tensor(answers, dtype=torch.float64)[:, None]
        weight = torch.ones(len(y), dtype=torch.float64)
    else:
        values = list(question.domains) if not question.label else sorted(set(answers), key=str)
        index = torch.tensor([values.index(each) for each in answers])
        y = F.one_hot(index, len(values)).double()
        weight = 1 / torch.bincount(index).clamp(min=1).double()[index]
    if options.kind == "features":
        return Judge(FeatureModel(_pooled(options), x, y, weight, seed), values)
    return Judge(CnnModel(options, x, y, weight, not question.number, seed), values)


def _samples_to_train_on(
    domains: Mapping[str, Domain], question: Question, options: JudgeOptions, seed: int
) -> tuple[Tensor, list[Any]]:
    """Return images (N, C, H, W) and their true answers, N in all."""
    images, answers = [], list[Any]()
    seen = set[Hashable]()  # a sample may be in several domains
    found_domains = dict(_domains_to_train_on(domains, question, options))
    for name, domain in found_domains.items():
        x, found = real_answers(domain, name, question, held_out=False, most=options.most, seed=seed, seen=seen)
        images += [x] if found else []
        answers += found
    _check_answers(answers, found_domains.values(), question, options)
    if len({x.shape[1:] for x in images}) > 1:
        raise UsageError(f"the domains {', '.join(found_domains)} differ in channels or size; leave the metric out")
    return torch.cat(images), answers


def check_judges(domains: Mapping[str, Domain], question: Question, judges: Mapping[str, JudgeOptions]) -> None:
    """Refuse judges that cannot be trained on the samples that there are, of which no files are read.

    Args:
        judges: by name.

    Raises:
        DataError: there are no samples to train on.
        UsageError: these have one answer only, or differ in channels, or the selection is not known.
    """
    check_channels(domains, question.domains)
    for judge, options in judges.items():
        try:
            found = dict(_domains_to_train_on(domains, question, options))
            said = (question.answer(sample, name) for name, each in found.items() for sample in each.samples)
            _check_answers([each for each in said if each is not None], found.values(), question, options)
        except (DataError, UsageError) as error:
            raise type(error)(f"judge '{judge}': {error}") from None


def _domains_to_train_on(
    domains: Mapping[str, Domain], question: Question, options: JudgeOptions
) -> Iterator[tuple[str, Domain]]:
    """Yield the domains of the samples that a judge is trained on; one where it selects them itself."""
    for name in question.domains if options.select is None else question.domains[:1]:
        if options.judge_data is None:
            yield name, domains[name]
            continue
        try:
            yield name, domains[name].elsewhere(Path(options.judge_data), options.select)
        except (DataError, UsageError) as error:
            text = str(error)
            if options.select is not None:  # which takes the place of the domain's own selection
                own = text.removeprefix(f"[domains] {name}: ")
                text = f"select: {own}" if own != text or isinstance(error, UsageError) else text
            raise type(error)(f"judge_data: {text}") from None


def _check_answers(answers: Sequence[Any], found: Iterable[Domain], question: Question, options: JudgeOptions) -> None:
    """Check that there is something to tell apart."""
    if not answers:
        known = {label for domain in found for sample in domain.samples for label in sample.attributes}
        where = f" in judge_data = {options.judge_data!r}" if options.judge_data else ""
        if question.label in known:
            raise DataError(f"no samples{where} have the label '{question.label}' as a number")
        hint = did_you_mean(question.label, known) if known else "They have no labels."
        raise DataError(f"no samples{where} have the label '{question.label}'. {hint}")
    if len(set(answers)) < 2:
        what = f"{question.label} = {answers[0]!r}" if question.label else f"the domain '{answers[0]}'"
        raise UsageError(f"all samples to train on have {what}")


def real_answers(
    domain: Domain,
    name: str,
    question: Question,
    held_out: bool,
    most: int,
    seed: int = 0,
    seen: set[Hashable] | None = None,
) -> tuple[Tensor, list[Any]]:
    """Return real images of a domain that have a true answer, (N, C, H, W), at most `most` at random, and the answers.

    Args:
        name: the domain's name in the run.
        seen: samples that are not wanted again; those that are returned are added.
    """
    seen = set() if seen is None else seen
    wanted: dict[int, Any] = {}
    for number, sample in enumerate(domain.held_out if held_out else domain.samples):
        answer = question.answer(sample, name)
        same = sample.location if isinstance(sample.location, Hashable) else id(sample.location)
        if answer is not None and (not question.label or same is None or same not in seen):
            wanted[number] = answer
            seen.add(same)
    known = list(wanted)
    numbers = [known[i] for i in chosen(len(known), most, seed)]
    return samples_of(domain, held_out, numbers), [wanted[i] for i in numbers]


def question_about(label: str, domains: Mapping[str, Domain], names: Sequence[str], number: bool) -> Question:
    """Return the question which value of a label an image shows, of the domains `names`.

    Args:
        number: whether the label must be a number; else every value is an answer of its own.

    Raises:
        UsageError: no samples have the label, or not as a number.
    """
    everything = {name: (*domains[name].samples, *domains[name].held_out) for name in names}
    having = tuple(name for name, each in everything.items() if any(s.attributes.get(label) is not None for s in each))
    if not having:
        known = {key for each in everything.values() for sample in each for key in sample.attributes}
        hint = did_you_mean(label, known) if known else "They have no labels."
        raise UsageError(f"no samples have the label '{label}'. {hint}")
    values = (sample.attributes.get(label) for name in having for sample in everything[name])
    words = (value for value in values if value is not None and as_number(value) is None)
    if number and (word := next(itertools.islice(words, 1), None)) is not None:
        raise UsageError(f"label = '{label}': found {word!r}, expected numbers; use metrics.label_kept for categories")
    return Question(having, label, number)
