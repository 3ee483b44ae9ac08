"""`--plugin FILE.py`: plugins in a file, tried without installing it: by every command that needs plugins."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from transgan.plugin_files import files_in_use

FILE = '''
"""A loss and a generator of this test."""

from dataclasses import dataclass

from torch import nn

from transgan.api import Generator, Loss, NetworkSpec, Options, Register, Tensor, hookimpl

requires_api = 1


@dataclass
class Needed:
    """A dataclass looks its module up, so it has to be imported under a name."""

    number: "int" = 1


class Brightness(Loss):
    """Keeps the mean of all values."""

    def for_generator(self, source: Tensor, fake: Tensor) -> Tensor:
        return (fake.mean((1, 2, 3)) - source.mean((1, 2, 3))).abs().mean() * Needed().number


class Tiny(Generator):
    """A convolution."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layers = nn.Sequential(nn.Conv2d(spec.inputs, spec.channels, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


@hookimpl
def register_losses(register: Register) -> None:
    register("brightness", Brightness)


@hookimpl
def register_generators(register: Register) -> None:
    register("tiny", Tiny)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_plugins.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def with_plugin(recipe: Path, tmp_path: Path) -> Path:
    """A recipe that names the plugins of the file."""
    text = recipe.read_text().replace('use = "resnet"\nper = "direction"\nwidth = 4\nblocks = 1', 'use = "tiny"')
    path = tmp_path / "with_plugin.toml"
    path.write_text(text.replace("cycle = 5.0", "cycle = 5.0\nbrightness = 2.0"))
    return path


def test_every_command_takes_a_file(
    transgan: Any, with_plugin: Path, file: Path, tmp_path: Path, write_image: Any
) -> None:
    assert "no generator 'tiny'" in transgan("check", with_plugin).err
    assert "It will run." in transgan("check", with_plugin, "--plugin", file).out
    run = tmp_path / "run"
    done = transgan("run", with_plugin, "--out", run, "-q", "--plugin", file)
    assert done.code == 0, done.err
    assert json.loads((run / "env.json").read_text())["plugins"]["my_plugins.py"] == "(file)"
    page = (run / "report.html").read_text()  # whose commands are complete
    assert page.count("--plugin my_plugins.py") == 4 and "FILES --to old --plugin my_plugins.py" in page

    # Without it, a run is not resumed, and says what it was trained with.
    line = transgan("resume", run, "--steps", "3").error(2)
    assert line == f"{run}: trained with the plugin file my_plugins.py; give it again: --plugin my_plugins.py"
    assert transgan("finish", run).error(2) == line
    assert transgan("resume", run, "--steps", "3", "-q", "--plugin", file).code == 0
    assert transgan("finish", run, "-q", "--plugin", file).code == 0

    # Nor is a model used, away from its run and from the file's folder.
    model, picture = tmp_path / "model", write_image(tmp_path / "in/a.png")
    shutil.copytree(run / "model", model)
    translate = ("translate", model, picture, "--to", "old", "-o", tmp_path / "out")
    assert "no generator 'tiny'" in (line := transgan(*translate).error(2))
    assert line.endswith("give it the file again: --plugin my_plugins.py")
    assert transgan(*translate, "--plugin", file).code == 0
    assert (tmp_path / "out/a.png").is_file()
    assert "give it the file again" in transgan("evaluate", model, "-o", tmp_path / "e.json").error(2)
    assert transgan("evaluate", model, "-o", tmp_path / "e.json", "--samples", "2", "--plugin", file).code == 0

    # A file serves one command: the next one in the same process is without it.
    assert not files_in_use()
    assert "give it the file again" in transgan("info", model).error(2)
    assert "tiny" in transgan("info", model, "--plugin", file).out
    without = transgan("compare", run, run).err
    assert "without explanations" in without and "give it again: --plugin my_plugins.py" in without
    assert transgan("compare", run, run, "--plugin", file, "--overwrite").err == ""
    assert "no generator 'tiny'" in transgan("data", "check", with_plugin).err
    assert transgan("data", "check", with_plugin, "--plugin", file).code == 0


def test_a_hook_that_fails_is_named_with_its_line_and_type(transgan: Any, file: Path, recipe: Path) -> None:
    for code, message in (
        ("{}['x']", "KeyError: 'x'"),
        ("1 + 'x'", "TypeError: unsupported operand"),
        ("1 / 0", "Zero"),
    ):
        file.write_text(FILE.replace('    register("brightness", Brightness)', f"    {code}"))
        number = file.read_text().splitlines().index(f"    {code}") + 1
        assert f"--plugin {file}: line {number}: {message}" in transgan("check", recipe, "--plugin", file).error(2)


def test_a_module_beside_a_file_is_found_on_the_path_of_python(
    transgan: Any, file: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "beside_it.py").write_text("K = 3\n")
    file.write_text(f"from beside_it import K\n{FILE}")
    line = transgan("check", recipe, "--plugin", file).error(2)
    assert (
        "line 1: cannot be imported: ModuleNotFoundError: No module named 'beside_it'. beside_it is beside it" in line
    )
    assert line.endswith(f"set PYTHONPATH={file.parent}, or make both a package")
    monkeypatch.syspath_prepend(file.parent)
    assert "It will run." in transgan("check", recipe, "--plugin", file).out


def test_a_file_counts_once_and_two_have_two_names(transgan: Any, file: Path, recipe: Path) -> None:
    again = file.parent / "x" / ".." / file.name
    (file.parent / "x").mkdir()
    assert "It will run." in transgan("check", recipe, "--plugin", file, "--plugin", again).out
    other = shutil.copy(file, file.parent / "x" / file.name)
    line = transgan("check", recipe, "--plugin", file, "--plugin", other).error(2)
    assert line.startswith(f"--plugin {other}: {file} has the same name") and line.endswith("rename one of them")
    renamed = shutil.copy(file, file.parent / "other_file.py")
    words = ("--plugin", file, "--plugin", renamed, "--set", "losses.brightness=1")
    line = transgan("check", recipe, *words).error(2)
    assert "registered by my_plugins.py and by other_file.py; leave out one file, or write" in line


def test_a_run_that_goes_on_with_another_file_says_so(
    transgan: Any, with_plugin: Path, file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert transgan("run", with_plugin, "--out", run, "-q", "--plugin", file).code == 0
    moved = tmp_path / "elsewhere" / file.name
    moved.parent.mkdir()
    shutil.copy(file, moved)
    assert "has changed" not in transgan("resume", run, "--steps", "3", "--plugin", moved).err
    moved.write_text(FILE.replace(".abs().mean()", ".square().mean()"))
    done = transgan("resume", run, "--steps", "4", "--plugin", moved)
    assert done.code == 0 and "the plugin file my_plugins.py has changed since step 3" in done.err
    assert "warning: the plugin file my_plugins.py has changed since step 3" in (run / "log.txt").read_text()
    moved.write_text(FILE.replace("spec.channels, 3, padding=1", "spec.channels, 1"))  # other weights
    line = transgan("resume", run, "--steps", "5", "-q", "--plugin", moved).error(2)
    assert line.startswith(f"{run}: the plugin file my_plugins.py has changed since step 4, and the network 'face")
    assert "recipe.toml" not in line


def test_a_model_whose_file_has_changed_says_so(
    transgan: Any, with_plugin: Path, file: Path, tmp_path: Path, write_image: Any
) -> None:
    """`translate` and `evaluate`, of a run and of its model; where the weights do not fit any more, that is why."""
    run, image = tmp_path / "run", tmp_path / "face.png"
    write_image(image)
    assert transgan("run", with_plugin, "--out", run, "-q", "--plugin", file).code == 0
    commands = [
        ("translate", run / "model", image, "--to", "old", "--out", "out", "--overwrite"),
        ("evaluate", run, "--overwrite"),
    ]
    for command in commands:
        assert "has changed" not in transgan(*command, "--plugin", file).err
    file.write_text(FILE.replace("return y", "return y / 2"))
    for command in commands:
        done = transgan(*command, "--plugin", file)
        assert done.code == 0
        assert "warning: the plugin file my_plugins.py has changed since it was trained: transl" in done.err
    for layers in ("spec.channels, 1", "spec.channels, 3, padding=1), nn.Conv2d(3, 3, 1"):  # other weights, and more
        file.write_text(FILE.replace("spec.channels, 3, padding=1", layers))
        line = transgan(*commands[0], "--plugin", file).error(3)
        assert "the weights do not fit its plugins: " in line and "layers." in line
        assert line.endswith("the plugin file my_plugins.py has changed since it was trained; give the file as it was")


def test_commands_to_copy_name_the_file_where_it_is(
    transgan: Any, with_plugin: Path, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "plugins").mkdir()
    moved = shutil.move(file, tmp_path / "plugins" / file.name)
    done = transgan("run", with_plugin, "--out", "run", "--plugin", moved)
    shown = [line for line in done.err.splitlines() if "transgan evaluate run" in line]
    assert len(shown) == 1 and shown[0].endswith(f"--plugin {Path('plugins', file.name)}")


def test_plugins_of_a_file_are_listed_and_described(transgan: Any, file: Path) -> None:
    listed = transgan("plugins", "--plugin", file).out
    assert "  tiny " in listed and "(my_plugins.py (file))" in listed
    assert transgan("plugins", "brightness", "--plugin", file).out.startswith("brightness: a loss of my_plugins.py")
    assert "no plugin 'brightness'" in transgan("plugins", "brightness").error(2)


def test_a_plugin_of_a_file_and_an_installed_one_of_the_same_name(transgan: Any, file: Path, recipe: Path) -> None:
    file.write_text(FILE.replace('register("tiny"', 'register("resnet"'))
    assert 'write "transgan:resnet" or "my_plugins.py:resnet"' in transgan("check", recipe, "--plugin", file).error(2)
    conflict = "in conflict: generator 'resnet' of transgan and of my_plugins.py; recipes write "
    assert f'{conflict}"transgan:resnet" or "my_plugins.py:resnet"' in transgan("plugins", "--plugin", file).out
    chosen = ("--set", 'generators.face={use="my_plugins.py:resnet"}')
    assert "It will run." in transgan("check", recipe, "--plugin", file, *chosen).out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nimport glass", "line 2: cannot be imported: ModuleNotFoundError: No module named 'glass'"),
        ("def f(:", "cannot be imported: SyntaxError: invalid syntax"),
        ("raise SystemExit('goodbye')", "cannot be imported: SystemExit: goodbye"),
        ("requires_api = 99", "made for version 99 of transgan.api, and this is version"),
        (FILE.replace("register_losses", "register_loses"), "there is no hook 'register_loses'"),
        (
            FILE.replace("@hookimpl", ""),
            "offers nothing: no function in it, such as register_losses(register), is marked",
        ),
        ("", "offers nothing: "),
        (FILE.replace("(Loss)", "(object)"), "loss 'brightness' is not a subclass of transgan.api.Loss"),
    ],
    ids=["import", "syntax", "exit", "version", "hook", "unmarked", "empty", "class"],
)
def test_a_file_with_a_mistake_is_one_line(transgan: Any, file: Path, recipe: Path, text: str, message: str) -> None:
    file.write_text(text)
    line = transgan("check", recipe, "--plugin", file).error(2)
    assert line.startswith(f"--plugin {file}: ") and message in line


def test_a_file_that_is_none_is_one_line(transgan: Any, recipe: Path, tmp_path: Path) -> None:
    for path, message in ((tmp_path / "no.py", "there is no such file"), (tmp_path, "is a folder")):
        assert message in transgan("check", recipe, "--plugin", path).error(2)
    assert "not a Python file" in transgan("check", recipe, "--plugin", recipe).error(2)


def test_a_recipe_cannot_name_a_file(transgan: Any, recipe: Path, file: Path) -> None:
    text = recipe.read_text()
    recipe.write_text(f'plugin = "{file}"\n{text}')
    assert "[plugin]: unknown key" in transgan("check", recipe).error(2)


LATE = """\
        self.late = getattr(self, "late", None) or nn.Conv2d(3, 3, 1)
        y: Tensor = self.late(self.layers(x))"""
REPLACED = """\
    def init_from_data(self, domains, translations):
        self.layers[0].bias = nn.Parameter(self.layers[0].bias + 1)

    def forward(self, x: Tensor) -> Tensor:"""
SILENT = {
    "a layer built in forward": (
        ("        y: Tensor = self.layers(x)", LATE),
        "after a pass its parameter 'network.late.weight' is new, which no optimizer trains",
    ),
    "another parameter from the data": (
        ("    def forward(self, x: Tensor) -> Tensor:", REPLACED),
        "after init_from_data its parameter 'network.layers.0.bias' is another object than before",
    ),
}


@pytest.mark.parametrize("what", SILENT)
def test_parameters_that_nothing_would_train_end_a_run(transgan: Any, file: Path, with_plugin: Path, what: str) -> None:
    (old, new), message = SILENT[what]
    assert old in FILE
    file.write_text(FILE.replace(old, new, 1))
    done = transgan("run", with_plugin, "--out", "run", "-q", "--plugin", file)
    assert (
        done.code == 2
        and f"error: generator 'tiny' of {file.name} (file): network 'face" in done.err
        and message in done.err
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("        return y\n", "        return None\n", "'tiny' of my_plugins.py (file): forward returned None"),
        (
            "source: Tensor, fake: Tensor) -> Tensor:\n",
            "source: Tensor, fake: Tensor, buffers: dict) -> Tensor:\n        buffers['count'] = 1\n",
            "buffers['count'] of loss 'brightness' is set to int; expected a tensor",
        ),
    ],
    ids=["none", "buffer"],
)
def test_what_a_plugin_returns_wrongly_is_named(
    transgan: Any, file: Path, with_plugin: Path, old: str, new: str, message: str
) -> None:
    assert old in FILE
    file.write_text(FILE.replace(old, new, 1))
    done = transgan("run", with_plugin, "--out", "run", "-q", "--plugin", file)
    assert done.code == 2 and message in done.err and "bug in TransGAN" not in done.err


METRICS = '''
from transgan.api import Metric, Register, Tensor, Translation, hookimpl


class Changing(Metric):
    """A metric."""

    def reset(self) -> None:
        self.seen = []

    def update(self, translation: Translation, fake: Tensor) -> None:
        self.seen.append(translation)
        BODY

    def compute(self):
        return {each: FIGURES for each in self.seen}


@hookimpl
def register_metrics(register: Register) -> None:
    register("changing", Changing)
'''


@pytest.mark.parametrize(
    ("body", "figures", "message"),
    [
        ("fake.mul_(0)", "{'m': 1.0}", "it has changed 'fake' in place, which others read too; change a copy"),
        ("pass", "{'cycle_error': 5.0}", "another metric has a figure 'cycle_error' too; rename one of them"),
        ("pass", "{3: 5.0}", "found 3 as the name of a figure; expected a text"),
        ("pass", "{'m': float('nan')}", "m of age: young -> old: not a finite number; omitted"),
    ],
)
def test_a_metric_spoils_no_other(transgan: Any, recipe: Path, body: str, figures: str, message: str) -> None:
    Path("m.py").write_text(METRICS.replace("BODY", body).replace("FIGURES", figures))
    done = transgan("run", recipe, "--out", "run", "-q", "--plugin", "m.py", "--set", "metrics.changing={}")
    assert done.code == 0, done.err
    result = json.loads(Path("run/result.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert message in " ".join(result["warnings"])
    assert all(each.keys() >= {"cycle_error"} and each["cycle_error"] < 5 for each in result["translations"].values())


NODES = '''
from transgan.api import Call, Conditions, Nodes, Register, Tensor, hookimpl, node


class Own(Nodes):
    """Nodes that condition the generator on a code that nothing in it takes."""

    @node
    def to_target(self, task: Tensor, target_domain: Tensor) -> Conditions:
        return {"task": task, "domain": target_domain, "code": target_domain[:, None].float()}

    @node
    def fake(self, source: Tensor, to_target: Conditions) -> Call:
        return Call("generator", source, to_target)


@hookimpl
def register_nodes(register: Register) -> None:
    register("own", Own)
'''


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_condition_that_nothing_takes_ends_a_run_too(transgan: Any, recipe: Path, command: str) -> None:
    Path("nodes.py").write_text(NODES)
    changes = ('nodes="own"', "losses.cycle=false", "metrics={}", "evaluate.keep_best=''")
    words = [word for each in changes for word in ("--set", each)]
    done = transgan(command, recipe, "--plugin", "nodes.py", *words)
    assert done.code == 2 and "the condition 'code', which nothing in it takes" in done.err
