"""TransGAN trains and runs translations between domains. Names are imported when first used: `--help` needs no torch."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Translator":
        from transgan.translator import Translator

        return Translator
    if name.startswith("_"):
        raise AttributeError(f"module 'transgan' has no attribute '{name}'")
    from transgan import api

    try:
        return getattr(api, name)
    except AttributeError:
        raise AttributeError(f"module 'transgan' has no attribute '{name}'") from None
