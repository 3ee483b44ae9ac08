"""A plain CycleGAN beside the framework's: the same layers, weights and batches, step by step in one process.

    python benchmarks/plain_cyclegan.py                                  # 64x64, batch 8, nine blocks, fp32 and bf16
    python benchmarks/plain_cyclegan.py --width 16 --blocks 2 --batch 2  # small, to try it out

The plain loop is what one writes by hand with PyTorch: networks of `torch.nn` layers, Adam and an image pool.
It has the reference's settings (Zhu et al., 2017): residual generators, 70x70 PatchGANs, least squares, cycle 10,
identity 5, a history of 50 images, Adam with 2e-4 and (0.5, 0.999). In bf16 it uses `torch.autocast`.

First both train ten steps in float64, from the same weights on the same batches: the weights must agree within 1e-9.
In fp32 they would not, and neither would two plain loops that add in another order: where a gradient is nothing but
rounding, Adam makes steps of full length either way.
Then steps are measured in turns, plain and framework, framework and plain, so that all meet what else the machine does.
Printed are medians with the least and the greatest, and the ratios of the pairs of each round to the plain fp32 step.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transgan.bench.cases import make_plan_with_noise
from transgan.bench.peak import wait
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import TransganError
from transgan.recipe import parse_recipe
from transgan.rng import stable_hash
from transgan.training import Engine
from transgan.training.distributed import Processes
from transgan.tree import map_tensors

RECIPE = """
data = {{ source = "noise", size = {size}, held_out = 0.0 }}
domains = {{ this = "this", that = "that" }}
tasks = {{ there = {{ between = ["this", "that"] }} }}
train = {{ steps = 100000, batch = {batch}, precision = "{precision}" }}
optimizers.generator = {{ lr = 2e-4, betas = [0.5, 0.999] }}
optimizers.discriminator = {{ lr = 2e-4, betas = [0.5, 0.999] }}
generators = {{ g = {{ use = "resnet", per = "translation", width = {width}, blocks = {blocks} }} }}
discriminators = {{ d = {{ use = "patch", per = "domain", width = {width}, history = 50 }} }}
losses = {{ lsgan = 1.0, cycle = 10.0, identity = 5.0 }}
"""
#: Steps that are compared, and how near the weights must be.
COMPARED, TOLERANCE = 10, 1e-9


class Residual(nn.Module):
    """Two convolutions, whose output is added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.layers(x)
        return changed


def generator(width: int, blocks: int) -> nn.Module:
    """Return the residual generator."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for channels in (width, 2 * width):
        layers += [nn.Conv2d(channels, 2 * channels, 3, 2, 1), nn.InstanceNorm2d(2 * channels), nn.ReLU()]
    layers += [Residual(4 * width) for _ in range(blocks)]
    for channels in (4 * width, 2 * width):
        layers += [nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, 1), nn.InstanceNorm2d(channels // 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


def discriminator(width: int) -> nn.Module:
    """Return the 70x70 PatchGAN."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for number, stride in enumerate((2, 2, 1)):
        channels = width * 2**number
        layers += [
            nn.Conv2d(channels, 2 * channels, 4, stride, 1),
            nn.InstanceNorm2d(2 * channels),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


class Pool:
    """Earlier images, half of which are given back in place of new ones (Shrivastava et al., 2017)."""

    def __init__(self, name: str, size: int = 50):
        self.name, self.size, self.seen = name, size, 0
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        returned = []
        for image in images.detach():
            bits = stable_hash(0, "history", self.name, self.seen)  # the framework's draws, for the same results
            self.seen += 1
            if len(self.images) < self.size:
                self.images.append(image)
            elif bits & 1:
                at = (bits >> 1) % self.size
                image, self.images[at] = self.images[at], image
            returned.append(image)
        return torch.stack(returned)


class Plain:
    """The plain loop: `step` trains all four networks once."""

    def __init__(self, width: int, blocks: int, device: torch.device, bf16: bool, channels_last: bool = False):
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.g = [generator(width, blocks).to(device).to(memory_format=self.format) for _ in range(2)]
        self.d = [discriminator(width).to(device).to(memory_format=self.format) for _ in range(2)]
        self.pools = [Pool("there: this -> that|d"), Pool("there: that -> this|d")]
        self.of_g = torch.optim.Adam(chain(*(each.parameters() for each in self.g)), 2e-4, (0.5, 0.999))
        self.of_d = torch.optim.Adam(chain(*(each.parameters() for each in self.d)), 2e-4, (0.5, 0.999))
        self.device, self.bf16 = device, bf16

    @property
    def cast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def step(self, this: Tensor, that: Tensor) -> None:
        """Train on a batch of each domain, (N, 3, H, W)."""
        this, that = (each.contiguous(memory_format=self.format) for each in (this, that))
        (to_that, to_this), (of_that, of_this) = self.g, self.d

        def square(logits: Tensor, target: float) -> Tensor:
            logits = logits.float() if self.bf16 else logits
            return F.mse_loss(logits, torch.full_like(logits, target))

        for each in self.d:
            each.requires_grad_(False)
        with self.cast:
            fake_that, fake_this = to_that(this), to_this(that)
            loss = square(of_that(fake_that), 1) + square(of_this(fake_this), 1)
            loss = loss + 10 * (F.l1_loss(to_this(fake_that), this) + F.l1_loss(to_that(fake_this), that))
            loss = loss + 5 * (F.l1_loss(to_that(that), that) + F.l1_loss(to_this(this), this))
        self.of_g.zero_grad()
        loss.backward()
        self.of_g.step()
        for each in self.d:
            each.requires_grad_(True)
        old_that, old_this = self.pools[0].exchange(fake_that), self.pools[1].exchange(fake_this)
        with self.cast:
            loss = square(of_that(that), 1) + square(of_that(old_that), 0)
            loss = loss + square(of_this(this), 1) + square(of_this(old_this), 0)
        self.of_d.zero_grad()
        (0.5 * loss).backward()
        self.of_d.step()


class Ours:
    """The framework's step."""

    def __init__(self, given: argparse.Namespace, precision: str, processes: Processes):
        text = RECIPE.format(**{**vars(given), "precision": precision})
        plan = make_plan_with_noise(parse_recipe(text, "plain_cyclegan", given.overrides))
        self.engine = Engine(plan, processes)
        self.batches = Batches(plan, Domains(plan), device=processes.device)
        self.plan, self.done = plan, 0
        self.names = ("g.this-that", "g.that-this", "d.that", "d.this")

    def networks(self) -> Iterator[nn.Module]:
        """Yield the generators, then the discriminators, in the order of the plain loop's."""
        return (self.engine.networks[name] for name in self.names)

    def batch(self) -> tuple[list[Any], Any]:
        clock = self.batches.clock(self.done)
        inputs = self.batches.at(self.done)
        self.done += 1
        return inputs, clock


def domains_of(inputs: Any, plan: Any) -> tuple[Tensor, Tensor]:
    """Return the batch of each domain, of the inputs of a step."""
    first = next(each for each in plan.translations if each.source == "this")
    return inputs[0][first, "source"], inputs[0][first, "target"]


def copy_weights(ours: Ours, plain: Plain) -> None:
    """Give the plain networks the weights of the framework's: the same tensors in the same order."""
    with torch.no_grad():
        for source, target in zip(ours.networks(), chain(plain.g, plain.d), strict=True):
            for theirs, own in zip(source.parameters(), target.parameters(), strict=True):
                own.copy_(theirs)


def gaps(ours: Ours, plain: Plain) -> tuple[float, float]:
    """Return the largest difference of an output of the generators, and of a weight.

    Not of biases: before an instance norm they have no effect, and their gradients are rounding errors, of which Adam
    makes steps of full length.
    """
    x = torch.linspace(-1, 1, 3 * 32 * 32, device=plain.device, dtype=torch.float64).view(1, 3, 32, 32)
    weights, outputs = [], []
    for source, target in zip(ours.networks(), chain(plain.g, plain.d), strict=True):
        pairs = list(zip(source.parameters(), target.parameters(), strict=True))
        weights += [float((a - b).detach().abs().max()) for a, b in pairs if a.dim() > 1]
    with torch.no_grad():
        outputs = [float((a(x) - b(x)).abs().max()) for a, b in zip(ours.networks(), plain.g, strict=False)]
    return max(outputs), max(weights)


def check_results(given: argparse.Namespace, processes: Processes) -> tuple[float, float]:
    """Train both in float64, from the same weights; return the largest difference of an output and of a weight."""
    ours = Ours(given, "fp32", processes)
    plain = Plain(given.width, given.blocks, processes.device, bf16=False)
    for network in (*ours.networks(), *plain.g, *plain.d):
        network.double()
    copy_weights(ours, plain)
    for _ in range(COMPARED):
        inputs, clock = ours.batch()
        inputs = [map_tensors(lambda x: x.double() if x.is_floating_point() else x, each) for each in inputs]
        plain.step(*domains_of(inputs, ours.plan))
        ours.engine.train_step(inputs, clock)
    return gaps(ours, plain)


def measure(given: argparse.Namespace, processes: Processes) -> dict[str, list[float]]:
    """Return the seconds of steps of each way, in turns."""
    device = processes.device
    engines = {precision: Ours(given, precision, processes) for precision in ("fp32", "bf16")}
    plain = {
        "plain fp32": Plain(given.width, given.blocks, device, bf16=False),
        "plain bf16": Plain(given.width, given.blocks, device, bf16=True),
        "plain bf16 channels_last": Plain(given.width, given.blocks, device, bf16=True, channels_last=True),
    }
    inputs, clock = engines["fp32"].batch()
    batch = domains_of(inputs, engines["fp32"].plan)
    ways: dict[str, Callable[[], Any]] = {name: partial(each.step, *batch) for name, each in plain.items()}
    for precision, each in engines.items():
        ways[f"framework {precision}"] = partial(each.engine.train_step, inputs, clock)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds + 1):
        for name in ways if number % 2 else reversed(list(ways)):
            wait(device)
            begin = time.perf_counter()
            ways[name]()
            wait(device)
            if number:  # the first round loads what all need
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def positive(text: str) -> int:
    """Return a positive number that was given."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"found '{text}'; expected a number from 1 on")
    return int(text)


def main() -> None:
    """Compare results, then speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 64), ("batch", 8), ("width", 64), ("blocks", 9), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=positive, default=default, help=f"default {default}")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    given = parser.parse_args()
    processes = Processes()
    try:
        output, weight = check_results(given, processes)
    except TransganError as error:  # of --set
        sys.exit(f"error: {error}")
    print(f"largest difference after {COMPARED} steps in float64: {output:.1e} of outputs, {weight:.1e} of weights")
    if not max(output, weight) < TOLERANCE:
        sys.exit(f"the results differ by more than {TOLERANCE:.0e}")
    seconds = measure(given, processes)
    print(f"{torch.get_num_threads()} threads on {processes.device}, torch {torch.__version__}")
    for name, own in seconds.items():
        ratios = [plain / each for plain, each in zip(seconds["plain fp32"], own, strict=True)]
        print(
            f"{name:<26} {statistics.median(own):7.3f} s ({min(own):.3f} to {max(own):.3f}), "
            f"{statistics.median(ratios):5.2f} times as fast as plain fp32 ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
