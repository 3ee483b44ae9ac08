"""Arguments of metrics besides nodes: the samples, their true translations, and `translate` for chunks of a sample."""

from typing import Any

import torch

from transgan.api import Clock, Metric, Register, Translation, hookimpl
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
    """Keeps its arguments."""

    def reset(self) -> None:
        self.received: dict[Translation, list[Any]] = {}

    def update(
        self,
        translation: Translation,
        keys: Any,
        samples: Any,
        true_samples: Any,
        translate: Any,
        source: Any,
        fake: Any,
    ) -> None:
        self.received[translation] = [keys, samples, true_samples, translate, source, fake]
        repeated = [translate(torch.stack([x, x]), row=i) for i, x in enumerate(source)]
        assert all(torch.allclose(both, fake[i].expand_as(both), atol=1e-5) for i, both in enumerate(repeated))

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Plugin:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("whole", Whole)


def test_chunks_of_a_sample_are_translated_as_the_sample_is(planned: Any) -> None:
    for targets in ("all", "random"):
        plan = planned(RECIPE.replace("TARGETS", targets), Plugin())
        Evaluation(plan, Domains(plan))(Networks(plan), Clock())
        received = plan.metrics["whole"].received
        assert len(received) == 2
        for keys, samples, true_samples, *_ in received.values():
            assert [sample.key for sample in samples] == keys
            assert [sample.key for sample in true_samples] == keys  # synthetic faces know their counterparts
