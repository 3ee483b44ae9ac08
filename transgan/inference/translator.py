"""A trained model as an object: `Translator.from_pretrained("runs/old-1")(path, to="old")`."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.samples import Media, Region
from transgan.data.attributes import encode
from transgan.data.domains import statistics_from_tensors
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.errors import DataError, UsageError, did_you_mean
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
from transgan.rng import CounterRng, stable_hash
from transgan.schedule import Clock

#: Chunks of a long item that are translated in one pass.
AT_ONCE = 16

Encoded = Mapping[str, list[float]]
"""The encoding of an attribute value, by the attribute's name."""


class Translator:
    """A model that translates. Create one with `from_pretrained`."""

    def __init__(
        self,
        plan: Plan,
        tensors: Mapping[str, Tensor],
        config: Mapping[str, Any],
        device: torch.device | str = "cpu",
    ):
        self.plan = plan
        self.config = config
        self.device = torch.device(device)
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

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: torch.device | str | None = None, step: int | None = None
    ) -> "Translator":
        """Read a model folder, the model of a run folder, or the model in a checkpoint.

        Args:
            path: a folder with config.json and model.safetensors, a run folder with such a folder `model` in it, or the
                folder of a checkpoint.
            device: where the model runs; defaults to a GPU if there is one.
            step: of a run folder, the checkpoint of this step instead of its model.

        Raises:
            DataError: there is no model, or it is damaged.
            DiskError: the checkpoint is damaged.
            PluginError: it needs a plugin that is not installed.
            UsageError: there is no such device, or `step` is given for what is no run folder.
        """
        place = find_model(path, step)
        where = _device(device)
        tensors, config = place.read()
        try:
            return cls(plan_of(config, str(place.config)), tensors, config, where)
        except DataError as error:
            raise DataError(f"model {place.folder}: {str(error).removeprefix(f'{place.folder}/')}") from None

    def set_media_options(self, settings: Iterable[str]) -> None:
        """Change options of the media of all domains that may differ from those of training: `Media.options_at_use`.

        Args:
            settings: as on the command line: `"media.limit=600"`.

        Raises:
            RecipeError: a value is invalid.
            UsageError: there is no such option, or it may not differ.
        """
        settings = list(settings)
        for name, each in self.plan.media.items() if settings else ():
            changed: dict[str, Any] = {"media": {}}
            problems = Problems(f"the options of the media '{each.use}'")
            apply_overrides(changed, settings, problems)
            problems.stop()
            free = each.cls.options_at_use
            if fixed := [key for key in changed["media"] if key not in free]:
                what = f"the media '{each.use}' has no such option that may differ from training"
                raise UsageError(f"--set media.{fixed[0]}: {what}. {did_you_mean(fixed[0], free)}")
            table = each.options.model_dump(mode="json") | changed["media"]
            options: Any = problems.validate(each.cls.Options, table, ("media",))
            problems.stop()
            self.media[name] = each.cls(options, self.media[name].size)
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
            ("from", "domain", "source", source),
        ):
            if value is not None:
                known = {getattr(each.translation, part) for each in every}
                if value not in known:
                    raise UsageError(f"--{word} {value}: this model has no such {kind}. {did_you_mean(value, known)}")
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
            raise UsageError(f"more than one translation matches: {matching}; choose with --to, --task and --from")
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
                raise UsageError(
                    f"--with {name}={value}: this model has no such attribute. {did_you_mean(name, known)}"
                )
            try:
                encode(known[name], value)
            except ValueError as error:
                raise UsageError(f"--with {name}={value}: {error}") from None
        return self._encode({**self.typical[direction.translation.target], **values})

    def _encode(self, values: Mapping[str, Any]) -> dict[str, list[float]]:
        return {name: encode(attribute, values[name]) for name, attribute in self.plan.recipe.attributes.items()}

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
    ) -> Any:
        """Translate one item.

        Args:
            item: a path, or an object that the media reads, such as a PIL image.
            to: target domain; needed unless the model has only one.
            task: the task, where the target domain does not decide.
            source: the source domain, where it is not clear.
            native: translate at the item's own size, instead of the training size.
            attributes: values by name; others have the target domain's typical value.
            regions: translate only the regions that the detector of this name finds (`"faces"`).
            samples: return a list of this number of translations, each with other latent codes.
            seed: of the latent codes; the same seed gives the same translation of a file of the same name.
            reference: a sample of the target domain, a path or an object, whose style the translation takes.
            strength: how much of the change is made: 0 for none, 1 for all of it, more to exaggerate.
            inputs: further inputs of the item, such as its mask, by name: paths or objects.

        Returns:
            What the media exports, such as a PIL image; with `samples` a list.

        Raises:
            DataError: the item or the reference cannot be read.
            UsageError: no single translation, an invalid attribute value, or something that this model cannot do.
        """
        direction = self.choose(to, task, source)
        check_variation(self.plan, samples, seed, reference is not None, strength)
        check_inputs(self.plan, direction, inputs or (), regions is not None)
        further = {name: self.read_input(name, each, direction) for name, each in (inputs or {}).items()}
        reader, writer = self.sides(direction)
        x = reader.read(item)
        style = None if reference is None else self.read_reference(reference, direction)
        name = Path(item).name if isinstance(item, (str, Path)) else ""
        selection = RegionSelection.named(regions) if isinstance(regions, str) else regions
        tensor = selection.tensor_of(x, reader) if selection else x
        found = selection.of(tensor) if selection else []
        exported = []
        for number in range(1 if samples is None else samples):
            variation = Variation(seed or 0, number, name, style, strength, further)
            if selection:
                y = self.translate_regions(tensor, selection, found, direction, native, attributes, variation)
                y = writer.with_tensor(x, y)
            else:
                y = self.translate(x, direction, native, attributes, variation)
            exported.append(writer.export(y))
        return exported[0] if samples is None else exported

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
            as `__call__` does.
        """
        reader = self.sides(self.choose(to, task, source))[0]
        for item in items:
            # An item of a file has latent codes of its own, by its name; an object has none.
            x = reader.read(item) if isinstance(item, (str, Path)) else item
            yield self(x, to, task, source, **how)

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
        check_inputs(self.plan, direction, variation.inputs)
        encoded = self.encode_attributes(direction, attributes)
        name = self.plan.roles[direction.planned]["generator"]
        stride = int(getattr(self.networks[name], "stride", 1))
        inputs, undo = self.sides(direction)[0].to_model(x, stride, native, direction.translation.source)
        further = {}
        for key, item in variation.inputs.items():
            media = self.input_media[f"{direction.translation.source}.{key}"]
            further[key] = media.to_model(item, stride, native, direction.translation.source)[0]
            sizes = [(len(each), *each.shape[2:]) for each in (further[key], inputs)]
            if sizes[0] != sizes[1]:
                raise DataError(f"the '{key}' is {sizes[0]} for the model, and the file {sizes[1]}; expected one size")
        outputs = []
        for first in range(0, len(inputs), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            chunk = {key: each[rows].to(self.device) for key, each in further.items()}
            outputs.append(self._run_in_memory(inputs[rows].to(self.device), direction, encoded, variation, chunk))
        return inputs, torch.cat(outputs) if len(outputs) > 1 else outputs[0], undo

    def _run_in_memory(
        self, x: Tensor, direction: Direction, encoded: Encoded, variation: Variation, further: Mapping[str, Tensor]
    ) -> Tensor:
        """Do what `_run` does, in tiles where the whole needs more memory than it may take."""
        style = variation.reference

        def run(wrap: Wrap) -> Tensor:
            inputs = {name: wrap(each) for name, each in further.items()}
            return self._run(wrap(x), direction, encoded, variation, inputs)

        def trace() -> Tensor:
            inputs = {name: each.to("meta") for name, each in further.items()}
            without = replace(variation, reference=None if style is None else style.to("meta"))
            return self._run(torch.empty_like(x, device="meta"), direction, encoded, without, inputs, True)

        key = (direction.planned, tuple(x.shape), tuple(sorted(further)), style is None, variation.strength is None)
        compute = partial(self._tiles.compute, name=variation.name, memory=self.memory, on_progress=self.on_progress)
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
        without_numbers: bool = False,
    ) -> Tensor:
        """Return the translation of samples.

        Args:
            without_numbers: whether x, and all other tensors, are on the meta device.
        """
        count, translation = len(x), direction.translation
        networks = self._meta_networks if without_numbers else self.networks
        device = networks.device

        def side(x: Tensor | None, name: str, rows: Encoded) -> Side:
            attributes = {each: torch.tensor([row] * count, device=device) for each, row in rows.items()}
            return Side(x, domain_index(self.plan, name, count, device), attributes)

        zero = np.zeros(count, dtype=np.uint64)
        name = np.full(count, stable_hash(variation.name), dtype=np.uint64)  # all chunks of an item have its code
        codes = CounterRng(("latents", variation.seed), zero + np.uint64(variation.sample), name, device)
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


def _device(device: torch.device | str | None) -> torch.device:
    """Return the device of that name, or the best there is."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device or best)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch's messages list every backend, or advise how to build torch
        first = str(error).splitlines()[0]
        why = "there is none here" if first.startswith("Could not run") else re.split(r"[.:](\s|$)", first)[0][:100]
        raise UsageError(f"--device {device}: cannot be used: {why}; without it {best} is used") from None
    return found
