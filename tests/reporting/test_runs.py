"""What a page says about a run: its state by its logs, how it is going, figures beside their baselines."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from transgan.api import Media
from transgan.monitoring.faults import Finding, LossRoles, message_of
from transgan.recipe.schema import Fault, Guard
from transgan.reporting.html import KINDS
from transgan.reporting.previews import pairs_of
from transgan.reporting.runs import RunReader, RunView
from transgan.storage import RunFolder

View = Callable[[RunFolder], RunView]
TIME = "2026-01-02 03:04:05+00:00  "
BEGIN = f"{TIME}begins at step 0 of 100 on cpu"
LINE = "coat: horse -> zebra"
RESULT = {"steps": 100, "seed": 7, "held_out": True, "advice": [], "guard": [], "warnings": [], "conditions": {}}


@pytest.mark.parametrize(
    ("last", "state", "why", "headline"),
    [
        ("step 40: checkpoint step-00000040", "running", "", "Just begun: step 40 of 100"),
        ("finished at step 100", "finished", "", "Finished: 100 steps, with no fault found"),
        ("stopped at step 40", "stopped", "", "Stopped at step 40 of 100"),
        ("interrupted at step 40", "interrupted", "", "Interrupted at step 40 of 100; it can be resumed"),
        ("failed at step 40: no memory", "failed", "no memory", "Failed at step 40 of 100"),
        ("failed at step 40", "failed", "", "Failed at step 40 of 100"),
    ],
)
def test_the_state_is_that_of_the_log(
    write_run: Any, view_of: View, last: str, state: str, why: str, headline: str
) -> None:
    view = view_of(write_run(log=[BEGIN, TIME + last]))
    assert (view.state, view.why) == (state, why)
    assert view.headline.startswith(headline)
    assert view.mood == {"failed": "bad", "running": "early", "interrupted": "watch"}.get(state, "good")
    resumed = view_of(write_run(log=[BEGIN, TIME + last, f"{TIME}begins at step 40 of 200 on cpu"]))
    assert (resumed.state, resumed.step) == ("running", 40)


def test_a_run_whose_process_is_gone_is_no_running_one(write_run: Any, view_of: View) -> None:
    folder = write_run()
    assert view_of(folder).state == "running"
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    holder = json.loads((folder.path / ".lock").read_text())
    (folder.path / ".lock").write_text(json.dumps({**holder, "pid": int(done.stdout)}))
    view = view_of(folder)
    assert (view.state, view.mood) == ("gone", "bad") and "transgan resume" in view.commands[0][1]
    (folder.path / ".lock").write_text(json.dumps({**holder, "host": "elsewhere"}))  # which nobody can know here
    assert view_of(folder).state == "running"
    assert os.getpid() == holder["pid"]


def test_time_left_is_that_of_the_newest_steps(write_run: Any, view_of: View) -> None:
    records = [{"step": step, "time": 2.0 * step} for step in range(1, 41)]
    assert view_of(write_run(records=records)).left == 2 * 60
    assert view_of(write_run(records=records, log=[BEGIN, f"{TIME}finished at step 100"])).left is None


def test_events_are_sorted_by_what_they_mean_and_said_once(write_run: Any, view_of: View) -> None:
    collapsed = f"{LINE}: {message_of(Finding('collapse', LINE, 0.01, bad=True), Guard(), LossRoles())}"
    log = [
        *(
            "warning: few samples",
            "step 1: skipped, since a gradient is not finite",
            "step 2: checkpoint step-00000002",
        ),
        *(f"step 3: hint: {LINE}: levels drift", f"warning: step 4: {collapsed}"),
        f"step 5: {collapsed}. Back at step 2, and on with learning rates times 0.5",
        *("warning: step 6: metric 'x' is omitted: no", f"step 3: hint: {LINE}: levels drift"),
    ]
    view = view_of(write_run(log=[BEGIN, *(TIME + line for line in log), "Traceback (most recent call last)"]))
    kinds = [(each.step, each.kind) for each in view.events]
    assert kinds == [
        *((None, "warning"), (1, "skipped"), (2, "checkpoint"), (3, "hint"), (4, "fault"), (5, "back"), (6, "warning")),
    ]
    assert view.warnings == ["few samples", "metric 'x' is omitted: no"]
    assert len(view.guard) == 2 and all("collapsed" in each for each in view.guard)


@pytest.mark.parametrize("fault", get_args(Fault))
def test_every_fault_of_the_guardian_is_known_by_its_message(write_run: Any, view_of: View, fault: Fault) -> None:
    said = message_of(Finding(fault, LINE, 0.5, bad=True), Guard(), LossRoles())
    (event,) = view_of(write_run(log=[BEGIN, f"{TIME}warning: step 4: {LINE}: {said}"])).events
    assert (event.step, event.kind) == (4, "fault")


def test_figures_stand_beside_those_of_the_source(write_run: Any, view_of: View) -> None:
    figures = {"share": 0.9, "share_low": 0.8, "share_high": 1.0, "share_of_source": 0.1, "alone_of_source": 1.0}
    result = {**RESULT, "translations": {LINE: figures, "coat: zebra -> horse": {"share": 0.5}}}
    view = view_of(write_run(log=[BEGIN, f"{TIME}finished at step 100"], result=result))
    assert [row.name for row in view.figures] == ["share", "alone_of_source"]
    first, second = view.figures[0].cells
    assert first is not None and second is not None
    assert (first.text, first.baselines) == ("0.900 ±0.100", [("of source", "0.100")])
    assert (second.text, second.baselines) == ("0.500", [])
    assert view.figures[1].cells[1] is None and view.at_end


def test_a_figure_that_equals_its_baseline_is_not_better(write_run: Any) -> None:
    figures = {name: {"share": value, "share_of_source": 0.5} for name, value in (("a", 0.9), ("b", 0.5), ("c", 0.1))}
    metric = SimpleNamespace(direction={"share": "higher"})
    plan = SimpleNamespace(metrics={"m": metric}, losses={}, terms=[], recipe=SimpleNamespace(guard=None), media={})
    plan.directions = [SimpleNamespace(translation=SimpleNamespace(target="b"))]
    plan.media["b"] = SimpleNamespace(cls=Media)
    folder = write_run(log=[BEGIN, f"{TIME}finished at step 100"], result={**RESULT, "translations": figures})
    view = RunReader(folder, plan, KINDS).read()  # type: ignore[arg-type]
    assert [each.better for each in view.figures[0].cells if each] == [True, None, False]
    assert ("hint", "share is better than that of the source in 1 of 3 translations") in view.findings
    assert view.mood == "watch"


def test_the_result_of_an_earlier_end_is_not_that_of_a_run_that_goes_on(write_run: Any, view_of: View) -> None:
    result = {**RESULT, "translations": {LINE: {"share": 0.9}}}
    log = [
        BEGIN,
        f"{TIME}finished at step 100",
        f"{TIME}begins at step 100 of 200 on cpu",
        f"{TIME}step 120: checkpoint x",
    ]
    records = [{"step": 110, f"{LINE}/share": 0.7}]
    view = view_of(write_run(log=log, result=result, records=records))
    assert view.state == "running" and not view.at_end
    assert view.measured == {LINE: {"share": 0.7}}  # the newest evaluation


@pytest.mark.parametrize("damaged", ["metrics", "log", "result", "recipe", "environment"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00\n", b"[]", b'{"steps": []}\n', None])
def test_a_damaged_file_costs_itself(write_run: Any, view_of: View, damaged: str, content: bytes | None) -> None:
    folder = write_run(records=[{"step": 1, "lr/g": 0.1}], result={**RESULT, "translations": {}})
    path = getattr(folder, damaged)
    path.unlink() if content is None else path.write_bytes(content)
    assert view_of(folder).path == folder.path


def test_pairs_are_a_source_and_what_follows_from_it() -> None:
    def column(i: int) -> list[tuple[float, float, float, float]]:
        return [(i / 10, row / 10, 0.1, 0.1) for row in range(2)]

    names = [
        *("age: young\n(source)", "age: -> old\n(translated)", "age: -> old\n(code 2)", "age: old\n(ground truth)"),
        *("age: old\n(source)", "old -> young\n(translated)"),
    ]
    pairs = pairs_of({name: column(i) for i, name in enumerate(names)})
    assert pairs["age: young -> old"] == list(zip(column(0), column(1), strict=True))
    assert pairs["old -> young"] == list(zip(column(4), column(5), strict=True))
    assert len(pairs) == 2
