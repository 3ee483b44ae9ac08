"""The metric `fine_detail`: whether translations have the fine structure of the true ones."""

from collections import defaultdict

import torch
from torch import Tensor

from transgan.api import Metric, Translation


class FineDetail(Metric):
    """Fine structure of translations with a known ground truth, by the discrete Laplacian of each channel.

    - `detail_energy`: energy of the Laplacian of translations divided by that of the truth; below 1 they are blurred,
      above 1 too sharp or noisy;
    - `detail_error`: energy of the Laplacian of the difference divided by that of the truth: 0 where every detail is
      there and at its place, 1 for an image without any detail, more where details are wrong.
    """

    direction = {"detail_error": "lower"}

    def reset(self) -> None:
        """Forget all updates."""
        self.sums: dict[Translation, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])

    def update(self, translation: Translation, fake: Tensor, counterpart: Tensor) -> None:
        """Add a batch: translations and the true ones, (N, C, H, W)."""
        energies = [laplacian_energy(x) for x in (fake, counterpart, fake - counterpart)]
        self.sums[translation] = [total + each for total, each in zip(self.sums[translation], energies, strict=True)]

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return both figures, by translation and name; none where the truth has no detail at all."""
        return {
            translation: {"detail_energy": of_fake / of_truth, "detail_error": of_difference / of_truth}
            for translation, (of_fake, of_truth, of_difference) in self.sums.items()
            if of_truth
        }


def laplacian_energy(x: Tensor) -> float:
    """Return the sum of squares of 4 x - its four neighbours, over all inner pixels of images (N, C, H, W)."""
    x = x.detach().cpu().double()
    inner = x[..., 1:-1, 1:-1]
    around = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
    return float(torch.sum((4 * inner - around) ** 2))
