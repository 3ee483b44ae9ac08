"""Start several processes on a CPU, where Accelerate starts only one.

`accelerate launch --cpu --num_processes 2` silently starts a single process, unless it is given an MPI host file. Only
the launcher's command line holds the requested number. `python -m transgan.cli.launch N WORDS` starts N processes of
`transgan WORDS` and returns the exit code of the first one that failed, which has said why.
"""

import logging
import os
import signal
import sys
from typing import NoReturn

from transgan.errors import GOES_ON, INTERRUPTED, WorkerError
from transgan.launcher import end_without_launcher, launcher_options, name_as_launcher, parent
from transgan.text import show


def requested_processes() -> int:
    """Return how many processes `accelerate launch --cpu` was to start; 1 in all other cases."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("true", "1") or "WORLD_SIZE" in os.environ:
        return 1
    return _number_of_launcher()


def relaunch(count: int) -> NoReturn:
    """Replace this process by one that starts `count` processes of the same command."""
    name_as_launcher(parent())
    os.execv(sys.executable, (sys.executable, "-m", "transgan.cli.launch", str(count), *sys.argv[1:]))


def launch(count: int, words: list[str]) -> int:
    """Run `transgan WORDS` in several processes; return the exit code of the first one that failed, or 0.

    Where its launcher is gone, as after a SIGTERM to `accelerate launch`, it ends, and so do they.
    """
    end_without_launcher()
    try:
        return _launch(count, words)
    except KeyboardInterrupt:  # while torch is imported; later it is a SignalException, and the processes say it
        show("interrupted", error=True)
        return INTERRUPTED


def _launch(count: int, words: list[str]) -> int:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # Its reports of a failure are long and say less than the process itself.
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    name_as_launcher(os.getpid())
    try:
        arguments = ["--standalone", "--nproc_per_node", str(count), "-m", "transgan", *words]
        run(parse_args(arguments))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            return failure.exitcode
        number = -failure.exitcode
        why = ", as where memory is short" if number == getattr(signal, "SIGKILL", 9) else ""
        show(f"error: process {rank} of the run was killed by signal {number}{why}; {GOES_ON}", error=True)
        return WorkerError.exit_code
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def _number_of_launcher() -> int:
    """Return `--num_processes` of the `accelerate launch` that started this process, or 1 where none did."""
    options = launcher_options()
    for i, word in enumerate(options):
        name, _, value = word.replace("-", "_").partition("=")
        if name == "__num_processes":
            value = value or "".join(options[i + 1 : i + 2])
            return int(value) if value.isdecimal() else 1
        if name in ("_m", "__module"):  # the program's own options follow
            break
    return 1


if __name__ == "__main__":
    sys.exit(launch(int(sys.argv[1]), sys.argv[2:]))
