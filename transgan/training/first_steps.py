"""What the first two steps of a run show that no trace of them does."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from transgan.training.engine import Engine
from transgan.training.unused import without_gradient

#: What generators whose last layer is not bounded return, and others never.
FAR_OUT = 1.5


def warnings_of(step: int, engine: Engine, losses: Mapping[str, Tensor], traced: bool) -> Iterator[str]:
    """Yield what a user has to know of a step that is done.

    Args:
        losses: of the step.
        traced: whether a trace has said what the run trains; else the first step does.
    """
    if step == 1 and not traced:
        evaluated = [name.rpartition("/")[2] for name in losses]
        found = engine.objective.differentiable, engine.unreached, set(engine.optimizers.norms)
        yield from without_gradient(engine.plan, evaluated, *found)
    if step == 1:
        yield from _out_of_range(engine)
    for owner, attribute in engine.changing:
        remedy = "keep tensors in the argument 'buffers'" if owner.startswith("loss ") else "compute it anew"
        yield (
            f"{owner} changes its attribute '{attribute}' from step to step, and no checkpoint holds it: if results "
            f"depend on it, a resumed run has others; {remedy}"
        )


def _out_of_range(engine: Engine) -> Iterator[str]:
    """Yield generators that return far more than samples are, which no discriminator need ever see mended."""
    for name, ends in engine.objective.ranges.items():
        low, high = map(float, ends)
        if max(-low, high) > FAR_OUT:
            yield (
                f"generator '{engine.plan.networks[name].use}' (network '{name}') returns {low:.3g} to {high:.3g}, and "
                "samples are in [-1, 1]: what is beyond is cut off; end it with torch.tanh"
            )
