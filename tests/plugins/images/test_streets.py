"""Synthetic streets: pictures follow from their maps, details are finer than half the size; the metric of detail."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_images.metrics_detail import FineDetail
from transgan_images.streets import (
    CLASSES,
    COLOURS,
    KINDS,
    PER_CLASS,
    SEAM,
    Street,
    StreetsOptions,
    SyntheticStreets,
    picture,
)

from transgan.api import DataError, Options, Translation, UsageError

STREET = Translation("street", "label", "photo")


def test_a_picture_follows_from_its_two_maps() -> None:
    labels, instances, image = (Street(0, 3, kind)(128) for kind in KINDS)  # type: ignore[arg-type]
    assert labels.shape == instances.shape == (64, 128) and image.shape == (64, 128, 3)
    assert np.array_equal(image, picture(labels, instances))
    for number in range(len(CLASSES)):
        allowed = {*COLOURS[number], SEAM}
        assert {tuple(map(int, each)) for each in image[labels == number]} <= allowed
    assert {*np.unique(labels)} <= {*range(len(CLASSES))}
    assert np.array_equal(np.where(instances >= PER_CLASS, instances // PER_CLASS, instances), labels)
    seams = (image == SEAM).all(-1)
    right = np.pad(instances[:, 1:] != instances[:, :-1], ((0, 0), (1, 0)))
    below = np.pad(instances[1:] != instances[:-1], ((1, 0), (0, 0)))
    assert np.array_equal(seams, right | below)


def test_every_class_occurs_and_streets_differ() -> None:
    found = [Street(0, i, "labels")(64) for i in range(12)]
    assert {*np.unique(found)} == {*range(len(CLASSES))}
    assert len({each.tobytes() for each in found}) == 12


def test_half_the_size_cannot_show_the_details() -> None:
    metric = FineDetail(Options())
    metric.reset()
    for i in range(4):
        image = Street(0, i, "picture")(128)
        small = Image.fromarray(image)
        for size in ((64, 32), (128, 64)):
            small = small.resize(size, Image.Resampling.BICUBIC)
        sides = [torch.from_numpy(np.array(x)).permute(2, 0, 1)[None] / 127.5 - 1 for x in (small, image)]
        metric.update(STREET, *sides)
    figures = metric.compute()[STREET]
    assert figures["detail_energy"] < 0.2 and figures["detail_error"] > 0.7


def test_small_pictures_are_reduced_ones() -> None:
    assert Street(0, 0, "picture")(64).shape == (64, 128, 3)
    assert Street(0, 0, "labels")(64).shape == (32, 64)
    with pytest.raises(DataError, match="16 to 4096"):
        Street(0, 0, "picture")(8)


def test_the_source_gives_the_same_streets_in_three_kinds() -> None:
    source = SyntheticStreets(StreetsOptions(count=3), None)
    samples = {kind: source.samples("a", kind) for kind in KINDS}
    assert [each.key for each in samples["labels"]] == [each.key for each in samples["picture"]]
    truth = source.counterpart(samples["labels"][1], "labels", "picture")
    assert truth == samples["picture"][1]
    with pytest.raises(UsageError, match="expected one of 'labels', 'instances', 'picture'"):
        source.samples("a", "photo")


def test_detail_of_stripes_in_closed_form() -> None:
    """Stripes of one pixel, +-1: the Laplacian is +-4 at every inner pixel; at half the contrast it is +-2."""
    stripes = torch.ones(1, 1, 6, 10)
    stripes[..., ::2] = -1
    metric: Any = FineDetail(Options())
    for fake, energy, error in ((stripes, 1, 0), (stripes / 2, 0.25, 0.25), (-stripes, 1, 4), (stripes * 0, 0, 1)):
        metric.reset()
        metric.update(STREET, fake, stripes)
        found = metric.compute()[STREET]
        assert found == pytest.approx({"detail_energy": energy, "detail_error": error})
    metric.reset()
    metric.update(STREET, stripes, stripes * 0)
    assert metric.compute() == {}
