"""`train.checkpointing`: networks that compute their activations again in the backward pass."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn

from transgan.errors import UsageError, did_you_mean


def checkpointed(networks: Mapping[str, nn.Module], patterns: Iterable[str], known: Collection[str]) -> set[str]:
    """Return those of the networks that patterns of `train.checkpointing` name.

    Args:
        known: the names that patterns may mean: also of networks that are not here, as where a model translates.

    Raises:
        UsageError: a pattern names none; or one that keeps running statistics, which a second pass would change again.
    """
    found: set[str] = set()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UsageError(f'train.checkpointing = ["{pattern}"]: names no network. {did_you_mean(pattern, known)}')
        mine = {name for name in networks if fnmatchcase(name, pattern)}
        for name in sorted(mine):
            if any(key.endswith("running_mean") for key, _ in networks[name].named_buffers()):
                if pattern == name:
                    raise UsageError(
                        f'train.checkpointing = ["{name}"]: it has running statistics (batch norm), which a second '
                        "pass would change again; choose another norm, or do not name it"
                    )
                mine.remove(name)
        found |= mine
    return found
