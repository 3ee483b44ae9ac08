"""Further inputs of samples, such as masks: found by name, decoded by their own media, augmented as their samples."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_standard.nodes import TranslationNodes

from transgan.api import Clock, Loss, Metric, Register, hookimpl, node
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.data.unreadable import exclude_unreadable
from transgan.dry_run import describe
from transgan.errors import DataError, RecipeError
from transgan.evaluation.evaluate import Evaluation, held_out_batches
from transgan.plan import Plan
from transgan.training import Engine
from transgan.training.trace import trace_phases

RECIPE = """
[data]
source = "folders"
media = { use = "image", flip = true, enlarge = 1.5 }
size = 16
held_out = 0.3
cache = false
[domains]
a = "a"
b = "b"
[inputs.mask]
domains = { a = "masks" }
media = { channels = 1, labels = true }
[tasks]
t = { between = ["a", "b"] }
[train]
steps = 60
batch = 6
[generators.g]
use = "resnet"
per = "translation"
width = 2
blocks = 0
downs = 1
[losses]
cycle = 1.0
masked = { weight = 1.0, translations = ["a -> b"] }
[[phases]]
side = "generator"
"""
COUNT = 24


class Masked(Loss):
    """Keeps the translation as its source outside of the mask."""

    def for_generator(self, source: Tensor, fake: Tensor, source_mask: Tensor) -> Tensor:
        return ((fake - source).abs() * (source_mask < 0)).mean()


class OfPairs(Loss):
    def for_generator(self, pair_fake: Tensor, pair_target: Tensor, pair_source_mask: Tensor) -> Tensor:
        return ((pair_fake - pair_target).abs() * (pair_source_mask < 0)).mean()


class OwnMask(TranslationNodes):
    """Nodes one of which has the name of a further input."""

    @node
    def source_mask(self, source: Tensor) -> Tensor:
        return source


class MaskShare(Metric):
    """The share of each source that its mask covers."""

    def reset(self) -> None:
        self.shares: dict[Any, list[float]] = {}

    def update(self, translation: Any, source_mask: Tensor) -> None:
        shares = (source_mask > 0).float().mean((1, 2, 3)).tolist()
        self.shares.setdefault(translation, []).extend(shares)

    def compute(self) -> dict[Any, dict[str, float]]:
        return {each: {"mask_share": sum(shares) / len(shares)} for each, shares in self.shares.items()}


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("masked", Masked)
        register("of_pairs", OfPairs)

    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("own_mask", OwnMask)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("mask_share", MaskShare)


def labels_of(number: int, size: int = 24) -> np.ndarray:
    """Return a label map whose values are the picture's number above the diagonal, and 200 more below it."""
    rows, columns = np.indices((size, size))
    return np.where(rows + number % 5 > columns, number, 200 + number).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that are grey versions of their label maps, so that both sides can be compared pixel by pixel."""
    root = tmp_path_factory.mktemp("pictures")
    for name in ("a", "b", "masks", "few", "wide"):
        (root / name).mkdir()
    for number in range(COUNT):
        labels = labels_of(number)
        for folder in ("a", "b"):
            Image.fromarray(np.stack([labels] * 3, -1)).save(root / folder / f"{number:02}.png")
        Image.fromarray(labels).save(root / "masks" / f"{number:02}.png")
        Image.fromarray(np.repeat(labels, 2, 1)).save(root / "wide" / f"{number:02}.png")
        if number % 4:
            Image.fromarray(labels).save(root / "few" / f"{number:02}.png")
    return root


@pytest.fixture
def plan_of(planned: Any, pictures: Path) -> Callable[..., Plan]:
    return lambda *overrides, text=RECIPE: planned(text, Plugin(), (f'data.root="{pictures}"', *overrides))


@pytest.fixture
def batches(plan_of: Callable[..., Plan]) -> Iterator[Callable[..., Batches]]:
    built: list[Batches] = []

    def build(*overrides: str, rank: int = 0, world: int = 1) -> Batches:
        plan = plan_of(*overrides)
        built.append(Batches(plan, Domains(plan), rank, world))
        return built[-1]

    yield build
    for each in built:
        each.pool.shutdown()


def levels(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().int()


@pytest.mark.parametrize(
    "media",
    [
        "{flip=true, enlarge=1.5}",
        "{flip=true, fit='none'}",
        "{flip=true, fit='width', enlarge=1.25}",
        "{rotate=30.0, zoom=0.2, enlarge=1.25}",
        "{fit='crop'}",
    ],
)
def test_a_mask_is_augmented_as_its_sample(batches: Any, media: str) -> None:
    """Where pixels are not mixed either, a picture that equals its mask equals it after the same augmentation."""
    found = batches(f"data.media={media}", "data.media.use='image'", "data.media.labels=true")
    translation = found.plan.translations[0]
    variants = set()
    for step in range(8):
        [inputs] = found.at(step)
        source, mask = inputs[translation, "source"], inputs[translation, "source_mask"]
        assert mask.shape == (6, 1, 16, 16)
        assert torch.equal(source, mask.expand(-1, 3, -1, -1))
        variants |= {tuple(x.flatten().tolist()) for x in mask}
    assert "crop" in media or len(variants) > COUNT


def test_labels_are_never_mixed(batches: Any) -> None:
    """The kind: values between those of the file, from resizing down and up, and from rotation."""
    for media in ("{flip=true, enlarge=1.25}", "{rotate=30.0, zoom=0.2}", "{enlarge=2.5}"):
        mixed = set()
        for labels in ("true", "false"):
            found = batches(f"data.media={media}", "data.media.use='image'", f"inputs.mask.media.labels={labels}")
            values: set[int] = set()
            for step in range(4):
                [inputs] = found.at(step)
                values |= set(levels(inputs[found.plan.translations[0], "source_mask"]).flatten().tolist())
            mixed.add(bool(values - {n + add for n in range(COUNT) for add in (0, 200)}))
            assert labels == "false" or not values - {n + add for n in range(COUNT) for add in (0, 200)}
        assert mixed == {True, False}


@pytest.mark.parametrize(("world", "count"), [(2, 1), (1, 3)])
def test_processes_and_micro_batches_divide_masks(batches: Any, world: int, count: int) -> None:
    whole = batches()
    ranks = [batches(f"train.accumulate={count}", rank=r, world=world) for r in range(world)]
    for step in (0, 7):
        [expected] = whole.at(step)
        shares = [rank.at(step) for rank in ranks]
        key = (whole.plan.translations[0], "source_mask")
        assert torch.equal(torch.cat([shares[r][i][key] for i in range(count) for r in range(world)]), expected[key])


def test_masks_change_no_stream_and_are_read_only_where_they_are_used(batches: Any) -> None:
    found, without = batches(), batches("losses.masked=false")
    [one], [other] = found.at(2), without.at(2)
    assert one.keys() - other.keys() == {(found.plan.translations[0], "source_mask")} | (
        {(found.plan.translations[1], "target_mask")}  # the same tensor, of the same samples
    )
    assert all(torch.equal(one[key], value) for key, value in other.items() if isinstance(value, Tensor))
    assert not without.domains.further and "[inputs.mask] is used by no" in without.domains.warnings[0]


def test_targets_pairs_and_random_targets_have_masks_too(batches: Any) -> None:
    both = "inputs.mask.domains={a='masks', b='masks'}"
    labels = ("data.media.labels=true", both)
    for overrides, roles in (
        (("losses={of_pairs=1.0}", "tasks.t.paired='some'"), ["pair_source"]),
        (("losses={of_pairs=1.0}", "tasks.t.paired=true"), ["pair_source", "source"]),
        (("losses.masked={}", "generators.g.per='run'", "tasks.t.targets='random'"), ["source"]),
    ):
        found = batches(*labels, *overrides)
        [inputs] = found.at(1)
        for translation in found.plan.translations:
            for role in roles:
                mask = inputs[translation, f"{role}_mask"]
                assert torch.equal(inputs[translation, role], mask.expand(-1, 3, -1, -1))
        losses = Engine(found.plan).train_step(found.at(0), found.clock(0))
        assert all(torch.isfinite(value) for value in losses.values())


def test_held_out_samples_have_their_masks_and_a_metric_uses_them(plan_of: Any) -> None:
    plan = plan_of("metrics.mask_share=true", "data.media.labels=true", "data.media.flip=false")
    domains = Domains(plan)
    forward, backward = plan.directions
    expected = []
    for samples, inputs in held_out_batches(plan, domains, forward, 4, 100, "cpu", Clock()):
        mask = inputs[forward.planned, "source_mask"]
        assert torch.equal(inputs[forward.planned, "source"], mask.expand(-1, 3, -1, -1))
        for sample, each in zip(samples, levels(mask), strict=True):
            assert set(each.flatten().tolist()) == {int(sample.key), 200 + int(sample.key)}
            expected.append(float((each > 127).float().mean()))
    evaluation = Evaluation(plan, domains)
    figures = evaluation(Engine(plan).networks, Clock())
    assert figures == {str(forward.translation): {"mask_share": pytest.approx(sum(expected) / len(expected), rel=1e-5)}}
    [missing] = [each for each in evaluation.warnings if "mask_share" in each]
    assert f"no figures for {backward.translation}: it needs 'source_mask', and these samples have no such" in missing


def test_a_loss_of_a_mask_trains_only_where_it_looks(plan_of: Any) -> None:
    plan = plan_of("losses.cycle=false")
    engine, domains = Engine(plan), Domains(plan)
    found = Batches(plan, domains)
    [inputs] = found.at(0)
    translation = plan.translations[0]
    source, mask = inputs[translation, "source"], inputs[translation, "source_mask"]
    fake = engine.networks["g.a-b"](source, task=torch.zeros(6), domain=torch.zeros(6))
    losses = engine.train_step([inputs], found.clock(0))
    by_hand = float(((fake.detach() - source).abs() * (mask < 0)).sum() / source.numel())
    assert float(losses[f"{translation}/loss_G/masked"]) == pytest.approx(by_hand, rel=1e-5)
    found.pool.shutdown()


def test_a_discriminator_may_see_a_mask_beside_its_input(plan_of: Any) -> None:
    patch = 'd = { use = "patch", width = 4, layers = 1, given = "source_mask", translations = ["a -> b"] }'
    text = RECIPE.replace("[losses]", f"[discriminators]\n{patch}\n[losses]\nlsgan = 1.0")
    plan = plan_of("phases=[{side='generator'}, {side='discriminator'}]", text=text)
    assert plan.networks["d.b"].spec.inputs == 3 + 1
    trace_phases(plan, plan.stages[0])


def test_check_takes_a_mask_through_its_media(plan_of: Any) -> None:
    assert "It will run." in list(describe(plan_of()))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["losses.masked.translations=['*']"],
            r"\[losses\] masked: needs 'source_mask' in \[t: b -> a\], and \[inputs.mask\] has no files for "
            "domain 'b'; add domains.b there, or restrict it by 'translations'",
        ),
        (["inputs.mask.domains.c='masks'"], r"inputs.mask.domains.c\": .*: no domain 'c'. Known: a, b"),
        (["inputs.mask.media.chanels=1"], "chanels\": 1}: unknown key. Did you mean 'channels'"),
        (["inputs.mask.media=3"], "found 3 .*expected a string or a table"),
        (["inputs.mask=false"], "found false, expected a table"),
        (["inputs.domain={domains={a='masks'}}"], "'domain' cannot be part of an argument's name"),
        (["inputs.mask.media.fit='none'", "data.media.enlarge=1.0"], "sizes in another way than its samples"),
        (["inputs.mask.domains={}"], "inputs.mask.domains.*expected a table that is not empty"),
        (
            ["nodes.use=own_mask"],
            r"mask\W+gives 'source_mask', and the set of nodes 'own_mask' has a node of that name; rename it",
        ),
    ],
)
def test_mistakes_are_found_before_data_is_read(plan_of: Any, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(*overrides)


def test_an_input_that_is_not_in_the_recipe_is_an_unknown_name(plan_of: Any) -> None:
    with pytest.raises(RecipeError, match="loss 'masked' needs 'source_mask'; there is no such node or batch input"):
        plan_of("inputs={}")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("'few'", r"\[inputs.mask\] a: 6 of 24 samples have no file of the same name: 00, 04, 08, 12, 16 and 1 more"),
        ("'nowhere'", r"\[inputs.mask\] a: there is no folder '.*/nowhere'"),
        ("{path='masks', half='top'}", r"\[inputs.mask\] a: half = 'top'; expected 'left' or 'right'"),
        ("{pth='masks'}", r"\[inputs.mask\] a: found .*; expected a folder"),
    ],
)
def test_missing_files_are_counted_in_one_line(plan_of: Any, selection: str, message: str) -> None:
    with pytest.raises((DataError, Exception), match=message) as error:
        Domains(plan_of(f"inputs.mask.domains.a={selection}"))
    assert "\n" not in str(error.value)


def test_one_half_of_a_picture_may_be_the_mask(batches: Any) -> None:
    found = batches("inputs.mask.domains.a={path='wide', half='right'}", "data.media.labels=true")
    [inputs] = found.at(0)
    assert inputs[found.plan.translations[0], "source_mask"].shape == (6, 1, 16, 16)


def test_held_out_samples_of_the_same_names_have_files_of_their_own(plan_of: Any, pictures: Path) -> None:
    domain = "domains={a={path='a', held_out='b'}, b='others'}"
    with pytest.raises(
        DataError, match=r"\[inputs.mask\] a: .*names in common \(00, 01, 02 and 21 more\); give held_out"
    ):
        Domains(plan_of(domain, f"data.root='{copies(pictures)}'"))
    both = "inputs.mask.domains.a={path='masks', held_out='held'}"
    domains = Domains(plan_of(domain, both, f"data.root='{copies(pictures)}'"))
    for side, folder in (("samples", "masks"), ("held_out", "held")):
        assert {Path(s.location).parent.name for s in getattr(domains["a.mask"], side)} == {folder}


def copies(pictures: Path) -> Path:
    """Return a copy of the pictures in which no two domains have a file in common."""
    root = pictures.parent / f"{pictures.name} copies"
    if not root.exists():
        for name, source in (("a", "a"), ("masks", "masks"), ("held", "masks")):
            (root / name).mkdir(parents=True)
            for path in (pictures / source).iterdir():
                (root / name / path.name).write_bytes(path.read_bytes())
        for name in ("b", "others"):
            (root / name).mkdir()
            for path in (pictures / "b").iterdir():
                Image.fromarray(255 - np.asarray(Image.open(path)) // (1 + (name == "b"))).save(root / name / path.name)
    return root


def test_pictures_that_are_cut_at_random_and_their_masks_have_the_same_size(batches: Any) -> None:
    found = batches("data.media={use='image', fit='none'}", "inputs.mask.domains.a='wide'")
    with pytest.raises(
        DataError, match=r"\[inputs.mask\] a: the file of '\d+' is \(24, 48\), and the sample \(24, 24\)"
    ):
        found.at(0)


def test_a_sample_whose_mask_cannot_be_read_is_not_used(plan_of: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "masks"):
        (tmp_path / name).mkdir()
        for i in range(120):
            Image.new("L", (8, 8), i).save(tmp_path / name / f"{i:03}.png")
    (tmp_path / "masks" / "007.png").write_bytes(b"")
    domains = Domains(plan_of(f'data.root="{tmp_path}"'))
    exclude_unreadable(domains)
    for name in ("a", "a.mask"):
        keys = [sample.key for sample in (*domains[name].samples, *domains[name].held_out)]
        assert len(keys) == 119 and "007" not in keys
    assert [s.key for s in domains["a"].samples] == [s.key for s in domains["a.mask"].samples]
    [warning] = [each for each in domains.warnings if "cannot be read" in each]
    assert "[domains] a: not used" in warning and "masks/007.png: an empty file" in warning


def test_a_label_map_with_a_palette_has_its_indices(plan_of: Any, pictures: Path, tmp_path: Path) -> None:
    image = Image.frombytes("P", (24, 24), labels_of(3).tobytes())
    image.putpalette([(7 * i) % 256 for i in range(768)])
    image.save(tmp_path / "labels.png")
    equal = []
    for labels in ("true", "false"):
        plan = plan_of("data.media.enlarge=1.0", f"inputs.mask.media.labels={labels}")
        decoded = plan.input_media["a.mask"].at(24).decode(tmp_path / "labels.png")
        equal.append(np.array_equal(decoded[..., 0], labels_of(3)))
    assert equal == [True, False]
