"""The metric `label_kept`: whether a translation still shows what its source is labelled as."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import Domain, Metric, Sample, Translation, UsageError, listed
from transgan_images.classifier import BATCH, ClassifierOptions, build_classifier, chosen, samples_of, train_classifier
from transgan_images.judges import JudgeOptions, Question, check_judges, named_judges, question_about, trained_judge
from transgan_images.metrics_judges import (
    AdversarialSource,
    JudgedShares,
    accuracy_of,
    known_figures,
    protocol_of,
    untried,
)


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

    Sources without the label, or with a value that no training sample of the target domain has, are not counted: it has
    to change. A translation between domains without a common value has no figures, such as one that changes the label;
    and without `judges` one to a domain with a single value, which a classifier cannot learn.

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

    def check_domains(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Refuse samples without the label, a label that no translation can keep, and judges that cannot be trained."""
        question = self._question(domains, tasks)
        if self.named:
            check_judges(domains, question, self.named)
        self._note_values(domains, tasks)
        ends = [(a, b) for names in tasks.values() for a, b in permutations(names, 2)]
        reasons = dict.fromkeys(self._why_not(source, target) for source, target in ends)
        if "" not in reasons:
            raise UsageError(f"no translation can be measured: {listed(list(reasons), 3)}; choose another label")

    def _question(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> Question:
        names = list(dict.fromkeys(name for each in tasks.values() for name in each))
        return question_about(self.options.label, domains, names, number=False)

    def _note_values(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Note which values of the label each domain's training samples have."""
        names = dict.fromkeys(name for each in tasks.values() for name in each)
        self.values = {
            name: {value for value in map(self._label, domains[name].samples) if value is not None} for name in names
        }

    def _why_not(self, source: str, target: str) -> str:
        """Return why a translation between two domains cannot be measured; an empty text where it can."""
        label, own, there = self.options.label, self.values[source], self.values[target]
        if lacking := [name for name, values in ((source, own), (target, there)) if not values]:
            return f"no samples of '{lacking[0]}' have the label '{label}'"
        if not own & there:
            one, other = sorted((source, target))  # both directions, one reason
            return f"'{one}' and '{other}' have no value of '{label}' in common"
        if not self.named and len(there) == 1:
            return f"all samples of '{target}' have {label} = {next(iter(there))!r}"
        return ""

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Train a classifier for each domain whose samples have the label, and measure its accuracy."""
        self._note_values(domains, tasks)
        self.classes: dict[str, list[Hashable]] = {}
        self.networks: dict[str, nn.Module] = {}
        self.accuracy: dict[str, float] = {}
        if self.named:
            self._prepare_judges(domains, tasks, seed)
            return
        ends = [(source, target) for names in tasks.values() for source, target in permutations(names, 2)]
        for name in dict.fromkeys(target for source, target in ends if not self._why_not(source, target)):
            values = self.classes[name] = sorted(self.values[name], key=str)
            x, y = self._real(domains[name], held_out=False)
            self.networks[name] = train_classifier(x, y, len(values), self.options, seed, self.options.mirror)
            self.accuracy[name] = self._accuracy(domains[name])

    def _prepare_judges(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        question = self._question(domains, tasks)
        self.judges = {name: trained_judge(domains, question, each, seed) for name, each in self.named.items()}
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
        if self._why_not(translation.source, translation.target):
            self.uncounted[translation] += len(samples)
            return
        if self.named:
            there = self.values[translation.target]
            labels = [label if (label := self._label(sample)) in there else None for sample in samples]
            wanted = {name: np.array([judge.index(label) for label in labels]) for name, judge in self.judges.items()}
            self.uncounted[translation] += max(int(np.isnan(each).sum()) for each in wanted.values())
            self.shares.add(translation, "label_kept", self.judges, wanted, source, fake, adversarial_source)
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
            return {t: each | known_figures(self.accuracies[t.task]) for t, each in found.items() if each}
        return {
            translation: {name: float(np.mean(values)) for name, values in hits.items()}
            | known_figures({"label_accuracy": self.accuracy[translation.target]})
            for translation, hits in self.hits.items()
        }

    def warnings(self) -> Sequence[str]:
        lacking, reasons = list[str](), dict[str, list[str]]()
        for translation, count in self.uncounted.items():
            if why := self._why_not(translation.source, translation.target):
                reasons.setdefault(why, []).append(str(translation))
            elif count:
                lacking.append(f"{translation} {count}")
        said = [f"no figures for {listed(each)}: {why}" for why, each in reasons.items()]
        known = "the target domain and the judges have" if self.named else "the target domain has"
        what = f"sources without a label '{self.options.label}' that {known} are not counted"
        if self.named:
            untested = untried("the judges", {f"task {task}": each for task, each in self.accuracies.items()})
        else:
            untested = untried(
                "the classifier", {f"domain {t.target}": {"": self.accuracy[t.target]} for t in self.hits}
            )
        said += [f"{what}: {listed(lacking)}"] if lacking else []
        return [*said, *untested, *self.shares.warnings()]

    def protocol(self) -> Mapping[str, str]:
        return protocol_of(self.named, "label_kept") if self.named else {}
