"""A domain added to a trained model, by the commands of the how-to: what is learned in a tenth of the steps.

The figures are those of held-out samples of the first run's data; the bounds leave room for how a machine rounds.
"""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
OLD = ("red", "green", "blue", "sketch")


def commands() -> list[list[str]]:
    """The two commands in the head of the recipe: of the run with four domains, and of that with a fifth."""
    head = (
        (ROOT / "recipes/add_domain_shapes.toml").read_text().partition("# Command:\n")[2].partition("# Constants")[0]
    )
    lines = head.replace("\\\n#", "").replace("#", "").splitlines()
    return [words[1:] for line in lines if (words := shlex.split(line))]


def mean(figures: dict[str, dict[str, float]], name: str, chosen: Callable[[str, str], bool]) -> float:
    """Return the mean of a figure over the translations whose source and target are chosen."""
    pairs = {key: key.partition(": ")[2].split(" -> ") for key in figures}
    return float(np.mean([each[name] for key, each in figures.items() if chosen(*pairs[key])]))


@pytest.mark.slow
def test_a_fifth_domain_is_learned_in_a_tenth_of_the_steps_and_the_four_are_kept(
    run_cli: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    first, second = commands()
    assert run_cli(*first[:-1], tmp_path / "four", "-q") == 0
    before = json.loads((tmp_path / "four/result.json").read_text())["translations"]
    assert second[-1].startswith("train.init_from='runs/four/")
    origin = second[-1].replace("runs/four", str(tmp_path / "four"))
    runs = {"after": [*second[:-1], origin], "anew": second[:-2]}
    figures = {}
    for name, words in runs.items():
        assert run_cli(*words, "--out", tmp_path / name, "-q", "--set", "metrics={cycle_error=true}") == 0
        out, source = tmp_path / f"{name}.json", "data.source.count=1000"
        metrics = "metrics={target_share={epochs=4}, counterpart_error=true}"
        assert run_cli("evaluate", tmp_path / name, "--set", source, "--set", metrics, "--out", out) == 0
        figures[name] = json.loads(out.read_text())["translations"]

    def to_neon(source: str, target: str) -> bool:
        return target == "neon"

    def of_neon(source: str, target: str) -> bool:
        return "neon" in (source, target)

    def of_old(source: str, target: str) -> bool:
        return source in OLD and target in OLD

    after, anew = figures["after"], figures["anew"]
    assert mean(after, "target_share", to_neon) > 0.95
    assert mean(after, "target_share", of_neon) > mean(anew, "target_share", of_neon)
    assert mean(after, "counterpart_error", to_neon) < 0.8 * mean(anew, "counterpart_error", to_neon)
    assert mean(after, "target_share", of_old) > mean(before, "target_share", of_old) - 0.02
    assert mean(after, "counterpart_error", of_old) < mean(before, "counterpart_error", of_old) + 0.02
