"""Draw held-out faces and their translations side by side, and under each the label that a judge sees.

    python docs/make_face_sheet.py runs/photos-1 data/UTKFace --label age --to old --out faces.png \\
        --judge '{"weights": "squeezenet1_1.npz", "judge_data": "data/other", "select": {"age": [0, 150]}}'

The judge is a table as one of `metrics.apparent_label.judges`, in JSON; by default a small network that is trained on
the real training samples. Faces are those of the source domain whose names have the smallest hashes (BLAKE2b). Nobody
chooses them: failures are shown like successes. No face that is shown was trained on, neither by the model, where the
folder is that of its training, nor by the judge.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from pydantic import ValidationError
from transgan_images.judges import Judge, JudgeOptions, Question, as_number, question_about, trained_judge

from transgan import Translator
from transgan.api import Domain, Media, Sample, UsageError
from transgan.cli.flags import as_flag
from transgan.data.domains import Domains
from transgan.data.real_samples import real_domains
from transgan.data.unreadable import exclude_unreadable
from transgan.errors import TransganError
from transgan.evaluation.model import evaluation_plan
from transgan.text import spelling_options

SIDE, GAP, LINE, HEADER = 128, 6, 18, 26
FACES, COLUMNS = 16, 4


@dataclass
class Face:
    """A source and its translation, and what the judge says of them."""

    name: str
    images: tuple[Image.Image, Image.Image]
    labels: tuple[str, str]


def chosen(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return the samples whose names have the smallest hashes."""
    return sorted(samples, key=lambda sample: blake2b(sample.key.encode(errors="surrogatepass")).digest())[:count]


def seen(judge: Judge, image: Image.Image, media: Media, domain: str) -> str:
    """Return what a judge says of an image, at the size of the training: a number, or another label."""
    said = judge(media.to_model(media.read(image), 1, False, domain)[0])[0]
    return f"{said:.1f}" if judge.answers is None else str(judge.answers[int(said)])


def sheet(faces: Sequence[Face], title: str) -> Image.Image:
    """Return a grid of pairs, source and translation, with their labels below."""
    width, height = 2 * SIDE + 2 * GAP, SIDE + LINE + GAP
    rows = -(-len(faces) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * width + GAP, HEADER + rows * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    draw.text((GAP, GAP), title, fill="black", font=font)
    for i, face in enumerate(faces):
        row, column = divmod(i, COLUMNS)
        for k, (image, label) in enumerate(zip(face.images, face.labels, strict=True)):
            left, top = GAP + column * width + k * SIDE, HEADER + row * height
            page.paste(ImageOps.pad(image.convert("RGB"), (SIDE, SIDE), color="white"), (left, top))
            draw.text((left + SIDE // 2, top + SIDE + 1), label, fill="black", font=font, anchor="ma")
    return page


def asked(label: str, domains: dict[str, Domain], names: Sequence[str]) -> Question:
    """Return the question which value of a label a face shows: a number where all values are numbers."""
    having = question_about(label, domains, names, number=False).domains
    values = [s.attributes.get(label) for name in having for s in (*domains[name].samples, *domains[name].held_out)]
    return Question(having, label, all(as_number(value) is not None for value in values if value is not None))


def judge_options(text: str) -> JudgeOptions:
    """Return the options of a judge, given in JSON."""
    try:
        return JudgeOptions.model_validate(json.loads(text))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in error.errors())
        raise UsageError(f"--judge: {problems}") from None
    except ValueError as error:
        raise UsageError(f"--judge: no JSON: {error}") from None


def make(given: argparse.Namespace) -> None:
    options = judge_options(given.judge)
    if not given.out.parent.is_dir():  # before minutes are spent
        raise UsageError(f"--out {given.out}: the folder {given.out.parent} does not exist")
    translator = Translator.from_pretrained(given.model, "cpu")
    direction = translator.choose(given.to, given.task, given.source)
    translation = direction.translation
    plan = evaluation_plan(translator.config, given.model, given.data, ["metrics={}"])
    found = Domains(plan)
    exclude_unreadable(found)
    found.statistics.update(translator.statistics)
    domains = real_domains(found, plan.stages[-1].size, "cpu")
    judge = trained_judge(
        domains, asked(given.label, domains, [translation.source, translation.target]), options, plan.recipe.train.seed
    )
    source = domains[translation.source]
    if not source.held_out:
        raise UsageError(f"{given.data}: nothing is held out of the domain '{translation.source}'")
    faces = []
    for sample in chosen(source.held_out, given.count):
        before = source.media.export(source.media.read(sample.location))
        after = translator(sample.location, translation.target, translation.task, translation.source)
        ends = (
            (before, source.media, translation.source),
            (after, domains[translation.target].media, translation.target),
        )
        labels = [seen(judge, *end) for end in ends]
        faces.append(Face(sample.key, (before, after), (labels[0], labels[1])))
        print(f"{sample.key}  {labels[0]} -> {labels[1]}")
    what = f"{len(faces)} held-out faces by the hash of their names; below: {given.label} as a judge sees it"
    sheet(faces, f"{translation.task}: {translation.source} -> {translation.target}   {what}").save(given.out, "PNG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder or a run")
    parser.add_argument("data", type=Path, help="the folder of photographs")
    parser.add_argument("--label", default="age")
    parser.add_argument("--judge", default='{"kind": "cnn"}', metavar="JSON")
    parser.add_argument("--to", help="the target domain")
    parser.add_argument("--task")
    parser.add_argument("--from", dest="source", help="the source domain")
    parser.add_argument("--count", type=int, default=FACES)
    parser.add_argument("--out", type=Path, default=Path("faces.png"))
    given = parser.parse_args()
    with spelling_options(as_flag):
        try:
            make(given)
        except TransganError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
