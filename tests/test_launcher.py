"""What a process knows of its launcher when it begins, for every kind of parent."""

import os
import subprocess
import sys

import pytest

from transgan import launcher

ACCELERATE = {"ACCELERATE_DYNAMO_MODE": "default"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none"}
LAUNCH = ["/usr/bin/python3.12", "/usr/bin/accelerate", "launch", "--cpu", "-m", "transgan"]
SAYS = "from transgan import launcher; print(launcher.parent(), launcher.is_launched())"


@pytest.mark.parametrize(
    ("environment", "parent", "command", "known"),
    [
        (ACCELERATE, 1, ["/sbin/init"], (0, True)),  # an orphan
        (TORCHRUN, 1, ["/usr/bin/tini", "--", "torchrun"], (0, True)),
        (ACCELERATE, 1, LAUNCH, (1, True)),  # in a container
        (TORCHRUN, 1, ["/usr/bin/python3", "/usr/bin/torchrun"], (1, True)),
        (TORCHRUN, 1, [], (1, True)),  # nobody may see what it is
        (ACCELERATE, 77, LAUNCH, (77, True)),
        (ACCELERATE, 77, ["bash"], (77, False)),
        ({}, 1, ["/sbin/init"], (1, False)),  # a service, which nobody has launched
        ({}, 77, LAUNCH, (77, False)),
    ],
)
def test_a_parent_is_known_when_a_process_begins(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    parent: int,
    command: list[str],
    known: tuple[int, bool],
) -> None:
    for name in (*ACCELERATE, *TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(launcher, "_command", {parent: command}.__getitem__)
    monkeypatch.setattr(launcher, "_start", launcher._Start())
    assert (launcher.parent(), launcher.is_launched()) == known
    assert launcher.launcher_options() == (LAUNCH[3:] if environment == ACCELERATE and command == LAUNCH else [])


def test_a_parent_that_is_named_is_expected_of_one_process_alone() -> None:
    """What that process starts has another parent."""
    inner = f"import subprocess, sys; {SAYS}; sys.stdout.flush(); subprocess.run([sys.executable, '-c', {SAYS!r}])"
    environment = {key: value for key, value in os.environ.items() if key not in (*ACCELERATE, *TORCHRUN)}
    process = subprocess.Popen(
        [sys.executable, "-c", inner],
        env=environment | {"TRANSGAN_LAUNCHER": "4242"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.communicate()[0].splitlines() == ["4242 True", f"{process.pid} False"]
