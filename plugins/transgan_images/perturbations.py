"""Changes of images that do not change what they show: blur, compression, noise and shifts, and all at random."""

import io
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from transgan_images.classifier import augment


def strongly_augmented(x: Tensor, rng: np.random.Generator, mirror: bool) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1] changed at random, each in its own way but for blur and compression.

    They are rotated, scaled, shifted and coloured as by `augment`, mirrored, blurred by up to 1 pixel, compressed as by
    JPEG, and given noise of a standard deviation up to 0.1, and of half of them a square of up to half their side is
    cut out.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(0, 1, shape)).to(x)

    count, _, height, width = x.shape
    x = augment(x, rng)
    if mirror:
        x = torch.where(uniform(count, 1, 1, 1) < 0.5, x.flip(-1), x)
    if rng.random() < 0.5:
        x = blurred(x, rng.uniform(0.2, 1))
    if rng.random() < 0.5:
        x = quantized(x, rng.uniform(0.02, 0.3))
    x = x + 0.1 * uniform(count, 1, 1, 1) ** 2 * noise(x, rng)
    side, top, left = (uniform(count, 1, 1) - 0.5).clamp(min=0), uniform(count, 1, 1), uniform(count, 1, 1)
    rows = torch.linspace(0, 1, height, device=x.device)[None, :, None]
    columns = torch.linspace(0, 1, width, device=x.device)[None, None]
    cut = ((rows - top).abs() < side / 2) & ((columns - left).abs() < side / 2)
    return torch.where(cut[:, None], torch.zeros((), device=x.device), x)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Return images (N, C, H, W) blurred by a Gaussian of `sigma` pixels, continued by their edges."""
    reach = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype) / sigma) ** 2)
    weights = weights / weights.sum()
    channels = x.shape[1]
    x = F.pad(x, (reach,) * 4, mode="replicate")
    x = F.conv2d(x, weights.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(x, weights.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)


def quantized(x: Tensor, step: float) -> Tensor:
    """Return images (N, C, H, W) with the cosine coefficients of 8x8 blocks rounded, high frequencies coarser: as JPEG.

    Args:
        step: of the mean of a block; that of the highest frequency is about five times as large.
    """
    height, width = (side // 8 * 8 for side in x.shape[2:])
    k = torch.arange(8, device=x.device, dtype=x.dtype)
    basis = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) * math.sqrt(2 / 8)
    basis = torch.cat([basis[:1] / math.sqrt(2), basis[1:]])
    blocks = x[:, :, :height, :width].reshape(*x.shape[:2], height // 8, 8, width // 8, 8)
    steps = step * (1 + 0.3 * (k[:, None] + k[None]))
    coefficients = torch.einsum("ua,ncpaqb,vb->ncpuqv", basis, blocks, basis)
    rounded = (coefficients / steps[:, None]).round() * steps[:, None]
    blocks = torch.einsum("ua,ncpuqv,vb->ncpaqb", basis, rounded, basis)
    result = x.clone()
    result[:, :, :height, :width] = blocks.reshape(*x.shape[:2], height, width)
    return result


def compressed(x: Tensor, quality: int) -> Tensor:
    """Return images (N, 1 or 3, H, W) in [-1, 1] as they are after being saved as JPEG of a quality."""
    found = []
    for image in ((x.detach().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file)).reshape(image.shape)))
    return (torch.stack(found).permute(0, 3, 1, 2).float() / 127.5 - 1).to(x)


def noise(x: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(x.shape, np.float32)).to(x)


def shifted(x: Tensor, pixels: int) -> Tensor:
    return F.pad(x, (pixels, 0, pixels, 0), mode="replicate")[:, :, : x.shape[2], : x.shape[3]]


#: What is done to real sources to see how steady an answer about them is. What they show stays the same.
PERTURBATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "JPEG of quality 50": lambda x: compressed(x, 50),
    "blur of 1 pixel": lambda x: blurred(x, 1.0),
    "noise of 5/255": lambda x: x + 10 / 255 * noise(x, np.random.default_rng(0)),
    "shift of 2 pixels": lambda x: shifted(x, 2),
}
