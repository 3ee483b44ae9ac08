"""A trained model as an object: `Translator.from_pretrained("runs/old-1")(path, to="old")`."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any, Self, TypedDict, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.samples import Media, Region
from transgan.data.attributes import describe_attribute, encode
from transgan.data.domains import statistics_from_tensors
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.errors import DataError, OutOfMemory, UsageError, did_you_mean, is_out_of_memory
from transgan.inference.model_folder import STATISTICS, find_model, plan_of
from transgan.inference.regions import RegionSelection
from transgan.inference.tiling import Tiles, Wrap
from transgan.inference.variation import PLAIN, Variation, check_inputs, check_variation
from transgan.networks import Networks, load_network_tensors
from transgan.options import Options
from transgan.plan import Direction, Plan, build_networks
from transgan.plugin_errors import in_one_line
from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import apply_overrides
from transgan.recipe.write import as_overrides
from transgan.registry import using_files
from transgan.rng import CounterRng, stable_hash
from transgan.schedule import Clock
from transgan.text import option

#: Chunks of a long item that are translated in one pass.
AT_ONCE = 16
#: Numbers of items that are prepared for one pass, unless a single one has more: of large items a few at a time.
MOST_AT_ONCE = 1 << 25

Encoded = Mapping[str, list[float]]
"""The encoding of an attribute value, by the attribute's name."""


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


@dataclass(frozen=True)
class _Prepared:
    """An item as a generator takes it."""

    rows: Tensor
    """(N, C, *space)"""
    further: Mapping[str, Tensor]
    """Further inputs by name, (N, C, *space) each."""
    name: str
    undo: Any
    """What `media.from_model` needs."""

    @property
    def shapes(self) -> Any:
        """What items that are computed together have in common."""
        return self.rows.shape[1:], self.rows.device, *((key, each.shape[1:]) for key, each in self.further.items())


class Translator:
    """A model that translates. Create one with `from_pretrained`.

        translator = Translator.from_pretrained("runs/conditional_face-1")
        translator("photo.jpg", to="old").save("old.png")

    Several threads can use one translator at a time: files are read and written at once, and the networks run for one
    call after the other. `to`, `set_media_options`, `memory` and `on_progress` change it for all of them.
    """

    def __init__(
        self,
        plan: Plan,
        tensors: Mapping[str, Tensor],
        config: Mapping[str, Any],
        device: torch.device | str = "cpu",
    ):
        self.plan = plan
        self.config = config
        if mismatch := _mismatch(plan, tensors):  # before anything as large as the config says is allocated
            raise DataError(f"the weights do not fit the config: {mismatch}")
        self.networks = Networks(plan, device)
        load_network_tensors(self.networks, tensors)
        for network in self.networks.values():
            network.eval().requires_grad_(False)
        self.statistics = statistics_from_tensors(tensors, STATISTICS)
        self.media = {name: each.at(plan.stages[-1].size) for name, each in plan.media.items()}
        """The media of each domain."""
        for media in self.media.values():
            media.statistics = self.statistics
        self.input_media = {name: each.at(plan.stages[-1].size) for name, each in plan.input_media.items()}
        """The media of further inputs, by `domain.input`."""
        for media in self.input_media.values():
            media.statistics = self.statistics
        self.clock = _clock(config, plan.recipe.train.steps)
        """The step of the model, for nodes with schedules."""
        self.typical = _typical_values(plan, config)
        """The typical value of each attribute, by domain and name."""
        self.memory: int | None = None
        """Bytes of memory of the device that the networks' numbers may take, the weights apart; None for what is free.
        What needs more is translated in tiles."""
        self.on_progress: Callable[[float], None] | None = None
        """Called during a translation in tiles with the share that is done, 0 to 1."""
        self._tiles = Tiles()
        self._lock = RLock()
        """Held while networks run: tiles remember what they need, and most devices compute one thing at a time."""

    def __repr__(self) -> str:
        count = sum(each.numel() for network in self.networks.values() for each in network.parameters())
        parts = [f"[{each}]" for each in self.translations]
        if attributes := self.plan.recipe.attributes:
            parts.append(
                f"attributes {', '.join(f'{name} ({describe_attribute(a)})' for name, a in attributes.items())}"
            )
        parts += [f"size {self.plan.recipe.data.size}", str(self.device), f"{count:,} parameters"]
        return f"<Translator {self.plan.recipe.name}: {', '.join(parts)}>"

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.networks.device

    def to(self, device: torch.device | str) -> Self:
        """Move the networks to another device; return the translator.

        Raises:
            UsageError: there is no such device.
        """
        where = _device(device)
        with self._lock:
            self.networks = Networks(self.plan, where, self.networks)
            for network in self.networks.values():
                network.eval().requires_grad_(False)
        return self

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: torch.device | str | None = None,
        step: int | None = None,
        media_options: Mapping[str, Any] | None = None,
        plugins: Iterable[str | Path] = (),
    ) -> Self:
        """Read a model folder, the model of a run folder, or the model in a checkpoint.

        Args:
            path: a folder with config.json and model.safetensors, a run folder with such a folder `model` in it, or the
                folder of a checkpoint.
            device: where the model runs; defaults to a GPU if there is one.
            step: of a run folder, the checkpoint of this step instead of its model.
            media_options: see `set_media_options`.
            plugins: Python files with plugins of the model that are not installed.

        Raises:
            DataError: there is no model, or it is damaged.
            DiskError: the checkpoint is damaged.
            PluginError: it needs a plugin that is not installed.
            RecipeError: an option of the media is invalid.
            UsageError: there is no such device, or `step` is given for what is no run folder.
        """
        place = find_model(path, step)
        where = _device(device)
        tensors, config = place.read()
        try:
            with using_files(plugins):
                translator = cls(plan_of(config, str(place.config)), tensors, config, where)
        except DataError as error:
            raise DataError(f"model {place.folder}: {str(error).removeprefix(f'{place.folder}/')}") from None
        translator.set_media_options(media_options or {})
        return translator

    def set_media_options(self, options: Mapping[str, Any] | Iterable[str]) -> None:
        """Change options of the media of all domains that may differ from those of training: `Media.options_at_use`.

        Args:
            options: values by name, or texts as on the command line: `"media.limit=600"`.

        Raises:
            RecipeError: a value is invalid.
            UsageError: there is no such option, or it may not differ.
        """
        settings = as_overrides(options) if isinstance(options, Mapping) else options
        settings = [each.strip().removeprefix("media.") for each in settings]
        for name, each in self.plan.media.items() if settings else ():
            changed: dict[str, Any] = {}
            problems = Problems(f"the options of the media '{each.use}'", argument="media_options")
            apply_overrides(changed, settings, problems)
            problems.stop()
            free = each.cls.options_at_use
            if fixed := [key for key in changed if key not in free]:
                what = f"the media '{each.use}' has no such option that may differ from training"
                given = option("media_options", {fixed[0]: changed[fixed[0]]})
                raise UsageError(f"{given}: {what}. {did_you_mean(fixed[0], free)}")
            table = each.options.model_dump(mode="json") | changed
            checked: Any = problems.validate(each.cls.Options, table, ())
            problems.stop()
            self.media[name] = each.cls(checked, self.media[name].size)
            self.media[name].statistics = self.statistics

    @property
    def translations(self) -> list[Translation]:
        """What the model translates."""
        return [direction.translation for direction in self.plan.directions]

    def choose(self, to: str | None = None, task: str | None = None, source: str | None = None) -> Direction:
        """Return the direction with a target domain, a task and a source domain, as far as these are given.

        Raises:
            UsageError: there is none, or more than one; says which there are.
        """
        every = self.plan.directions
        wanted = every
        for word, kind, part, value in (
            ("to", "domain", "target", to),
            ("task", "task", "task", task),
            ("source", "domain", "source", source),
        ):
            if value is not None:
                known = {getattr(each.translation, part) for each in every}
                if value not in known:
                    raise UsageError(
                        f"{option(word, value)}: this model has no such {kind}. {did_you_mean(value, known)}"
                    )
                wanted = [each for each in wanted if getattr(each.translation, part) == value]
        if not wanted:
            known_ones = ", ".join(f"[{each.translation}]" for each in every)
            raise UsageError(f"no translation matches; this model has {known_ones}")
        # Directions from several sources are one where network, conditions and the media's reading are the same.
        same = {
            (each.planned.task, each.translation.target, self.plan.roles[each.planned]["generator"])
            + ((each.translation.source,) if each.translation.source in self.statistics else ())
            for each in wanted
        }
        if len(same) > 1:
            matching = ", ".join(f"[{each.translation}]" for each in wanted)
            choices = f"{option('to')}, {option('task')} and {option('source')}"
            raise UsageError(f"more than one translation matches: {matching}; choose with {choices}")
        return wanted[0]

    def encode_attributes(
        self, direction: Direction, attributes: Mapping[str, Any] | None = None
    ) -> dict[str, list[float]]:
        """Encode the attributes to translate to; those that are not given have the target domain's typical value.

        Raises:
            UsageError: the model has no such attribute, or a value is invalid.
        """
        known, values = self.plan.recipe.attributes, dict(attributes or {})
        for name, value in values.items():
            if name not in known:
                given = option("attributes", {name: value})
                raise UsageError(f"{given}: this model has no such attribute. {did_you_mean(name, known)}")
            try:
                encode(known[name], value)
            except ValueError as error:
                raise UsageError(f"{option('attributes', {name: value})}: {error}") from None
        return self._encode({**self.typical[direction.translation.target], **values})

    def _encode(self, values: Mapping[str, Any]) -> dict[str, list[float]]:
        return {name: encode(attribute, values[name]) for name, attribute in self.plan.recipe.attributes.items()}

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
            strength: how much of the change is made: 0 for none, 1 for all of it, more to exaggerate.
            inputs: further inputs of the item, such as its mask, by name: paths or objects; of several items as many.
            batch_size: of several items, how many are read, and translated in one pass where they have one size; not
                with `regions`, which are translated one by one.

        Returns:
            For a path what the media exports, such as a PIL image, and for an object one of its kind: an array of the
            same type, a tensor on the same device and of the same type. For several items a list, or an array or tensor
            of them. With `samples` a list for each item.

        Raises:
            DataError: an item or the reference cannot be read.
            OutOfMemory: the device has too little memory.
            UsageError: no single translation, an invalid attribute value, or something that this model cannot do.
        """
        direction = self.choose(to, task, source)
        check_variation(self.plan, samples, seed, reference is not None, strength)
        check_inputs(self.plan, direction, inputs or (), regions is not None)
        if batch_size < 1:
            raise UsageError(f"{option('batch_size', batch_size)}: expected a number of 1 or more")
        wanted = _Wanted(
            direction,
            native,
            attributes,
            RegionSelection.named(regions) if isinstance(regions, str) else regions,
            samples,
            Variation(seed or 0, reference=self._read_style(reference, direction), strength=strength),
        )
        try:
            if self.sides(direction)[0].is_item(item):
                return self._translated([_Given(item, inputs or {})], wanted)[0]
            found: list[Any] = []
            given = _several(item, inputs or {})
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
        direction, target = wanted.direction, wanted.direction.translation.target
        encoded = self.encode_attributes(direction, wanted.attributes)
        for variation in wanted.variations():
            waiting: dict[int, _Prepared] = {}
            for i, given in enumerate(batch):
                own = replace(variation, name=given.name, inputs=further[i])
                waiting[i] = self._prepare(items[i], direction, wanted.native, own)
                if i + 1 < len(batch) and sum(each.rows.numel() for each in waiting.values()) < MOST_AT_ONCE:
                    continue
                outputs = self._outputs(list(waiting.values()), direction, encoded, variation)
                for (number, prepared), y in zip(waiting.items(), outputs, strict=True):
                    yield number, self.media[target].from_model(y, prepared.undo, target)
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
        try:
            return reader.read(given.item)
        except DataError as error:
            if given.number is None or given.is_path:
                raise
            raise DataError(f"item {given.number}: {error}") from error

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
            items: paths or objects.
            how: further arguments of `__call__`.

        Raises:
            TransganError: as `__call__` does.
        """
        reader = self.sides(self.choose(to, task, source))[0]
        for item in items:
            # An item of a file has latent codes of its own, by its name; an object has none.
            x = reader.read(item) if isinstance(item, (str, os.PathLike)) else item
            yield self(x, to, task=task, source=source, **how)

    def read_input(self, name: str, item: Any, direction: Direction) -> Any:
        """Return a further input of an item of a direction's source domain, as its media reads it.

        Raises:
            DataError: it cannot be read.
        """
        return self.input_media[f"{direction.translation.source}.{name}"].read(item)

    def read_reference(self, item: Any, direction: Direction) -> Tensor:
        """Return a sample of a direction's target domain as networks take it, (1, C, *space); of a long one the first
        piece.

        Raises:
            DataError: it cannot be read.
        """
        media = self.sides(direction)[1]
        domain = direction.translation.target
        return media.to_model(media.read(item), 1, False, domain)[0][:1].to(self.device)

    def sides(self, direction: Direction) -> tuple[Media[Options], Media[Options]]:
        """Return the media of a direction's source domain, which reads, and of its target domain, which writes."""
        return self.media[direction.translation.source], self.media[direction.translation.target]

    @torch.no_grad()
    def translate(
        self,
        x: Any,
        direction: Direction,
        native: bool = False,
        attributes: Mapping[str, Any] | None = None,
        variation: Variation = PLAIN,
    ) -> Any:
        """Translate an item of any size, as `media.read` returns it; return one of the same size."""
        _, y, undo = self._translate(x, direction, native, attributes, variation)
        return self.sides(direction)[1].from_model(y, undo, direction.translation.target)

    @torch.no_grad()
    def translate_batch(self, x: Tensor, direction: Direction) -> Tensor:
        """Translate samples as networks see them, such as a training batch.

        Args:
            x: (N, C, *space) in [-1, 1], every axis a multiple of the generator's stride.

        Returns:
            (N, C, *space), with the target domain's typical attributes, on the device of x.
        """
        encoded = self.encode_attributes(direction)
        return self._run(x.to(self.device, torch.float32), direction, encoded, PLAIN).to(x)

    @torch.no_grad()
    def translate_regions(
        self,
        x: Tensor,
        selection: RegionSelection,
        found: Sequence[Region],
        direction: Direction,
        native: bool = False,
        attributes: Mapping[str, Any] | None = None,
        variation: Variation = PLAIN,
    ) -> Tensor:
        """Translate only these regions of an item; what changes in them is pasted back, the rest stays as it is.

        Args:
            x: the item as the media's `as_tensor` returns it, (C, *space); the result is of the same shape.
        """
        source, target = self.sides(direction)
        if source.channels != target.channels:
            what = f"turns {source.channels} channels into {target.channels}"
            raise UsageError(f"{selection.name} cannot be pasted back: [{direction.translation}] {what}")
        changes = []
        for region in found:
            inputs, y, undo = self._translate(region.sample, direction, native, attributes, variation)
            keeps = selection.detector.keeps_detail
            before = source.from_model(inputs, undo, direction.translation.source) if keeps else region.sample
            changes.append(target.from_model(y, undo, direction.translation.target) - before)
        return selection.detector.paste(x, found, changes)

    def _translate(
        self,
        x: Any,
        direction: Direction,
        native: bool,
        attributes: Mapping[str, Any] | None,
        variation: Variation,
    ) -> tuple[Tensor, Tensor, Any]:
        """Return a generator's input for an item, its output, and what `media.from_model` needs."""
        prepared = self._prepare(x, direction, native, variation)
        encoded = self.encode_attributes(direction, attributes)
        (y,) = self._outputs([prepared], direction, encoded, variation)
        return prepared.rows, y, prepared.undo

    def _prepare(self, x: Any, direction: Direction, native: bool, variation: Variation) -> _Prepared:
        """Return an item, with its further inputs, as the generator takes it."""
        check_inputs(self.plan, direction, variation.inputs)
        source = direction.translation.source
        name = self.plan.roles[direction.planned]["generator"]
        stride = int(getattr(self.networks[name], "stride", 1))
        rows, undo = self.media[source].to_model(x, stride, native, source)
        further = {}
        for key, item in variation.inputs.items():
            further[key] = self.input_media[f"{source}.{key}"].to_model(item, stride, native, source)[0]
            sizes = [(len(each), *each.shape[2:]) for each in (further[key], rows)]
            if sizes[0] != sizes[1]:
                raise DataError(f"the '{key}' is {sizes[0]} for the model, and the file {sizes[1]}; expected one size")
        return _Prepared(rows, further, variation.name, undo)

    def _outputs(
        self, prepared: Sequence[_Prepared], direction: Direction, encoded: Encoded, variation: Variation
    ) -> list[Tensor]:
        """Return the generator's output for each item; those of one size are computed in common passes."""
        groups: dict[Any, list[int]] = {}
        for i, each in enumerate(prepared):
            groups.setdefault(each.shapes, []).append(i)
        outputs: dict[int, Tensor] = {}
        for numbers in groups.values():
            group = [prepared[i] for i in numbers]
            rows = torch.cat([each.rows for each in group])
            further = {key: torch.cat([each.further[key] for each in group]) for key in group[0].further}
            names = [each.name for each in group for _ in each.rows]
            parts, at_once = [], max(AT_ONCE, len(group))
            for first in range(0, len(rows), at_once):
                own = slice(first, first + at_once)
                chunk = {key: each[own].to(self.device) for key, each in further.items()}
                x = rows[own].to(self.device)
                parts.append(self._run_in_memory(x, direction, encoded, variation, chunk, names[own]))
            joined = torch.cat(parts) if len(parts) > 1 else parts[0]
            outputs |= dict(zip(numbers, torch.split(joined, [len(each.rows) for each in group]), strict=True))
        return [outputs[i] for i in range(len(prepared))]

    def _run_in_memory(
        self,
        x: Tensor,
        direction: Direction,
        encoded: Encoded,
        variation: Variation,
        further: Mapping[str, Tensor],
        names: Sequence[str],
    ) -> Tensor:
        """Do what `_run` does, in tiles where the whole needs more memory than it may take."""
        style = variation.reference

        def run(wrap: Wrap) -> Tensor:
            inputs = {name: wrap(each) for name, each in further.items()}
            return self._run(wrap(x), direction, encoded, variation, inputs, names)

        def trace() -> Tensor:
            inputs = {name: each.to("meta") for name, each in further.items()}
            without = replace(variation, reference=None if style is None else style.to("meta"))
            return self._run(torch.empty_like(x, device="meta"), direction, encoded, without, inputs, names, True)

        key = (direction.planned, tuple(x.shape), tuple(sorted(further)), style is None, variation.strength is None)
        compute = partial(self._tiles.compute, name=names[0], memory=self.memory, on_progress=self.on_progress)
        with self._lock:
            return compute(run, x, trace, key)

    @cached_property
    def _meta_networks(self) -> Networks:
        networks = Networks(self.plan, "meta")
        for network in networks.values():
            network.eval().requires_grad_(False)
        return networks

    def _run(
        self,
        x: Tensor,
        direction: Direction,
        encoded: Encoded,
        variation: Variation,
        further: Mapping[str, Tensor] = MappingProxyType({}),
        names: Sequence[str] | None = None,
        without_numbers: bool = False,
    ) -> Tensor:
        """Return the translation of samples.

        Args:
            names: of the item that each sample is of, whose latent code it has; by default that of the variation.
            without_numbers: whether x, and all other tensors, are on the meta device.
        """
        count, translation = len(x), direction.translation
        networks = self._meta_networks if without_numbers else self.networks
        device = networks.device

        def side(x: Tensor | None, name: str, rows: Encoded) -> Side:
            attributes = {each: torch.tensor([row] * count, device=device) for each, row in rows.items()}
            return Side(x, domain_index(self.plan, name, count, device), attributes)

        zero = np.zeros(count, dtype=np.uint64)
        names = [variation.name] * count if names is None else names
        hashes = {name: stable_hash(name) for name in set(names)}
        items = np.array([hashes[name] for name in names], dtype=np.uint64)
        codes = CounterRng(("latents", variation.seed), zero + np.uint64(variation.sample), items, device)
        reference = variation.reference
        inputs = assemble_inputs(
            self.plan,
            direction.planned,
            replace(side(x, translation.source, self._encode(self.typical[translation.source])), inputs=further),
            side(None, translation.target, encoded),
            CounterRng("translate", zero, zero, device),
            self.clock,
            training=False,
            reference=None if reference is None else reference.expand(count, *reference.shape[1:]),
            strength=variation.strength,
            latents=codes,
        )
        fake: Tensor = networks.compute(inputs, direction.planned, ["fake"])["fake"]
        return fake


def _several(items: Any, inputs: Mapping[str, Any]) -> Iterator[_Given]:
    """Yield several items, each with its further inputs.

    Raises:
        UsageError: there are more or fewer further inputs than items.
    """
    further = {name: iter(each) for name, each in inputs.items() if isinstance(each, Iterable)}
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


def _clock(config: Mapping[str, Any], steps: int) -> Clock:
    """Return the clock at the step of a model, of a run of `steps` steps; config.json may come from anybody."""
    step, epoch = config.get("steps"), config.get("epoch")
    done = step if isinstance(step, int) and not isinstance(step, bool) else 0
    run = min(1.0, done / steps) if done else 1.0  # an imported model has no steps
    return Clock(step=done, epoch=float(epoch) if isinstance(epoch, (int, float)) else 0.0, run=run)


def _typical_values(plan: Plan, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the typical value of each attribute by domain; checked, since they come from a file."""
    found: dict[str, dict[str, Any]] = {domain: {} for domain in plan.domains}
    for name, attribute in plan.recipe.attributes.items():
        for domain in plan.domains:
            try:
                found[domain][name] = config["attributes"][name][domain]
                encode(attribute, found[domain][name])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"config.json: not the config of a model: attributes.{name}.{domain}: {error}"
                ) from None
    return found


def _mismatch(plan: Plan, tensors: Mapping[str, Tensor]) -> str:
    """Return why tensors are not the weights of a plan's networks, or an empty text."""
    try:
        networks = build_networks(plan, "meta")
    except Exception as error:  # a plugin may raise anything where a stranger's options reach it
        return f"its networks cannot be built: {in_one_line(error)}"
    for name, network in networks.items():
        for key, expected in network.state_dict().items():
            tensor = tensors.get(f"{name}|{key}")
            if tensor is None:
                return f"'{name}' lacks '{key}'"
            if tensor.shape != expected.shape:
                return f"'{key}' of '{name}' is {tuple(tensor.shape)}, expected {tuple(expected.shape)}"
    return ""


def best_device() -> str:
    """Return the type of device that is used by default: a GPU of CUDA, else one of Apple's, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _device(device: torch.device | str | None) -> torch.device:
    """Return the device of that name, or the best there is; the CPU where that is there and cannot be used."""
    best = best_device()
    try:
        found = torch.device(device or best)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if device is None:
            return torch.device("cpu")
        # torch's messages list every backend, or advise how to build torch
        first = str(error).splitlines()[0]
        why = "there is none here" if first.startswith("Could not run") else re.split(r"[.:](\s|$)", first)[0][:100]
        raise UsageError(f"{option('device', str(device))}: cannot be used: {why}; without it {best} is used") from None
    return found
