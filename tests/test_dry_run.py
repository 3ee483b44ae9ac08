"""The dry run: traces of phases on the meta device, and errors that it finds before the first step."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transgan_images.media import ImageMedia

from transgan.api import Generator, NetworkSpec, Options, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.dry_run import describe, predict_memory
from transgan.errors import RecipeError, TransganError
from transgan.networks import Networks
from transgan.training.engine import Engine
from transgan.training.live import LiveTensors
from transgan.training.trace import trace_phases

RECIPE = """
[tasks]
years = { between = ["young", "old"] }
[attributes]
age = { from = 15, to = 65 }
race = { values = ["White", "Black"] }
[train]
steps = 10
[conditionings]
age = { use = "channel", of = "age" }
race = { use = "channel", of = "race" }
[generators]
g = { use = "resnet", width = 4, blocks = 1, norm_first = false }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["age"], width = 2, layers = 1 }
[losses]
lsgan = 1.0
cycle = 1.0
"""


def test_phases_are_traced_with_their_passes_and_losses(planned: Any) -> None:
    plan = planned(RECIPE)
    shared, generator, discriminator = trace_phases(plan, plan.stages[0])
    assert (shared.side, generator.side, discriminator.side) == ("nodes", "generator", "discriminator")
    assert (shared.losses, generator.losses, discriminator.losses) == ([], ["lsgan", "cycle"], ["lsgan"])
    there, back = "years: young -> old", "years: old -> young"
    assert [(each.network, each.nodes, each.samples) for each in shared.passes] == [
        ("g", (f"{there}: fake", f"{back}: fake"), 2),
        ("g", (f"{there}: reconstruction", f"{back}: reconstruction"), 2),
    ]
    assert [each.network for each in (*generator.passes, *discriminator.passes)] == ["d", "d"]
    assert generator.peak > max(shared.peak, discriminator.peak)  # it goes back through the nodes


def test_what_a_step_needs_grows_by_the_same_for_each_sample(planned: Any) -> None:
    one, two, four = (predict_memory(planned(RECIPE, overrides=[f"train.batch={batch}"])) for batch in (1, 2, 4))
    assert one["state"] == two["state"] == four["state"]
    grown = two["activations"] - one["activations"]
    assert grown > 0.3 * two["activations"]
    assert four["activations"] - two["activations"] == pytest.approx(2 * grown, rel=0.01)


def test_a_step_with_one_task_needs_less_than_one_with_both(planned: Any) -> None:
    two = RECIPE.replace("[attributes]", 'race = { between = ["white", "black"] }\n[attributes]')
    plans = planned(RECIPE), planned(two), planned(two, overrides=["train.balance={years=1, race=3}"])
    alone, both, either = (predict_memory(plan)["activations"] for plan in plans)
    assert either == pytest.approx(alone, rel=0.05)  # the tasks are alike
    assert both > 1.5 * either


def test_weights_are_counted_with_two_moments_and_pools_once_full(planned: Any) -> None:
    plan = planned(RECIPE, overrides=["discriminators.d.history=7"])
    weights = sum(p.nbytes for network in Networks(plan, "meta").values() for p in network.parameters())
    media = plan.media["young"].at(plan.stages[0].size)
    pools = 2 * 7 * 4 * media.channels * media.space[0] * media.space[1]
    average = (
        sum(p.nbytes for p in Networks(plan, "meta")["g"].parameters()) if plan.recipe.train.ema.ever_nonzero else 0
    )
    assert predict_memory(plan)["state"] == 3 * weights + average + pools


@pytest.mark.parametrize(
    "generator",
    ['{ use = "resnet", width = 16, blocks = 2 }', '{ use = "unet", width = 32, downs = 3, norm = "instance" }'],
)
@pytest.mark.parametrize("train", ["", 'precision = "bf16"', 'precision = "bf16"\ncheckpointing = ["g"]'])
def test_what_tensors_take_is_what_a_step_takes(planned: Any, generator: str, train: str) -> None:
    """Compared with a step on the CPU: in 16 bits weights have copies, and gradients stay in fp32."""
    text = RECIPE.replace("steps = 10", f'steps = 2\nmerge = "always"\n{train}')
    text = text.replace('{ use = "resnet", width = 4, blocks = 1, norm_first = false }', generator)
    plan = planned(text)
    engine, batches = Engine(plan), Batches(plan, Domains(plan))
    steps = engine.train(batches)
    next(steps)
    weights = [x for network in engine.networks.values() for x in (*network.parameters(), *network.buffers())]
    with LiveTensors() as live:
        live.hold([*weights, *(x.grad for x in weights if x.grad is not None)])
        live.peak = live.now
        next(steps)
    taken = live.peak - sum(x.nbytes for x in weights)
    assert predict_memory(plan)["activations"] == pytest.approx(taken, rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in fp16 as fast as in bf16")
def test_fp16_on_a_cpu_is_warned_of(planned: Any) -> None:
    lines = {
        precision: list(describe(planned(RECIPE, overrides=[f'train.precision="{precision}"'])))
        for precision in ("fp16", "bf16", "fp32")
    }
    warned = {precision for precision, each in lines.items() if any("slow on a CPU" in line for line in each)}
    assert warned == {"fp16"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read as Linux gives it")
def test_memory_is_predicted_within_15_percent() -> None:
    script = Path(__file__).parents[1] / "benchmarks/memory.py"
    settings = ["data.default.count=60", "train.batch=8", "discriminators.face.history=4"]  # full after four steps
    done = subprocess.run(
        [sys.executable, script, "conditional_face", *settings],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    found = re.search(r"ratio (\d\.\d+)", done.stdout)
    assert found, done.stderr
    assert 0.85 < float(found[1]) < 1.15, done.stdout


class Noted(Generator):
    """A generator with a note of its own, and a part with another."""

    note = "it is untrained"

    def __init__(self, options: Options, spec: NetworkSpec, parts: bool = True):
        super().__init__(options, spec)
        self.conv = nn.Conv2d(spec.inputs, spec.channels, 1)
        if parts:
            self.part = Noted(options, spec, parts=False)
            self.part.note = "so is its part"

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class WithNotes:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("noted", Noted)


def test_what_networks_say_of_themselves_is_written_below_them(planned: Any) -> None:
    recipe = "train = { steps = 10 }\ngenerators = { g = 'noted' }\nlosses = { cycle = 1.0 }\n"
    lines = list(describe(planned(recipe, WithNotes())))
    at = next(i for i, line in enumerate(lines) if line.startswith("  g: noted, "))
    assert lines[at + 1 : at + 3] == ["    note: it is untrained", "    note: so is its part"]
    assert sum("note: " in line for line in lines) == 2


def test_a_condition_that_a_network_does_not_get_is_an_error(planned: Any) -> None:
    plan = planned(RECIPE, overrides=('conditionings.age.of="aeg"',))
    message = r"of = 'aeg', but this network gets no such condition; it gets age, domain, race, task \(while running"
    with pytest.raises(RecipeError, match=message):
        trace_phases(plan, plan.stages[0])


SMALL = """
[tasks]
age = { between = ["young", "old"] }
[train]
steps = 2
[generators.resnet]
width = 4
blocks = 1
[discriminators.patch]
width = 4
layers = 1
[losses]
lsgan = 1.0
cycle = 1.0
"""


@pytest.mark.parametrize("fits", [False, True])
@pytest.mark.parametrize("step", ["decode", "batch", "preview", "read", "to_model", "from_model", "write"])
def test_every_step_of_a_sample_through_its_media_is_tried(
    step: str, fits: bool, tmp_path: Path, planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind: a run that fails long after its start, at its first preview or when its model is used.

    Media that need statistics of the domain, as those for voices, are tried with the statistics of one sample.
    """
    if fits:
        monkeypatch.setattr(ImageMedia, "fit_statistics", lambda self, decoded: {"n": torch.tensor(len(list(decoded)))})
    for i, name in enumerate(("young", "old") * 4):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 9 * i, np.uint8)).save(tmp_path / name / f"{i}.png")
    recipe = f'[data]\nsource = "folders"\nroot = "{tmp_path}"\nsize = 16\n[domains]\nyoung = "young"\nold = "old"\n'
    plan = planned(recipe + SMALL)
    assert list(describe(plan))[-1] == "It will run."

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError(f"{step} is broken")

    monkeypatch.setattr(ImageMedia, step, fail)
    with pytest.raises((RuntimeError, TransganError), match=f"{step} is broken"):
        list(describe(plan))


class Tinted(Generator):
    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.conv = nn.Conv2d(spec.inputs, spec.channels, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y: Tensor = self.conv(x) + code
        return y


class TintedPlugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("tinted", Tinted)


def test_a_condition_that_a_network_needs_and_no_node_gives_is_an_error(planned: Any) -> None:
    plan = planned(SMALL.replace("[generators.resnet]\nwidth = 4\nblocks = 1", "[generators.tinted]"), TintedPlugin())
    with pytest.raises(
        RecipeError, match=r"needs the condition 'code', which its nodes do not give it here .*'tinted'"
    ):
        trace_phases(plan, plan.stages[0])


def test_what_optimizers_and_stages_do_with_networks_is_said(planned: Any) -> None:
    more = """
[optimizers.slow]
networks = ["resnet"]
lr = 1e-6
[[stages]]
share = 0.5
[[stages]]
share = 0.5
freeze = ["patch*"]
"""
    lines = list(describe(planned(SMALL + more)))
    assert any(line.startswith("  resnet: ") and "generator phase by [optimizers.slow]" in line for line in lines)
    assert any(line.startswith("stage 2: ") and line.endswith("batch 1, patch* frozen") for line in lines)
