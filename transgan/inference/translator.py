"""A trained model as an object: `Translator.from_pretrained("runs/old-1")(path, to="old")`."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from transgan.api.samples import Media
from transgan.arguments import as_count, as_flag, as_table
from transgan.data.attributes import describe_attribute
from transgan.errors import DataError, OutOfMemory, UsageError, is_out_of_memory, similar_path
from transgan.inference.model import Model
from transgan.inference.passes import Prepared
from transgan.inference.regions import RegionSelection
from transgan.inference.variation import Variation, check_inputs, check_variation
from transgan.options import Options
from transgan.plan import Direction
from transgan.plugin_errors import naming_plugins
from transgan.text import option

#: Numbers of items that are prepared for one pass, unless a single one has more: of large items a few at a time.
MOST_AT_ONCE = 1 << 25


class How(TypedDict, total=False):
    """The arguments of `Translator.__call__` that say nothing of the type of its result."""

    task: str | None
    source: str | None
    native: bool
    attributes: Mapping[str, Any] | None
    regions: RegionSelection | str | None
    seed: int | None
    reference: Any
    strength: float | None
    passes: int | None
    inputs: Mapping[str, Any] | None
    batch_size: int


@dataclass(frozen=True)
class _Given:
    """An item as it was given."""

    item: Any
    inputs: Mapping[str, Any]
    number: int | None = None
    """Its number among several, counted from 0."""

    @property
    def is_path(self) -> bool:
        return isinstance(self.item, (str, os.PathLike))

    @property
    def name(self) -> str:
        """The name of its file, from which its latent codes are; an object has none."""
        return Path(self.item).name if self.is_path else ""


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of all items of a call."""

    direction: Direction
    native: bool
    attributes: Mapping[str, Any] | None
    regions: RegionSelection | None
    samples: int | None
    variation: Variation

    def variations(self) -> Iterator[Variation]:
        """Yield the variation of each of the translations of an item."""
        return (replace(self.variation, sample=number) for number in range(1 if self.samples is None else self.samples))


class Translator(Model):
    """A model that translates. Create one with `from_pretrained`.

        translator = Translator.from_pretrained("runs/conditional_face-1")
        translator("photo.jpg", to="old").save("old.png")

    Several threads can use one translator at a time: files are read and written at once, and the networks run for one
    call after the other. `to`, `set_media_options`, `memory` and `on_progress` change it for all of them.
    """

    def __repr__(self) -> str:
        count = sum(each.numel() for network in self.networks.values() for each in network.parameters())
        parts = [f"[{each}]" for each in self.translations]
        if attributes := self.plan.recipe.attributes:
            parts.append(
                f"attributes {', '.join(f'{name} ({describe_attribute(a)})' for name, a in attributes.items())}"
            )
        parts += [f"size {self.plan.recipe.data.size}", str(self.device), f"{count:,} parameters"]
        return f"<Translator {self.plan.recipe.name}: {', '.join(parts)}>"

    @overload
    def __call__(
        self, item: np.ndarray, to: str | None = None, *, samples: None = None, **how: Unpack[How]
    ) -> np.ndarray: ...

    @overload
    def __call__(self, item: Tensor, to: str | None = None, *, samples: None = None, **how: Unpack[How]) -> Tensor: ...

    @overload
    def __call__(
        self, item: list[Any], to: str | None = None, *, samples: int | None = None, **how: Unpack[How]
    ) -> list[Any]: ...

    @overload
    def __call__(self, item: Any, to: str | None = None, *, samples: int | None = None, **how: Unpack[How]) -> Any: ...

    @naming_plugins()
    def __call__(
        self,
        item: Any,
        to: str | None = None,
        task: str | None = None,
        source: str | None = None,
        native: bool = False,
        attributes: Mapping[str, Any] | None = None,
        regions: RegionSelection | str | None = None,
        samples: int | None = None,
        seed: int | None = None,
        reference: Any = None,
        strength: float | None = None,
        passes: int | None = None,
        inputs: Mapping[str, Any] | None = None,
        batch_size: int = 8,
    ) -> Any:
        """Translate an item, or several; return the same kind of object.

        What an item can be besides a path, and in which range its numbers are, its media says
        (docs/reference/media.md). Of images: a PIL image, an array (H, W) or (H, W, C), and a tensor (C, H, W) in
        [-1, 1]. Several are a list or another iterable of such objects, or an array or tensor with an axis more:
        (N, H, W, C), (N, C, H, W).

            translator("photo.jpg", to="old").save("old.png")
            translator(["a.jpg", "b.jpg"], to="old", batch_size=16)  # a list of two images

        Args:
            item: a path or an object, or several.
            to: target domain; needed unless the model has only one.
            task: the task, where the target domain does not decide.
            source: the source domain, where it is not clear.
            native: translate at the item's own size, instead of the training size.
            attributes: values by name; others have the target domain's typical value.
            regions: translate only the regions that the detector of this name finds (`"faces"`).
            samples: return a list of this number of translations of each item, each with other latent codes.
            seed: of the latent codes; the same seed gives the same translation of a file of the same name.
            reference: a sample of the target domain, a path or an object, whose style the translation takes.
            strength: how much of the change is made: 0 for none, which gives an item as the model sees it, in the size
                of its training where it is resized to that; 1 for all of it, more to exaggerate.
            passes: number of passes in a row, of a model whose translation takes several.
            inputs: further inputs of the item, such as its mask, by name: paths or objects; of several items as many.
            batch_size: of several items, how many are read, and translated in one pass where they have one size; not
                with `regions`, which are translated one by one.

        Returns:
            For a path what the media exports, such as a PIL image, and for an object one of its kind: an array of the
            same type, a tensor on the same device and of the same type. For several items a list, or an array or tensor
            of them. With `samples` a list for each item. A PIL image is saved by Pillow, with Pillow's defaults:
            `save(path, quality=95, subsampling=0)` compresses it as little as `transgan translate` does.

        Raises:
            DataError: an item or the reference cannot be read.
            OutOfMemory: the device has too little memory.
            PluginError: a plugin's network or media returned something else than its kind promises.
            UsageError: no single translation, an invalid attribute value, or something that this model cannot do.
        """
        direction = self.choose(to, task, source)
        check_variation(self.plan, samples, seed, reference is not None, strength, passes)
        further = {} if inputs is None else as_table("inputs", inputs)
        check_inputs(self.plan, direction, further, regions is not None)
        native, batch_size = as_flag("native", native), as_count("batch_size", batch_size)
        if isinstance(regions, str):
            regions = RegionSelection.named(regions, self.region_options(regions))
        elif regions is not None and not isinstance(regions, RegionSelection):
            what = f"{option('regions')}: found {type(regions).__name__}"
            raise UsageError(f"{what}; expected the name of a detector, or a RegionSelection")
        wanted = _Wanted(
            direction,
            native,
            attributes,
            regions,
            samples,
            Variation(seed or 0, reference=self._read_style(reference, direction), strength=strength, passes=passes),
        )
        try:
            if self.sides(direction)[0].is_item(item):
                return self._translated([_Given(item, further)], wanted)[0]
            found: list[Any] = []
            given = _several(item, further)
            while batch := list(islice(given, batch_size)):
                found += self._translated(batch, wanted)
        except Exception as error:
            if not is_out_of_memory(error) or isinstance(error, OutOfMemory):
                raise
            remedies = f"give {option('device', 'cpu')}, a smaller {option('batch_size')}, or less memory to tiles"
            raise OutOfMemory(f"out of memory; {remedies}: translator.memory = 1_000_000_000") from error
        return _joined(found, item) if samples is None else found

    def _read_style(self, reference: Any, direction: Direction) -> Tensor | None:
        return None if reference is None else self.read_reference(reference, direction)

    @torch.no_grad()
    def _translated(self, batch: Sequence[_Given], wanted: _Wanted) -> list[Any]:
        """Return the translations of items; with `samples` a list for each."""
        direction = wanted.direction
        reader, writer = self.sides(direction)
        items = [self._read(each, reader) for each in batch]
        results: list[list[Any]] = [[] for _ in batch]
        if wanted.regions:
            translated = self._in_regions(items, batch, wanted)
        else:
            further = [
                {name: self.read_input(name, each, direction) for name, each in given.inputs.items()} for given in batch
            ]
            translated = self._whole(items, further, batch, wanted)
        for i, y in translated:
            given = batch[i]
            results[i].append(writer.export(y) if given.is_path else writer.export_like(y, given.item))
        return [result[0] for result in results] if wanted.samples is None else results

    def _whole(
        self, items: Sequence[Any], further: Sequence[Mapping[str, Any]], batch: Sequence[_Given], wanted: _Wanted
    ) -> Iterator[tuple[int, Any]]:
        """Yield the translations of whole items with their numbers: of each item one after the other."""
        direction = wanted.direction
        encoded = self.encode_attributes(direction, wanted.attributes)
        for variation in wanted.variations():
            waiting: dict[int, Prepared] = {}
            for i, given in enumerate(batch):
                own = replace(variation, name=given.name, inputs=further[i])
                with _naming(given):
                    waiting[i] = self.prepare(items[i], direction, wanted.native, own)
                if i + 1 < len(batch) and sum(each.rows.numel() for each in waiting.values()) < MOST_AT_ONCE:
                    continue
                outputs = self.outputs(list(waiting.values()), direction, encoded, variation)
                for (number, prepared), y in zip(waiting.items(), outputs, strict=True):
                    yield number, self.finish(prepared, y, direction)
                waiting = {}

    def _in_regions(self, items: Sequence[Any], batch: Sequence[_Given], wanted: _Wanted) -> Iterator[tuple[int, Any]]:
        """Yield items with their regions translated, with their numbers: of each item one after the other."""
        assert wanted.regions is not None
        reader, writer = self.sides(wanted.direction)
        for i, (x, given) in enumerate(zip(items, batch, strict=True)):
            tensor = wanted.regions.tensor_of(x, reader)
            found = wanted.regions.of(tensor)
            for variation in wanted.variations():
                how = wanted.direction, wanted.native, wanted.attributes, replace(variation, name=given.name)
                yield i, writer.with_tensor(x, self.translate_regions(tensor, wanted.regions, found, *how))

    def _read(self, given: _Given, reader: Media[Options]) -> Any:
        if given.is_path and not os.path.lexists(given.item):  # also of a name that no file can have
            raise DataError(f"{given.item}: no such file{similar_path(Path(given.item), Path.is_file)}")
        if isinstance(given.item, Tensor) and (given.item.is_meta or given.item.layout != torch.strided):
            what = "on the device 'meta', which has no numbers" if given.item.is_meta else str(given.item.layout)
            raise DataError(
                f"a tensor of {tuple(given.item.shape)}, {what}; expected a dense one, such as x.to_dense()"
            )
        if given.is_path and Path(given.item).is_dir():
            raise DataError(f"{given.item} is a folder; expected a file, or a list of files")
        with _naming(given):
            return reader.read(given.item)

    def translate_sequence(
        self,
        items: Iterable[Any],
        to: str | None = None,
        task: str | None = None,
        source: str | None = None,
        **how: Any,
    ) -> Iterator[Any]:
        """Translate items one after the other as they come, all with the same latent codes; yield the translations.

        Args:
            items: several paths or objects, as `__call__` takes them.
            how: further arguments of `__call__`.

        Raises:
            TransganError: as `__call__` does.
            UsageError: `items` is a single one.
        """
        reader = self.sides(self.choose(to, task, source))[0]
        if reader.is_item(items):
            raise UsageError(f"items: found {type(items).__name__}, a single one; expected several, such as a list")

        def translations() -> Iterator[Any]:
            for given in _several(items, {}):
                # An item of a file has latent codes of its own, by its name; an object has none.
                x = self._read(given, reader) if given.is_path else given.item
                yield self(x, to, task=task, source=source, **how)

        return translations()


@contextmanager
def _naming(given: _Given) -> Iterator[None]:
    """Say which of several items an error is about."""
    try:
        yield
    except DataError as error:
        name = str(given.item) if given.is_path else f"item {given.number}"
        if given.number is None or name in str(error):
            raise
        raise DataError(f"{name}: {error}") from error


def _several(items: Any, inputs: Mapping[str, Any]) -> Iterator[_Given]:
    """Yield several items, each with its further inputs.

    Raises:
        UsageError: there are more or fewer further inputs than items.
    """
    further = {
        name: iter(each) for name, each in inputs.items() if isinstance(each, Iterable) and not isinstance(each, str)
    }
    if hasattr(items, "read"):
        what = f"found {type(items).__name__}, an open file"
        raise UsageError(f"{what}; expected a path, or what is in it as an object, such as PIL.Image.open(file)")
    missing = object()
    number = -1
    for number, item in enumerate(items):
        own = {name: next(further[name], missing) if name in further else missing for name in inputs}
        if short := [name for name, each in own.items() if each is missing]:
            raise UsageError(f"{option('inputs', short[0])}: item {number} has none; expected one for each item")
        yield _Given(item, own, number)
    for name, rest in further.items():
        if next(rest, missing) is not missing:
            raise UsageError(f"{option('inputs', name)}: more than the {number + 1} items; expected one for each")


def _joined(found: list[Any], like: Any) -> Any:
    """Return translations as one array or tensor, where the items were one."""
    if isinstance(like, Tensor):
        return torch.stack(found) if found else like
    if isinstance(like, np.ndarray):
        return np.stack(found) if found else like
    return found
