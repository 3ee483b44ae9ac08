"""Ctrl-C while a command still imports its packages: one line, and the code of an interrupt."""

import os
import subprocess
import sys

import pytest

#: Runs a module as `python -m` does, and interrupts itself when a package is first imported.
INTERRUPTED = """
import importlib.abc, os, runpy, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == when:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background ignores
module, when, *words = sys.argv[1:]
sys.meta_path.insert(0, Interrupt())
sys.argv = [module, *words]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="a process of Windows cannot interrupt itself alone")
@pytest.mark.parametrize(
    ("module", "when", "words"),
    [
        ("transgan", "typer", ["run", "cut_shapes"]),
        ("transgan", "transgan.cli.watch", ["run", "cut_shapes"]),
        ("transgan", "torch", ["run", "cut_shapes"]),
        ("transgan.cli.launch", "torch.distributed.run", ["2", "run", "cut_shapes"]),
    ],
)
def test_an_interrupt_while_packages_are_imported_is_one_line(module: str, when: str, words: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    command = [sys.executable, "-c", INTERRUPTED, module, when, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
