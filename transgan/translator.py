"""A trained model as an object: `Translator.from_pretrained("runs/old-1")(path, to="old")`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Translation
from transgan.api.samples import Media, Part
from transgan.api.schedule import Clock
from transgan.data.attributes import encode
from transgan.data.batches import leaves_of
from transgan.data.draws import SampleDraws
from transgan.engine.evaluate import make
from transgan.engine.networks import Networks
from transgan.errors import DataError, UsageError, did_you_mean
from transgan.model import MEDIA, learnt_of, plan_of
from transgan.parts import Parts
from transgan.plan import Plan, build_networks
from transgan.plan.directions import Direction, directions
from transgan.runs import read_model

#: Parts of a long item that are translated in one pass.
AT_ONCE = 16


class Translator:
    """A model that translates. Make one with `from_pretrained`."""

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
        if misfit := _misfit(plan, tensors):  # before anything as large as the config says is made
            raise DataError(f"the weights do not fit the config: {misfit}")
        self.networks = Networks(plan, device)
        for name, network in self.networks.networks.items():
            begin = f"{name}|"
            network.load_state_dict({key.removeprefix(begin): x for key, x in tensors.items() if key.startswith(begin)})
            network.eval().requires_grad_(False)
        cls, options = plan.media
        self.media: Media = cls(options, plan.recipe.data.size)
        self.media.learnt = learnt_of(tensors, MEDIA)
        self.middles = _middles(plan, config)

    @classmethod
    def from_pretrained(cls, path: str | Path, device: torch.device | str | None = None) -> "Translator":
        """Reads a model folder, or the model of a run folder.

        Args:
            path: a folder with config.json and model.safetensors, or a run folder with such a folder `model` in it.
            device: where it runs; a GPU if there is one.

        Raises:
            DataError: there is no model, or it is damaged.
            PluginError: it needs a plugin that is not installed.
            UsageError: there is no such device.
        """
        folder = Path(path).expanduser()
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise DataError(f"model {folder} {what}; expected the folder of a model or of a run")
        if not (folder / "config.json").exists() and (folder / "recipe.toml").exists():
            if not (folder / "model").is_dir():
                raise DataError(f"{folder} is a run that has no model yet; transgan resume {folder} makes it")
            folder = folder / "model"
        where = _device(device)
        tensors, config = read_model(folder)
        try:
            return cls(plan_of(config, str(folder / "config.json")), tensors, config, where)
        except DataError as error:
            raise DataError(f"model {folder}: {str(error).removeprefix(f'{folder}/')}") from None

    @property
    def translations(self) -> list[Translation]:
        """What it can do."""
        return [direction.shown for direction in directions(self.plan)]

    def choose(self, to: str | None = None, task: str | None = None, source: str | None = None) -> Direction:
        """The direction meant by a target domain, a task, a source domain, or as many of them as are needed.

        Raises:
            UsageError: none, or more than one; says which there are.
        """
        every = directions(self.plan)
        wanted = every
        for word, kind, part, value in (
            ("to", "domain", "target", to),
            ("task", "task", "task", task),
            ("from", "domain", "source", source),
        ):
            if value is not None:
                known = {getattr(each.shown, part) for each in every}
                if value not in known:
                    raise UsageError(f"--{word} {value}: this model has no such {kind}. {did_you_mean(value, known)}")
                wanted = [each for each in wanted if getattr(each.shown, part) == value]
        if not wanted:
            known_ones = ", ".join(f"[{each.shown}]" for each in every)
            raise UsageError(f"no translation is meant; this model knows {known_ones}")
        # Several sources, told the same, read alike and run by the same network, are one translation.
        same = {
            (each.made.task, each.shown.target, self.plan.roles[each.made]["generator"])
            + ((each.shown.source,) if each.shown.source in self.media.learnt else ())
            for each in wanted
        }
        if len(same) > 1:
            meant = ", ".join(f"[{each.shown}]" for each in wanted)
            raise UsageError(f"more than one translation is meant: {meant}; choose with --to, --task and --from")
        return wanted[0]

    def told(self, direction: Direction, attributes: Mapping[str, Any] | None = None) -> dict[str, list[float]]:
        """What networks are told of the attributes to make: these values, and else the middle of the target domain.

        Raises:
            UsageError: the model is told no such attribute, or not of such a value.
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
        values = {**self.middles[direction.shown.target], **values}
        return {name: encode(attribute, values[name]) for name, attribute in known.items()}

    def _middle(self, domain: str) -> dict[str, list[float]]:
        return {name: encode(self.plan.recipe.attributes[name], value) for name, value in self.middles[domain].items()}

    def __call__(
        self,
        item: Any,
        to: str | None = None,
        task: str | None = None,
        source: str | None = None,
        native: bool = False,
        attributes: Mapping[str, Any] | None = None,
        parts: Parts | str | None = None,
    ) -> Any:
        """Translates one item: a path, or what the media knows in Python; returns the latter.

        Args:
            to: target domain. Needed, unless the model has only one.
            native: take the item at its own size, instead of the size that the model was trained at.
            attributes: what to make, by the names of the model's attributes; of others, the target domain's middle.
            parts: translate only what the finder of this name finds, and leave the rest; all of it where there is none.
        """
        direction = self.choose(to, task, source)
        x = self.media.read(item)
        if parts is None:
            return self.media.export(self.translate(x, direction, native, attributes))
        parts = Parts.named(parts) if isinstance(parts, str) else parts
        return self.media.export(self.translate_parts(x, parts, parts.of(x), direction, native, attributes))

    @torch.no_grad()
    def translate(
        self, x: Any, direction: Direction, native: bool = False, attributes: Mapping[str, Any] | None = None
    ) -> Any:
        """An item, as the media reads it, of any size; returns one of the same size."""
        _, made, undo = self._translated(x, direction, native, attributes)
        return self.media.from_model(made, undo, direction.shown.target)

    @torch.no_grad()
    def translate_parts(
        self,
        x: Tensor,
        parts: Parts,
        found: Sequence[Part],
        direction: Direction,
        native: bool = False,
        attributes: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """An item of which only the parts found are translated: what changes in them is put back, all else stays."""
        changes = []
        for part in found:
            shown, made, undo = self._translated(part.sample, direction, native, attributes)
            before = self.media.from_model(shown, undo, direction.shown.source)
            changes.append(self.media.from_model(made, undo, direction.shown.target) - before)
        return parts.finder.put_back(x, found, changes)

    def _translated(
        self, x: Any, direction: Direction, native: bool, attributes: Mapping[str, Any] | None
    ) -> tuple[Tensor, Tensor, Any]:
        """What a generator is shown of an item, what it makes of that, and how the media undoes the showing."""
        told = self.told(direction, attributes)
        name = self.plan.roles[direction.made]["generator"]
        stride = int(getattr(self.networks.networks[name], "stride", 1))
        inputs, undo = self.media.to_model(x, stride, native, direction.shown.source)
        made = [self._made(part.to(self.device), direction, told) for part in torch.split(inputs, AT_ONCE)]
        return inputs, torch.cat(made), undo

    def _made(self, inputs: Tensor, direction: Direction, told: Mapping[str, list[float]]) -> Tensor:
        zero = np.zeros(len(inputs), dtype=np.uint64)
        values: dict[str, Any] = {
            "source": inputs,
            "training": False,
            "clock": Clock(run=1.0),
            "draws": SampleDraws("translate", zero, zero, self.device),
        }
        for end in ("source", "target"):
            number = self.plan.domains.index(getattr(direction.shown, end))
            values[f"{end}_domain"] = torch.full((len(inputs),), number, device=self.device)
        for end, rows in (("source", self._middle(direction.shown.source)), ("target", told)):
            values[f"{end}_attributes"] = {
                name: torch.tensor([row] * len(inputs), device=self.device) for name, row in rows.items()
            }
        leaves = leaves_of(self.plan, direction.made, values)
        return make(self.plan, self.networks, direction.made, leaves, ["fake"])["fake"]


def _middles(plan: Plan, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The middle of each attribute, by domain; checked, since they come from a file."""
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


def _misfit(plan: Plan, tensors: Mapping[str, Tensor]) -> str:
    """Why weights are not those of a plan's networks, or nothing."""
    try:
        networks = build_networks(plan, "meta")
    except (RuntimeError, ValueError) as error:
        return f"its networks cannot be built: {str(error).splitlines()[0]}"
    for name, network in networks.items():
        for key, expected in network.state_dict().items():
            given = tensors.get(f"{name}|{key}")
            if given is None:
                return f"'{name}' lacks '{key}'"
            if given.shape != expected.shape:
                return f"'{key}' of '{name}' is {tuple(given.shape)}, expected {tuple(expected.shape)}"
    return ""


def _device(device: torch.device | str | None) -> torch.device:
    """The device asked for, or the best there is."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device or best)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: cannot be used: {why}; without it {best} is taken") from None
    return found
