"""Code that needs numbers cannot be traced before a run: `check` and `run` say so, and the first step says the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

HEAD = "import numpy as np\nimport torch\nfrom torch import nn\nfrom transgan.api import *\n"
LOSS = """
class Own(Loss):
    \"\"\"A loss.\"\"\"
    def for_generator(self, source, fake):
        {}
@hookimpl
def register_losses(register): register("own", Own)
"""
GENERATOR = """
class Own(Generator):
    \"\"\"A generator.\"\"\"
    def __init__(self, options, spec):
        super().__init__(options, spec)
        self.layer = nn.Conv2d(spec.inputs, spec.channels, 1)
    def forward(self, x):
        return {}
@hookimpl
def register_generators(register): register("own", Own)
"""
OF_LOSS = ["--set", "losses.own=1.0"]
OF_GENERATOR = ["--set", "generators.face={use='own'}"]
NOTHING = "loss 'own': trains nothing: its value depends on nothing that its phases train"

#: Code that runs and that no trace can follow: the file, the options, and what the first step says of it.
UNTRACED = {
    "item": (
        LOSS.format("d = (fake - source).abs().mean(); return d * 2 if d.item() > 1 else d"),
        OF_LOSS,
        [],
    ),
    "if": (LOSS.format("d = (fake - source).abs().mean(); return d * 2 if d > 1 else d"), OF_LOSS, []),
    "a tensor of the CPU": (LOSS.format("return (fake * torch.ones(3, 1, 1)).mean()"), OF_LOSS, []),
    "item without a gradient": (
        LOSS.format("d = fake.detach().mean(); return d * 2 if d.item() > 1 else d"),
        OF_LOSS,
        [NOTHING],
    ),
    "a leaf": (LOSS.format("return torch.tensor(1.0, requires_grad=True)"), OF_LOSS, [NOTHING]),
    "a generator by NumPy": (
        GENERATOR.format("torch.from_numpy(np.tanh(self.layer(x).detach().numpy()))"),
        OF_GENERATOR,
        [NOTHING.replace("own", "cycle"), "network 'face': not trained: no gradient of the generator phase has reac"],
    ),
}


@pytest.mark.parametrize("what", UNTRACED)
def test_what_cannot_be_traced_is_a_warning(transgan: Any, recipe: Path, what: str) -> None:
    text, options, expected = UNTRACED[what]
    Path("own.py").write_text(HEAD + text)
    checked = transgan("check", recipe, "--plugin", "own.py", *options)
    assert checked.code == 0 and checked.out.endswith("It may run: its first step will show.\n")
    [line] = [each for each in checked.out.splitlines() if "cannot be traced on the meta device" in each]
    assert "'own'" in line or "lsgan, cycle, own" in line  # of an error in the backward pass only the losses are known
    found = json.loads(transgan("check", recipe, "--plugin", "own.py", *options, "--json").out)
    assert found["memory"]["needed"] is None and line.removeprefix("warning: ") in found["warnings"]

    done = transgan("run", recipe, "--out", "run", "--plugin", "own.py", *options, "--set", "train.steps=2")
    assert done.code == 0
    log = Path("run/log.txt").read_text()
    said = [each.partition("warning: ")[2] for each in log.splitlines() if "warning: " in each]
    assert line.removeprefix("warning: ") in said
    untrained = [each for each in said if each.startswith("step 1: ") and " train" in each]
    assert len(untrained) == len(expected)
    for each, words in zip(untrained, expected, strict=True):
        assert words in each


def test_code_that_is_wrong_on_any_device_is_an_error_of_both(transgan: Any, recipe: Path) -> None:
    """With the class of the exception, and a file that shows the line."""
    Path("own.py").write_text(HEAD + LOSS.format("return {}['a']"))
    said = []
    for command in ("check", "run"):
        error = transgan(command, recipe, *(["-q"] if command == "run" else []), "--plugin", "own.py", *OF_LOSS).error(
            2
        )
        line, _, log = error.partition("; ")
        said.append(line)
        assert "own.py" in Path(log.removesuffix(" shows where")).read_text()
    assert said[0] == said[1]
    assert said[0].startswith("loss 'own' of own.py (file) failed while evaluating loss 'own' for ")
    assert said[0].endswith("KeyError: 'a'")


def test_a_stage_is_named_with_an_error_of_its_own(transgan: Any, recipe: Path) -> None:
    text = LOSS.format("return fake.mean() if fake.shape[-1] < 32 else [][1]")
    Path("own.py").write_text(HEAD + text)
    stages = "stages=[{share=0.5, size=16}, {share=0.5}]"
    error = transgan("check", recipe, "--plugin", "own.py", *OF_LOSS, "--set", stages).error(2)
    assert ", tracing stage 2, the generator phase: IndexError: list index out of range" in error
