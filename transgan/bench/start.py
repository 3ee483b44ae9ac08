"""`transgan bench start`: how long it takes from the command to the first step, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from transgan.bench.cases import Case, in_turns
from transgan.bench.figures import Measured
from transgan.errors import TransganError

_CODE = """
import json, sys, time
begin = time.perf_counter()
times = []
def lap(name):
    times.append((name, time.perf_counter()))
import torch
lap("import torch")
from pathlib import Path
from transgan.bench.cases import Case, naming_remedies
from transgan.bench.step import Batches, Domains, Engine, Processes
from transgan.cli.flags import as_flag
from transgan.errors import TransganError
from transgan.plugin_files import use_files
from transgan.text import spelling_options
lap("import transgan")
recipe, settings, noise, plugins = json.loads(sys.argv[1])
try:
    with spelling_options(as_flag), naming_remedies():
        use_files(map(Path, plugins))
        plan = Case(Path(recipe), tuple(settings), noise, "").plan("train.steps=1")
        lap("plan")
        domains = Domains(plan)
        domains.fit_statistics()
        lap("data")
        processes = Processes()
        engine = Engine(plan, processes)
        lap("networks")
        list(engine.train(Batches(plan, domains, device=processes.device)))
        lap("first step")
        print(json.dumps([begin, *times]))
except TransganError as error:
    print(json.dumps(str(error)))
    sys.exit(1)
"""


def measure(cases: Sequence[Case], rounds: int, plugins: Sequence[Path] = ()) -> tuple[str, list[Measured]]:
    """Return a title, and what was measured of each case: the seconds from Python's start to the end of the first step.

    Args:
        plugins: files of plugins.

    Raises:
        TransganError: it does not start; says why.
    """
    found = [Measured(case.label) for case in cases]
    parts: list[dict[str, float]] = [{} for _ in cases]
    for _, number in in_turns(len(cases), rounds):
        case = cases[number]
        given = json.dumps([str(case.recipe), case.settings, case.noise, list(map(str, plugins))])
        done = subprocess.run([sys.executable, "-c", _CODE, given], capture_output=True, text=True)
        if done.returncode:
            if said := done.stdout.splitlines():
                raise TransganError(json.loads(said[-1]))
            raise TransganError((done.stderr.strip().splitlines() or ["the process ended"])[-1])
        before, *laps = json.loads(done.stdout.splitlines()[-1])
        begin = before
        for name, end in laps:
            parts[number][name] = parts[number].get(name, 0.0) + end - before
            before = end
        found[number].seconds.append(before - begin)
    for measured, spent in zip(found, parts, strict=True):
        measured.parts = {name: seconds / sum(spent.values()) for name, seconds in spent.items()}
    return f"{cases[0].recipe}: from Python's start to the end of the first step", found
