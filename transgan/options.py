"""Typed, strict options: what a recipe's table may say to a plugin."""

from typing import Any, ClassVar, Generic, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar


class Options(BaseModel):
    """Base class of every plugin's options.

    Unknown keys and wrong types are refused. The docstring below a field is its help text. A field that is a number may
    be declared `Schedule`: then a recipe may write a number or a schedule.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


Size = int | tuple[int, ...]
"""Size of a training sample, in a unit of its media's own: a number, or one for each axis."""

OptionsT = TypeVar("OptionsT", bound=Options, default=Options)


class Configurable(Generic[OptionsT]):
    """Base class of every plugin that has options: `class Blur(Loss[BlurOptions])` makes `BlurOptions` its options.

    A plugin without options names none: `class Blur(Loss)`.
    """

    Options: ClassVar[type[BaseModel]] = Options
    """The class of the options, from the type argument."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Configurable):
                for parameter, argument in zip(getattr(origin, "__parameters__", ()), get_args(base), strict=False):
                    # What is no subclass of Options is refused where the plugin is registered.
                    bound = getattr(parameter, "__bound__", None)
                    is_options = isinstance(bound, type) and issubclass(bound, Options)
                    if (
                        argument is not Any
                        and isinstance(argument, type)
                        and (is_options or issubclass(argument, Options))
                    ):
                        cls.Options = argument
