"""The plain CycleGAN that speed is measured beside: it trains what the framework trains."""

import argparse
import importlib.util
from pathlib import Path

from transgan.training.distributed import Processes

PATH = Path(__file__).resolve().parents[2] / "benchmarks/plain_cyclegan.py"


def test_the_plain_loop_and_the_framework_train_the_same_weights() -> None:
    """Ten steps of batches of 8, so that the pool of 50 is full after seven and exchanges images."""
    spec = importlib.util.spec_from_file_location("plain_cyclegan", PATH)
    assert spec and spec.loader
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    given = argparse.Namespace(size=32, batch=8, width=4, blocks=1, overrides=[])
    output, weight = plain.check_results(given, Processes())
    assert output < plain.TOLERANCE and weight < plain.TOLERANCE
