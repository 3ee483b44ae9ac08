"""Peak memory of training on a CPU, beside what `transgan check` predicts.

    OMP_NUM_THREADS=1 python benchmarks/memory.py conditional_face train.batch=16

The peak is the most that this process holds in nine steps, beyond what it held before the networks were built. Run each
measurement in a process of its own, as here: a second one would find the first one's memory free.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from transgan.bench.cases import make_plan_with_noise
from transgan.bench.memory import Memory
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.dry_run import predict_memory
from transgan.errors import TransganError
from transgan.plan import Plan
from transgan.recipe import read_recipe
from transgan.training.distributed import Processes
from transgan.training.engine import Engine

#: So many that a loss of every fourth or eighth step is evaluated once more, after optimizers have their moments.
STEPS = 9


def planned(recipe: str, settings: Sequence[str], steps: int) -> Plan:
    """Return the plan of a run without metrics; the source `noise` is there too."""
    return make_plan_with_noise(read_recipe(Path(recipe), [*settings, f"train.steps={steps}", "metrics={}"]))


def measure(recipe: str, settings: Sequence[str]) -> tuple[int, int]:
    """Return the bytes that a run was predicted to take, and those that it took.

    Raises:
        TransganError: the recipe or a setting is invalid, or its data cannot be read.
    """
    _warm_up()
    plan = planned(recipe, settings, STEPS)
    predicted = predict_memory(plan)["needed"]
    domains, processes = Domains(plan), Processes()
    domains.fit_statistics()
    Batches(planned(recipe, settings, 1), domains).at(0)  # so that what reads samples is loaded
    memory = Memory(processes.device)
    memory.settle()
    before = memory.now
    for _ in Engine(plan, processes).train(Batches(plan, domains)):
        pass
    return predicted, memory.peak - before


def _warm_up() -> None:
    """Load what a first pass of any network loads."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4))
    network(torch.rand(1, 3, 16, 16)).sum().backward()
    torch.optim.Adam(network.parameters(), fused=True).step()


def main() -> None:
    """Measure one run, and print what was predicted and measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe", help="a recipe in TOML, or the name of an installed one")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings, as of --set")
    given = parser.parse_args()
    try:
        predicted, measured = measure(given.recipe, given.settings)
    except TransganError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"predicted {predicted / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB, ratio {predicted / measured:.2f}")


if __name__ == "__main__":
    main()
