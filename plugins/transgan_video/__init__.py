"""Clips: read and written with their sound, and networks and losses that know the order of frames."""

from transgan_standard import discriminators, generators, residual_unet

from transgan.api import Register, RegisterStarters, hookimpl
from transgan_video import container, media, metrics, recycle, scenes, sources
from transgan_video.framewise import framewise


@hookimpl
def register_sources(register: Register) -> None:
    register("clips", sources.ClipSource)
    register("synthetic_scenes", scenes.SyntheticScenes)


@hookimpl
def register_media(register: Register) -> None:
    register("clip", media.ClipMedia)


@hookimpl
def register_containers(register: Register) -> None:
    register("clip", container.ClipContainer)


@hookimpl
def register_generators(register: Register) -> None:
    register("framewise_resnet", framewise("framewise_resnet", generators.ResnetGenerator))
    register("framewise_unet", framewise("framewise_unet", generators.UnetGenerator))
    register("framewise_residual_unet", framewise("framewise_residual_unet", residual_unet.ResidualUnet))


@hookimpl
def register_discriminators(register: Register) -> None:
    register("framewise_patch", framewise("framewise_patch", discriminators.PatchDiscriminator))
    register("framewise_pixel", framewise("framewise_pixel", discriminators.PixelDiscriminator))


@hookimpl
def register_encoders(register: Register) -> None:
    register("next_frame", recycle.NextFrame)


@hookimpl
def register_nodes(register: Register) -> None:
    register("recycle_translation", recycle.RecycleNodes)


@hookimpl
def register_losses(register: Register) -> None:
    register("recurrent", recycle.Recurrent)
    register("recycle", recycle.Recycle)


@hookimpl
def register_metrics(register: Register) -> None:
    register("flicker", metrics.Flicker)
    register("temporal_cycle", recycle.TemporalCycle)


@hookimpl
def register_starters(register: RegisterStarters) -> None:
    from transgan_video import starters

    register(starters.CLIP)
