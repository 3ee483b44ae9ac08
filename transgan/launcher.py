"""What has started this process: a launcher that waits for it, such as `accelerate launch` or `torchrun`, or nobody.

This is looked at once, at the start of the process: by the time that torch is imported a launcher may be gone, and the
system has given its processes to another parent.
"""

import os
import signal
import threading
import time
from pathlib import Path

#: Names the parent that a process of ours is to have, for one whose parent is gone before it begins.
_VARIABLE = "TRANSGAN_LAUNCHER"
#: Seconds between looks for the launcher.
_EVERY = 1.0


def _command(process: int) -> list[str]:
    """Return the command line of a process; nothing where it is gone, or is not ours to see."""
    import psutil  # comes with accelerate

    try:
        words: list[str] = psutil.Process(process).cmdline()
    except psutil.Error:
        return []
    return words


class _Start:
    """What is known at the start of this process. `parent` is 0 where a launcher is gone already."""

    def __init__(self) -> None:
        named = os.environ.pop(_VARIABLE, "")  # what this process starts has another parent
        self.parent = int(named) if named.isdecimal() else os.getppid()
        self.options: list[str] = []
        """The words after `accelerate launch`, where that is the parent."""
        by_accelerate = "ACCELERATE_DYNAMO_MODE" in os.environ  # which it always sets, and nobody else
        self.launched = bool(named)
        if by_accelerate and not named:
            words = _command(self.parent)
            if "launch" in words and any("accelerate" in word for word in words[: words.index("launch")]):
                self.options = words[words.index("launch") + 1 :]
                self.launched = True
        if self.parent == 1 and (by_accelerate or "TORCHELASTIC_RUN_ID" in os.environ):
            # Of a container the first process may be the launcher itself, which Python runs.
            words = _command(1)
            if words and "python" not in Path(words[0]).name:
                self.parent, self.launched = 0, True


_start = _Start()
_watching = False


def _forked() -> None:
    """Begin again in a process that was forked from one that has imported this: its parent is that one."""
    global _watching
    _start.parent, _watching = os.getppid(), False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def launcher_options() -> list[str]:
    """Return the words after `accelerate launch`, where that has started this process; else none."""
    return _start.options


def is_launched() -> bool:
    """Return whether a launcher has started this process, and waits for it."""
    return _start.launched or "TORCHELASTIC_RUN_ID" in os.environ


def name_as_launcher(process: int) -> None:
    """Let the processes that this one starts, or becomes, know who their parent is."""
    os.environ[_VARIABLE] = str(process)


def parent() -> int:
    """Return the process that has started this one; 0 for a launcher that was gone at once."""
    return _start.parent


def end_without_launcher() -> None:
    """From now on, send this process SIGTERM within seconds once its launcher is gone, where one has started it.

    That ends it at any moment, also while it waits for processes that no longer exist; a run first writes a checkpoint.
    """
    global _watching
    if _watching or not is_launched() or threading.current_thread() is not threading.main_thread():
        return
    _watching = True
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    from transgan.text import show

    while os.getppid() == _start.parent:
        time.sleep(_EVERY)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the others end alike
        show("the launcher of this process is gone, so the process ends; start the same command again", error=True)
    os.kill(os.getpid(), signal.SIGTERM)
