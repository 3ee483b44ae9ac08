"""Model folders: what config.json and the model card hold, and what reading a model needs."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transgan.api import DataError, PluginError
from transgan.data.domains import Domains
from transgan.inference.model_folder import model_card, model_config
from transgan.inference.places import find_model
from transgan.inference.translator import Translator
from transgan.plan import Plan
from transgan.registry import Registry


def test_the_config_holds_neither_code_nor_paths(
    run: Path, recipe: str, planned: Callable[..., Plan], tmp_path: Path
) -> None:
    text = (run / "model/config.json").read_text()
    assert str(run.parent) not in text
    assert set(json.loads(text)) == {
        "format",
        "transgan",
        "recipe",
        "plugins",
        "steps",
        "epoch",
        "attributes",
        "discriminators",
        "evaluation",
        "regions",
        "weights_sha256",
    }

    (tmp_path / "secret/a").mkdir(parents=True)
    Image.fromarray(np.zeros((48, 40, 3), np.uint8)).save(tmp_path / "secret/a/1.png")
    folders = recipe.replace('{ use = "synthetic_faces", count = 16 }', f'"folders"\nroot = "{tmp_path}"')
    folders += "[domains]\n"
    for domain in ("young", "old", "white", "black"):
        folders += f'{domain} = {{ path = "{tmp_path}/secret/a" }}\n'
    plan = planned(folders)
    assert "secret" not in json.dumps(model_config(plan, 1))
    card = model_card(plan, Domains(plan), {"steps": 1, "seed": 0, "translations": {}})
    assert "secret" not in card and "| young | path a | 1 | 0 |" in card


def test_the_card_has_the_constants_of_the_training_as_toml(
    recipe: str, planned: Callable[..., Plan], tmp_path: Path
) -> None:
    changes = (
        "losses.feature_matching={compare='means', weight={from=1.0, to=0.0}}",
        f"losses.perceptual={{model='squeezenet', weights='{tmp_path}/secret/w.pth', weight=0.0}}",
        "discriminators.second={shares='face', fake='reconstruction'}",
        "optimizers.generator.lr=1e-3",
    )
    plan = planned(recipe, overrides=changes)
    card = model_card(plan, Domains(plan), {"steps": 1, "seed": 0, "translations": {}})
    table = tomllib.loads(card.partition("```toml\n")[2].partition("```")[0])
    assert table["train"]["steps"] == plan.recipe.train.steps and table["train"]["batch"] == plan.recipe.train.batch
    assert table["optimizers"]["generator"]["lr"] == 1e-3
    for kind in ("discriminators", "losses"):
        assert table[kind].keys() == getattr(plan.recipe, kind).keys()
        for (_, name), options in ((place, each) for place, each in plan.filled.items() if place[0] == kind):
            plain = {
                key: value
                for key, value in options.items()
                if isinstance(value, (bool, int, float, str)) and key != "weights"
            }
            assert {key: table[kind][name][key] for key in plain} == plain
    assert table["discriminators"]["second"]["shares"] == "face"
    assert table["losses"]["feature_matching"]["weight"]["to"] == 0.0
    assert table["losses"]["perceptual"]["weights"] == "w.pth" and "secret" not in card


def test_a_model_needs_no_source_of_samples(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Registry.installed()
    found.entries = {
        key: entry for key, entry in found.entries.items() if key[0] not in ("sources", "losses", "metrics")
    }
    monkeypatch.setattr(Registry, "installed", lambda: found)
    assert Translator.from_pretrained(run, "cpu").translations


def test_a_plugin_that_is_not_installed_is_named_in_one_line(run: Path, tmp_path: Path) -> None:
    for path in (run / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["recipe"]["generators"]["face"]["use"] = "os.system"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PluginError) as raised:
        Translator.from_pretrained(tmp_path, "cpu")
    line = f"{tmp_path}/config.json: [generators.face] use: no generator 'os.system'. Known: "
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)


def test_a_model_is_loaded_without_a_compiler(run: Path) -> None:
    """Importing torch's compiler, which random initialisation on the meta device does, would take seconds."""
    code = f"""
import sys
from transgan.inference.translator import Translator
Translator.from_pretrained({str(run)!r})
sys.exit(" ".join({{"sympy", "torch._dynamo"}} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


def test_a_damaged_model_names_its_remedy_where_a_run_has_a_checkpoint_to_write_it_anew(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(path: str) -> str:
        with pytest.raises(DataError) as refusal:
            find_model(path).read()
        return str(refusal.value)

    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "my run")
    shutil.copytree("my run/model", "alone")
    for folder in ("my run/model", "alone"):
        Path(folder, "config.json").write_text("")
    assert said("my run").endswith("; transgan finish 'my run' writes it anew")
    assert "transgan finish '" in said("my run/model")
    assert "transgan finish" not in said("alone")
    shutil.rmtree("my run/checkpoints")
    assert "transgan finish" not in said("my run")
