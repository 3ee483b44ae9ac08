"""Diagnostics of a training step: a few figures of each translation, beside the losses.

They stay on the device until they are read. All but `recognised` and `gap` are computed at logged steps alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from transgan.api.protocols import DiscriminatorOutput, Loss, Translation
from transgan.graph import Key, argument_names
from transgan.plan.plan import DiscriminatorUse, Plan, Term, is_adversarial
from transgan.recipe.schema import Phase

#: Samples are compared with each other after pooling to at most N numbers an axis.
COARSE = 8
#: Groups of channels whose means are compared, at most.
BANDS = 4


class StepDiagnostics:
    """The figures of one step, by translation.

    - `change`: mean |fake - source|; `distance`: mean |target - source|, of two unrelated samples; `reconstruction`:
      mean |reconstruction - source|. All as shares of the range of a number, 2.
    - `spread`, `spread_of_target`: standard deviation over the samples of the batch, pooled, as a share of the range.
    - `drift.N`: mean of the fakes less that of the targets in the Nth group of channels, signed; `between.N`: that of
      the sources less that of the targets; `spread_of_level`: standard deviation of a target's mean in such a group.
    - `recognised`: how often a discriminator ranks a real sample above a fake one, place by place: 0.5 if it cannot
      distinguish them, 1 if it always does, whatever its loss. `gap`: mean logit of the real less that of the fake.
    - `cycle`, `adversarial`: the losses on `reconstruction`, and the adversarial ones, times their weights.

    Args:
        gather: joins (N, ...) of all processes, where samples are compared; None for this process alone.
    """

    def __init__(self, plan: Plan, gather: Callable[[Tensor], Tensor] | None = None):
        self.losses = plan.losses
        self.gather = gather or (lambda x: x)
        self.every_step = len(plan.recipe.tasks) > 1  # tasks are compared with each other at every step
        self.begin(False)

    def begin(self, logged: bool) -> None:
        """Begin a step; `logged` says whether its figures will be read."""
        self.logged = logged
        self.sums: dict[Key, list[Tensor]] = defaultdict(list)
        self.pooled: dict[Translation, list[tuple[Tensor, ...]]] = defaultdict(list)

    @torch.no_grad()
    def update(
        self,
        phase: Phase,
        values: Mapping[Key, Any],
        pairs: Iterable[tuple[Translation, DiscriminatorUse, DiscriminatorOutput, DiscriminatorOutput]],
        weighted: Iterable[tuple[Term, Tensor]],
    ) -> None:
        """Take in a phase.

        Args:
            values: the step's tensors.
            pairs: each discriminator's outputs for real and fake.
            weighted: each loss times its weight.
        """
        if phase.side == "discriminator" and (self.every_step or self.logged):
            for translation, use, real, fake in pairs:
                if use.fake == "fake":
                    self._separation(translation, real, fake)
        if phase.side == "generator" and self.logged:
            terms = list(weighted)
            for translation in dict.fromkeys(term.translation for term, _ in terms):
                self._samples(translation, values)
                self._weighted_losses(translation, terms)

    def _separation(self, translation: Translation, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> None:
        for above, below in zip(real.logits, fake.logits, strict=True):
            wins = torch.sign(above - below).mean()  # the samples of a batch are random, so pairs at one place are too
            self.sums[translation, "recognised"].append(0.5 + 0.5 * wins)
            self.sums[translation, "gap"].append(above.mean() - below.mean())

    def _samples(self, translation: Translation, values: Mapping[Key, Any]) -> None:
        fake: Tensor | None = values.get((translation, "fake"))
        source, target = values[translation, "source"], values[translation, "target"]
        if fake is None or fake.shape != source.shape:
            return
        differences = {"change": fake - source, "distance": target - source}
        if (back := values.get((translation, "reconstruction"))) is not None:
            differences["reconstruction"] = back - source
        for name, difference in differences.items():
            self.sums[translation, name].append(0.5 * difference.abs().mean())
        self.pooled[translation].append((_pool(source), _pool(target), _pool(fake)))

    def _weighted_losses(self, translation: Translation, weighted: Iterable[tuple[Term, Tensor]]) -> None:
        mine = [
            (role_of(term, self.losses[term.loss]), value.detach())
            for term, value in weighted
            if term.translation == translation
        ]
        for role in ("cycle", "adversarial"):
            if values := [value for each, value in mine if each == role]:
                self.sums[translation, role].append(torch.stack(values).sum())

    def recognised(self, task: str) -> Tensor | None:
        """Return how well a task's discriminators distinguished fakes in this step; None if they were not run."""
        found = [
            each for (t, name), seen in self.sums.items() if t.task == task and name == "recognised" for each in seen
        ]
        return torch.stack(found).mean() if found else None

    def figures(self) -> dict[str, Tensor]:
        """Return every figure of this step, by `translation/diagnostics/name`. Every process must call it, or none."""
        found = {
            f"{translation}/diagnostics/{name}": torch.stack(seen).mean()
            for (translation, name), seen in self.sums.items()
        }
        for translation, seen in self.pooled.items():
            gathered = (self.gather(torch.cat(each)) for each in zip(*seen, strict=True))
            compared = _compare(*gathered)
            found |= {f"{translation}/diagnostics/{name}": value for name, value in compared.items()}
        return found


def role_of(term: Term, loss: Loss) -> str | None:
    """Return the role of a loss's term for generators: `cycle`, `identity`, `adversarial`, or None.

    A loss is adversarial if it also trains the discriminator to distinguish. Others on a discriminator's output compare
    its features, or ask it for a class.
    """
    names = argument_names(term.function)
    if "reconstruction" in names:
        return "cycle"
    if "identity" in names:
        return "identity"
    use = term.discriminator
    return "adversarial" if use and use.fake == "fake" and "fake_output" in names and is_adversarial(loss) else None


def loss_roles(plan: Plan) -> dict[str, list[str]]:
    """Return a plan's losses by role, under their names in the recipe."""
    found: dict[str, list[str]] = {}
    for term in plan.terms:
        role = role_of(term, plan.losses[term.loss]) if term.side == "generator" else None
        if role and term.loss not in found.setdefault(role, []):
            found[role].append(term.loss)
    return found


def _pool(x: Tensor) -> Tensor:
    """Average (N, C, *space) to at most COARSE numbers an axis."""
    pool: Callable[..., Tensor] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[
        x.ndim - 2
    ]
    return pool(x.detach(), tuple(min(COARSE, length) for length in x.shape[2:]))


def _compare(sources: Tensor, targets: Tensor, fakes: Tensor) -> dict[str, Tensor]:
    levels = _levels(targets)
    middle = levels.mean(0)
    found = {f"drift.{band}": 0.5 * drift for band, drift in enumerate(_levels(fakes).mean(0) - middle)}
    found |= {f"between.{band}": 0.5 * gap for band, gap in enumerate(_levels(sources).mean(0) - middle)}
    if len(fakes) > 1:  # a single sample has no standard deviation
        for name, x in (("spread", fakes), ("spread_of_target", targets), ("spread_of_level", levels)):
            found[name] = 0.5 * x.var(0).mean().sqrt()
    return found


def _levels(x: Tensor) -> Tensor:
    """Return (N, bands): the mean of each sample (N, C, *space) in each group of channels."""
    means = x.flatten(2).mean(2)
    return torch.stack([band.mean(1) for band in means.chunk(min(BANDS, means.shape[1]), 1)], 1)
