"""What is in an image, for `transgan data check`: sizes, ranges, statistics of channels, a perceptual hash."""

import numpy as np
from PIL import Image

from transgan.api import Description
from transgan_images.pictures import Picture, eight_bits

#: Statistics are of a grid of at most this many pixels a side.
GRID = 256
#: An image whose channels all deviate by less, of 255 levels, shows one colour only.
FLAT = 1.0
#: Side of the grey image that is hashed, and of the block of its lowest frequencies.
HASHED, BLOCK = 32, 8


def describe(picture: Picture, sides: tuple[int, ...]) -> Description:
    """Return what is in an image; levels are from 0 (black) to 255 (white).

    Args:
        sides: of a training image, (height, width).
    """
    height, width = picture.pixels.shape[:2]
    step = max(1, -(-max(height, width) // GRID))
    grid = eight_bits(picture.pixels[::step, ::step])
    counts = np.stack([np.bincount(grid[..., i].ravel(), minlength=256) for i in range(grid.shape[2])])
    shares, levels = counts / counts[0].sum(), np.arange(256)
    means = shares @ levels
    deviations = np.sqrt(np.maximum(shares @ levels**2 - means**2, 0))
    present = np.flatnonzero(counts.any(0))
    names = ("red", "green", "blue") if len(counts) == 3 else ("grey",)
    figures = {
        "width": width,
        "height": height,
        "darkest": int(present[0]),
        "brightest": int(present[-1]),
        **{f"mean {name}": float(value) for name, value in zip(names, means, strict=True)},
        **{f"deviation {name}": float(value) for name, value in zip(names, deviations, strict=True)},
        "% clipped": 100 * float(shares[:, [0, 255]].sum(1).mean()),
    }
    flat = bool((deviations < FLAT).all())
    remarks = ["one colour only"] if flat else []
    if height < sides[0] or width < sides[1]:
        remarks.append("smaller than data.size")
    return Description(figures, _kind(picture), remarks, None if flat else fingerprint(picture.pixels))


def _kind(picture: Picture) -> str:
    """Return the kind of file: colours, bits, opacity."""
    original = picture.original
    if original is None:
        return ""
    mode = {"L": "grey", "RGB": "colour"}.get(original.mode, original.mode)
    transparency = ", transparency" if original.alpha is not None else ""
    return f"{mode}, {8 * original.numbers.dtype.itemsize} bits{transparency}"


def fingerprint(pixels: np.ndarray) -> int:
    """Return a perceptual hash of an image (H, W, C), 64 bits, of which similar images differ in few.

    It says which of the lowest frequencies of a small grey image are above their median (Zauner, 2010, section 3.2.1):
    resizing, compression and changes of brightness and contrast hardly change it.
    """
    colors = eight_bits(pixels)
    image = Image.fromarray(colors[..., 0] if colors.shape[2] == 1 else colors)
    image = image.reduce(max(1, min(image.size) // (2 * HASHED))).convert("L")
    grey = np.asarray(image.resize((HASHED, HASHED), Image.Resampling.BILINEAR), dtype=np.float64)
    low = _COSINES @ grey @ _COSINES.T
    values = low[:BLOCK, :BLOCK].ravel()
    values[0] = low[BLOCK, 0]  # instead of the mean, which says nothing of what is shown
    bits = values > np.median(values)
    return int.from_bytes(np.packbits(bits).tobytes())


#: The lowest frequencies of the discrete cosine transform, (BLOCK + 1, HASHED).
_COSINES = np.cos(np.pi / HASHED * np.arange(BLOCK + 1)[:, None] * (np.arange(HASHED) + 0.5))
