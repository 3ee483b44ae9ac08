"""Networks of pictures on clips: they do to each frame what the network of pictures does to it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transgan_standard.discriminators import PatchDiscriminator, PatchOptions
from transgan_standard.generators import ResnetGenerator, ResnetOptions
from transgan_standard.losses import LeastSquares, SmoothOptions
from transgan_video.framewise import framewise

from transgan.api import (
    Discriminator,
    DiscriminatorOutput,
    Generator,
    NetworkSpec,
    Options,
    Tensor,
    UsageError,
)

CLIPS = NetworkSpec(3, 3, 5, (4, 16, 16), ("a", "b"), ("t",))
PICTURES = replace(CLIPS, space=(16, 16))
RESNET = ResnetOptions(width=4, blocks=1)
PATCH = PatchOptions(width=4, layers=1, classes=True)


def both(plain: type[Any], options: Any, spec: NetworkSpec = CLIPS) -> tuple[Any, Any]:
    """Return a network for clips and one for pictures, of the same weights."""
    clips = framewise("frames", plain)(options, spec).double()
    pictures = plain(options, replace(spec, space=spec.space[1:])).double()
    pictures.load_state_dict(clips.state_dict())
    return clips, pictures


def test_a_generator_translates_each_frame_by_itself() -> None:
    clips, pictures = both(ResnetGenerator, RESNET)
    x, style = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    y = clips(x, style=style)
    assert y.shape == x.shape
    for clip in range(2):
        for frame in range(4):
            expected = pictures(x[clip : clip + 1, :, frame], style[clip : clip + 1])[0]
            torch.testing.assert_close(y[clip, :, frame], expected)
    torch.testing.assert_close(clips(x[:, :, 1], style), pictures(x[:, :, 1], style))


def test_its_activations_are_those_of_each_frame() -> None:
    clips, pictures = both(ResnetGenerator, RESNET, replace(CLIPS, style=0))
    x = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64)
    for found, expected in zip(clips(x, layers=[1, 4]), pictures(x[:, :, 2], layers=[1, 4]), strict=True):
        torch.testing.assert_close(found[:, :, 2], expected)


def test_a_discriminator_says_of_each_frame_what_it_says_of_the_picture() -> None:
    clips, pictures = both(PatchDiscriminator, PATCH)
    x, style = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    output = clips(x, style)
    for frame in range(4):
        expected = pictures(x[:, :, frame], style)
        torch.testing.assert_close(output.logits[0][:, :, frame], expected.logits[0])
        for a, b in zip(output.features, expected.features, strict=True):
            torch.testing.assert_close(a[:, :, frame], b)


def test_of_a_clip_as_a_whole_it_says_the_mean_of_its_frames() -> None:
    clips, pictures = both(PatchDiscriminator, PATCH)
    x, style = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    of_frames = [pictures(x[:, :, frame], style).class_logits for frame in range(4)]
    torch.testing.assert_close(clips(x, style).class_logits, torch.stack(of_frames).mean(0))


class Keeping(Discriminator[Options]):
    """Says of pictures how kept labels look, and how much each counts."""

    def forward(self, x: Tensor, counts: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([x[:, :1]], class_logits=x.mean((2, 3)), kept_logits=[x[:, 1:]], kept=counts)


def test_losses_of_clips_are_the_means_of_those_of_their_frames() -> None:
    network = framewise("frames", Keeping)(Options(), CLIPS)
    x, counts = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64), torch.rand(2, 2, dtype=torch.float64)
    output = network(x, counts=counts)
    torch.testing.assert_close(output.class_logits, x.mean((2, 3, 4)))
    torch.testing.assert_close(output.kept, counts)
    loss = LeastSquares(SmoothOptions())
    of_frames = [loss.for_generator(Keeping(Options(), PICTURES)(x[:, :, frame], counts)) for frame in range(4)]
    torch.testing.assert_close(loss.for_generator(output), torch.stack(of_frames).mean(0))


@pytest.mark.parametrize(("plain", "options"), [(ResnetGenerator, RESNET), (PatchDiscriminator, PATCH)])
def test_it_takes_clips_alone(plain: type[Generator[Any] | Discriminator[Any]], options: Any) -> None:
    with pytest.raises(UsageError, match=r"'frames' takes samples with three axes.* these have 2"):
        framewise("frames", plain)(options, PICTURES)


def test_only_height_and_width_have_to_suit_the_stride(planned: Any) -> None:
    recipe = """
    data = { source = "synthetic_scenes", media = { use = "clip", frames = 3 }, size = SIZE }
    domains = { a = { ground = "light" }, b = { ground = "dark" } }
    tasks = { t = { between = ["a", "b"] } }
    train = { steps = 1 }
    generators = { framewise_resnet = { per = "translation", width = 4, blocks = 1 } }
    discriminators = { framewise_patch = { width = 4, layers = 1 } }
    losses = { lsgan = 1.0, cycle = 10.0 }
    """
    assert planned(recipe.replace("SIZE", "16")).networks["framewise_resnet.a-b"].spec.space == (3, 16, 16)
    with pytest.raises(UsageError, match="'framewise_resnet' needs a multiple of 4, and samples are 18x18"):
        planned(recipe.replace("SIZE", "18"))
