"""Several processes on a CPU, where Accelerate starts only one.

`accelerate launch --cpu --num_processes 2` starts a single process, unless it is given an MPI host file, and says
nothing. The number that was asked for stands in the launcher's command line alone.
"""

import os
import sys


def spread() -> None:
    """Becomes as many processes as `accelerate launch --cpu` was asked for; returns in all other cases."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("true", "1") or "WORLD_SIZE" in os.environ:
        return
    count = _asked_for()
    if count > 1:
        module = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), "-m", "transgan")
        os.execv(sys.executable, (sys.executable, *module, *sys.argv[1:]))


def _asked_for() -> int:
    """`--num_processes` of the `accelerate launch` that started this process; 1 if nothing of the kind did."""
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
        if name in ("_m", "__module"):  # what follows belongs to the program
            break
    return 1
