"""Voice conversion: acoustic features of recordings, synthetic voices, networks, nodes, losses and metrics."""

from transgan.api import Register, RegisterExamples, RegisterStarters, hookimpl
from transgan_voice import discriminators, generators, losses, media, metrics, nodes, sources


@hookimpl
def register_media(register: Register) -> None:
    register("voice", media.VoiceMedia)


@hookimpl
def register_sources(register: Register) -> None:
    register("synthetic_voices", sources.SyntheticVoices)


@hookimpl
def register_generators(register: Register) -> None:
    register("gated_1d", generators.Gated1d)
    register("gated_2_1_2d", generators.Gated212d)
    register("residual_1d", generators.Residual1d)


@hookimpl
def register_discriminators(register: Register) -> None:
    register("gated_patch", discriminators.GatedPatch)
    register("patch_1d", discriminators.Patch1d)


@hookimpl
def register_nodes(register: Register) -> None:
    register("voice_translation", nodes.VoiceTranslationNodes)


@hookimpl
def register_losses(register: Register) -> None:
    register("anchor", losses.Anchor)
    register("modulation", losses.Modulation)


@hookimpl
def register_metrics(register: Register) -> None:
    register("conversion", metrics.Conversion)


@hookimpl
def register_examples(register: RegisterExamples) -> None:
    from transgan_voice import examples

    register(examples.EXAMPLES)


@hookimpl
def register_starters(register: RegisterStarters) -> None:
    from transgan_voice import starters

    for starter in starters.STARTERS:
        register(starter)
