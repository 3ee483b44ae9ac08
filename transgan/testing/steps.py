"""Checks of augmentations and hooks, which take part in steps."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import MOMENTS, RunInfo
from transgan.errors import closest
from transgan.schedule import Clock
from transgan.testing.checker import Checker, Fault, N, in_a_line, parameters_of
from transgan.testing.values import differ, rng_of, sample
from transgan.training.shapes import MetaRng

_CLOCK = Clock(step=5, epoch=1.5, run=0.5)


class AugmentationChecker(Checker):
    first_use = "shapes"

    def build(self, options: Any = None) -> Any:
        return self.cls(self.options if options is None else options, self.spec)

    def works(self, options: Any) -> None:
        self.apply(self.build(options), sample(self.spec))

    def apply(self, plugin: Any, x: Tensor, first: int = 0) -> Tensor:
        y: Tensor = plugin(x, rng_of(range(first, first + len(x))), _CLOCK)
        return y

    def check_shapes(self) -> Iterator[str]:
        """Samples keep their form and precision, are changed, and stay as they are in the input."""
        x = sample(self.spec)
        kept = x.clone()
        plugin = self.build()
        y = self.apply(plugin, x)
        if not torch.equal(x, kept):
            yield "it changes its input in place, which is the generator's output; work on a copy"
        if y.shape != x.shape:
            yield f"of {tuple(x.shape)} it returns {tuple(y.shape)}; samples keep their shape"
        elif not torch.isfinite(y).all():
            yield "it returns NaN or infinite numbers"
        elif not differ(x, y, 1e-6):
            yield "it changes nothing with these options; give others: check(cls, {...})"
        for dtype in (torch.float64, torch.bfloat16):
            if (found := self.apply(plugin, x.to(dtype)).dtype) != dtype:
                yield f"of {dtype} it returns {found}; bring random numbers to x: rng.uniform(...).to(x)"

    def check_randomness(self) -> Iterator[str]:
        """Each sample is changed by itself, by the random numbers that it is given."""
        plugin = self.build()
        x = sample(self.spec)[:1].repeat(N, *[1] * (1 + len(self.spec.space)))
        torch.manual_seed(1)
        one = self.apply(plugin, x)
        torch.manual_seed(2)
        if differ(one, self.apply(plugin, x), 1e-6):
            yield "it draws random numbers of its own; take all of them from rng, so that a run can be resumed"
        elif all(not differ(one[0], each, 1e-6) for each in one[1:]):
            yield "it changes all samples alike; draw numbers for each: rng.uniform('name', ...) has N of them"
        if differ(one[2:], self.apply(plugin, x[2:], 2)):
            yield "what it makes of a sample depends on the other samples of the batch; change each by itself"

    def check_gradients(self) -> Iterator[str]:
        """Gradients go through it."""
        x = sample(self.spec).requires_grad_()
        y = self.apply(self.build(), x)
        if not y.requires_grad:
            raise Fault("no gradient goes through it, so that generators are not trained through it; use torch alone")
        (gradient,) = torch.autograd.grad(y.square().sum(), [x])
        if not torch.isfinite(gradient).all() or not bool(gradient.abs().sum() > 0):
            yield "its gradient is 0 or not finite; avoid rounding, and clipping of all values"

    def check_geometry(self) -> Iterator[str]:
        """Where it moves content, what a discriminator sees beside a sample has to be moved alike."""
        if self.cls.geometric or any(side < 5 for side in self.spec.space):
            return
        plugin = self.build()
        flat = torch.zeros(N, self.spec.channels, *self.spec.space)
        dot = flat.clone()
        middle = [side // 2 for side in self.spec.space]
        dot.view(N, self.spec.channels, -1)[:, :, int(np.ravel_multi_index(middle, self.spec.space))] = 1.0
        change = (self.apply(plugin, dot) - self.apply(plugin, flat)).abs().sum(1).flatten(1)
        where = dot[:, 0].flatten(1).argmax(1)
        if bool((change.argmax(1) != where).any() and (change.amax(1) > 1e-3).all()):
            yield "it moves content; set geometric = True"

    def check_device(self) -> Iterator[str]:
        """It runs on any device, and can be traced on the meta device."""
        try:
            y = self.build()(torch.empty_like(sample(self.spec), device="meta"), MetaRng(N), _CLOCK)
        except Exception as error:
            raise Fault(
                f"it cannot run on another device (meta), as `transgan check` does: {in_a_line(error)}; make tensors "
                "on x.device, and read no values (item(), if) from them"
            ) from None
        if not y.is_meta:
            yield f"on the device meta it returns a tensor on {y.device}; make it on x.device"


class HooksChecker(Checker):
    first_use = "run"

    def check_methods(self) -> Iterator[str]:
        """It has methods that runs call, with their arguments."""
        yield from super().check_methods()
        own = {name for each in self.cls.__mro__[: -len(self.kind.base.__mro__)] for name in vars(each)}
        if not own & {*MOMENTS}:
            yield f"it defines none of the methods that runs call: {', '.join(MOMENTS)}"
        for name in sorted(own - {*MOMENTS}):
            if not name.startswith("_") and (close := closest(name, MOMENTS)):
                yield f"no run calls '{name}'; did you mean '{close}'?"
        for name in MOMENTS:
            expected = [each.name for each in parameters_of(getattr(self.kind.base, name))]
            if [each.name for each in parameters_of(getattr(self.cls, name))] != expected:
                yield f"{name} takes other arguments than ({', '.join(expected)}); write these"

    def works(self, options: Any) -> None:
        self.in_a_run(options)

    def check_run(self) -> Iterator[str]:
        """A run without metrics, of two steps."""
        for reason in self.in_a_run(self.options):
            if not isinstance(reason, str) or not reason:
                yield f"it asks for the end with the reason {reason!r}, expected a text"

    def in_a_run(self, options: Any) -> list[Any]:
        hooks, reasons = self.build(options), list[Any]()
        losses = {"first: a -> b/loss_G/cycle": torch.tensor(0.5)}
        with tempfile.TemporaryDirectory() as folder:

            def info(step: int, **figures: float) -> RunInfo:
                table = {"first: a -> b": figures} if figures else {}
                return RunInfo("check", Path(folder), step, 2, losses if step else {}, table, reasons.append)

            checkpoint, preview = Path(folder) / "checkpoints/step-00000002", Path(folder) / "samples/step-00000002"
            checkpoint.mkdir(parents=True)
            preview.parent.mkdir()
            preview.touch()
            hooks.run_started(info(0))
            hooks.step_finished(info(1))
            hooks.step_finished(info(2))
            hooks.checkpoint_saved(info(2), checkpoint)
            hooks.samples_saved(info(2), preview)
            for figures in ({}, {"error": 1.0}):
                hooks.evaluated(info(2, **figures))
            hooks.run_finished(info(2), "finished")
        return reasons
