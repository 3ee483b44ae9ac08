"""The metric `hair_edge`: how sharp the edge of the hair is in translations of synthetic faces."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transgan.api import Metric, Sample, Translation
from transgan_faces.sources import SyntheticFace
from transgan_faces.synthetic import hair_opacity, sample_person

#: Side of the window, in pixels, within which the opacity of the hair passes one half at its edge.
WINDOW = 3


class HairEdge(Metric):
    """The edge of the hair in translations of synthetic faces: hairline and outline, where these are in the truth.

    At the pixels around the edge, which the parameters of the true translation say, energies of the gradient (squared
    differences of adjacent pixels) are compared:

    - `hair_edge_energy`: that of translations divided by that of the truth; below 1 the edge is soft, above 1 it is too
      sharp or noisy;
    - `hair_edge_error`: that of the difference divided by that of the truth: 0 where the edge is the true one, 1 for an
      image without edges, more where edges are wrong.
    - `hair_edge_energy_of_source`, `hair_edge_error_of_source`: the same of the untranslated source.
    """

    measures = ("pictures", 2)
    direction = {"hair_edge_error": "lower"}

    def reset(self) -> None:
        """Forget all updates."""
        self.sums: dict[Translation, list[np.ndarray]] = defaultdict(list)
        self.others = False

    def update(
        self,
        translation: Translation,
        fake: Tensor,
        source: Tensor,
        counterpart: Tensor,
        true_samples: Sequence[Sample | None],
    ) -> None:
        """Add a batch: translations, sources and the true translations, (N, C, H, W) each."""
        faces = [each.location for each in true_samples if each and isinstance(each.location, SyntheticFace)]
        if len(faces) < len(true_samples):
            self.others = True
            return
        edges = torch.stack([hair_edge(face, fake.shape[-1]) for face in faces])
        images = (counterpart, fake, fake - counterpart, source, source - counterpart)
        self.sums[translation].append(np.array([gradient_energy(each, edges) for each in images]))

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        names = ("hair_edge_energy", "hair_edge_error", "hair_edge_energy_of_source", "hair_edge_error_of_source")
        found = {}
        for translation, rows in self.sums.items():
            of_truth, *others = np.sum(rows, 0)
            if of_truth:
                found[translation] = {name: float(each / of_truth) for name, each in zip(names, others, strict=True)}
        return found

    def warnings(self) -> Sequence[str]:
        """Say where nothing is known of hair."""
        return ["the edge of the hair is known for the source synthetic_faces only"] if self.others else []


def hair_edge(face: SyntheticFace, size: int) -> Tensor:
    """Return which pixels of a face are within a pixel of the edge of its hair, (size, size) bool."""
    opacity = torch.from_numpy(hair_opacity(sample_person(face.seed, face.index), face.age, face.race, size))
    inside = (opacity > 0.5).float()[None]
    widest, narrowest = (F.max_pool2d(sign * inside, WINDOW, 1, WINDOW // 2) * sign for sign in (1, -1))
    return (widest > narrowest)[0]


def gradient_energy(x: Tensor, where: Tensor) -> float:
    """Return the sum of squared differences of adjacent pixels over pairs of which both are in `where`.

    Args:
        x: (N, C, H, W).
        where: (N, H, W) bool.
    """
    x, where = x.detach().cpu().double(), where[:, None]
    across = (x.diff(dim=-1) * (where[..., 1:] & where[..., :-1])).square().sum()
    down = (x.diff(dim=-2) * (where[..., 1:, :] & where[..., :-1, :])).square().sum()
    return float(across + down)
