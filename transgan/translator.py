"""A trained model as an object: `Translator.from_pretrained("runs/face-1")(picture, to="old")`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Media, Translation
from transgan.api.schedule import Clock
from transgan.data.batches import leaves_of
from transgan.data.draws import SampleDraws
from transgan.engine.evaluate import make
from transgan.engine.networks import Networks
from transgan.errors import DataError, UsageError, did_you_mean
from transgan.model import plan_of
from transgan.plan import Plan, build_networks
from transgan.plan.directions import Direction, directions
from transgan.runs import read_model


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
        # Several sources, told the same and run by the same network, are one translation.
        same = {(each.made.task, each.shown.target, self.plan.roles[each.made]["generator"]) for each in wanted}
        if len(same) > 1:
            meant = ", ".join(f"[{each.shown}]" for each in wanted)
            raise UsageError(f"more than one translation is meant: {meant}; choose with --to, --task and --from")
        return wanted[0]

    def __call__(
        self, item: Any, to: str | None = None, task: str | None = None, source: str | None = None, native: bool = False
    ) -> Any:
        """Translates one item: a path, or what the media knows in Python (a PIL picture); returns the latter.

        Args:
            to: target domain. Needed, unless the model has only one.
            native: take the item at its own size, instead of the size that the model was trained at.
        """
        return self.media.export(self.translate(self.media.read(item), self.choose(to, task, source), native))

    @torch.no_grad()
    def translate(self, x: Tensor, direction: Direction, native: bool = False) -> Tensor:
        """(C, *space) in [-1, 1] of any size; returns the same shape."""
        name = self.plan.roles[direction.made]["generator"]
        stride = int(getattr(self.networks.networks[name], "stride", 1))
        inputs, undo = self.media.to_model(x.to(self.device), stride, native)
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
        made = make(self.plan, self.networks, direction.made, leaves_of(self.plan, direction.made, values), ["fake"])
        return self.media.from_model(made["fake"], undo).cpu()


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
