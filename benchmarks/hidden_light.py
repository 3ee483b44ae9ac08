"""How much of a day's light a model hides in its nights: translated to night and back, by how much it comes back.

    python benchmarks/hidden_light.py runs/recycle_scenes-1 runs/recycle_scenes-2

For models of `recipes/recycle_scenes.toml` and its variants. By day the light of each frame has a slope of its own,
which the night does not have: what a model brings back of it was hidden there. Of 30 scenes that no recipe trains on,
two frames each, the slope of what a frame differs by from the same frame in steady light, before and after, by least
squares. Printed are the share that comes back and the correlation.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from transgan_video.scenes import SceneClip, SceneStyle

from transgan import Translator
from transgan.errors import TransganError

#: The first scene; scenes, and frames of each; side in pixels.
FIRST, SCENES, FRAMES, SIDE = 9_000, 30, 2, 32
DAY = {"hue": [0.0, 1.0], "ground": "waves"}


def slopes(frames: np.ndarray) -> np.ndarray:
    """Return the slopes of grey levels to the right and down, (N, 2), of (N, SIDE, SIDE, 3)."""
    line = (np.arange(SIDE) + 0.5) * 2 / SIDE - 1
    plane = np.stack(np.broadcast_arrays(line[None, :], line[:, None]), -1).reshape(-1, 2)
    levels = frames.mean(-1).reshape(len(frames), -1)
    found: np.ndarray = np.linalg.lstsq(plane, (levels - levels.mean(1, keepdims=True)).T, rcond=None)[0].T
    return found


def there_and_back(translator: Translator, frame: np.ndarray) -> np.ndarray:
    """Return a frame of a day, (SIDE, SIDE, 3) from 0 to 1, translated to night and back without rounding."""
    x = torch.from_numpy(frame).permute(2, 0, 1).float() * 2 - 1
    y: np.ndarray = translator(translator(x, to="night"), to="day").permute(1, 2, 0).numpy() / 2 + 0.5
    return y


def measure(run: Path) -> tuple[float, float]:
    """Return the share of the light's slope that comes back, and the correlation of both slopes.

    Raises:
        TransganError: there is no such model, or it does not translate between day and night.
    """
    translator = Translator.from_pretrained(run, "cpu")
    steady, unsteady = (
        np.concatenate([SceneClip(0, FIRST + i, SceneStyle.of(style))(FRAMES, 1, SIDE) / 255 for i in range(SCENES)])
        for style in (DAY, {**DAY, "flicker": 0.5})
    )
    back = np.stack([there_and_back(translator, frame) for frame in unsteady])
    before, after = slopes(unsteady - steady).ravel(), slopes(back - steady).ravel()
    return float(before @ after / (before @ before)), float(np.corrcoef(before, after)[0, 1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    for name in parser.parse_args().runs:
        try:
            share, correlation = measure(name)
        except TransganError as error:
            raise SystemExit(f"error: {error}") from None
        print(f"{name}: {share:.2f} of the slope comes back, correlation {correlation:.2f}")
