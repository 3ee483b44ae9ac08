"""Packages that only some plugins need: imported on first use, and named with the command that brings them."""

from importlib import import_module
from typing import Any

from transgan.errors import PluginError


def require(module: str, extra: str, why: str) -> Any:
    """A module of an optional package.

    Args:
        module: `"kornia.geometry.transform"`.
        extra: of TransGAN's own extras, the one that brings it.
        why: what it is needed for, to complete "... needs kornia".

    Raises:
        PluginError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise PluginError(
            f'{why} needs {package}, which is not there ({error}): pip install "transgan[{extra}]"'
        ) from None
