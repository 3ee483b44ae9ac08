"""What stands between samples and discriminators: augmentation (Zhao et al., 2020), learned where that is asked for."""

import torch
from torch import Tensor

from transgan.api.protocols import DiscriminatorOutput
from transgan.api.samples import Draws
from transgan.api.schedule import Clock
from transgan.data.draws import OwnDraws
from transgan.engine.memory import Memory
from transgan.plan.plan import Judge, Plan

#: Steps between two changes of a learned share, as in Karras et al. (2020).
EVERY = 4


class Augmenter:
    """Shows samples to judges, real and fake under the same draw.

    The share of samples that an augmentation changes is all of them, or with `adapt` follows the sign statistic (Karras
    et al., 2020, section 3.1 and equation 1): by a fixed amount up while the mean sign of the logits of real samples is
    above its target, and down while it is below. Logits count from where the loss leaves a discriminator undecided.
    """

    def __init__(self, plan: Plan, memory: Memory):
        self.plan = plan
        self.memory = memory
        self.learned = {judge.network: judge.adapt for each in plan.judges.values() for judge in each if judge.adapt}
        adversaries = {network: plan.adversary(network) for network in self.learned}
        self.middle = {network: loss.boundary or 0.0 if loss else 0.0 for network, loss in adversaries.items()}

    def __call__(self, judge: Judge, x: Tensor, given: int, draws: Draws, phase: str, clock: Clock) -> Tensor:
        """(N, C, *space) as the judge shall see it; the first `given` channels are what it sees beside the sample."""
        beside, own = x[:, :given], x[:, given:]
        for name, augmentation in judge.augment:
            mine = OwnDraws(draws, f"{judge.name}|{phase}|{name}")
            changed = None
            if judge.network in self.learned:
                changed = mine.uniform("whether").to(x) < self._share(judge.network, x)
            own = _some(own, augmentation(own, mine, clock), changed)
            if given and augmentation.moves:
                beside = _some(beside, augmentation(beside, mine, clock), changed)
        return torch.cat([beside, own], 1) if given else own

    def watch(self, judge: Judge, real: DiscriminatorOutput) -> None:
        """Takes down what a judge says of real samples."""
        if judge.network in self.learned:
            known = self.memory.about(f"augment/{judge.network}")
            signs = torch.cat([(each.detach() - self.middle[judge.network]).sign().flatten() for each in real.logits])
            new = {"signs": signs.sum(), "count": torch.full_like(signs[0], len(signs))}
            self.memory.note(f"augment/{judge.network}", {key: value + known.get(key, 0) for key, value in new.items()})

    def adapt(self, clock: Clock) -> None:
        """Ends a step: where it is time, shares move."""
        for network, adapt in self.learned.items():
            known = self.memory.about(f"augment/{network}")
            if "signs" in known:
                share = known.get("share", torch.zeros_like(known["signs"]))
                if (clock.step + 1) % EVERY == 0:
                    move = EVERY * self.plan.stage_at(clock.step).batch / adapt.samples
                    way = (known["signs"] - adapt.target * known["count"]).sign()
                    share = (share + move * way).clamp(0, adapt.most)
                    known = {key: torch.zeros_like(value) for key, value in known.items()}
                for key, value in {**known, "share": share}.items():
                    self.memory.values[f"augment/{network}|{key}"] = value

    def figures(self) -> dict[str, Tensor]:
        """The learned shares, for the log."""
        known = {network: self.memory.about(f"augment/{network}") for network in self.learned}
        return {f"augment/{network}": each["share"] for network, each in known.items() if "share" in each}

    def _share(self, network: str, like: Tensor) -> Tensor:
        return self.memory.about(f"augment/{network}").get("share", like.new_zeros(()))


def _some(x: Tensor, changed: Tensor, which: Tensor | None) -> Tensor:
    """The samples, those of `which` (N,) changed; all, without it."""
    return changed if which is None else torch.where(which.view(-1, *[1] * (x.ndim - 1)), changed, x)
