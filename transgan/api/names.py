"""Names that arguments of nodes, losses and metrics can have besides those of nodes, and what they are given.

The planner, `transgan plugins --names` and the reference page read these tables: a new name is one entry here, beside
the value itself. Shapes: N samples of a batch, C channels, *space one to three axes.
"""

from typing import NamedTuple


class Argument(NamedTuple):
    """What an argument is given."""

    type: str
    shape: str
    """Of a tensor, or of each tensor in a table; N for a list with an element for each sample; else empty."""
    meaning: str


#: What a batch provides for every translation.
BATCH_INPUTS = {
    "translation": Argument("Translation", "", "The task and the direction: from which domain to which."),
    "training": Argument("bool", "", "Whether a generator is trained on the result; false where a model is used."),
    "task": Argument("Tensor", "(N,)", "Index of the task in the recipe."),
    "source": Argument("Tensor", "(N, C, *space)", "Samples of the source domain, in [-1, 1]."),
    "target": Argument(
        "Tensor",
        "(N, C, *space)",
        "Samples of the target domain, in [-1, 1]: the sources' partners in a paired task, else any.",
    ),
    "other_source": Argument(
        "Tensor", "(N, C, *space)", "For each source another sample of its domain, chosen and augmented by itself."
    ),
    "other_target": Argument("Tensor", "(N, C, *space)", "For each target another sample of its domain, likewise."),
    "pair_source": Argument(
        "Tensor",
        "(N, C, *space)",
        "Known pairs, the source side: a batch of its own in a task with some pairs, `source` in one of pairs alone.",
    ),
    "pair_target": Argument("Tensor", "(N, C, *space)", "The true translations of `pair_source`, augmented alike."),
    "pair_target_attributes": Argument(
        "Mapping[str, Tensor]", "(N, k) each", "Encoded attributes of `pair_target`, by name."
    ),
    "source_domain": Argument("Tensor", "(N,)", "Index in the recipe of each source sample's domain."),
    "target_domain": Argument("Tensor", "(N,)", "Index in the recipe of each target sample's domain."),
    "task_domains": Argument("Tensor", "(K,)", "Indices in the recipe of the task's K domains."),
    "source_attributes": Argument(
        "Mapping[str, Tensor]", "(N, k) each", "Encoded attributes of the source samples, by name."
    ),
    "target_attributes": Argument(
        "Mapping[str, Tensor]", "(N, k) each", "Encoded attributes of the target samples, by name."
    ),
    "reference": Argument(
        "Tensor | None",
        "(N, C, *space)",
        "Samples of the target domain whose style the user wants; none in training, or where none is given.",
    ),
    "strength": Argument(
        "float | None", "", "Share of the change that the user wants, 1 for all of it; none where it is not given."
    ),
    "passes": Argument(
        "int | None", "", "Number of passes in a row that the user wants of a translation; none where it is not given."
    ),
    "latents": Argument("SampleRng", "", "Random numbers of latent codes, which the user may vary."),
    "rng": Argument("SampleRng", "", "Random numbers for the N source samples; a loss gets a stream of its own."),
    "stage_conditions": Argument(
        "Mapping[str, bool | int | float | str]",
        "",
        "Conditions of the recipe's stage, `conditions` of its table, which networks that take them get by themselves.",
    ),
    "clock": Argument("Clock", "", "Where the run is; for a loss with the number of its phase's own steps."),
}

#: What a batch provides besides, for each table `[inputs.NAME]` of the recipe.
FURTHER_INPUTS = {
    "source_NAME": Argument(
        "Tensor",
        "(N, C, *space)",
        "With `[inputs.NAME]` in the recipe, that input of each source sample. Likewise `target_NAME`, "
        "`other_source_NAME`, `other_target_NAME`, `pair_source_NAME` and `pair_target_NAME`.",
    ),
}

#: Arguments of losses that belong to one discriminator. A loss that names one of them is evaluated for each
#: discriminator of each translation, any other loss once for each translation.
DISCRIMINATOR_ARGUMENTS = {
    "real_output": Argument("DiscriminatorOutput", "", "What the discriminator returns for the real samples."),
    "fake_output": Argument("DiscriminatorOutput", "", "What the discriminator returns for the fakes."),
    "negative_output": Argument(
        "DiscriminatorOutput",
        "",
        "What it returns for real samples that are not what it checks: those of the domain at the other end, with the "
        "conditions of this one, and with other labels than those that they have of what it keeps.",
    ),
    "real_input": Argument(
        "Tensor",
        "(N, C, *space)",
        "The real samples as the discriminator gets them: augmented, and behind its `given`.",
    ),
    "fake_input": Argument(
        "Tensor", "(N, C, *space)", "The fakes as the discriminator gets them: likewise, and from its image pool."
    ),
    "discriminator": Argument(
        "Callable[[Tensor], DiscriminatorOutput]",
        "",
        "The discriminator as a function of (N, C, *space), with the conditions of the batch, in fp32. "
        "A gradient penalty detaches the input and sets `requires_grad_()` itself.",
    ),
}

#: Arguments of losses that are neither nodes nor batch inputs.
LOSS_ARGUMENTS = {
    **DISCRIMINATOR_ARGUMENTS,
    "other_discriminators": Argument(
        "list[Callable[[Tensor], DiscriminatorOutput]]",
        "",
        "Functions of (N, C, *space) likewise: the discriminators of the other tasks.",
    ),
    "source_outputs": Argument(
        "list[DiscriminatorOutput]",
        "",
        "For generators: what the source domain's discriminators return for the source.",
    ),
    "reconstruction_outputs": Argument(
        "list[DiscriminatorOutput]", "", "For generators: what they return for its reconstruction, in the same order."
    ),
    "fake_realness": Argument(
        "Tensor",
        "(N,)",
        "For generators: how real the target domain's discriminators find each fake, at most 1; without gradient.",
    ),
    "buffers": Argument(
        "dict[str, Tensor]",
        "",
        "The loss's own tensors, for this translation and discriminator. What it writes there holds from the end of "
        "the phase on, as the mean over micro-batches and processes; it is saved with the run.",
    ),
}

#: Arguments of metrics that are neither nodes nor batch inputs.
METRIC_ARGUMENTS = {
    "keys": Argument("list[str]", "N", "Keys of the held-out samples."),
    "samples": Argument("list[Sample]", "N", "The held-out samples."),
    "counterpart": Argument(
        "Tensor", "(N, C, *space)", "Their true translations; where these are not known, the metric is skipped."
    ),
    "true_samples": Argument("list[Sample | None]", "N", "The true translations as samples; none where unknown."),
    "translate": Argument(
        "Callable[..., Tensor]",
        "",
        "`translate(x, row=i)` translates x (K, C, *space), pieces of sample i as the media's `to_model` makes them.",
    ),
    "at_strength": Argument(
        "Callable[[float], Tensor]",
        "",
        "`at_strength(x)` translates the batch, (N, C, *space), at strength x, 1 for all of the change; where a model "
        "has no strength, the metric is skipped.",
    ),
    "resample": Argument(
        "Callable[[int], Tensor]",
        "",
        "`resample(number)` translates the batch with other latent codes, (N, C, *space); 0 gives the batch's own. "
        "A model without codes gives the same for all.",
    ),
    "reference_fake": Argument(
        "Tensor",
        "(N, C, *space)",
        "Translations in the style of `reference`; where a model takes no reference, the metric is skipped.",
    ),
    "adversarial_source": Argument(
        "Callable[[int], Tensor | None]",
        "",
        "`adversarial_source(most)` returns the batch's first sources, at most `most`, (n, C, *space), changed by at "
        "most 2/255 of their range such that the translation's discriminators take them for the target; none where "
        "these are not there, as for a finished model.",
    ),
}
