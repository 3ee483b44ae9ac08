"""`transgan bench`: measure a step, the data, translating, starting and checkpoints of a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.options import Json, examples
from transgan.cli.output import show_json
from transgan.cli.run import PluginFiles, Set
from transgan.text import expand_home, show

if TYPE_CHECKING:
    from transgan.bench.cases import Case
    from transgan.bench.figures import Measured

Recipe = typer.Argument(
    metavar="RECIPE",
    help="A recipe in TOML, or the name of an installed one.",
    autocompletion=completion.recipe_files,
)
Versus = typer.Option(
    None,
    "--vs",
    metavar="KEY=VALUE",
    help="Measure in turns with this setting, or this other recipe, and print the ratio. Repeatable.",
    autocompletion=completion.settings,
)
OnNoise = typer.Option(False, "--noise", help="Use noise, without labels, in place of the recipe's data.")
Rounds = typer.Option(5, "--rounds", min=1, metavar="N", help="Rounds; both sides of --vs take part in each.")
Steps = typer.Option(2, "--steps", min=1, metavar="N", help="Steps of a round.")


def add(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure how fast a recipe is here.", no_args_is_help=True, rich_markup_mode=None)
    bench.command(
        epilog=examples(
            "transgan bench step cyclegan --noise --set data.size=64 --set train.batch=8",
            "transgan bench step cut_shapes --vs 'train.precision=\"bf16\"'",
        )
    )(step)
    bench.command(epilog=examples("transgan bench data cut_shapes --rounds 10"))(data)
    bench.command(epilog=examples("transgan bench translate cut_shapes --files 300"))(translate)
    bench.command(epilog=examples("transgan bench start cut_shapes"))(start)
    bench.command(epilog=examples("transgan bench checkpoint cyclegan --noise"))(checkpoint)
    bench.callback()(lambda: None)
    app.add_typer(bench, name="bench")


def step(
    recipe: Path = Recipe,
    set_: list[str] = Set,
    versus: list[str] = Versus,
    noise: bool = OnNoise,
    steps: int = Steps,
    rounds: int = Rounds,
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Measure a training step and its parts.

    Prints its time, by part, and its share of the peak, which is what a large product of matrices or a convolution
    reaches, in the same precision and the same process. Parts: data, forward and backward passes, optimizers, and the
    engine, which is all the rest. Medians of rounds, and their least and greatest.
    """
    cases = _cases(recipe, set_, versus, noise, plugin)
    from transgan.bench.step import measure

    _print("step", json_, *measure(cases, steps, rounds))


def data(
    recipe: Path = Recipe,
    set_: list[str] = Set,
    versus: list[str] = Versus,
    noise: bool = OnNoise,
    steps: int = Steps,
    rounds: int = Rounds,
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Measure how long a batch of training data takes.

    Samples that were decoded before come from the cache.
    """
    cases = _cases(recipe, set_, versus, noise, plugin)
    from transgan.bench.data import measure

    _print("batch", json_, *measure(cases, steps, rounds))


def translate(
    recipe: Path = Recipe,
    set_: list[str] = Set,
    versus: list[str] = Versus,
    noise: bool = OnNoise,
    files: int = typer.Option(100, "--files", min=1, metavar="N", help="Files in the folder."),
    rounds: int = Rounds,
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Measure how long translating a folder takes.

    It is compared with one file at a time. The files are made of the recipe's samples, in a temporary folder; the
    networks have random weights.
    """
    cases = _cases(recipe, set_, versus, noise, plugin)
    from transgan.bench.translate import measure

    _print("file", json_, *measure(cases, files, rounds))


def start(
    recipe: Path = Recipe,
    set_: list[str] = Set,
    versus: list[str] = Versus,
    noise: bool = OnNoise,
    rounds: int = Rounds,
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Measure how long it takes to the end of the first step.

    Each measurement is a process of its own.
    """
    cases = _cases(recipe, set_, versus, noise, plugin)
    from transgan.bench.start import measure

    _print("start", json_, *measure(cases, rounds, plugin or ()))


def checkpoint(
    recipe: Path = Recipe,
    set_: list[str] = Set,
    versus: list[str] = Versus,
    noise: bool = OnNoise,
    rounds: int = Rounds,
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Measure how long writing and reading a checkpoint take."""
    cases = _cases(recipe, set_, versus, noise, plugin)
    from transgan.bench.checkpoint import measure

    _print("writing", json_, *measure(cases, rounds))


def _cases(
    recipe: Path, settings: Sequence[str], others: Sequence[str], noise: bool, plugins: Sequence[Path]
) -> list["Case"]:
    """Return what is measured; mistakes are reported before anything is measured.

    Raises:
        TransganError: the recipe or a setting is invalid.
    """
    from transgan.recipe import OverrideByFlag, read_recipe

    others = [OverrideByFlag(each, f"--vs {each}") if "=" in each else each for each in others or ()]
    path = expand_home(recipe)
    read_recipe(path, settings or [])

    from transgan.bench.cases import cases
    from transgan.plugin_files import use_files

    use_files(plugins)
    found = cases(path, settings or (), others, noise)
    for each in found[1:]:
        read_recipe(each.recipe, each.settings)
    return found


def _print(unit: str, json_: bool, title: str, found: Sequence["Measured"]) -> None:
    from transgan.bench.figures import as_json, lines

    if json_:
        show_json(as_json({"measured": unit, "what": title}, found))
        return
    for line in lines(title, unit, found):
        show(line)
