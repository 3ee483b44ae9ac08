"""`accelerate launch --cpu --num_processes 2`, as typed, trains in two processes what one trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from transgan import runs

# Group norm, because a bias before instance norm has no gradient but rounding, which Adam makes as large as any other.
RECIPE = """
[data]
source = { use = "drawn_faces", count = 24 }
media = { use = "image", enlarge = 1.2 }
size = 16
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
[tasks.age]
between = ["young", "old"]
[train]
steps = 5
batch = 4
[generators.g]
use = "resnet"
per = "direction"
width = 4
blocks = 1
norm = "group"
[discriminators.d]
use = "patch"
width = 4
layers = 1
norm = "group"
history = 3
[losses]
lsgan = 1.0
cycle = 10.0
identity = 5.0
"""


def test_the_launcher_of_accelerate_starts_as_many_processes_as_asked_for(tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(RECIPE)
    environment = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)}
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2"]
    program = ["-m", "transgan", "run", str(recipe), "-q", "--out"]
    commands = {"two": [*launch, *program, tmp_path / "two"], "one": [sys.executable, *program, tmp_path / "one"]}
    saved = {}
    for name, command in commands.items():
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr
        saved[name] = runs.load(tmp_path / name / "checkpoints" / "step-00000005").groups["networks"]
        assert json.loads((tmp_path / name / "env.json").read_text())["processes"] == {"two": 2, "one": 1}[name]
    for name, tensor in saved["one"].items():
        torch.testing.assert_close(saved["two"][name], tensor, rtol=0, atol=1e-6, msg=name)
