"""The task that a step trains: chosen by fixed shares or by the tasks' lags; no other task's networks are updated."""

import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from transgan import storage
from transgan.api import Clock
from transgan.errors import RecipeError
from transgan.training.task_sampler import EVERY, FLOOR, MEMORY, TaskSampler, auto_shares, describe_tasks

RECIPE = """
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"], weight = 0.5 }
[train]
steps = 100_000
batch = 4
balance = "auto"
[conditionings]
task = { use = "channel" }
[generators]
face = { use = "resnet", per = "direction", width = 4, blocks = 1, norm = "group", norm_first = false }
[discriminators]
face = { use = "patch", width = 4, layers = 1, norm = "group", history = 3 }
[losses]
lsgan = 1.0
cycle = 10.0
"""
# All that a resume could get wrong: stages, micro-batches, an average, a checkpoint between two updates of the lags.
RUN = (
    "train.steps=26",
    "train.accumulate=2",
    "train.ema=0.9",
    "train.checkpoint_every=13",
    "train.log_every=1",
    "train.keep=9",
    "data.size=24",
    "stages=[{share=0.5,size=16},{share=0.5}]",
)


def at(step: int) -> Clock:
    return Clock(step=step, run=step / 100_000)


def tasks_of(sampler: TaskSampler, steps: range) -> list[str | None]:
    return [sampler.task(at(step)) for step in steps]


def diagnostics(**recognised: float) -> Any:
    """Return diagnostics in which discriminators recognise this share of each task's fakes."""
    return SimpleNamespace(recognised=lambda task: torch.tensor(recognised[task]) if task in recognised else None)


def updated(sampler: TaskSampler, steps: range, **recognised: float) -> None:
    """Update a sampler as if these steps had been trained with these diagnostics."""
    for step in steps:
        task = sampler.task(at(step))
        sampler.update(at(step), diagnostics(**{t: r for t, r in recognised.items() if task in (t, None)}))


@pytest.mark.parametrize("shares", [{"age": 2.0, "race": 1.0}, {"age": 0.05, "race": 0.95}, {"age": 3.0, "race": 0.0}])
def test_tasks_are_chosen_in_proportion_to_fixed_shares(planned: Any, shares: dict[str, float]) -> None:
    table = f"{{age={shares['age']},race={shares['race']}}}"
    sampler = TaskSampler(planned(RECIPE, overrides=(f"train.balance={table}",)))
    for steps in (range(1000), range(500, 700), range(0, 2000, 5)):  # from any step on, and at every fifth step
        counts = Counter(tasks_of(sampler, steps))
        for task, share in shares.items():
            expected = share / sum(shares.values())
            assert counts[task] / len(steps) == pytest.approx(expected, abs=5 / len(steps))


def test_shares_may_follow_a_schedule(planned: Any) -> None:
    table = "train.balance={age=1,race={from=0,to=3,between=[0,0.1]}}"
    sampler = TaskSampler(planned(RECIPE, overrides=(table,)))
    assert sampler.task(at(0)) == "age"
    counts = Counter(tasks_of(sampler, range(50_000, 51_000)))
    assert counts["race"] == pytest.approx(750, abs=3)


def test_the_order_follows_from_the_seed_and_no_task_waits_long(planned: Any) -> None:
    first, again, other = (TaskSampler(planned(RECIPE, overrides=(f"train.seed={seed}",))) for seed in (0, 0, 1))
    order = tasks_of(first, range(300))
    assert order == tasks_of(again, range(300)) != tasks_of(other, range(300))
    table = TaskSampler(planned(RECIPE, overrides=("train.balance={age=7,race=1}",)))
    times = [step for step, task in enumerate(tasks_of(table, range(2000))) if task == "race"]
    assert max(b - a for a, b in pairwise(times)) <= 13  # three gaps, the largest the sum of the others (Sos, 1958)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_automatic_shares_are_bounded_and_rise_with_the_lag(count: int) -> None:
    numbers = torch.rand(50, count, generator=torch.Generator().manual_seed(count))
    numbers[0], numbers[1, 1:] = 0, 0
    for lags in numbers.tolist():
        shares = auto_shares({str(i): lag for i, lag in enumerate(lags)})
        assert sum(shares.values()) == pytest.approx(1)
        floor = FLOOR / count
        assert all(floor - 1e-12 <= share <= floor + 1 - FLOOR + 1e-12 for share in shares.values())
        ordered = [shares[str(i)] for i in sorted(range(count), key=lags.__getitem__)]
        assert ordered == sorted(ordered)
    assert auto_shares({"a": 0.0, "b": 0.0}) == {"a": 0.5, "b": 0.5}
    assert auto_shares({"a": 0.8, "b": 0.4}) == pytest.approx({"a": 0.125 + 0.75 * 0.8, "b": 0.125 + 0.75 * 0.2})


def test_the_task_that_lags_is_trained_more_and_the_other_at_least_as_often_as_the_floor(planned: Any) -> None:
    sampler = TaskSampler(planned(RECIPE))
    updated(sampler, range(300), age=0.95, race=0.95)
    assert sampler.lags == pytest.approx(
        {"age": 1.0, "race": 1.0}, abs=1e-3
    )  # the generator has not caught up on either
    updated(sampler, range(300, 1500), age=0.95, race=0.5)  # the generator has caught up on one
    assert sampler.lags["age"] == pytest.approx(1.0, abs=1e-3)
    assert sampler.lags["race"] == pytest.approx(0.0, abs=0.05)
    counts = Counter(tasks_of(sampler, range(1500, 2500)))
    assert counts["race"] == pytest.approx(1000 * FLOOR / 2, abs=5)
    updated(sampler, range(1500, 4500), age=0.7, race=0.95)  # a separation of 0.4, after 0.9; and 0.9 again
    assert sampler.lags == pytest.approx({"age": 0.4 / 0.9, "race": 1.0}, abs=1e-2)
    assert Counter(tasks_of(sampler, range(4500, 5500)))["race"] > 700


def test_a_task_whose_discriminators_have_not_started_has_a_lag_of_1(planned: Any) -> None:
    sampler = TaskSampler(planned(RECIPE))
    updated(sampler, range(2 * MEMORY - 2 * EVERY), age=0.5, race=0.9)
    assert sampler.lags == {"age": 1.0, "race": 1.0}  # too few steps
    updated(sampler, range(2 * MEMORY - 2 * EVERY, 600), age=0.52, race=0.9)
    assert sampler.lags["age"] == 1.0
    updated(sampler, range(600, 640), age=float("nan"), race=0.9)
    assert sampler.lags["age"] <= 1.0  # not NaN


@pytest.mark.parametrize("task", ["age", "race"])
def test_a_step_of_one_task_matches_a_loop_and_updates_no_other_discriminator(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any, assert_same_weights: Any, task: str
) -> None:
    plan = planned(RECIPE, overrides=("discriminators.face.history=0",))
    engine, copies = double_engine(plan)
    first, second = plan.recipe.tasks[task].domains
    channel = list(plan.recipe.tasks).index(task)
    weight = plan.recipe.tasks[task].weight.start
    there, back, *discriminators = (
        torch.optim.Adam(copies[f"face.{name}"].parameters(), 2e-4, (0.5, 0.999))
        for name in ("forward", "backward", first, second)
    )

    def conditions(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"task": torch.full((len(x),), channel), "domain": torch.zeros(len(x), dtype=torch.long)}

    def adversarial(domain: str, x: torch.Tensor, target: float) -> torch.Tensor:
        logits = copies[f"face.{domain}"](x, **conditions(x)).logits[0]
        return F.mse_loss(logits, torch.full_like(logits, target))

    for step in range(3):
        samples, clock = random_samples(plan, step), Clock(step=step, run=step / 100_000)
        batch_inputs = micro_batches(plan, samples, 1, clock)
        engine.train_step(
            [{key: value for key, value in inputs.items() if key[0].task == task} for inputs in batch_inputs], clock
        )
        a, b = samples[task, first], samples[task, second]
        forward, backward = copies["face.forward"], copies["face.backward"]
        fake_b, fake_a = forward(a, **conditions(a)), backward(b, **conditions(b))
        cycles = F.l1_loss(backward(fake_b, **conditions(a)), a) + F.l1_loss(forward(fake_a, **conditions(b)), b)
        there.zero_grad(), back.zero_grad()
        (weight * (adversarial(second, fake_b, 1) + adversarial(first, fake_a, 1) + 10 * cycles)).backward()
        there.step(), back.step()
        for optimizer in discriminators:
            optimizer.zero_grad()
        real = adversarial(first, a, 1) + adversarial(second, b, 1)
        (
            weight * 0.5 * (real + adversarial(first, fake_a.detach(), 0) + adversarial(second, fake_b.detach(), 0))
        ).backward()
        for optimizer in discriminators:
            optimizer.step()
    assert_same_weights(engine, copies)


def test_momentum_does_not_update_a_discriminator_whose_task_is_not_trained(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    plan = planned(
        RECIPE, overrides=("optimizers.discriminator.use=adamw", "optimizers.discriminator.weight_decay=0.1")
    )
    engine, _ = double_engine(plan)
    for step in range(3):
        engine.train_step(micro_batches(plan, random_samples(plan, step), 1, at(step)), at(step))
    before = {name: [p.clone() for p in network.parameters()] for name, network in engine.networks.items()}
    [batch_inputs] = micro_batches(plan, random_samples(plan, 3), 1, at(3))
    engine.train_step([{key: value for key, value in batch_inputs.items() if key[0].task == "race"}], at(3))
    changed = {
        name
        for name, network in engine.networks.items()
        if any(not torch.equal(p, q) for p, q in zip(network.parameters(), before[name], strict=True))
    }
    assert changed == {"face.forward", "face.backward", "face.white", "face.black"}


@pytest.fixture(scope="module")
def path(recipe_file: Callable[[str], Path]) -> Path:
    return recipe_file(RECIPE)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Update lags every 2 steps, and use them after 2 steps of a task, so that they matter in a short run."""
    monkeypatch.setattr("transgan.training.task_sampler.EVERY", 2)
    monkeypatch.setattr("transgan.training.task_sampler.MEMORY", 2)
    monkeypatch.setattr("transgan.training.task_sampler.STARTED", 1e-6)


def trained_tasks(folder: Path) -> list[str]:
    """Return the task that each step has trained, by the log."""
    records = [record for record in storage.read_metrics(folder / "metrics.jsonl") if "lag/age" in record]
    found = [{key.partition(":")[0] for key in record if key.endswith("/diagnostics/change")} for record in records]
    assert all(len(tasks) == 1 for tasks in found)
    return [task for tasks in found for task in tasks]


@pytest.mark.usefixtures("eager")
def test_a_balanced_run_is_resumed_to_the_same_bytes(trained: Any, path: Path, tmp_path: Path) -> None:
    whole = trained(path, tmp_path / "whole", *RUN)
    lags = [
        record["lag/age"]
        for record in storage.read_metrics(tmp_path / "whole" / "metrics.jsonl")
        if "lag/age" in record
    ]
    assert len(set(lags)) > 1  # else this would test nothing
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000026")
    (tmp_path / "cut" / "result.json").unlink()
    cut = trained(path, tmp_path / "cut", *RUN)
    assert cut.state == whole.state
    assert storage.digest(cut.groups) == storage.digest(whole.groups)
    assert trained_tasks(tmp_path / "cut") == trained_tasks(tmp_path / "whole")
    assert whole.state["task_sampler"]["steps"] == dict(Counter(trained_tasks(tmp_path / "whole")))
    assert whole.state["ema"] == {"updates": 26}


@pytest.mark.usefixtures("eager")
def test_two_processes_train_the_tasks_that_one_trains(
    start_processes: Any, trained: Any, assert_same_state: Any, path: Path, tmp_path: Path
) -> None:
    overrides = ("train.steps=6", "train.log_every=1", "train.checkpoint_every=6")
    sets = [part for each in overrides for part in ("--set", each)]
    program = "import transgan.training.task_sampler as sampler; "
    program += "sampler.EVERY, sampler.MEMORY, sampler.STARTED = 2, 2, 1e-6; from transgan.cli import main; main()"
    codes = start_processes(2, "-c", program, "run", path, "--out", tmp_path / "two", "-q", *sets)
    assert [code for code, _ in codes] == [0, 0], codes
    one = trained(path, tmp_path / "one", *overrides)
    two = storage.load(tmp_path / "two" / "checkpoints" / "step-00000006")
    assert trained_tasks(tmp_path / "two") == trained_tasks(tmp_path / "one")
    assert_same_state(one, two, networks=1e-5)
    ours, theirs = one.state["task_sampler"], two.state["task_sampler"]
    [single], both = ours["separation"], theirs["separation"]
    assert len(both) == 2
    assert both[0] != both[1]  # each has seen its own samples
    assert [sum(each) / 2 for each in zip(*both, strict=True)] == pytest.approx(single, abs=1e-4)
    assert theirs["steps"] == ours["steps"]
    assert theirs["lags"] == pytest.approx(ours["lags"], abs=1e-4)


def test_a_single_task_has_nothing_to_balance(planned: Any) -> None:
    text = RECIPE.replace('race = { between = ["white", "black"], weight = 0.5 }', "")
    sampler = TaskSampler(planned(text))
    sampler.update(at(0), diagnostics(age=0.9))
    assert (sampler.task(at(0)), sampler.figures(), sampler.state_dict()) == (None, {}, {})


def test_the_progress_line_names_shares_and_lags() -> None:
    assert describe_tasks({"lag/age": 0.41, "lag/race": 0.2, "share/age": 0.62, "share/race": 0.38, "x": 1.0}) == (
        "age 62% lag 0.41, race 38% lag 0.20"
    )
    assert describe_tasks({"lag/age": 1.0, "lag/race": 0.5}) == "age lag 1.00, race lag 0.50"


@pytest.mark.parametrize(
    ("balance", "line"),
    [
        ('"some"', "found \"some\", expected one of 'all', 'auto' or a table"),
        ("{age=1}", "no share for task 'race'; write 0 to leave it out"),
        ("{age=1,race=1,hair=1}", "no task 'hair'"),
        ("{age=1,race=-1}", "race: expected a share of 0 or more"),
        ("{age=0,race={from=1,to=0}}", "expected a task whose share is above 0 at every moment"),
    ],
)
def test_an_invalid_balance_is_reported_in_one_line(planned: Any, balance: str, line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(RECIPE, overrides=(f"train.balance={balance}",))
    assert line in str(caught.value)


def test_auto_needs_discriminators_on_every_task(planned: Any) -> None:
    with pytest.raises(RecipeError, match="task 'age' has none"):
        planned(RECIPE, overrides=('discriminators.face.translations=["race"]',))
