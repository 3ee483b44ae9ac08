"""Colours of files that are not sRGB: profiles and CMYK, to sRGB and back."""

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

#: By the colour space that a profile says it is of: Pillow's mode.
_MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
#: Most by which a profile may differ from sRGB, in levels of 255, to be taken for it.
_SAME = 1

Transform = Callable[[Image.Image], Image.Image]


def is_usable(profile: bytes | None, mode: str) -> bool:
    """Return whether a profile is one for images of this mode that changes colours: damaged ones and sRGB are not."""
    return _transforms(profile, mode) is not None if profile else False


def to_srgb(array: np.ndarray, mode: str, profile: bytes | None) -> np.ndarray:
    """Return colours of a mode (H, W, bands) as sRGB (H, W, 3), uint8 or uint16 both; grey without profile as it is.

    Args:
        profile: an ICC profile; it is ignored where it is not usable.
    """
    transforms = _transforms(profile, mode) if profile else None
    if transforms:
        return _apply(transforms[0], array)
    return _apply(lambda image: image.convert("RGB"), array) if mode == "CMYK" else array


def from_srgb(array: np.ndarray, mode: str, profile: bytes | None) -> np.ndarray:
    """Return sRGB (H, W, 3) as colours of a mode (H, W, bands): the opposite of `to_srgb`."""
    transforms = _transforms(profile, mode) if profile else None
    if transforms:
        return _apply(transforms[1], array)
    return _apply(lambda image: image.convert("CMYK"), array) if mode == "CMYK" else array


def _apply(transform: Transform, array: np.ndarray) -> np.ndarray:
    """Return an array (H, W, bands) transformed; of 16 bits, the upper 8 are, and the rest is added as it is."""
    deep = array.dtype == np.uint16
    coarse = np.rint(array / 257).astype(np.uint8) if deep else array
    result = np.asarray(transform(as_image(coarse)))
    result = result.reshape(*array.shape[:2], -1)
    if not deep:
        return result
    rest = array.astype(np.int32) - 257 * coarse.astype(np.int32)
    if rest.shape[-1] != result.shape[-1]:
        rest = rest.mean(-1, keepdims=True)
    fine: np.ndarray = 257 * result.astype(np.int32) + np.rint(rest).astype(np.int32)
    return fine.clip(0, 65535).astype(np.uint16)


def as_image(array: np.ndarray, mode: str = "") -> Image.Image:
    """Return an array (H, W, bands) uint8 as an image; 1 band is grey, 3 are RGB, 4 CMYK, unless a mode is given."""
    mode = mode or {1: "L", 3: "RGB", 4: "CMYK"}[array.shape[-1]]
    size = (array.shape[1], array.shape[0])
    return Image.frombuffer(mode, size, np.ascontiguousarray(array), "raw", mode, 0, 1)


@lru_cache(maxsize=16)
def _transforms(profile: bytes, mode: str) -> tuple[Transform, Transform] | None:
    """Return what converts to sRGB and back; None where the profile is damaged, of another mode, or sRGB itself."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(own.profile.xcolor_space) != mode:
            return None
        srgb = ImageCms.createProfile("sRGB")
        how = {"renderingIntent": ImageCms.Intent.RELATIVE_COLORIMETRIC}
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        forth = ImageCms.buildTransform(own, srgb, mode, "RGB", **how, flags=flags)
        back = ImageCms.buildTransform(srgb, own, "RGB", mode, **how, flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None

    def apply(transform: ImageCms.ImageCmsTransform) -> Transform:
        def convert(image: Image.Image) -> Image.Image:
            converted = ImageCms.applyTransform(image, transform)
            assert converted is not None  # it is None where the image is changed in place
            return converted

        return convert

    if mode != "CMYK":
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        axes = np.meshgrid(*[steps] * (1 if mode == "L" else 3))
        grid = np.stack(axes, -1).reshape(1, -1, len(axes))
        difference = np.asarray(apply(forth)(as_image(grid))).astype(int) - grid
        if np.abs(difference).max() <= _SAME:
            return None
    return apply(forth), apply(back)
