"""The run folder: its lock, its checkpoints and its logs, which survive a crash, a full disk and a second process."""

from transgan.runs._disk import write_text
from transgan.runs.checkpoints import Checkpoint, Groups, digest, load, newest, read_model, save, write_model
from transgan.runs.folder import RunFolder
from transgan.runs.log import MetricsLog, TextLog, read_metrics

__all__ = [
    "Checkpoint",
    "Groups",
    "MetricsLog",
    "RunFolder",
    "TextLog",
    "digest",
    "load",
    "newest",
    "read_metrics",
    "read_model",
    "save",
    "write_model",
    "write_text",
]
