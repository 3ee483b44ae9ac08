"""Faces: labelled photographs, synthetic faces that need no download, and the detection of faces in photographs."""

from transgan.api import Register, RegisterCommands, RegisterExamples, RegisterStarters, RegisterWeightFiles, hookimpl
from transgan_faces import (
    detection,
    identities,
    landmarks,
    losses,
    metrics,
    metrics_expression,
    metrics_hair,
    region_detector,
    sources,
)


@hookimpl
def register_sources(register: Register) -> None:
    register("labelled_faces", sources.LabelledFaces)
    register("synthetic_faces", sources.SyntheticFaces)
    register("synthetic_identities", identities.SyntheticIdentities)


@hookimpl
def register_losses(register: Register) -> None:
    register("face_cycle", losses.FaceCycle)


@hookimpl
def register_metrics(register: Register) -> None:
    register("expression_kept", metrics_expression.ExpressionKept)
    register("hair_edge", metrics_hair.HairEdge)
    register("synthetic_age", metrics.SyntheticAge)
    register("landmarks_moved", landmarks.LandmarksMoved)


@hookimpl
def register_region_detectors(register: Register) -> None:
    register("faces", region_detector.Faces)


@hookimpl
def register_weight_files(register: RegisterWeightFiles) -> None:
    register(detection.YUNET)


@hookimpl
def register_commands(register: RegisterCommands) -> None:
    from transgan_faces.commands import app

    register("faces", app)


@hookimpl
def register_examples(register: RegisterExamples) -> None:
    from transgan_faces import examples

    register(examples.PORTRAIT_EXAMPLES)
    register(examples.GROUP_EXAMPLES)
    register(examples.CLIP_EXAMPLES)


@hookimpl
def register_starters(register: RegisterStarters) -> None:
    from transgan_faces import starters

    register(starters.FACES)
