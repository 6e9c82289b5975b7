"""Patches as the RFCs write them: their own examples, and every difference leads from one document to the other."""

from __future__ import annotations

import copy
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dead_letters.json_patch import PatchError, at, difference, patched, pointer, steps

NESTED = {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}

# RFC 6902, appendix A: document, patch, and the result, or None for an error.
RFC_6902 = {
    "A.1": ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    "A.2": ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    "A.3": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4": ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    "A.5": (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6": (
        NESTED,
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.9": ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], None),
    "A.10": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.12": ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], None),
    "A.14": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    "A.15": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], None),
    "A.16": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
}

# RFC 7396, appendix A.
RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

leaf = st.none() | st.booleans() | st.integers(-3, 3) | st.text(alphabet="ab/~", max_size=3) | st.just(Decimal("0.10"))
documents = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~-0", max_size=2), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", RFC_6902)
def test_the_examples_of_rfc_6902(name: str) -> None:
    document, patch, expected = RFC_6902[name]
    before = copy.deepcopy(document)
    if expected is None:
        with pytest.raises(PatchError, match="operation 1"):
            patched(document, patch)
    else:
        assert patched(document, patch) == expected
    assert document == before


@pytest.mark.parametrize(("document", "patch", "expected"), RFC_7396)
def test_the_examples_of_rfc_7396(document: Any, patch: Any, expected: Any) -> None:
    assert patched(document, patch) == expected


def _sorted(value: Any) -> Any:
    """With the names of objects in order, so that texts can be compared: True is no 1 there."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


@given(documents, documents)
def test_a_difference_leads_from_one_document_to_the_other(before: Any, after: Any) -> None:
    patch = difference(before, after)
    assert repr(_sorted(patched(before, patch))) == repr(_sorted(after))
    assert (patch == []) == (difference(after, before) == [])


@given(documents, st.lists(st.fixed_dictionaries({"op": st.text(), "path": st.text("/a~0-", max_size=4)}) | documents))
def test_any_patch_is_applied_or_refused(document: Any, patch: Any) -> None:
    before = copy.deepcopy(document)
    with suppress(PatchError):
        patched(document, patch)
    assert document == before


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("add", "a list of operations"),
        ([1], "isn't an object"),
        ([{"op": "merge", "path": ""}], "op must be one of add"),
        ([{"op": "add", "path": "/a"}], "add needs a value"),
        ([{"op": "add", "path": 7, "value": 1}], "path must be a JSON pointer"),
        ([{"op": "remove", "path": "a"}], "begin with a slash"),
        ([{"op": "remove", "path": "/~2"}], "isn't ~0 or ~1"),
        ([{"op": "remove", "path": ""}], "whole document"),
        ([{"op": "remove", "path": "/list/01"}], "must end with a number"),
        ([{"op": "remove", "path": "/list/2"}], "nothing at /list/2"),
        ([{"op": "remove", "path": "/list/-"}], "must end with a number"),
        ([{"op": "add", "path": "/list/٣", "value": 1}], "must end with a number"),
        ([{"op": "move", "from": "/list", "path": "/list/0"}], "into itself"),
        ([{"op": "test", "path": "/one", "value": True}], "isn't the one"),
        ([{"op": "add", "path": "/a", "value": 0}] * 1_001, "at most 1000"),
        ([{"op": "copy", "from": "", "path": "/list/-"}] * 40, "copies too much"),
        ([{"op": "copy", "from": "", "path": "/more"}] * 1_000, "too deep"),
    ],
)
def test_a_wrong_patch_is_refused_in_words(patch: Any, said: str) -> None:
    with pytest.raises(PatchError, match=said):
        patched({"list": [1, 2], "one": 1}, patch)


def test_numbers_are_compared_by_value_and_keep_their_digits() -> None:
    exact = Decimal("999999999999.1234567")
    assert patched({"a": exact}, [{"op": "test", "path": "/a", "value": Decimal("999999999999.12345670")}]) == {
        "a": exact
    }
    assert difference({"a": 1}, {"a": 1.0}) == []
    assert difference({"a": 1}, {"a": True}) == [{"op": "replace", "path": "/a", "value": True}]


def test_pointers_are_read_as_they_are_written() -> None:
    path = ("a/b", "~1", "", "0")
    assert steps(pointer(path)) == path
    assert at({"a/b": {"~1": {"": [7]}}}, path) == 7
