"""Assigns networks to translations: which copies of each slot there are, and their roles and discriminators."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

from torch import nn

from transgan.api.protocols import Augmentation, Loss, NetworkSpec, Translation
from transgan.errors import PluginFault, TransganError, did_you_mean
from transgan.graph import accepts_any_keyword, argument_names, error_context
from transgan.plan.build import on_meta_device
from transgan.plan.kept import KEPT, kept_values
from transgan.plan.plan import ROLES, DiscriminatorUse, NetworkPlan, matches, unmatched
from transgan.plugin_objects import make
from transgan.recipe import Problems
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import DiscriminatorSlot, NetworkSlot
from transgan.text import listed

Chosen = tuple[type[Any], Any]
"""A plugin class and its options."""


class Assigner:
    """The networks of a plan, their roles and discriminators. Mistakes are added to the problems.

    Args:
        spec: what is the same for all networks.
        channels: those of each domain's samples.
        chosen: the class and the options of every slot, by kind and name.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: NetworkSpec,
        channels: Mapping[str, int],
        chosen: Mapping[str, Mapping[str, Chosen]],
        problems: Problems,
    ):
        self.recipe = recipe
        self.spec = spec
        self.channels = channels
        self.chosen = chosen
        self.problems = problems
        self.networks: dict[str, NetworkPlan] = {}
        self.unclear: set[Translation] = set()  # reported already; further mistakes would only be consequences
        self.translations = translations_of(recipe)
        self.roles = self._roles()
        self.discriminators = self._discriminators()

    def add_networks_of(self, losses: Mapping[str, Loss]) -> None:
        """Add the losses' own networks."""
        for name, loss in losses.items():
            try:
                with on_meta_device():
                    own = list(networks_of(loss, self.spec))
            except TransganError as error:
                self.problems.add(("losses", name), str(error))
                continue
            for each in own:
                build = partial(_network_of_loss, loss, each)
                where = f"{name}/{each}"
                self.networks[where] = NetworkPlan(where, "losses", "generator", name, build, None, self.spec, None)

    def _roles(self) -> dict[Translation, dict[str, str]]:
        roles: dict[Translation, dict[str, str]] = {translation: {} for translation in self.translations}
        for name, slot in self.recipe.generators.items():
            self._served_by(("generators", name), slot)
        for translation, role in roles.items():
            for name, slot in self.recipe.generators.items():
                if matches(translation, slot.translations):
                    if "generator" in role:
                        message = f"[{translation}] already has the generator '{role['generator']}'; set 'translations'"
                        self.problems.add(("generators", name), message)
                    elif copy := self._copy(slot, ("generators", name), translation, translation.target):
                        role["generator"] = copy
                        self._add(
                            "generators",
                            name,
                            copy,
                            self._domain(translation, "source"),
                            self._domain(translation, "target"),
                        )
            for name, slot in self.recipe.encoders.items():
                for end in ("source", "target"):
                    if copy := self._copy(slot, ("encoders", name), translation, getattr(translation, end)):
                        role[f"{name}.{end}"] = role[name] = copy
                        domain = self._domain(translation, end)
                        self._add("encoders", name, copy, domain, domain)
            if "generator" not in role and translation not in self.unclear:
                self.problems.add(("generators",), f"no generator for [{translation}]")
        for translation, role in roles.items():
            if "generator" in roles.get(translation.back, {}):
                role["back"] = roles[translation.back]["generator"]
        return roles

    def _discriminators(self) -> dict[Translation, list[DiscriminatorUse]]:
        discriminators: dict[Translation, list[DiscriminatorUse]] = {
            translation: [] for translation in self.translations
        }
        augmentations = self._augmentations()
        for name, slot in self.recipe.discriminators.items():
            owner = self._owner(name, slot)
            if owner is None:
                continue
            owning = self.recipe.discriminators[owner]
            augment = tuple((each, augmentations[each]) for each in slot.augment if each in augmentations)
            for translation in self._served_by(("discriminators", name), slot):
                domain = translation.source if slot.real == "source" else translation.target
                if copy := self._copy(owning, ("discriminators", owner), translation, domain):
                    domain = self._domain(translation, "source" if slot.real == "source" else "target")
                    given = [self._given(translation, name) or domain for name in owning.beside]
                    self._add("discriminators", owner, copy, domain, domain, given)
                    inputs = (slot.real, slot.fake, slot.beside, slot.history, augment, slot.adapt, tuple(slot.keep))
                    discriminators[translation].append(DiscriminatorUse(name, copy, *inputs))
        return discriminators

    def _owner(self, name: str, slot: DiscriminatorSlot) -> str | None:
        """Return the discriminator slot whose networks a slot uses: its own; None where that cannot be."""
        if slot.shares is None:
            return name
        place = ("discriminators", name, "shares")
        slots = self.recipe.discriminators
        if slot.shares not in slots or slots[slot.shares].shares is not None:
            known = [each for each, other in slots.items() if other.shares is None]
            hint = did_you_mean(slot.shares, known)
            self.problems.add(place, f"no discriminator '{slot.shares}' with networks of its own. {hint}")
            return None
        if slot.options:
            self.problems.add(("discriminators", name, next(iter(slot.options))), f"is for '{slot.shares}' to say")
        return slot.shares

    def _domain(self, translation: Translation, end: str) -> str:
        """Return the domain at one end of a translation; of several, which have equal channels, the first."""
        name: str = getattr(translation, end)
        return self.recipe.tasks[translation.task].domains[0] if name == "*" else name

    def _given(self, translation: Translation, name: str) -> str:
        """Return whose channels a discriminator's second input has: a domain, `domain.input`, or "" for a node."""
        for role in ROLES:
            domain = self._domain(translation, "source" if role.endswith("source") else "target")
            of = {role: domain} | {f"{role}_{each}": f"{domain}.{each}" for each in self.recipe.inputs}
            if of.get(name) in self.channels:
                return of[name]
        return ""

    def _augmentations(self) -> dict[str, Augmentation]:
        made = {}
        for name, (cls, options) in self.chosen["augmentations"].items():
            try:
                made[name] = make(cls, options, self.spec)
            except TransganError as error:
                self.problems.add(("augmentations", name), str(error))
        return made

    def _served_by(self, place: tuple[str, str], slot: NetworkSlot) -> list[Translation]:
        for line in unmatched(slot.translations, self.translations):
            self.problems.add((*place, "translations"), line)
            self.unclear.update(self.translations)
        return [translation for translation in self.translations if matches(translation, slot.translations)]

    def _copy(self, slot: NetworkSlot, place: tuple[str, str], translation: Translation, domain: str) -> str | None:
        copy = copy_for(slot.per, place[-1], self.recipe, translation, domain)
        if copy is None:
            why = f"the targets of task '{translation.task}' are random"
            self.problems.add((*place, "per"), f"found '{slot.per}', expected 'run' or 'task', since {why}")
            self.unclear.add(translation)
        return copy

    def _add(self, kind: str, slot_name: str, name: str, source: str, target: str, given: Sequence[str] = ()) -> None:
        """Plan one copy of a slot's network, unless it is planned already.

        Args:
            source, target: the domains of its input and of its output.
            given: the domains of the nodes that a discriminator sees beside its input.
        """
        slot: NetworkSlot = getattr(self.recipe, kind)[slot_name]
        channels_in, channels_out = self.channels[source], self.channels[target]
        beside = sum(self.channels[each] for each in given)
        if name in self.networks:
            other = self.networks[name]
            if other.kind != kind:
                self.problems.add(
                    (kind, slot_name), f"its network would be called '{name}', like one of [{other.kind}]; rename one"
                )
            elif (other.spec.source_channels, other.spec.channels) != (channels_in, channels_out):
                message = (
                    f"'{name}' would turn {other.spec.source_channels} channels into {other.spec.channels}, and "
                    f'{channels_in} into {channels_out}; expected one of them: set per = "translation"'
                )
                self.problems.add((kind, slot_name, "per"), message)
            return
        conditionings = self._conditionings(kind, slot_name, slot)
        base, kept = self.spec, sum(map(len, kept_values(self.recipe).values()))
        if kept and kind == "discriminators":  # which alone get these labels
            base = replace(base, attributes={**base.attributes, KEPT: kept})
        with on_meta_device():
            built = {each: make(cls, options, base) for each, (cls, options) in conditionings.items()}
        style = sum(each.style for each in built.values())
        cls, options = self.chosen[kind][slot_name]
        if style and "style" not in argument_names(cls.forward) and not accepts_any_keyword(cls.forward):
            by = next(each for each, conditioning in built.items() if conditioning.style)
            message = f"'{slot.use}' takes no style vector, which '{by}' returns; the condition could not reach it"
            self.problems.add((kind, slot_name, "conditionings"), message)
        if not style and _needs_style(cls):
            what = f"'{slot.use}' needs a style vector, which no conditioning of it returns"
            remedy = 'give it one, such as an "embedding", or let style be None by default'
            self.problems.add((kind, slot_name), f"{what}; {remedy}")
        spec = replace(
            base,
            channels=channels_out,
            source_channels=channels_in,
            inputs=channels_in + beside + sum(each.channels for each in built.values()),
            style=style,
        )
        side = "discriminator" if kind == "discriminators" else "generator"
        chosen, names = tuple(conditionings.values()), tuple(conditionings)
        self.networks[name] = NetworkPlan(name, kind, side, slot.use, cls, options, spec, chosen, names)

    def _conditionings(self, kind: str, slot_name: str, slot: NetworkSlot) -> dict[str, Chosen]:
        """Return the conditionings of a slot's network: those that it names; by default all for a generator."""
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


def _needs_style(cls: type[Any]) -> bool:
    """Return whether a network's `forward` has an argument `style` without a default."""
    style = inspect.signature(cls.forward).parameters.get("style")
    return style is not None and style.default is style.empty


def translations_of(recipe: Recipe) -> list[Translation]:
    """Return every direction of every task, in the recipe's order."""
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
    """Return the name of the copy of a slot's network that a translation uses; None where `per` does not say which."""
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


def _network_of_loss(loss: Loss, name: str, options: None, spec: NetworkSpec) -> nn.Module:
    return networks_of(loss, spec)[name]


def networks_of(loss: Loss, spec: NetworkSpec) -> Mapping[str, nn.Module]:
    """Return a loss's own networks, newly built.

    Raises:
        PluginFault: it returns anything else.
    """
    with error_context(plugin=loss):
        found = loss.networks(spec)
    modules = found.values() if isinstance(found, Mapping) else [found]
    if not isinstance(found, Mapping) or not all(isinstance(each, nn.Module) for each in modules):
        what = listed(dict.fromkeys(type(each).__name__ for each in modules))
        raise PluginFault(loss, f"networks returned {what}, expected a table of modules by name: {{'name': module}}")
    return found
