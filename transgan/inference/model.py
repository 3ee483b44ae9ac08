"""A trained model in memory: what it translates, by which networks and media."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.samples import Media, Region
from transgan.arguments import as_count, as_path, as_table, as_texts
from transgan.data.attributes import encode
from transgan.data.domains import statistics_from_tensors, statistics_tensors
from transgan.errors import DataError, DataWarning, UsageError, did_you_mean
from transgan.inference.ahead import AT_ONCE
from transgan.inference.devices import find_device
from transgan.inference.model_folder import plan_of
from transgan.inference.passes import Batch, Encoded, Passes, Prepared, Request
from transgan.inference.places import STATISTICS, find_model
from transgan.inference.regions import RegionSelection
from transgan.inference.variation import PLAIN, Variation, check_inputs
from transgan.networks import Networks, load_network_tensors, network_tensors
from transgan.options import Options
from transgan.plan import Direction, Plan, build_networks
from transgan.plugin_errors import in_one_line
from transgan.plugin_files import contents, files_in_use, using_files
from transgan.plugin_objects import make
from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import apply_overrides
from transgan.recipe.write import as_overrides
from transgan.schedule import Clock
from transgan.text import listed, option


class Model:
    """The networks of a model folder, its media and its plan. Create one with `from_pretrained`.

    It translates what media read, and samples as networks see them. `Translator` is what users have.
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
        written = config.get("plugin_files", {})  # an earlier version does not say
        changed = [name for name, now in contents(plan.plugins).items() if written.get(name, now) != now]
        why = f"the plugin file {listed(changed)} has changed since it was trained" if changed else ""
        if mismatch := _mismatch(plan, tensors):  # before anything as large as the config says is allocated
            fault = f"the weights do not fit {'its plugins' if why else 'the config'}: {mismatch}"
            raise DataError(f"{fault}; {why}; give the file as it was" if why else fault)
        if why:
            warnings.warn(DataWarning(f"{why}: translations may be other ones"), stacklevel=2)
        networks = Networks(plan, device)
        load_network_tensors(networks, tensors)
        for network in networks.values():
            network.eval().requires_grad_(False)
        self.clock = _clock(config, plan.recipe.train.steps)
        """The step of the model, for nodes with schedules."""
        self._passes = Passes(plan, networks, self.clock)
        self.statistics = statistics_from_tensors(tensors, STATISTICS)
        self._media_options: list[str] = []
        self._plugin_files = [path.absolute() for path in files_in_use()]
        self.media = {name: each.at(plan.stages[-1].size) for name, each in plan.media.items()}
        """The media of each domain."""
        for media in self.media.values():
            media.statistics = self.statistics
        self.input_media = {name: each.at(plan.stages[-1].size) for name, each in plan.input_media.items()}
        """The media of further inputs, by `domain.input`."""
        for media in self.input_media.values():
            media.statistics = self.statistics
        self.typical = _typical_values(plan, config)
        """The typical value of each attribute, by domain and name."""
        self._memory: int | None = None
        self.on_progress: Callable[[float], None] | None = None
        """Called during a translation in tiles with the share that is done, 0 to 1."""

    @property
    def memory(self) -> int | None:
        """Bytes of memory of the device that the networks' numbers may take, the weights apart; None for what is free.
        What needs more is translated in tiles."""
        return self._memory

    @memory.setter
    def memory(self, count: int | None) -> None:
        self._memory = None if count is None else as_count("memory", count)

    @property
    def networks(self) -> Networks:
        """The networks that translate."""
        return self._passes.networks

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.networks.device

    def to(self, device: torch.device | str) -> Self:
        """Move the networks to another device; return the translator.

        Raises:
            UsageError: there is no such device.
        """
        where = find_device(device)
        with self._passes.lock:
            networks = Networks(self.plan, where, self.networks)
            for network in networks.values():
                network.eval().requires_grad_(False)
            self._passes.networks = networks
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
        place = find_model(as_path("path", path), None if step is None else as_count("step", step, 0))
        where = find_device(device)
        tensors, config = place.read()
        try:
            with using_files(plugins):
                translator = cls(plan_of(config, str(place.config)), tensors, config, where)
        except DataError as error:
            raise DataError(f"model {place.folder}: {str(error).removeprefix(f'{place.folder}/')}") from None
        translator.set_media_options({} if media_options is None else media_options)
        return translator

    def set_media_options(self, options: Mapping[str, Any] | Iterable[str]) -> None:
        """Change options of the media of all domains that may differ from those of training: `Media.options_at_use`.

        Args:
            options: values by name, or texts as on the command line: `"media.ground=black"`.

        Raises:
            RecipeError: a value is invalid.
            UsageError: there is no such option, or it may not differ.
        """
        if isinstance(options, Mapping):
            settings = as_overrides(as_table("media_options", options), "media_options")
        else:
            settings = as_texts("media_options", options)
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
            self.media[name] = make(each.cls, checked, self.media[name].size)
            self.media[name].statistics = self.statistics
        self._media_options = settings or self._media_options

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the model as what it is made from, so that another process of this machine can have it;
        `on_progress`, a function of this one, is left away."""
        tensors = network_tensors(self.networks) | statistics_tensors(self.statistics, STATISTICS)
        tensors = {name: each.detach().cpu() for name, each in tensors.items()}
        options = self._media_options, self._memory, self._plugin_files
        return _remade, (type(self), self.config, tensors, str(self.device), *options)

    def region_options(self, name: str) -> Mapping[str, Any]:
        """Return the options of a region detector that suit what the model was trained on; mostly none.

        Raises:
            DataError: config.json, which may come from anybody, has none there.
        """
        known = self.config.get("regions", {})
        options = known.get(name, {}) if isinstance(known, Mapping) else known
        if not isinstance(options, Mapping):
            raise DataError(f"config.json: regions: found {options!r:.80}; expected options by a detector's name")
        return options

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
                if not isinstance(value, str):
                    raise UsageError(f"{option(word, value)}: expected the name of a {kind}, such as '{min(known)}'")
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
        known = self.plan.recipe.attributes
        values = {} if attributes is None else as_table("attributes", attributes)
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
        prepared = self.prepare(x, direction, native, variation)
        (y,) = self.outputs([prepared], direction, self.encode_attributes(direction, attributes), variation)
        return self.finish(prepared, y, direction)

    @torch.no_grad()
    def translate_batch(self, x: Tensor, direction: Direction) -> Tensor:
        """Translate samples as networks see them, such as a training batch.

        Args:
            x: (N, C, *space) in [-1, 1], every axis a multiple of the generator's stride.

        Returns:
            (N, C, *space), with the target domain's typical attributes, on the device of x.
        """
        request = self._request(direction, self.encode_attributes(direction), PLAIN)
        y = self._passes.run(Batch(x.to(self.device, torch.float32)), request)
        _check_finite(y)
        return y.to(x)

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
        encoded = self.encode_attributes(direction, attributes)
        changes = []
        for first in range(0, len(found), AT_ONCE):
            regions = found[first : first + AT_ONCE]
            prepared = [self.prepare(region.sample, direction, native, variation) for region in regions]
            share = first / len(found), len(regions) / len(found)
            outputs = self.outputs(prepared, direction, encoded, variation, share)
            for region, each, y in zip(regions, prepared, outputs, strict=True):
                keeps = selection.detector.keeps_detail
                rows = source.from_model(each.rows, each.undo, direction.translation.source) if keeps else region.sample
                changes.append(self.finish(each, y, direction) - rows)
        return selection.detector.paste(x, found, changes)

    @torch.no_grad()
    def prepare(self, x: Any, direction: Direction, native: bool, variation: Variation) -> Prepared:
        """Return an item, with its further inputs, as the generator takes it."""
        check_inputs(self.plan, direction, variation.inputs)
        source = direction.translation.source
        name = self.plan.roles[direction.planned]["generator"]
        stride = int(getattr(self.networks[name], "stride", 1))
        rows, undo = self.media[source].to_model(x, stride, native, source)
        further = {}
        for key, item in variation.inputs.items():
            further[key] = self.input_media[f"{source}.{key}"].to_model(item, stride, native, source)[0]
            if (len(further[key]), *further[key].shape[2:]) != (len(rows), *rows.shape[2:]):
                sizes = _size_of(self.input_media[f"{source}.{key}"], item), _size_of(self.media[source], x)
                raise DataError(f"the '{key}' is {sizes[0]}, and the item {sizes[1]}; expected one size")
        return Prepared(rows, further, variation.name, undo)

    @torch.no_grad()
    def outputs(
        self,
        prepared: Sequence[Prepared],
        direction: Direction,
        encoded: Encoded,
        variation: Variation,
        share: tuple[float, float] = (0.0, 1.0),
    ) -> list[Tensor]:
        """Return the generator's output for each item; those of one size are computed in common passes.

        A pass takes as many samples as memory allows.

        Args:
            share: how much of all that is translated is done before, and how much this is.
        """
        show, (done, own) = self.on_progress, share
        on_progress = None if show is None else lambda part: show(done + own * part)
        request = self._request(direction, encoded, variation)
        return self._passes.outputs(prepared, request, self.memory, on_progress)

    def _request(self, direction: Direction, encoded: Encoded, variation: Variation) -> Request:
        return Request(direction, self._encode(self.typical[direction.translation.source]), encoded, variation)

    @torch.no_grad()
    def finish(self, prepared: Prepared, y: Tensor, direction: Direction) -> Any:
        """Return a generator's output for an item as an item of the original size, which `media.write` takes.

        Raises:
            DataError: it is not finite.
        """
        _check_finite(y)
        target = direction.translation.target
        return self.media[target].from_model(y, prepared.undo, target)


def _remade(
    cls: type[Model],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    device: str,
    media_options: Sequence[str],
    memory: int | None,
    plugin_files: Sequence[Path],
) -> Model:
    """Return a pickled model."""
    with using_files(plugin_files):
        model = cls(plan_of(config, "the pickled model"), tensors, config, find_device(device))
    model.set_media_options(media_options)
    model.memory = memory
    return model


def _size_of(media: Media[Any], x: Any) -> str:
    """Return the size of an item as it was given, without its channels, such as `(16, 32)`."""
    tensor = media.as_tensor(x)
    return "of another length" if tensor is None else str(tuple(tensor.shape[1:]))


def _check_finite(y: Tensor) -> None:
    """Refuse an output that a media would write as black, or as silence."""
    if not bool(torch.isfinite(y).all()):
        raise DataError("the model's output is not finite (NaN or infinity): its weights are damaged, or have diverged")


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
        known = network.state_dict().keys()
        if more := [key for key in tensors if key.startswith(f"{name}|") and key.partition("|")[2] not in known]:
            return f"'{name}' has no '{more[0].partition('|')[2]}'"
    return ""
