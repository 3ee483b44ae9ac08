"""Start several processes on a CPU, where Accelerate starts only one.

`accelerate launch --cpu --num_processes 2` silently starts a single process, unless it is given an MPI host file. Only
the launcher's command line holds the requested number.
"""

import os
import sys


def relaunch() -> None:
    """Replace this process by as many as `accelerate launch --cpu` was to start; return in all other cases."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("true", "1") or "WORLD_SIZE" in os.environ:
        return
    count = _requested_processes()
    if count > 1:
        module = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), "-m", "transgan")
        os.execv(sys.executable, (sys.executable, *module, *sys.argv[1:]))


def _requested_processes() -> int:
    """Return `--num_processes` of the `accelerate launch` that started this process, or 1 where none did."""
    import psutil  # comes with accelerate

    try:
        parent = psutil.Process().parent()
        words = parent.cmdline() if parent else []
    except psutil.Error:
        return 1
    if "launch" not in words or not any("accelerate" in word for word in words[: words.index("launch")]):
        return 1
    options = words[words.index("launch") + 1 :]
    for i, word in enumerate(options):
        name, _, value = word.replace("-", "_").partition("=")
        if name == "__num_processes":
            value = value or "".join(options[i + 1 : i + 2])
            return int(value) if value.isdecimal() else 1
        if name in ("_m", "__module"):  # the program's own options follow
            break
    return 1
