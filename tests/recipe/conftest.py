"""A recipe that uses most tables; tests rely on its line numbers."""

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine examples are slow, which is not an error.
settings.register_profile("patient", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("patient")

FACE = """\
name = "conditional_face"
[data]
source = "labelled_faces"
default = { use = "synthetic_faces", count = 2000 }
size = 64
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
white = { race = "White" }
black = { race = "Black" }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 1000
batch = 8
[optimizers]
generator.lr = { from = 2e-4, to = 0.0, between = [0.5, 1.0] }
[conditionings.task]
use = "channel"
[generators.face]
use = "resnet"
per = "direction"
width = 24
[discriminators.face]
use = "patch"
per = "domain"
history = 50
[losses]
lsgan = 1.0
cycle = 10.0
identity = { weight = 5.0, translations = ["age"] }
[[stages]]
share = 0.5
size = 32
batch = 16
[[stages]]
share = 0.5
[metrics]
cycle_error = true
"""


@pytest.fixture(scope="session")
def face() -> str:
    return FACE


@pytest.fixture(autouse=True, scope="module")
def words_of_the_command_line(on_the_command_line: None) -> None:
    """Problems of overrides are as a command prints them."""
