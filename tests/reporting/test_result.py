"""result.json of any content: read as a run has written it, or refused in one line; a page does without it."""

import json
from typing import Any

import pytest

import transgan as api
from transgan.errors import DataError
from transgan.reporting.result import read_result
from transgan.storage import save

RECIPE = (
    'name = "zebra"\ngenerators.g = { use = "resnet", width = 2, blocks = 0 }\nlosses.cycle = 1.0\ntrain.steps = 100\n'
)
LINE = "coat: horse -> zebra"
DAMAGED: dict[str, tuple[str, str]] = {
    "no JSON": ("{x", "Expecting property name"),
    "deep": ("[" * 100_000, "recursion"),
    "null": ("null", "found null, expected the figures of a run"),
    "text": ('"x"', 'found "x", expected'),
    "list": ("[]", "found [], expected"),
    "no table of translations": ('{"translations": 3}', "translations: found 3, expected a valid dictionary"),
    "no number": ('{"translations": {"a": {"x": null}}}', "translations.a.x: found null, expected a valid number"),
    "large number": (f'{{"translations": {{"a": {{"x": {10**400}}}}}}}', "translations.a.x: found 1"),
    "steps": ('{"steps": "x"}', 'steps: found "x", expected a valid integer'),
    "advice": ('{"advice": 4}', "advice: found 4, expected a valid list"),
    "guard": ('{"guard": [null]}', "guard.0: found null, expected a valid string"),
    "protocols": ('{"protocols": []}', "protocols: found [], expected a valid dictionary"),
    "conditions": ('{"conditions": {"a | b": 1}}', "conditions.a | b: found 1, expected a valid dictionary"),
    "held out": ('{"held_out": "no"}', 'held_out: found "no", expected a valid boolean'),
    "control characters": ('{"translations": {"\\u001b[2J": 1}}', "translations."),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_no_run_has_written_is_refused_in_one_line(
    write_run: Any, view_of: Any, recipe_file: Any, kind: str
) -> None:
    content, why = DAMAGED[kind]
    recipe = recipe_file(RECIPE).read_text()
    folder = write_run(log=("2026-01-02 03:04:05+00:00  finished at step 100",), recipe=recipe)
    folder.result.write_text(content)
    with pytest.raises(DataError) as refusal:
        read_result(folder.result)
    line = str(refusal.value)
    assert line.startswith(f"{folder.result}: cannot be read: ") and why in line
    assert line.isprintable() and len(line) < 400 and "transgan finish" not in line
    view = view_of(folder)
    assert view.state == "finished" and not view.figures and view.warnings == [line]
    run = api.Run(folder.path)
    assert "finished" in repr(run) and "<b>zebra</b>: finished" in run._repr_html_()
    for what in ("result", "figures"):
        with pytest.raises(DataError, match="cannot be read"):
            getattr(run, what)
    save(folder.checkpoints, 1, {}, {})
    assert view_of(folder).warnings == [f"{line}; transgan finish {folder.path} writes it anew"]


@pytest.mark.parametrize("found", [{}, {"steps": 3}, {"steps": 3, "of another version": [1]}])
def test_keys_may_be_missing_or_unknown(write_run: Any, recipe_file: Any, found: dict[str, Any]) -> None:
    folder = write_run(
        recipe=recipe_file(RECIPE).read_text(), result={**found, "translations": {LINE: {"share": 1, "error": 0.5}}}
    )
    assert read_result(folder.result) == json.loads(folder.result.read_text())
    assert api.Run(folder.path).figures == {LINE: {"share": 1, "error": 0.5}}


def test_there_is_no_result_before_the_end(write_run: Any) -> None:
    assert read_result(write_run().result) is None
