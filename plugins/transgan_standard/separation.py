"""How well real and translated samples can be distinguished: the AUC of a small discriminator, trained afresh."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.api import area_under_curve

#: Samples of a training step, of either kind.
BATCH = 16
#: Learning rate of Adam.
RATE = 1e-3
_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def distinct(samples: Sequence[Tensor]) -> list[Tensor]:
    """Return samples without repeats of earlier ones: whoever has fewer of one domain gives some of them again."""
    known: dict[tuple[object, ...], list[Tensor]] = defaultdict(list)
    found = []
    for x in samples:
        same = known[tuple(x.shape), float(x.double().sum())]
        if not any(torch.equal(x, each) for each in same):
            same.append(x)
            found.append(x)
    return found


def held_out_auc(
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    size: int | None = None,
    folds: int = 2,
    steps: int = 150,
    width: int = 32,
    seed: int = 0,
) -> float:
    """Return the AUC of a discriminator, trained afresh, on samples that it was not trained on.

    Samples are divided into folds; of each, a network that was trained on the others says how real every sample, or
    every crop of it, is. 0.5 is chance, at 1 all are recognised; the mean over folds. Samples of the same number
    in both lists belong to the same fold, so that nothing of one sample is learned from its counterpart.

    Args:
        real, fake: (C, *space), the same C and number of axes for all; at least `folds` of either. None may be there
            twice, see `distinct`: a fold would be measured on what the other was trained on.
        size: length of crops along the last axis, for samples of any length; all of a sample by default.
        steps: of training, of either fold.
        width: channels of the first layer.
    """
    if min(len(real), len(fake)) < folds:
        raise ValueError(f"{len(real)} real and {len(fake)} translated samples; expected at least {folds} of either")
    everything = torch.cat([x.flatten(1) for x in real], 1)
    axes = (-1, *[1] * (real[0].dim() - 1))
    mean, std = everything.mean(1).reshape(axes), everything.std(1).clamp_min(1e-6).reshape(axes)
    sides = [[(x.float() - mean) / std for x in each] for each in (real, fake)]
    found = []
    for fold in range(folds):
        trained = [[x for i, x in enumerate(side) if i % folds != fold] for side in sides]
        network = _trained(trained, size, steps, width, seed + fold)
        scores = [_scores(network, [x for i, x in enumerate(side) if i % folds == fold], size) for side in sides]
        found.append(area_under_curve(*scores))
    return float(np.mean(found))


def _network(channels: int, dims: int, width: int) -> nn.Sequential:
    """Return a network from (N, C, *space) to (N, 1, *patches): three convolutions, two of stride 2."""
    convolution = _CONVOLUTIONS[dims]
    return nn.Sequential(
        convolution(channels, width, 5, 1 if dims == 1 else 2, padding=2),
        nn.LeakyReLU(0.2),
        convolution(width, 2 * width, 5, 2, padding=2),
        nn.LeakyReLU(0.2),
        convolution(2 * width, 4 * width, 5, 2, padding=2),
        nn.LeakyReLU(0.2),
        convolution(4 * width, 1, 1),
    )


def _trained(sides: Sequence[Sequence[Tensor]], size: int | None, steps: int, width: int, seed: int) -> nn.Module:
    """Return a network trained by binary cross-entropy to give real samples positive logits, others negative ones."""
    rng, first = np.random.default_rng(seed), sides[0][0]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = _network(len(first), first.dim() - 1, width).to(first.device)
        optimizer = torch.optim.Adam(network.parameters(), RATE, weight_decay=1e-4)
        for _ in range(steps):
            loss = torch.zeros((), device=first.device)
            for sign, side in zip((-1, 1), sides, strict=True):
                chosen = [_crop(side[i], size, rng) for i in rng.integers(len(side), size=BATCH)]
                loss = loss + F.softplus(sign * network(torch.stack(chosen)).flatten(1).mean(1)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval()


def _crop(x: Tensor, size: int | None, rng: np.random.Generator) -> Tensor:
    if size is None:
        return x
    start = int(rng.integers(max(1, x.shape[-1] - size + 1)))
    return _padded(x[..., start : start + size], size)


def _padded(x: Tensor, size: int) -> Tensor:
    return F.pad(x, (0, size - x.shape[-1])) if x.shape[-1] < size else x


@torch.no_grad()
def _scores(network: nn.Module, samples: Sequence[Tensor], size: int | None) -> Tensor:
    """Return a logit for each sample or, with `size`, each of its crops that do not overlap."""
    crops = [
        crop for x in samples for crop in ([x] if size is None else [_padded(each, size) for each in _windows(x, size)])
    ]
    return torch.cat([network(each[None]).flatten(1).mean(1) for each in crops])


def _windows(x: Tensor, size: int) -> list[Tensor]:
    """Return the windows of x that do not overlap, without a shorter rest; x itself where it is shorter than one."""
    count = x.shape[-1] // size
    return [x[..., i * size : (i + 1) * size] for i in range(count)] or [x]
