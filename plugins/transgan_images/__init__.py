"""Pictures: the image media, folders of them, and figures that say how good translated ones are."""

from transgan.api import Register, hookimpl
from transgan_images import folders, media, metrics


@hookimpl
def register_media(register: Register) -> None:
    register("image", media.ImageMedia)


@hookimpl
def register_sources(register: Register) -> None:
    register("folders", folders.FolderSource)


@hookimpl
def register_metrics(register: Register) -> None:
    register("target_share", metrics.TargetShare)
