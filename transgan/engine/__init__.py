"""Runs a plan: phases, objective, optimizers, history pools, moving averages, precision, processes, the loop."""

from transgan.engine.loop import Engine
from transgan.engine.processes import Processes
from transgan.engine.run import Run

__all__ = ["Engine", "Processes", "Run"]
