"""Sources of labelled faces: photographs with labels in their file names, and synthetic faces that need no download."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import Blank, DataError, Options, Sample, Source, UsageError, find_files, option, select
from transgan.api.files import FoundFiles
from transgan_faces.synthetic import RACES, render, sample_person

#: UTKFace's file names, age_gender_race_date; a few of its files lack the race.
UTKFACE = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_(?P<date>\d+)")
GENDERS = ("male", "female")
#: UTKFace's race labels, in the order of its codes 0 to 4.
RACE_LABELS = (*RACES, "Others")

#: Part of the model card of every model that was trained on labelled photographs of people.
PEOPLE_CARD = """\
Age, gender and race are labels that the makers of the data set assigned to images, by their own procedure; nobody asked
the people shown. They are categories of that data set and no facts about people, and neither complete nor distinct.
Whatever else differs between the images under two labels (light, camera, clothing, make-up, selection of people) is
learned with them. UTKFace is offered for non-commercial research, FairFace under CC BY 4.0; the photographs belong to
their owners. Whoever trained this model is responsible for checking whether it may be shared or used.

Intended use: research on translation methods. Not intended for: identifying, classifying or assessing people;
predicting how anybody will look; images of real people without their consent; presenting a generated image as a
photograph."""


class LabelledFaces(Source):
    """Face photographs named as UTKFace names them, `age_gender_race_date.jpg`, anywhere below `data.root`.

    Labels: age in years; gender, male or female; race, one of White, Black, Asian, Indian, Others. They are categories
    of a data set, assigned by its makers' procedure, and no facts about the people shown.
    """

    card = PEOPLE_CARD

    @cached_property
    def found(self) -> tuple[Path, FoundFiles]:
        """The folder, `data.root`, and the files below it; every domain selects from them."""
        if self.root is None:
            raise DataError(
                f"data.root is missing: give the folder, {option('overrides', {'data.root': Blank('FOLDER')})}"
            )
        return self.root, find_files(self.root)

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        photographs, unlabelled = [], 0
        root, found = self.found
        self.skipped |= found.skipped
        for path in found.files:
            match = UTKFACE.match(path.name)
            if path.suffix.lower() not in self.suffixes:
                self.skipped[path] = f"ending in {path.suffix.lower()}" if path.suffix else "without a suffix"
                continue
            if match is None:
                unlabelled += 1
                self.skipped[path] = "not named age_gender_race_date"
                continue
            attributes = {
                "age": int(match["age"]),
                "gender": GENDERS[int(match["gender"])],
                "race": RACE_LABELS[int(match["race"])],
            }
            photographs.append(Sample(path.relative_to(root).with_suffix("").as_posix(), path, attributes))
        selected = select(photographs, selection, {"age": (), "gender": GENDERS, "race": RACE_LABELS})
        if not selected:
            others = f", {unlabelled} images there are not named age_gender_race_date" if unlabelled else ""
            raise DataError(f"[domains] {domain}: no photograph below {str(root)!r} has {dict(selection)}{others}")
        return selected


@dataclass(frozen=True)
class SyntheticFace:
    """A synthetic face; calling it with a side in pixels renders it."""

    seed: int
    index: int
    age: float
    race: str

    def __call__(self, size: int) -> np.ndarray:
        """Return the face as RGB uint8 (size, size, 3).

        Raises:
            DataError: age, race or size is out of range.
        """
        try:
            return render(sample_person(self.seed, self.index), age=self.age, race=self.race, size=size)
        except ValueError as error:
            raise DataError(f"synthetic face {self.index}: {error}") from None


class SyntheticFacesOptions(Options):
    """Options of the source `synthetic_faces`."""

    count: int = Field(2000, ge=4, le=100_000)
    """Number of people; half of them are young (20 to 30 years), half old (50 to 60)."""
    races: list[str] = ["White", "Black"]
    """Race labels, in equal shares: of White, Black, Asian, Indian."""
    seed: int = Field(0, ge=0)
    """Seed of the people; another seed gives unrelated people."""


class SyntheticFaces(Source[SyntheticFacesOptions]):
    """Faces rendered from parameters, selected by labels like photographs, each with its exact counterpart.

    Complexion and hair represent the race label: a crude substitute for measuring algorithms, and no statement about
    people.
    """

    reads_root = False
    card = "These faces are rendered from parameters and show no real person. Figures on them are about the method."
    regions = {"faces": {"margin": 0.6}}  # heads with their hair, and some ground around them

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        if unknown := [race for race in self.options.races if race not in RACES]:
            raise UsageError(f"races: there is no {', '.join(unknown)}; known: {', '.join(RACES)}")
        people = []
        for index in range(self.options.count):
            uniform = np.random.Generator(np.random.Philox(key=[self.options.seed, index])).random()
            old = index % 2
            age = round((50 if old else 20) + 10 * uniform, 2)
            race = self.options.races[index // 2 % len(self.options.races)]
            face = SyntheticFace(self.options.seed, index, age, race)
            # The split into training and held-out samples hashes the keys: another prefix would change every split.
            people.append(Sample(f"drawn-{index:06d}", face, {"age": age, "race": race}))
        found = select(people, selection, {"race": RACES})
        if not found:
            raise DataError(
                f"[domains] {domain}: no synthetic face has {dict(selection)}; ages are 20 to 30 and 50 to 60"
            )
        return found

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the same person with the labels of the target domain; an age keeps its relative place in the range."""
        attributes = dict(sample.attributes)
        for name, wanted in target.items():
            if name == "age" and isinstance(wanted, list):
                low, high = source.get("age", [attributes["age"]] * 2)
                position = (attributes["age"] - low) / (high - low) if high > low else 0.5
                attributes["age"] = wanted[0] + position * (wanted[1] - wanted[0])
            elif isinstance(wanted, str):
                attributes[name] = wanted
            else:
                return None
        face = sample.location
        return Sample(sample.key, SyntheticFace(face.seed, face.index, **attributes), attributes)
