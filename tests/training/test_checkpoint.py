"""Checkpoints: no state is forgotten. What training has changed is compared after loading, object by object."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_images.media import ImageMedia

from transgan import storage
from transgan.api import Hooks, Loss, Register, RunInfo, hookimpl
from transgan.monitoring.diagnostics import StepDiagnostics
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.training.distributed import Processes
from transgan.training.task_sampler import TaskSampler
from transgan.training.trainer import Trainer

#: Has an average, image pools, loss buffers, adaptive augmentation, balanced tasks, a guardian, and keeps the best.
RECIPE = Path(__file__).parents[1] / "fixtures" / "run_of_version_1" / "recipe.toml"
#: Makes every kind of state change within a short run.
OVERRIDES = (
    "train.steps=20",
    "data.media={use='fitted'}",
    "losses.faulty=1.0",
    "hooks.mending=true",
    "discriminators.d.adapt={samples=40, target=-0.99}",  # a target that every discriminator is above
    "evaluate.samples=4",
    "guard={action='warn', actions={not_finite='rollback', collapse='off', copying='off'}, skip=1, warmup=1, "
    "check_every=4, hiding=1.0001}",
)
#: Steps whose loss is not finite when they are trained for the first time: two in a row, for which the run goes back
#: to its newest good checkpoint, and one later, which is skipped.
FAULTY = (7, 8, 18)

#: What may differ after loading, and why. The walk does not enter these paths.
MAY_DIFFER = {
    "adviser.records": "read from metrics.jsonl",
    "networks._requires_grad": "set in each phase",
    "history._before": "the pools as the newest step found them",
    "history._replaced": "what the newest step has exchanged",
    "optimizers.by_name.*.found_inf": "set before each update",
    "optimizers.by_name.*.grad_scale": "set before each update",
    "optimizers.by_name.*.param_groups.*.lr": "set from the clock before each update",
    "optimizers.norms": "gradient norms of the newest step",
    "plan.metrics": "reset before each evaluation",
    "statistics.checked": "batches that were compared with what their media says",
    "statistics.found.*.caches": "decoded samples, which are decoded again",
    "statistics.fingerprints.*": "a cache: read of the samples' files when the first checkpoint is written",
    "statistics.media": "built on demand; their statistics are those of the domains, which are compared",
    "statistics.found.*.synthesized": "synthetic samples, which are synthesized again",
    "statistics.synthesized": "synthetic samples, which are synthesized again",
    "networks._given.*": "which conditions networks were given, for a check after the first step",
    "trainer.batches.orders": "a cache: an order follows from the seed and the epoch",
    "trainer.batches.pool": "threads",
    "trainer.batches.prefetched": "samples of the next step, which follow from the step",
    "trainer.checks": "all of the trainer's",
    "trainer.engine.objective.diagnostics": "figures of the newest step",
    "trainer.engine.objective.differentiable": "what the first step trains, which is reported after it",
    "trainer.engine._skipped": "read before each checkpoint",
    "trainer.engine.skipped": "whether the newest step was skipped",
    "trainer.evaluation": "what the newest evaluation has counted and reported, and which metrics are fitted",
    "trainer.figures": "of the newest evaluation, for hooks",
    "trainer.folder": "the lock of the run folder",
    "trainer.losses": "of the newest step, for hooks",
    "trainer.log.disk_full": "of the newest line",
    "trainer.log.folder": "the lock of the run folder",
    "trainer.log.metrics": "an open file",
    "trainer.log.progress": "the console",
    "trainer.log.registry": "the plugins",
    "trainer.hooks": "the plugins, and which of them have failed in this process",
    "trainer.progress": "the console",
    "trainer.published": "the step of the model folder, which is written with each checkpoint",
    "trainer.report": "what was read of the run folder, for its page",
    "trainer.saved": "when the newest checkpoint was written",
}
#: State that the run of these tests has to change: else they would not show that it is kept.
CHANGES = (
    "adviser.reported",
    "adviser.seen",
    "best.step",
    "best.tensors.*",
    "best.value",
    "ema._networks.g.forward.*",
    "ema.updates",
    "guardian.events.*",
    "guardian.faulty",
    "guardian.good_step",
    "guardian.lr_factor",
    "guardian.norms.*",
    "guardian.reported",
    "guardian.rollbacks",
    "guardian.skipped.*",
    "guardian.strikes.*",
    "guardian.warmup_from",
    "history.counts.*",
    "history.pools.*",
    "loss_buffers.values.augment/*share",
    "loss_buffers.values.lecam/*",
    "networks._networks.d.old.*",
    "networks._networks.g.forward.*",
    "optimizers.by_name.*.exp_avg",
    "optimizers.by_name.*.exp_avg_sq",
    "optimizers.by_name.*.step",
    "optimizers.lr_factor",
    "statistics.statistics.*",
    "task_sampler.lags.*",
    "task_sampler.largest.*",
    "task_sampler.separation",
    "task_sampler.steps.*",
    "trainer.engine.completed",
)


class Fitted(ImageMedia):
    """Images with a statistic: how many domains were fitted before. Fitting a domain again would change it."""

    fitted = count()

    def fit_statistics(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        return {"before": torch.tensor(float(next(Fitted.fitted)))}


class Faulty(Loss):
    """Is 0, or NaN in the steps of `pending`."""

    pending: set[int] = set()

    def for_generator(self, fake: Tensor, clock: Any) -> Tensor:
        return fake.sum() * (math.nan if clock.step + 1 in self.pending else 0.0)


class Mending(Hooks):
    """Ends the fault of a step with the step."""

    def step_finished(self, run: RunInfo) -> None:
        Faulty.pending.discard(run.step)


class Plugin:
    @hookimpl
    def register_media(self, register: Register) -> None:
        register("fitted", Fitted)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("faulty", Faulty)

    @hookimpl
    def register_hooks(self, register: Register) -> None:
        register("mending", Mending)


def trainer_in(folder: storage.RunFolder) -> Trainer:
    registry = Registry.installed()
    registry.add(Plugin(), "of_this_test")
    document = read_recipe(RECIPE, OVERRIDES)
    return Trainer(document, make_plan(document, registry), registry, Processes(), folder)


State = dict[str, Any]


def state_of(trainer: Trainer) -> State:
    """Return every value that is reachable from a trainer, by its path.

    The walk enters containers, and the objects of transgan, its plugins, `torch.nn` and `torch.optim`. Objects of other
    packages, classes and functions are not compared.
    """
    found: State = {}
    seen: set[int] = set()  # each mutable object is reported once, under the first path that leads to it
    networks = trainer.engine.networks.items()
    names = {id(p): f"{network}.{key}" for network, module in networks for key, p in module.named_parameters()}

    def walk(value: Any, path: str) -> None:
        if any(fnmatchcase(path, pattern) for pattern in MAY_DIFFER):
            return
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, PurePath)):
            found[path] = value
        elif isinstance(value, (set, frozenset)):
            found[path] = sorted(map(repr, value))
        elif isinstance(value, tuple):
            for i, each in enumerate(value):
                walk(each, f"{path}.{i}")
        elif id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, (Tensor, np.ndarray)):
                found[path] = value.detach().clone() if isinstance(value, Tensor) else value.copy()
            elif is_entered(value):
                for name, each in sorted(vars(value).items()):
                    walk(each, f"{path}.{name}")
            elif isinstance(value, Mapping):
                keys = {names[id(key)] if isinstance(key, Tensor) else str(key): key for key in value}
                for name, key in sorted(keys.items()):
                    walk(value[key], f"{path}.{name}")
            elif isinstance(value, list):
                for i, each in enumerate(value):
                    walk(each, f"{path}.{i}")

    walk(trainer.plan, "plan")
    for name, each in trainer.state.objects.items():
        walk(each, name)
    walk(trainer, "trainer")
    return found


def is_entered(value: Any) -> bool:
    modules = [cls.__module__ for cls in type(value).__mro__]
    packages = ("transgan", "torch.nn.modules", "torch.optim")
    return not isinstance(value, type) and hasattr(value, "__dict__") and any(m.startswith(packages) for m in modules)


def differing(one: State, two: State) -> set[str]:
    """Return the paths whose values differ, or that only one of two states has."""
    return {path for path in one.keys() | two.keys() if not equal(one.get(path, ...), two.get(path, ...))}


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.dtype == two.dtype and one.device == two.device and torch.equal(one, two)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return one.dtype == two.dtype and np.array_equal(one, two)
    return type(one) is type(two) and bool(one == two)


@dataclass
class States:
    """The state of a trainer before its first step, after some steps, and that of another that has loaded it."""

    fresh: State
    trained: State
    loaded: State

    @property
    def changed(self) -> set[str]:
        """What training has changed."""
        return differing(self.fresh, self.trained)

    @property
    def forgotten(self) -> set[str]:
        """What training has changed, and what is not the same after loading."""
        return self.changed & differing(self.trained, self.loaded)


def train_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> States:
    """Train, save, and load into a new trainer."""
    monkeypatch.setattr("transgan.training.task_sampler.EVERY", 2)
    monkeypatch.setattr("transgan.training.task_sampler.MEMORY", 2)
    # What discriminators of so few steps recognise is of the machine's rounding: here they fall behind from the first.
    recognised, rates = StepDiagnostics.recognised, count(1)
    monkeypatch.setattr(
        StepDiagnostics,
        "recognised",
        lambda self, task: None if recognised(self, task) is None else torch.tensor(0.5 + 0.4 / next(rates)),
    )
    monkeypatch.setattr(Faulty, "pending", {*FAULTY})
    # At the end of training save once more, since the last step has been previewed since then; write no model.
    monkeypatch.setattr(Trainer, "_end", lambda self, outcome: self.save(self.engine.completed))
    with storage.RunFolder.open(tmp_path / "run") as folder:
        trainer = trainer_in(folder)
        fresh = state_of(trainer)
        assert trainer.fit(Progress(20, quiet=True)) == 0
        trained = state_of(trainer)
    with storage.RunFolder.open(tmp_path / "run") as folder:
        trainer = trainer_in(folder)
        monkeypatch.setattr(Trainer, "_end", lambda self, outcome: None)
        assert trainer.fit(Progress(20, quiet=True)) == 0  # loads the checkpoint, which is of the last step
        return States(fresh, trained, state_of(trainer))


def test_loading_a_checkpoint_restores_all_that_training_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = train_and_load(tmp_path, monkeypatch)
    assert states.forgotten == set()
    assert differing(states.trained, states.loaded) == set()
    for pattern in CHANGES:
        assert any(fnmatchcase(path, pattern) for path in states.changed), f"{pattern} has not changed"


class Counting(TaskSampler):
    """A task sampler with an attribute that its `state_dict` lacks."""

    forgotten = 0

    def update(self, *args: Any) -> None:
        super().update(*args)
        self.forgotten += 1


def test_an_attribute_that_is_not_saved_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transgan.training.engine.TaskSampler", Counting)
    assert train_and_load(tmp_path, monkeypatch).forgotten == {"task_sampler.forgotten"}
