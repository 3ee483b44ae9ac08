"""Recipes to begin with for recordings: of two speakers, and of several."""

from pathlib import Path

from transgan.api import Finding, Setup, Starter, domain_folders, listed
from transgan_voice.audio import SUFFIXES

_FEWEST = 4


def _look(root: Path, many: bool) -> Finding:
    folders = domain_folders(root, SUFFIXES, "recordings", _FEWEST, "three or more" if many else "two")
    domains = {each.name: each.selection for each in folders}
    task = {"between": [*domains], **({"targets": "random"} if many else {})}
    changes = {"data.default": None, "domains": domains, "tasks": {"voice": task}}
    return Finding(f"recordings in {len(folders)} folders: {listed(folders, 8)}", changes)


def _two(root: Path) -> Finding:
    return _look(root, many=False)


def _several(root: Path) -> Finding:
    return _look(root, many=True)


_COMMENTS = {
    "data.size": "frames of a training sample",
    "train.steps": "of which the first train discriminators alone",
    "domains": "the recordings of each speaker",
    "tasks": "the speakers that are converted into each other",
}
_OF_TWO = {
    "cpu": Setup("voice_world", {"train.steps": 2000}, "half an hour"),
    "apple": Setup("voice_world", {"train.steps": 10_000, "generators.voice.width": 128}, "some hours"),
    "gpu": Setup(
        "voice_world",
        {
            "generators.voice.width": 256,
            "generators.voice.blocks": 7,
            "train.batch": 32,
            "train.ema": 0.999,
            "stages.0.most": 2000,
            "data.size": 128,
            "train.steps": 20_000,
            "discriminators.patch.width": 64,
        },
        "some hours",
    ),
}
_ADVICE = (
    "losses.anchor       lower it if conversions sound smooth, raise it if they lose phones",
    "data.held_out       recordings of the same name and sentence can be compared: docs/howto/voices.md",
)

VOICES = Starter(
    "voices",
    "two folders of recordings, a speaker each; they may say different things",
    "Both directions are learned from different sentences: the generators begin with a map between the two voices that "
    "is computed from the recordings, and discriminators show them what it lacks.",
    _two,
    Finding("two synthetic voices", {"data.source": {"use": "synthetic_voices", "ratio": 1.1}, "data.default": None}),
    _OF_TWO,
    _COMMENTS,
    _ADVICE,
)

SPEAKERS = Starter(
    "speakers",
    "three or more folders of recordings, a speaker each",
    "One generator, conditioned on source and target speaker, converts every voice into every other, after StarGAN-VC2 "
    "(Kaneko et al., 2019).",
    _several,
    Finding("four synthetic voices", {"data.source": {"use": "synthetic_voices", "count": 60}, "data.default": None}),
    {
        "cpu": Setup("voice_many", {"train.steps": 2000}, "an hour"),
        "apple": Setup("voice_many", {"train.steps": 20_000, "generators.voice.width": 64}, "a night"),
        "gpu": Setup(
            "voice_many",
            {
                "train.steps": 100_000,
                "train.batch": 32,
                "generators.voice.width": 128,
                "discriminators.patch.width": 128,
            },
            "a night",
        ),
    },
    _COMMENTS,
    _ADVICE[:1],
)

STARTERS = (VOICES, SPEAKERS)
