"""Errors that cost what raised them and nothing else: of lifecycle hooks, metrics, evaluations, previews, reports."""

from collections.abc import Callable, Mapping
from typing import Any

from transgan.registry import Registry


class Failures:
    """What has failed so far without ending the run; part of the run's state, so that result.json names all of it."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}
        """The first message about each thing that has failed, by that thing."""

    def add(self, what: str, message: str) -> bool:
        """Keep the message, unless this has failed before; return whether it is new."""
        new = what not in self.messages
        self.messages.setdefault(what, message)
        return new

    def state_dict(self) -> dict[str, Any]:
        """Return `messages`."""
        return {"messages": dict(self.messages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        self.messages = {str(what): str(message) for what, message in state["messages"].items()}


class Hooks:
    """The lifecycle hooks of all plugins. A plugin whose hook raises an error is not called again.

    Args:
        registry: the plugins.
        failed: called with the hook, the plugin's package, and the error.
    """

    def __init__(self, registry: Registry, failed: Callable[[str, str, Exception], None]):
        self.registry = registry
        self.failed = failed
        self.callers: dict[str, dict[str, Any]] = {}
        """What calls a hook of one plugin, by hook and by the plugin's name."""
        self.disabled: set[str] = set()

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every plugin that has it, the last registered first, as pluggy does."""
        if hook not in self.callers:
            self.callers[hook] = self._callers_of(hook)
        for name, caller in self.callers[hook].items():
            if name not in self.disabled:
                try:
                    caller(**arguments)
                except Exception as error:
                    self.disabled.add(name)
                    self.failed(hook, self.registry.packages.get(name) or name, error)

    def _callers_of(self, hook: str) -> dict[str, Any]:
        manager = self.registry.manager
        everyone = manager.list_name_plugin()
        names = dict.fromkeys(each.plugin_name for each in reversed(getattr(manager.hook, hook).get_hookimpls()))
        return {
            name: manager.subset_hook_caller(hook, [plugin for other, plugin in everyone if plugin and other != name])
            for name in names
        }
