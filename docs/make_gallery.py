"""Draw the pictures of the gallery: what finished runs make of held-out samples, one picture for each run.

    python docs/make_gallery.py runs/cut_shapes-1 runs/munit_shapes-1

For each translation it shows the first held-out samples, what the model makes of them, and the truth where that is
known; of a model with latent codes three answers, of one with references a reference and the answer in its style. So
nobody chooses what is shown. A picture has the name of the run's recipe. Its metadata say of which run it is: recipe,
steps, seed, minutes. Of sounds it shows spectrograms, and writes a recording of each column beside.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sheets import Block, save, sheet, strip
from torch import Tensor
from transgan_images.media import shown

from transgan import Translator
from transgan.api import Media
from transgan.data.domains import Domains
from transgan.errors import TransganError
from transgan.evaluation.evaluate import counterparts, held_out_batches, like, referenced, resampled
from transgan.evaluation.model import evaluation_plan
from transgan.evaluation.unmeasured import true_translations
from transgan.networks import Networks
from transgan.plan import Direction
from transgan.reporting.curves import Curves

HERE = Path(__file__).resolve().parent
#: Pictures of each column by the number of blocks, else 2; and the most domains of a task of which each has a block.
ROWS, FEW = {1: 4, 2: 3}, 3
#: Answers of a model with latent codes.
CODES = 3
#: Quality of a recording, from 0 to 1, and samples of each.
OGG, SPOKEN = 0.1, 1


class Run:
    """A finished run: its model, and the held-out samples of its recipe."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.translator = Translator.from_pretrained(folder, "cpu")
        self.plan = evaluation_plan(self.translator.config, folder, None, [])
        self.domains = Domains(self.plan)
        self.domains.statistics.update(self.translator.statistics)
        self.networks = Networks(self.plan, "cpu", self.translator.networks)

    @property
    def name(self) -> str:
        return self.plan.recipe.name

    def about(self) -> dict[str, str | int]:
        """Return recipe, steps and seed of the run, and the minutes that it has trained."""
        recipe = tomllib.loads((self.folder / "recipe.toml").read_text(encoding="utf-8"))
        result = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        curves = Curves()
        records = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        curves.update(json.loads(line) for line in records)
        minutes = max(1, round(curves.seconds / 60))
        return {"recipe": self.name, "steps": result["steps"], "seed": recipe["train"]["seed"], "minutes": minutes}

    def media(self, domain: str) -> Media[Any]:
        return self.domains.media_at(domain, self.plan.stages[-1].size)

    def columns(self, direction: Direction, rows: int) -> Iterator[tuple[str, str, Tensor]]:
        """Yield what is shown of a translation: the text above, the domain, and samples (N, C, *space)."""
        translation, planned = direction.translation, direction.planned
        source, target = translation.source, translation.target
        clock = self.translator.clock
        samples, inputs = next(held_out_batches(self.plan, self.domains, direction, rows, rows, "cpu", clock))
        yield source, source, inputs[planned, "source"]
        for name in self.plan.recipe.inputs:
            if (planned, f"source_{name}") in inputs:
                yield name, f"{source}.{name}", inputs[planned, f"source_{name}"]
        several = self.plan.varies_by("latents")
        for number in range(CODES if several else 1):
            fake = resampled(self.networks, inputs, planned, number) if several else None
            if fake is None:
                fake = self.networks.compute(inputs, planned, ["fake"])["fake"]
            yield f"to {target}" + (f"\ncode {number + 1}" if several else ""), target, fake
        for name in self.plan.nodes.shown:
            node = self.networks.compute(inputs, planned, [name])[name]
            yield name.replace("_", " "), target, like(node, inputs[planned, "source"])
        if self.plan.varies_by("reference"):
            reference, styled = referenced(self.networks, inputs, planned)
            yield f"{target}\n(reference)", target, reference
            yield f"to {target}\nin its style", target, styled
        true = true_translations(self.domains, translation, samples)
        found = counterparts(self.domains, direction, true, inputs, "cpu")
        if found is not None:
            yield f"{target}\n(truth)", target, found

    def groups(self) -> list[list[Direction]]:
        """Return the translations, those of one task from one domain together."""
        groups: dict[tuple[str, str], list[Direction]] = {}
        for each in self.plan.directions:
            groups.setdefault((each.translation.task, each.translation.source), []).append(each)
        return list(groups.values())


def blocks_of(run: Run) -> list[Block]:
    """Return a block for each task and source domain; one for all where a task has more than `FEW` domains."""
    groups = run.groups()
    if max(len(group) for group in groups) >= FEW:
        return [_matrix(run, groups)]
    sounds = len(run.media(groups[0][0].translation.source).space) == 1
    blocks = []
    for group in groups[:1] if sounds else groups:  # spectrograms are large
        columns: dict[str, list[Image.Image]] = {}
        for direction in group:
            for text, domain, x in run.columns(direction, 2 if sounds else ROWS.get(len(groups), 2)):
                if len(group) == 1 or not text.endswith(("(truth)", f"code {CODES}")):
                    columns.setdefault(text, pictures(run, domain, x))
        translation = group[0].translation
        ends = f"{translation.source} -> {translation.target if len(group) == 1 else 'the others'}"
        blocks.append(Block(f"{translation.task}: {ends}" if len(run.plan.recipe.tasks) > 1 else ends, columns))
    return blocks


def _matrix(run: Run, groups: Sequence[Sequence[Direction]]) -> Block:
    """Return a block with a column for each target domain, in which the rows of one source domain follow each other."""
    found_targets = {each.translation.target for group in groups for each in group}
    targets = {name: f"to {name}" for name in run.plan.recipe.domains if name in found_targets}
    columns: dict[str, list[Image.Image]] = {"source": [], **{text: [] for text in targets.values()}}
    for group in groups:
        found: dict[str, list[Image.Image]] = {}
        for direction in group:
            for text, domain, x in run.columns(direction, 2):
                found.setdefault(text, pictures(run, domain, x))
        source = found[group[0].translation.source]
        columns["source"] += source
        for text in targets.values():
            columns[text] += found.get(text, [Image.new("RGB", each.size, "white") for each in source])
    return Block("", columns)


def pictures(run: Run, domain: str, x: Tensor) -> list[Image.Image]:
    """Return samples as pictures: images, the frames of clips in a row, or spectrograms."""
    if x.ndim == 5:
        return [strip([_image(shown(frame)) for frame in clip.unbind(1)]) for clip in x]
    if x.ndim == 4:
        return [_image(shown(each)) for each in x]
    from transgan_voice.spectrogram_images import colorize

    media: Any = run.media(domain)
    spectrograms = [media.extractor.spectrogram(media.denormalize(each, domain)) for each in x]
    low, high = np.percentile(np.concatenate([each.ravel() for each in spectrograms]), [2, 99.8])
    return [Image.fromarray(colorize(each, float(low), float(high))) for each in spectrograms]


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")


def write_recordings(run: Run, out: Path) -> list[Path]:
    """Write recordings of the first translation of a model of sounds, one for each column; return their paths."""
    import soundfile
    from transgan_voice.media import VoiceMedia

    direction, paths = run.plan.directions[0], []
    if not isinstance(run.media(direction.translation.source), VoiceMedia):
        return []
    for text, domain, x in run.columns(direction, ROWS[1]):
        media: Any = run.media(domain)
        statistics = media.domain_statistics(domain)
        frames = [media.extractor.from_frames(media.denormalize(each, domain), statistics) for each in x[:SPOKEN]]
        sound = np.concatenate([media.extractor.synthesize(each) for each in frames])
        path = out / f"{run.name}-{'-'.join(text.replace('(', '').replace(')', '').split())}.ogg"
        soundfile.write(path, sound, media.extractor.rate, format="OGG", subtype="VORBIS", compression_level=1 - OGG)
        paths.append(path)
    return paths


def make(folders: Sequence[Path], out: Path, sounds: Path) -> None:
    for folder in folders:
        run = Run(folder)
        about: Mapping[str, str | int] = run.about()
        path = out / f"{run.name}.png"
        save(sheet(blocks_of(run)), path, about)
        recordings = write_recordings(run, sounds)
        written = ", ".join(f"{each.name} {each.stat().st_size // 1000} kB" for each in (path, *recordings))
        print(f"{written}: {about['steps']} steps, seed {about['seed']}, {about['minutes']} minutes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument("--out", type=Path, default=HERE / "pictures" / "gallery", help="folder for the pictures")
    parser.add_argument("--sounds", type=Path, default=HERE / "static", help="folder for recordings")
    given = parser.parse_args()
    try:
        make(given.runs, given.out, given.sounds)
    except TransganError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
