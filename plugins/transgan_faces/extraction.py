"""Faces of photographs and clips as pictures to train on: `transgan faces extract`.

Each face is found, cropped upright by eyes and mouth and written as it is; blurred faces, small ones and those that
look like one before are omitted.
"""

import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transgan_images.decoding import ReadingOptions, read_picture
from transgan_images.media import ImageMedia
from transgan_images.pictures import eight_bits, with_channels
from transgan_images.quality import fingerprint

from transgan.api import (
    DataError,
    DiskError,
    Failures,
    TransganError,
    UsageError,
    as_user_error,
    expand_home,
    find_files,
    is_quiet,
    listed,
    note,
    option,
    progress_bar,
    replacing_file,
    require,
    show,
)
from transgan_faces.detection import Face
from transgan_faces.region_detector import Faces, FacesOptions, to_bytes
from transgan_faces.tracking import Tracker

#: The least `sharpness` by default: of 455 photographs of FairFace 6 % are below; blurred with a standard deviation of
#: 3 pixels of 128, 96 %.
SHARP = 0.004
#: Side in pixels to which a face is scaled before its sharpness is measured, the middle of it that counts, and the
#: standard deviation of the blur that keeps noise from being taken for detail.
MEASURED, MIDDLE, NOISE = 128, 0.6, 1.2
#: Suffixes of clips, which the package for clips reads.
CLIPS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
ENDINGS = (".png", ".jpg", ".jpeg")
WHICH = ("largest", "longest", "all")
#: The contact sheet: at most this many faces, in columns, of this side in pixels.
SHOWN, COLUMNS, CELL = 120, 12, 96
#: How many frames without a detection may lie within a track.
GAP = 8


@dataclass(frozen=True)
class Extraction:
    """What is extracted: the options of the command."""

    which: str = "largest"
    every: int = 1
    min_size: float = 64
    min_sharpness: float = SHARP
    min_difference: int = 3
    size: int | None = None
    margin: float = 0.0
    ending: str = ".png"
    weights: str | None = None
    overwrite: bool = False


@dataclass
class Report:
    """What has come of it."""

    frames: int = 0
    found: int = 0
    written: list[Path] = field(default_factory=list)
    omitted: Counter[str] = field(default_factory=Counter)
    """Faces that were not written, by the reason."""
    taken: set[str] = field(default_factory=set)
    """What no further face may be called, as `_same_name` returns it: names of inputs, and of faces before."""


@dataclass(frozen=True)
class Item:
    """A photograph or a clip."""

    path: Path
    name: str
    """What the names of its faces begin with."""
    is_clip: bool


def run(inputs: Sequence[Path], out: Path, chosen: Extraction) -> None:
    """Write the faces of files and folders, a contact sheet beside the folder, and say what has come of it.

    One file that cannot be read never stops the others.

    Raises:
        UsageError: an option is not of its form, or a result exists; nothing has been written.
        DataError: there are no files, or one of them could not be read; the others have been.
        DiskError: a picture cannot be written.
        PluginError: OpenCV, or what reads clips, is not installed.
    """
    if chosen.which not in WHICH:
        raise UsageError(f"{option('which', chosen.which)}: expected one of {', '.join(WHICH)}")
    chosen = replace(chosen, ending="." + chosen.ending.lower().removeprefix("."))
    if chosen.ending not in ENDINGS:
        raise UsageError(f"{option('ending', chosen.ending)}: expected one of {', '.join(ENDINGS)}")
    out = expand_home(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{option('out', out)} is a file; expected a folder")
    items, unreadable = find_items(inputs, out)
    _check_results(items, out, chosen)
    faces = Faces(FacesOptions(weights=chosen.weights, margin=chosen.margin))
    if faces.note:
        note(f"note: {faces.note}")
    report, failures = Report(taken={_same_name(item.name) for item in items}), Failures(_failure)
    failures.of_folders(unreadable)
    fingerprints: list[int] = []
    frames = None if any(item.is_clip for item in items) else len(items)  # which a clip may not say
    with progress_bar("looking for faces", frames) as seen:
        for item in items:
            with failures.of(item.path):
                _extract(item, out, chosen, faces, fingerprints, report, seen)
    omitted = "".join(f", {number:,} {reason}" for reason, number in report.omitted.most_common())
    written = f"{report.frames:,} pictures, {report.found:,} faces: {len(report.written):,} written into {out}{omitted}"
    show(out if is_quiet() else written)
    if report.written:
        note(f"contact sheet {contact_sheet(report.written, out, chosen.overwrite)}", error=False)
    failures.stop(len(items) + len(unreadable), "read or written")


def _failure(path: Path, error: Exception) -> TransganError | None:
    return DataError(f"{path}: out of memory") if isinstance(error, MemoryError) else as_user_error(error)


def find_items(inputs: Sequence[Path], out: Path) -> tuple[list[Item], dict[Path, str]]:
    """Return the photographs and clips among files and in folders, without those below `out`.

    Returns:
        These; and folders that cannot be read, with the reasons.

    Raises:
        DataError: an input is missing, of another type, or a folder without any.
        UsageError: two files would give their faces the same names, or one of them is in `out`.
    """
    known, results = (*ImageMedia.suffixes, *CLIPS), out.resolve()
    paths: dict[Path, str] = {}
    unreadable: dict[Path, str] = {}
    for given in map(expand_home, inputs):
        if given.resolve() == results or (given.is_file() and given.resolve().parent == results):
            raise UsageError(f"{option('out', out)} holds what is to be read, {given}; choose another folder")
        if given.is_dir():
            found = find_files(given)
            unreadable |= {path: found.skipped[path] for path in found.unreadable}
            files = [path for path in found.files if results not in path.resolve().parents]
            inside = [path for path in files if path.suffix.lower() in known]
            if not inside:
                raise DataError(f"{given}: no photographs or clips in it; they end in {', '.join(known)}")
            others = Counter(path.suffix.lower() or "no ending" for path in files if path.suffix.lower() not in known)
            if others:
                note(f"note: skipped files of {given}: {listed([f'{k}: {n:,}' for k, n in others.most_common()])}")
            paths |= {path: "-".join(path.relative_to(given).with_suffix("").parts) for path in inside}
        elif not given.exists():
            raise DataError(f"{given}: no such file or folder")
        elif given.suffix.lower() not in known:
            raise DataError(f"{given}: expected a photograph or a clip, which end in {', '.join(known)}")
        else:
            paths[given] = given.stem
    counts = Counter(map(_same_name, paths.values()))
    names = {
        path: name if counts[_same_name(name)] == 1 else f"{name}-{path.suffix[1:].lower()}"
        for path, name in paths.items()
    }
    first: dict[str, Path] = {}
    for path, name in names.items():
        if (other := first.setdefault(_same_name(name), path)) != path:
            raise UsageError(f"faces of {other} and {path} would have the same names; extract them into two folders")
    return [Item(path, name, path.suffix.lower() in CLIPS) for path, name in names.items()], unreadable


def _check_results(items: Sequence[Item], out: Path, chosen: Extraction) -> None:
    """Raise UsageError where faces of these files are in the folder already, and are not to be replaced."""
    if chosen.overwrite or not out.is_dir():
        return
    there = [path for path in sorted(out.iterdir(), reverse=True) if path.suffix.lower() in ENDINGS]
    # Of `a-2` it cannot be known whether it is the only face of `a-2` or the second one of `a`.
    endings = ("", r"-\d+$", r"(-f\d{6,})?(-\d+)?$")
    stems = {_same_name(re.sub(ending, "", path.stem)): path for path in there for ending in endings}
    for item in items:
        if old := stems.get(_same_name(item.name)):
            raise UsageError(
                f"{old} exists; choose another {option('out')}, or replace faces with {option('overwrite', True)}"
            )


def _extract(
    item: Item,
    out: Path,
    chosen: Extraction,
    faces: Faces,
    fingerprints: list[int],
    report: Report,
    seen: Callable[[], None],
) -> None:
    """Write the faces of a photograph or clip that are wanted."""
    longest = _longest(item, chosen, faces) if item.is_clip and chosen.which == "longest" else None
    tracker = Tracker(0.0, GAP)
    for number, x in _frames(item):
        seen()
        follow = longest is not None
        if not follow and number % chosen.every:
            continue
        found = faces.detector(to_bytes(x), 24.0)
        if follow:
            found = [
                replace(each.face, track=each.number) for each in tracker.update(x, found, 24.0) if not each.missed
            ]
        if number % chosen.every:
            continue
        report.frames += 1
        report.found += len(found)
        if follow:
            wanted = [face for face in found if face.track == longest]
        else:
            wanted = found if chosen.which == "all" else found[:1]
        report.omitted["of other faces"] += len(found) - len(wanted)
        for index, face in enumerate(wanted):
            name = _free_name(f"{item.name}-f{number:06d}" if item.is_clip else item.name, item, index, report.taken)
            _write_face(x, face, out / f"{name}{chosen.ending}", chosen, faces, fingerprints, report)
    report.omitted += Counter()  # without those of 0


def _free_name(frame: str, item: Item, index: int, taken: set[str]) -> str:
    """Return the name of the face of this index in a frame, and take it.

    It is that of the frame, or with a number behind. Names that faces of another file have are not used: the second
    face of `a` would be `a-2`, which is another photograph.
    """
    numbered = (f"{frame}-{number}" if number > 1 else frame for number in count(index + 1))
    name = next(name for name in numbered if name == item.name or _same_name(name) not in taken)
    taken.add(_same_name(name))
    return name


def _same_name(name: str) -> str:
    """Return what is equal for names that are one name on some disks: of another case or Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()


def _write_face(
    x: Tensor, face: Face, path: Path, chosen: Extraction, faces: Faces, fingerprints: list[int], report: Report
) -> None:
    if face.extent < chosen.min_size:
        report.omitted["too small"] += 1
        return
    sample = faces.region(x, face).sample
    if chosen.min_sharpness and sharpness(sample, chosen.margin) < chosen.min_sharpness:
        report.omitted["blurred"] += 1
        return
    if chosen.min_difference:
        bits = fingerprint(to_bytes(sample))
        if any((bits ^ other).bit_count() < chosen.min_difference for other in fingerprints):
            report.omitted["like one before"] += 1
            return
        fingerprints.append(bits)
    image = Image.fromarray(to_bytes(sample))
    if chosen.size:
        image = image.resize((chosen.size, chosen.size), Image.Resampling.LANCZOS)
    if os.path.lexists(path) and not chosen.overwrite:
        raise DiskError(f"{path}: exists since this command began; not replaced")
    _save(image, path)
    report.written.append(path)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as file:
        if path.suffix == ".png":
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=95, subsampling=0)


def _frames(item: Item) -> Iterator[tuple[int, Tensor]]:
    """Yield the frames of a clip with their numbers, or a photograph as the only one, (3, H, W) in [-1, 1]."""
    if not item.is_clip:
        try:
            picture = read_picture(item.path, ReadingOptions())
        except DataError as error:  # its advice may be an option of recipes and models, which this command lacks
            fault, _, advice = str(error).rpartition("; ")
            mend = {"declare": "convert it to 8 bits a channel", "raise": "make it smaller"}.get(advice.split(" ")[0])
            raise DataError(f"{fault}; {mend}") if mend else error from None
        yield 0, _tensor(with_channels(eight_bits(picture.pixels), 3))
        return
    reading = require("transgan_video.reading", "video", "extracting faces from clips")
    for number, frame in enumerate(reading.open_clip(item.path).frames()):
        yield number, _tensor(frame.pixels[..., :3])


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 127.5 - 1


def _longest(item: Item, chosen: Extraction, faces: Faces) -> int | None:
    """Return the number of the track with a face of the wanted size in most frames of a clip."""
    tracker, lengths = Tracker(0.0, GAP), Counter[int]()
    for _, x in _frames(item):
        found = faces.detector(to_bytes(x), 24.0)
        for track in tracker.update(x, found, 24.0):
            if not track.missed and track.face.extent >= chosen.min_size:
                lengths[track.number] += 1
    return lengths.most_common(1)[0][0] if lengths else None


def sharpness(sample: Tensor, margin: float = 0.0) -> float:
    """Return how sharp the middle of a cropped face (C, S, S) is; it depends neither on contrast nor on size.

    It is the variance of the Laplacian of the grey picture, scaled to MEASURED pixels and slightly blurred against
    noise, divided by the variance of the grey picture itself.

    Args:
        margin: with which the face was cropped, see `FacesOptions.margin`.
    """
    cv2 = require("cv2", "faces", "the sharpness of faces")
    grey = to_bytes(sample).mean(2).astype(np.float32)
    share = MIDDLE / (1 + 2 * margin)
    start, stop = (round(len(grey) * (0.5 + sign * share / 2)) for sign in (-1, 1))
    middle, side = grey[start:stop, start:stop], round(MEASURED * MIDDLE)
    method = cv2.INTER_AREA if len(middle) > side else cv2.INTER_LINEAR
    middle = cv2.GaussianBlur(cv2.resize(middle, (side, side), interpolation=method), (0, 0), NOISE)
    laplacian = cv2.Laplacian(middle, cv2.CV_32F)[1:-1, 1:-1]
    variance = float(middle.var())
    return float(laplacian.var()) / variance if variance > 0 else 0.0


def contact_sheet(pictures: Sequence[Path], out: Path, overwrite: bool = False) -> Path:
    """Write a sheet of the extracted faces beside the folder `out`, `OUT-sheet.png`, and return its path.

    It is not within the folder, which is to hold faces alone. It shows all, or evenly chosen ones.
    """
    chosen = [pictures[i * len(pictures) // min(SHOWN, len(pictures))] for i in range(min(SHOWN, len(pictures)))]
    columns = min(COLUMNS, len(chosen))
    sheet = Image.new("RGB", (columns * CELL, math.ceil(len(chosen) / columns) * CELL), (255, 255, 255))
    for i, path in enumerate(chosen):
        with Image.open(path) as image:
            cell = image.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS)
        sheet.paste(cell, (i % columns * CELL, i // columns * CELL))
    place = out.with_name(f"{out.name}-sheet.png")
    number = 1
    while os.path.lexists(place) and not overwrite:
        number += 1
        place = out.with_name(f"{out.name}-sheet-{number}.png")
    _save(sheet, place)
    return place
