"""The metric `target_share`: how many translations a classifier assigns to the target domain."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import Domain, Metric, Translation, UsageError
from transgan_images.classifier import BATCH, ClassifierOptions, build_classifier, trained_classifier


class TargetShare(Metric[ClassifierOptions]):
    """Share of translations that a classifier of the task's domains assigns to the target domain, from 0 to 1.

    The classifier is trained on the real training samples of the task's domains, independently of the run. Further
    figures, each from 0 to 1:

    - `target_share_of_source`: the same of the untranslated sources;
    - `classifier_accuracy`: accuracy on held-out real samples, the mean over domains; where it is low, the shares are
      meaningless;
    - `kept_<task>`: for each other task, the share of translations that its classifier assigns to the source's own
      domain of that task; `kept_<task>_of_source`: the same of the untranslated sources.

    A high share does not imply a good translation.

    Raises:
        UsageError: there is no classifier network of that name.
        PluginError: timm is needed and not installed.
    """

    direction = {"target_share": "higher"}

    def __init__(self, options: ClassifierOptions):
        super().__init__(options)
        build_classifier(options, 3, 2)  # fail before the training rather than at its first evaluation

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Train a classifier for each task, and measure its accuracy."""
        for task, names in tasks.items():
            if len({domains[name].media.channels for name in names}) > 1:
                raise UsageError(f"target_share: the domains of task '{task}' differ in channels; leave the metric out")
        self.domains, self.tasks = domains, tasks
        self.labels = {
            task: {
                sample.key: i
                for i, name in enumerate(names)
                for sample in (*domains[name].samples, *domains[name].held_out)
            }
            for task, names in tasks.items()
        }
        self.networks = {task: trained_classifier(domains, names, self.options, seed) for task, names in tasks.items()}
        self.accuracy = {
            task: self._accuracy(self.networks[task], [domains[name] for name in names])
            for task, names in tasks.items()
        }

    def reset(self) -> None:
        """Forget all updates."""
        self.hits: dict[Translation, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))

    @torch.no_grad()
    def _accuracy(self, network: nn.Module, domains: Sequence[Domain]) -> float:
        """Return the mean of the domains' accuracies on held-out samples; nan where there are none."""
        accuracies = []
        for i, domain in enumerate(domains):
            hits = [network(x)[1].argmax(1) == i for _, x in domain.batches(True, BATCH)]
            if hits:
                accuracies.append(float(torch.cat(hits).float().mean()))
        return float(np.mean(accuracies)) if accuracies else float("nan")

    @torch.no_grad()
    def update(self, translation: Translation, keys: list[str], source: Tensor, fake: Tensor) -> None:
        """Add a batch: the keys of N samples, the sources and their translations, both (N, C, H, W)."""
        hits = self.hits[translation]
        target = list(self.tasks[translation.task]).index(translation.target)
        network = self.networks[translation.task]
        hits["target_share"] += (network(fake)[1].argmax(1) == target).tolist()
        hits["target_share_of_source"] += (network(source)[1].argmax(1) == target).tolist()
        for task, network in self.networks.items():
            if task == translation.task:
                continue
            labelled = [i for i, key in enumerate(keys) if key in self.labels[task]]
            if labelled:
                label = torch.tensor([self.labels[task][keys[i]] for i in labelled], device=fake.device)
                hits[f"kept_{task}"] += (network(fake[labelled])[1].argmax(1) == label).tolist()
                hits[f"kept_{task}_of_source"] += (network(source[labelled])[1].argmax(1) == label).tolist()

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the shares and the classifier's accuracy, by translation and name."""
        return {
            translation: {
                **{name: float(np.mean(values)) for name, values in hits.items()},
                "classifier_accuracy": self.accuracy[translation.task],
            }
            for translation, hits in self.hits.items()
        }
