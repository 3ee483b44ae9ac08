"""Every plugin of this repository keeps what its kind promises: `transgan.testing.check` on each, at small sizes.

A plugin that needs more than defaults is given it in GIVEN; what does not hold for it is declared in EXCEPTIONS with
the reason, and is an error once it holds. What cannot be checked here is declared in SKIPPED.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan.api import NetworkSpec, PluginError
from transgan.registry import Registered, Registry
from transgan.testing import CHECKERS, check

#: Options of any plugin that are set to these values, so that networks are small.
SMALL = {"width": 4, "widest": 8, "blocks": 1, "layers": 2, "downs": 2}
#: One axis, for networks of sequences.
SEQUENCE = NetworkSpec(35, 35, 0, (128,), ("a", "b", "c"), ("first", "second"))
#: Frames, height and width, for networks of clips.
CLIPS = NetworkSpec(3, 3, 0, (3, 32, 32), ("a", "b", "c"), ("first", "second"))
FRAMEWISE = ("framewise_resnet", "framewise_unet", "framewise_residual_unet")
STYLED = NetworkSpec(3, 3, 0, (32, 32), ("a", "b"), ("first",))


def codes(x: Tensor, **conditions: Any) -> Tensor:
    """An encoder of codes of length 8."""
    return x.flatten(1)[:, :8]


def style_codes(x: Tensor, **conditions: Any) -> Tensor:
    """A mapping network or style encoder, to style codes of length 64."""
    return x.flatten(1).repeat(1, 8)[:, :64]


def two_codes(x: Tensor, **conditions: Any) -> tuple[Tensor, Tensor]:
    """An encoder of means and logarithms of variances."""
    return codes(x), codes(-x)


def layered(x: Tensor, layers: Any = None, **conditions: Any) -> Any:
    """A generator that returns its layers."""
    y = torch.tanh(x * torch.ones(1, requires_grad=True).to(x))
    return y if layers is None else [x for _ in layers]


LOGITS = torch.linspace(-1, 1, 8).reshape(4, 2).requires_grad_()
ATTENDED = ("attended", "attended_identity")


def attended(x: Tensor, **conditions: Any) -> tuple[Tensor, Tensor, Tensor]:
    """A generator with attention: a translation, logits, and a map of attention."""
    y = torch.tanh(x * torch.ones(1, requires_grad=True).to(x))
    return y, x.flatten(2).mean(2)[:, :2], x[:, :1].abs()


def frames(first: int) -> Any:
    """A function that draws a clip, as synthetic sources have them."""

    def draw(count: int, step: int, side: int) -> np.ndarray:
        return np.random.default_rng(first).integers(0, 256, (count, side, side, 3), dtype=np.uint8)

    return draw


#: What a plugin is given beside SMALL, by kind and name: `options`, and keywords of `check`.
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("discriminators", "pair_energy"): {
        "inputs": {"x": torch.linspace(-1, 1, 4 * 13 * 32 * 32).reshape(4, 13, 32, 32)}
    },
    ("losses", "bridge_entropy"): {"inputs": {"remaining": torch.tensor([1.0, 0.8, 0.4, 0.2])}},
    ("discriminators", "code"): {"inputs": {"x": torch.linspace(-1, 1, 32).reshape(4, 8)}},
    ("encoders", "stargan_v2_mapping"): {"inputs": {"x": torch.linspace(-1, 1, 64).reshape(4, 16)}},
    ("generators", "stargan_v2"): {"conditions": {"code": torch.linspace(-1, 1, 256).reshape(4, 64)}},
    ("losses", "code_divergence"): {"inputs": {"encoded": (torch.rand(4, 8), torch.rand(4, 8))}},
    ("losses", "lecam"): {"inputs": {"buffers": {"real": torch.tensor(0.5), "fake": torch.tensor(-0.5)}}},
    ("losses", "perceptual"): {
        "options": {"encoder": "features"},
        "networks": {"features": lambda x, **conditions: [x, x[:, :1]]},
    },
    ("nodes", "augmented_translation"): {"networks": {"code": codes}},
    ("nodes", "bicycle_translation"): {"networks": {"code": two_codes}},
    ("nodes", "stargan_v2_translation"): {"networks": {"mapping": style_codes, "style": style_codes}},
    **{("generators", name): {"spec": SEQUENCE} for name in ("gated_1d", "gated_2_1_2d", "residual_1d")},
    ("discriminators", "gated_patch"): {"spec": SEQUENCE},
    ("discriminators", "patch_1d"): {"spec": SEQUENCE},
    **{("generators", name): {"spec": CLIPS} for name in FRAMEWISE},
    **{("discriminators", name): {"spec": CLIPS} for name in ("framewise_patch", "framewise_pixel")},
    ("encoders", "next_frame"): {"spec": CLIPS},
    ("nodes", "recycle_translation"): {
        "spec": CLIPS,
        "networks": {f"predictor.{end}": lambda x, **conditions: x[:, :, -1:] for end in ("source", "target")},
    },
    ("nodes", "ugatit_translation"): {"networks": {"generator": attended}},
    ("losses", "class_activation"): {
        "inputs": {each: (torch.rand(4, 3, 8, 8), LOGITS, torch.rand(4, 1, 4, 4)) for each in ATTENDED}
    },
    ("generators", "uvcgan2"): {"options": {"features": 8, "heads": 2}},
    ("losses", "anchor"): {"networks": {"generator": layered}},
    ("metrics", "attention_in_change"): {"inputs": {"attention": torch.rand(4, 1, 8, 8) * 2 - 1}},
    ("metrics", "discriminator_auc"): {"options": {"steps": 5}},
    ("metrics", "flicker"): {"spec": CLIPS},
    ("media", "clip"): {"files": [frames(0), frames(1)]},
    ("conditionings", "planes"): {"options": {"of": "edges"}, "conditions": {"edges": torch.rand(4, 1, 32, 32)}},
    ("nodes", "pix2pixhd_translation"): {"inputs": {"source_boundaries": torch.zeros(4, 1, 32, 32)}},
    ("sources", "synthetic_identities"): {"selections": {"a": {"person": 9}, "b": {"person": 26}}},
    ("sources", "synthetic_streets"): {"selections": {"a": "labels", "b": "picture"}},
    ("sources", "synthetic_scenes"): {"selections": {"a": {"hue": [0.0, 1.0]}, "b": {"ground": "dark"}}},
    ("sources", "synthetic_faces"): {"selections": {"young": {"age": [20, 30]}, "old": {"age": [50, 60]}}},
    ("sources", "synthetic_colours"): {"selections": {"a": {"grid": 2}, "b": {"ring": 3}}},
    ("nodes", "unsb_translation"): {"inputs": {"passes": 2}},
    ("conditionings", "time"): {"conditions": {"time": torch.rand(4)}},
    ("sources", "synthetic_shapes"): {"selections": {"a": {"fill": "outline"}, "b": {"hue": 0.3}}},
    ("sources", "synthetic_voices"): {"selections": {"a": "low", "b": "high"}},
}
#: What does not hold for a plugin, by kind, name and check.
EXCEPTIONS: dict[tuple[str, str], dict[str, str]] = {
    **{
        ("generators", name): {"range": "acoustic features are not bounded"}
        for name in ("gated_1d", "gated_2_1_2d", "residual_1d")
    },
    ("generators", "stargan_v2"): {"range": "as published, it ends without tanh"},
    **{
        ("metrics", name): {"direction": "figures are named after the network, of which features of its own say little"}
        for name in ("frechet", "kernel", "diversity", "content", "inception_score")
    },
    ("losses", "code_reconstruction"): {"use": "the fake says only the device of the 0 of translations without a code"},
    ("losses", "bridge_entropy"): {"mean": "as published, it has the logarithm of a sum over the batch"},
    ("losses", "modulation"): {"mean": "the spectrum is averaged over the batch before its logarithm is taken"},
    ("losses", "preserve"): {"use": "the option `like` says whether the source or the target is used"},
    ("generators", "pix2pixhd"): {"gradients": "each stage has a last layer of its own, and the finished network its"},
    ("metrics", "content_kept"): {"batches": "a sample is compared with another one of its batch"},
}
#: Plugins that are not checked here, and why; their own tests are in tests/plugins.
SKIPPED: dict[tuple[str, str], str] = {
    ("generators", "unit"): "its nodes call it in two halves",
    ("losses", "patch_nce"): "it takes the activations of a generator",
    ("losses", "distillation"): "it takes a trained model",
    ("metrics", "label_kept"): "it takes labelled samples",
    ("metrics", "modes"): "it takes labelled samples",
    ("metrics", "apparent_label"): "it takes labelled samples",
    ("metrics", "landmarks_moved"): "it takes weights that are downloaded",
    ("metrics", "conversion"): "it takes recordings",
    ("media", "voice"): "it takes recordings",
    ("region_detectors", "faces"): "it takes a photograph of a face",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures in two folders, a table of their labels, and the same pictures as arrays."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = ["file,mood"]
    for domain in ("a", "b"):
        (root / domain).mkdir()
        pictures = rng.integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)
        np.savez(root / f"{domain}.npz", images=pictures)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(root / domain / f"{i}.png")
            rows.append(f"{domain}/{i}.png,{'calm' if domain == 'a' else 'glad'}")
    (root / "utk").mkdir()
    for age in (21, 24, 52, 57):
        Image.fromarray(pictures[0]).save(root / "utk" / f"{age}_0_0_20170101.png")
    (root / "maps").mkdir()
    for i in range(2):
        Image.fromarray(rng.integers(0, 8, (20, 24), dtype=np.uint8)).save(root / f"maps/{i}.png")
    for domain in ("a", "b"):
        (root / "clips" / domain).mkdir(parents=True)
        first, *rest = (Image.fromarray(each) for each in rng.integers(0, 256, (12, 20, 24, 3), dtype=np.uint8))
        first.save(root / "clips" / domain / "clip.gif", save_all=True, append_images=rest, duration=40)
    (root / "labels.csv").write_text("\n".join(rows))
    return root


def on_disk(name: str, root: Path) -> dict[str, Any]:
    """Return what sources and media of files are given."""
    files = {"root": root, "suffixes": (".png",)}
    return {
        "folders": {**files, "selections": {"a": "a", "b": "b"}},
        "labelled_faces": {
            **files,
            "root": root / "utk",
            "selections": {"young": {"age": [20, 30]}, "old": {"age": [50, 60]}},
        },
        "arrays": {**files, "selections": {"a": "a.npz", "b": "b.npz"}},
        "labelled_table": {
            **files,
            "options": {"table": "labels.csv"},
            "selections": {"a": {"mood": "calm"}, "b": {"mood": "glad"}},
        },
        "clips": {"root": root / "clips", "suffixes": (".gif",), "selections": {"a": "a", "b": "b"}},
        "label_map": {"options": {"classes": 8}, "files": [root / "maps/0.png", root / "maps/1.png"]},
        "instance_boundaries": {"files": [root / "maps/0.png", root / "maps/1.png"]},
        "image": {"files": [root / "a/0.png", root / "a/1.png"]},
    }.get(name, {})


INSTALLED = [each for each in Registry.installed().candidates() if each.package == "transgan"]


#: Plugins that fit feature networks to the data, which takes seconds.
SLOW = {("metrics", name) for name in ("frechet", "kernel", "diversity", "content", "inception_score", "coverage")}


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, marks=[pytest.mark.slow] if (e.kind, e.name) in SLOW else []) for e in INSTALLED],
    ids=lambda each: f"{each.kind}-{each.name}",
)
def test_it_keeps_what_its_kind_promises(entry: Registered, folder: Path) -> None:
    key = (entry.kind, entry.name)
    if reason := SKIPPED.get(key):
        pytest.skip(reason)
    given = {**GIVEN.get(key, {}), **on_disk(entry.name, folder)}
    if entry.kind == "containers":
        given = {"files": [folder / "clips/a/clip.gif"]}
    options = {name: value for name, value in SMALL.items() if _is_whole(entry.cls, name)} | given.pop("options", {})
    try:
        check(entry.cls, options, except_for=EXCEPTIONS.get(key), **given)
    except PluginError as error:
        pytest.skip(str(error))
    except AssertionError as error:
        if 'pip install "transgan[' in str(error):
            pytest.skip(str(error).splitlines()[1])
        raise


def _is_whole(cls: type[Any], name: str) -> bool:
    field = cls.Options.model_fields.get(name)
    return field is not None and field.annotation is int


def test_nothing_is_declared_for_what_is_not_there() -> None:
    declared = {*GIVEN, *EXCEPTIONS, *SKIPPED}
    assert declared <= {(each.kind, each.name) for each in INSTALLED}


def test_every_kind_has_a_check(registry: Registry) -> None:
    from transgan.registry import KINDS

    assert CHECKERS.keys() == KINDS.keys()
