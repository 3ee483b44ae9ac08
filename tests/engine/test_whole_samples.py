"""What metrics are told of samples besides nodes: the samples, their truths, and a way to translate parts of one."""

from pathlib import Path
from typing import Any

import torch

from transgan.api import Metric, Register, Translation, hookimpl
from transgan.data.domains import Domains
from transgan.engine.evaluate import Evaluation
from transgan.engine.networks import Networks
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry

RECIPE = """
[data]
source = { use = "drawn_faces", count = 40 }
size = 16
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
[tasks.age]
between = ["young", "old"]
targets = "TARGETS"
[train]
steps = 1
[conditionings.domain]
use = "embedding"
of = "domain"
width = 4
[generators.g]
use = "resnet"
width = 4
blocks = 0
[losses]
cycle = 1.0
[metrics]
whole = true
"""


class Whole(Metric):
    """Keeps what it was told."""

    def reset(self) -> None:
        self.seen: dict[Translation, list[Any]] = {}

    def update(  # type: ignore[override]
        self,
        translation: Translation,
        keys: Any,
        samples: Any,
        true_samples: Any,
        translate: Any,
        source: Any,
        fake: Any,
    ) -> None:
        self.seen[translation] = [keys, samples, true_samples, translate, source, fake]
        twice = [translate(torch.stack([x, x]), row=i) for i, x in enumerate(source)]
        assert all(torch.allclose(both, fake[i].expand_as(both), atol=1e-5) for i, both in enumerate(twice))

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Plugin:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("whole", Whole)


def test_parts_of_a_sample_are_translated_as_the_sample_is(tmp_path: Path) -> None:
    registry = Registry.installed()
    registry.add(Plugin(), "of_this_test")
    for targets in ("all", "random"):
        plan = make_plan(parse_recipe(RECIPE.replace("TARGETS", targets), "recipe", ()), registry)
        Evaluation(plan, Domains(plan))(Networks(plan))
        seen = plan.metrics["whole"].seen  # type: ignore[attr-defined]
        assert len(seen) == 2
        for keys, samples, true_samples, *_ in seen.values():
            assert [sample.key for sample in samples] == keys
            assert [sample.key for sample in true_samples] == keys  # drawn faces know their counterparts
