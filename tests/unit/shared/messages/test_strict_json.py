"""Strict JSON: any bytes parse or are refused with a reason, and every later reader agrees."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.messages import MalformedJson, parse_strict, payload_hash, write_json
from shared.messages.strict_json import MAX_DEPTH

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
NEARLY_JSON = st.text(alphabet='{}[]",:\\u0123456789.eE+-truefalsNI \n\ud800\ufeff', max_size=60)


def nested(depth: int, *, of: str = "[") -> bytes:
    """JSON of so many levels, of lists or of objects."""
    if of == "[":
        return b"[" * depth + b"]" * depth
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@given(st.binary(max_size=200) | NEARLY_JSON.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"\xff\xfe{\x00}\x00")
@example(b'{"a":1e999}')
@example(b'["\\ud83d\\ude00", "\\ude00\\ud83d"]')
def test_any_bytes_parse_or_are_refused_with_a_reason(body: bytes) -> None:
    """Never another exception, and what was taken can be written and read again."""
    try:
        parsed = parse_strict(body)
    except MalformedJson as error:
        error.message.encode()
        return
    assert parse_strict(write_json(parsed).encode()) == parsed


@given(JSON)
def test_what_python_writes_is_read_back_the_same(value: object) -> None:
    """Strictness refuses nothing that is JSON."""
    try:
        body = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_strict(body) == value


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"\xff", "UTF-8"),
        (b'{"a":"\xc3"}', "UTF-8"),
        (b"\xed\xa0\x80", "UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a":1,}', "line 1, column"),
        (b"{'a':1}", "line 1"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":Infinity}', "Infinity"),
        (b'{"a":[-Infinity]}', "-Infinity"),
        (b'{"a":1e999}', "finite"),
        (b'{"a":-1E+400}', "finite"),
        (b'{"a":1,"a":1}', "'a' appears twice"),
        (b'{"x":{"y":[{"a":1,"b":2,"a":3}]}}', "'a' appears twice"),
        (b'{"a":1,"\\u0061":2}', "'a' appears twice"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'["\\ud83d x \\ude00"]', "surrogate"),
        (b"1" * 4301, "valid JSON"),
        (b'{"a":-' + b"9" * 5000 + b"}", "valid JSON"),
        (b"{} {}", "Extra data"),
        (b"{} //", "Extra data"),
        (b'"\x01"', "control character"),
        (b"01", "Extra data"),
        (b"+1", "valid JSON"),
    ],
)
def test_what_some_readers_take_and_others_do_not_is_refused(body: bytes, says: str) -> None:
    """Each refusal tells the sender what to mend."""
    with pytest.raises(MalformedJson, match=says):
        parse_strict(body)


def test_a_syntax_error_names_its_place_for_programs_too() -> None:
    """Line and column, from 1."""
    with pytest.raises(MalformedJson) as caught:
        parse_strict(b'{\n "a": 1\n "b": 2}')
    assert caught.value.details == {"line": 3, "column": 2}


@pytest.mark.parametrize("of", ["[", "{"])
@pytest.mark.parametrize("depth", [1, MAX_DEPTH])
def test_nesting_up_to_the_limit_is_taken(depth: int, of: str) -> None:
    """Sixty-four levels are allowed."""
    parse_strict(nested(depth, of=of))


@pytest.mark.parametrize("of", ["[", "{"])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 999, 100_000])
def test_deeper_nesting_is_refused_however_deep(depth: int, of: str) -> None:
    """No depth reaches the recursion limit of the process."""
    with pytest.raises(MalformedJson, match="nested deeper than 64"):
        parse_strict(nested(depth, of=of))


def test_brackets_in_texts_and_beside_each_other_are_no_nesting() -> None:
    """Width isn't depth."""
    assert parse_strict(json.dumps(["[{" * 100] + [[]] * 200).encode())[1] == []


def test_escaped_pairs_and_escaped_backslashes_are_fine() -> None:
    """A whole surrogate pair is a character; a backslash before `ud800` is text."""
    assert parse_strict(b'["\\ud83d\\ude00","\\\\ud800"]') == ["😀", "\\ud800"]


def test_minus_zero_and_the_largest_integers_are_numbers() -> None:
    """4,300 digits are what Python takes; none are rounded."""
    assert parse_strict(b"[-0, -0.0]") == [0, 0.0]
    assert parse_strict(b"9" * 4300) == int("9" * 4300)


@given(JSON)
def test_a_payload_hash_does_not_depend_on_order_or_white_space(value: object) -> None:
    """Names in another order are the same message."""
    parsed = {"a": value, "b": [1, 2.5]}
    turned = dict(reversed(parsed.items()))
    assert payload_hash("t", "1.0", parsed) == payload_hash("t", "1.0", turned)


def test_a_payload_hash_tells_what_differs() -> None:
    """True isn't 1, a text isn't a number, and the contract belongs to what is said."""
    variants = [1, True, "1", 1.5, None, [1], {"1": 1}]
    prints = {payload_hash("t", "1.0", value) for value in variants}
    prints |= {payload_hash("u", "1.0", 1), payload_hash("t", "1.1", 1)}
    assert len(prints) == len(variants) + 2
