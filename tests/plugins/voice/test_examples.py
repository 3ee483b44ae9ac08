"""The example of the voice plugin."""

from pathlib import Path

import numpy as np
from transgan_voice import examples
from transgan_voice.audio import read_sound
from transgan_voice.synthetic import RATE


def test_a_sentence_is_the_same_for_a_seed_and_another_for_another(tmp_path: Path) -> None:
    sounds = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        examples.EXAMPLES.write(tmp_path / name, seed)
        sounds.append(read_sound(tmp_path / name / "voice.wav"))
    a, b, c = sounds
    assert a.rate == RATE and 2 < len(a.samples) / RATE < 6
    assert np.array_equal(a.samples, b.samples) and not np.array_equal(a.samples, c.samples)
