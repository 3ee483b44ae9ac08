"""Who plays what: which copies there are of each network, which of them serve a translation, and which judge it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

from torch import nn

from transgan.api.protocols import Augmentation, Loss, Spec, Translation
from transgan.errors import TransganError, did_you_mean
from transgan.graph import accepts_all, asks
from transgan.plan.plan import Judge, NetworkPlan, matches
from transgan.plan.shapes import shapes
from transgan.recipe import Problems
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import DiscriminatorSlot, NetworkSlot

Chosen = tuple[type[Any], Any]


class Cast:
    """The networks of a plan and their parts; what cannot be cast is added to the problems.

    Args:
        spec: what is the same for all networks.
        chosen: the class and the options of every slot, by its kind and name.
    """

    def __init__(self, recipe: Recipe, spec: Spec, chosen: Mapping[str, Mapping[str, Chosen]], problems: Problems):
        self.recipe = recipe
        self.spec = spec
        self.chosen = chosen
        self.problems = problems
        self.networks: dict[str, NetworkPlan] = {}
        self.unclear: set[Translation] = set()  # a mistake was told already, of which others would only follow
        self.translations = translations_of(recipe)
        self.roles = self._roles()
        self.judges = self._judges()

    def add_networks_of(self, losses: Mapping[str, Loss]) -> None:
        """Adds the networks that losses bring along."""
        for name, loss in losses.items():
            with shapes():
                own = list(loss.networks(self.spec))
            for each in own:
                build = partial(_network_of_loss, loss, each)
                where = f"{name}/{each}"
                self.networks[where] = NetworkPlan(where, "losses", "generator", name, build, None, self.spec, None)  # type: ignore[arg-type]

    def _roles(self) -> dict[Translation, dict[str, str]]:
        roles: dict[Translation, dict[str, str]] = {translation: {} for translation in self.translations}
        for name, slot in self.recipe.generators.items():
            self._served_by(("generators", name), slot)
        for translation, role in roles.items():
            for name, slot in self.recipe.generators.items():
                if matches(translation, slot.translations):
                    if "generator" in role:
                        message = f"[{translation}] is served by '{role['generator']}' already; set 'translations'"
                        self.problems.add(("generators", name), message)
                    elif copy := self._copy(slot, ("generators", name), translation, translation.target):
                        role["generator"] = copy
                        self._add("generators", name, copy)
            for name, slot in self.recipe.encoders.items():
                for end in ("source", "target"):
                    if copy := self._copy(slot, ("encoders", name), translation, getattr(translation, end)):
                        role[f"{name}.{end}"] = role[name] = copy
                        self._add("encoders", name, copy)
            if "generator" not in role and translation not in self.unclear:
                self.problems.add(("generators",), f"none serves [{translation}]")
        for translation, role in roles.items():
            back = Translation(translation.task, translation.target, translation.source)
            if "generator" in roles.get(back, {}):
                role["back"] = roles[back]["generator"]
        return roles

    def _judges(self) -> dict[Translation, list[Judge]]:
        judges: dict[Translation, list[Judge]] = {translation: [] for translation in self.translations}
        made = self._augmentations()
        for name, slot in self.recipe.discriminators.items():
            augment = tuple((each, made[each]) for each in slot.augment if each in made)
            for translation in self._served_by(("discriminators", name), slot):
                domain = translation.source if slot.real == "source" else translation.target
                if copy := self._copy(slot, ("discriminators", name), translation, domain):
                    self._add("discriminators", name, copy)
                    shown = (slot.real, slot.fake, slot.given, slot.history, augment, slot.adapt)
                    judges[translation].append(Judge(name, copy, *shown))
        return judges

    def _augmentations(self) -> dict[str, Augmentation]:
        made = {}
        for name, (cls, options) in self.chosen["augmentations"].items():
            try:
                made[name] = cls(options, self.spec)
            except TransganError as error:
                self.problems.add(("augmentations", name), str(error))
        return made

    def _served_by(self, place: tuple[str, str], slot: NetworkSlot) -> list[Translation]:
        served = [translation for translation in self.translations if matches(translation, slot.translations)]
        if not served:
            self.problems.add((*place, "translations"), no_match(slot.translations, self.translations))
            self.unclear.update(self.translations)
        return served

    def _copy(self, slot: NetworkSlot, place: tuple[str, str], translation: Translation, domain: str) -> str | None:
        copy = copy_for(slot.per, place[-1], self.recipe, translation, domain)
        if copy is None:
            why = f"task '{translation.task}' draws its targets by chance"
            self.problems.add((*place, "per"), f"found '{slot.per}', expected 'run' or 'task', since {why}")
            self.unclear.add(translation)
        return copy

    def _add(self, kind: str, slot_name: str, name: str) -> None:
        """Plans one copy of a slot's network, unless another translation has asked for it already."""
        if name in self.networks:
            other = self.networks[name]
            if other.kind != kind:
                self.problems.add(
                    (kind, slot_name), f"its network would be called '{name}', as one of [{other.kind}] is; rename one"
                )
            return
        slot: NetworkSlot = getattr(self.recipe, kind)[slot_name]
        conditionings = self._conditionings(kind, slot_name, slot)
        with shapes():
            built = {each: cls(options, self.spec) for each, (cls, options) in conditionings.items()}
        style = sum(each.style for each in built.values())
        cls, options = self.chosen[kind][slot_name]
        if style and "style" not in asks(cls.forward) and not accepts_all(cls.forward):
            by = next(each for each, conditioning in built.items() if conditioning.style)
            message = f"'{slot.use}' takes no style vector, which '{by}' makes; the condition could not reach it"
            self.problems.add((kind, slot_name, "conditionings"), message)
        shown = self.spec.inputs * (2 if isinstance(slot, DiscriminatorSlot) and slot.given else 1)
        spec = replace(self.spec, inputs=shown + sum(each.channels for each in built.values()), style=style)
        side = "discriminator" if kind == "discriminators" else "generator"
        self.networks[name] = NetworkPlan(name, kind, side, slot.use, cls, options, spec, tuple(conditionings.values()))

    def _conditionings(self, kind: str, slot_name: str, slot: NetworkSlot) -> dict[str, Chosen]:
        """Those that tell a slot's network: what it says, and where it says nothing, all for a generator."""
        known, said = self.chosen["conditionings"], slot.conditionings
        if said is None:
            said = list(known) if kind == "generators" else []
        found = {}
        for each in said:
            if each in known:
                found[each] = known[each]
            else:
                hint = did_you_mean(each, known)
                self.problems.add((kind, slot_name, "conditionings"), f"no conditioning '{each}'. {hint}")
        return found


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


def no_match(patterns: Sequence[str], translations: Sequence[Translation]) -> str:
    """What to say of patterns that mean none of the translations."""
    known = ", ".join(f"'{translation}'" for translation in translations)
    return f"{list(patterns)} matches no translation. Known: {known}"


def _network_of_loss(loss: Loss, name: str, options: None, spec: Spec) -> nn.Module:
    return loss.networks(spec)[name]
