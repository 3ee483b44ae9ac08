"""A recipe to begin with for photographs of faces with labels in their names."""

from collections import Counter
from pathlib import Path
from typing import Any

from transgan_images.media import ImageMedia

from transgan.api import DataError, Finding, Setup, Starter, TooFew, Unusable, find_files
from transgan_faces.sources import GENDERS, RACE_LABELS, UTKFACE

#: The fewest photographs of a domain of age, and of a second task, by race labels.
_FEWEST, _FEWEST_OF_RACE = 8, 50
_YOUNG, _OLD = (20, 30), (50, 60)
#: Labels that the discriminators of the recipes compare.
_KEEP = ("discriminators.features.keep", "discriminators.pixels.keep")


def _look(root: Path) -> Finding:
    if not root.is_dir():
        raise DataError(f"{root} is no folder")
    files = [path for path in find_files(root).files if path.suffix.lower() in ImageMedia.suffixes]
    named = [match for path in files if (match := UTKFACE.match(path.name))]
    if len(named) < max(1, len(files) // 2):
        raise DataError(f"{len(named)} of {len(files)} pictures below {root} are named age_gender_race_date")
    if len(named) < 2 * _FEWEST:
        what = f"{len(named)} of {len(files)} pictures below {root} are named age_gender_race_date"
        raise TooFew(f"{what}; expected {2 * _FEWEST} or more")
    people = [(int(each["age"]), GENDERS[int(each["gender"])], RACE_LABELS[int(each["race"])]) for each in named]
    ages = sorted(age for age, _, _ in people)
    young, old = (sum(low <= age <= high for age in ages) for low, high in (_YOUNG, _OLD))
    ranges = [list(_YOUNG), list(_OLD)]
    if min(young, old) < _FEWEST:
        ranges = [[ages[0], ages[len(ages) // 3]], [ages[-(len(ages) // 3)], ages[-1]]]
        if ranges[0][1] >= ranges[1][0]:
            raise Unusable(f"the people below {root} are all of about one age")
    domains: dict[str, Any] = {"young": {"age": ranges[0]}, "old": {"age": ranges[1]}}
    tasks: dict[str, Any] = {"age": {"between": ["young", "old"]}}
    changes: dict[str, Any] = {"data.source": "labelled_faces"}
    races = [race for race, count in Counter(race for _, _, race in people).most_common(2) if count >= _FEWEST_OF_RACE]
    if len(races) == 2:
        domains |= {race.lower(): {"race": race} for race in races}
        tasks["race"] = {"between": [race.lower() for race in races]}
    else:
        changes["train.balance"] = None
    members = [
        [gender for age, gender, race in people if _matches(selection, age, race)] for selection in domains.values()
    ]
    keep = [*tasks]
    if all(min(Counter(dict.fromkeys(GENDERS, 0) | Counter(each)).values()) >= 2 for each in members):
        keep = ["gender", *keep]
    else:
        changes |= {"data.balance": None, "attributes": None, "metrics.label_kept": None}
    changes |= {"domains": domains, "tasks": tasks, **dict.fromkeys(_KEEP, keep)}
    counts = ", ".join(f"{len(each):,} {name}" for name, each in zip(domains, members, strict=True))
    others = f"; {len(files) - len(named):,} pictures with other names are not used" if len(named) < len(files) else ""
    return Finding(f"{len(named):,} photographs with labels in their names: {counts}{others}", changes)


def _matches(selection: dict[str, Any], age: int, race: str) -> bool:
    if "age" in selection:
        low, high = selection["age"]
        return bool(low <= age <= high)
    return bool(selection["race"] == race)


FACES = Starter(
    "faces",
    "photographs of faces with labels in their names, as UTKFace has them (age_gender_race_date.jpg)",
    "One generator, conditioned on the domain to translate to, learns all tasks; the discriminators keep the labels "
    "that a task is not to change. A race label is a category of a data set, and no fact about a person.",
    _look,
    Finding(
        "synthetic faces",
        {
            "data.source": {"use": "synthetic_faces", "count": 1600},
            "data.balance": None,
            "attributes": None,
            "metrics.label_kept": None,
            **{key: ["age", "race"] for key in _KEEP},
        },
    ),
    {
        "cpu": Setup("conditional_face_photos_cpu", time="half an hour to an hour"),
        "apple": Setup(
            "conditional_face_photos_cpu",
            {"train.steps": 12_000, "train.batch": 8, "train.precision": "fp32"},
            "some hours",
        ),
        "gpu": Setup("conditional_face_photos", time="a night or two"),
    },
    {
        "data.size": "pixels; twice as many show more and take four times as long",
        "train.steps": "more are better until the previews in samples/ no longer change",
        "domains": "each a selection by labels",
        "tasks": "the domains that are translated into each other",
    },
    (
        "discriminators.features   pretrained networks age more: transgan recipes conditional_face_photos_pretrained",
        "losses.cycle              lower it if too little changes",
    ),
    rank=4,
)
