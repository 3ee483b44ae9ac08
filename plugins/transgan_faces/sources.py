"""Faces with labels: photographs whose names carry them, and drawn faces that need no download."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import DataError, Options, Sample, Source, UsageError, select
from transgan_faces.drawn import RACES, draw, person

#: age_gender_race_date, as UTKFace names its files; a few of them lack the race.
UTKFACE = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_(?P<date>\d+)")
GENDERS = ("male", "female")
LABELS = (*RACES, "Others")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

#: What the card of a model of labelled people says.
LABELS_OF_PEOPLE = """\
Age, gender and race are labels that the makers of the data set gave to pictures, by their own procedure; nobody asked
the people shown. They are categories of that data set and no facts about people, and neither complete nor distinct.
Whatever else differs between the pictures under two labels (light, camera, clothing, make-up, who was chosen) is
learned with them. UTKFace is offered for non-commercial research, FairFace under CC BY 4.0; the photographs belong to
their owners. Whether this model may be passed on or used is for whoever trained it to find out.

Meant for: the study of translation methods. Not for: identifying, classifying or judging people; predicting how anybody
will look; pictures of real persons without their consent; passing a made picture off as a photograph."""


class LabelledFaces(Source):
    """Face photographs named as UTKFace names them, `age_gender_race_date.jpg`, anywhere below `data.root`.

    Labels: age in years; gender, male or female; race, one of White, Black, Asian, Indian, Others. They are categories
    of a data set, given by its makers' procedure, and no facts about the people shown.
    """

    card = LABELS_OF_PEOPLE

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        if self.root is None:
            raise DataError("data.root is missing: give the folder with the photographs, --set data.root=FOLDER")
        photographs, unnamed = [], 0
        for path in sorted(self.root.rglob("*")):
            if path.suffix.lower() not in ENDINGS or path.name.startswith(".") or not path.is_file():
                continue
            match = UTKFACE.match(path.name)
            if match is None:
                unnamed += 1
                continue
            attributes = {
                "age": int(match["age"]),
                "gender": GENDERS[int(match["gender"])],
                "race": LABELS[int(match["race"])],
            }
            photographs.append(Sample(path.relative_to(self.root).with_suffix("").as_posix(), path, attributes))
        found = select(photographs, selection, {"age": (), "gender": GENDERS, "race": LABELS})
        if not found:
            others = f", {unnamed} pictures there are not named age_gender_race_date" if unnamed else ""
            raise DataError(f"[domains] {domain}: no photograph below {str(self.root)!r} has {dict(selection)}{others}")
        return found


@dataclass(frozen=True)
class DrawnFace:
    """One drawn face; called with a side in pixels it is drawn."""

    seed: int
    index: int
    age: float
    race: str

    def __call__(self, size: int) -> np.ndarray:
        try:
            return draw(person(self.seed, self.index), age=self.age, race=self.race, size=size)
        except ValueError as error:
            raise DataError(f"drawn face {self.index}: {error}") from None


class DrawnFacesOptions(Options):
    count: int = Field(2000, ge=4)
    """How many people are drawn; half of them young (20 to 30), half old (50 to 60)."""
    races: list[str] = ["White", "Black"]
    """Labels among the people drawn, in equal parts."""
    seed: int = Field(0, ge=0)
    """Of the people; another seed draws others."""


class DrawnFaces(Source):
    """Faces drawn from parameters, selected by labels like photographs, each with its exact counterpart.

    The race label is stood in for by complexion and hair: a crude stand-in for measuring algorithms, and no statement
    about people.
    """

    card = "These faces are drawn from parameters; nobody's likeness is in them. Figures on them are about the method."

    Options = DrawnFacesOptions

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        if unknown := [race for race in self.options.races if race not in RACES]:
            raise UsageError(f"races: there is no {', '.join(unknown)}; known: {', '.join(RACES)}")
        people = []
        for index in range(self.options.count):
            chance = np.random.Generator(np.random.Philox(key=[self.options.seed, index])).random()
            old = index % 2
            race = self.options.races[index // 2 % len(self.options.races)]
            attributes = {"age": round((50 if old else 20) + 10 * chance, 2), "race": race}
            face = DrawnFace(self.options.seed, index, **attributes)
            people.append(Sample(f"drawn-{index:06d}", face, attributes))
        found = select(people, selection, {"race": RACES})
        if not found:
            raise DataError(f"[domains] {domain}: no drawn face has {dict(selection)}; ages are 20 to 30 and 50 to 60")
        return found

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """The same person with the labels of the target domain; an age keeps its place in the range."""
        attributes = dict(sample.attributes)
        for name, wanted in target.items():
            if name == "age" and isinstance(wanted, list):
                low, high = source.get("age", [attributes["age"]] * 2)
                share = (attributes["age"] - low) / (high - low) if high > low else 0.5
                attributes["age"] = wanted[0] + share * (wanted[1] - wanted[0])
            elif isinstance(wanted, str):
                attributes[name] = wanted
            else:
                return None
        face = sample.location
        return Sample(sample.key, DrawnFace(face.seed, face.index, **attributes), attributes)
