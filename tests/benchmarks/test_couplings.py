"""`benchmarks/couplings`: points of the plane by flow matching."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "couplings"


def test_distributions_have_the_moments_of_their_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means and second moments per axis in closed form; 200,000 points."""
    monkeypatch.syspath_prepend(str(FOLDER.parents[1]))
    from benchmarks.couplings import points

    rng, count = np.random.default_rng(0), 200_000
    normal, eight, moons = (draw(rng, count) for draw in points.DISTRIBUTIONS.values())
    assert np.allclose(np.square(normal).mean(0), 1, atol=0.02)
    assert np.allclose(eight.mean(0), 0, atol=0.05)
    assert np.allclose(np.square(eight).mean(0), 25 / 2 + 0.1**0.5, atol=0.1)
    assert np.allclose(moons.mean(0), [0.5, -0.25], atol=0.02)  # of (1/2, 1/4), times 3, less 1


@pytest.mark.parametrize("recipe", ["normal_eight", "eight_moons"])
def test_recipes_train(run_cli: Callable[..., int], recipe: str, tmp_path: Path) -> None:
    settings = ("--set", "train.steps=2", "--set", "data.source.count=60", "--plugin", FOLDER / "points.py")
    assert run_cli("run", FOLDER / f"{recipe}.toml", *settings, "--out", tmp_path / "run") == 0
    assert list((tmp_path / "run/samples").glob("*.txt"))
