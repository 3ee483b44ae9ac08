"""The baseline: CycleGAN by hand, with nothing of this project.

The losses, learning rates and pool of Zhu et al. (2017) and the sizes of the recipe `digits`: generators with two
downsampling convolutions and two residual blocks, width 16; critics with a receptive field of 34 pixels.
"""

import itertools
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH, STEPS, RATE, CYCLE, POOL = 16, 1000, 5e-4, 10.0, 50


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), *again)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.layers(x)
        return changed


def generator(width: int = 16, blocks: int = 2) -> nn.Sequential:
    """Return (N, 1, 32, 32) -> (N, 1, 32, 32) in [-1, 1]."""

    def convolution(layer: nn.Module, channels: int) -> list[nn.Module]:
        return [layer, nn.InstanceNorm2d(channels), nn.ReLU()]

    return nn.Sequential(
        nn.ReflectionPad2d(3),
        *convolution(nn.Conv2d(1, width, 7), width),
        *convolution(nn.Conv2d(width, 2 * width, 3, 2, 1), 2 * width),
        *convolution(nn.Conv2d(2 * width, 4 * width, 3, 2, 1), 4 * width),
        *(Residual(4 * width) for _ in range(blocks)),
        *convolution(nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, 1), 2 * width),
        *convolution(nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), width),
        nn.ReflectionPad2d(3),
        nn.Conv2d(width, 1, 7),
        nn.Tanh(),
    )


def critic(width: int = 16) -> nn.Sequential:
    """Return (N, 1, 32, 32) -> (N, 1, 6, 6)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.InstanceNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, 1, 1),
        nn.InstanceNorm2d(4 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 4, 1, 1),
    )


def train(data: dict[str, Tensor], seed: int, steps: int = STEPS) -> dict[str, nn.Module]:
    """Train on images (N, 1, 32, 32) of two domains; return the generator to each domain."""
    torch.manual_seed(seed)
    random.seed(seed)
    first, second = data
    origin = {second: first, first: second}
    generators = {name: generator() for name in data}  # by the domain that they generate
    critics = {name: critic() for name in data}
    for layer in itertools.chain(*(net.modules() for net in (*generators.values(), *critics.values()))):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    optimizers = [
        torch.optim.Adam(itertools.chain(*(net.parameters() for net in nets.values())), RATE, (0.5, 0.999))
        for nets in (generators, critics)
    ]
    pools: dict[str, list[Tensor]] = {name: [] for name in data}
    for step in range(steps):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, 2.0 - 2.0 * step / steps)
        real = {name: x[torch.randint(len(x), (BATCH,))] for name, x in data.items()}
        fake = {name: net(real[origin[name]]) for name, net in generators.items()}
        loss = torch.zeros(())
        for name in data:
            score = critics[name](fake[name])
            back = generators[origin[name]](fake[name])
            loss = loss + F.mse_loss(score, torch.ones_like(score)) + CYCLE * F.l1_loss(back, real[origin[name]])
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        loss = torch.zeros(())
        for name in data:
            scores = critics[name](real[name]), critics[name](_exchange(pools[name], fake[name].detach()))
            loss = loss + 0.5 * sum(
                ((score - wanted) ** 2).mean() for score, wanted in zip(scores, (1.0, 0.0), strict=True)
            )
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
    return {name: net.eval() for name, net in generators.items()}


def _exchange(pool: list[Tensor], fakes: Tensor) -> Tensor:
    """Put fakes into the pool; return as many, half of them older ones once the pool is full."""
    given = []
    for fake in fakes:
        if len(pool) < POOL:
            pool.append(fake)
        elif random.random() < 0.5:
            at = random.randrange(POOL)
            fake, pool[at] = pool[at], fake
        given.append(fake)
    return torch.stack(given)
