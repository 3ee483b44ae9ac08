"""Checks of a whole plan: mistakes in a recipe whose names are all known."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

from transgan.api.protocols import Loss
from transgan.errors import TransganError, did_you_mean
from transgan.graph import argument_names
from transgan.plan.build import Conditioned, build_network, hidden_layers, mixes_batch, on_meta_device
from transgan.plan.kept import KEPT, check_kept
from transgan.plan.plan import Plan, Term, is_frozen, unmatched
from transgan.recipe import Problems, Recipe
from transgan.recipe.schema import Phase
from transgan.schedule import Schedule

Place = tuple[str | int, ...]


def check_plan(plan: Plan, problems: Problems) -> None:
    """Check a plan whose names are resolved.

    Args:
        problems: the mistakes so far.

    Raises:
        RecipeError: there are mistakes, those or new ones.
    """
    _check_batches(plan, problems)
    _check_phases(plan, problems)
    _check_optimizers(plan, problems)
    _check_stage_conditions(plan, problems)
    _check_balance(plan, problems)
    _check_best(plan, problems)
    _check_media(plan, problems)
    _check_measures(plan, problems)
    _check_kept(plan, problems)
    _check_networks(plan, problems)
    problems.stop()  # the checks below rely on those above
    for name, loss in plan.losses.items():
        for place, weight in _weights(plan, name):
            _check_weight(name, loss, weight, place, problems)
    for term in plan.terms:
        _check_arguments(plan, term, problems)
        _check_inputs(plan, term, problems)
    _check_penalties(plan, problems)
    _check_frozen(plan, problems)
    _check_adapt(plan, problems)
    _check_something_trains(plan, problems)
    problems.stop()


def _check_something_trains(plan: Plan, problems: Problems) -> None:
    """Refuse a run that would end as it began, with figures and a model of random weights."""
    if not plan.losses:
        return  # a model, which is not trained
    if not any(plan.trained(phase) for stage in plan.stages for phase in stage.phases):
        place = ("stages",) if any(stage.phases is not None for stage in plan.recipe.stages) else ("phases",)
        problems.add(place, "no phase trains anything; expected one of the side 'generator' or 'discriminator'")
    if not any(weight.ever_nonzero for name in plan.losses for _, weight in _weights(plan, name)):
        problems.add(("losses",), "every weight is 0, so nothing is trained; expected a loss with a weight above 0")


def _check_batches(plan: Plan, problems: Problems) -> None:
    """Check that every batch can be divided by its micro-batches; by processes: `transgan.data.batches`."""
    count = plan.recipe.train.accumulate
    for i, stage in enumerate(plan.stages):
        own = bool(plan.recipe.stages) and plan.recipe.stages[i].batch is not None
        if stage.batch % count:
            place: Place = ("stages", i, "batch") if own else ("train", "batch")
            what = f"{stage.batch} cannot be divided by train.accumulate = {count}; expected a multiple of it"
            problems.add(place, what)


def _check_phases(plan: Plan, problems: Problems) -> None:
    if not plan.losses and plan.recipe.phases:
        problems.add(("losses",), "names no loss, so nothing is trained; expected one or more")
        return
    usual = Recipe.model_fields["phases"].default
    every: list[tuple[Place, list[Phase]]] = [(("phases",), plan.recipe.phases)]
    every += [(("stages", i, "phases"), stage.phases or []) for i, stage in enumerate(plan.recipe.stages)]
    for place, phases in every:
        for i, phase in enumerate(phases):
            for key, known in (("losses", plan.losses), ("trains", plan.networks)):
                for pattern in getattr(phase, key) or ():
                    if not any(fnmatch(name, pattern) for name in known):
                        problems.add((*place, i, key), f"'{pattern}' matches none. {did_you_mean(pattern, known)}")
            for line in unmatched(phase.translations, plan.translations):
                problems.add((*place, i, "translations"), line)
            if phase.trains == []:
                problems.add((*place, i, "trains"), "names no network; leave it out for all of the side")
            for pattern in phase.trains or ():
                sides = {network.side for name, network in plan.networks.items() if fnmatch(name, pattern)}
                if sides and phase.side not in sides:
                    message = (
                        f"'{pattern}' matches networks of the other side alone; a {phase.side} phase trains its own"
                    )
                    problems.add((*place, i, "trains"), message)
            # The defaults, also where they are written out, may be unused.
            if not problems and phases != usual and not plan.terms_in(phase):
                problems.add((*place, i), f"no loss of this recipe has a term for the {phase.side} phase")


def _check_optimizers(plan: Plan, problems: Problems) -> None:
    named = plan.recipe.optimizers.named
    for name, optimizer in named.items():
        for pattern in optimizer.networks:
            if not any(fnmatch(network, pattern) for network in plan.networks):
                place = ("optimizers", name, "networks")
                problems.add(place, f"'{pattern}' matches none. {did_you_mean(pattern, plan.networks)}")
    for i, stage in enumerate(plan.recipe.stages):
        for name in stage.optimizers.model_extra or ():
            if name not in named:
                known = ["generator", "discriminator", *named]
                problems.add(("stages", i, "optimizers", name), f"no such optimizer. {did_you_mean(name, known)}")


def _check_stage_conditions(plan: Plan, problems: Problems) -> None:
    """Check that some network takes each condition of a stage."""
    for i, stage in enumerate(plan.recipe.stages):
        for name in stage.conditions:
            place = ("stages", i, "conditions", name)
            if name in {"task", "domain", "style", KEPT, *plan.recipe.attributes}:
                problems.add(place, "is a condition of samples, which a stage cannot set; choose another name")
            elif not any(network.takes(name) for network in plan.networks.values()):
                problems.add(place, "no network of this recipe has such an argument")


def _check_balance(plan: Plan, problems: Problems) -> None:
    place, balance, tasks = ("train", "balance"), plan.recipe.train.balance, plan.recipe.tasks
    if balance == "auto":
        outputs = {"real_output", "fake_output"}
        terms = [t for t in plan.terms if t.side == "discriminator" and outputs <= {*argument_names(t.function)}]
        for task in [each for each in tasks if each not in {t.translation.task for t in terms}]:
            what = "'auto' needs discriminators that are trained to distinguish real from fake"
            problems.add(place, f"{what}; task '{task}' has none")
    elif balance != "all":
        for task in [each for each in balance if each not in tasks]:
            problems.add((*place, task), f"no task '{task}'. {did_you_mean(task, tasks)}")
        for task in [each for each in tasks if each not in balance]:
            problems.add(place, f"no share for task '{task}'; write 0 to leave it out")
        for task, share in balance.items():
            if min(share.numbers) < 0:
                problems.add((*place, task), "expected a share of 0 or more")
        if not any(min(share.numbers) > 0 for share in balance.values()):
            problems.add(place, "expected a task whose share is above 0 at every moment")


def _check_best(plan: Plan, problems: Problems) -> None:
    place, evaluate = ("evaluate", "keep_best"), plan.recipe.evaluate
    known = [name for metric in plan.metrics.values() for name in metric.direction]
    if evaluate.keep_best and evaluate.keep_best not in known:
        what = f"no metric of this recipe reports '{evaluate.keep_best}' and says whether lower or higher is better."
        problems.add(place, f"{what} {did_you_mean(evaluate.keep_best, known)}")
    elif evaluate.keep_best and not evaluate.every:
        problems.add(place, "only one model would be measured; set evaluate.every")


def _check_measures(plan: Plan, problems: Problems) -> None:
    """Check that every domain has what each metric is for, and those of each loss what the loss is for."""
    domains = {name: (each.use, len(each.at(plan.stages[-1].size).space)) for name, each in plan.media.items()}
    measured: list[tuple[Place, tuple[str, int] | None, Iterable[str]]] = [
        *((("metrics", name), metric.measures, domains) for name, metric in plan.metrics.items()),
        *((("losses", name), loss.measures, _domains_of(plan, name)) for name, loss in plan.losses.items()),
    ]
    for place, measures, names in measured:
        kind, axes = measures or ("", 0)
        for domain in names if measures else ():
            use, count = domains[domain]
            if count != axes:
                what = f"samples of '{domain}', whose media is '{use}', have {_axes(count)}"
                problems.add(place, f"is for {kind}, which have {_axes(axes)}; {what}; leave it out")
                break


def _domains_of(plan: Plan, loss: str) -> dict[str, None]:
    """Return the domains of the tasks for which a loss is evaluated."""
    tasks = dict.fromkeys(term.translation.task for term in plan.terms if term.loss == loss)
    return {domain: None for task in tasks for domain in plan.recipe.tasks[task].domains}


def _axes(count: int) -> str:
    return f"{count} {'axis' if count == 1 else 'axes'}"


def _check_media(plan: Plan, problems: Problems) -> None:
    """Check that domains have the same media where a batch mixes them, and equal channels where a node needs that."""
    for name, task in plan.recipe.tasks.items():
        if task.targets == "random" and any(plan.media[each] != plan.media[task.domains[0]] for each in task.domains):
            message = "random targets mix domains in a batch, which needs the same media for all of them"
            problems.add(("tasks", name, "targets"), message)
        for further in plan.recipe.inputs if task.targets == "random" else ():
            media = [each for key in task.domains if (each := plan.input_media.get(f"{key}.{further}"))]
            if any(each != media[0] for each in media):
                message = f"random targets mix domains in a batch, which needs the same media of '{further}' for all"
                problems.add(("tasks", name, "targets"), message)
    for name, each in plan.input_media.items():
        domain, _, further = name.partition(".")
        if each.at(plan.stages[-1].size).ragged != plan.media[domain].at(plan.stages[-1].size).ragged:
            message = f"decodes files of '{domain}' to sizes in another way than its samples; they must correspond"
            problems.add(("inputs", further, "media"), message)
    channels = {name: each.at(plan.stages[-1].size).channels for name, each in plan.media.items()}
    for term in plan.terms:
        source, target = (channels.get(end, 0) for end in (term.translation.source, term.translation.target))
        if source != target and "identity" in plan.graph.closure(name for _, name in plan.nodes_of(term)):
            message = (
                f"needs equal channels: [{term.translation}] turns {source} into {target}, so its generator cannot "
                "take a target; leave the loss out, or restrict it by 'translations'"
            )
            problems.add(("losses", term.loss), message)


def _check_kept(plan: Plan, problems: Problems) -> None:
    """Check that what discriminators keep is known, that they read it, and that generators and encoders do not."""
    check_kept(plan.recipe, problems)
    for network in (plan.networks[name] for name in plan.generator_side):
        if network.takes(KEPT):
            slot = network.name.partition(".")[0]
            others = [
                name
                for name, (_, options) in zip(network.conditioning_names, network.conditionings or (), strict=True)
                if getattr(options, "of", None) != KEPT
            ]
            problems.add(
                (network.kind, slot),
                f"is conditioned on '{KEPT}', which discriminators alone get; set conditionings = {others} there",
            )
    for uses in plan.discriminators.values():
        for use in uses:
            if use.keep and not plan.networks[use.network].takes(KEPT):
                plugin = plan.networks[use.network].use
                problems.add(
                    ("discriminators", use.name, "keep"),
                    f"'{plugin}' is not conditioned on kept labels; set label_maps = true where it has that option, "
                    f'or give it a conditioning of = "{KEPT}"',
                )


def _check_networks(plan: Plan, problems: Problems) -> None:
    """Check that every network can be built where it stands, and that generators' strides divide the samples' axes."""
    for network in plan.networks.values():
        place = (network.kind, network.name.partition(".")[0])
        with on_meta_device():
            try:
                module = build_network(network, 0)
            except TransganError as error:
                problems.add(place, str(error))
                continue
        for attribute, form in hidden_layers(module):
            what = f"its attribute '{attribute.removeprefix('network.')}' holds layers where torch does not find them"
            problems.add(place, f"'{network.use}': {what}; they would be neither trained nor saved; use {form}")
        if not isinstance(module, Conditioned) or network.kind != "generators":
            continue
        stride = module.stride
        for i, stage in enumerate(plan.stages):
            space = plan.media[plan.domains[0]].at(stage.size).space[module.free_axes :]
            if any(axis % stride for axis in space):
                lower = " or ".join(str(axis // stride * stride or stride) for axis in dict.fromkeys(space))
                message = f"'{place[1]}' needs a multiple of {stride}, and samples are {'x'.join(map(str, space))}"
                own = bool(plan.recipe.stages) and plan.recipe.stages[i].size is not None
                where = ("stages", i, "size") if own else ("data", "size")
                problems.add(where, f"{message}; the next smaller one is {lower}")


def _weights(plan: Plan, loss: str) -> Iterator[tuple[Place, Schedule]]:
    """Yield a loss's weight, and those in stages, with their places."""
    yield ("losses", loss, "weight"), plan.recipe.losses[loss].weight
    for i, stage in enumerate(plan.recipe.stages):
        if loss in stage.losses:
            yield ("stages", i, "losses", loss), stage.losses[loss]


def _check_weight(name: str, loss: Loss, weight: Schedule, place: Place, problems: Problems) -> None:
    ends = weight.values if weight.curve == "steps" else [] if weight.to is None else [weight.to]
    if loss.nonzero_at_end and any(end <= 0 for end in ends):
        problems.add(place, f"ends at {min(ends):g}; the weight of '{name}' must stay above 0")


def _check_arguments(plan: Plan, term: Term, problems: Problems) -> None:
    place = ("losses", term.loss)
    names = {"source_outputs", "reconstruction_outputs", "fake_realness"} & set(term.arguments)
    if names and term.side == "discriminator":
        problems.add(place, f"{', '.join(sorted(names))} can be an argument of for_generator only")
        return
    if names - {"fake_realness"} and not plan.source_discriminators(term.translation):
        why = f"no discriminator is trained on the way back of [{term.translation}]"
        hint = f"; {one_way}" if (one_way := plan.one_way(term.translation)) else ""
        problems.add(place, f"compares features of the source domain's discriminators, and {why}{hint}")
    if "fake_realness" in names and not plan.realness_discriminators(term.translation):
        why = f"no discriminator of [{term.translation}] is trained by {plan.adversarial_losses}"
        problems.add(place, f"weights samples by how real discriminators find them, and {why}")


def _check_inputs(plan: Plan, term: Term, problems: Problems) -> None:
    """Check that a loss's translation has the known pairs and the further inputs that it depends on."""
    place, translation = ("losses", term.loss), term.translation
    task = plan.recipe.tasks[translation.task]
    names = [name for _, name in plan.nodes_of(term)]
    pairs = [each for each in plan.graph.closure(names) if each.startswith("pair_")]
    inputs = [each for each in pairs if each not in plan.graph.functions]
    if inputs and not task.trains_pairs:
        message = f"needs known pairs ('{inputs[0]}'), and task '{translation.task}' trains on none"
        problems.add(place, f"{message}; set paired = true or \"some\" there, or restrict it by 'translations'")
    for name, (further, domain) in plan.lacking(translation, names).items():
        message = f"needs '{name}' in [{translation}], and [inputs.{further}] has no files for domain '{domain}'"
        problems.add(place, f"{message}; add domains.{domain} there, or restrict it by 'translations'")


def _check_penalties(plan: Plan, problems: Problems) -> None:
    penalized = {
        (t.loss, t.discriminator.network)
        for t in plan.terms
        if t.discriminator and plan.losses[t.loss].penalizes_gradient
    }
    for name, network in sorted(penalized):
        with on_meta_device():
            mixing = mixes_batch(build_network(plan.networks[network], 0))
        if mixing:
            message = (
                f"is a gradient penalty, taken sample by sample, and the batch norm of '{network}' makes the output "
                'for one sample depend on the others; choose norm = "none", "group" or "instance" there'
            )
            problems.add(("losses", name), message)


def _check_frozen(plan: Plan, problems: Problems) -> None:
    """Check that every pattern of `freeze` matches something, and that something is left to train."""
    every: list[tuple[Place, list[str]]] = [(("train", "freeze"), plan.recipe.train.freeze)]
    every += [(("stages", i, "freeze"), stage.freeze) for i, stage in enumerate(plan.recipe.stages)]
    if not any(patterns for _, patterns in every):
        return
    with on_meta_device():
        modules = {name: build_network(network, 0) for name, network in plan.networks.items()}
    names = {network: [name for name, _ in module.named_parameters()] for network, module in modules.items()}
    for place, patterns in every:
        for pattern in patterns:
            of, _, parameter = pattern.partition("|")
            matching = [network for network in names if fnmatch(network, of)]
            if any(is_frozen(network, name, [pattern]) for network in matching for name in names[network]):
                continue
            known = {name.removeprefix("network.") for network in matching for name in names[network]}
            hint = did_you_mean(parameter, known) if known else did_you_mean(of, names)
            problems.add(place, f"'{pattern}' matches none. {hint}")
    for i, stage in enumerate(plan.stages):
        trained = {network for phase in stage.phases for network in plan.trained(phase)}
        left = (not is_frozen(network, name, stage.freeze) for network in trained for name in names[network])
        if trained and not any(left):
            place = ("stages", i, "freeze") if plan.recipe.stages else ("train", "freeze")
            problems.add(place, "nothing is left to train; expected patterns of some networks or parameters only")


def _check_adapt(plan: Plan, problems: Problems) -> None:
    for name, slot in plan.recipe.discriminators.items():
        place = ("discriminators", name, "adapt")
        uses = [use for each in plan.discriminators.values() for use in each if use.name == name]
        if slot.adapt and not slot.augment:
            problems.add(place, "needs augment, the augmentations whose probability it adapts")
        elif slot.adapt and not all(plan.adversarial_loss(use.network) for use in uses):
            problems.add(place, f"needs for this discriminator {plan.adversarial_losses}")
