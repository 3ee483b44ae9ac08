"""Recipe and registry in, plan out: names resolved, options checked, terms bound. All mistakes are collected."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import nn

from transgan.api.protocols import Augmentation, Loss, Metric, Spec, Translation
from transgan.errors import PluginError, TransganError, UsageError, did_you_mean
from transgan.graph import LEAVES, Graph, accepts_all, asks
from transgan.plan.checks import check_plan
from transgan.plan.fallback import fallen_back
from transgan.plan.plan import GIVEN, JUDGED, TOLD, Judge, NetworkPlan, Plan, Stage, Term, matches
from transgan.recipe import Document, Inspection, Problems
from transgan.recipe.schema import DiscriminatorSlot, NetworkSlot, Recipe, Slot
from transgan.registry import Registry

Chosen = tuple[type[Any], Any]


def make_plan(document: Document, registry: Registry) -> Plan:
    """Resolves a recipe.

    Raises:
        RecipeError: with every mistake found, one line each.
    """
    plan = _Planner(document, registry).plan()
    if "fallback" in plan.recipe.guard.wanted:
        try:
            make_plan(fallen_back(document, plan.losses), registry)
        except UsageError as error:
            for line in getattr(error, "problems", [str(error)]):
                document.problems.add(("guard",), f"'fallback' would not run: {line}")
        document.problems.stop()
    return plan


def options_checker(registry: Registry) -> Inspection:
    """For `read_recipe`: checks the options of every plugin that a recipe with other mistakes names."""

    def inspect(slots: Mapping[tuple[str, ...], Mapping[str, Any]], problems: Problems) -> None:
        for place, slot in slots.items():
            kind = (
                {"source": "sources", "default": "sources", "media": "media"}[place[1]]
                if place[0] == "data"
                else place[0]
            )
            try:
                problems.validate(registry.get(kind, slot["use"]).Options, slot["options"], place)
            except PluginError as error:
                problems.add((*place, "use"), str(error))

    return inspect


def translations_of(recipe: Recipe) -> list[Translation]:
    """Every direction of every task, in the recipe's order."""
    found = []
    for name, task in recipe.tasks.items():
        if task.targets == "random":
            found.append(Translation(name, "*", "*"))
        elif task.both_ways:
            found += [Translation(name, *pair) for pair in permutations(task.domains, 2)]
        else:
            found.append(Translation(name, *task.domains))
    return found


def copy_for(per: str, name: str, recipe: Recipe, translation: Translation, domain: str) -> str | None:
    """The name of the copy of a slot's network that a translation uses; None where `per` has no answer."""
    domains = recipe.tasks[translation.task].domains
    if per == "run":
        return name
    if per == "task":
        return f"{name}.{translation.task}"
    if "*" in (translation.source, domain):
        return None
    if per == "domain":
        return f"{name}.{domain}"
    if per == "direction":
        forward = domains.index(translation.source) < domains.index(translation.target)
        return f"{name}.{'forward' if forward else 'backward'}"
    return f"{name}.{translation.source}-{translation.target}"


class _Planner:
    def __init__(self, document: Document, registry: Registry):
        self.recipe = document.recipe
        self.problems = document.problems
        self.registry = registry
        self.networks: dict[str, NetworkPlan] = {}
        self.unclear: set[Translation] = set()  # a mistake was told already, of which others would only follow
        self.filled: dict[tuple[str, ...], dict[str, Any]] = {}
        self.plugins: dict[str, str] = {}

    def plan(self) -> Plan:
        recipe = self.recipe
        source_place = ("data", "default") if recipe.data.root is None and recipe.data.default else ("data", "source")
        slots = {name: slot for name in ("source", "default", "media") if (slot := getattr(recipe.data, name))}
        data = {
            name: self.choose("media" if name == "media" else "sources", slot, ("data", name))
            for name, slot in slots.items()
        }
        kinds = ("conditionings", "augmentations", "generators", "encoders", "discriminators", "losses", "metrics")
        chosen = {kind: self.choose_all(kind) for kind in kinds}
        nodes = self.choose("nodes", recipe.nodes, ("nodes",))
        self.problems.stop()
        assert nodes is not None and all(data.values()), "a choice that failed has stopped the planner"
        data_plugins = {name: each for name, each in data.items() if each}

        media_cls, media_options = data_plugins["media"]
        try:
            media = media_cls(media_options, recipe.data.size)
        except TransganError as error:
            self.problems.add(("data", "media"), str(error))
            self.problems.stop()
        channels = media.channels
        attributes = {name: attribute.numbers for name, attribute in recipe.attributes.items()}
        names = (tuple(recipe.domains), tuple(recipe.tasks))
        self.spec = Spec(channels, channels, 0, tuple(media.space), *names, attributes)
        translations = translations_of(recipe)
        roles = self.bind_roles(translations, chosen)
        judges = self.bind_judges(translations, chosen)
        losses: dict[str, Loss] = {name: cls(options) for name, (cls, options) in chosen["losses"].items()}
        self.add_loss_networks(losses)
        node_set = nodes[0](nodes[1])
        graph = Graph({"": node_set, **losses})
        try:
            graph.closure(graph.functions)
        except ValueError as error:  # a circle; every further look at the nodes would meet it again
            self.problems.add(("nodes",), str(error))
            self.problems.stop()
        for name, slot in recipe.discriminators.items():
            for line in graph.missing([slot.real, slot.fake, slot.given or slot.real], f"discriminator '{name}'"):
                self.problems.add(("discriminators", name), line)
        terms = [
            term for name, loss in losses.items() for term in self.bind_terms(name, loss, translations, judges, graph)
        ]
        metrics: dict[str, Metric] = {}
        for name, (cls, options) in chosen["metrics"].items():
            try:
                metrics[name] = cls(options)
            except TransganError as error:  # weights that are not there are told before the training, not after it
                self.problems.add(("metrics", name), str(error))
        for name, metric in metrics.items():
            asked = [each for each in asks(metric.update) if each not in TOLD]
            for line in graph.missing(asked, f"metric '{name}'"):
                self.problems.add(("metrics", name), line)
        self.check_phases(terms)
        self.check_balance(terms)
        self.check_best(metrics)
        self.problems.stop()
        plan = Plan(
            recipe=recipe,
            translations=translations,
            networks=self.networks,
            roles=roles,
            judges=judges,
            losses=losses,
            terms=terms,
            graph=graph,
            nodes=node_set,
            stages=self.stages(),
            metrics=metrics,
            media=data_plugins["media"],
            sources=data_plugins[source_place[1]],
            plugins=self.plugins,
            filled=dict(self.filled),
        )
        check_plan(plan, self.problems)
        self.problems.stop()
        return plan

    def choose_all(self, kind: str) -> dict[str, Chosen]:
        slots: dict[str, Slot] = getattr(self.recipe, kind)
        found = {name: self.choose(kind, slot, (kind, name)) for name, slot in slots.items()}
        return {name: each for name, each in found.items() if each}

    def choose(self, kind: str, slot: Slot, place: tuple[str, ...]) -> Chosen | None:
        """The class that a slot names, and its options."""
        try:
            cls = self.registry.get(kind, slot.use)
        except PluginError as error:
            self.problems.add((*place, "use"), str(error))
            return None
        options = self.problems.validate(cls.Options, slot.options, place)
        if options is None:
            return None
        entry = self.registry.entries[kind, slot.use]
        self.plugins[entry.package] = entry.version
        self.filled[place] = options.model_dump(by_alias=True)
        return cls, options

    def bind_roles(
        self, translations: list[Translation], chosen: dict[str, dict[str, Chosen]]
    ) -> dict[Translation, dict[str, str]]:
        roles: dict[Translation, dict[str, str]] = {translation: {} for translation in translations}
        for name, slot in self.recipe.generators.items():
            self.served(("generators", name), slot, translations)
        for translation, role in roles.items():
            for name, slot in self.recipe.generators.items():
                if matches(translation, slot.translations):
                    if "generator" in role:
                        message = f"[{translation}] is served by '{role['generator']}' already; set 'translations'"
                        self.problems.add(("generators", name), message)
                    elif copy := self.copy(slot, ("generators", name), translation, translation.target):
                        role["generator"] = copy
                        told = slot.conditionings if slot.conditionings is not None else list(chosen["conditionings"])
                        self.network("generators", name, copy, "generator", slot.use, chosen, told, self.spec.inputs)
            for name, slot in self.recipe.encoders.items():
                for end in ("source", "target"):
                    if copy := self.copy(slot, ("encoders", name), translation, getattr(translation, end)):
                        role[f"{name}.{end}"] = role[name] = copy
                        told = slot.conditionings or []
                        self.network("encoders", name, copy, "generator", slot.use, chosen, told, self.spec.inputs)
            if "generator" not in role and translation not in self.unclear:
                self.problems.add(("generators",), f"none serves [{translation}]")
        for translation, role in roles.items():
            back = Translation(translation.task, translation.target, translation.source)
            if "generator" in roles.get(back, {}):
                role["back"] = roles[back]["generator"]
        return roles

    def bind_judges(
        self, translations: list[Translation], chosen: dict[str, dict[str, Chosen]]
    ) -> dict[Translation, list[Judge]]:
        judges: dict[Translation, list[Judge]] = {translation: [] for translation in translations}
        made = self.augmentations(chosen["augmentations"])
        for name, slot in self.recipe.discriminators.items():
            augment = tuple((each, made[each]) for each in slot.augment if each in made)
            for translation in self.served(("discriminators", name), slot, translations):
                domain = translation.source if slot.real == "source" else translation.target
                if copy := self.copy(slot, ("discriminators", name), translation, domain):
                    inputs = self.spec.inputs * (2 if slot.given else 1)
                    told = slot.conditionings or []
                    self.network("discriminators", name, copy, "discriminator", slot.use, chosen, told, inputs)
                    shown = (slot.real, slot.fake, slot.given, slot.history, augment, slot.adapt)
                    judges[translation].append(Judge(name, copy, *shown))
        return judges

    def augmentations(self, chosen: dict[str, Chosen]) -> dict[str, Augmentation]:
        made = {}
        for name, (cls, options) in chosen.items():
            try:
                made[name] = cls(options, self.spec)
            except TransganError as error:
                self.problems.add(("augmentations", name), str(error))
        return made

    def served(self, place: tuple[str, str], slot: NetworkSlot, translations: list[Translation]) -> list[Translation]:
        served = [translation for translation in translations if matches(translation, slot.translations)]
        if not served:
            self.problems.add((*place, "translations"), self.no_match(slot.translations, translations))
            self.unclear.update(translations)
        return served

    def copy(
        self, slot: NetworkSlot | DiscriminatorSlot, place: tuple[str, ...], translation: Translation, domain: str
    ) -> str | None:
        copy = copy_for(slot.per, place[-1], self.recipe, translation, domain)
        if copy is None:
            why = f"task '{translation.task}' draws its targets by chance"
            self.problems.add((*place, "per"), f"found '{slot.per}', expected 'run' or 'task', since {why}")
            self.unclear.add(translation)
        return copy

    def network(
        self,
        kind: str,
        slot: str,
        name: str,
        side: str,
        use: str,
        chosen: dict[str, dict[str, Chosen]],
        told: Sequence[str],
        inputs: int,
    ) -> None:
        if name in self.networks:
            other = self.networks[name]
            if other.kind != kind:
                self.problems.add(
                    (kind, slot), f"its network would be called '{name}', as one of [{other.kind}] is; rename one"
                )
            return
        conditionings: dict[str, Chosen] = {}
        for each in told:
            if each in chosen["conditionings"]:
                conditionings[each] = chosen["conditionings"][each]
            else:
                hint = did_you_mean(each, chosen["conditionings"])
                self.problems.add((kind, slot, "conditionings"), f"no conditioning '{each}'. {hint}")
        with torch.device("meta"):
            built = {each: cls(options, self.spec) for each, (cls, options) in conditionings.items()}
        style = sum(each.style for each in built.values())
        cls, options = chosen[kind][slot]
        if style and "style" not in asks(cls.forward) and not accepts_all(cls.forward):
            by = next(each for each, conditioning in built.items() if conditioning.style)
            message = f"'{use}' takes no style vector, which '{by}' makes; the condition could not reach it"
            self.problems.add((kind, slot, "conditionings"), message)
        spec = Spec(
            self.spec.channels,
            inputs + sum(each.channels for each in built.values()),
            style,
            self.spec.space,
            self.spec.domains,
            self.spec.tasks,
            self.spec.attributes,
        )
        self.networks[name] = NetworkPlan(name, kind, side, use, cls, options, spec, tuple(conditionings.values()))

    def add_loss_networks(self, losses: dict[str, Loss]) -> None:
        for name, loss in losses.items():
            with torch.device("meta"):
                own = list(loss.networks(self.spec))
            for each in own:
                build = partial(_network_of_loss, loss, each)
                where = f"{name}/{each}"
                self.networks[where] = NetworkPlan(where, "losses", "generator", name, build, None, self.spec, None)  # type: ignore[arg-type]

    def bind_terms(
        self,
        name: str,
        loss: Loss,
        translations: list[Translation],
        judges: dict[Translation, list[Judge]],
        graph: Graph,
    ) -> list[Term]:
        slot, terms = self.recipe.losses[name], []
        wanted = [translation for translation in translations if matches(translation, slot.translations)]
        judged = False
        for side in ("discriminator", "generator"):
            function = getattr(loss, f"for_{side}", None)
            if function is None:
                continue
            needed = tuple(each for each in asks(function) if each not in loss.unneeded)
            asked = [graph.resolve(each, name) for each in needed if each not in GIVEN]
            for line in graph.missing(asked, f"loss '{name}'", (*LEAVES, *GIVEN)):
                self.problems.add(("losses", name), line)
            for translation in wanted:
                if set(needed) & set(JUDGED):
                    judged = True
                    terms += [Term(name, side, translation, judge, function, needed) for judge in judges[translation]]
                else:
                    terms.append(Term(name, side, translation, None, function, needed))
        if not wanted:
            self.problems.add(("losses", name, "translations"), self.no_match(slot.translations, translations))
        elif not terms and not self.unclear.issuperset(wanted):
            why = (
                "no discriminator judges its translations"
                if judged
                else "it has neither for_generator nor for_discriminator"
            )
            self.problems.add(("losses", name), f"would never be evaluated: {why}")
        return terms

    def no_match(self, patterns: Sequence[str], translations: Sequence[Translation]) -> str:
        known = ", ".join(f"'{translation}'" for translation in translations)
        return f"{list(patterns)} matches no translation. Known: {known}"

    def check_best(self, metrics: Mapping[str, Metric]) -> None:
        evaluate = self.recipe.evaluate
        known = [name for metric in metrics.values() for name in metric.better]
        if evaluate.keep_best and evaluate.keep_best not in known:
            what = f"no metric of this recipe has the figure '{evaluate.keep_best}', or says whether more is better."
            self.problems.add(("evaluate", "keep_best"), f"{what} {did_you_mean(evaluate.keep_best, known)}")
        elif evaluate.keep_best and not evaluate.every:
            self.problems.add(("evaluate", "keep_best"), "only one model would be measured; set evaluate.every")

    def check_phases(self, terms: list[Term]) -> None:
        for i, phase in enumerate(self.recipe.phases):
            for key, known in (("losses", self.recipe.losses), ("trains", self.networks)):
                for pattern in getattr(phase, key) or ():
                    if not any(fnmatch(name, pattern) for name in known):
                        what = f"'{pattern}' matches none. {did_you_mean(pattern, known)}"
                        self.problems.add(("phases", i, key), what)
            if (
                not any(term.side == phase.side and matches(term.translation, phase.translations) for term in terms)
                and not self.problems
                and "phases" in self.recipe.model_fields_set  # by default there is one for each side, needed or not
            ):
                self.problems.add(("phases", i), f"no loss of this recipe has a term for the {phase.side} phase")

    def check_balance(self, terms: list[Term]) -> None:
        balance, tasks = self.recipe.train.balance, self.recipe.tasks
        if balance == "auto":
            asked = {"real_output", "fake_output"}
            judged = {t.translation.task for t in terms if t.side == "discriminator" and asked <= {*asks(t.function)}}
            for task in [each for each in tasks if each not in judged]:
                message = (
                    f"'auto' goes by how discriminators tell fakes from reals; none is trained to on task '{task}'"
                )
                self.problems.add(("train", "balance"), message)
        elif balance != "all":
            for task in [each for each in balance if each not in tasks]:
                self.problems.add(("train", "balance", task), f"no task '{task}'. {did_you_mean(task, tasks)}")
            for task in [each for each in tasks if each not in balance]:
                self.problems.add(("train", "balance"), f"no share for task '{task}'; 0 leaves it out")
            for task, share in balance.items():
                if min(share.numbers) < 0:
                    self.problems.add(("train", "balance", task), "expected a share of 0 or more")
            if not any(min(share.numbers) > 0 for share in balance.values()):
                self.problems.add(("train", "balance"), "expected a task whose share is above 0 at every moment")

    def stages(self) -> list[Stage]:
        recipe, found, first, share = self.recipe, [], 0, 0.0
        weights = {name: slot.weight for name, slot in recipe.losses.items()}
        if not recipe.stages:
            return [Stage(0, recipe.train.steps, recipe.data.size, recipe.train.batch, weights, recipe.optimizers)]
        for stage in recipe.stages:
            share += stage.share
            last = max(first, round(recipe.train.steps * min(share, 1.0)))
            size = min(stage.size or recipe.data.size, recipe.data.size)
            batch = stage.batch or recipe.train.batch
            found.append(
                Stage(first, last, size, batch, {**weights, **stage.losses}, stage.optimizers or recipe.optimizers)
            )
            first = last
        return found


def _network_of_loss(loss: Loss, name: str, options: None, spec: Spec) -> nn.Module:
    return loss.networks(spec)[name]
