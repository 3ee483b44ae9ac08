"""`transgan init`: ask about data and machine, look at the data, and write a recipe to begin with."""

import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from transgan.cli import completion
from transgan.cli.options import examples

if TYPE_CHECKING:
    from transgan.api import Finding, Starter
    from transgan.registry import Registry

T = TypeVar("T")
#: Several GPUs, as an answer: `4gpus`; without a number those of this machine.
_GPUS = re.compile(r"(\d{0,4}) ?gpus")
_MACHINES = "cpu, gpu, apple, or 4gpus"
_WIDTH = 118
_WHERE = "Where are your data? (a folder or a table; nothing, if there are none yet)"


@dataclass(frozen=True)
class Machine:
    """Where the recipe is to be trained."""

    setup: str
    """`cpu`, `gpu` or `apple`."""
    count: int = 1
    """Number of GPUs."""

    def __str__(self) -> str:
        return f"{self.count}gpus" if self.count > 1 else self.setup

    @property
    def words(self) -> str:
        return {"cpu": "a CPU", "apple": "an Apple GPU"}.get(
            self.setup, f"{self.count} GPUs" if self.count > 1 else "one GPU"
        )


@dataclass(frozen=True)
class Choice:
    """A starter, and what it has found; where data is None, what it synthesizes."""

    starter: "Starter"
    finding: "Finding"
    data: Path | None = None


def add(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "transgan init",
            "transgan init my.toml --data FOLDER",
            "transgan init --synthetic --kind KIND --machine gpu",
        )
    )(init)


def init(
    file: Path = typer.Argument(
        None, metavar="FILE.toml", help="The recipe to write; by default named after the data."
    ),
    data: Path = typer.Option(
        None, "--data", metavar="FOLDER", help="The folder with the data, or a table that lists them."
    ),
    kind: str = typer.Option(
        None, "--kind", metavar="KIND", help="The kind of data; by default found by looking at them."
    ),
    synthetic: bool = typer.Option(False, "--synthetic", help="No data yet: train on synthetic ones of the kind."),
    machine: str = typer.Option(
        None,
        "--machine",
        metavar="MACHINE",
        help=f"Where to train: {_MACHINES}; by default this machine.",
        autocompletion=completion.one_of("cpu", "gpu", "apple"),
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the recipe if it exists."),
) -> None:
    """Look at data of your own and write a recipe for them.

    It asks for what was not given. Without a terminal nothing is asked: give --data FOLDER, or --synthetic --kind KIND.
    With --quiet, the path of the recipe is printed.
    """
    from transgan.errors import UsageError
    from transgan.text import expand_home, note

    if data is not None and synthetic:
        raise UsageError("--data and --synthetic exclude each other; give one of them")
    if machine is not None and machine != "gpus":
        _machine(machine, Machine("cpu"))  # a wrong one is reported before all data are looked at
    asks = sys.stdin is not None and sys.stdin.isatty()
    if not asks and data is None and not synthetic:
        raise UsageError("--data is missing: give the folder with the data, or --synthetic if there are none yet")
    if not asks and synthetic and kind is None:
        from transgan.registry import Registry

        kinds = ", ".join(Registry.installed().starters)
        raise UsageError(f"--kind is missing: what the synthetic data are to be, one of {kinds}")
    if file is not None and not asks:
        _new_file(str(file), overwrite)
    place = expand_home(data) if data is not None else None
    if place is not None and not asks:
        _existing(place)  # before torch is imported
    chosen = _choose(place, kind, synthetic, asks)
    begin = "Found" if chosen.data else "No data yet:"
    for text in (f"{begin} {chosen.finding.what}.", chosen.starter.why):
        note("\n".join(wrap(text, _WIDTH)), error=False)
    here = _detected()
    where = _answer(machine, f"Where to train? ({_MACHINES})", lambda text: _machine(text, here), here, asks)
    default = _default_file(chosen, free=asks and not overwrite)
    given = str(file) if file is not None else None
    path = _answer(given, "Which file is the recipe to be?", lambda text: _new_file(text, overwrite), default, asks)
    _write(path, chosen, where)


def _choose(data: Path | None, kind: str | None, synthetic: bool, asks: bool) -> Choice:
    """Return the starter, by what was given, what lies there, and answers."""
    from transgan.errors import DataError, UsageError
    from transgan.text import show

    if data is None and not synthetic:  # asked before anything is loaded
        data = _ask(_WHERE, _place)
    from transgan.registry import Registry

    registry = Registry.installed()
    while True:
        try:
            return _synthetic(kind, registry) if data is None else _suited(data, kind, registry, asks)
        except (DataError, UsageError) as error:
            if not asks:
                raise
            show(str(error))
            kind = None
            show("\n".join(_titles(registry.starters)))
            if isinstance(error, DataError):
                data = _ask(_WHERE, _place)


def _place(text: str) -> Path | None:
    """Return the folder or table of an answer; None for an empty one."""
    from transgan.text import expand_home

    return _existing(expand_home(text)) if text else None


def _existing(path: Path) -> Path:
    from transgan.errors import DataError

    if not path.exists():
        raise DataError(f"--data {path}: there is no such folder or file")
    return path


def _synthetic(kind: str | None, registry: "Registry") -> Choice:
    from transgan.text import show

    if kind is None:
        show("\n".join(_titles(registry.starters)))
        starter = _ask("What will your data be?", lambda text: _starter(text, registry.starters))
    else:
        starter = _starter(kind, registry.starters)
    return Choice(starter, starter.synthetic)


def _titles(starters: Mapping[str, "Starter"]) -> list[str]:
    return [f"  {name:<10} {starter.title}" for name, starter in starters.items()]


def _suited(data: Path, kind: str | None, registry: "Registry", asks: bool) -> Choice:
    """Return a starter that data suit.

    Raises:
        DataError: they suit none, or not the one that was asked for.
    """
    from transgan.api import Unusable
    from transgan.errors import DataError
    from transgan.text import note, show

    _existing(data)
    if kind is not None:
        starter = _starter(kind, registry.starters)
        try:
            return Choice(starter, starter.look(data), data)
        except DataError as error:
            raise DataError(f"--kind {kind}, {starter.title}: {error}") from None
    suited: dict[str, Choice] = {}
    nearly: list[str] = []
    for starter in sorted(registry.starters.values(), key=lambda each: -each.rank):
        try:
            suited[starter.name] = Choice(starter, starter.look(data), data)
        except Unusable as error:
            nearly.append(f"{starter.title}: {error}")
        except DataError:
            continue
    if nearly and not suited:
        raise DataError(f"{data}: {nearly[0]}")
    if not suited:
        kinds = ", ".join(registry.starters)
        raise DataError(
            f"{data}: no recipe suits what is there, {_contents(data)}. Kinds of data are {kinds}; "
            "--kind KIND says what it expects, and what is missing for it"
        )
    first, *others = suited
    if others and asks:
        starters = {name: each.starter for name, each in suited.items()}
        show("\n".join(_titles(starters)))
        return _ask(
            "Which of these are they?", lambda text: suited[_starter(text, starters).name], suited[first], first
        )
    if others:
        note(f"Taken for {first}; --kind {' or '.join(others)} would suit these data too.", error=False)
    return suited[first]


def _contents(data: Path) -> str:
    """Return what a folder holds, or which file it is."""
    from transgan.api import find_files
    from transgan.text import listed

    files = find_files(data).files if data.is_dir() else [data]
    endings = Counter(path.suffix.lower() or "without an ending" for path in files)
    counts = listed((f"{count:,} {ending}" for ending, count in endings.most_common()), 5)
    return f"{len(files):,} {'files' if len(files) != 1 else 'file'} ({counts})" if files else "no files"


def _starter(name: str, starters: Mapping[str, "Starter"]) -> "Starter":
    from transgan.errors import UsageError, did_you_mean

    if name not in starters:
        raise UsageError(f"--kind {name}: no such kind of data. {did_you_mean(name, starters)}")
    return starters[name]


def _detected() -> Machine:
    """Return this machine."""
    import torch

    if count := torch.cuda.device_count():
        return Machine("gpu", count)
    return Machine("apple" if torch.backends.mps.is_available() else "cpu")


def _machine(text: str, here: Machine) -> Machine:
    from transgan.errors import UsageError

    if text in ("cpu", "gpu", "apple"):
        return Machine(text)
    if match := _GPUS.fullmatch(text):
        count = int(match[1] or here.count)
        if count > 1:
            return Machine("gpu", count)
        if not match[1]:
            raise UsageError("--machine gpus: this machine has fewer than two; say how many, such as 4gpus")
    raise UsageError(f"--machine {text}: expected {_MACHINES}")


def _new_file(text: str, overwrite: bool) -> Path:
    from transgan.errors import UsageError
    from transgan.text import expand_home

    path = expand_home(text)
    if path.suffix != ".toml":
        raise UsageError(f"{path}: expected a file ending in .toml")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give another file")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists, and was left as it is; give another file, or --overwrite to replace it")
    return path


def _answer(given: str | None, question: str, parse: Callable[[str], T], default: T, asks: bool) -> T:
    """Return the answer that was given as an option, or else asked for, or else the default.

    On a terminal a wrong one is asked for again.
    """
    from transgan.errors import UsageError
    from transgan.text import show

    if given is not None:
        try:
            return parse(given)
        except UsageError as error:
            if not asks:
                raise
            show(str(error))
    return _ask(question, parse, default) if asks else parse(str(default))


def _ask(question: str, parse: Callable[[str], T], default: Any = ..., shown: str = "") -> T:
    """Ask on the terminal until there is an answer that `parse` takes.

    Args:
        default: what an empty answer means, which is parsed like any other where there is none.
        shown: what stands for the default.
    """
    from rich.markup import escape
    from rich.prompt import InvalidResponse, PromptBase
    from rich.text import Text

    from transgan.errors import TransganError
    from transgan.text import printable

    class Answer(PromptBase[Any]):
        response_type = object  # else rich shows no default that is no text
        prompt_suffix = " "

        def process_response(self, value: str) -> Any:
            try:
                return parse(value.strip())
            except TransganError as error:
                raise InvalidResponse(escape(printable(error))) from None

        def render_default(self, default: Any) -> Text:
            return Text(f"[{shown or default}]", "prompt.default")

    try:
        answer: T = Answer.ask(Text(question), default=default)
    except EOFError:
        raise KeyboardInterrupt from None
    return answer


def _default_file(chosen: Choice, free: bool) -> Path:
    """Return a file that is named after the data, or their kind; a new one where it is to be free."""
    from transgan.api import as_name

    place = chosen.data.resolve() if chosen.data else Path(chosen.starter.name)
    name = as_name(place.name if place.is_dir() else place.stem, chosen.starter.name)
    files = (Path(f"{name}-{number}.toml" if number > 1 else f"{name}.toml") for number in count(1))
    return next(file for file in files if not free or not os.path.lexists(file))


def _write(path: Path, chosen: Choice, machine: Machine) -> None:
    """Write the recipe, once it has been planned, and say what comes next."""
    from transgan.cli.schema import schema_line
    from transgan.errors import DataError, PluginError
    from transgan.plan import make_plan
    from transgan.recipe import installed_recipes, parse_recipe
    from transgan.recipe.edit import edit
    from transgan.registry import Registry
    from transgan.storage import write_text
    from transgan.text import is_quiet, note, printable, show

    registry = Registry.installed()
    setup = chosen.starter.setup(machine.setup)
    base = installed_recipes().get(setup.recipe)
    if base is None:
        raise PluginError(f"the recipe '{setup.recipe}' is not installed, with which '{chosen.starter.name}' begins")
    text = base.path.read_text(encoding="utf-8")
    changes = {**setup.changes}
    if machine.count > 1:
        changes |= _shared(tomllib.loads(text), changes, machine.count)
    root = {"data.root": str(chosen.data)} if chosen.data else {}
    changes |= {**root, **chosen.finding.changes}
    try:
        recipe = edit(text, changes, chosen.starter.comments, _header(path, chosen, machine))
    except ValueError:
        raise DataError(
            f"{chosen.data}: a name in it is not valid UTF-8, and cannot be in a recipe; rename it"
        ) from None
    make_plan(parse_recipe(recipe, str(path)), registry)
    write_text(path, schema_line(registry) + recipe)
    show(printable(path) if is_quiet() else f"Wrote {printable(path)}. Next:")
    for command in _commands(path, machine):
        note(f"  {command}", error=False)


def _shared(recipe: Mapping[str, Any], changes: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """Return batches for several GPUs, each with one of the size for one, and as many fewer steps."""
    train = recipe["train"]
    steps = max(1, changes.get("train.steps", train["steps"]) // gpus)
    shared = {"train.steps": steps, "train.batch": changes.get("train.batch", train.get("batch", 1)) * gpus}
    for index, stage in enumerate(recipe.get("stages", [])):
        if "batch" in stage:
            shared[f"stages.{index}.batch"] = stage["batch"] * gpus
    return shared


def _commands(path: Path, machine: Machine) -> list[str]:
    from transgan.text import shell_word

    launch = f"accelerate launch --multi_gpu --num_processes {machine.count} -m " if machine.count > 1 else ""
    return [f"transgan check {shell_word(path)}", f"{launch}transgan run {shell_word(path)}"]


def _header(path: Path, chosen: Choice, machine: Machine) -> str:
    """Return the comment that the recipe begins with."""
    from transgan.text import printable

    starter = chosen.starter
    setup = starter.setup(machine.setup)
    what = chosen.finding.what
    time = f"Time: {setup.time}, by estimate; the run itself says how long it will take."
    lines = [
        *wrap(f"{path.stem}: {what}.", _WIDTH - 2),
        "",
        *wrap(starter.why, _WIDTH - 2),
        f"Written by 'transgan init' for {machine.words}, from the recipe '{setup.recipe}', with its constants:",
        f"  'transgan recipes {setup.recipe}' says where they come from.",
        "Commands:",
        *(f"  {command}" for command in _commands(path, machine)),
        *([time] if setup.time and machine.count == 1 else []),
        "What to change first:",
        *(f"  {line}" for line in ("train.steps, data.size   see beside them", *starter.advice)),
    ]
    # Names of files and folders may hold what TOML takes for no comment.
    return "\n".join(f"# {printable(line)}".rstrip() for line in lines)
