"""A recipe that uses most of the grammar; the tests count on its lines."""

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, and no reason for a test to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("patient")

FACE = """\
name = "conditional_face"
[data]
source = "labelled_faces"
default = { use = "drawn_faces", count = 2000 }
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
