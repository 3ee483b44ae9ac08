"""Images: media, sources (folders, tables, synthetic shapes), augmentations, and metrics of translated images."""

from transgan.api import Register, RegisterStarters, RegisterWeightFiles, hookimpl
from transgan_images import (
    arrays,
    augmentations,
    discriminators,
    efficientnet,
    encoders,
    folders,
    inception,
    label_maps,
    losses,
    media,
    metrics,
    metrics_coverage,
    metrics_detail,
    metrics_factors,
    metrics_features,
    metrics_judges,
    metrics_labels,
    metrics_points,
    points,
    shapes,
    streets,
    tables,
)


@hookimpl
def register_media(register: Register) -> None:
    register("image", media.ImageMedia)
    register("label_map", label_maps.LabelMapMedia)
    register("instance_boundaries", label_maps.BoundaryMedia)


@hookimpl
def register_encoders(register: Register) -> None:
    register("timm", encoders.TimmEncoder)


@hookimpl
def register_discriminators(register: Register) -> None:
    register("features", discriminators.FeatureDiscriminator)


@hookimpl
def register_augmentations(register: Register) -> None:
    register("colour", augmentations.Colour)
    register("translation", augmentations.Translate)
    register("cutout", augmentations.Cutout)
    register("noise", augmentations.Noise)


@hookimpl
def register_sources(register: Register) -> None:
    register("folders", folders.FolderSource)
    register("labelled_table", tables.LabelledTable)
    register("arrays", arrays.ArraySource)
    register("synthetic_shapes", shapes.SyntheticShapes)
    register("synthetic_streets", streets.SyntheticStreets)
    register("synthetic_colours", points.SyntheticColours)


@hookimpl
def register_losses(register: Register) -> None:
    register("cycle_ssim", losses.CycleSsim)


@hookimpl
def register_metrics(register: Register) -> None:
    register("target_share", metrics.TargetShare)
    register("label_kept", metrics_labels.LabelKept)
    register("apparent_label", metrics_judges.ApparentLabel)
    register("frechet", metrics_features.Frechet)
    register("kernel", metrics_features.Kernel)
    register("diversity", metrics_features.Diversity)
    register("fine_detail", metrics_detail.FineDetail)
    register("content", metrics_features.Content)
    register("inception_score", metrics_features.InceptionScore)
    register("coverage", metrics_coverage.Coverage)
    register("modes", metrics_points.Modes)
    register("transport", metrics_points.Transport)
    register("factor_error", metrics_factors.FactorError)
    register("factor_coverage", metrics_factors.FactorCoverage)
    register("content_kept", metrics_factors.ContentKept)
    register("reference_style", metrics_factors.ReferenceStyle)


@hookimpl
def register_weight_files(register: RegisterWeightFiles) -> None:
    register(inception.WEIGHTS)
    for weights in efficientnet.WEIGHTS.values():
        register(weights)


@hookimpl
def register_starters(register: RegisterStarters) -> None:
    from transgan_images import starters

    for starter in starters.STARTERS:
        register(starter)
