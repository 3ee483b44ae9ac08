"""Mistakes in plugins of any kind are one line: which plugin, of which file, what it says or returns, what is expected.

`check` and `run` say the same of each, before a loss or a network of somebody else fails because of it.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from transgan.registry import KINDS

HEAD = """
import torch
from torch import nn
from transgan.api import *
"""
CLASSES = {
    "losses": ("Loss", "losses.bad=1.0"),
    "nodes": ("Nodes", "nodes='bad'"),
    "conditionings": ("Conditioning", "conditionings.bad=true"),
    "augmentations": ("Augmentation", "discriminators.face.augment=['bad']"),
    "generators": ("Generator", "generators.face={use='bad'}"),
    "discriminators": ("Discriminator", "discriminators.face={use='bad'}"),
    "encoders": ("Encoder", "encoders.bad={}"),
    "metrics": ("Metric", "metrics.bad={}"),
    "sources": ("Source", "data.source='bad'"),
    "media": ("Media", "data.media='bad'"),
    "hooks": ("Hooks", "hooks.bad={}"),
}
LAYER = """
def __init__(self, options, spec):
    super().__init__(options, spec)
    self.layer = nn.Conv2d(spec.inputs, spec.channels, 1)
"""
FORWARD = "def forward(self, x): return self.layer(x)"
NODE = "@node\ndef fake(self, source)"
BACK = "@node\ndef reconstruction(self, fake): return fake"
MEAN = "def for_generator(self, fake): return fake.mean()"
FIGURES = """
def reset(self): pass
def update(self, translation): self.translation = translation
def compute(self): return {self.translation: {'one': 1.0}}
"""


def text(kind: str, body: str) -> str:
    """Return a file with a plugin of this kind whose class has this body."""
    indented = "\n".join(f"    {line}" for line in ['"""A plugin."""', *body.splitlines()])
    register = f"@hookimpl\ndef register_{kind}(register):\n    register('bad', Bad)\n"
    return f"{HEAD}\nclass Bad({CLASSES[kind][0]}):\n{indented}\n\n\n{register}"


def said(transgan: Any, recipe: Path, kind: str, plugin: str, commands: tuple[str, ...] = ("check", "run")) -> str:
    """Return the one line that every command says of a recipe with this plugin file."""
    Path("bad.py").write_text(plugin)
    lines = []
    for command in commands:
        quiet = ["-q"] if command == "run" else []
        lines.append(transgan(command, recipe, *quiet, "--plugin", "bad.py", "--set", CLASSES[kind][1]).error(2))
    assert len(set(lines)) == 1, lines
    assert "bug" not in lines[0] and lines[0].isprintable()
    return lines[0]


#: What a plugin returns: the kind, the body of its class, and what is said of it.
RETURNED = {
    "a node without return": (
        "losses",
        "@node\ndef mine(self, source): pass\ndef for_generator(self, mine): return mine",
        "node 'bad/mine' returned None; return its value or a Call, or declare that it may return None",
    ),
    "a node of a set": ("nodes", f"{NODE}: pass\n{BACK}", "node 'fake' returned None"),
    "a node that yields nothing": (
        "losses",
        "@node\ndef mine(self, source): yield\ndef for_generator(self, mine): return mine",
        "node 'bad/mine' yielded NoneType, expected a Call",
    ),
    "a call without input": (
        "losses",
        "@node\ndef mine(self): return Call('generator', None)\ndef for_generator(self, mine): return mine.mean()",
        "the Call of node 'bad/mine' has x = NoneType; expected samples, (N, ...)",
    ),
    "conditions that are none": (
        "losses",
        "@node\ndef mine(self, source): return Call('generator', source, 3)\n"
        "def for_generator(self, mine): return mine.mean()",
        "the Call of node 'bad/mine' has conditions = int; expected a table by name",
    ),
    "a loss of each sample": (
        "losses",
        "def for_generator(self, fake): return fake.flatten(1).mean(1)",
        "for_generator returned a tensor (2,), expected a scalar tensor",
    ),
    "a complex loss": (
        "losses",
        "def for_generator(self, fake): return torch.fft.fft(fake).mean()",
        "for_generator returned a tensor () of torch.complex64, expected a scalar tensor",
    ),
    "a loss that differentiates itself": (
        "losses",
        "def for_generator(self, fake):\n"
        "    value = fake.mean()\n    value.backward(retain_graph=True)\n    return value",
        "for_generator has changed the gradients of 'face.forward', which would count twice; return the loss without",
    ),
    "a loss that counts": (
        "losses",
        "def for_generator(self, fake): return (fake > 0).sum()",
        "for_generator returned a tensor () of torch.int64, expected a scalar tensor",
    ),
    "a node that returns a list": (
        "nodes",
        f"{NODE}: return [source]\n{BACK}",
        "node 'fake' returned list, expected a tensor (N, C, *space)",
    ),
    "a complex generator": (
        "generators",
        f"{LAYER}\ndef forward(self, x): return torch.fft.fft(self.layer(x))",
        "forward returned a tensor (4, 3, 32, 32) of torch.complex64, expected a tensor (4, 3, 32, 32)",
    ),
    "complex logits": (
        "discriminators",
        f"{LAYER}\ndef forward(self, x): return DiscriminatorOutput([torch.fft.fft(self.layer(x)[:, :1])])",
        "forward returned logits a tensor (2, 1, 32, 32) of torch.complex64, expected (2, 1)",
    ),
    "a loss without return": ("losses", "def for_generator(self, fake): pass", "for_generator returned None, expected"),
    "a module as networks": (
        "losses",
        f"def networks(self, spec): return nn.Linear(3, 3)\n{MEAN}",
        "networks returned Linear, expected a table of modules by name",
    ),
    "networks that are none": (
        "losses",
        f"def networks(self, spec): return {{'one': 3}}\n{MEAN}",
        "networks returned int, expected a table of modules",
    ),
    "an augmentation without return": (
        "augmentations",
        "def __call__(self, x, rng, clock): pass",
        "__call__ returned None, expected a tensor (2, 3, 32, 32)",
    ),
    "an augmentation that crops": (
        "augmentations",
        "def __call__(self, x, rng, clock): return x[..., :-1]",
        "__call__ returned a tensor (2, 3, 32, 31), expected a tensor (2, 3, 32, 32)",
    ),
    "a node fake of another size": (
        "nodes",
        f"{NODE}: return source[..., :16]\n{BACK}",
        "node 'fake' returned a tensor (2, 3, 32, 16), expected (2, 3, 32, 32), the size of the samples",
    ),
    "a generator that halves": (
        "generators",
        f"{LAYER}\ndef forward(self, x): return self.layer(x)[..., ::2]",
        "forward returned a tensor (4, 3, 32, 16), expected a tensor (4, 3, 32, 32)",
    ),
    "a generator of pairs": (
        "generators",
        f"{LAYER}\ndef forward(self, x): return x, x",
        "forward returned tuple, expected a tensor (4, 3, 32, 32)",
    ),
    "a generator without return": (
        "generators",
        f"{LAYER}\ndef forward(self, x): pass",
        "forward returned None; return its output",
    ),
    "unused conditions that are none": (
        "generators",
        f"{LAYER}\n{FORWARD}\n@classmethod\ndef unused_conditions(cls, options): pass",
        "unused_conditions returned None, expected a list of names",
    ),
    "a discriminator of tensors": (
        "discriminators",
        f"{LAYER}\n{FORWARD}",
        "forward returned a tensor (2, 3, 32, 32), expected a DiscriminatorOutput",
    ),
    "logits that are no list": (
        "discriminators",
        f"{LAYER}\ndef forward(self, x): return DiscriminatorOutput(self.layer(x))",
        "forward returned a tensor (2, 3, 32, 32) as logits, expected a list with a tensor for each scale",
    ),
    "logits of a batch": (
        "discriminators",
        f"{LAYER}\ndef forward(self, x): return DiscriminatorOutput([self.layer(x).mean()])",
        "forward returned logits a tensor (), expected (2, 1) or (2, 1, *space)",
    ),
    "class logits of a batch": (
        "discriminators",
        f"{LAYER}\ndef forward(self, x): return DiscriminatorOutput([x[:, :1, 0, 0]], self.layer(x))",
        "forward returned class_logits a tensor (2, 3, 32, 32), expected (2, 2)",
    ),
    "a loss that changes its arguments": (
        "losses",
        "def for_generator(self, source, fake): return (source.mul_(0) - fake).abs().mean()",
        "it has changed 'source' in place, which others read too; change a copy",
    ),
    "a node that changes its arguments": (
        "losses",
        "@node\ndef mine(self, source): return source.add_(1)\ndef for_generator(self, mine): return mine.mean()",
        "node 'bad/mine': it has changed 'source' in place",
    ),
    "a generator that changes its input": (
        "generators",
        f"{LAYER}\ndef forward(self, x): return self.layer(nn.functional.relu(x, inplace=True))",
        "it has changed 'x' in place",
    ),
    "an augmentation that changes its input": (
        "augmentations",
        "def __call__(self, x, rng, clock): return x.detach().add_(1)",
        "it has changed 'x' in place",
    ),
    "samples that are none": (
        "sources",
        "def samples(self, domain, selection): return ['one', 'two']",
        "samples returned a list of str, expected a list of transgan.api.Sample",
    ),
    "no samples": ("sources", "def samples(self, domain, selection): pass", "samples returned None, expected a list"),
}


@pytest.mark.parametrize("what", RETURNED)
def test_what_a_plugin_returns(transgan: Any, recipe: Path, what: str) -> None:
    kind, body, message = RETURNED[what]
    line = said(transgan, recipe, kind, text(kind, body))
    assert line.startswith(f"{KINDS[kind].singular} 'bad' of bad.py (file): {message}")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("losses", "def for_generator(self, fake): raise SystemExit"),
        ("nodes", f"{NODE}: raise SystemExit(0)\n{BACK}"),
        ("generators", f"{LAYER}\ndef forward(self, x): raise SystemExit('bye')"),
        ("sources", "def samples(self, domain, selection): raise SystemExit(3)"),
        ("losses", "def __init__(self, options): raise SystemExit(0)"),
    ],
)
def test_a_plugin_does_not_end_the_program(transgan: Any, recipe: Path, kind: str, body: str) -> None:
    """Else a run ends without a word, or with the exit code of a success."""
    line = said(transgan, recipe, kind, text(kind, body))
    assert f"{KINDS[kind].singular} 'bad' of bad.py (file)" in line and "it has called sys.exit(" in line


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "forward returned None, expected the pair (x, style)"),
        ("x", "forward returned a tensor (N, 3, 32, 32), expected the pair (x, style)"),
        ("(x, style, x)", "forward returned tuple, expected the pair (x, style)"),
        ("(x, x[:, :, 0, 0])", "forward returned as style a tensor (N, 3), expected None, since style = 0"),
        ("(x[:, :2], style)", "forward returned x as a tensor (N, 2, 32, 32), expected (N, 3, 32, 32), since channels"),
    ],
)
def test_what_a_conditioning_returns(transgan: Any, recipe: Path, returned: str, message: str) -> None:
    plugin = text("conditionings", f"def forward(self, x, style, domain): return {returned}")
    for command in ("check", "run"):
        line = said(transgan, recipe, "conditionings", plugin, (command,))
        line = re.sub(r"\([12], 3", "(N, 3", line).replace("(1, 2", "(N, 2").replace("(2, 2", "(N, 2")
        assert line.startswith(f"conditioning 'bad' of bad.py (file): {message}")


def test_a_loss_without_a_number(transgan: Any, recipe: Path) -> None:
    """The check sees no numbers of any loss."""
    plugin = text("losses", "def for_generator(self, fake): return torch.zeros((), device='meta', requires_grad=True)")
    line = said(transgan, recipe, "losses", plugin, ("run",))
    assert line.startswith(
        "loss 'bad' of bad.py (file): for_generator returned a tensor () on the meta device, expected"
    )


def test_a_loss_that_differentiates_itself_and_cannot_be_traced(transgan: Any, recipe: Path) -> None:
    body = "value = fake.mean(); value.backward(retain_graph=True); return value if value.item() else value"
    plugin = text("losses", f"def for_generator(self, fake):\n    {body}")
    line = said(transgan, recipe, "losses", plugin, ("run",))
    assert line.startswith("loss 'bad' of bad.py (file): for_generator has changed the gradients of ")


def test_what_a_network_returns_in_training_only(transgan: Any, recipe: Path) -> None:
    """`check` sees no numbers; where a plugin does otherwise with them, `run` says the same."""
    for kind, wrong in (("generators", "self.layer(x)[..., ::2]"), ("discriminators", "self.layer(x)")):
        right = "self.layer(x)" if kind == "generators" else "DiscriminatorOutput([self.layer(x)[:, :1]])"
        plugin = text(kind, f"{LAYER}\ndef forward(self, x): return {right} if x.is_meta else {wrong}")
        line = said(transgan, recipe, kind, plugin, ("run",))
        assert line.startswith(f"{KINDS[kind].singular} 'bad' of bad.py (file): forward returned a tensor ")


#: What a plugin declares: the kind, the body of its class, and what is said of it.
DECLARED = {
    "stride": ("generators", f"stride = 0\n{LAYER}\n{FORWARD}", "stride is 0, expected a whole number of at least 1"),
    "a stride of text": ("generators", f"stride = '2'\n{LAYER}\n{FORWARD}", "stride is '2', expected a whole number"),
    "free axes": ("generators", f"free_axes = -1\n{LAYER}\n{FORWARD}", "free_axes is -1, expected a whole number of"),
    "interval": ("losses", f"interval = 0\n{MEAN}", "interval is 0, expected a whole number of at least 1"),
    "an interval of the options": (
        "losses",
        f"@property\ndef interval(self): return 2.5\n{MEAN}",
        "interval is 2.5, expected a whole number of at least 1",
    ),
    "decision": ("losses", f"decision_logit = 'half'\n{MEAN}", "decision_logit is 'half', expected a number"),
    "unused inputs": ("losses", f"unused_inputs = 'fake'\n{MEAN}", "unused_inputs is 'fake', expected a list"),
    "channels": (
        "conditionings",
        "channels = -1\ndef forward(self, x, style): return x, style",
        "channels is -1, expected a whole number of at least 0",
    ),
    "direction": ("metrics", f"direction = 'lower'\n{FIGURES}", "direction is 'lower', expected a table"),
    "shown": ("nodes", "shown = 'fake'\n@node\ndef fake(self, source): return source", "shown is 'fake', expected a l"),
    "space": (
        "media",
        "space = 3\ndef decode(self, location): ...\ndef batch(self, decoded, rng, domains): ...",
        "space is 3, expected a list of whole numbers",
    ),
}


@pytest.mark.parametrize("what", DECLARED)
def test_what_a_plugin_declares(transgan: Any, recipe: Path, what: str) -> None:
    kind, body, message = DECLARED[what]
    line = said(transgan, recipe, kind, text(kind, body))
    assert line.startswith(f"{KINDS[kind].singular} 'bad' of bad.py (file): {message}")


#: Methods that cannot be called: the kind, the body of its class, and what is said of it.
METHODS = {
    "losses": (
        "losses",
        "def for_generator(): return 1",
        "for_generator() cannot be called as runs do; expected for_ge",
    ),
    "a number": ("losses", "for_generator = 3", "for_generator is 3; expected a method"),
    "networks": (
        "losses",
        f"def networks(self): return {{}}\n{MEAN}",
        "networks(self) cannot be called as runs do; expected networks(self, spec)",
    ),
    "a loss's constructor": (
        "losses",
        f"def __init__(self): pass\n{MEAN}",
        "__init__(self) cannot be called as runs do",
    ),
    "nodes": ("nodes", "@node\ndef fake(): pass", "fake() cannot be called as runs do; expected fake(self, ...)"),
    "a node named like a batch input": (
        "nodes",
        f"{NODE}: return source\n{BACK}\n@node\ndef source(self, target): return target",
        "node 'source' has the name of a batch input; rename it",
    ),
    "a loss's own node, likewise": (
        "losses",
        f"@node\ndef target(self, source): return source\n{MEAN}",
        "node 'target' has the name of a batch input; rename it",
    ),
    "a node named like what losses get": (
        "nodes",
        f"{NODE}: return source\n{BACK}\n@node\ndef buffers(self, source): return source",
        "node 'buffers' has the name of an argument of losses; rename it",
    ),
    "a node named like what metrics get": (
        "nodes",
        f"{NODE}: return source\n{BACK}\n@node\ndef samples(self, source): return source",
        "node 'samples' has the name of an argument of metrics; rename it",
    ),
    "a misspelt side beside a right one": (
        "losses",
        f"{MEAN}\ndef for_discriminators(self, fake_output): return fake_output.logits[0].mean()",
        "nothing calls 'for_discriminators'; expected for_generator or for_discriminator",
    ),
    "a misspelt side": (
        "losses",
        MEAN.replace("generator", "generators"),
        "nothing calls 'for_generators'; expected for_generator or for_discriminator",
    ),
    "a loss without self": (
        "losses",
        "def for_generator(source, fake): return fake.mean()",
        "for_generator(source, fake): 'source' would be the plugin itself; write self before it",
    ),
    "a node without self": (
        "nodes",
        f"@node\ndef fake(source): return source\n{BACK}",
        "fake(source): 'source' would be the plugin itself; write self before it",
    ),
    "a network without self": (
        "generators",
        f"{LAYER}\ndef forward(x, style=None): return x",
        "forward(x, style=None): 'x' would be the plugin itself; write self before it",
    ),
    "augmentations": ("augmentations", "pass", "it has no method __call__; define __call__(self, x, rng, clock)"),
    "an augmentation": (
        "augmentations",
        "def __call__(self, x): return x",
        "__call__(self, x) cannot be called as run",
    ),
    "conditionings": ("conditionings", "pass", "it has no method forward; define forward(self, x, style)"),
    "a conditioning": (
        "conditionings",
        "def forward(self, x): return x",
        "forward(self, x) cannot be called as runs do; expected forward(self, x, style, ...)",
    ),
    "generators": ("generators", LAYER, "it has no method forward; define forward(self, x)"),
    "forward": (
        "generators",
        f"{LAYER}\ndef forward(self): pass",
        "forward(self) cannot be called as runs do; expected",
    ),
    "too few": (
        "generators",
        "def __init__(self, options): pass\n" + FORWARD,
        "__init__(self, options) cannot be called as runs do; expected __init__(self, options, spec)",
    ),
    "too many": (
        "generators",
        f"def __init__(self, options, spec, more): pass\n{FORWARD}",
        "__init__(self, options, spec, more) cannot be called as runs do",
    ),
    "data": (
        "generators",
        f"{LAYER}\n{FORWARD}\ndef init_from_data(self): pass",
        "init_from_data(self) cannot be called",
    ),
    "steps": (
        "generators",
        f"{LAYER}\n{FORWARD}\ndef after_step(self, n): pass",
        "after_step(self, n) cannot be called",
    ),
    "no class method": (
        "generators",
        f"{LAYER}\n{FORWARD}\ndef unused_conditions(self, options): return []",
        "unused_conditions is no class method; write @classmethod above it",
    ),
    "discriminators": ("discriminators", "pass", "it has no method forward; define forward(self, x)"),
    "metrics": ("metrics", FIGURES.replace("update", "updated"), "it has no method update; define update(self)"),
    "figures": ("metrics", FIGURES.replace("compute", "figures"), "it has no method compute; define compute(self)"),
    "a metric": (
        "metrics",
        f"{FIGURES}\ndef prepare(self): pass",
        "prepare(self) cannot be called as runs do; expected prepare(self, domains, tasks, seed)",
    ),
    "sources": ("sources", "pass", "it has no method samples; define samples(self, domain, selection)"),
    "media": ("media", "pass", "it has no method decode; define decode(self, location)"),
    "hooks": (
        "hooks",
        "def step_finished(self): pass",
        "step_finished(self) cannot be called as runs do; expected step_finished(self, run)",
    ),
}


@pytest.mark.parametrize("what", METHODS)
def test_methods_that_cannot_be_called(transgan: Any, recipe: Path, what: str) -> None:
    kind, body, message = METHODS[what]
    line = said(transgan, recipe, kind, text(kind, body))
    assert f"{KINDS[kind].singular} 'bad' of bad.py (file): {message}" in line


def test_layers_that_torch_does_not_find(transgan: Any, recipe: Path) -> None:
    """Of the kind: layers and parameters in lists and tables, nested ones too; those that are not trained may be."""
    for hidden, form in (
        ("[nn.Conv2d(3, 3, 1)]", "nn.ModuleList"),
        ("{'a': [nn.Conv2d(3, 3, 1)]}", "nn.ModuleDict"),
        ("[nn.Parameter(torch.zeros(3))]", "nn.ParameterList"),
    ):
        line = said(transgan, recipe, "generators", text("generators", f"{LAYER}\n    self.own = {hidden}\n{FORWARD}"))
        assert "'bad': its attribute 'own' holds layers where torch does not find them; they would be n" in line
        assert line.endswith(f"use {form}")
    for known in ("[nn.Conv2d(3, 3, 1).requires_grad_(False)]", "[self.layer]"):
        Path("good.py").write_text(text("generators", f"{LAYER}\n    self.own = {known}\n{FORWARD}"))
        assert transgan("check", recipe, "--plugin", "good.py", "--set", CLASSES["generators"][1]).code == 0


def test_samples_that_a_source_makes_wrongly_are_named_by_their_keys(transgan: Any, recipe: Path) -> None:
    made = "lambda size: torch.zeros(size, size, 3, dtype=torch.float64).numpy()"
    plugin = text(
        "sources", f"def samples(self, domain, selection): return [Sample(f's{{i}}', {made}) for i in range(9)]"
    )
    Path("bad.py").write_text(plugin)
    line = transgan("check", recipe, "--plugin", "bad.py", "--set", CLASSES["sources"][1]).error(3)
    assert ": sample 's1' of source 'bad' of bad.py (file) returns float64, (32, 32, 3); expected uint8" in line
    assert " at 0x" not in line


def test_a_condition_that_nothing_takes_may_be_of_a_node_of_a_loss(transgan: Any, recipe: Path) -> None:
    body = "@node\ndef mine(self, source): return Call('generator', source, {'hats': 3})\n"
    line = said(transgan, recipe, "losses", text("losses", f"{body}def for_generator(self, mine): return mine.mean()"))
    assert "'translation' or loss 'bad' gives [generators.face] the condition 'hats', which nothing in it takes" in line


def test_a_style_vector_that_nothing_returns(transgan: Any, recipe: Path) -> None:
    plugin = text("generators", f"{LAYER}\ndef forward(self, x, style): return self.layer(x)")
    line = said(transgan, recipe, "generators", plugin)
    assert "'bad' needs a style vector, which no conditioning of it returns; give it one, such as an" in line


@pytest.mark.parametrize(("factor", "warns"), [("50 * self.layer(x)", True), ("torch.tanh(50 * self.layer(x))", False)])
def test_a_generator_far_out_of_the_range_of_samples(transgan: Any, recipe: Path, factor: str, warns: bool) -> None:
    Path("bad.py").write_text(text("generators", f"{LAYER}\ndef forward(self, x): return {factor}"))
    settings = ("--plugin", "bad.py", "--set", CLASSES["generators"][1])
    assert transgan("run", recipe, "-q", "--out", "run", *settings).code == 0
    said = re.findall(
        r"generator 'bad' \(network 'face'\) returns -?\d.* to \d.*\[-1, 1\]", Path("run/log.txt").read_text()
    )
    assert len(said) == warns


@pytest.mark.parametrize("first", ["self", "_"])
def test_methods_whose_first_argument_is_themselves(transgan: Any, recipe: Path, first: str) -> None:
    Path("good.py").write_text(text("losses", MEAN.replace("self", first)))
    assert transgan("check", recipe, "--plugin", "good.py", "--set", "losses.bad=1.0").code == 0


def test_a_plugin_that_nothing_uses_may_be_wrong(transgan: Any, recipe: Path) -> None:
    Path("bad.py").write_text(text("losses", "def for_generator(): return 1"))
    assert transgan("check", recipe, "--plugin", "bad.py").code == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("register)", "r)", "found register_losses(r), expected register_losses(register): hooks get their arguments"),
        ("register)", "register, more)", "found register_losses(register, more), expected register_losses(register)"),
        ("'bad', Bad", "Bad", "register_losses calls register(<class"),
        ("'bad', Bad", "Bad, 'bad'", "found type, expected a name: register(name, cls)"),
        (
            "class Bad",
            "class O(Options):\n    power = 1.0\n\n\nclass Bad",
            "options cannot be declared so: A non-annotat",
        ),
        (
            "class Bad",
            "class O(Options):\n    power: nn.Module\n\n\nclass Bad",
            "options cannot be declared so: Unable",
        ),
        ('    """A', '    Options = None\n    """A', "the options of loss 'bad', None, are no subclass of"),
        (
            "class Bad(Loss)",
            "from dataclasses import dataclass\n@dataclass\nclass O:\n    a: float = 1.0\nclass Bad(Loss[O])",
            "the options of loss 'bad', O, are no subclass of transgan.api.Options: class NAME(Options), then Loss[",
        ),
        (
            "class Bad(Loss)",
            "from pydantic import BaseModel\nclass O(BaseModel):\n    a: float = 1.0\nclass Bad(Loss[O])",
            "the options of loss 'bad', O, are no subclass of transgan.api.Options",
        ),
    ],
    ids=["hook", "more", "one", "order", "type", "module", "none", "dataclass", "model"],
)
def test_mistakes_that_keep_a_file_from_loading(transgan: Any, recipe: Path, old: str, new: str, message: str) -> None:
    plugin = text("losses", MEAN)
    assert old in plugin
    line = said(transgan, recipe, "losses", plugin.replace(old, new, 1))
    assert line.startswith("--plugin bad.py: ") and message in line
    assert "pydantic.dev" not in line and "<locals>" not in line


def test_a_default_of_the_wrong_type(transgan: Any, recipe: Path) -> None:
    plugin = text("losses", MEAN).replace("(Loss)", "(Loss[O])")
    plugin = plugin.replace("class Bad", "class O(Options):\n    power: int = 'two'\n\n\nclass Bad")
    line = said(transgan, recipe, "losses", plugin)
    assert "loss 'bad' of bad.py (file): the default of option 'power' is 'two', expected a whole number" in line


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("Any = print", "option value: found builtin_function_or_method; expected a number, a text"),
        ("int = 2**70", "option value: found a number of more than 64 bits"),
        ("bytes = b'x'", "option value: found bytes; expected a number, a text"),
        ("list[Any] = [object()]", "option value.0: found object; expected a number, a text"),
    ],
)
def test_a_default_that_no_recipe_can_have(transgan: Any, recipe: Path, declared: str, message: str) -> None:
    plugin = text("losses", MEAN).replace("(Loss)", "(Loss[O])")
    plugin = "from typing import Any\n" + plugin.replace(
        "class Bad", f"class O(Options):\n    value: {declared}\n\n\nclass Bad"
    )
    line = said(transgan, recipe, "losses", plugin)
    assert f"loss 'bad' of bad.py (file): the default of {message}" in line


@pytest.mark.parametrize("figures", ["None", "{'one': 1.0}", "{self.translation: 1.0}"])
def test_figures_that_are_no_table_are_the_metric_s(transgan: Any, recipe: Path, figures: str) -> None:
    Path("bad.py").write_text(text("metrics", FIGURES.replace("{self.translation: {'one': 1.0}}", figures)))
    done = transgan("run", recipe, "--out", "run", "-q", "--plugin", "bad.py", "--set", "metrics.bad={}")
    assert done.code == 0, done.err
    warnings = " ".join(json.loads(Path("run/result.json").read_text())["warnings"])
    assert "metric 'bad' of bad.py (file): compute returned no table of figures by translation" in warnings


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'one': 1.0", "'one': 'high'", "compute returned str as the figure 'one' of age: "),
        ("'one': 1.0", "'one': None", "compute returned None as the figure 'one' of age: "),
        ("{self.translation:", "{type(self.translation)('age', 'old', 'nobody'):", "of age: old -> nobody, which this"),
        (
            "def reset",
            "def warnings(self): return 'few samples'\ndef reset",
            "warnings returned 'few samples'; return a",
        ),
        ("def reset", "def warnings(self): return [3]\ndef reset", "warnings returned [3]; return a list of texts"),
    ],
)
def test_what_a_metric_returns_wrongly_is_omitted(
    transgan: Any, recipe: Path, old: str, new: str, message: str
) -> None:
    Path("bad.py").write_text(text("metrics", FIGURES.replace(old, new)))
    done = transgan("run", recipe, "--out", "run", "-q", "--plugin", "bad.py", "--set", "metrics.bad={}")
    assert done.code == 0, done.err
    result = json.loads(Path("run/result.json").read_text())
    (warning,) = [each for each in result["warnings"] if "'bad'" in each]
    assert "metric 'bad' of bad.py (file): " in warning and message in warning
    assert not any("one" in figures for figures in result["translations"].values())


def test_a_lazy_module_is_named_by_its_kind_and_its_network(transgan: Any, recipe: Path) -> None:
    body = f"def networks(self, spec): return {{'own': nn.LazyLinear(3)}}\n{MEAN}"
    line = said(transgan, recipe, "losses", text("losses", body))
    assert "network 'bad/own' of 'bad': its LazyLinear is a lazy module that no phase uses" in line


def test_translating_names_the_plugin(transgan: Any, recipe: Path, write_image: Any) -> None:
    Path("bad.py").write_text(text("generators", f"{LAYER}\n{FORWARD}"))
    setting = CLASSES["generators"][1]
    assert transgan("run", recipe, "--out", "run", "-q", "--plugin", "bad.py", "--set", setting).code == 0
    Path("bad.py").write_text(text("generators", f"{LAYER}\n{FORWARD}[..., ::2]"))
    picture = write_image(Path("in/a.png"))
    done = transgan("translate", "run", picture, "--to", "old", "-o", "out", "--plugin", "bad.py")
    assert done.code == 2
    assert f"error: {picture}: generator 'bad' of bad.py (file): forward returned a tensor " in done.err
    assert "bug" not in done.err


def test_a_node_may_return_none_where_it_says_so(transgan: Any, recipe: Path) -> None:
    body = "@node\ndef mine(self, source) -> Tensor | None: return None\n"
    Path("bad.py").write_text(text("losses", body + "def for_generator(self, fake, mine): return fake.mean()"))
    assert transgan("check", recipe, "--plugin", "bad.py", "--set", CLASSES["losses"][1]).code == 0
