"""Losses of pictures."""

from pydantic import Field, field_validator

from transgan.api import Loss, Options, Tensor, UsageError, require

#: The constants of Wang et al. (2004), eq. 13, for values from 0 to 1.
C1, C2 = 0.01**2, 0.03**2


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

    measures = ("pictures", 2)
    nonzero_at_end = True

    def __init__(self, options: CycleSsimOptions):
        super().__init__(options)
        self.filters = require("kornia.filters", "faces", "the loss cycle_ssim")

    def for_generator(self, source: Tensor, reconstruction: Tensor) -> Tensor:
        """Return the mean over samples; both are (N, C, H, W) in [-1, 1]."""
        window = self.options.window
        if min(source.shape[2:]) <= window // 2:
            found, least = "x".join(map(str, source.shape[2:])), window // 2 + 1
            needed = f"a window of {window} needs pictures of at least {least} x {least} pixels, and these are {found}"
            raise UsageError(f"cycle_ssim: {needed}; lower its option window, or raise data.size")
        # kornia's own ssim switches autocast off, which cannot be done on the meta device.
        x, y = (source.float() + 1) / 2, (reconstruction.float() + 1) / 2
        line = self.filters.get_gaussian_kernel1d(window, 1.5, device=x.device, dtype=x.dtype)
        mean_x, mean_y, xx, yy, xy = (
            self.filters.filter2d_separable(each, line, line) for each in (x, y, x * x, y * y, x * y)
        )
        means, products = mean_x * mean_y, mean_x**2 + mean_y**2
        similarity = (2 * means + C1) * (2 * (xy - means) + C2) / ((products + C1) * (xx + yy - products + C2))
        loss: Tensor = 1 - similarity.mean()
        return loss
