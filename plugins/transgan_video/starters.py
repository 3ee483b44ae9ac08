"""A recipe to begin with for clips."""

import re
from collections import defaultdict
from pathlib import Path

from transgan.api import DataError, DomainFolder, Finding, Setup, Starter, Unusable, domain_folders, listed
from transgan_video.pictures import FRAMES
from transgan_video.sources import CLIPS

#: The fewest pictures that are taken for the frames of a clip, and the share of them whose numbers follow each other.
_FEWEST_FRAMES, _IN_ORDER = 3, 0.9


def _look(root: Path) -> Finding:
    folders, what = domain_folders(root, CLIPS), "clips"
    pictures = domain_folders(root, tuple(each for each in FRAMES if each not in CLIPS)) if folders else []
    if sum(len(each.files) for each in folders) < sum(len(each.files) for each in pictures):
        folders = []  # a moving picture among many that do not move
    if not folders:
        folders, what = domain_folders(root, FRAMES), "folders of frames"
        if not all(_are_frames(root, each) for each in folders):
            folders = []
    if len(folders) != 2:
        count = f"{len(folders)} folders" if len(folders) != 1 else "one folder"
        fault = Unusable if folders else DataError
        raise fault(f"{root} has {count} with clips or with folders of frames; expected two")
    domains = {each.name: each.selection for each in folders}
    found = f"{what} in two folders: {listed(folders)}{' frames' if what != 'clips' else ''}"
    return Finding(found, {"domains": domains, "tasks": {"retarget": {"between": [*domains]}}})


def _are_frames(root: Path, domain: DomainFolder) -> bool:
    """Return whether a domain's pictures are frames: in folders of their own, with numbers one after the other."""
    numbers: dict[Path, list[int]] = defaultdict(list)
    for path in domain.files:
        match = re.search(r"(\d+)$", path.stem)
        if match is None or path.parent == root / domain.path:
            return False
        numbers[path.parent].append(int(match[1]))
    return all(
        len(each) >= _FEWEST_FRAMES and len(set(each)) == len(each) and _IN_ORDER * (max(each) - min(each)) < len(each)
        for each in numbers.values()
    )


CLIP = Starter(
    "clips",
    "two folders of clips, as files or as folders of frames",
    "Recycle-GAN (Bansal et al., 2018) learns both directions from unpaired clips, and uses that frames follow each "
    "other.",
    _look,
    Finding(
        "synthetic scenes, by day and by night",
        {
            "data.source": {"use": "synthetic_scenes", "count": 600},
            "domains": {
                "day": {"hue": [0.0, 1.0], "part": [0.0, 0.5]},
                "night": {"hue": [0.0, 1.0], "ground": "dark", "part": [0.5, 1.0]},
            },
            "tasks": {"light": {"between": ["day", "night"]}},
        },
    ),
    {
        "cpu": Setup(
            "recycle_gan",
            {
                "data.media.enlarge": 1.1,
                "data.size": 64,
                "train.steps": 2000,
                "train.ema": 0.99,
                "generators.framewise_resnet.width": 16,
                "generators.framewise_resnet.blocks": 4,
                "encoders.predictor.width": 16,
                "encoders.predictor.downs": 4,
                "discriminators.framewise_patch.width": 24,
                "discriminators.framewise_patch.layers": 2,
            },
            "an hour",
        ),
        "apple": Setup(
            "recycle_gan",
            {
                "data.size": 128,
                "train.steps": 20_000,
                "generators.framewise_resnet.width": 32,
                "encoders.predictor.width": 32,
                "encoders.predictor.downs": 5,
                "discriminators.framewise_patch.width": 32,
            },
            "a night",
        ),
        "gpu": Setup("recycle_gan", {"train.steps": 60_000, "train.precision": "bf16"}, "a night"),
    },
    {
        "data.media": "three frames, a little larger than size, of which a step sees a random part",
        "data.size": "pixels; twice as many show more and take four times as long",
        "train.steps": "more are better until the previews in samples/ no longer change",
        "domains": "the clips of each domain",
        "tasks": "the domains that are translated into each other",
    },
    ("losses.cycle = 20   add it if translations lose the shapes of their sources",),
    rank=3,
)
