"""Faces: labelled photographs, and drawn faces that need no download."""

from transgan.api import Register, RegisterWeights, hookimpl
from transgan_faces import detection, finder, sources


@hookimpl
def register_sources(register: Register) -> None:
    register("labelled_faces", sources.LabelledFaces)
    register("drawn_faces", sources.DrawnFaces)


@hookimpl
def register_finders(register: Register) -> None:
    register("faces", finder.Faces)


@hookimpl
def register_weights(register: RegisterWeights) -> None:
    register(detection.YUNET)
