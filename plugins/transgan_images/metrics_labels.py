"""The metric `label_kept`: whether a translation still shows what its source is labelled as."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import Domain, Metric, Sample, Translation, UsageError, did_you_mean, listed
from transgan_images.classifier import BATCH, ClassifierOptions, build_classifier, chosen, samples_of, train_classifier
from transgan_images.judges import JudgeOptions, named_judges, question_about, trained_judge
from transgan_images.metrics_judges import AdversarialSource, JudgedShares, accuracy_of, protocol_of


class LabelKeptOptions(ClassifierOptions):
    label: str = "labels"
    """The label of the samples that translations should keep, such as the digit that an image shows."""
    mirror: bool = False
    """Mirror the classifier's training images with probability 1/2: where a mirrored image has the same label."""
    judges: list[JudgeOptions] = []
    """Judges, a table each, in place of the classifier, whose options then mean nothing; where a mirrored image has
    another label, with `mirror = false`."""


class LabelKept(Metric[LabelKeptOptions]):
    """Share of translations that a classifier assigns to the label of their source, from 0 to 1.

    The classifier is trained on the labels of real training samples of the target domain, independently of the run.
    Further figures, each from 0 to 1:

    - `label_kept_of_source`: the same of the untranslated sources;
    - `label_accuracy`: the classifier's accuracy on held-out real samples of the target domain, which bounds what can
      be expected.

    Sources without the label, or with one that no training sample of the target domain has, are not counted.

    `judges` are made otherwise than the classifier, and trained on the labels of all domains. With them there are, for
    each judge, `label_kept_<judge>` and `label_accuracy_<judge>`, and besides `..._of_source`, `..._unsteady` and
    `..._of_adversarial` as of `target_share`.

    Raises:
        UsageError: there is no classifier network of that name, or two judges have the same name, or a network, layer
            or size of a judge does not exist.
        DataError: weights of a judge are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """

    measures = ("pictures", 2)
    direction = {"label_kept": "higher"}

    def __init__(self, options: LabelKeptOptions):
        super().__init__(options)
        build_classifier(options, 3, 2)  # fail before the training rather than at its first evaluation
        self.named = named_judges(options.judges)
        if self.named:
            self.direction = {f"label_kept_{name}": "higher" for name in self.named}  # type: ignore[misc]

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Train a classifier for each domain of a task whose samples have the label, and measure its accuracy.

        Raises:
            UsageError: no domain's samples have the label, or a domain has one value of it only.
        """
        self.classes: dict[str, list[Hashable]] = {}
        self.networks: dict[str, nn.Module] = {}
        self.accuracy: dict[str, float] = {}
        if self.named:
            self._prepare_judges(domains, tasks, seed)
            return
        for name in dict.fromkeys(name for names in tasks.values() for name in names):
            if values := sorted(
                {value for value in map(self._label, domains[name].samples) if value is not None}, key=str
            ):
                if len(values) == 1:
                    raise UsageError(f"label_kept: all samples of '{name}' have {self.options.label} = {values[0]!r}")
                self.classes[name] = values
                x, y = self._real(domains[name], held_out=False)
                self.networks[name] = train_classifier(x, y, len(values), self.options, seed, self.options.mirror)
                self.accuracy[name] = self._accuracy(domains[name])
        if not self.networks:
            known = {name for each in domains.values() for sample in each.samples for name in sample.attributes}
            hint = did_you_mean(self.options.label, known) if known else "They have no labels."
            raise UsageError(f"label_kept: no samples have the label '{self.options.label}'. {hint}")

    def _prepare_judges(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        names = list(dict.fromkeys(name for each in tasks.values() for name in each))
        try:
            question = question_about(self.options.label, domains, names, number=False)
            self.judges = {name: trained_judge(domains, question, each, seed) for name, each in self.named.items()}
        except UsageError as error:
            raise UsageError(f"label_kept: {error}") from None
        self.accuracies = {
            task: {
                f"label_accuracy_{name}": accuracy_of(
                    judge, domains, [each for each in own if each in question.domains], question
                )
                for name, judge in self.judges.items()
            }
            for task, own in tasks.items()
        }

    def _label(self, sample: Sample) -> Hashable | None:
        value: Hashable | None = sample.attributes.get(self.options.label)
        return value

    def _classes(self, samples: Sequence[Sample], domain: str) -> Tensor:
        """Return the index of each sample's label among those of a domain, (N,); -1 where there is none."""
        index = {value: i for i, value in enumerate(self.classes[domain])}
        return torch.tensor([index.get(self._label(sample), -1) for sample in samples])

    def _real(self, domain: Domain, held_out: bool) -> tuple[Tensor, Tensor]:
        """Return a domain's labelled samples, (N, C, H, W), and their classes, (N,)."""
        samples = domain.held_out if held_out else domain.samples
        labels = self._classes(samples, domain.name).tolist()
        labelled = [i for i, label in enumerate(labels) if label >= 0]
        numbers = [labelled[i] for i in chosen(len(labelled), None if held_out else self.options.most)]
        x = samples_of(domain, held_out, numbers)
        return x, torch.tensor([labels[i] for i in numbers], dtype=torch.long, device=x.device)

    @torch.no_grad()
    def _accuracy(self, domain: Domain) -> float:
        """Return the accuracy of a domain's classifier on held-out samples; nan where there are none."""
        x, y = self._real(domain, held_out=True)
        return float(self._hits(domain.name, x, y).float().mean()) if len(y) else float("nan")

    @torch.no_grad()
    def _hits(self, domain: str, x: Tensor, y: Tensor) -> Tensor:
        """Return whether a domain's classifier assigns each sample (N, C, H, W) to its class (N,)."""
        return torch.cat([self.networks[domain](part)[1].argmax(1) for part in torch.split(x, BATCH)]) == y

    def reset(self) -> None:
        """Forget all updates."""
        self.hits: dict[Translation, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        self.uncounted: dict[Translation, int] = defaultdict(int)
        self.shares = JudgedShares()

    def update(
        self,
        translation: Translation,
        samples: Sequence[Sample],
        source: Tensor,
        fake: Tensor,
        adversarial_source: AdversarialSource | None = None,
    ) -> None:
        """Add a batch: N samples, the sources and their translations, both (N, C, H, W)."""
        if self.named:
            labels = [self._label(sample) for sample in samples]
            wanted = {name: np.array([judge.index(label) for label in labels]) for name, judge in self.judges.items()}
            self.uncounted[translation] += max(int(np.isnan(each).sum()) for each in wanted.values())
            self.shares.add(translation, "label_kept", self.judges, wanted, source, fake, adversarial_source)
            return
        if translation.target not in self.networks:
            return
        y = self._classes(samples, translation.target).to(fake.device)
        counted = y >= 0
        self.uncounted[translation] += int((~counted).sum())
        for name, x in {"label_kept": fake, "label_kept_of_source": source}.items():
            if counted.any() and x.shape[1] == fake.shape[1]:
                self.hits[translation][name] += self._hits(translation.target, x[counted], y[counted]).tolist()

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the shares and the classifier's accuracy, by translation and name."""
        if self.named:
            found = self.shares.figures()
            return {t: each | self.accuracies[t.task] for t, each in found.items() if each}
        return {
            translation: {
                **{name: float(np.mean(values)) for name, values in hits.items()},
                "label_accuracy": self.accuracy[translation.target],
            }
            for translation, hits in self.hits.items()
        }

    def warnings(self) -> Sequence[str]:
        lacking = [f"{translation} {count}" for translation, count in self.uncounted.items() if count]
        known = "the judges know" if self.named else "the target domain has"
        what = f"sources without a label '{self.options.label}' that {known} are not counted"
        return [*([f"{what}: {listed(lacking)}"] if lacking else []), *self.shares.warnings()]

    def protocol(self) -> Mapping[str, str]:
        return protocol_of(self.named, "label_kept") if self.named else {}
