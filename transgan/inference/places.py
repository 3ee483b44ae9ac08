"""Where models are: found, and what is missing said, before anything heavy is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transgan.errors import DataError, UsageError, similar_path
from transgan.storage import RunFolder, check_model_place, finish_remedy, is_checkpoint, load, read_model, saved_steps
from transgan.text import expand_home, listed, option

if TYPE_CHECKING:
    from torch import Tensor

#: Prefix of the media's statistics among a model's tensors; no network can have this name.
STATISTICS = "data.media|"


@dataclass(frozen=True)
class ModelPlace:
    """Where a model is: a model folder, or a checkpoint, which holds a model too."""

    folder: Path
    run: Path | None
    """The folder of its run, where it is in one."""
    is_checkpoint: bool

    def read(self) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """Return the model's tensors and its config.

        Raises:
            DataError: it is missing or damaged, or the checkpoint has no config.
            DiskError: the checkpoint is damaged.
        """
        if not self.is_checkpoint:
            try:
                return read_model(self.folder)
            except DataError as damage:
                raise DataError(f"{damage}{finish_remedy(self.run) if self.run else ''}") from None
        checkpoint = load(self.folder)
        config = checkpoint.state.get("config")
        if not isinstance(config, dict):
            raise DataError(
                f"{self.folder}: an earlier version of TransGAN has written this checkpoint, without what a model "
                f"needs; transgan finish {self.run or 'RUN'} makes a model of the newest one"
            )
        weights = checkpoint.groups.get("ema") or checkpoint.groups.get("networks", {})
        statistics = {f"{STATISTICS}{key}": value for key, value in checkpoint.groups.get("statistics", {}).items()}
        return {**weights, **statistics}, config

    @property
    def config(self) -> Path:
        """The file with the config, for messages."""
        return self.folder / ("state.json" if self.is_checkpoint else "config.json")


def find_model(path: str | Path, step: int | None = None) -> ModelPlace:
    """Return where a model is.

    Args:
        path: a model folder, a run folder, or the folder of a checkpoint.
        step: of a run folder, the checkpoint of this step; by default its model.

    Raises:
        DataError: there is no model there, or no checkpoint of this step.
        UsageError: a step is given, and `path` is not the folder of a run.
    """
    folder = expand_home(path)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        expected = f"the folder of a model, a run or a checkpoint{similar_path(folder, Path.is_dir)}"
        raise DataError(f"model {folder} {what}; expected {expected}")
    run = RunFolder.at(folder)
    if is_checkpoint(folder) or (folder / "config.json").exists() or not run.recipe.exists():
        if step is not None:
            raise UsageError(f"{option('step', step)}: {folder} is not the folder of a run")
        if not is_checkpoint(folder) and not (folder / "config.json").exists():
            raise DataError(f"{folder} holds no model; expected the folder of a model, a run or a checkpoint")
        around = folder.absolute().parents[1 if is_checkpoint(folder) else 0]
        return ModelPlace(folder, around if RunFolder.at(around).recipe.exists() else None, is_checkpoint(folder))
    if step is None:
        if not run.model.is_dir():
            saved = saved_steps(run.checkpoints)
            what = (
                f"transgan finish {folder} writes one"
                if saved
                else "it has no checkpoint yet that one could be made of"
            )
            raise DataError(f"{folder} is a run that has no model yet; {what}")
        return ModelPlace(folder / run.model.name, folder, False)
    place = folder / run.checkpoints.name / f"step-{step:08d}"
    if not is_checkpoint(place):
        known = listed(saved_steps(run.checkpoints))
        raise DataError(f"{option('step', step)}: {folder} has no checkpoint of this step; it has {known}")
    return ModelPlace(place, folder, True)


def check_import(weights: Path, out: Path, source: str, target: str) -> None:
    """Check that a file can become a model folder, as far as that is known before it is read.

    Raises:
        DataError: the file is missing.
        UsageError: `out` holds something else, or both domains have one name.
    """
    if source == target:
        raise UsageError(
            f"{option('source')} and {option('target')} are both '{source}'; a translation is between two domains"
        )
    check_model_place(out)
    if not weights.is_file():
        raise DataError(f"{weights}: {'a folder, not a file' if weights.is_dir() else 'there is no such file'}")
