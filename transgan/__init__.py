"""TransGAN trains and runs translations between domains. Names are imported on first use: `--help` needs no torch."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Translator":
        from transgan.translator import Translator

        return Translator
    if name.startswith("_"):
        raise AttributeError(f"module 'transgan' has no attribute '{name}'")
    import transgan.api as api  # `from transgan import api` would ask here again

    try:
        return getattr(api, name)
    except AttributeError:
        raise AttributeError(f"module 'transgan' has no attribute '{name}'") from None
