"""How many translations a classifier, trained apart on the real domains, takes for the target domain."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import Domain, Metric, Translation
from transgan_images.classifier import ClassifierOptions, classifier, fresh, pictures


class TargetShare(Metric):
    """Shares of translations and of sources that a task's classifier assigns to the target domain.

    `classifier_accuracy` is its accuracy on held-out real samples of both domains, without which a share says nothing.
    `kept_<task>` is how often the classifier of another task still sees the source's own domain in the translation,
    `kept_<task>_of_source` how often it sees it in the source. A share alone does not make a good translation.
    """

    Options = ClassifierOptions
    better = {"target_share": "higher"}

    def __init__(self, options: ClassifierOptions):
        super().__init__(options)
        fresh(options, 3, 2)  # a network that cannot be had is told before the training, not after it

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        self.domains, self.tasks = domains, tasks
        self.member = {
            task: {
                sample.key: i
                for i, name in enumerate(names)
                for sample in (*domains[name].samples, *domains[name].held_out)
            }
            for task, names in tasks.items()
        }
        self.networks = {task: classifier(domains, names, self.options, seed) for task, names in tasks.items()}
        self.accuracy = {
            task: self._accuracy(self.networks[task], [domains[name] for name in names])
            for task, names in tasks.items()
        }

    def reset(self) -> None:
        self.hits: dict[Translation, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))

    @torch.no_grad()
    def _accuracy(self, network: nn.Module, domains: Sequence[Domain]) -> float:
        """The mean over domains, so that a larger one does not count more."""
        right = []
        for i, domain in enumerate(domains):
            x = pictures(domain, held_out=True)
            if len(x):
                right.append(float((network(x)[1].argmax(1) == i).float().mean()))
        return float(np.mean(right)) if right else float("nan")

    @torch.no_grad()
    def update(self, translation: Translation, keys: list[str], source: Tensor, fake: Tensor) -> None:  # type: ignore[override]
        hits = self.hits[translation]
        at = list(self.tasks[translation.task]).index(translation.target)
        network = self.networks[translation.task]
        hits["target_share"] += (network(fake)[1].argmax(1) == at).tolist()
        hits["target_share_of_source"] += (network(source)[1].argmax(1) == at).tolist()
        for task, network in self.networks.items():
            if task == translation.task:
                continue
            known = [i for i, key in enumerate(keys) if key in self.member[task]]
            if known:
                truth = torch.tensor([self.member[task][keys[i]] for i in known], device=fake.device)
                hits[f"kept_{task}"] += (network(fake[known])[1].argmax(1) == truth).tolist()
                hits[f"kept_{task}_of_source"] += (network(source[known])[1].argmax(1) == truth).tolist()

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {
            translation: {
                **{name: float(np.mean(values)) for name, values in hits.items()},
                "classifier_accuracy": self.accuracy[translation.task],
            }
            for translation, hits in self.hits.items()
        }
