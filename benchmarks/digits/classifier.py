"""The benchmark's judge: a small convolutional network that reads digits, trained on real ones of one domain."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

EPOCHS = 8
BATCH = 64


class Classifier(nn.Sequential):
    """Six convolutions and a linear layer: (N, 1, 32, 32) in [-1, 1] to logits (N, 10); 0.3 M parameters."""

    def __init__(self) -> None:
        def block(inputs: int, outputs: int) -> list[nn.Module]:
            layers: list[nn.Module] = []
            for channels in (inputs, outputs):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            return [*layers, nn.MaxPool2d(2)]

        layers = [*block(1, 32), *block(32, 64), *block(64, 128)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, 10))

    @torch.no_grad()
    def accuracy(self, x: Tensor, labels: Tensor) -> float:
        """Return the share of images x (N, 1, 32, 32) that are read as their labels (N,) say."""
        self.eval()
        read = torch.cat([self(each).argmax(1) for each in x.split(250)])
        return float((read == labels).float().mean())


def trained(x: Tensor, labels: Tensor, seed: int = 0) -> Classifier:
    """Return a classifier of images x (N, 1, 32, 32) in [-1, 1] with labels (N,), trained from `seed`.

    Images are not augmented: it is to read digits as the domain has them, and no others.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Classifier()
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
        steps = EPOCHS * (len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randint(len(x), (BATCH,))
            loss = F.cross_entropy(network(x[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def read_or_train(path: Path, x: Tensor, labels: Tensor) -> Classifier:
    """Return the classifier of a file; if there is none, train it and write the file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(trained(x, labels).state_dict(), path)
    network = Classifier()
    network.load_state_dict(load_file(path))
    return network.eval()
