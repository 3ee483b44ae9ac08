"""`transgan bench checkpoint`: how long writing and reading a checkpoint take, and how large it is."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from transgan import storage
from transgan.bench.cases import Case, in_turns, naming_remedies
from transgan.bench.figures import Measured
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.training.checkpoint import Stateful, TrainingState
from transgan.training.distributed import Processes
from transgan.training.engine import Engine


def measure(cases: Sequence[Case], rounds: int) -> tuple[str, list[Measured]]:
    """Return a title, and what was measured of each case: the seconds of writing one after the first step."""
    processes = Processes()
    found = []
    for case in cases:
        plan = case.plan("train.steps=1")
        domains = Domains(plan)
        domains.fit_statistics()
        engine = Engine(plan, processes)
        with naming_remedies():
            list(engine.train(Batches(plan, domains, device=processes.device)))
        parts: dict[str, Stateful] = {
            "networks": engine.networks,
            "optimizers": engine.optimizers,
            "history": engine.objective.history,
        }
        if engine.average:
            parts["ema"] = engine.average
        found.append((plan, TrainingState({**parts, "statistics": domains}, processes.device), Measured(case.label)))
    reading: list[list[float]] = [[] for _ in found]
    with tempfile.TemporaryDirectory() as folder:
        for number, i in in_turns(len(found), rounds):
            _, state, measured = found[i]
            begin = time.perf_counter()
            path = storage.save(Path(folder) / str(i), number, *state.state_dict(), keep=1)
            measured.seconds.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            storage.load(path)
            reading[i].append(time.perf_counter() - begin)
            measured.figures["bytes"] = float(sum(each.stat().st_size for each in path.iterdir()))
    for (_, _, measured), seconds in zip(found, reading, strict=True):
        measured.figures["reading seconds"] = sorted(seconds)[len(seconds) // 2]
    return f"{found[0][0].recipe.name}: a checkpoint", [measured for *_, measured in found]
