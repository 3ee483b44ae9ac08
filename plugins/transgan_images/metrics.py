"""How many translations a classifier, trained apart on the real domains, takes for the target domain."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.api import Domain, Metric, Options, Translation


class TargetShareOptions(Options):
    epochs: int = Field(8, ge=1)
    """Passes over the real training samples of a task's domains when its classifier is trained."""
    width: int = Field(24, ge=4)
    """Channels of the classifier's first layer."""
    most: int = Field(2000, ge=16)
    """Training samples of a domain, at most."""


class TargetShare(Metric):
    """Shares of translations and of sources that a task's classifier assigns to the target domain.

    `classifier_accuracy` is its accuracy on held-out real samples of both domains, without which a share says nothing.
    `kept_<task>` is how often the classifier of another task still sees the source's own domain in the translation,
    `kept_<task>_of_source` how often it sees it in the source. A share alone does not make a good translation.
    """

    Options = TargetShareOptions
    better = {"target_share": "higher"}

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
        self.networks: dict[str, nn.Module] = {}
        self.accuracy: dict[str, float] = {}
        for task, names in tasks.items():
            self.networks[task] = self._train([domains[name] for name in names], seed)
            self.accuracy[task] = self._accuracy(self.networks[task], [domains[name] for name in names])

    def reset(self) -> None:
        self.hits: dict[Translation, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))

    def _train(self, domains: Sequence[Domain], seed: int) -> nn.Module:
        samples = [self._all(domain, held_out=False) for domain in domains]
        x = torch.cat(samples)
        y = torch.cat([torch.full((len(each),), i, device=x.device) for i, each in enumerate(samples)])
        # Dropout draws too: the run's own random numbers must not be touched.
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(seed)
            return self._fit(_classifier(x.shape[1], len(domains), self.options.width).to(x.device), x, y, seed)

    def _fit(self, network: nn.Module, x: Tensor, y: Tensor, seed: int) -> nn.Module:
        weights = 1 / torch.bincount(y).float()
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
        rng = np.random.default_rng(seed)
        batch = min(64, len(x))
        total = max(60, self.options.epochs * (len(x) // batch))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=total)
        for _ in range(total):
            at = torch.from_numpy(rng.integers(len(x), size=batch)).to(x.device)
            inputs = x[at]
            if rng.random() < 0.5:
                inputs = inputs.flip(-1)
            # A shift of brightness, so that the classifier has to look at more than the mean colour.
            inputs = inputs + 0.1 * torch.from_numpy(rng.standard_normal((batch, 1, 1, 1))).to(inputs)
            loss = F.cross_entropy(network(inputs), y[at], weight=weights * len(weights) / weights.sum())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return network.eval()

    def _all(self, domain: Domain, held_out: bool) -> Tensor:
        found = [x for _, x in domain.batches(held_out, 256)]
        return torch.cat(found)[: self.options.most] if found else torch.empty(0)

    @torch.no_grad()
    def _accuracy(self, network: nn.Module, domains: Sequence[Domain]) -> float:
        """The mean over domains, so that a larger one does not count more."""
        right = []
        for i, domain in enumerate(domains):
            x = self._all(domain, held_out=True)
            if len(x):
                right.append(float((network(x).argmax(1) == i).float().mean()))
        return float(np.mean(right)) if right else float("nan")

    @torch.no_grad()
    def update(self, translation: Translation, keys: list[str], source: Tensor, fake: Tensor) -> None:  # type: ignore[override]
        hits = self.hits[translation]
        at = list(self.tasks[translation.task]).index(translation.target)
        network = self.networks[translation.task]
        hits["target_share"] += (network(fake).argmax(1) == at).tolist()
        hits["target_share_of_source"] += (network(source).argmax(1) == at).tolist()
        for task, network in self.networks.items():
            if task == translation.task:
                continue
            known = [i for i, key in enumerate(keys) if key in self.member[task]]
            if known:
                truth = torch.tensor([self.member[task][keys[i]] for i in known], device=fake.device)
                hits[f"kept_{task}"] += (network(fake[known]).argmax(1) == truth).tolist()
                hits[f"kept_{task}_of_source"] += (network(source[known]).argmax(1) == truth).tolist()

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {
            translation: {
                **{name: float(np.mean(values)) for name, values in hits.items()},
                "classifier_accuracy": self.accuracy[translation.task],
            }
            for translation, hits in self.hits.items()
        }


def _classifier(channels: int, classes: int, width: int) -> nn.Module:
    """A small network for small pictures: four halvings, then the mean."""
    layers: list[nn.Module] = []
    for i in range(4):
        wide = width * min(2**i, 4)
        layers += [nn.Conv2d(channels, wide, 3, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
        channels = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, classes))
