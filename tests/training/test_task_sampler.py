"""Which task a step plays: by fixed shares, or so that the task that lags catches up; and that nothing else moves."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from transgan.api import Clock
from transgan.errors import RecipeError
from transgan.training.task_sampler import EVERY, FLOOR, MEMORY, TaskSampler, auto_shares, in_words

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
# What a resume and other processes could get wrong: stages, parts, an average, checkpoints between two agreements.
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


def draws(balance: TaskSampler, steps: range) -> list[str | None]:
    return [balance.task(at(step)) for step in steps]


def shown(**recognised: float) -> Any:
    """A state in which discriminators tell the fakes of each task so well."""
    return SimpleNamespace(recognised=lambda task: torch.tensor(recognised[task]) if task in recognised else None)


def taught(balance: TaskSampler, steps: range, **recognised: float) -> None:
    """As if these steps had been played, and the discriminators of each task had told so much."""
    for step in steps:
        task = balance.task(at(step))
        balance.note(at(step), shown(**{t: r for t, r in recognised.items() if task in (t, None)}))


@pytest.mark.parametrize("shares", [{"age": 2.0, "race": 1.0}, {"age": 0.05, "race": 0.95}, {"age": 3.0, "race": 0.0}])
def test_fixed_shares_are_drawn_as_often_as_they_say(planned: Any, shares: dict[str, float]) -> None:
    table = f"{{age={shares['age']},race={shares['race']}}}"
    balance = TaskSampler(planned(RECIPE, overrides=(f"train.balance={table}",)))
    for steps in (range(1000), range(500, 700), range(0, 2000, 5)):  # from any step on, and in every fifth
        counts = Counter(draws(balance, steps))
        for task, share in shares.items():
            expected = share / sum(shares.values())
            assert counts[task] / len(steps) == pytest.approx(expected, abs=5 / len(steps))


def test_shares_may_change_in_the_course_of_the_run(planned: Any) -> None:
    table = "train.balance={age=1,race={from=0,to=3,between=[0,0.1]}}"
    balance = TaskSampler(planned(RECIPE, overrides=(table,)))
    assert balance.task(at(0)) == "age"
    counts = Counter(draws(balance, range(50_000, 51_000)))
    assert counts["race"] == pytest.approx(750, abs=3)


def test_draws_follow_from_the_seed_and_no_task_waits_long(planned: Any) -> None:
    first, again, other = (TaskSampler(planned(RECIPE, overrides=(f"train.seed={seed}",))) for seed in (0, 0, 1))
    begun = draws(first, range(300))
    assert begun == draws(again, range(300)) != draws(other, range(300))
    table = TaskSampler(planned(RECIPE, overrides=("train.balance={age=7,race=1}",)))
    times = [step for step, task in enumerate(draws(table, range(2000))) if task == "race"]
    assert max(b - a for a, b in pairwise(times)) <= 13  # three gaps, the largest the sum of the others (Sos, 1958)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_automatic_shares_are_bounded_and_fall_with_the_lag(count: int) -> None:
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


def test_the_task_that_lags_is_drawn_more_and_the_other_no_less_than_the_floor(planned: Any) -> None:
    balance = TaskSampler(planned(RECIPE))
    taught(balance, range(300), age=0.95, race=0.95)
    assert balance.lags == pytest.approx({"age": 1.0, "race": 1.0}, abs=1e-3)  # nothing was answered yet
    taught(balance, range(300, 1500), age=0.95, race=0.5)  # the generator has an answer to one of them
    assert balance.lags["age"] == pytest.approx(1.0, abs=1e-3)
    assert balance.lags["race"] == pytest.approx(0.0, abs=0.05)
    counts = Counter(draws(balance, range(1500, 2500)))
    assert counts["race"] == pytest.approx(1000 * FLOOR / 2, abs=5)
    taught(balance, range(1500, 4500), age=0.7, race=0.95)  # 0.4 of the 0.9 that it was, and all of it again
    assert balance.lags == pytest.approx({"age": 0.4 / 0.9, "race": 1.0}, abs=1e-2)
    assert Counter(draws(balance, range(4500, 5500)))["race"] > 700


def test_what_discriminators_have_not_learned_to_see_counts_as_lag(planned: Any) -> None:
    balance = TaskSampler(planned(RECIPE))
    taught(balance, range(2 * MEMORY - 2 * EVERY), age=0.5, race=0.9)
    assert balance.lags == {"age": 1.0, "race": 1.0}  # too few steps to say
    taught(balance, range(2 * MEMORY - 2 * EVERY, 600), age=0.52, race=0.9)
    assert balance.lags["age"] == 1.0
    taught(balance, range(600, 640), age=float("nan"), race=0.9)
    assert balance.lags["age"] <= 1.0  # a number that is none is not passed on


@pytest.mark.parametrize("task", ["age", "race"])
def test_a_step_of_one_task_is_as_by_hand_and_moves_no_other_discriminator(
    planned: Any, in_double: Any, drawn: Any, in_parts: Any, as_by_hand: Any, task: str
) -> None:
    plan = planned(RECIPE, overrides=("discriminators.face.history=0",))
    engine, twins = in_double(plan)
    first, second = plan.recipe.tasks[task].domains
    channel = list(plan.recipe.tasks).index(task)
    weight = plan.recipe.tasks[task].weight.start
    there, back, *discriminators = (
        torch.optim.Adam(twins[f"face.{name}"].parameters(), 2e-4, (0.5, 0.999))
        for name in ("forward", "backward", first, second)
    )

    def told(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"task": torch.full((len(x),), channel), "domain": torch.zeros(len(x), dtype=torch.long)}

    def judged(domain: str, x: torch.Tensor, aim: float) -> torch.Tensor:
        logits = twins[f"face.{domain}"](x, **told(x)).logits[0]
        return F.mse_loss(logits, torch.full_like(logits, aim))

    for step in range(3):
        samples, clock = drawn(plan, step), Clock(step=step, run=step / 100_000)
        batch_inputs = in_parts(plan, samples, 1, clock)
        engine.play(
            [{key: value for key, value in part.items() if key[0].task == task} for part in batch_inputs], clock
        )
        a, b = samples[task, first], samples[task, second]
        forward, backward = twins["face.forward"], twins["face.backward"]
        fake_b, fake_a = forward(a, **told(a)), backward(b, **told(b))
        cycles = F.l1_loss(backward(fake_b, **told(a)), a) + F.l1_loss(forward(fake_a, **told(b)), b)
        there.zero_grad(), back.zero_grad()
        (weight * (judged(second, fake_b, 1) + judged(first, fake_a, 1) + 10 * cycles)).backward()
        there.step(), back.step()
        for optimizer in discriminators:
            optimizer.zero_grad()
        real = judged(first, a, 1) + judged(second, b, 1)
        (weight * 0.5 * (real + judged(first, fake_a.detach(), 0) + judged(second, fake_b.detach(), 0))).backward()
        for optimizer in discriminators:
            optimizer.step()
    as_by_hand(engine, twins)


def test_momentum_does_not_move_a_discriminator_whose_task_is_not_played(
    planned: Any, in_double: Any, drawn: Any, in_parts: Any
) -> None:
    plan = planned(
        RECIPE, overrides=("optimizers.discriminator.use=adamw", "optimizers.discriminator.weight_decay=0.1")
    )
    engine, _ = in_double(plan)
    for step in range(3):
        engine.play(in_parts(plan, drawn(plan, step), 1, at(step)), at(step))
    before = {name: [p.clone() for p in network.parameters()] for name, network in engine.networks.networks.items()}
    [batch_inputs] = in_parts(plan, drawn(plan, 3), 1, at(3))
    engine.play([{key: value for key, value in batch_inputs.items() if key[0].task == "race"}], at(3))
    moved = {
        name
        for name, network in engine.networks.networks.items()
        if any(not torch.equal(p, q) for p, q in zip(network.parameters(), before[name], strict=True))
    }
    assert moved == {"face.forward", "face.backward", "face.white", "face.black"}


@pytest.fixture(scope="module")
def path(written: Callable[[str], Path]) -> Path:
    return written(RECIPE)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lags that are looked at often and believed after two steps, so that a short run draws by them."""
    monkeypatch.setattr("transgan.training.task_sampler.EVERY", 2)
    monkeypatch.setattr("transgan.training.task_sampler.MEMORY", 2)
    monkeypatch.setattr("transgan.training.task_sampler.BEGUN", 1e-6)


def plays(folder: Path) -> list[str]:
    """The task that each step played, by the log."""
    records = [record for record in runs.read_metrics(folder / "metrics.jsonl") if "lag/age" in record]
    found = [{key.partition(":")[0] for key in record if key.endswith("/state/change")} for record in records]
    assert all(len(tasks) == 1 for tasks in found)
    return [task for tasks in found for task in tasks]


@pytest.mark.usefixtures("eager")
def test_a_balanced_run_goes_on_to_the_same_bytes(trained: Any, path: Path, tmp_path: Path) -> None:
    whole = trained(path, tmp_path / "whole", *RUN)
    lags = [
        record["lag/age"] for record in runs.read_metrics(tmp_path / "whole" / "metrics.jsonl") if "lag/age" in record
    ]
    assert len(set(lags)) > 1  # they have had a say
    trained(path, tmp_path / "cut", *RUN)
    for last in (tmp_path / "cut" / "checkpoints").glob("step-00000026"):
        last.rename(tmp_path / "away")
    cut = trained(path, tmp_path / "cut", *RUN)
    assert cut.state == whole.state
    assert runs.digest(cut.groups) == runs.digest(whole.groups)
    assert plays(tmp_path / "cut") == plays(tmp_path / "whole")
    assert whole.state["balance"]["played"] == dict(Counter(plays(tmp_path / "whole")))
    assert whole.state["ema_updates"] == 26


@pytest.mark.usefixtures("eager")
def test_two_processes_draw_the_tasks_that_one_draws(
    started: Any, trained: Any, agree: Any, path: Path, tmp_path: Path
) -> None:
    overrides = ("train.steps=6", "train.log_every=1", "train.checkpoint_every=6")
    sets = [part for each in overrides for part in ("--set", each)]
    eager = "import transgan.training.task_sampler as b; b.EVERY, b.MEMORY, b.BEGUN = 2, 2, 1e-6"
    eager += "; from transgan.cli import main; main()"
    codes = started(2, "-c", eager, "run", path, "--out", tmp_path / "two", "-q", *sets)
    assert [code for code, _ in codes] == [0, 0], codes
    one = trained(path, tmp_path / "one", *overrides)
    two = runs.load(tmp_path / "two" / "checkpoints" / "step-00000006")
    assert plays(tmp_path / "two") == plays(tmp_path / "one")
    agree(one, two, networks=1e-5)
    [alone], both = one.state["balance"].pop("apart"), two.state["balance"].pop("apart")
    assert len(both) == 2
    assert both[0] != both[1]  # each has seen its own samples
    assert [sum(each) / 2 for each in zip(*both, strict=True)] == pytest.approx(alone, abs=1e-4)
    assert two.state["balance"]["played"] == one.state["balance"]["played"]
    assert two.state["balance"]["lags"] == pytest.approx(one.state["balance"]["lags"], abs=1e-4)


def test_a_single_task_has_nothing_to_balance(planned: Any) -> None:
    text = RECIPE.replace('race = { between = ["white", "black"], weight = 0.5 }', "")
    balance = TaskSampler(planned(text))
    balance.note(at(0), shown(age=0.9))
    assert (balance.task(at(0)), balance.figures(), balance.state()) == (None, {}, {})


def test_the_progress_line_names_shares_and_lags() -> None:
    assert in_words({"lag/age": 0.41, "lag/race": 0.2, "share/age": 0.62, "share/race": 0.38, "x": 1.0}) == (
        "age 62% lag 0.41, race 38% lag 0.20"
    )
    assert in_words({"lag/age": 1.0, "lag/race": 0.5}) == "age lag 1.00, race lag 0.50"


@pytest.mark.parametrize(
    ("balance", "line"),
    [
        ('"some"', "found \"some\", expected one of 'all', 'auto' or a table"),
        ("{age=1}", "no share for task 'race'; 0 leaves it out"),
        ("{age=1,race=1,hair=1}", "no task 'hair'"),
        ("{age=1,race=-1}", "race: expected a share of 0 or more"),
        ("{age=0,race={from=1,to=0}}", "expected a task whose share is above 0 at every moment"),
    ],
)
def test_a_balance_that_cannot_be_is_told_in_one_line(planned: Any, balance: str, line: str) -> None:
    with pytest.raises(RecipeError) as told:
        planned(RECIPE, overrides=(f"train.balance={balance}",))
    assert line in str(told.value)


def test_auto_needs_discriminators_on_every_task(planned: Any) -> None:
    with pytest.raises(RecipeError, match="none is trained to on task 'age'"):
        planned(RECIPE, overrides=('discriminators.face.translations=["race"]',))
