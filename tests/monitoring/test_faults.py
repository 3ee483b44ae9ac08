"""Messages of faults."""

from transgan.monitoring.faults import MESSAGES, LossRoles, compare_with_limit, message_of
from transgan.recipe.schema import Fault, Guard

WHERE = "t: a -> b"


def test_a_message_has_the_figure_its_limit_and_the_losses_of_the_recipe() -> None:
    roles, rules = LossRoles(cycle=["back"], identity=["stay"], adversarial=["gan"]), Guard(skip=7)

    def message(fault: Fault, figure: float, where: str = WHERE) -> str:
        return message_of(compare_with_limit(fault, where, figure, rules), rules, roles)

    for fault in MESSAGES:
        text = message(fault, 0.123)
        assert "{" not in text and "cycle" not in text
    assert "12.3%" in message("collapse", 0.123)
    assert "expected 7 at most" in message("not_finite", 8, where="")
    assert "'back' and 'stay'" in message("copying", 0.123)
    assert "part of 'gan'" in message("discriminator_wins", 0.99)
