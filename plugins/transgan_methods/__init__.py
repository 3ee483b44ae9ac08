"""Networks, nodes and losses of published systems: what their recipes need beyond the standard plugins."""

from transgan.api import Register, hookimpl
from transgan_methods import codes, cut, flow, munit, pix2pixhd, stargan, stargan_v2, time, ugatit, unsb, uvcgan


@hookimpl
def register_generators(register: Register) -> None:
    register("munit", munit.Munit)
    register("unit", munit.Unit)
    register("pix2pixhd", pix2pixhd.Pix2pixHdGenerator)
    register("stargan_v2", stargan_v2.StarganV2Generator)
    register("ugatit", ugatit.UgatitGenerator)
    register("uvcgan2", uvcgan.UvcganGenerator)


@hookimpl
def register_encoders(register: Register) -> None:
    register("code", codes.CodeEncoder)
    register("stargan_v2_mapping", stargan_v2.MappingNetwork)
    register("stargan_v2_style", stargan_v2.StyleEncoder)


@hookimpl
def register_discriminators(register: Register) -> None:
    register("code", codes.CodeDiscriminator)
    register("stargan", stargan.StarganDiscriminator)
    register("stargan_v2", stargan_v2.StarganV2Discriminator)
    register("ugatit", ugatit.UgatitDiscriminator)
    register("uvcgan2", uvcgan.UvcganDiscriminator)
    register("pair_energy", unsb.PairEnergy)


@hookimpl
def register_conditionings(register: Register) -> None:
    register("time", time.TimeConditioning)


@hookimpl
def register_nodes(register: Register) -> None:
    register("augmented_translation", codes.AugmentedNodes)
    register("bicycle_translation", codes.BicycleNodes)
    register("flow_translation", flow.FlowNodes)
    register("unsb_translation", unsb.UnsbNodes)
    register("munit_translation", munit.MunitNodes)
    register("unit_translation", munit.UnitNodes)
    register("pix2pixhd_translation", pix2pixhd.Pix2pixHdNodes)
    register("stargan_v2_translation", stargan_v2.StarganV2Nodes)
    register("ugatit_translation", ugatit.UgatitNodes)


@hookimpl
def register_losses(register: Register) -> None:
    register("patch_nce", cut.PatchNCE)
    register("code_reconstruction", codes.CodeReconstruction)
    register("encoded_paired", codes.EncodedPaired)
    register("code_divergence", codes.CodeDivergence)
    register("flow_matching", flow.FlowMatching)
    register("bridge_entropy", unsb.BridgeEntropy)
    register("bridge_transport", unsb.BridgeTransport)
    register("self_reconstruction", munit.SelfReconstruction)
    register("content_reconstruction", munit.ContentReconstruction)
    register("latent_divergence", munit.LatentDivergence)
    register("style_reconstruction", stargan_v2.StyleReconstruction)
    register("style_diversity", stargan_v2.StyleDiversity)
    register("reference_cycle", stargan_v2.ReferenceCycle)
    register("class_activation", ugatit.ClassActivationLoss)
    register("inpainting", uvcgan.Inpainting)


@hookimpl
def register_metrics(register: Register) -> None:
    register("attention_in_change", ugatit.AttentionInChange)
