"""Conditionings: the exact values that they add to input and style."""

import pytest
import torch
from transgan_standard.conditionings import (
    ChannelConditioning,
    ChannelOptions,
    EmbeddingConditioning,
    EmbeddingOptions,
)

from transgan.api import NetworkSpec, UsageError


def spec(tasks: tuple[str, ...] = ("age", "smile"), domains: tuple[str, ...] = ("young", "old", "glad")) -> NetworkSpec:
    return NetworkSpec(3, 3, 0, (4, 5), domains, tasks)


def channel(network: NetworkSpec | None = None, **options) -> ChannelConditioning:
    return ChannelConditioning(ChannelOptions(**options), network or spec())


def embedding(**options) -> EmbeddingConditioning:
    return EmbeddingConditioning(EmbeddingOptions(**options), spec())


X = torch.rand(2, 3, 4, 5)


def test_two_tasks_add_one_binary_plane():
    conditioning = channel()
    y, style = conditioning(X, None, task=torch.tensor([0, 1]))
    assert (conditioning.channels, conditioning.style, style) == (1, 0, None)
    assert torch.equal(y[:, :3], X)
    assert torch.equal(y[:, 3:], torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 5))


def test_three_tasks_add_two_planes():
    y, _ = channel(spec(tasks=("a", "b", "c")))(X.repeat(2, 1, 1, 1)[:3], None, task=torch.tensor([0, 1, 2]))
    assert y[:, 3:, 0, 0].tolist() == [[0, 0], [1, 0], [0, 1]]


def test_one_task_adds_no_plane():
    conditioning = channel(spec(tasks=("a",)))
    y, _ = conditioning(X, None, task=torch.tensor([0, 0]))
    assert conditioning.channels == 0
    assert torch.equal(y, X)


def test_each_domain_adds_a_one_hot_plane():
    conditioning = channel(of="domain")
    y, _ = conditioning(X, None, domain=torch.tensor([2, 0]))
    assert conditioning.channels == 3
    assert y[:, 3:, 3, 4].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_the_source_domain_is_a_category_like_the_target():
    conditioning = channel(of="origin")
    y, _ = conditioning(X, None, origin=torch.tensor([2, 0]))
    assert conditioning.channels == 3
    assert y[:, 3:, 3, 4].tolist() == [[0, 0, 1], [1, 0, 0]]
    embedded = embedding(of="origin", width=4)
    _, style = embedded(X, None, origin=torch.tensor([2, 0]), domain=torch.tensor([0, 0]))
    assert torch.equal(style, embedded.table.weight[[2, 0]])
    with pytest.raises(UsageError, match="of = 'origin', but this network gets no such condition"):
        embedded(X, None, domain=torch.tensor([0, 0]))


def test_an_attribute_called_origin_is_that_attribute():
    network = NetworkSpec(3, 3, 0, (4, 5), ("a", "b"), ("t",), {"origin": 2})
    conditioning = channel(network, of="origin")
    y, _ = conditioning(X, None, origin=torch.tensor([[0.5, -1.0], [2.0, 3.0]]))
    assert y[:, 3:, 1, 2].tolist() == [[0.5, -1.0], [2.0, 3.0]]


def test_each_number_adds_a_plane():
    y, _ = channel(of="pose", numbers=2)(X, None, pose=torch.tensor([[0.5, -1.0], [2.0, 3.0]]))
    assert y[:, 3:, 1, 2].tolist() == [[0.5, -1.0], [2.0, 3.0]]
    y, _ = channel(of="years")(X, None, years=torch.tensor([10, 20]))
    assert y[:, 3, 0, 0].tolist() == [10, 20]


def test_planes_have_the_axes_of_the_samples():
    y, _ = channel()(torch.rand(2, 80, 64), None, task=torch.tensor([0, 1]))
    assert y.shape == (2, 81, 64)


@pytest.mark.parametrize("make", [channel, embedding])
def test_missing_condition_or_wrong_length_is_reported(make):
    with pytest.raises(UsageError, match="of = 'pose', but this network gets no such condition; it gets task"):
        make(of="pose")(X, None, task=torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="'pose' has length 3, expected 2; set numbers = 3"):
        make(of="pose", numbers=2)(X, None, pose=torch.rand(2, 3))


@pytest.mark.parametrize(("of", "rows"), [("domain", 3), ("task", 2)])
def test_embedding_of_a_category_is_a_row_of_its_table(of, rows):
    conditioning = embedding(of=of, width=6)
    index = torch.tensor([1, 0])
    y, style = conditioning(X, None, **{of: index})
    assert y is X
    assert (conditioning.channels, conditioning.style) == (0, 6)
    assert conditioning.table.weight.shape == (rows, 6)
    assert torch.equal(style, conditioning.table.weight[index])


def test_embedding_of_numbers_is_linear():
    conditioning = embedding(of="pose", numbers=2, width=6)
    pose = torch.rand(2, 2)
    _, style = conditioning(X, None, pose=pose)
    assert torch.allclose(style, pose @ conditioning.linear.weight.T + conditioning.linear.bias)


def test_embedding_is_appended_to_the_style():
    before = torch.rand(2, 4)
    _, style = embedding(width=6)(X, before, domain=torch.tensor([1, 0]))
    assert style.shape == (2, 10)
    assert torch.equal(style[:, :4], before)


def test_conditionings_run_on_the_meta_device():
    with torch.device("meta"):
        x, index = torch.rand(2, 3, 4, 5), torch.zeros(2, dtype=torch.int64)
        assert channel()(x, None, task=index)[0].shape == (2, 4, 4, 5)
        assert embedding()(x, None, domain=index)[1].shape == (2, 16)


def test_every_option_is_documented():
    for options in (ChannelOptions, EmbeddingOptions):
        assert all(field.description for field in options.model_fields.values())
