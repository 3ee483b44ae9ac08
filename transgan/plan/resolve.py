"""From recipe and registry to a plan: names resolved, options checked, losses bound. All mistakes are collected."""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from transgan.api.names import BATCH_INPUTS, DISCRIMINATOR_ARGUMENTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
from transgan.api.protocols import Hooks, Loss, Metric, NetworkSpec, Nodes
from transgan.errors import PluginError, TransganError, UsageError, closest, did_you_mean
from transgan.graph import Graph, used_arguments
from transgan.plan.assign import Assigner, Chosen
from transgan.plan.checks import check_plan
from transgan.plan.fallback import is_candidate, with_fallback
from transgan.plan.plan import ROLES, MediaPlan, Plan, Stage, Term, matches, matches_any, unmatched
from transgan.plugin_objects import make
from transgan.recipe import Document
from transgan.recipe.schema import Fallback, Recipe, as_size, smaller_size
from transgan.recipe.slots import Slot
from transgan.registry import Registry
from transgan.text import listed


def make_plan(document: Document, registry: Registry) -> Plan:
    """Resolve a recipe.

    Raises:
        RecipeError: there are mistakes; each has a line.
    """
    plan = _Planner(document, registry).plan()
    if "fallback" in plan.recipe.guard.possible_actions:
        try:
            plan.fallback = make_plan(with_fallback(document, plan), registry)
        except UsageError as error:
            for line in getattr(error, "problems", [str(error)]):
                document.problems.add(("guard",), f"'fallback' would not run: {line}")
        document.problems.stop()
    return plan


class _Planner:
    def __init__(self, document: Document, registry: Registry):
        self.recipe = document.recipe
        self.problems = document.problems
        self.registry = registry
        self.filled: dict[tuple[str, ...], dict[str, Any]] = {}
        self.plugins: dict[str, str] = {}
        self.batch_inputs = (*BATCH_INPUTS, *(f"{role}_{name}" for name in self.recipe.inputs for role in ROLES))

    def plan(self) -> Plan:
        recipe = self.recipe
        source = "default" if recipe.data.root is None and recipe.data.default else "source"
        slots = {name: slot for name in ("source", "default", "media") if (slot := getattr(recipe.data, name))}
        data = {
            name: self.choose("media" if name == "media" else "sources", slot, ("data", name))
            for name, slot in slots.items()
        }
        kinds = (
            "conditionings",
            "augmentations",
            "generators",
            "encoders",
            "discriminators",
            "losses",
            "metrics",
            "hooks",
        )
        chosen = {kind: self.choose_all(kind) for kind in kinds}
        nodes = self.choose("nodes", recipe.nodes, ("nodes",))
        self.check_fallback()
        self.problems.stop()
        assert nodes is not None and all(data.values()), "a choice that failed has stopped the planner"
        data_plugins = {name: each for name, each in data.items() if each}
        if recipe.data.root is not None and not data_plugins[source][0].reads_root:
            use = getattr(recipe.data, source).use
            remedy = "leave it out, or let data.source be one that reads a folder (transgan plugins lists them)"
            self.problems.add(("data", "root"), f"the source '{use}' makes its samples and reads no folder; {remedy}")

        media = self.media(data_plugins["media"])
        input_media = self.input_media(media)
        spec, channels = self.spec(media, input_media)
        assigner = Assigner(recipe, spec, channels, chosen, self.problems)
        losses: dict[str, Loss] = {name: make(cls, options) for name, (cls, options) in chosen["losses"].items()}
        stages = stages_of(recipe)
        used = {name for stage in stages for name, weight in stage.weights.items() if weight.ever_nonzero}
        assigner.add_networks_of({name: loss for name, loss in losses.items() if name in used})
        node_set = make(*nodes)
        graph = self.graph(node_set, losses)
        terms = [term for name, loss in losses.items() for term in self.terms(name, loss, assigner, graph)]
        plan = Plan(
            recipe=recipe,
            translations=assigner.translations,
            networks=assigner.networks,
            roles=assigner.roles,
            discriminators=assigner.discriminators,
            losses=losses,
            terms=terms,
            graph=graph,
            nodes=node_set,
            stages=stages,
            metrics=self.metrics(chosen["metrics"], graph),
            hooks=self.hooks(chosen["hooks"]),
            media=media,
            input_media=input_media,
            sources=data_plugins[source],
            plugins=self.plugins,
            filled=dict(self.filled),
            adversarial_losses=self.adversarial_losses(),
            problems=self.problems,
        )
        check_plan(plan, self.problems)
        return plan

    def check_fallback(self) -> None:
        """Check what the recipe says of the losses of the fallback, whether or not a fault can cause one."""
        guard, default = self.recipe.guard, Fallback()
        names = {"adversarial": guard.fallback.adversarial, "penalty": guard.fallback.penalty.use}
        for key, name in names.items():
            if "fallback" not in guard.possible_actions and name in (default.adversarial, default.penalty.use):
                continue  # nothing needs it, so it need not be installed
            known = sorted({e.name for e in self.registry.candidates("losses") if is_candidate(e.cls, key)})
            if name.rpartition(":")[2] not in known:
                what = "an adversarial loss" if key == "adversarial" else "a gradient penalty"
                message = f"'{name}' is not {what}; expected one of {listed(known, 10)}"
                self.problems.add(("guard", "fallback", key), message)

    def adversarial_losses(self) -> str:
        """Return what a plan's messages say of losses with a decision logit."""
        names = {each.name for each in self.registry.candidates("losses") if each.cls.decision_logit is not None}
        return f"an adversarial loss with a decision_logit, such as {listed(sorted(names))}"

    def choose_all(self, kind: str) -> dict[str, Chosen]:
        slots: dict[str, Slot] = getattr(self.recipe, kind)
        own = {name: slot for name, slot in slots.items() if getattr(slot, "shares", None) is None}
        found = {name: self.choose(kind, slot, (kind, name)) for name, slot in own.items()}
        return {name: each for name, each in found.items() if each}

    def choose(self, kind: str, slot: Slot, place: tuple[str, ...]) -> Chosen | None:
        """Return the class that a slot names, and its options; None where either is wrong."""
        try:
            entry = self.registry.find(kind, slot.use)
        except PluginError as error:
            slots = getattr(self.recipe, kind) if place == (kind, slot.use) else ()  # a slot that says no plugin
            close = closest(slot.use, [name for name in slots if name != slot.use])
            hint = f"; or is [{kind}.{close}] meant?" if close else ""
            self.problems.add((*place, "use"), f"{error}{hint}")
            return None
        options = self.problems.validate(entry.cls.Options, slot.options, place)
        if options is None:
            return None
        self.plugins[entry.package] = entry.version
        self.filled[place] = options.model_dump(by_alias=True)
        return entry.cls, options

    def media(self, default: Chosen) -> dict[str, MediaPlan]:
        """Return the media of each domain: `data.media`, changed by what the domain's own `media` says."""
        slot = self.recipe.data.media
        found = {}
        for name, selection in self.recipe.domains.items():
            cls, options = default
            use = slot.use
            if isinstance(selection, Mapping) and "media" in selection:
                own = self._own_media(selection["media"], slot, ("domains", name, "media"))
                if own is None:
                    continue
                use, (cls, options) = own
            found[name] = MediaPlan(use, cls, options)
        self.problems.stop()
        return found

    def input_media(self, media: Mapping[str, MediaPlan]) -> dict[str, MediaPlan]:
        """Return the media of further inputs, by `domain.input`: the domain's, changed by what the input says."""
        found: dict[str, MediaPlan] = {}
        for name, each in self.recipe.inputs.items():
            for domain, selection in each.domains.items():
                place = ("inputs", name, "domains", domain)
                if domain not in media:
                    self.problems.add(place, f"no domain '{domain}'. {did_you_mean(domain, media)}")
                    continue
                slot = Slot(use=media[domain].use, options=media[domain].options.model_dump(mode="json"))
                has_own = isinstance(selection, Mapping) and "media" in selection
                value = selection["media"] if has_own else each.media
                where = (*place, "media") if has_own else ("inputs", name, "media")
                if own := self._own_media(value, slot, where):
                    self.filled[*place, "media"] = self.filled[where]
                    found[f"{domain}.{name}"] = MediaPlan(own[0], *own[1])
        self.problems.stop()
        return found

    def _own_media(self, value: Any, default: Slot, place: tuple[str, ...]) -> tuple[str, Chosen] | None:
        if not isinstance(value, (str, Mapping)):
            self.problems.add(place, "expected the name of a media, or a table of its options")
            return None
        table = {"use": value} if isinstance(value, str) else dict(value)
        use = table.pop("use", default.use)
        options = table.pop("options", table)
        inherited = default.options if use == default.use else {}
        chosen = self.choose("media", Slot(use=use, options={**inherited, **options}), place)
        return (use, chosen) if chosen else None

    def spec(
        self, media: Mapping[str, MediaPlan], inputs: Mapping[str, MediaPlan]
    ) -> tuple[NetworkSpec, dict[str, int]]:
        """Return what is the same for all networks, and the channels of samples, by domain and by `domain.input`."""
        channels, spaces, places = {}, {}, {}
        for name, each in (*media.items(), *inputs.items()):
            domain, _, further = name.partition(".")
            places[name] = ("inputs", further, "media") if further else ("domains", domain, "media")
            try:
                instance = each.at(as_size(self.recipe.data.size))
                channels[name], spaces[name] = instance.channels, tuple(instance.space)
            except TransganError as error:
                own = further or places[name] in self.filled
                self.problems.add(places[name] if own else ("data", "media"), str(error))
        self.problems.stop()
        first = next(iter(media))
        for name, space in spaces.items():
            if space != spaces[first]:
                what = f"its samples are {space}, those of '{first}' {spaces[first]}; expected the same size"
                self.problems.add(places[name], what)
        attributes = {name: attribute.numbers for name, attribute in self.recipe.attributes.items()}
        names = (tuple(self.recipe.domains), tuple(self.recipe.tasks))
        return NetworkSpec(channels[first], channels[first], 0, spaces[first], *names, attributes), channels

    def graph(self, nodes: Nodes, losses: Mapping[str, Loss]) -> Graph:
        """Return the nodes of the recipe's set and of its losses."""
        graph = Graph({"": nodes, **losses})
        try:
            graph.closure(graph.functions)
        except ValueError as error:  # a cycle; everything below would fail at it again
            self.problems.add(("nodes",), str(error))
            self.problems.stop()
        for name in sorted(graph.functions.keys() & set(self.batch_inputs)):
            further = next(each for each in self.recipe.inputs if name.endswith(f"_{each}"))
            message = (
                f"gives '{name}', and the set of nodes '{self.recipe.nodes.use}' has a node of that name; rename it"
            )
            self.problems.add(("inputs", further), message)
        for name, slot in self.recipe.discriminators.items():
            names = [slot.real, slot.fake, *slot.beside]
            for line in graph.missing(names, f"discriminator '{name}'", self.batch_inputs):
                self.problems.add(("discriminators", name), line)
        return graph

    def terms(self, name: str, loss: Loss, assigner: Assigner, graph: Graph) -> list[Term]:
        """Bind a loss to its translations, and to each of their discriminators if its arguments name one."""
        slot, terms = self.recipe.losses[name], []
        wanted = [translation for translation in assigner.translations if matches(translation, slot.translations)]
        needs_discriminator = False
        known = self.recipe.discriminators
        unknown = [each for each in slot.discriminators if each != "*" and not any(fnmatch(n, each) for n in known)]
        for pattern in unknown:
            message = f"'{pattern}' matches none. {did_you_mean(pattern, known)}"
            self.problems.add(("losses", name, "discriminators"), message)
        for side in ("discriminator", "generator"):
            function = getattr(loss, f"for_{side}", None)
            if function is None:
                continue
            arguments = used_arguments(loss, function)
            for line in graph.missing(arguments, f"loss '{name}'", self.batch_inputs, name, LOSS_ARGUMENTS):
                self.problems.add(("losses", name), line)
            for translation in wanted:
                if set(arguments) & set(DISCRIMINATOR_ARGUMENTS):
                    needs_discriminator = True
                    every = assigner.discriminators[translation]
                    uses = [use for use in every if matches_any(use.name, slot.discriminators)]
                    terms += [Term(name, side, translation, use, function, arguments) for use in uses]
                else:
                    terms.append(Term(name, side, translation, None, function, arguments))
        wrong = unmatched(slot.translations, assigner.translations)
        for line in wrong:
            self.problems.add(("losses", name, "translations"), line)
        if not terms and not unknown and not wrong and not assigner.unclear.issuperset(wanted):
            why = (
                "its translations have no discriminator"
                if needs_discriminator
                else "it has neither for_generator nor for_discriminator"
            )
            self.problems.add(("losses", name), f"would never be evaluated: {why}")
        return terms

    def hooks(self, chosen: Mapping[str, Chosen]) -> dict[str, Hooks]:
        """Return the recipe's hooks, constructed."""
        found: dict[str, Hooks] = {}
        for name, (cls, options) in chosen.items():
            try:
                found[name] = make(cls, options)
            except TransganError as error:
                self.problems.add(("hooks", name), str(error))
        return found

    def metrics(self, chosen: Mapping[str, Chosen], graph: Graph) -> dict[str, Metric]:
        """Return the recipe's metrics, constructed."""
        metrics: dict[str, Metric] = {}
        for name, (cls, options) in chosen.items():
            try:
                metrics[name] = make(cls, options)
            except TransganError as error:  # missing weights are reported before training, not after it
                self.problems.add(("metrics", name), str(error))
        for name, metric in metrics.items():
            names = used_arguments(metric, metric.update)
            for line in graph.missing(names, f"metric '{name}'", self.batch_inputs, "", METRIC_ARGUMENTS):
                self.problems.add(("metrics", name), line)
        return metrics


def stages_of(recipe: Recipe) -> list[Stage]:
    """Return the stages of the run: those of the recipe, or the whole run as one."""
    found, first, share, freeze = [], 0, 0.0, recipe.train.freeze
    weights = {name: slot.weight for name, slot in recipe.losses.items()}
    if not recipe.stages:
        size, steps, batch = as_size(recipe.data.size), recipe.train.steps, recipe.train.batch
        return [Stage(0, steps, size, batch, weights, recipe.optimizers, recipe.phases, tuple(freeze))]
    for i, stage in enumerate(recipe.stages):
        share += stage.share
        last = max(first, round(recipe.train.steps * min(share, 1.0)))
        if stage.most is not None and i + 1 < len(recipe.stages):
            last = min(last, first + stage.most)
        size = smaller_size(stage.size or recipe.data.size, recipe.data.size)
        batch = stage.batch or recipe.train.batch
        optimizers = stage.optimizers.applied_to(recipe.optimizers)
        phases = recipe.phases if stage.phases is None else stage.phases
        losses, frozen = {**weights, **stage.losses}, (*freeze, *stage.freeze)
        found.append(Stage(first, last, size, batch, losses, optimizers, phases, frozen, stage.conditions))
        first = last
    return found
