"""What a step's tensors say of how a training stands: a few figures of each translation, beside the losses.

They stay on the device until they are read. All but `recognised` and `gap` are taken at logged steps alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from transgan.api.protocols import DiscriminatorOutput, Translation
from transgan.engine.processes import Processes
from transgan.graph import Key, asks
from transgan.plan.plan import Judge, Plan, Term
from transgan.recipe.schema import Phase

#: Samples are compared with each other in a coarse version of so many numbers an axis: what they are as a whole.
COARSE = 8
#: Bands of channels whose levels are watched, at most.
BANDS = 4


class State:
    """The figures of one step, by translation.

    - `change`: mean |fake - source|; `distance`: mean |target - source|, two samples that have nothing to do with each
      other; `reconstruction`: mean |reconstruction - source|. All as shares of the range of a number, 2.
    - `spread`, `spread_of_target`: standard deviation over the samples of the batch, coarse, as a share of the range.
    - `drift.N`: mean of the fakes less that of the targets in band N of the channels, with its sign; `between.N`: that
      of the sources less that of the targets; `spread_of_level`: standard deviation of a target's mean in a band.
    - `recognised`: how often a discriminator puts a real sample above a fake one, place by place: 0.5 for one that
      cannot tell them, 1 for one that always can, whatever its loss. `gap`: mean logit of the real less of the fake.
    - `cycle`, `adversarial`: the terms on `reconstruction`, and the adversarial ones, each times its weight.

    Args:
        processes: whose samples count together where samples are compared; None for this process alone.
    """

    def __init__(self, plan: Plan, processes: Processes | None = None):
        self.processes = processes
        self.judging = len(plan.recipe.tasks) > 1  # tasks are weighed against each other in every step
        self.begin(False)

    def begin(self, watching: bool) -> None:
        """Forgets the step before; `watching` says whether this one is logged."""
        self.watching = watching
        self.sums: dict[Key, list[Tensor]] = defaultdict(list)
        self.coarse: dict[Translation, list[tuple[Tensor, ...]]] = defaultdict(list)

    @torch.no_grad()
    def see(
        self,
        phase: Phase,
        values: Mapping[Key, Any],
        answers: Mapping[tuple[Translation, Judge | None], Mapping[str, Any]],
        weighted: Iterable[tuple[Term, Tensor]],
    ) -> None:
        """Takes in a phase: the step's tensors, what discriminators answered, and each term times its weight."""
        if phase.side == "discriminator" and (self.judging or self.watching):
            for (translation, judge), answer in answers.items():
                if judge and judge.fake == "fake" and {"real_output", "fake_output"} <= answer.keys():
                    self._separation(translation, answer["real_output"], answer["fake_output"])
        if phase.side == "generator" and self.watching:
            terms = list(weighted)
            for translation in dict.fromkeys(term.translation for term, _ in terms):
                self._tensors(translation, values)
                self._forces(translation, terms)

    def _separation(self, translation: Translation, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> None:
        for above, below in zip(real.logits, fake.logits, strict=True):
            wins = torch.sign(above - below).mean()  # samples of a batch come by chance, so those at one place do too
            self.sums[translation, "recognised"].append(0.5 + 0.5 * wins)
            self.sums[translation, "gap"].append(above.mean() - below.mean())

    def _tensors(self, translation: Translation, values: Mapping[Key, Any]) -> None:
        fake: Tensor | None = values.get((translation, "fake"))
        source, target = values[translation, "source"], values[translation, "target"]
        if fake is None or fake.shape != source.shape:
            return
        found = {"change": fake - source, "distance": target - source}
        if (back := values.get((translation, "reconstruction"))) is not None:
            found["reconstruction"] = back - source
        for name, difference in found.items():
            self.sums[translation, name].append(0.5 * difference.abs().mean())
        self.coarse[translation].append((_coarse(source), _coarse(target), _coarse(fake)))

    def _forces(self, translation: Translation, weighted: Iterable[tuple[Term, Tensor]]) -> None:
        mine = [(role_of(term), value.detach()) for term, value in weighted if term.translation == translation]
        for role in ("cycle", "adversarial"):
            if values := [value for each, value in mine if each == role]:
                self.sums[translation, role].append(torch.stack(values).sum())

    def recognised(self, task: str) -> Tensor | None:
        """How well the discriminators of a task told fakes from reals in this step; None if they were not asked."""
        found = [
            each for (t, name), seen in self.sums.items() if t.task == task and name == "recognised" for each in seen
        ]
        return torch.stack(found).mean() if found else None

    def figures(self) -> dict[str, Tensor]:
        """Every figure of this step, by `translation/state/name`. All processes must ask, or none."""
        found = {
            f"{translation}/state/{name}": torch.stack(seen).mean() for (translation, name), seen in self.sums.items()
        }
        for translation, seen in self.coarse.items():
            found |= {
                f"{translation}/state/{name}": value
                for name, value in _compared(
                    *(self._of_all(torch.cat(each)) for each in zip(*seen, strict=True))
                ).items()
            }
        return found

    def _of_all(self, x: Tensor) -> Tensor:
        return self.processes.gather(x) if self.processes else x


def role_of(term: Term) -> str | None:
    """What a generator's term is for, by what it asks for: `cycle`, `identity`, `adversarial`, or none of these."""
    asked = asks(term.function)
    if "reconstruction" in asked:
        return "cycle"
    if "identity" in asked:
        return "identity"
    return "adversarial" if term.judge and term.judge.fake == "fake" and "fake_output" in asked else None


def roles(plan: Plan) -> dict[str, list[str]]:
    """The losses of a plan that do each job, by their names in the recipe."""
    found: dict[str, list[str]] = {}
    for term in plan.terms:
        if term.side == "generator" and (role := role_of(term)) and term.loss not in found.setdefault(role, []):
            found[role].append(term.loss)
    return found


def _coarse(x: Tensor) -> Tensor:
    """(N, C, *space) as (N, C, *space of at most COARSE), each number the mean of what it stands for."""
    pool: Callable[..., Tensor] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[
        x.ndim - 2
    ]
    return pool(x.detach(), tuple(min(COARSE, length) for length in x.shape[2:]))


def _compared(sources: Tensor, targets: Tensor, fakes: Tensor) -> dict[str, Tensor]:
    levels = _levels(targets)
    middle = levels.mean(0)
    found = {f"drift.{band}": 0.5 * drift for band, drift in enumerate(_levels(fakes).mean(0) - middle)}
    found |= {f"between.{band}": 0.5 * gap for band, gap in enumerate(_levels(sources).mean(0) - middle)}
    if len(fakes) > 1:  # one sample alone has no spread
        for name, x in (("spread", fakes), ("spread_of_target", targets), ("spread_of_level", levels)):
            found[name] = 0.5 * x.var(0).mean().sqrt()
    return found


def _levels(x: Tensor) -> Tensor:
    """(N, C, *space) as (N, bands): the mean of each sample in each band of channels."""
    means = x.flatten(2).mean(2)
    return torch.stack([band.mean(1) for band in means.chunk(min(BANDS, means.shape[1]), 1)], 1)
