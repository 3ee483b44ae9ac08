"""Generators, discriminators, conditionings, losses, metrics and nodes that most recipes use."""

from pathlib import Path

from transgan.api import ImportedGenerator, Register, hookimpl
from transgan_standard import (
    conditionings,
    cycles,
    discriminators,
    distillation,
    feature_losses,
    generators,
    losses,
    metrics,
    nodes,
    penalties,
    pointwise,
    residual_unet,
)


@hookimpl
def register_generators(register: Register) -> None:
    register("resnet", generators.ResnetGenerator)
    register("unet", generators.UnetGenerator)
    register("residual_unet", residual_unet.ResidualUnet)
    register("pointwise", pointwise.Pointwise)


@hookimpl
def register_discriminators(register: Register) -> None:
    register("patch", discriminators.PatchDiscriminator)
    register("pixel", discriminators.PixelDiscriminator)


@hookimpl
def register_conditionings(register: Register) -> None:
    register("channel", conditionings.ChannelConditioning)
    register("embedding", conditionings.EmbeddingConditioning)
    register("planes", conditionings.PlanesConditioning)


@hookimpl
def register_nodes(register: Register) -> None:
    register("translation", nodes.TranslationNodes)


@hookimpl
def register_losses(register: Register) -> None:
    register("lsgan", losses.LeastSquares)
    register("vanilla", losses.Vanilla)
    register("distillation", distillation.Distillation)
    register("hinge", losses.Hinge)
    register("wasserstein", losses.Wasserstein)
    register("relativistic", losses.Relativistic)
    register("cycle", cycles.Cycle)
    register("identity", losses.Identity)
    register("paired", losses.Paired)
    register("preserve", losses.Preserve)
    register("feature_matching", feature_losses.FeatureMatching)
    register("perceptual", feature_losses.Perceptual)
    register("domain_classification", losses.DomainClassification)
    register("gradient_penalty", penalties.GradientPenalty)
    register("r1", penalties.R1)
    register("r2", penalties.R2)
    register("lecam", penalties.Lecam)


@hookimpl
def register_metrics(register: Register) -> None:
    register("cycle_error", metrics.CycleError)
    register("counterpart_error", metrics.CounterpartError)
    register("paired_error", metrics.PairedError)
    register("discriminator_auc", metrics.DiscriminatorAuc)


@hookimpl(trylast=True)
def import_generator(path: Path) -> ImportedGenerator | None:
    from transgan_standard.reference import read_reference_generator

    return read_reference_generator(path) if path.suffix.lower() in (".pth", ".pt") else None
