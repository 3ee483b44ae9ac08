"""Import of optional packages, with an error that names the command to install them."""

from importlib import import_module
from typing import Any

from transgan.errors import PluginError


def require(module: str, extra: str, why: str) -> Any:
    """Import and return a module of an optional package.

    Args:
        module: the full name, such as `"kornia.geometry.transform"`.
        extra: the extra of TransGAN that installs the package.
        why: the feature that requires it, to complete "... needs kornia".

    Raises:
        PluginError: the package is not installed, or its import fails.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise PluginError(
            f'{why} needs {package}, which cannot be imported ({error}): pip install "transgan[{extra}]"'
        ) from None
