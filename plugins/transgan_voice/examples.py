"""A recording to try a voice model on: a sentence that no recipe trains on."""

from pathlib import Path

from transgan.api import Examples, disk_errors, make_folder
from transgan_voice.audio import Sound
from transgan_voice.sources import SyntheticVoice, speaker
from transgan_voice.synthetic import RATE

#: Sentences of examples have this seed and higher ones: far from those that recipes choose.
FIRST_SEED = 1_000_000
#: The vocal-tract ratio that the source has by default.
RATIO = 1.10


def write(folder: Path, seed: int) -> None:
    """Write a sentence by the speaker `low`, as the source `synthetic_voices` has them.

    Raises:
        PluginError: SciPy or soundfile is missing.
    """
    path = folder / "voice.wav"
    with disk_errors(path):
        make_folder(folder)
    Sound(SyntheticVoice(FIRST_SEED + seed, 0, speaker("low", RATIO))(), RATE).save(path)


EXAMPLES = Examples(
    "voice",
    ("voice.wav",),
    "a sentence in a synthetic voice, which no recipe trains on",
    ("transgan run voice_spectrogram", "transgan translate runs/voice_spectrogram-1 {0} --to high --out spoken"),
    write,
)
