"""Errors that cost what raised them and nothing else: of hooks, metrics, evaluations, previews, reports."""

from collections.abc import Callable, Mapping
from typing import Any

from transgan.api.protocols import Hooks
from transgan.graph import error_context


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


class RunHooks:
    """The hooks that the recipe names. A set of which a method raises an error is not called again.

    Args:
        hooks: the plan's, by name.
        failed: called with the method, the name of the hooks, and the error.
    """

    def __init__(self, hooks: Mapping[str, Hooks[Any]], failed: Callable[[str, str, Exception], None]):
        self.hooks = dict(hooks)
        self.failed = failed

    def call(self, moment: str, **arguments: Any) -> None:
        """Call the method of this name of all hooks, in the recipe's order."""
        for name, each in list(self.hooks.items()):
            try:
                with error_context(plugin=each):
                    getattr(each, moment)(**arguments)
            except Exception as error:
                del self.hooks[name]
                self.failed(moment, name, error)
