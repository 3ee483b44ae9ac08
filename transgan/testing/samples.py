"""Checks of sources, media, containers and region detectors, which know files and items."""

import io
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Column, Description, Region, Sample
from transgan.errors import DataError, TransganError, UsageError
from transgan.registry import Registry
from transgan.testing.checker import Checker, Fault, in_a_line
from transgan.testing.values import differ, rng_of


class SourceChecker(Checker):
    first_use = "samples"

    def build(self, options: Any = None) -> Any:
        source = self.cls(self.options if options is None else options, self.given.root)
        source.suffixes = tuple(self.given.suffixes)
        return source

    def works(self, options: Any) -> None:
        source = self.build(options)
        for name, selection in self.given.selections.items():
            source.samples(name, selection)

    def check_samples(self) -> Iterator[str]:
        """Samples are sorted, with keys of their own, the same each time, and their files are there."""
        if not self.given.selections:
            raise Fault(
                "nothing says which samples to find; give what recipes write for two domains: "
                f"check({self.cls.__name__}, root=..., selections={{'a': ..., 'b': ...}})"
            )
        for name, selection in self.given.selections.items():
            source = self.build()
            samples = source.samples(name, selection)
            if not isinstance(samples, list) or not all(isinstance(each, Sample) for each in samples):
                raise Fault(f"samples returns no list of transgan.api.Sample for {name!r}")
            keys = [each.key for each in samples]
            if not keys:
                yield f"there are no samples of {name!r}, and nothing says so; raise DataError: where it looked"
            if keys != sorted(keys):
                yield f"the samples of {name!r} are not sorted by key; sort them, since splits and pairs go by it"
            if len(set(keys)) != len(keys):
                yield f"two samples of {name!r} have the same key; make keys unique, such as paths below the folder"
            again = [(each.key, each.attributes) for each in self.build().samples(name, selection)]
            if again != [(each.key, each.attributes) for each in samples]:
                yield f"the samples of {name!r} differ each time; they may depend on options, root and selection alone"
            for each in samples[:20]:
                if isinstance(each.location, (str, Path)):
                    if not Path(each.location).is_file():
                        yield f"sample {each.key!r} is at {each.location}, where there is no file"
                        break
                    if self.given.suffixes and Path(each.location).suffix.lower() not in self.given.suffixes:
                        yield f"sample {each.key!r} is no file that the media reads; skip what self.suffixes lacks"
                        break

    def check_errors(self) -> Iterator[str]:
        """A mistake in a recipe, or a folder that is not there, is one line: DataError or UsageError."""
        wrong: list[tuple[str, Any, Any]] = [("selection = 3.5", 3.5, self.given.root)]
        first = next(iter(self.given.selections.values()), None)
        wrong += [("selection = 'no/such/place'", "no/such/place", self.given.root)]
        if self.given.root is not None:
            wrong += [("a root that does not exist", first, self.given.root / "no-such-folder")]
        for what, selection, root in wrong:
            try:
                source = self.cls(self.options, root)
                source.suffixes = tuple(self.given.suffixes)
                if not source.samples("a", selection):
                    yield f"for {what} it returns no samples and says nothing; raise DataError or UsageError"
            except TransganError:
                continue
            except Exception as error:
                yield f"for {what} it raises {in_a_line(error)}; raise DataError (files) or UsageError (the recipe)"

    def check_counterparts(self) -> Iterator[str]:
        """A true translation is a sample, or not known."""
        selections = list(self.given.selections.values())[:2]
        if len(selections) == 2:
            source = self.build()
            (first, *_) = source.samples(next(iter(self.given.selections)), selections[0])
            found = source.counterpart(first, *selections)
            if found is not None and not isinstance(found, Sample):
                yield f"counterpart returns {type(found).__name__}, expected a Sample or None"


class MediaChecker(Checker):
    first_use = "decoding"

    def build(self, options: Any = None) -> Any:
        return self.cls(self.options if options is None else options, self.given.size)

    def works(self, options: Any) -> None:
        media = self.build(options)
        media.statistics = {"a": media.fit_statistics([media.decode(each) for each in self.given.files])}
        self._batch(media)

    def _batch(self, media: Any, rng: Any = None) -> Tensor:
        decoded = [media.decode(each) for each in self.given.files]
        stacked = [torch.from_numpy(each) for each in decoded] if media.ragged else torch.from_numpy(np.stack(decoded))
        found: Tensor = media.batch(stacked, rng, ["a"] * len(decoded))
        return found

    def _ready(self) -> Any:
        if len(self.given.files) < 2:
            raise Fault(
                "nothing says what to decode; give at least two files, or functions as synthetic sources have them: "
                f"check({self.cls.__name__}, files=[...], size=32)"
            )
        media = self.build()
        media.statistics = {"a": media.fit_statistics([media.decode(each) for each in self.given.files])}
        return media

    def check_decoding(self) -> Iterator[str]:
        """A sample is decoded to the same array each time, all samples to one form."""
        media = self._ready()
        one, two = (media.decode(self.given.files[0]) for _ in range(2))
        if not isinstance(one, np.ndarray):
            raise Fault(f"decode returns {type(one).__name__}, expected a numpy array, which the cache keeps")
        if not np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
            yield "decode returns something else each time; what is random belongs in batch, with its rng"
        if not media.ragged:
            shapes = {(each.shape, str(each.dtype)) for each in map(media.decode, self.given.files)}
            if len(shapes) > 1:
                yield f"decode returns arrays of different shape or type, {sorted(shapes)}; bring all to one"
        if differing := [name for name, each in media.statistics["a"].items() if not isinstance(each, Tensor)]:
            yield f"fit_statistics returns '{differing[0]}', which is no tensor; only tensors are saved"

    def check_batches(self) -> Iterator[str]:
        """A batch has the form that the media says, in [-1, 1], augmented by its random numbers alone."""
        media = self._ready()
        count = len(self.given.files)
        expected = (count, media.channels, *media.space)
        for rng in (None, rng_of(range(count))):
            x = self._batch(media, rng)
            where = "with augmentation " if rng else ""
            if not x.is_floating_point():
                yield f"batch {where}returns {x.dtype}, expected floating point"
            right = tuple(x.shape) == expected if rng else x.shape[:2] == expected[:2]
            if not right:
                yield f"batch {where}returns {tuple(x.shape)}, expected (N, channels, *space) = {expected}"
            if not torch.isfinite(x).all():
                yield f"batch {where}returns NaN or infinite numbers"
            elif media.bounded and (largest := float(x.abs().max())) > 1.0001:
                yield f"values of batch {where}reach {largest:.3g}; scale to [-1, 1], or set bounded = False"
        again = [self._batch(media, rng_of(range(count))) for _ in range(2)]
        if differ(again[0], again[1], 1e-6):
            yield "batch augments otherwise each time with equal random numbers; take all of them from its rng"

    def check_items(self) -> Iterator[str]:
        """A file is read, prepared for the network, brought back, written, and read again."""
        media = self._ready()
        files = [each for each in self.given.files if isinstance(each, (str, Path))]
        if files and not media.suffixes:
            yield "suffixes is empty: no command finds its files; write those that read knows, such as ('.txt',)"
        for path in files[:2]:
            item = media.read(Path(path))
            for stride in (1, 4):
                x, undo = media.to_model(item, stride, False, "a")
                if x.dim() < 3 or any(side % stride for side in x.shape[2:]):
                    yield f"to_model with stride {stride} returns {tuple(x.shape)}, expected multiples behind (N, C)"
                y = media.from_model(x, undo, "a")
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / f"out{Path(path).suffix}"
                media.write(y, out)
                if not out.is_file():
                    raise Fault("write wrote no file at the path that it was given")
                x2, _ = media.to_model(media.read(out), 1, False, "a")
                x1, _ = media.to_model(item, 1, False, "a")
                if x1.shape != x2.shape:
                    yield f"an item written and read again has another size: {tuple(x1.shape)}, {tuple(x2.shape)}"
                before = out.read_bytes()
                media.write(item, out)
                if not before:
                    yield "write wrote an empty file"
            if not isinstance(media.describe(item), Description):
                yield "describe returns no transgan.api.Description"
            if (tensor := media.as_tensor(item)) is not None:
                media.with_tensor(item, tensor)
            media.export(item)

    def check_errors(self) -> Iterator[str]:
        """A damaged or missing file costs itself: DataError. A size of another form is UsageError."""
        media = self._ready()
        suffix = media.suffixes[0] if media.suffixes else ".bin"
        with tempfile.TemporaryDirectory() as folder:
            damaged, missing = Path(folder) / f"damaged{suffix}", Path(folder) / f"missing{suffix}"
            damaged.write_bytes(b"this is no such file")
            if media.suffixes:
                for what, path in (("a damaged file", damaged), ("a missing file", missing)):
                    for name in ("decode", "read"):
                        try:
                            getattr(media, name)(path)
                            yield f"{name} accepts {what}; raise DataError"
                        except DataError:
                            continue
                        except Exception as error:
                            yield f"{name} of {what} raises {in_a_line(error)}; raise DataError"
        try:
            self.cls(self.options, (8, 8, 8, 8, 8))
            yield "a size of five axes is accepted; raise UsageError in __init__"
        except UsageError:
            pass
        except Exception as error:
            yield f"a size of five axes raises {in_a_line(error)}; raise UsageError"

    def check_preview(self) -> Iterator[str]:
        """A preview is written."""
        media = self._ready()
        items = list(self._batch(media))
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            path = media.preview({"source": Column("a", items), "fake": Column("a", items)}, Path(folder) / "preview")
            if not Path(path).is_file():
                yield f"preview returns {path}, where there is no file"


class ContainerChecker(Checker):
    first_use = "sequences"

    def works(self, options: Any) -> None:
        self.build(options).count(self._file())

    def _file(self) -> Path:
        if not self.given.files:
            raise Fault(f"nothing says what to read; give a file: check({self.cls.__name__}, files=[path])")
        return Path(self.given.files[0])

    def _transform(self, result: Path, change: Callable[[Any], Any]) -> None:
        self.build().transform(self._file(), result, change)

    def check_sequences(self) -> Iterator[str]:
        """Every item is given once, in order, and the result is such a file again."""
        path, container, items = self._file(), self.build(), []
        if not container.media:
            raise Fault("media is empty: no model takes its items; name the media that read them")
        cls = Registry.installed().get("media", container.media[0])
        media = cls(cls.Options(), self.given.size)

        def keep(item: Any) -> Any:
            items.append(item)
            return media.export(media.read(item))

        if path.suffix.lower() not in container.suffixes:
            yield f"suffixes lacks {path.suffix!r}: no command finds the file that was given"
        if not container.holds(path):
            yield "holds says that the file that was given holds no sequence"
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / f"out{path.suffix}"
            self._transform(result, keep)
            if not result.exists():
                raise Fault("transform wrote nothing at the path that it was given")
            count, again = container.count(path), self.build().count(result)
            if count not in (None, len(items)):
                yield f"count says {count} items, and transform gave {len(items)}"
            if not items:
                yield "transform gives no item of the file that was given; raise DataError where there is none"
            elif again not in (None, len(items)):
                yield f"{len(items)} items were written, and count finds {again} in the result"

    def check_failures(self) -> Iterator[str]:
        """Where a change fails, its error passes through, and what stood at the result stays."""

        def fail(item: Any) -> Any:
            raise DataError("this item cannot be changed")

        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / f"out{self._file().suffix}"
            result.write_bytes(b"what stood there")
            try:
                self._transform(result, fail)
                yield "an error of change is lost; let it pass through"
            except DataError as error:
                if "cannot be changed" not in str(error):
                    yield f"an error of change becomes another one, {in_a_line(error)}; let it pass through"
            except Exception as error:
                yield f"an error of change becomes another one, {in_a_line(error)}; let it pass through"
            if result.read_bytes() != b"what stood there":
                yield "what stood at the result is lost where a change fails; write with transgan.api.replacing_file"
            if left := [each.name for each in Path(folder).iterdir() if each != result]:
                yield f"where a change fails it leaves {left[0]!r} behind; write with transgan.api.replacing_file"

    def check_errors(self) -> Iterator[str]:
        """A damaged or missing file is one line: DataError."""
        suffix = self._file().suffix
        with tempfile.TemporaryDirectory() as folder:
            damaged, missing = Path(folder) / f"damaged{suffix}", Path(folder) / f"missing{suffix}"
            damaged.write_bytes(b"this is no such file")
            for what, path in (("a damaged file", damaged), ("a missing file", missing)):
                try:
                    self.build().transform(path, Path(folder) / f"out{suffix}", lambda item: item)
                    yield f"transform accepts {what}; raise DataError"
                except DataError:
                    continue
                except Exception as error:
                    yield f"transform of {what} raises {in_a_line(error)}; raise DataError"


class RegionDetectorChecker(Checker):
    first_use = "regions"

    def works(self, options: Any) -> None:
        self.build(options).detect(self._item(), 0.0)

    def _item(self) -> Tensor:
        if self.given.item is None:
            raise Fault(f"nothing says what to detect in; give an item: check({self.cls.__name__}, item=tensor)")
        return self.given.item

    def check_regions(self) -> Iterator[str]:
        """Regions are found, the largest first, none below the least extent."""
        item = self._item()
        kept = item.clone()
        detector = self.build()
        regions = detector.detect(item, 0.0)
        if not torch.equal(item, kept):
            yield "detect changes the item in place; work on a copy"
        if not regions:
            raise Fault("it finds nothing in the item that was given")
        if not all(isinstance(each, Region) for each in regions):
            raise Fault("detect returns no list of transgan.api.Region")
        extents = [each.extent for each in regions]
        if extents != sorted(extents, reverse=True):
            yield "regions are not sorted; return the largest first"
        for each in regions:
            if each.sample.dim() != item.dim() or len(each.sample) != len(item):
                yield f"a region's sample is {tuple(each.sample.shape)}, expected (C, *space) with C = {len(item)}"
            elif float(each.sample.abs().max()) > 1.0001:
                yield f"values of a region's sample reach {float(each.sample.abs().max()):.3g}, expected [-1, 1]"
        if detector.detect(item, math.inf):
            yield "detect returns regions smaller than min_extent; skip them"
        again = detector.detect(item, 0.0)
        if differ([each.sample for each in regions], [each.sample for each in again], 1e-6):
            yield "it finds something else each time in the same item"

    def check_pasting(self) -> Iterator[str]:
        """Only what was changed is pasted."""
        item, detector = self._item(), self.build()
        regions = detector.detect(item, 0.0)
        still = detector.paste(item, regions, [torch.zeros_like(each.sample) for each in regions])
        if still.shape != item.shape or differ(still, item, 1e-3):
            yield "paste changes the item where nothing was changed; add the changes to it, and resample only them"
        changed = detector.paste(item, regions, [torch.ones_like(each.sample) / 2 for each in regions])
        if not differ(changed, item, 1e-3):
            yield "paste does not change the item where regions were changed"
        if detector.mark(item, regions).shape != item.shape:
            yield "mark returns an item of another shape"

    def check_empty(self) -> Iterator[str]:
        """An item without regions is none to fail at."""
        blank = torch.zeros_like(self._item())
        detector = self.build()
        regions = detector.detect(blank, 0.0)
        if differ(detector.paste(blank, [], []), blank, 1e-6):
            yield "paste without regions changes the item"
        if len(regions) > 20:
            yield f"it finds {len(regions)} regions in an empty item"
