"""What a user may vary of a translation: samples, seed, reference, strength; and what a model cannot do."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan.api import UsageError
from transgan.inference.passes import Batch, Request
from transgan.inference.translator import Translator
from transgan.inference.variation import Variation
from transgan.plan import Direction
from transgan.storage import Checkpoint

CODES = """\
[data]
source = { use = "synthetic_shapes", count = 24 }
size = 16
[domains]
outline = { fill = "outline" }
filled = { fill = "filled", hue = [0.0, 1.0], free = true }
[tasks]
paint = { between = ["outline", "filled"] }
[train]
steps = 2
batch = 2
[nodes]
use = "munit_translation"
numbers = 3
[generators.munit]
per = "domain"
width = 4
downs = 1
blocks = 1
style_downs = 2
numbers = 3
hidden = 8
[discriminators.patch]
width = 4
layers = 1
[losses]
lsgan = 1.0
code_reconstruction = 1.0
[metrics]
factor_coverage = { samples = 2 }
reference_style = true
"""


@pytest.fixture(scope="module")
def run_with_codes(
    trained: Callable[..., Checkpoint], recipe_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("codes") / "run"
    trained(recipe_file(CODES), folder)
    return folder


@pytest.fixture(scope="module")
def codes(run_with_codes: Path) -> Translator:
    """A model with latent codes, which takes references."""
    return Translator.from_pretrained(run_with_codes, "cpu")


@pytest.fixture(scope="module")
def plain(run: Path) -> Translator:
    """A model without, of equal channels: its change can be scaled."""
    return Translator.from_pretrained(run, "cpu")


def run(translator: Translator, x: Tensor, direction: Direction, variation: Variation) -> Tensor:
    """Translate samples in one pass."""
    source, target = (dict(translator.typical[getattr(direction.translation, end)]) for end in ("source", "target"))
    assert not source and not target  # these models have no attributes
    return translator._passes.run(Batch(x), Request(direction, source, target, variation))


def picture(seed: int, size: int = 20) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def saved(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def pixels(image: Any) -> list[int]:
    return list(np.asarray(image).ravel())


def test_samples_differ_and_the_same_seed_gives_the_same_ones(codes: Translator) -> None:
    x = picture(0)
    first, again, other = (codes(x, to="filled", samples=3, seed=seed) for seed in (7, 7, 8))
    assert len(first) == 3 and pixels(first[0]) != pixels(first[1]) != pixels(first[2])
    assert [pixels(y) for y in first] == [pixels(y) for y in again]
    assert all(pixels(y) != pixels(z) for y, z in zip(first, other, strict=True))
    assert pixels(codes(x, to="filled", seed=7)) == pixels(first[0])


def test_files_have_codes_of_their_own_whatever_is_translated_beside_them(codes: Translator, tmp_path: Path) -> None:
    """The kind: results that depend on the order or the number of files."""
    a, b = saved(picture(0), tmp_path / "a.png"), saved(picture(0), tmp_path / "b.png")
    of_a, of_b = codes(a, to="filled", seed=1), codes(b, to="filled", seed=1)
    assert pixels(of_a) != pixels(of_b)
    assert pixels(codes(a, to="filled", samples=2, seed=1)[0]) == pixels(of_a)


def test_several_files_have_the_codes_of_each(codes: Translator, tmp_path: Path) -> None:
    paths = [saved(picture(0), tmp_path / f"{name}.png") for name in "abc"]
    found = codes(paths, to="filled", samples=2, seed=1, batch_size=2)
    for path, each in zip(paths, found, strict=True):
        alone = codes(path, to="filled", samples=2, seed=1)
        gaps = [np.abs(np.subtract(pixels(y), pixels(z), dtype=int)).max() for y, z in zip(each, alone, strict=True)]
        assert max(gaps) <= 1
    assert pixels(found[0][0]) != pixels(found[1][0]) != pixels(found[1][1])


def test_items_of_a_sequence_have_one_code(codes: Translator, tmp_path: Path) -> None:
    paths = [saved(picture(0), tmp_path / f"{name}.png") for name in "ab"]
    for items in (paths, [picture(0), picture(0)]):
        one, two = codes.translate_sequence(items, to="filled", seed=1)
        assert pixels(one) == pixels(two) == pixels(codes(picture(0), to="filled", seed=1))
    assert pixels(next(codes.translate_sequence(paths, to="filled", seed=2))) != pixels(one)


def test_chunks_of_one_item_share_its_code(codes: Translator) -> None:
    direction = codes.choose("filled")
    x = torch.zeros(3, 3, 16, 16)
    y = run(codes, x, direction, Variation(seed=3, name="a"))
    assert torch.equal(y[0], y[1]) and torch.equal(y[0], y[2])


def test_a_reference_replaces_the_code(codes: Translator) -> None:
    x = picture(0)
    by = [codes(x, to="filled", reference=picture(seed)) for seed in (1, 2)]
    assert pixels(by[0]) != pixels(by[1])
    assert pixels(codes(x, to="filled", reference=picture(1), seed=9)) == pixels(by[0])


def test_a_strength_scales_the_change(plain: Translator) -> None:
    direction = plain.choose("old")
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    full = run(plain, x, direction, Variation())
    for strength in (0.0, 0.5, 1.0, 1.5):
        y = run(plain, x, direction, Variation(strength=strength))
        torch.testing.assert_close(y, x + strength * (full - x))


def test_no_change_is_a_copy_at_the_own_size_and_else_what_the_model_sees(plain: Translator) -> None:
    """As the option's help says of 0."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    copied = plain(noise, to="old", strength=0, native=True)
    assert pixels(copied) == pixels(noise)
    seen = np.asarray(noise.resize((32, 32), Image.Resampling.BICUBIC).resize((96, 96), Image.Resampling.BICUBIC))
    difference = np.abs(np.asarray(plain(noise, to="old", strength=0), np.float32) - seen)
    assert difference.mean() < 1 < np.abs(np.asarray(noise, np.float32) - seen).mean()


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ("plain", {"samples": 2}, "^samples: this model has no latent codes: .* It can: strength$"),
        ("plain", {"seed": 2}, "^seed: this model has no latent codes: .* It can: strength$"),
        ("plain", {"reference": picture(0)}, "^reference: this model takes no style .* It can: strength$"),
        ("codes", {"strength": 1.0}, "^strength: .* cannot scale .* It can: samples, seed, reference$"),
        ("plain", {"passes": 2}, "^passes: .* does not translate by a number of passes .* It can: strength$"),
        ("codes", {"samples": 0}, "^samples=0: expected a number from 1 to 1,000"),
        ("codes", {"samples": 1001}, "^samples=1001: expected a number from 1 to 1,000"),
        ("codes", {"seed": -1}, "^seed=-1: expected a whole number of 0 or more"),
        ("plain", {"strength": float("nan")}, "^strength=nan: expected a number from 0 to 10"),
        ("plain", {"strength": -0.1}, "^strength=-0.1: expected a number from 0 to 10"),
        ("plain", {"strength": "a"}, '^strength="a": expected a number'),
        ("codes", {"samples": 1.5}, "^samples=1.5: expected a number"),
        ("codes", {"seed": True}, "^seed=True: expected a number"),
    ],
)
def test_what_a_model_cannot_do_is_answered_with_what_it_can(
    request: pytest.FixtureRequest, model: str, asked: dict[str, Any], message: str
) -> None:
    translator: Translator = request.getfixturevalue(model)
    with pytest.raises(UsageError) as caught:
        translator(picture(0, 32), to="old" if model == "plain" else "filled", **asked)
    assert re.search(message, str(caught.value)), caught.value


def test_previews_and_figures_know_several_answers(codes: Translator, tmp_path_factory: pytest.TempPathFactory) -> None:
    from transgan.data.domains import Domains
    from transgan.evaluation.evaluate import Evaluation, preview_columns
    from transgan.plan import make_plan
    from transgan.recipe import parse_recipe
    from transgan.registry import Registry

    plan = make_plan(parse_recipe(CODES), Registry.installed())
    domains = Domains(plan)
    columns = preview_columns(plan, domains, codes.networks, 2, "cpu", codes.clock)
    names = [name.replace("\n", " ") for name in columns if "filled" in name]
    for title in ("(translated)", "(code 2)", "(code 3)", "(reference)", "(its style)"):
        assert any(title in name for name in names), title
    one, two = (columns[f"paint: -> filled\n{title}"].items for title in ("(translated)", "(code 2)"))
    assert not torch.equal(one[0], two[0])
    evaluation = Evaluation(plan, domains)
    figures = evaluation(codes.networks, codes.clock)["paint: outline -> filled"]
    assert {"factor_coverage", "reference_style"} <= figures.keys()


def test_the_command_writes_a_file_for_each_sample_and_replaces_no_input(
    run_with_codes: Path, run_cli: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "deep/a.png"):
        saved(picture(0), tmp_path / "in" / name)
    saved(picture(1), tmp_path / "in/a-1.png")
    words = ["translate", run_with_codes, tmp_path / "in", "--to", "filled", "--samples", 2, "--seed", 3]
    assert run_cli(*words, "-o", tmp_path / "out") == 0
    assert "3 of 3 translated (paint: outline -> filled; 2 results each)" in capsys.readouterr().out
    out = tmp_path / "out"
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}
    assert sorted(found) == ["a-1-1.png", "a-1-2.png", "a-1.png", "a-2.png", "deep/a-1.png", "deep/a-2.png"]
    assert len(set(found.values())) == 6
    before = (tmp_path / "in/a-1.png").read_bytes()
    assert run_cli(*words, "-o", tmp_path / "in", "--overwrite") == 2
    assert "a-1.png would be overwritten by the result of" in capsys.readouterr().err
    assert (tmp_path / "in/a-1.png").read_bytes() == before
    one = ["translate", run_with_codes, tmp_path / "in/a.png", "--to", "filled", "--seed", 3]
    assert run_cli(*one, "-o", tmp_path / "one") == 0  # the same whatever is translated beside it
    assert (tmp_path / "one/a.png").read_bytes() == found["a-1.png"]
    many = [*words[:-3], 6, "--seed", 3, "-o", tmp_path / "many"]
    assert run_cli(*many) == 0  # written in parts
    out = tmp_path / "many"
    written = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}
    assert len(written) == len(set(written.values())) == 18
    assert found.items() <= written.items()
