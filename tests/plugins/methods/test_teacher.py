"""A frozen teacher from a local file, followed under the guidance of an energy, as in EGSDE (Zhao et al., 2022).

The plugin below is what a user would write: an encoder with the weights of a file, and nodes that follow its velocity
together with the gradient of an energy; a student learns to reach the same in one pass.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_standard.nodes import Passes, TranslationNodes

from transgan.api import Call, Clock, Encoder, Loss, NetworkSpec, Nodes, Options, hookimpl, node
from transgan.training import Engine


class TeacherOptions(Options):
    weights: str | None = None


class Teacher(Encoder[TeacherOptions]):
    """A velocity of colours, `forward(x, time)`, trained elsewhere."""

    def __init__(self, options: TeacherOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layers = nn.Sequential(nn.Conv2d(spec.channels + 1, 16, 1), nn.SiLU(), nn.Conv2d(16, spec.channels, 1))
        if options.weights and not self.layers[0].weight.is_meta:  # where shapes are traced there are no numbers
            self.load_state_dict(safetensors.torch.load_file(options.weights))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        plane = time.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:]).to(x)
        y: Tensor = self.layers(torch.cat([x, plane], 1))
        return y


class GuidedOptions(Options):
    passes: int = 4
    guidance: float = 0.0


class GuidedNodes(TranslationNodes, Nodes[GuidedOptions]):
    options: GuidedOptions

    @node
    def guided(self, source: Tensor) -> Passes:
        """Follow the teacher's velocity less the gradient of the energy, (N, C, *space)."""
        x, count = source, self.options.passes
        for i in range(count):
            time = torch.full((len(x),), i / count, device=x.device)
            velocity = yield Call("teacher", x, {"time": time}, frozen=True)
            x = (x + (velocity - self.options.guidance * gradient(x, source)) / count).detach()
        return x


def gradient(x: Tensor, source: Tensor) -> Tensor:
    """Return the gradient of half the squared distance of the coarse parts of x and of its source, as EGSDE's."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        energy = 0.5 * (F.avg_pool2d(x, 2) - F.avg_pool2d(source, 2)).square().sum() * 4
        (found,) = torch.autograd.grad(energy, x)
    return found


class Follow(Loss):
    def for_generator(self, fake: Tensor, guided: Tensor) -> Tensor:
        return (fake - guided).abs().mean()


class Plugin:
    @hookimpl
    def register_encoders(self, register: Any) -> None:
        register("colour_teacher", Teacher)

    @hookimpl
    def register_nodes(self, register: Any) -> None:
        register("guided", GuidedNodes)

    @hookimpl
    def register_losses(self, register: Any) -> None:
        register("follow", Follow)


RECIPE = """
train = { steps = 40, batch = 4 }
[optimizers]
generator.lr = 1e-2
[tasks.age]
from = "young"
to = "old"
[nodes]
use = "guided"
[encoders.teacher]
use = "colour_teacher"
[generators.pointwise]
width = 32
output = "linear"
[losses]
follow = 1.0
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small flow: it was taught that everything becomes 0.3 brighter, and saved."""
    torch.manual_seed(0)
    spec = NetworkSpec(3, 3, 0, (16, 16), ("a", "b"), ("t",))
    teacher = Teacher(TeacherOptions(), spec).requires_grad_(True)
    optimizer = torch.optim.Adam(teacher.parameters(), 1e-2)
    for _ in range(300):
        loss = (teacher(2 * torch.rand(8, 3, 4, 4) - 1, torch.rand(8)) - 0.3).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1e-4
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    safetensors.torch.save_file(teacher.state_dict(), path)
    return path


def test_a_student_learns_what_the_frozen_teacher_does(
    planned: Any, weights: Path, random_samples: Any, micro_batches: Any
) -> None:
    plan = planned(RECIPE, Plugin(), (f'encoders.teacher.weights="{weights}"', "train.precision='fp32'"))
    engine = Engine(plan)
    before = {name: value.clone() for name, value in engine.networks["teacher"].state_dict().items()}

    def error(step: int) -> float:
        x = random_samples(plan, 1000)["age", "young"].float()
        return float((engine.networks["pointwise"](x) - (x + 0.3)).detach().abs().mean())

    first = error(0)
    for step in range(40):
        samples = {key: value.float() for key, value in random_samples(plan, step).items()}
        clock = Clock(step=step, run=step / 40)
        engine.train_step(micro_batches(plan, samples, 1, clock), clock)
    assert error(40) < 0.2 * first
    after = engine.networks["teacher"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_the_energy_holds_the_translation_back(guidance: float) -> None:
    """From s along c - k (x - s) the way ends at s + c (1 - exp(-k)) / k; with 400 steps to a thousandth."""
    nodes = GuidedNodes(GuidedOptions(passes=400, guidance=guidance))
    source = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 4, 4)
    calls, result = nodes.guided(source), None
    try:
        while True:
            calls.send(result)
            result = torch.full_like(source, 0.3)
    except StopIteration as stop:
        share = 1.0 if guidance == 0 else (1 - math.exp(-guidance)) / guidance
        torch.testing.assert_close(stop.value, source + 0.3 * share, atol=1e-3, rtol=0)
