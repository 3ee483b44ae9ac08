"""`transgan bench data`: how long a batch takes, from the cache to what the engine gets."""

import time
from collections.abc import Sequence

from transgan.bench.cases import Case, in_turns
from transgan.bench.figures import Measured
from transgan.bench.peak import wait
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.training.distributed import Processes


def measure(cases: Sequence[Case], steps: int, rounds: int) -> tuple[str, list[Measured]]:
    """Return a title, and what was measured of each case: the seconds of a batch, one after the other."""
    processes = Processes()
    found = []
    for case in cases:
        plan = case.plan(f"train.steps={steps * rounds + 2}")
        begin = time.perf_counter()
        domains = Domains(plan)
        domains.fit_statistics()
        batches = Batches(plan, domains, device=processes.device)
        batches.at(0)
        measured = Measured(case.label)
        measured.figures["first seconds"] = time.perf_counter() - begin
        found.append((plan, batches, measured))
    done = [1] * len(found)
    for _, number in in_turns(len(found), rounds):
        _, batches, measured = found[number]
        begin = time.perf_counter()
        for _ in range(steps):
            batches.at(done[number])
            done[number] += 1
        wait(processes.device)
        measured.seconds.append((time.perf_counter() - begin) / steps)
    for plan, batches, measured in found:
        samples = plan.stage_at(0).batch * len(batches.streams)
        measured.figures["samples a second"] = samples / sorted(measured.seconds)[len(measured.seconds) // 2]
    plan = found[0][0]
    stage = plan.stage_at(0)
    return f"{plan.recipe.name}: size {stage.size}, batch {stage.batch}, on {processes.device}", [m for *_, m in found]
