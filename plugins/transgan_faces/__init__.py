"""Faces: labelled photographs, and drawn faces that need no download."""

from transgan.api import Register, hookimpl
from transgan_faces import sources


@hookimpl
def register_sources(register: Register) -> None:
    register("labelled_faces", sources.LabelledFaces)
    register("drawn_faces", sources.DrawnFaces)
