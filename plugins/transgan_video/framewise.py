"""Networks for pictures, applied to clips frame by frame: the frames of all clips are one batch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from torch import Tensor

from transgan.api import Discriminator, DiscriminatorOutput, Generator, NetworkSpec, UsageError

NetworkT = TypeVar("NetworkT", bound=Generator[Any] | Discriminator[Any])


def clip_axes(spec: NetworkSpec, name: str) -> tuple[int, ...]:
    """Return the height and width of the frames of a training batch.

    Args:
        name: the network plugin's name, for the message.

    Raises:
        UsageError: samples are not clips.
    """
    if len(spec.space) != 3:
        raise UsageError(
            f"'{name}' takes samples with three axes (frames, height and width), and these have {len(spec.space)}; "
            "choose another network"
        )
    return spec.space[1:]


def framewise(name: str, network: type[NetworkT]) -> type[NetworkT]:
    """Return a network for clips that applies a network for pictures to each frame by itself.

    Options and weights are those of the network for pictures, so that weights of a run on pictures can be taken over.

    `forward(x, ...)`: x (N, C, T, H, W) becomes T N pictures, conditions (N, ...) are repeated for the frames of each
    clip, and whatever the network returns, (N T, K, ...), is returned as (N, K, T, ...). Pictures (N, C, H, W) are
    passed on as they are.

    Args:
        name: the plugin's name, for messages.
        network: a generator or a discriminator of pictures.
    """
    base: Any = network

    class Framewise(base):  # type: ignore[misc]
        free_axes = 1

        def __init__(self, options: Any, spec: NetworkSpec):
            super().__init__(options, replace(spec, space=clip_axes(spec, name)))

        @wraps(base.forward)
        def forward(self, x: Tensor, *positional: Any, **conditions: Any) -> Any:
            if x.dim() != 5:
                return super().forward(x, *positional, **conditions)
            clips, frames = len(x), x.shape[2]
            positional = tuple(_repeated(each, clips, frames) for each in positional)
            conditions = {key: _repeated(each, clips, frames) for key, each in conditions.items()}
            return _unfold(super().forward(fold(x), *positional, **conditions), clips)

    Framewise.__name__ = Framewise.__qualname__ = f"Framewise{network.__name__}"
    Framewise.__doc__ = f"`{network.__name__}`, applied to the frames of clips one by one.\n\n{network.__doc__}"
    return Framewise


def fold(x: Tensor) -> Tensor:
    """Return clips (N, C, T, *space) as pictures (N T, C, *space), those of a clip one after the other."""
    return x.transpose(1, 2).flatten(0, 1)


def _unfold(value: Any, clips: int) -> Any:
    """Return what a network says of pictures, (N T, K, ...), for clips: (N, K, T, ...)."""
    if isinstance(value, Tensor):
        return value.reshape(clips, -1, *value.shape[1:]).transpose(1, 2)
    if isinstance(value, DiscriminatorOutput):
        of_frames = {name: _unfold(getattr(value, name), clips) for name in ("logits", "features", "kept_logits")}
        # What is said of a sample as a whole is said of a clip as the mean of its frames.
        of_clips: dict[str, Any] = {
            name: None if each is None else _unfold(each, clips).mean(2)
            for name, each in (("class_logits", value.class_logits), ("kept", value.kept))
        }
        return replace(value, **of_frames, **of_clips)
    if isinstance(value, (list, tuple)):
        return type(value)(_unfold(each, clips) for each in value)
    return value


def _repeated(value: Any, clips: int, frames: int) -> Any:
    """Return a condition of clips, (N, ...), for each of their frames; what is the same for all samples as it is."""
    if isinstance(value, Tensor) and value.dim() and len(value) == clips:
        return value.repeat_interleave(frames, 0)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return type(value)(_repeated(each, clips, frames) for each in value)  # type: ignore[call-arg]
    return value
