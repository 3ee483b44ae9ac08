"""Losses of pictures."""

from pydantic import Field, field_validator

from transgan.api import Loss, Options, Tensor, UsageError, require


class CycleSsimOptions(Options):
    window: int = Field(11, ge=3)
    """Side of the Gaussian window in pixels, an odd number (3 or more). Its standard deviation is 1.5 pixels."""

    @field_validator("window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError("expected an odd number")
        return window


class CycleSsim(Loss[CycleSsimOptions]):
    """Structural cycle consistency: 1 minus the mean SSIM of a source and its reconstruction, from 0 to 2.

    SSIM is that of Wang et al. (2004), of each channel, on pixels from 0 to 1; Jin et al. (2017, CycleGAN Face-off) add
    its negative, which has the same gradient, to the L1 distance of the loss `cycle`.

    Raises:
        PluginError: kornia is not installed.
        UsageError: the pictures are too small for the window.
    """

    nonzero_at_end = True

    def __init__(self, options: CycleSsimOptions):
        super().__init__(options)
        self.ssim = require("kornia.metrics", "faces", "the loss cycle_ssim").ssim

    def for_generator(self, source: Tensor, reconstruction: Tensor) -> Tensor:
        """Return the mean over samples; both are (N, C, H, W) in [-1, 1]."""
        window = self.options.window
        if source.ndim != 4 or min(source.shape[-2:]) <= window // 2:
            found = "x".join(map(str, source.shape[2:]))
            raise UsageError(f"cycle_ssim: a window of {window} needs pictures of more than {window // 2}, not {found}")
        similarity: Tensor = self.ssim((source + 1) / 2, (reconstruction + 1) / 2, window, eps=0.0)
        return 1 - similarity.float().mean()
