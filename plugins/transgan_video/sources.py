"""The source `clips`: a domain is a folder of clips, files or folders of frames; a sample is a part of a clip."""

from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from transgan_images.folders import NO_ROOT

from transgan.api import DataError, Options, Sample, Source, UsageError, expand_home, find_files, listed
from transgan_video.pictures import FRAMES
from transgan_video.reading import FOLDER, STREAMS, open_clip

#: Files that are clips; pictures of other kinds are frames of their folder.
CLIPS = (*STREAMS, ".gif")


@dataclass(frozen=True)
class ClipPart:
    """Frames of a clip, from one of them on. It can be used as a path, that of the clip."""

    path: Path
    """A file, or a folder of frames."""
    first: int
    """The number of the first frame, from 0."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path} (from frame {self.first})"

    def read(self, frames: int, step: int) -> list[np.ndarray]:
        """Return every `step`-th frame, `frames` of them, (H, W, 3 or 4) uint8 each; at the end of the clip the last.

        Raises:
            DataError: the clip cannot be read, or has fewer frames.
        """
        span = (frames - 1) * step + 1
        begin = max(0, self.first - span)  # for a sample that would go beyond the end
        found = deque(open_clip(self.path).frames(begin, self.first + span - begin), span)
        if len(found) < span:
            raise DataError(
                f"{self.path}: a sample is {span} frames long, and there are {begin + len(found)}; remove the clip, or "
                "lower frames or step in [data.media]"
            )
        return [frame.pixels for frame in list(found)[::step]]


class ClipSourceOptions(Options):
    """Options of the source `clips`."""

    stride: int = Field(8, ge=1)
    """Frames from the beginning of a sample to that of the next one of the same clip (1 or more): a lower number gives
    more samples, which are more alike. Every sample takes space in the cache."""


class ClipSource(Source[ClipSourceOptions]):
    """Clips in folders. A domain is a folder below `data.root`, with its subfolders, or a single clip.

    A clip is a file (mp4, m4v, mov, webm, mkv, avi, gif), or a folder with its frames as pictures, in the natural order
    of their names. A sample is a part of a clip, which the recipe's media reads: `frames` of the media `clip`, from
    every `stride`-th frame on. All samples of a file are on the same side of the split into training and held-out
    samples. In a file, frames before a sample are decoded too: of files of more than a few minutes make folders of
    frames. Hidden files and folders are skipped.

    Examples: `anna = "anna"`, `anna = { path = "anna/train", held_out = "anna/test" }`, `anna = "anna.mp4"`.
    """

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the samples of a domain; a key is the clip's path below the folder, and the first frame.

        Args:
            domain: the domain's name, for messages.
            selection: a folder, or a clip.

        Raises:
            DataError: there is no such folder, or no clip in it.
            PluginError: PyAV, which reads files, is not installed.
            UsageError: the selection is of another form.
        """
        if not isinstance(selection, str):
            raise UsageError(f"found {selection!r}; expected the path of a folder, or of a clip")
        path = (self.root if self.root is not None else Path()) / expand_home(selection)
        if path.is_file():
            clips = {path.stem: path}
        elif path.is_dir():
            clips = self._clips_in(path, domain)
        else:
            unset = self.root is None and not path.is_absolute()
            hint = f"; {NO_ROOT}" if unset else ""
            raise DataError(f"[domains] {domain}: there is no folder or file {str(path)!r}{hint}")
        parts = [
            (f"{key}-{first:06d}", ClipPart(clip, first)) for key, clip in clips.items() for first in self._of(clip)
        ]
        return [Sample(key, part) for key, part in sorted(parts, key=lambda each: each[0])]

    def _clips_in(self, folder: Path, domain: str) -> dict[str, Path]:
        """Return the clips below a folder, by key."""
        try:
            found = find_files(folder)
        except DataError as error:
            raise DataError(f"[domains] {domain}: {error}") from None
        clips: dict[str, Path] = {}
        of_frames: dict[Path, list[Path]] = defaultdict(list)
        others: dict[Path, str] = {}
        for path in found.files:
            if path.suffix.lower() in CLIPS:
                clips[path.relative_to(folder).with_suffix("").as_posix()] = path
            elif path.suffix.lower() in FRAMES:
                of_frames[path.parent].append(path)
            else:
                others[path] = f"ending in {path.suffix.lower()}" if path.suffix else "without a suffix"
        with_clips = {path.parent for path in clips.values()}
        for parent, pictures in of_frames.items():
            if parent in with_clips:  # such as the stills that a camera writes beside its clips
                others |= dict.fromkeys(pictures, "a picture beside clips; frames of one are in a folder of their own")
                continue
            name = parent.relative_to(folder).as_posix() if parent != folder else folder.name
            clips[name.removesuffix(FOLDER)] = parent
        self.skipped |= {**others, **found.skipped}
        if not clips:
            names = listed((path.name for path in others), 5) if others else "nothing"
            raise DataError(
                f"[domains] {domain}: no clip in {str(folder)!r}: found {names}; expected files ending in "
                f"{', '.join(CLIPS)}, or folders of frames"
            )
        return clips

    def _of(self, clip: Path) -> range:
        """Return the first frames of a clip's samples. One that cannot be read has a sample, which is then reported."""
        try:
            opened = open_clip(clip)
            count = opened.count or sum(1 for _ in opened.frames())
        except DataError:
            count = 1
        return range(0, max(1, count - self.options.stride + 1), self.options.stride)
