"""The metric `target_share`: how many translations a classifier assigns to the target domain."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import Domain, Metric, Translation, UsageError
from transgan_images.classifier import BATCH, ClassifierOptions, build_classifier, check_channels, trained_classifier
from transgan_images.judges import JudgeOptions, Question, check_judges, named_judges, trained_judge
from transgan_images.metrics_judges import (
    AdversarialSource,
    JudgedShares,
    accuracy_of,
    known_figures,
    protocol_of,
    untried,
)


class TargetShareOptions(ClassifierOptions):
    """Options of the metric `target_share`."""

    judges: list[JudgeOptions] = []
    """Judges, a table each, in place of the classifier, whose options then mean nothing."""


class TargetShare(Metric[TargetShareOptions]):
    """Share of translations that a classifier of the task's domains assigns to the target domain, from 0 to 1.

    The classifier is trained on the real training samples of the task's domains, independently of the run. Further
    figures, each from 0 to 1:

    - `target_share_of_source`: the same of the untranslated sources;
    - `classifier_accuracy`: accuracy on held-out real samples, the mean over domains; where it is low, the shares are
      meaningless;
    - `kept_<task>`: for each other task, the share of translations that its classifier assigns to the source's own
      domain of that task; `kept_<task>_of_source`: the same of the untranslated sources.

    A high share does not imply a good translation. The classifier sees the same few images, at the same size, as a
    discriminator with a class head, and claims more than somebody else sees: `judges` are made otherwise. With them
    there are, for each judge, `target_share_<judge>`, `accuracy_<judge>` and `kept_<task>_<judge>`, and besides

    - `..._of_source`: the same of the untranslated sources;
    - `..._unsteady`: the largest change of the share of the sources when these are compressed, blurred, given noise or
      shifted;
    - `..._of_adversarial`: the share of sources that were changed by at most 2/255, such that the training's
      discriminators take them for the target; near that of the sources for a judge that can be believed. Not where
      discriminators are not there.

    Raises:
        UsageError: there is no classifier network of that name, or two judges have the same name, or a network, layer
            or size of a judge does not exist.
        DataError: weights of a judge are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """

    measures = ("pictures", 2)
    direction = {"target_share": "higher"}

    def __init__(self, options: TargetShareOptions):
        super().__init__(options)
        build_classifier(options, 3, 2)  # fail before the training rather than at its first evaluation
        self.named = named_judges(self.options.judges)
        if any(each.select for each in self.named.values()):
            raise UsageError("judges: select is for metrics of a label; here the domains select their samples")
        if self.named:
            self.direction = {f"target_share_{name}": "higher" for name in self.named}  # type: ignore[misc]

    def check_domains(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Refuse domains that differ in channels, and judges without samples to train on."""
        for names in tasks.values():
            check_channels(domains, names)
            check_judges(domains, Question(tuple(names)), self.named)

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Train a classifier for each task, and measure its accuracy."""
        self.domains, self.tasks = domains, tasks
        self.labels = {
            task: {
                sample.key: i
                for i, name in enumerate(names)
                for sample in (*domains[name].samples, *domains[name].held_out)
            }
            for task, names in tasks.items()
        }
        if self.named:
            self._prepare_judges(domains, tasks, seed)
            return
        self.networks = {task: trained_classifier(domains, names, self.options, seed) for task, names in tasks.items()}
        self.accuracy = {
            task: self._accuracy(self.networks[task], [domains[name] for name in names])
            for task, names in tasks.items()
        }

    def _prepare_judges(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        self.judges = {
            task: {
                judge: trained_judge(domains, Question(tuple(names)), options, seed)
                for judge, options in self.named.items()
            }
            for task, names in tasks.items()
        }
        self.accuracies = {
            task: {
                f"accuracy_{name}": accuracy_of(judge, domains, tasks[task], Question(tuple(tasks[task])))
                for name, judge in judges.items()
            }
            for task, judges in self.judges.items()
        }

    def reset(self) -> None:
        """Forget all updates."""
        self.shares = JudgedShares()
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
    def update(
        self,
        translation: Translation,
        keys: list[str],
        source: Tensor,
        fake: Tensor,
        adversarial_source: AdversarialSource | None = None,
    ) -> None:
        """Add a batch: the keys of N samples, the sources and their translations, both (N, C, H, W)."""
        if self.named:
            self._ask_judges(translation, keys, source, fake, adversarial_source)
            return
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

    def _ask_judges(
        self,
        translation: Translation,
        keys: list[str],
        source: Tensor,
        fake: Tensor,
        adversarial_source: AdversarialSource | None,
    ) -> None:
        for task, judges in self.judges.items():
            if own := task == translation.task:
                labels = [float(list(self.tasks[task]).index(translation.target))] * len(keys)
            else:
                labels = [float(self.labels[task].get(key, np.nan)) for key in keys]
            figure, wanted = "target_share" if own else f"kept_{task}", dict.fromkeys(judges, np.array(labels))
            self.shares.add(translation, figure, judges, wanted, source, fake, adversarial_source, tried=own)

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the shares and the classifier's accuracy, by translation and name."""
        if self.named:
            found = self.shares.figures()
            return {t: each | known_figures(self.accuracies[t.task]) for t, each in found.items()}
        return {
            translation: {name: float(np.mean(values)) for name, values in hits.items()}
            | known_figures({"classifier_accuracy": self.accuracy[translation.task]})
            for translation, hits in self.hits.items()
        }

    def warnings(self) -> Sequence[str]:
        tried = self.accuracies if self.named else {task: {"": each} for task, each in self.accuracy.items()}
        what = "the judges" if self.named else "the classifier"
        return [*untried(what, {f"task {task}": each for task, each in tried.items()}), *self.shares.warnings()]

    def protocol(self) -> Mapping[str, str]:
        return protocol_of(self.named, "target_share") if self.named else {}
