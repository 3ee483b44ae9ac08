"""Synthetic shapes: reproducible, as closed forms say, the same content in every domain, with exact counterparts."""

import colorsys
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transgan_images.factors import circular_distance, read_factors
from transgan_images.media import ImageMedia, ImageOptions
from transgan_images.metrics import TargetShare
from transgan_images.shapes import (
    BRIGHT,
    DARK,
    FILLS,
    KINDS,
    MARGIN,
    ROUNDING,
    Content,
    ShapesOptions,
    SyntheticShapes,
    colour,
    draw,
)

from transgan.api import DataError, Domain, Media, Sample, UsageError

ALL = [0.0, 1.0]


def source(count: int = 200, seed: int = 0) -> SyntheticShapes:
    return SyntheticShapes(ShapesOptions(count=count, seed=seed), None)


def hues(samples: list[Sample]) -> np.ndarray:
    return np.array([sample.location.hue for sample in samples])


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return distances on a circle of length 1."""
    gap = np.abs(a - b) % 1
    return np.minimum(gap, 1 - gap)


def covered(content: Content, fill: str, size: int) -> np.ndarray:
    """Return the covered share of pixels, (size, size), of a picture in dark grey, whose background is known."""
    at = (np.arange(size) + 0.5) * 2 / size - 1
    background = content.level + content.slope[0] * at + content.slope[1] * at[:, None]
    share: np.ndarray = (background - draw(content, fill, None, size)[..., 0] / 255) / (background - DARK)
    return share


def of_kind(kind: str) -> Content:
    return next(each for i in range(100) if (each := Content.of(4, i)).kind == kind)


# Drawing


def test_contents_follow_from_seed_and_number_on_every_machine() -> None:
    content = Content.of(0, 7)
    assert content == Content.of(0, 7)
    assert content.kind == "spark"
    found = [*content.centre, content.radius, content.angle, content.level, *content.slope, content.u]
    expected = [0.0539207524, -0.2583615698, 0.5468999133, 2.5909954298, 0.7816253366, -0.0426266356, -0.0065687089]
    assert found == pytest.approx([*expected, 0.5015758353], abs=1e-9)
    contents = [Content.of(seed, index) for seed in (0, 1) for index in range(50)]
    assert len(set(contents)) == 100
    assert {each.kind for each in contents} == set(KINDS)


def test_colours_are_those_of_hsv() -> None:
    for hue in np.linspace(0, 1, 25):
        assert colour(float(hue)) == pytest.approx(colorsys.hsv_to_rgb(hue, 1 - DARK / BRIGHT, BRIGHT))
    assert colour(None) == (DARK, DARK, DARK)


@pytest.mark.parametrize("kind", ["disc", "triangle", "square", "hexagon"])
def test_areas_of_convex_shapes_are_those_of_steiners_formula(kind: str) -> None:
    content = of_kind(kind)
    if star := KINDS[kind]:
        points, rounding = star[0], ROUNDING * content.radius
        inner = content.radius - rounding
        polygon = points / 2 * inner**2 * math.sin(2 * math.pi / points)
        perimeter = points * 2 * inner * math.sin(math.pi / points)
        area = polygon + perimeter * rounding + math.pi * rounding**2
    else:
        area = math.pi * content.radius**2
    assert covered(content, "filled", 128).mean() * 4 == pytest.approx(area, rel=0.005)


@pytest.mark.parametrize("kind", [kind for kind, star in KINDS.items() if star])
def test_shapes_lie_where_their_content_says(kind: str) -> None:
    content, size = of_kind(kind), 512
    points, ratio = KINDS[kind] or (0, 0.0)
    inner, rounding = (1 - ROUNDING) * content.radius, ROUNDING * content.radius * size / 2
    corners = []
    for k in range(2 * points):
        radius, angle = inner * (ratio if k % 2 else 1), content.angle + k * math.pi / points
        corner = content.centre[0] + radius * math.cos(angle), content.centre[1] + radius * math.sin(angle)
        corners.append(tuple((at + 1) / 2 * size for at in corner))
    image = Image.new("1", (size, size))
    pen = ImageDraw.Draw(image)  # the star, and all that is nearer to it than the rounding
    pen.polygon(corners, fill=1)
    pen.line([*corners, corners[0]], fill=1, width=round(2 * rounding))
    for x, y in corners:
        pen.ellipse((x - rounding, y - rounding, x + rounding, y + rounding), fill=1)
    mask, expected = covered(content, "filled", size) > 0.5, np.asarray(image)
    assert (mask & expected).sum() / (mask | expected).sum() > 0.985


def test_fills_lie_within_the_shape_and_differ() -> None:
    for index in range(24):
        shares = {fill: covered(Content.of(1, index), fill, 64) for fill in FILLS}
        for fill in ("outline", "striped", "dotted"):
            assert (shares[fill] <= shares["filled"] + 0.02).all()
            assert (shares[fill] >= shares["outline"] - 0.02).all()
        areas = {fill: share.mean() for fill, share in shares.items()}
        assert areas["filled"] > 1.1 * max(areas["striped"], areas["dotted"])
        assert min(areas["striped"], areas["dotted"]) > areas["outline"]


def test_the_composition_is_the_same_at_every_size() -> None:
    for index in range(12):
        for fill in FILLS:
            content = Content.of(5, index)
            small, large = (draw(content, fill, 0.6, size).astype(float) for size in (64, 128))
            assert np.abs(small - large.reshape(64, 2, 64, 2, 3).mean((1, 3))).mean() < 1.5


def test_backgrounds_are_linear_and_grey_and_no_shape_comes_near_the_border() -> None:
    size = 100
    border = np.ones((size, size), dtype=bool)
    free = int(MARGIN * size / 2) - 1
    border[free:-free, free:-free] = False
    at = (np.arange(size) + 0.5) * 2 / size - 1
    for index in range(200):
        content = Content.of(6, index)
        background = content.level + content.slope[0] * at + content.slope[1] * at[:, None]
        assert 0.6 < background.min() < background.max() < 1
        difference = draw(content, "filled", 0.2, size) - 255 * background[..., None]
        assert np.abs(difference[border]).max() <= 0.51


def test_pictures_have_the_size_of_the_media() -> None:
    sample = source().samples("a", {"hue": 0.4})[3]
    for size, space in ((32, (32, 32)), ((48, 64), (48, 64)), ((128, 96), (128, 96))):
        media = ImageMedia(ImageOptions(), size)
        decoded = media.decode(sample.location)
        assert decoded.shape == (*space, 3)
        factors = read_factors(media.batch(torch.from_numpy(decoded.copy())[None], None, ["a"]))
        assert float(circular_distance(factors.hue, torch.tensor(0.4))) < 0.003
        assert factors.centroid[0].tolist() == pytest.approx(sample.location.content.centre, abs=0.01)
    with pytest.raises(DataError, match=r"^synthetic shape 3: size must be 16\.\.1024 pixels, not 8$"):
        sample.location(8)


# The source


def test_all_domains_have_the_same_contents_under_the_same_names() -> None:
    sketch = source().samples("sketch", {"fill": "outline"})
    painting = source().samples("painting", {"hue": ALL, "free": True})
    assert [each.key for each in sketch] == [each.key for each in painting] == sorted(each.key for each in sketch)
    assert len({each.key for each in sketch}) == 200
    assert all(a.location.content == b.location.content for a, b in zip(sketch, painting, strict=True))
    assert sketch[0].attributes == {"shape": sketch[0].location.content.kind, "fill": "outline"}
    assert painting[0].attributes["hue"] == painting[0].location.hue
    assert source(seed=1).samples("sketch", {})[0].location.content != sketch[0].location.content


@pytest.mark.parametrize("others", [1, 2, 3])
def test_other_shapes_are_blue_the_same_in_all_domains_and_touch_nothing(others: int) -> None:
    label = pytest.importorskip("scipy.ndimage").label
    crowded = SyntheticShapes(ShapesOptions(count=40, others=others), None)
    red, green = (crowded.samples(name, {"hue": hue}) for name, hue in (("red", 0.0), ("green", 1 / 3)))
    for one, other in zip(red, green, strict=True):
        a, b = (np.asarray(each.location(128), float) for each in (one, other))
        changed = (a != b).any(2)
        blue = (a[..., 2] > a[..., 0] + 60) & (a[..., 2] > a[..., 1] + 60)
        assert not (changed & blue).any()  # they do not overlap, and are the same in both
        assert label(changed)[1] == 1
        assert label(blue)[1] == others
        # Half as long, a quarter of the area, but for the pixels of the edge.
        whole = covered(Content.of(0, int(one.key[-6:])), "filled", 256).sum() / 4
        assert changed.sum() == pytest.approx(whole / 4, rel=0.25)


def test_hues_follow_from_the_shared_factor() -> None:
    u = np.array([each.location.content.u for each in source().samples("a", {})])
    for selection, expected in (
        ({"hue": ALL}, u),
        ({"hue": [0.2, 0.5]}, 0.2 + 0.3 * u),
        ({"hue": [0.9, 1.1]}, (0.9 + 0.2 * u) % 1),
        ({"hue": [-0.1, 0.1]}, (-0.1 + 0.2 * u) % 1),
        ({"hue": ALL, "turn": 0.37}, (u + 0.37) % 1),
        ({"hue": 0.3}, np.full(200, 0.3)),
        ({"hue": 1}, np.zeros(200)),
    ):
        assert distances(hues(source().samples("a", selection)), expected).max() < 1e-9
    assert all(each.location.hue is None for each in source().samples("a", {"fill": "dotted"}))


def test_a_free_factor_is_reproducible_uniform_and_independent_of_the_others() -> None:
    free, shared = {"hue": ALL, "free": True}, {"hue": ALL}
    own = hues(source(2000).samples("a", free))
    assert np.array_equal(own, hues(source(2000).samples("b", free)))
    others = [hues(source(2000).samples("a", each)) for each in (shared, {**free, "fill": "striped"})]
    for other in others:  # the mean distance of independent uniform hues is 0.25; 4 standard errors
        assert distances(own, other).mean() == pytest.approx(0.25, abs=4 * math.sqrt(1 / 48 / 2000))
    counts = np.histogram(own, 10, (0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi squared with 9 degrees of freedom: once in 1000 seeds


def test_a_counterpart_is_the_sample_of_the_same_name_in_the_target_domain() -> None:
    selections: list[Any] = [
        {"fill": "outline"},
        {"hue": ALL},
        {"hue": ALL, "turn": 0.37, "fill": "dotted"},
        {"hue": [0.1, 0.6], "free": True},
        {"hue": 0.7, "fill": "striped", "part": [0.0, 0.5]},
    ]
    for first in selections:
        for second in selections:
            known = {each.key: each for each in source(40).samples("b", {**second, "part": [0.0, 1.0]})}
            for sample in source(40).samples("a", first):
                assert source(40).counterpart(sample, first, second) == known[sample.key]


def test_parts_divide_the_contents() -> None:
    first, second, overlapping = (
        {each.key for each in source(100).samples("a", {"part": part})}
        for part in ([0.0, 0.5], [0.5, 1.0], [0.45, 0.75])
    )
    assert (len(first), len(second), len(overlapping)) == (50, 50, 30)
    assert not first & second
    assert len(first & overlapping) == 5
    with pytest.raises(DataError, match=r"^\[domains\] a: part = \[0\.1, 0\.11\] of count = 20 is no picture; choose"):
        source(20).samples("a", {"part": [0.1, 0.11]})


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("outline", "found 'outline'; expected a table such as { fill = \"outline\", hue = [0.0, 1.0] }"),
        ({"fil": "outline"}, "unknown key 'fil'. Did you mean 'fill'?"),
        ({"fill": "hatched"}, "fill = 'hatched': expected one of filled, outline, striped, dotted"),
        ({"fill": ["outline"]}, "fill = ['outline']: expected one of"),
        ({"hue": "red"}, "hue = 'red': expected a number from 0 to 1, or a range"),
        ({"hue": 1.5}, "hue = 1.5: expected"),
        ({"hue": True}, "hue = True: expected"),
        ({"hue": float("nan")}, "hue = nan: expected"),
        ({"hue": [0.5, 0.2]}, "hue = [0.5, 0.2]: expected"),
        ({"hue": [0.0, 1.2]}, "hue = [0.0, 1.2]: expected"),
        ({"hue": [0.1, 0.2, 0.3]}, "hue = [0.1, 0.2, 0.3]: expected"),
        ({"hue": ALL, "turn": "x"}, "turn = 'x': expected a number"),
        ({"hue": ALL, "free": 1}, "free = 1: expected true or false"),
        ({"hue": 0.3, "turn": 0.1}, "turn needs a range of hues, such as hue = [0.0, 1.0]"),
        ({"free": True}, "free needs a range of hues, such as hue = [0.0, 1.0]"),
        ({"part": 0.5}, "part = 0.5: expected two shares of the pictures, such as [0.0, 0.5]"),
        ({"part": [0.5, 1.5]}, "part = [0.5, 1.5]: expected"),
    ],
)
def test_invalid_selections_are_refused_in_one_line(selection: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        source().samples("a", selection)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


# Five domains


@pytest.mark.parametrize(
    ("selections", "size"),
    [
        ([{"hue": hue} for hue in (0.0, 0.2, 0.4, 0.6, 0.8)], 32),
        ([*({"fill": fill} for fill in FILLS), {"fill": "outline", "hue": ALL}], 64),
    ],
    ids=["hues", "fills"],
)
def test_the_classifier_of_target_share_distinguishes_five_domains(selections: list[Any], size: int) -> None:
    media = ImageMedia(ImageOptions(), size)

    def domain(name: str, selection: Any) -> Domain:
        samples = source(300).samples(name, selection)
        splits = {False: samples[:240], True: samples[240:]}

        def batches(held_out: bool, batch: int) -> Any:
            decoded = torch.from_numpy(np.stack([media.decode(each.location) for each in splits[held_out]]))
            yield [each.key for each in splits[held_out]], media.batch(decoded, None, [name] * len(decoded))

        return Domain(name, splits[False], splits[True], batches, Media(None, size))

    names = ["a", "b", "c", "d", "e"]
    metric = TargetShare(TargetShare.Options())
    metric.prepare({name: domain(name, each) for name, each in zip(names, selections, strict=True)}, {"t": names}, 0)
    assert metric.accuracy["t"] > 0.95
