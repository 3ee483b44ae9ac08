"""The run folder with its lock, checkpoints and logs, safe against crashes, full disks and concurrent processes."""

from transgan.storage.atomic import replacing_file, write_text
from transgan.storage.checkpoints import (
    Checkpoint,
    check_model_place,
    describe_newest,
    digest,
    discard_after,
    is_checkpoint,
    load,
    newest,
    read_model,
    save,
    saved_steps,
    write_model,
)
from transgan.storage.logs import MetricsLog, MetricsReader, TextLog, read_log, read_metrics
from transgan.storage.run_folder import RunFolder, finish_remedy
from transgan.storage.serialization import Groups

__all__ = [
    "Checkpoint",
    "Groups",
    "MetricsLog",
    "MetricsReader",
    "RunFolder",
    "TextLog",
    "check_model_place",
    "describe_newest",
    "digest",
    "discard_after",
    "finish_remedy",
    "is_checkpoint",
    "load",
    "newest",
    "read_log",
    "read_metrics",
    "read_model",
    "replacing_file",
    "save",
    "saved_steps",
    "write_model",
    "write_text",
]
