"""Faces: labelled photographs, synthetic faces that need no download, and the detection of faces in photographs."""

from transgan.api import Register, RegisterWeightFiles, hookimpl
from transgan_faces import detection, landmarks, metrics, region_detector, sources


@hookimpl
def register_sources(register: Register) -> None:
    register("labelled_faces", sources.LabelledFaces)
    register("synthetic_faces", sources.SyntheticFaces)


@hookimpl
def register_metrics(register: Register) -> None:
    register("synthetic_age", metrics.SyntheticAge)
    register("landmarks_moved", landmarks.LandmarksMoved)


@hookimpl
def register_region_detectors(register: Register) -> None:
    register("faces", region_detector.Faces)


@hookimpl
def register_weight_files(register: RegisterWeightFiles) -> None:
    register(detection.YUNET)
