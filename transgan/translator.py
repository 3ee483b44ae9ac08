"""A trained model as an object: `Translator.from_pretrained("runs/face-1")(picture, to="old")`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

import transgan
from transgan.api.protocols import Translation
from transgan.api.schedule import Clock
from transgan.data.batches import leaves_of
from transgan.data.domains import Domains
from transgan.data.draws import SampleDraws
from transgan.engine.evaluate import Direction, directions, make
from transgan.engine.networks import Networks
from transgan.errors import DataError, UsageError, did_you_mean
from transgan.plan import Plan, make_plan
from transgan.recipe import Document, Recipe
from transgan.recipe.problems import Problems
from transgan.registry import Registry
from transgan.runs import read_model


class Translator:
    """A model that translates. Make one with `from_pretrained`."""

    def __init__(self, plan: Plan, tensors: Mapping[str, Tensor], config: Mapping[str, Any], device: torch.device | str = "cpu"):
        self.plan = plan
        self.config = config
        self.networks = Networks(plan, device)
        self.device = torch.device(device)
        for name, network in self.networks.networks.items():
            begin = f"{name}|"
            own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
            try:
                network.load_state_dict(own)
            except RuntimeError as error:
                raise DataError(f"the weights of '{name}' do not fit: {str(error).splitlines()[-1].strip()}") from None
            network.eval().requires_grad_(False)
        cls, options = plan.media
        self.media = cls(options, plan.recipe.data.size)

    @classmethod
    def from_pretrained(cls, path: str | Path, device: torch.device | str | None = None) -> "Translator":
        """Reads a model folder, or the model of a run folder.

        Args:
            path: a folder with config.json and model.safetensors, or a run folder with such a folder `model` in it.
            device: where it runs; a GPU if there is one.

        Raises:
            DataError: there is no model, or it is damaged.
            PluginError: it needs a plugin that is not installed.
        """
        folder = Path(path).expanduser()
        if not (folder / "config.json").exists() and (folder / "model").is_dir():
            folder = folder / "model"
        tensors, config = read_model(folder)
        plan = plan_of(config, str(folder / "config.json"))
        return cls(plan, tensors, config, device or ("cuda" if torch.cuda.is_available() else "cpu"))

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
        for word, value, known in (
            ("to", to, {d.shown.target for d in every}),
            ("task", task, {d.shown.task for d in every}),
            ("from", source, {d.shown.source for d in every}),
        ):
            if value is not None and value not in known:
                raise UsageError(f"--{word} {value}: this model has no such {'task' if word == 'task' else 'domain'}. {did_you_mean(value, known)}")
        wanted = [d for d in every if to in (None, d.shown.target) and task in (None, d.shown.task) and source in (None, d.shown.source)]
        if not wanted:
            raise UsageError(f"no translation is meant; this model knows {', '.join(f'[{d.shown}]' for d in every)}")
        # Several sources, told the same and run by the same network, are one translation.
        same = {(d.made.task, d.shown.target, self.plan.roles[d.made]["generator"]) for d in wanted}
        if len(same) > 1:
            meant = ", ".join(f"[{d.shown}]" for d in wanted)
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
        ends = {
            f"{end}_domain": torch.full((len(inputs),), self.plan.domains.index(getattr(direction.shown, end)), device=self.device)
            for end in ("source", "target")
        }
        zero = np.zeros(len(inputs), dtype=np.uint64)
        draws = SampleDraws("translate", zero, zero, self.device)
        values = {"source": inputs, "training": False, "clock": Clock(run=1.0), "draws": draws, **ends}
        made = make(self.plan, self.networks, direction.made, leaves_of(self.plan, direction.made, values), ["fake"])
        return self.media.from_model(made["fake"], undo).cpu()
