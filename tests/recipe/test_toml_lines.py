"""The line scanner finds the same keys as `tomllib`, and fails on no text."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transgan.recipe.toml_lines import MAX_DEPTH, TooDeep, key_lines, split_key

EVERYTHING = '''\
# a comment = 1
top."quoted.key" = "text # not a comment" # comment
'its' = 1
text = """
[not.a.table]
key = 1 \\""" still "" inside
"""
literal = QQQ
a = 'b'
QQQ
quotes = """""two"""""
list = [
  1, # one
  [2, 3], { a = 4, b.c = [5] },
  """
  x = 1
  """,
]
date = 1979-05-27 07:32:00
number = -1.5e+3
empty = {}
none = []
inline = { a.b = { c = "}" }, d = "," }
[table]
key = 1
[table.sub."x y"]
key = 2
[[array]]
key = 1
[[array.inner]]
key = 2
[[array.inner]]
[array.inner.table]
key = 3
[[array]]
key = 4
[array.table]
1.2 = 3
'''.replace("QQQ", "'''")


def paths(value: Any, path: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ({path} if path else set()).union(*(paths(each, (*path, key)) for key, each in inside))


def test_keys_are_found_in_all_forms_of_toml() -> None:
    assert key_lines(EVERYTHING).keys() == paths(tomllib.loads(EVERYTHING))


def test_the_line_is_that_where_a_key_begins() -> None:
    lines = key_lines(EVERYTHING)
    rows = EVERYTHING.split("\n")
    expected = {
        ("top", "quoted.key"): "top.",
        ("literal",): "literal",
        ("list", 1): "[2, 3]",
        ("list", 2, "b", "c"): "b.c = [5]",
        ("list", 3): '"""',
        ("inline", "a", "b", "c"): "inline",
        ("table", "sub", "x y", "key"): "key = 2",
        ("array", 0, "inner", 1): "[[array.inner]]",
        ("array", 0, "inner", 1, "table", "key"): "key = 3",
        ("array", 1, "key"): "key = 4",
        ("array", 1, "table", "1", "2"): "1.2 = 3",
    }
    for path, beginning in expected.items():
        assert beginning in rows[lines[path] - 1], path
    assert rows[lines["array", 0, "inner", 1] - 2] == "key = 2"  # the second of the two headers


def test_windows_line_endings_count_once() -> None:
    assert key_lines("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


@pytest.mark.parametrize("text", ["a." * 40 + "b = 1", "[" + "a." * 40 + "b]", "a = " + "[" * 40, "a = " + "{b=" * 40])
def test_deeper_nesting_is_rejected(text: str) -> None:
    with pytest.raises(TooDeep) as error:
        key_lines("\n" + text)
    assert error.value.line == 2


def test_the_maximum_depth_is_accepted() -> None:
    key_lines(".".join("a" * MAX_DEPTH) + " = " + "[" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b.c=1", (["a", "b", "c"], "1")),
        ("a = b = c", (["a"], " b = c")),
        ('a."b.c=d".0="x"', (["a", "b.c=d", "0"], '"x"')),
        ("a=", (["a"], "")),
        *((bad, None) for bad in ("", "=", "a", "a.=1", ".a=1", "a b=1", "a..b=1", "[a]=1", '"a=1', '"""a"""=1')),
    ],
)
def test_split_key(text: str, expected: Any) -> None:
    assert split_key(text) == expected


PIECES = st.sampled_from(
    [*"\n\n\n=[]{},.#\"' ", '"""', "'''", "a", "b", "1", "[[", "]]", "a = 1\n", "[a]\n", "[[b]]\n", "\\", '"c"', "\r\n"]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_scanned_and_the_keys_of_valid_texts_are_right(text: str) -> None:
    try:
        lines = key_lines(text)
    except TooDeep:
        return
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert lines.keys() == paths(table)


KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f'", "1", "a.b", 'a . "x"'])
VALUES = st.recursive(
    st.sampled_from(["1", "-1.5", "true", '"x"', "'#'", '"""\n[a]\n"""', "'''\nb = 1'''", "1979-05-27", '"\\""']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[" + ", ".join(each) + "]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: "[ # c\n" + ",\n".join(each) + ",\n]"),
        st.dictionaries(KEYS, inner, max_size=3).map(
            lambda each: "{" + ", ".join(f"{key} = {value}" for key, value in each.items()) + "}"
        ),
    ),
    max_leaves=6,
)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join), KEYS.map("[{}]".format), KEYS.map("[[{}]] # c".format), st.just("# a = 1")
)


@settings(max_examples=600, deadline=None)
@given(st.lists(LINES, max_size=8))
def test_agreement_with_tomllib(rows: list[str]) -> None:
    kept: list[str] = []
    for row in rows:  # keep only rows that are valid together
        try:
            tomllib.loads("\n".join([*kept, row]))
        except tomllib.TOMLDecodeError:
            continue
        kept.append(row)
    text = "\n".join(kept)
    assert key_lines(text).keys() == paths(tomllib.loads(text))
