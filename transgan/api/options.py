"""Typed, strict options: what a recipe's table may say to a plugin."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of every plugin's options: unknown keys and wrong types are refused; a field's docstring is its help text.

    Fields that are numbers may be declared `Schedule`: then the recipe may write a number or a schedule.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    #: Words of the recipe's own grammar, which no plugin option may be called.
    reserved: ClassVar[frozenset[str]] = frozenset(
        {"use", "per", "translations", "conditionings", "real", "fake", "given", "history", "weight"}
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if taken := sorted(cls.reserved & cls.model_fields.keys()):
            raise TypeError(
                f"{cls.__qualname__}: {', '.join(taken)} belong to the recipe's grammar; choose other names"
            )
