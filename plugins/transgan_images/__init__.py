"""Images: media, sources (folders and labelled tables), augmentations, and metrics of translated images."""

from transgan.api import Register, RegisterWeightFiles, hookimpl
from transgan_images import augmentations, folders, inception, media, metrics, metrics_features, tables


@hookimpl
def register_media(register: Register) -> None:
    register("image", media.ImageMedia)


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


@hookimpl
def register_metrics(register: Register) -> None:
    register("target_share", metrics.TargetShare)
    register("frechet", metrics_features.Frechet)
    register("kernel", metrics_features.Kernel)
    register("diversity", metrics_features.Diversity)
    register("content", metrics_features.Content)
    register("inception_score", metrics_features.InceptionScore)


@hookimpl
def register_weight_files(register: RegisterWeightFiles) -> None:
    register(inception.WEIGHTS)
