"""A run of version 1, from before modules, log keys and groups of checkpoints were renamed, is resumed and translates.

The fixture is a run of 6 steps, interrupted after step 3. `expected/` has the weights and figures of its last step, as
version 1 computed them, and a translation by the model in `model/`.
"""

import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from transgan import Translator, storage
from transgan.errors import DiskError
from transgan.training.checkpoint import FORMAT, upgrade_checkpoint

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run_of_version_1"
INTERRUPTED = "step-00000003"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the fixture's run folder."""
    folder = tmp_path / "run"
    shutil.copytree(FIXTURE, folder, ignore=shutil.ignore_patterns("expected"))
    return folder


def expected(group: str) -> dict[str, Tensor]:
    """Return the tensors that version 1 has computed, under the present names."""
    tensors = load_file(FIXTURE / "expected" / f"{group}.safetensors")
    return {name.replace("|network.judges.", "|network.scales."): tensor for name, tensor in tensors.items()}


#: How far Adam moves a number in six steps at most, whose gradient is nothing but a machine's rounding: 6 x 2e-4.
NOISE = 1.2e-3


def parts(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return what of a tensor an instance norm behind it removes, and the rest.

    It removes biases, and weights of a constant channel but for the borders: that of the task, behind three of colour.
    """
    if fnmatchcase(name, "g.*.bias") or name.endswith("layers.1.0.bias"):
        return {"normalised": tensor}
    if fnmatchcase(name, "g.*|network.model.1.weight"):
        return {"normalised": tensor[:, 3:], "": tensor[:, :3]}
    return {"": tensor}


def test_a_run_of_version_1_is_resumed_to_the_end_that_version_1_computed(run: Path, run_cli: Any) -> None:
    assert run_cli("resume", run, "-q") == 0
    checkpoint, rejected = storage.newest(run / "checkpoints")
    assert checkpoint is not None and checkpoint.step == 6 and not rejected
    for group in ("networks", "ema"):
        tensors = expected(group)
        assert checkpoint.groups[group].keys() == tensors.keys()
        for name, tensor in tensors.items():
            for part, before in parts(name, tensor).items():
                now = parts(name, checkpoint.groups[group][name])[part]
                atol = NOISE if part == "normalised" else 1e-5
                torch.testing.assert_close(now, before, rtol=0, atol=atol, msg=f"{group} {name}")
    result, before = (json.loads(path.read_text()) for path in (run / "result.json", FIXTURE / "expected/result.json"))
    assert (result["steps"], result["kept"]) == (before["steps"], before["kept"])
    for name, figures in before["translations"].items():
        assert result["translations"][name] == pytest.approx(figures, abs=1e-4)
    for name, effect in before["conditions"].items():
        assert result["conditions"][name] == pytest.approx(effect, abs=1e-4)


def test_the_log_of_a_resumed_run_keeps_its_records_and_goes_on_with_the_present_keys(run: Path, run_cli: Any) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= 3]
    assert run_cli("resume", run, "-q") == 0
    assert (run / "metrics.jsonl").read_text().splitlines()[: len(kept)] == kept
    records = storage.read_metrics(run / "metrics.jsonl")
    keys = {
        step: {key.partition("/")[2] for each in records if each["step"] == step for key in each} for step in (3, 4)
    }
    assert {"generator/lsgan", "discriminator/lsgan", "state/change"} <= keys[3]
    assert {"loss_G/lsgan", "loss_D/lsgan", "diagnostics/change"} <= keys[4]


def test_every_name_in_a_checkpoint_of_version_1_is_upgraded() -> None:
    checkpoint = storage.load(FIXTURE / "checkpoints" / INTERRUPTED)
    upgraded = upgrade_checkpoint(checkpoint)
    assert upgrade_checkpoint(upgraded) is upgraded
    old, new = checkpoint.state, upgraded.state
    assert new["format"] == FORMAT and "format" not in old
    assert new["task_sampler"] == {
        "separation": old["balance"]["apart"],
        "largest": old["balance"]["most"],
        "lags": old["balance"]["lags"],
        "steps": old["balance"]["played"],
    }
    assert (new["history"], new["ema"], new["best"]) == ({"counts": old["history"]}, {"updates": 3}, old["best"])
    renamed = {"faulty": "bad", "reported": "told", "warmup_from": "begun", "good_step": "good"}
    renamed |= {"rollbacks": "rolled", "lr_factor": "factor", "fallback_step": "fell"}
    assert new["guardian"] == {
        **{name: old["guard"][name] for name in ("strikes", "norms", "skipped", "events")},
        **{name: old["guard"][old_name] for name, old_name in renamed.items()},
    }
    assert upgraded.groups.keys() == {"networks", "optimizers", "ema", "history", "loss_buffers", "best"}
    assert upgraded.groups["loss_buffers"] == checkpoint.groups["memory"]
    for group in ("networks", "optimizers"):
        assert len(upgraded.groups[group]) == len(checkpoint.groups[group])
        assert any("|network.scales." in name for name in upgraded.groups[group])
        assert not any("judge" in name for name in upgraded.groups[group])
    assert upgraded.groups["networks"].keys() == expected("networks").keys()


def test_a_model_of_version_1_translates_as_before() -> None:
    translator = Translator.from_pretrained(FIXTURE / "model", "cpu")
    source = np.arange(768, dtype=np.uint8).reshape(16, 16, 3)
    translation = np.asarray(translator(source, to="old", attributes={"race": "White"}))
    before = np.load(FIXTURE / "expected" / "translation.npy")
    assert translation.shape == before.shape and translation.dtype == before.dtype == np.uint8
    assert np.abs(translation.astype(int) - before.astype(int)).max() <= 1  # a grey level


def test_a_checkpoint_of_a_later_format_is_refused_in_one_line(
    run: Path, run_cli: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = storage.load(run / "checkpoints" / INTERRUPTED)
    storage.save(run / "checkpoints", 3, checkpoint.groups, {**checkpoint.state, "format": 3})
    line = f"{run / 'checkpoints' / INTERRUPTED}: format 3 is newer than 2; update transgan"
    with pytest.raises(DiskError) as caught:
        upgrade_checkpoint(storage.load(run / "checkpoints" / INTERRUPTED))
    assert str(caught.value) == line
    assert run_cli("resume", run, "-q") == DiskError.exit_code
    assert capsys.readouterr().err == f"error: {line}\n"
