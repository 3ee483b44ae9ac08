"""TransGAN trains networks that translate samples between domains, and runs them.

Names are imported on first use, so that `transgan --help` does not import torch.
"""

from typing import Any as _Any

__version__ = "0.1.0"


def __dir__() -> list[str]:
    return ["Run", "TransganError", "Translator", "__version__", "train"]


def __getattr__(name: str) -> _Any:
    if name == "Translator":
        from transgan.inference.translator import Translator

        return Translator
    if name in ("Run", "train"):
        from transgan.training import run

        return getattr(run, name)
    if name.startswith("_"):
        raise AttributeError(f"module 'transgan' has no attribute '{name}'")
    import transgan.api as api  # `from transgan import api` would call this function again

    try:
        return getattr(api, name)
    except AttributeError:
        raise AttributeError(f"module 'transgan' has no attribute '{name}'") from None
