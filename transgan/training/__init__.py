"""Training: the trainer, the training step, the objective, optimizers, checkpoints, and the processes of a run."""

from transgan.training.distributed import Processes
from transgan.training.engine import Engine
from transgan.training.trainer import Trainer

__all__ = ["Engine", "Processes", "Trainer"]
