"""What metrics are told of samples besides nodes: the samples, their truths, and a way to translate parts of one."""

from typing import Any

import torch

from transgan.api import Metric, Register, Translation, hookimpl
from transgan.data.domains import Domains
from transgan.evaluation.evaluate import Evaluation
from transgan.networks import Networks

RECIPE = """
[tasks.age]
between = ["young", "old"]
targets = "TARGETS"
[train]
steps = 1
[conditionings]
domain = { use = "embedding", of = "domain", width = 4 }
[generators]
g = { use = "resnet", width = 4, blocks = 0 }
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


def test_parts_of_a_sample_are_translated_as_the_sample_is(planned: Any) -> None:
    for targets in ("all", "random"):
        plan = planned(RECIPE.replace("TARGETS", targets), Plugin())
        Evaluation(plan, Domains(plan))(Networks(plan))
        seen = plan.metrics["whole"].seen
        assert len(seen) == 2
        for keys, samples, true_samples, *_ in seen.values():
            assert [sample.key for sample in samples] == keys
            assert [sample.key for sample in true_samples] == keys  # drawn faces know their counterparts
