"""Checks of networks and conditionings: shapes, gradients, independent samples, state, precision, the dry run."""

import copy
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from transgan.api.protocols import DiscriminatorOutput, Network
from transgan.errors import TransganError
from transgan.graph import accepts_any_keyword, argument_names
from transgan.plan.build import hidden_layers, mixes_batch, on_meta_device
from transgan.testing.checker import Checker, Fault, N, in_a_line, parameters_of, same_state
from transgan.testing.domains import domains_of
from transgan.testing.values import Batch, conditions_of, differ, on_meta, rows, sample, tensors_of, translation_of
from transgan.text import listed


class NetworkChecker(Checker):
    """What holds for all networks, conditionings included."""

    first_use = "shapes"

    def build(self, options: Any = None, seed: int = 0, **spec: Any) -> nn.Module:
        torch.manual_seed(seed)
        module: nn.Module = self.cls(self.options if options is None else options, replace(self.spec, **spec))
        return module

    def works(self, options: Any) -> None:
        module = self.build(options)
        with torch.no_grad():
            self.run(module, *self.values(options=options))

    def values(self, options: Any = None, **spec: Any) -> tuple[Tensor, Batch]:
        """Return an input, and the conditions that `forward` takes."""
        where = replace(self.spec, **spec)
        torch.manual_seed(1)
        x = self.given.inputs.get("x")
        if x is None:
            x = sample(where, where.inputs)
        known = {**conditions_of(where), **self.given.conditions}
        if where.style:
            known["style"] = torch.randn(N, where.style)
        return x, {name: known[name] for name in self.taken(known, options) if name in known}

    def taken(self, known: Collection[str], options: Any = None) -> list[str]:
        """Return the conditions that `forward` names, of those that are known."""
        forward = self.cls.forward
        if accepts_any_keyword(forward):
            return list(known)
        unused = self.cls.unused_conditions(options or self.options) if hasattr(self.cls, "unused_conditions") else ()
        for each in parameters_of(forward)[2:]:
            if each.default is each.empty and each.name not in (*known, *unused):
                if each.name == "style":
                    raise Fault("its forward has no default for 'style', which is not always there; write style=None")
                raise Fault(
                    f"its forward needs '{each.name}', which nothing gives it here; give a value: "
                    f"check({self.cls.__name__}, conditions={{'{each.name}': ...}}), or write a default"
                )
        return [name for name in argument_names(forward) if name in known and name not in unused]

    def run(self, module: nn.Module, x: Tensor, conditions: Batch) -> Any:
        """Return what the network returns."""
        return module(x, **conditions)

    def check_conditions(self) -> Iterator[str]:
        """Every argument of `forward` without a default is a condition that it gets."""
        names = argument_names(self.cls.forward)
        for each in self.cls.unused_conditions(self.options) if hasattr(self.cls, "unused_conditions") else ():
            if each not in names:
                yield f"unused_conditions returns '{each}', which is no argument of forward"
        self.taken(conditions_of(self.spec) | dict(self.given.conditions))

    def check_shapes(self) -> Iterator[str]:
        """What it returns has the right form and is finite, and its input is as it was."""
        x, conditions = self.values()
        kept = x.clone()
        with torch.no_grad():
            y = self.run(self.build(), x, conditions)
        yield from self.wrong(y, x)
        if not torch.equal(x, kept):
            yield "it changes its input in place, which other networks get too; work on a copy"
        for each in tensors_of(y):
            if each.is_floating_point() and not torch.isfinite(each).all():
                yield "it returns NaN or infinite numbers for random inputs; check divisions, roots and logarithms"
                break
        if x.dtype == torch.float32 and any(each.dtype == torch.float64 for each in tensors_of(y)):
            yield "of float32 it returns float64, which not every device has; make tensors of the input's: x.dtype"

    def wrong(self, y: Any, x: Tensor) -> Iterator[str]:
        """Yield what is wrong about what it returns for x."""
        if any(each.dim() and len(each) != len(x) for each in tensors_of(y)):
            shapes = listed(dict.fromkeys(tuple(each.shape) for each in tensors_of(y)))
            yield f"of {len(x)} samples it returns {shapes}; the first axis of every tensor has to be the samples"

    def check_input_channels(self) -> Iterator[str]:
        """Conditionings add channels to the input: `spec.inputs`, not `spec.channels`, says how many there are."""
        if "x" in self.given.inputs or not isinstance(self.spec.inputs, int):
            return
        more = self.spec.inputs + 2
        try:
            module = self.build(inputs=more)
            with torch.no_grad():
                y = self.run(module, *self.values(inputs=more))
        except TransganError:
            return
        except Exception as error:
            raise Fault(
                f"with spec.inputs = {more} it raises {in_a_line(error)}; conditionings add channels to the input: "
                "build the first layer for spec.inputs channels"
            ) from None
        yield from self.wrong(y, self.values(inputs=more)[0])

    def check_style(self) -> Iterator[str]:
        """A style vector that it takes affects what it returns."""
        if "style" not in argument_names(self.cls.forward) or "style" in self.given.conditions:
            return
        module = self.build(style=self.spec.style + 5)
        x, conditions = self.values(style=self.spec.style + 5)
        style = conditions["style"].requires_grad_()
        if not _connected(self.run(module, x, {**conditions, "style": style}), [style])[0]:
            yield "its forward takes 'style' and does not use it; use it, or do not name it"

    def check_gradients(self) -> Iterator[str]:
        """Gradients reach every parameter, and are finite."""
        module = self.build()
        names = {name: p for name, p in module.named_parameters() if p.requires_grad}
        x, conditions = self.values()
        x = x.requires_grad_() if x.is_floating_point() else x
        y = self.run(module, x, conditions)
        found = _gradients(y, [*names.values()])
        unreached = [name for name, gradient in zip(names, found, strict=True) if gradient is None]
        if unreached:
            yield (
                f"no gradient reaches {listed(unreached, 3)}: not used in forward, or behind detach() or no_grad(); "
                "use them, or do not create them"
            )
        if any(each is not None and not torch.isfinite(each).all() for each in found):
            yield "gradients are NaN or infinite for random inputs; check roots, norms and logarithms at 0"

    def check_independence(self) -> Iterator[str]:
        """What it returns for a sample does not depend on the others of the batch."""
        module = self.build()
        if mixes_batch(module):
            return
        module.eval()
        x, conditions = self.values()
        with torch.no_grad():
            whole = self.run(module, x, conditions)
            part = self.run(module, x[2:], rows(conditions, [2, 3]))
        whole = rows({"y": whole}, [2, 3])["y"]
        if differ(whole, part):
            yield (
                "what it returns for a sample depends on the other samples of the batch; take statistics sample by "
                "sample, or set mixes_batch = True"
            )

    def check_determinism(self) -> Iterator[str]:
        """It is built and, in evaluation mode, computes the same each time."""
        one, two = self.build(), self.build()
        if not same_state(one, two):
            yield "it is built with other weights each time; draw initial weights with torch, which has the run's seed"
        one.eval()
        x, conditions = self.values()
        with torch.no_grad():
            if differ(self.run(one, x, conditions), self.run(one, x, conditions), 1e-6):
                yield "two passes of it in evaluation mode differ; let eval() switch off dropout and noise"

    def check_state(self) -> Iterator[str]:
        """A copy with its `state_dict`, and a deep copy, return the same."""
        one, two = self.build(), self.build(seed=1)
        x, conditions = self.values()
        with torch.no_grad():
            for _ in range(2):
                self.run(one, x, conditions)
            state = one.state_dict()
            if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
                raise Fault(f"its state holds {listed(others)}, no tensors; only tensors are saved")
            two.load_state_dict(copy.deepcopy(state))
            one.eval(), two.eval()
            if differ(self.run(one, x, conditions), self.run(two, x, conditions), 1e-5):
                yield (
                    "a copy with its state_dict returns something else: part of its state is neither a parameter nor "
                    "a buffer; register_buffer it"
                )
            copied = copy.deepcopy(one)
            if differ(self.run(one, x, conditions), self.run(copied, x, conditions), 1e-5):
                yield "a deep copy of it, as the moving average needs one, returns something else"

    def check_tensors(self) -> Iterator[str]:
        """Its tensors are parameters and buffers, which are trained, saved and moved."""
        usual = vars(nn.Module()).keys()
        built = self.build()
        for attribute, form in hidden_layers(built):
            yield (
                f"its attribute '{attribute}' holds layers where torch does not find them, so that they are neither "
                f"trained nor saved; use {form}"
            )
        for path, module in built.named_modules():
            for name, value in vars(module).items():
                if name not in usual and (found := tensors_of(value)):
                    trained = any(each.requires_grad for each in found)
                    how = "nn.Parameter(...)" if trained else "register_buffer(...)"
                    where = f"{path}.{name}" if path else name
                    yield (
                        f"its attribute '{where}' is a tensor that is neither a parameter nor a buffer, so that it is "
                        f"not {'trained' if trained else 'saved'}, and not moved to a device; make it one: {how}"
                    )

    def check_parameters(self) -> Iterator[str]:
        """Optimizers have the parameters that it is built with: it changes these in place, and adds none."""
        module = self.build()
        x, conditions = self.values()

        def initialize() -> None:
            if isinstance(module, Network):
                module.init_from_data(domains_of(self.spec), [translation_of(self.spec)])

        def run() -> None:
            with torch.no_grad():
                self.run(module, x, conditions)

        for cause, work in (("forward", run), ("init_from_data", initialize)):
            before = dict(module.named_parameters())
            try:
                work()
            except TransganError:  # it needs other data
                continue
            for name, parameter in module.named_parameters():
                if parameter is not before.get(name):
                    what = "another object than before" if name in before else "new"
                    yield (
                        f"after {cause} its parameter '{name}' is {what}, which no optimizer trains; build layers in "
                        "__init__, and change parameters in place: with torch.no_grad(): p.copy_(value)"
                    )
                    break

    def check_bf16(self) -> Iterator[str]:
        """It runs with `precision = "bf16"`."""
        module = self.build()
        x, conditions = self.values()
        try:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                y = self.run(module, x, conditions)
        except Exception as error:
            raise Fault(
                f'with precision = "bf16" it raises {in_a_line(error)}; cast what is combined: a.to(b)'
            ) from None
        yield from self.wrong(y, x)
        if any(not torch.isfinite(each).all() for each in tensors_of(y) if each.is_floating_point()):
            yield 'with precision = "bf16" it returns NaN or infinite numbers'

    def check_channels_last(self) -> Iterator[str]:
        """With channels last in memory, one that takes them returns the same, with the same gradient."""
        x, conditions = self.values()
        if not getattr(self.cls, "channels_last", False) or x.ndim != 4:
            return
        found: list[list[Tensor]] = []
        for form in (torch.contiguous_format, torch.channels_last):
            module = self.build().eval().to(memory_format=form)
            given = x.detach().to(memory_format=form).requires_grad_()
            try:
                y = self.run(module, given, conditions)
                squares = sum(each.float().square().sum() for each in tensors_of(y) if each.requires_grad)
                assert isinstance(squares, Tensor)
                found.append([*tensors_of(y), *torch.autograd.grad(squares, given)])
            except RuntimeError as error:
                raise Fault(
                    f"with channels last in memory it raises {in_a_line(error)}; reshape where it views, or do not set "
                    "channels_last"
                ) from None
        if differ(found[0], found[1]):
            yield "with channels last in memory it returns something else; do not set channels_last"

    def check_device(self) -> Iterator[str]:
        """`transgan check` and every plan build and run networks on the meta device."""
        x, conditions = self.values()
        try:
            with on_meta_device():
                module = self.cls(self.options, self.spec)
                y = self.run(module, x.to("meta"), on_meta(conditions))
        except Exception as error:
            raise Fault(
                f"it cannot run on another device (meta): {in_a_line(error)}; make tensors on x.device, register "
                "constants with register_buffer, and read no values (item(), if) from tensors"
            ) from None
        try:  # moved there, as to a GPU: what it makes without a device, or keeps for itself, stays behind
            with on_meta_device(), torch.device("cpu"):
                moved = self.run(self.build().to("meta"), x.to("meta"), on_meta(conditions))
        except Exception as error:
            raise Fault(
                f"moved to another device (meta) it raises {in_a_line(error)}; make tensors on x.device, register "
                "constants with register_buffer"
            ) from None
        if wrong := [each.device.type for each in tensors_of([y, moved]) if not each.is_meta]:
            yield f"on the device meta it returns tensors on {wrong[0]}; make them on x.device"

    def check_after_step(self) -> Iterator[str]:
        """`after_step` can be called."""
        module = self.build()
        if callable(after_step := getattr(module, "after_step", None)):
            after_step()
        yield from ()


class GeneratorChecker(NetworkChecker):
    def wrong(self, y: Any, x: Tensor) -> Iterator[str]:
        expected = (len(x), self.spec.channels, *x.shape[2:])
        if not isinstance(y, Tensor):
            raise Fault(f"it returns {type(y).__name__}, expected a tensor (N, channels, *space) = {expected}")
        if y.shape != expected:
            yield f"for {tuple(x.shape)} it returns {tuple(y.shape)}, expected (N, channels, *space) = {expected}"

    def check_range(self) -> Iterator[str]:
        """What it returns lies in [-1, 1]."""
        x, conditions = self.values()
        with torch.no_grad():
            y = self.run(self.build(), x, conditions)
        if isinstance(y, Tensor) and float(y.abs().max()) > 1.0001:
            yield f"values reach {float(y.abs().max()):.3g}, and samples lie in [-1, 1]; end with torch.tanh"

    def check_stride(self) -> Iterator[str]:
        """It takes samples of any size whose axes are multiples of `stride`."""
        module = self.build().eval()
        stride: Any = getattr(module, "stride", 1)
        if not isinstance(stride, int) or stride < 1:
            raise Fault(f"stride is {stride!r}, expected a whole number of at least 1")
        _, conditions = self.values()
        space = tuple(side // stride * stride + stride for side in self.spec.space)
        x = torch.rand(N, self.spec.inputs, *space) * 2 - 1
        try:
            with torch.no_grad():
                y = self.run(module, x, conditions)
        except TransganError:
            return
        except Exception as error:
            raise Fault(
                f"with axes {space}, multiples of its stride {stride}, it raises {in_a_line(error)}; files are of any "
                "size: do not build layers for spec.space, or set stride"
            ) from None
        if y.shape[2:] != x.shape[2:]:
            yield (
                f"with axes {space}, multiples of its stride {stride}, it returns axes {tuple(y.shape[2:])}; "
                "set stride to what it divides each axis by"
            )


class DiscriminatorChecker(NetworkChecker):
    def wrong(self, y: Any, x: Tensor) -> Iterator[str]:
        if not isinstance(y, DiscriminatorOutput):
            raise Fault(f"it returns {type(y).__name__}, expected a transgan.api.DiscriminatorOutput")
        if not isinstance(y.logits, list) or not y.logits:
            raise Fault("logits is not a list with a tensor for each scale; return DiscriminatorOutput(logits=[...])")
        for each in y.logits:
            if each.dim() < 2 or each.shape[:2] != (len(x), 1):
                yield f"logits of {tuple(each.shape)}, expected (N, 1) or (N, 1, *space) with N = {len(x)}"
        if y.class_logits is not None and y.class_logits.shape != (len(x), len(self.spec.domains)):
            yield (
                f"class_logits of {tuple(y.class_logits.shape)}, expected (N, domains) = "
                f"{(len(x), len(self.spec.domains))}; build the class head for len(spec.domains)"
            )
        yield from super().wrong([*y.features, *y.kept_logits], x)

    def check_logits(self) -> Iterator[str]:
        """Losses apply sigmoids themselves: logits of extreme networks go beyond 0 and 1."""
        found = []
        for factor in (10.0, -10.0):
            module = self.build()
            with torch.no_grad():
                for each in module.parameters():
                    each.mul_(factor)
                x, conditions = self.values()
                found += [*self.run(module, 3 * x, conditions).logits]
        if all(float(each.min()) >= 0 and float(each.max()) <= 1 for each in found):
            yield "its logits always lie in [0, 1]: return them as they are before the sigmoid, which losses apply"


class EncoderChecker(NetworkChecker):
    pass


class ConditioningChecker(NetworkChecker):
    """Conditionings return an input and a style vector, each as they were or longer."""

    def values(self, options: Any = None, **spec: Any) -> tuple[Tensor, Batch]:
        x, conditions = super().values(options, **spec)
        known = {**conditions_of(replace(self.spec, **spec)), **self.given.conditions}
        if (of := getattr(options or self.options, "of", None)) in known:
            conditions[str(of)] = known[str(of)]
        return x, {name: value for name, value in conditions.items() if name != "style"}

    def run(self, module: nn.Module, x: Tensor, conditions: Batch) -> Any:
        return module(x, conditions.get("style"), **{n: v for n, v in conditions.items() if n != "style"})

    def taken(self, known: Collection[str], options: Any = None) -> list[str]:
        return super().taken([*known, "style"] if "style" not in known else known, options)

    def check_style(self) -> Iterator[str]:
        """An earlier conditioning may have begun a style vector."""
        module = self.build()
        x, conditions = self.values()
        style = torch.randn(N, 3)
        with torch.no_grad():
            _, after = self.run(module, x, {**conditions, "style": style})
        expected = (N, 3 + self.added(module)[1])
        if after is None or after.shape != expected or not torch.equal(after[:, :3], style):
            found = None if after is None else tuple(after.shape)
            yield (
                f"of a style vector (4, 3) it makes {found}, expected (4, 3 + style) = {expected} "
                "that begins with it; return torch.cat([style, own], 1), or style unchanged"
            )

    def wrong(self, y: Any, x: Tensor) -> Iterator[str]:
        if not isinstance(y, tuple) or len(y) != 2:
            raise Fault(f"it returns {type(y).__name__}, expected the pair (x, style)")
        changed, style = y
        channels, length = self.added(self.build())
        if tuple(changed.shape) != (len(x), x.shape[1] + channels, *x.shape[2:]):
            yield (
                f"it says channels = {channels} and makes {tuple(changed.shape)} of {tuple(x.shape)}; "
                "set self.channels to what it adds"
            )
        found = None if style is None else tuple(style.shape)
        if found != ((len(x), length) if length else None):
            yield f"it says style = {length} and returns a style {found}; set self.style to what it adds"

    def added(self, module: Any) -> tuple[int, int]:
        """Return how many channels and numbers of the style vector it says that it adds."""
        return int(module.channels), int(module.style)

    def check_effect(self) -> Iterator[str]:
        """What it returns depends on the condition."""
        module = self.build()
        x, conditions = self.values()
        with torch.no_grad():
            one = self.run(module, x, conditions)
            for name, value in conditions.items():
                moved = value.roll(1, 0) if isinstance(value, Tensor) else value
                conditions = {**conditions, name: moved}
            if not differ(one, self.run(module, x, conditions), 1e-6):
                yield "what it returns does not depend on the condition; write it into x or into the style vector"


def _gradients(y: Any, inputs: list[Tensor]) -> list[Tensor | None]:
    """Return the gradients of random sums of every tensor."""
    outputs = [each for each in tensors_of(y) if each.requires_grad]
    if not outputs or not inputs:
        return [None] * len(inputs)
    total = torch.stack([(each.float() * torch.randn_like(each.float())).sum() for each in outputs]).sum()
    return list(torch.autograd.grad(total, inputs, allow_unused=True))


def _connected(y: Any, inputs: list[Tensor]) -> list[bool]:
    return [each is not None for each in _gradients(y, inputs)]
