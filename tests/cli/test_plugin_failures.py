"""Run-time errors in plugins are named, with plugin, package, node or loss, and translation, and are no bug of ours."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from transgan.api import (
    Augmentation,
    Conditioning,
    DataError,
    Discriminator,
    Generator,
    Loss,
    Metric,
    Nodes,
    Options,
    Register,
    Sample,
    Source,
    Tensor,
    hookimpl,
    node,
)
from transgan.plugin_errors import as_plugin_error
from transgan.registry import Registry


class NodeFails(Loss):
    """A loss with a node that fails."""

    @node
    def broken(self, source: Tensor, training: bool) -> Tensor:
        return source[:, 7]

    def for_generator(self, broken: Tensor) -> Tensor:
        return broken.mean()


class FailsInTraining(Loss):
    def for_generator(self, fake: Tensor) -> Tensor:
        if not fake.is_meta:
            raise ZeroDivisionError("float division by zero\nin two lines \x1b[2J")
        return fake.mean()


class FailsBackward(Loss):
    def for_generator(self, fake: Tensor) -> Tensor:
        fake.register_hook(self.hook)
        return fake.mean()

    def hook(self, gradient: Tensor) -> None:
        raise AssertionError


class ConstructorFails(Loss):
    def __init__(self, options: Options):
        raise KeyError("tables")


class FileMissing(Loss):
    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.mean() * len(Path("weights.pt").read_bytes())


class DiskFull(Loss):
    def __init__(self, options: Options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FindsNoMore(Loss):
    """A loss with an iterator that ends, which the loop over the steps must not take for its own end."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return next(iter([] if not fake.is_meta else [fake.mean()]))


class GeneratorFails(Generator):
    def __init__(self, options: Options, spec: Any):
        super().__init__(options, spec)
        self.layer = nn.Conv2d(spec.inputs, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x if x.is_meta else x[:, :2])


class DiscriminatorFails(Discriminator):
    def __init__(self, options: Options, spec: Any):
        super().__init__(options, spec)
        raise NotImplementedError

    def forward(self, x: Tensor) -> Any: ...


class ConditioningFails(Conditioning):
    def __init__(self, options: Options, spec: Any):
        raise TypeError("no such condition")

    def forward(self, x: Tensor, style: Any) -> Any: ...


class AugmentationFails(Augmentation):
    def __call__(self, *inputs: Any, **more: Any) -> Any:
        raise IndexError("out of range")


class SourceFails(Source):
    def samples(self, domain: str, selection: Any) -> Any:
        return {}["missing"]


class MetricFails(Metric):
    def reset(self) -> None:
        pass

    def update(self, fake: Tensor) -> None:
        raise FloatingPointError("overflow")


class DrawingFails(Source):
    """A source of synthetic samples, of which one cannot be made."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample(key=f"{i}", location=Drawing()) for i in range(8)]


class Drawing:
    def __call__(self, size: int) -> Any:
        raise KeyError("face")


class SaysItself(Loss):
    def for_generator(self, fake: Tensor) -> Tensor:
        if not fake.is_meta:
            raise DataError("that file is missing")
        return fake.mean()


class AllNodes(Nodes):
    @node
    def fake(self, source: Tensor) -> Tensor:
        raise RuntimeError("of these nodes")

    @node
    def reconstruction(self, fake: Tensor) -> Tensor:
        return fake


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        for cls in (NodeFails, FailsInTraining, FailsBackward, ConstructorFails, SaysItself):
            register(cls.__name__, cls)
        for cls in (FileMissing, DiskFull, FindsNoMore):
            register(cls.__name__, cls)

    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("GeneratorFails", GeneratorFails)

    @hookimpl
    def register_discriminators(self, register: Register) -> None:
        register("DiscriminatorFails", DiscriminatorFails)

    @hookimpl
    def register_conditionings(self, register: Register) -> None:
        register("ConditioningFails", ConditioningFails)

    @hookimpl
    def register_augmentations(self, register: Register) -> None:
        register("AugmentationFails", AugmentationFails)

    @hookimpl
    def register_sources(self, register: Register) -> None:
        register("SourceFails", SourceFails)
        register("DrawingFails", DrawingFails)

    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("AllNodes", AllNodes)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Add the plugins of this module, and write tracebacks into the folder of the test."""
    found = Registry.installed

    def installed() -> Registry:
        registry = found()
        registry.add(Plugin(), "brittle", "brittle-nets", "0.2")
        return registry

    monkeypatch.setattr(Registry, "installed", installed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield


WHERE = r"for age: young -> old"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("losses.NodeFails=1", "loss 'NodeFails' of brittle-nets 0.2 failed while computing 'NodeFails/broken' "
         f"{WHERE}: IndexError: index 7 is out of bounds"),
        ("losses.FailsInTraining=1", f"loss 'FailsInTraining' of brittle-nets 0.2 failed while evaluating loss "
         f"'FailsInTraining' {WHERE}: ZeroDivisionError: float division by zero in two lines"),
        ("losses.FailsBackward=1", "loss 'FailsBackward' of brittle-nets 0.2 failed while differentiating the losses "
         "of the generator phase: lsgan, cycle, FailsBackward: AssertionError"),
        ("losses.ConstructorFails=1", "loss 'ConstructorFails' of brittle-nets 0.2 failed: KeyError: 'tables'"),
        ("generators.face={use='GeneratorFails'}", "generator 'GeneratorFails' of brittle-nets 0.2 failed while "
         "running network 'face' for age: young -> old: fake"),
        ("discriminators.face={use='DiscriminatorFails'}", "discriminator 'DiscriminatorFails' of brittle-nets 0.2 "
         "failed: NotImplementedError"),
        ("conditionings.ConditioningFails=true", "conditioning 'ConditioningFails' of brittle-nets 0.2 failed: "
         "TypeError: no such condition"),
        ("discriminators.face.augment=['AugmentationFails']", "augmentation 'AugmentationFails' of brittle-nets 0.2 "
         "failed while augmenting by 'AugmentationFails': IndexError: out of range"),
        ("data.source='SourceFails'", "source 'SourceFails' of brittle-nets 0.2 failed while finding the samples of "
         "domain 'young': KeyError: 'missing'"),
        ("losses.FileMissing=1", "loss 'FileMissing' of brittle-nets 0.2 failed while evaluating loss 'FileMissing' "
         f"{WHERE}: FileNotFoundError: [Errno 2] No such file or directory: 'weights.pt'"),
        ("losses.DiskFull=1", "loss 'DiskFull' of brittle-nets 0.2 failed: OSError: [Errno 28] No space left"),
        ("losses.FindsNoMore=1", "loss 'FindsNoMore' of brittle-nets 0.2 failed while evaluating loss 'FindsNoMore' "
         f"{WHERE}: RuntimeError: StopIteration was raised"),
        ("data.source='DrawingFails'", "code of brittle-nets 0.2, called by media 'image' of transgan"),
        ("nodes='AllNodes'", f"set of nodes 'AllNodes' of brittle-nets 0.2 failed while computing 'fake' {WHERE}: "
         "RuntimeError: of these nodes"),
    ],
)  # fmt: skip
def test_an_error_of_a_plugin_is_one_line(transgan: Any, recipe: Path, setting: str, message: str) -> None:
    """Of the kind: any exception of any class, in any method of any kind of plugin, or what it returns."""
    error = transgan("run", recipe, "-q", "--set", setting).error(2)
    assert message in error and "bug" not in error and error.isprintable()
    assert "brittle-nets 0.2" in error
    log = re.search(r"; (\S+\.log) shows where$", error)
    assert log and "Traceback" in Path(log[1]).read_text()


@pytest.mark.parametrize("name", ["NodeFails", "FailsBackward", "FileMissing"])
def test_check_says_the_same_and_names_a_file_too(transgan: Any, recipe: Path, name: str) -> None:
    setting = f"losses.{name}=1"
    errors = [transgan(*command, "--set", setting).error(2) for command in (["check", recipe], ["run", recipe, "-q"])]
    checked, ran = (error.partition("; ") for error in errors)
    assert checked[0] == ran[0] and "brittle-nets 0.2" in checked[0]
    assert "Traceback" in Path(checked[2].removesuffix(" shows where")).read_text()


def test_a_plugin_that_says_what_is_wrong_keeps_its_words_and_its_exit_code(transgan: Any, recipe: Path) -> None:
    error = transgan("run", recipe, "-q", "--set", "losses.SaysItself=1").error(3)
    assert error.startswith("that file is missing")


def test_memory_that_is_short_in_a_plugin_is_no_error_of_the_plugin(
    transgan: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*inputs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GeneratorFails, "forward", full)
    assert "lower train.batch" in transgan(
        "run", recipe, "-q", "--set", "generators.face={use='GeneratorFails'}"
    ).error(5)


def test_an_error_without_a_plugin_is_ours() -> None:
    try:
        raise ValueError("ours")
    except ValueError as error:
        assert as_plugin_error(error, Registry()) is None


def test_debug_prints_the_traceback_and_keeps_the_exit_code(transgan: Any, recipe: Path) -> None:
    done = transgan("run", recipe, "-q", "--debug", "--set", "losses.ConstructorFails=1")
    assert done.code == 2 and "Traceback" in done.err and "\x1b" not in done.err
    assert "error: loss 'ConstructorFails'" in done.err.splitlines()[-1]
