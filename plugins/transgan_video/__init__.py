"""Clips: read and written with their sound, and networks and losses that know the order of frames."""

from transgan.api import Register, hookimpl
from transgan_video import container


@hookimpl
def register_containers(register: Register) -> None:
    register("clip", container.ClipContainer)
